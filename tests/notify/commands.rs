//! What operators type: `stintd notify test`.

use std::process::{Command, Output};

use stint_tests::TestBroker;
use stint_tests::process::program;

use crate::http::{Mood, Receiver};
use crate::scene::{Secrets, broker, slack, webhook};

async fn notify_test(broker: &TestBroker, name: &str) -> (Option<i32>, String) {
    let socket = broker.path("stintd.sock").display().to_string();
    let args = ["notify", "test", name, "--socket", &socket].map(str::to_owned);
    // Beside the runtime, which serves what the program asks for.
    let run = move || Command::new(program("stintd")).args(args).output().unwrap();
    let output: Output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_says_how_it_went() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let tables = webhook("sre", &receiver, &secrets, "") + &slack(&receiver, &secrets);
    let broker = broker(&tables).await;
    let (code, said) = notify_test(&broker, "sre").await;
    assert_eq!(
        (code, said.as_str()),
        (
            Some(0),
            "ok        the receiver of [notify.sre] took a test\n"
        )
    );
    let told = receiver.stored(1).await.json();
    assert_eq!(told["type"], "test");
    assert!(
        told["data"]["items"][0]["sentence"]
            .as_str()
            .unwrap()
            .contains("[notify.sre]")
    );
    assert_eq!(notify_test(&broker, "slack").await.0, Some(0));
    receiver.stored(2).await;

    receiver.mood(Mood::Says(404, "no_service"));
    let (code, said) = notify_test(&broker, "slack").await;
    let why = "error     [notify.slack] did not take a test: it answered 404: no_service\n";
    assert_eq!((code, said.as_str()), (Some(7), why));
    let (code, said) = notify_test(&broker, "nobody").await;
    assert_eq!(
        (code, said.as_str()),
        (Some(2), "error     there is no [notify.nobody]\n")
    );

    // It is remembered for the console and `doctor`.
    stint_tests::clock::eventually("it is remembered", async || {
        let check = broker.check("notify slack").await;
        check["code"] == "notices_fail" || check["failed"].is_string()
    })
    .await;
    assert!(broker.check("notify sre").await["sent"].is_string());
    broker.finish().await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_and_not_shown() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    std::fs::remove_file(secrets.path().join("sre.url")).unwrap();
    let sent = broker
        .command("/v1/notify/test", &serde_json::json!({ "name": "sre" }))
        .await
        .json();
    assert_eq!(sent["sent"], false);
    assert!(sent["why"].as_str().unwrap().contains("sre.url"), "{sent}");
    secrets.keep("sre.url", "http://evil.example/hunter2");
    let sent = broker
        .command("/v1/notify/test", &serde_json::json!({ "name": "sre" }))
        .await
        .json();
    let why = sent["why"].as_str().unwrap();
    assert!(
        why.contains("in the clear") && !why.contains("hunter2"),
        "{why}"
    );
    assert_eq!(receiver.came(), 0);
    broker.finish().await;
}
