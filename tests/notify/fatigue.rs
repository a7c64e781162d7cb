//! Approvers are not worn out: bursts, caps, and nothing twice.

use stint_tests::clock::eventually;

use crate::http::Receiver;
use crate::scene::{Secrets, ask, broker, nothing_waits, settle, webhook};

#[tokio::test]
async fn a_burst_of_one_asker_is_one_notice() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    for ttl in 600..605 {
        ask(&broker, ttl).await;
    }
    settle(&broker);
    let told = receiver.stored(1).await.json();
    assert_eq!(told["data"]["count"], 5);
    assert_eq!(told["data"]["title"], "5 requests wait for approval");
    assert_eq!(told["data"]["url"], "http://localhost:8640/inbox");
    assert_eq!(told["data"]["items"].as_array().unwrap().len(), 5);
    nothing_waits(&broker, "sre").await;

    // What comes within the minute waits for its end, and is one more.
    for ttl in 700..703 {
        ask(&broker, ttl).await;
    }
    broker.clock.advance(30);
    assert!(
        !broker.check("notify sre").await["detail"]
            .as_str()
            .unwrap()
            .contains(", 0 ")
    );
    broker.clock.advance(31);
    assert_eq!(receiver.stored(2).await.json()["data"]["count"], 3);
    broker.finish().await;
}

#[tokio::test]
async fn the_same_ask_is_announced_once() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&format!(
        "{}[approval]\ncoalesce = \"0s\"\n",
        webhook("sre", &receiver, &secrets, "")
    ))
    .await;
    let first = ask(&broker, 600).await;
    receiver.stored(1).await;
    for _ in 0..3 {
        assert_eq!(ask(&broker, 600).await, first);
        broker.clock.advance(61);
    }
    ask(&broker, 601).await;
    receiver.stored(2).await;
    broker.finish().await;
}

const APPROVAL: &str =
    "[approval]\nnotices_per_approver = \"3/h\"\ncoalesce = \"10s\"\nrequest_ttl = \"6h\"\n";

#[tokio::test]
async fn beyond_the_cap_comes_a_digest() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&format!(
        "{}{APPROVAL}",
        webhook("sre", &receiver, &secrets, "")
    ))
    .await;
    for (nth, ttl) in (600..603).enumerate() {
        ask(&broker, ttl).await;
        settle(&broker);
        receiver.stored(nth + 1).await;
        nothing_waits(&broker, "sre").await;
        broker.clock.advance(11);
    }
    for ttl in 700..704 {
        ask(&broker, ttl).await;
        broker.clock.advance(11);
    }
    assert_eq!(receiver.posts().len(), 3);
    // Digests keep the cap's own pace: a third of an hour after the message before.
    broker.clock.advance(1_200);
    let digest = receiver.stored(4).await.json();
    assert_eq!(digest["data"]["title"], "4 more wait for approval");
    assert_eq!(digest["data"]["items"].as_array().unwrap().len(), 0);
    assert_eq!(digest["data"]["count"], 4);
    assert_eq!(digest["data"]["url"], "http://localhost:8640/inbox");
    nothing_waits(&broker, "sre").await;
    // An hour later each is told by name again.
    broker.clock.advance(3_600);
    let request = ask(&broker, 800).await;
    settle(&broker);
    let told = receiver.stored(5).await.json();
    assert_eq!(
        told["data"]["url"],
        format!("http://localhost:8640/a/{request}")
    );
    broker.finish().await;
}

#[tokio::test]
async fn an_ask_that_ended_before_it_was_told_is_never_told() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let times = "[approval]\ncoalesce = \"1h\"\nrequest_ttl = \"30m\"\n";
    let broker = broker(&webhook("sre", &receiver, &secrets, times)).await;
    ask(&broker, 600).await;
    settle(&broker);
    receiver.stored(1).await;
    nothing_waits(&broker, "sre").await;
    let untold = ask(&broker, 601).await;
    broker.clock.advance(1_801);
    // Whoever asks again finds that the first ask is over.
    let told = ask(&broker, 601).await;
    assert_ne!(told, untold);
    broker.clock.advance(1_797);
    let other = ask(&broker, 602).await;
    broker.clock.advance(2);
    eventually("the others are told", async || {
        let posts = receiver.posts();
        posts
            .iter()
            .any(|post| post.body.contains(&told) && post.body.contains(&other))
    })
    .await;
    assert!(
        receiver
            .posts()
            .iter()
            .all(|post| !post.body.contains(&untold))
    );
    broker.finish().await;
}
