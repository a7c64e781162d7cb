//! How long a session lasts, and what ends it.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::people::Person;

async fn stands(person: &Person<'_>) -> bool {
    let status = person.get("/v1/me").await.status.as_u16();
    assert!(status == 200 || status == 401, "{status}");
    status == 200
}

/// A row that is written in its own time is there once another one is.
async fn settled(broker: &TestBroker) {
    drop(
        broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await
            .granted(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_used_ends_after_half_an_hour() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    for _ in 0..3 {
        broker.clock.advance(29 * 60);
        assert!(stands(&dana).await);
        settled(&broker).await;
    }
    broker.clock.advance(30 * 60);
    assert!(!stands(&dana).await);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_one_ends_after_eight_hours() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    for _ in 0..23 {
        broker.clock.advance(20 * 60);
        assert!(stands(&dana).await);
        settled(&broker).await;
    }
    broker.clock.advance(19 * 60 + 59);
    assert!(stands(&dana).await);
    broker.clock.advance(1);
    assert!(!stands(&dana).await);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_written_once_a_minute_at_most() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let used = async || {
        settled(&broker).await;
        dana.get("/v1/me").await.json()["sessions"][0]["used_at"].clone()
    };
    let first = used().await;
    broker.clock.advance(59);
    assert!(stands(&dana).await);
    assert_eq!(used().await, first);
    broker.clock.advance(2);
    assert!(stands(&dana).await);
    assert_ne!(used().await, first);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_begins_a_new_one_and_ends_the_one_before() {
    let broker = TestBroker::with().people().start().await;
    let mut dana = broker.signed_in("dana").await;
    let before = dana.cookie.clone();
    assert_eq!(dana.try_sign_in("/login/start").await.status, 303);
    assert_ne!(dana.cookie, before);
    let mut old = Person::new(&broker, "dana");
    old.cookie = before;
    assert!(stands(&dana).await && !stands(&old).await);
    // A secret that somebody else chose is never one of ours.
    let planted = format!("stint-session={}", "B".repeat(43));
    let mut dana = Person::new(&broker, "dana");
    dana.cookie = planted.clone();
    assert_eq!(dana.try_sign_in("/login/start").await.status, 303);
    assert_ne!(dana.cookie, planted);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_it_and_only_it() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let elsewhere = broker.signed_in("dana").await;
    let answer = dana.post("/logout", &json!({})).await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert!(!stands(&dana).await && stands(&elsewhere).await);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_and_end_their_own_and_nobody_elses() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let elsewhere = broker.signed_in("dana").await;
    let lee = broker.signed_in("lee").await;
    let sessions = dana.get("/v1/me").await.json()["sessions"].clone();
    let sessions: Vec<&Value> = sessions.as_array().unwrap().iter().collect();
    assert_eq!(sessions.len(), 2);
    let there = sessions.iter().find(|it| it["here"] == false).unwrap();
    let path = format!("/v1/me/sessions/{}/end", there["id"].as_str().unwrap());
    assert_eq!(lee.post(&path, &json!({})).await.status, 404);
    assert!(stands(&elsewhere).await);
    assert_eq!(dana.post(&path, &json!({})).await.status, 204);
    assert_eq!(dana.post(&path, &json!({})).await.status, 404);
    assert!(!stands(&elsewhere).await && stands(&dana).await);
    broker.finish().await;
}
