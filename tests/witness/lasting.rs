//! What witnesses saw goes on being extended: by the other of two replicas, and by a ledger that was pruned.

use serde_json::json;
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::database::only_on;
use stint_tests::filled::UNIT;
use stint_tests::postgres::Cluster;

use crate::scene::Witness;
use crate::watched::{Watched, vkey};

/// kill -9 of one: the heads of the other are cosigned all the same, and then those of both again.
#[tokio::test(flavor = "multi_thread")]
async fn heads_are_cosigned_whichever_replica_is_killed() {
    let spot = Cluster::shared().await.database().await;
    let setup = TestBroker::with().real_time().on_server(&spot, spot.port);
    let mut watched = watched(setup.start().await).await;
    let mut other = watched.broker.beside("b", |config| config);
    watched.broker.serve(None).await;
    other.serve(None).await;
    for _ in 0..2 {
        grants(&other).await;
        watched.is_cosigned().await;
        other.kill();
        watched.grants().await;
        watched.is_cosigned().await;
        other.serve(None).await;
        grants(&other).await;
        watched.broker.kill();
        grants(&other).await;
        watched.broker.serve(None).await;
        watched.is_cosigned().await;
    }
    other.abandon().await;
    watched.broker.stop().await;
    watched.finish_after_crash().await;
}

/// With a witness by the same clock, the machine's.
async fn watched(broker: TestBroker) -> Watched {
    let mut witness = Witness::of(&vkey(&broker).await).await;
    witness.serve().await;
    Watched::of(broker, vec![witness], "quorum w0\n", "").await
}

async fn grants(broker: &TestBroker) {
    let asking = broker.ci("acme/web");
    let asking = asking.ask("deploy", "Environment::staging/web");
    drop(asking.x509().await.granted());
}

/// What no quorum saw is not taken away; what it saw can be, and the witness is led on from there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_what_witnesses_saw_and_they_see_what_follows() {
    if !only_on(Engine::Sqlite, "the witnesses' part is the same on both") {
        return;
    }
    let broker = TestBroker::with().real_time().start().await;
    let mut watched = watched(broker).await;
    watched.is_cosigned().await;
    watched.witnesses[0].stop().await;
    watched.broker.fill().await;
    let archive = watched.broker.path("archive.stint");
    let ask = json!({ "below": UNIT, "archive": archive });
    let refused = watched.broker.command("/v1/ledger/prune", &ask).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("signed and witnessed"), "{detail}");
    assert!(!archive.exists());

    watched.witnesses[0].serve().await;
    watched.is_cosigned().await;
    let done = watched.broker.command("/v1/ledger/prune", &ask).await;
    assert_eq!(done.status, 200, "{}", done.text());
    watched.grants().await;
    watched.is_cosigned().await;
    // And a start holds what the witness knows against what is left.
    watched.broker.restart().await.unwrap();
    watched.grants().await;
    watched.is_cosigned().await;
    watched.broker.abandon().await;
}
