//! Two replicas, one of which sends: when it is killed the other goes on, at least once and without a gap.

use stint_tests::database::{cell, tamper};
use stint_tests::postgres::Cluster;
use stint_tests::{TestBroker, together};

use crate::check::proves_all;
use crate::receiver::{Mood, Receiver, seqs};

async fn ask(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    let asking = caller.ask("deploy", "Environment::staging/web");
    drop(asking.x509().await.granted());
}

/// Which replica has the turn, by its name.
async fn sender(broker: &TestBroker) -> String {
    let sql = "SELECT owner FROM ledger_cursor WHERE name = 'sink/out'";
    String::from_utf8(cell(&broker.database(), sql).await).unwrap()
}

#[tokio::test]
async fn a_replica_goes_on_where_a_killed_one_was() {
    let receiver = Receiver::start().await;
    let spot = Cluster::shared().await.database().await;
    let setup = TestBroker::with().real_time().on_server(&spot, spot.port);
    let table = receiver.sink("jsonl", "batch = 2\ntimeout = \"2s\"");
    let mut first = setup.tables(&table).start().await;
    first.stop().await;
    let mut second = first.beside("b", |config| config);
    together([&mut first, &mut second].map(|it| it.serve(None))).await;
    for mood in [Mood::Hangs, Mood::TakesAndSays(503)] {
        together([ask(&first), ask(&second)]).await;
        receiver.mood(mood);
        receiver.one_more().await;
        let second_sends = sender(&first).await == "b";
        let (dead, other) = match second_sends {
            true => (&mut second, &first),
            false => (&mut first, &second),
        };
        dead.kill();
        receiver.mood(Mood::Takes);
        ask(other).await;
        // As if its turn had run out: that takes a minute and a half.
        let past = "UPDATE ledger_cursor SET until = 0 WHERE name = 'sink/out'";
        assert_eq!(tamper(&other.database(), past).await, 1);
        let text = proves_all(other, || receiver.text()).await;
        let mut next = 0;
        for seq in seqs(&text) {
            assert!(seq <= next, "{seq} came, {next} did not");
            next = next.max(seq + 1);
        }
        dead.serve(None).await;
    }
    second.finish_after_crash().await;
    first.finish_after_crash().await;
}
