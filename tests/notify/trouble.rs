//! Receivers that are down, slow or deaf, brokers that end: asks go on, and in the end each notice has come once.

use stint_broker::store::Engine;
use stint_tests::clock::eventually;
use stint_tests::database::{engine, only_on};

use crate::http::{Mood, Receiver};
use crate::scene::{Secrets, ask, broker, nothing_waits, settle, webhook};

#[tokio::test]
async fn a_receiver_that_says_no_is_tried_again_and_seen() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    receiver.mood(Mood::Says(403, "invalid_token\u{1b}[2J"));
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    ask(&broker, 600).await;
    settle(&broker);
    eventually("it is seen", async || {
        broker.check("notify sre").await["code"] == "notices_fail"
    })
    .await;
    let check = broker.check("notify sre").await;
    let detail = check["detail"].as_str().unwrap();
    assert!(
        detail.contains("it answered 403: invalid_token\\u{1b}[2J"),
        "{detail}"
    );
    assert_eq!(
        (check["fatal"].clone(), check["notify"].clone()),
        (false.into(), "sre".into())
    );
    assert_eq!(broker.operator("GET", "/readyz").await.status, 200);
    let metrics = broker.operator("GET", "/metrics").await.text();
    let failed = "stint_notices_total{channel=\"webhook\",outcome=\"failed\"}";
    assert!(metrics.contains(failed), "{metrics}");
    receiver.mood(Mood::Takes);
    eventually("it comes", async || {
        broker.clock.advance(2);
        receiver.posts().len() == 1
    })
    .await;
    eventually("it is well", async || {
        broker.check("notify sre").await["code"] == "ok"
    })
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn tries_become_rare_and_end_after_a_day() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    receiver.mood(Mood::Says(500, ""));
    let broker = broker(&format!(
        "{}[approval]\nrequest_ttl = \"2d\"\n",
        webhook("sre", &receiver, &secrets, "")
    ))
    .await;
    ask(&broker, 600).await;
    settle(&broker);
    for _ in 0..8 {
        receiver.one_more().await;
        // By the ninth failure the wait is between 128 and 256 seconds and more.
        broker.clock.advance(260);
    }
    broker.clock.advance(86_400);
    nothing_waits(&broker, "sre").await;
    let metrics = broker.operator("GET", "/metrics").await.text();
    let dropped = "stint_notices_total{channel=\"webhook\",outcome=\"dropped\"} 1";
    assert!(metrics.contains(dropped), "{metrics}");
    assert!(receiver.posts().is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_nobody_waiting() {
    let (hung, well, secrets) = (
        Receiver::start().await,
        Receiver::start().await,
        Secrets::new(),
    );
    hung.mood(Mood::Hangs);
    let tables = webhook("hung", &hung, &secrets, "timeout = \"1s\"")
        + &webhook("well", &well, &secrets, "");
    let broker = broker(&tables).await;
    ask(&broker, 600).await;
    settle(&broker);
    hung.one_more().await;
    for ttl in 700..710 {
        ask(&broker, ttl).await;
    }
    well.stored(1).await;
    eventually("it is seen", async || {
        let check = broker.check("notify hung").await;
        check["detail"]
            .as_str()
            .unwrap()
            .contains("took longer than 1s")
    })
    .await;
    assert_eq!(broker.check("notify well").await["code"], "ok");
    broker.finish().await;
}

#[tokio::test]
async fn a_notice_outlives_the_broker_that_was_to_send_it() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    receiver.mood(Mood::Says(503, ""));
    let mut broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    let request = ask(&broker, 600).await;
    settle(&broker);
    receiver.one_more().await;
    broker.stop().await;
    receiver.mood(Mood::Takes);
    broker.clock.advance(60);
    broker.restart().await.unwrap();
    let post = receiver.stored(1).await;
    assert_eq!(post.header("webhook-id"), format!("{request}-waiting"));
    nothing_waits(&broker, "sre").await;
    broker.finish().await;
}

#[tokio::test]
async fn of_two_replicas_one_sends() {
    if !only_on(Engine::Postgres, "a file has one broker") {
        return;
    }
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let limits = "[approval]\ncoalesce = \"0s\"\nnotices_per_approver = \"1000/h\"\n";
    let tables = webhook("sre", &receiver, &secrets, limits);
    let a = broker(&tables).await;
    let b = a.replica("b").await.unwrap();
    for ttl in 600..620 {
        ask(if ttl % 2 == 0 { &a } else { &b }, ttl).await;
    }
    nothing_waits(&a, "sre").await;
    let posts = receiver.posts();
    let told: Vec<String> = posts
        .iter()
        .flat_map(|post| post.json()["data"]["items"].as_array().unwrap().clone())
        .map(|item| item["request"].as_str().unwrap().to_owned())
        .collect();
    let distinct: std::collections::BTreeSet<_> = told.iter().collect();
    assert_eq!((told.len(), distinct.len()), (20, 20), "{told:?}");
    // The turn of a replica that is gone is over after 90 seconds.
    assert_eq!(engine(), Engine::Postgres);
    b.finish().await;
    a.finish().await;
}

#[tokio::test]
async fn another_replica_sends_when_the_first_is_gone() {
    if !only_on(Engine::Postgres, "a file has one broker") {
        return;
    }
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let mut a = broker(&webhook("sre", &receiver, &secrets, "")).await;
    let b = a.replica("b").await.unwrap();
    ask(&a, 600).await;
    settle(&a);
    receiver.stored(1).await;
    nothing_waits(&b, "sre").await;
    a.stop().await;
    a.clock.advance(100);
    ask(&b, 601).await;
    settle(&b);
    receiver.stored(2).await;
    a.restart().await.unwrap();
    b.finish().await;
    a.finish().await;
}
