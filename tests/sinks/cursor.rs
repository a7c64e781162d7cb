//! The place in the log: kept over restarts, one sender, nothing twice without need.

use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::tamper;

use crate::check::proves_all;
use crate::receiver::{Mood, Receiver, seqs};

const STAGING: &str = "Environment::staging/web";

async fn grant(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", STAGING).x509().await.granted());
}

#[tokio::test]
async fn a_stopped_broker_goes_on_where_it_was() {
    let receiver = Receiver::start().await;
    let table = receiver.sink("jsonl", "");
    let mut broker = TestBroker::with().tables(&table).start().await;
    grant(&broker).await;
    proves_all(&broker, || receiver.text()).await;
    let sent = seqs(&receiver.text()).len();
    for _ in 0..2 {
        broker.restart().await.unwrap();
        grant(&broker).await;
        proves_all(&broker, || receiver.text()).await;
    }
    let seqs = seqs(&receiver.text());
    assert!(seqs.len() > sent);
    let size = broker.size().await;
    // A stop may come between a delivery and the move of the place: once each, at most one delivery again.
    let again = seqs.len() - usize::try_from(size).unwrap();
    assert!(again <= 8, "{again} were sent again: {seqs:?}");
    broker.finish().await;
}

#[tokio::test]
async fn a_sink_of_another_name_begins_at_the_beginning() {
    let receiver = Receiver::start().await;
    let table = receiver.sink("jsonl", "");
    let mut broker = TestBroker::with().tables(&table).start().await;
    proves_all(&broker, || receiver.text()).await;
    let other = Receiver::start().await;
    broker.reconfigure("[sink.out]", "[sink.other]");
    let (was, is) = (receiver.address.to_string(), other.address.to_string());
    broker.reconfigure(&was, &is);
    broker.restart().await.unwrap();
    proves_all(&broker, || other.text()).await;
    assert_eq!(seqs(&other.text())[0], 0);
    broker.finish().await;
}

#[tokio::test]
async fn what_does_not_hash_to_its_leaf_is_not_sent() {
    let receiver = Receiver::start().await;
    let table = receiver.sink("jsonl", "");
    let broker = TestBroker::with().tables(&table).start().await;
    proves_all(&broker, || receiver.text()).await;
    receiver.mood(Mood::Says(503));
    let size = broker.size().await;
    grant(&broker).await;
    receiver.one_more().await;
    let sql = format!("UPDATE ledger_batch SET hashes = zeroblob(32) WHERE first_seq = {size}");
    assert_eq!(tamper(&broker.database(), &sql).await, 1);
    receiver.mood(Mood::Takes);
    eventually("the sink is stuck", async || {
        let check = broker.check("sink out").await;
        let why = format!("entry {size} does not hash to its leaf");
        check["detail"].as_str().unwrap().contains(&why)
    })
    .await;
    assert_eq!(seqs(&receiver.text()).last(), Some(&(size - 1)));
    // What is left of this ledger does not verify, as it should be.
    broker.abandon().await;
}
