//! kill -9 while it sends: after each start the stream goes on, at least once and without a gap.

use stint_tests::TestBroker;

use crate::check::proves_all;
use crate::receiver::{Mood, Receiver, seqs, sink};

const STAGING: &str = "Environment::staging/web";

async fn ask(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", STAGING).x509().await.granted());
}

#[tokio::test]
async fn a_killed_broker_goes_on_where_nothing_was_confirmed() {
    let receiver = Receiver::start().await;
    let setup = TestBroker::with().real_time();
    let table = receiver.sink("jsonl", "batch = 2\ntimeout = \"2s\"");
    let mut broker = setup.tables(&table).start().await;
    for round in 0..4 {
        receiver.mood(match round {
            0 | 3 => Mood::Takes,
            1 => Mood::Hangs,
            _ => Mood::TakesAndSays(503),
        });
        broker.serve(None).await;
        receiver.one_more().await;
        ask(&broker).await;
        broker.kill();
    }
    receiver.mood(Mood::Takes);
    broker.serve(None).await;
    ask(&broker).await;
    let text = proves_all(&broker, || receiver.text()).await;
    let mut next = 0;
    for seq in seqs(&text) {
        assert!(seq <= next, "{seq} came, {next} did not");
        next = next.max(seq + 1);
    }
    broker.finish_after_crash().await;
}

#[tokio::test]
async fn a_killed_broker_leaves_whole_lines() {
    let setup = TestBroker::with().real_time();
    let table = sink("jsonl", "file:events", "bodies = [\"*\"]");
    let mut broker = setup.tables(&table).start().await;
    let path = broker.path("events");
    for _ in 0..3 {
        broker.serve(None).await;
        ask(&broker).await;
        broker.kill();
        // As a power cut might have left it.
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str("{\"seq\":99,\"lea");
        std::fs::write(&path, text).unwrap();
    }
    broker.serve(None).await;
    proves_all(&broker, || std::fs::read_to_string(&path).unwrap()).await;
    broker.finish_after_crash().await;
}
