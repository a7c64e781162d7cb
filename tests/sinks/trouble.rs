//! A receiver that is down, slow, deaf or of two minds: grants go on, and in the end it has every entry.

use stint_tests::TestBroker;
use stint_tests::clock::eventually;

use crate::check::proves_all;
use crate::receiver::{Mood, Receiver, seqs, sink};
use crate::syslog;

const STAGING: &str = "Environment::staging/web";

async fn grant(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", STAGING).x509().await.granted());
}

/// Every entry at least once, and none before those in front of it.
fn without_gap(text: &str) {
    let mut next = 0;
    for seq in seqs(text) {
        assert!(seq <= next, "{seq} came, {next} did not");
        next = next.max(seq + 1);
    }
}

async fn is_stuck(broker: &TestBroker, why: &str) {
    eventually(why, async || {
        let check = broker.check("sink out").await;
        check["code"] == "sink_stuck" && check["detail"].as_str().unwrap().contains(why)
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_all_that_it_missed() {
    let mut receiver = Receiver::start().await;
    receiver.stop().await;
    let table = receiver.sink("jsonl", "");
    let broker = TestBroker::with().tables(&table).start().await;
    grant(&broker).await;
    is_stuck(&broker, "onnect").await;
    let check = broker.check("sink out").await;
    assert_eq!(check["fatal"], false);
    assert_eq!(check["lag"], broker.size().await);
    assert_eq!(broker.operator("GET", "/readyz").await.status, 200);
    let told = broker.operator("GET", "/readyz").await.text();
    assert!(told.contains("sink_stuck"), "{told}");
    let metrics = broker.operator("GET", "/metrics").await.text();
    let lag = format!(
        "stint_sink_lag_entries{{sink=\"out\"}} {}",
        broker.size().await
    );
    assert!(metrics.contains(&lag), "{metrics}");

    receiver.come_back().await;
    grant(&broker).await;
    without_gap(&proves_all(&broker, || receiver.text()).await);
    eventually("the sink is well", async || {
        let check = broker.check("sink out").await;
        check["ok"] == true && check["lag"] == 0
    })
    .await;
    let told = broker.operator("GET", "/readyz").await.text();
    assert!(!told.contains("sink out"), "{told}");
    broker.finish().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_nobody_waiting() {
    let receiver = Receiver::start().await;
    receiver.mood(Mood::Hangs);
    let table = receiver.sink("jsonl", "timeout = \"1s\"");
    let broker = TestBroker::with().tables(&table).start().await;
    receiver.one_more().await;
    for _ in 0..20 {
        grant(&broker).await;
    }
    is_stuck(&broker, "took longer than 1s").await;
    receiver.mood(Mood::Takes);
    without_gap(&proves_all(&broker, || receiver.text()).await);
    broker.finish().await;
}

#[tokio::test]
async fn what_was_taken_and_not_confirmed_is_sent_again() {
    let receiver = Receiver::start().await;
    receiver.mood(Mood::TakesAndSays(500));
    let table = receiver.sink("cloudevents", "");
    let broker = TestBroker::with().tables(&table).start().await;
    grant(&broker).await;
    eventually("entries come twice", async || {
        let seqs = seqs(&receiver.text());
        seqs.iter().filter(|seq| **seq == 0).count() > 1
    })
    .await;
    is_stuck(&broker, "it answered 500").await;
    receiver.mood(Mood::Takes);
    without_gap(&proves_all(&broker, || receiver.text()).await);
    broker.finish().await;
}

#[tokio::test]
async fn whatever_is_not_2xx_moves_nothing() {
    for status in [301, 400, 401, 429, 503] {
        let receiver = Receiver::start().await;
        receiver.mood(Mood::Says(status));
        let table = receiver.sink("jsonl", "");
        let broker = TestBroker::with().tables(&table).start().await;
        is_stuck(&broker, &format!("it answered {status}")).await;
        assert_eq!(broker.check("sink out").await["lag"], broker.size().await);
        broker.finish().await;
    }
}

#[tokio::test]
async fn a_receiver_that_finds_it_too_much_is_sent_less() {
    let receiver = Receiver::start().await;
    receiver.mood(Mood::AtMost(3));
    let table = receiver.sink("jsonl", "batch = 8");
    let broker = TestBroker::with().tables(&table).start().await;
    for _ in 0..5 {
        grant(&broker).await;
    }
    without_gap(&proves_all(&broker, || receiver.text()).await);
    broker.finish().await;
}

#[tokio::test]
async fn a_new_secret_counts_at_once() {
    let receiver = Receiver::start().await;
    let table = receiver.sink("jsonl", "secret = { file = \"token\" }");
    let setup = TestBroker::with().secret_file("token", b"first-token-of-the-siem");
    let broker = setup.tables(&table).start().await;
    proves_all(&broker, || receiver.text()).await;
    stint_tests::files::write_secret(&broker.path("token"), b"other-token-of-the-siem");
    grant(&broker).await;
    proves_all(&broker, || receiver.text()).await;
    let last = receiver.posts().pop().unwrap();
    assert_eq!(
        last.headers["authorization"],
        "Bearer other-token-of-the-siem"
    );
    std::fs::remove_file(broker.path("token")).unwrap();
    is_stuck(&broker, "token").await;
    let said = broker.operator("GET", "/readyz?verbose").await.text();
    assert!(!said.contains("of-the-siem"), "{said}");
    broker.finish().await;
}

#[tokio::test]
async fn syslog_counts_only_when_the_receiver_has_read_to_the_end() {
    let receiver = syslog::Receiver::start(None).await;
    receiver.mood(syslog::Mood::Cuts);
    let to = format!("syslog+tcp://{}", receiver.address);
    let broker = TestBroker::with()
        .tables(&sink("jsonl", &to, "timeout = \"1s\""))
        .start()
        .await;
    grant(&broker).await;
    is_stuck(&broker, "").await;
    assert_eq!(broker.check("sink out").await["lag"], broker.size().await);
    receiver.mood(syslog::Mood::Hangs);
    is_stuck(&broker, "took longer than 1s").await;
    assert_eq!(broker.check("sink out").await["lag"], broker.size().await);
    grant(&broker).await;
    receiver.mood(syslog::Mood::Takes);
    let came = receiver.came();
    without_gap(&proves_all(&broker, || receiver.text()).await);
    assert!(receiver.came() > came);
    broker.finish().await;
}
