//! The primary is lost and the standby takes over: with a synchronous standby nothing is lost, without one it shows.

use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::{Database, number};
use stint_tests::postgres::{Cluster, Replication, Spot};

use crate::common::{grant, refused, setup};

/// From now on the broker asks `to`, where the same database is.
fn move_to(broker: &mut TestBroker, from: &Spot, to: &Cluster) {
    broker.reconfigure(&format!(":{}/", from.port), &format!(":{}/", to.port()));
}

#[tokio::test]
async fn a_standby_is_refused_until_it_is_promoted_and_then_has_every_grant() {
    let primary = Cluster::start(&[]);
    let spot = primary.database().await;
    let mut broker = setup(&spot).start().await;
    let standby = primary.standby(Replication::Sync).await;
    let last = {
        grant(&broker).await;
        grant(&broker).await
    };
    broker.stop().await;
    move_to(&mut broker, &spot, &standby);
    let said = refused(&mut broker).await;
    assert!(said.contains("`pg_is_in_recovery` reads `on`"), "{said}");
    primary.down("immediate");
    standby.promote();
    // The new primary waits for nobody.
    broker.restart().await.unwrap();
    assert!(grant(&broker).await > last);
    broker.moved_to(standby.spot(&spot.name));
    broker.finish().await;
}

#[tokio::test]
async fn a_standby_that_lacks_what_the_pin_knows_does_not_serve() {
    let primary = Cluster::start(&[]);
    let spot = primary.database().await;
    let mut broker = setup(&spot).start().await;
    let standby = primary.standby(Replication::Async).await;
    grant(&broker).await;
    let there = Database::Server(standby.spot(&spot.name));
    let size = i64::try_from(broker.size().await).unwrap();
    eventually("the standby has it", async || {
        number(&there, "SELECT max(size) FROM ledger_head").await >= size
    })
    .await;
    // Cut off: what follows is acknowledged and does not get there.
    standby.down("immediate");
    grant(&broker).await;
    broker.stop().await;
    primary.down("immediate");
    standby.configure(&[("primary_conninfo", "")]);
    standby.up();
    standby.promote();
    move_to(&mut broker, &spot, &standby);
    let said = refused(&mut broker).await;
    assert!(said.contains("the pin knows"), "{said}");
    broker.give_up().await;
}
