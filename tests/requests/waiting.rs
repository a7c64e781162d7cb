//! Waiting for a request, and taking it back.

use std::time::Duration;

use stint_broker::clock::Stopwatch;
use stint_tests::keys::DpopKey;
use stint_tests::{TestBroker, together};
use stint_wire::{Code, NextKind, RequestState};
use tokio::task::JoinSet;

use crate::desk::{cancel_by, held, look_by, proof, seen};

#[tokio::test]
async fn a_wait_ends_as_soon_as_something_happens() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let watch = Stopwatch::start();
    let (waited, cancelled) = tokio::join!(look_by(&broker, &request, &key, "?wait_s=30"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel_by(&broker, &request, &key).await
    });
    seen(&cancelled, RequestState::Cancelled);
    let view = seen(&waited, RequestState::Cancelled);
    assert!(
        watch.elapsed() < Duration::from_secs(15),
        "{:?}",
        watch.elapsed()
    );
    assert_eq!(
        (view.retry_after_s, view.next_action.kind),
        (None, NextKind::Retry)
    );
    assert!(view.ended_at.is_some());
    broker.finish().await;
}

#[tokio::test]
async fn a_wait_in_which_nothing_happens_ends_by_itself() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let watch = Stopwatch::start();
    let view = look_by(&broker, &request, &key, "?wait_s=2").await;
    seen(&view, RequestState::Pending);
    let took = watch.elapsed();
    assert!(
        Duration::from_millis(1_900) < took && took < Duration::from_secs(10),
        "{took:?}"
    );
    // What is over already is not waited for.
    cancel_by(&broker, &request, &key).await;
    let watch = Stopwatch::start();
    seen(
        &look_by(&broker, &request, &key, "?wait_s=30").await,
        RequestState::Cancelled,
    );
    assert!(watch.elapsed() < Duration::from_secs(10));
    broker.finish().await;
}

#[tokio::test]
async fn a_wait_outlasts_what_other_answers_may_take() {
    let broker = TestBroker::with()
        .set("server", "request_timeout = \"1s\"")
        .start()
        .await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    seen(
        &look_by(&broker, &request, &key, "?wait_s=3").await,
        RequestState::Pending,
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_wait_is_for_thirty_seconds_at_most() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    for query in [
        "?wait_s=31",
        "?wait_s=x",
        "?wait=1",
        "?wait_s=1&a=b",
        "?wait_s=",
    ] {
        drop(
            look_by(&broker, &request, &key, query)
                .await
                .refused(Code::InvalidField),
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn those_who_hang_up_or_come_in_crowds_are_no_burden() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let path = format!("/v1/requests/{request}");
    for _ in 0..20 {
        let proof = proof(&broker, &key, ("GET", &path), None);
        let head = format!(
            "GET {path}?wait_s=30 HTTP/1.1\r\nHost: localhost:8640\r\nDPoP: {proof}\r\n\r\n"
        );
        broker.hang_up(head.as_bytes()).await.unwrap();
    }
    let watch = Stopwatch::start();
    let waiting = together((0..40).map(|_| look_by(&broker, &request, &key, "?wait_s=20")));
    let (answers, _) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        seen(
            &cancel_by(&broker, &request, &key).await,
            RequestState::Cancelled,
        );
    });
    for answer in answers {
        seen(&answer, RequestState::Cancelled);
    }
    assert!(
        watch.elapsed() < Duration::from_secs(15),
        "{:?}",
        watch.elapsed()
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_broker_that_stops_lets_nobody_wait() {
    let mut broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let path = format!("/v1/requests/{request}");
    let proof = proof(&broker, &key, ("GET", &path), None);
    let call = broker
        .client()
        .get(format!("{}{path}?wait_s=30", broker.base()));
    let call = call.header("host", "localhost:8640").header("dpop", proof);
    let mut waiting = JoinSet::new();
    waiting.spawn(call.send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let watch = Stopwatch::start();
    broker.stop().await;
    assert!(
        watch.elapsed() < Duration::from_secs(10),
        "{:?}",
        watch.elapsed()
    );
    let answer = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(answer.unwrap().status(), 200);
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn what_was_taken_back_is_over_and_the_same_ask_begins_anew() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let first = held(&broker, "a", &key).await;
    for _ in 0..2 {
        seen(
            &cancel_by(&broker, &first.request, &key).await,
            RequestState::Cancelled,
        );
    }
    let entries = broker.export().await.of("request_closed");
    assert_eq!(entries.len(), 1, "once more is as good as once");
    let second = held(&broker, "a", &key).await;
    assert!(second.created && second.request != first.request);
    broker.clock.advance(61 * 60);
    // Nobody wrote that it expired yet, and it cannot be taken back all the same.
    let late = cancel_by(&broker, &second.request, &key).await;
    assert!(matches!(late.status.as_u16(), 200 | 409), "{}", late.text());
    broker.finish().await;
}
