//! PostgreSQL that is restarted, ends connections, hangs, is lost and replaced: nothing that was answered is lost, nothing
//! is answered that was not recorded, and the broker finds its way back by itself or stops where history was rewritten.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use stint_tests::clock::eventually;
use stint_tests::database::{Database, number};
use stint_tests::postgres::{Cluster, Replication};
use stint_tests::proxy::{After, Proxy};
use stint_tests::{TestBroker, together};
use stint_wire::Code;

use crate::common::{
    STAGING, grant, is_ready, load, on_server, reads, recovers, rounds, settled, setup,
};

/// Four clients ask while `fault` happens; all they ever hear is 201 and 503. Gives what `fault` gave.
async fn under_load<T>(broker: &TestBroker, fault: impl Future<Output = T>) -> T {
    let over = std::cell::Cell::new(false);
    let client = || {
        load(broker, |_| match over.get() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    let fault = async {
        let done = fault.await;
        over.set(true);
        done
    };
    tokio::join!(fault, together((0..4).map(|_| client()))).0
}

/// What waits for a program, where others may go on.
async fn aside(wait: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(wait).await.unwrap();
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let cluster = Arc::new(Cluster::start(&[]));
    let spot = cluster.database().await;
    let broker = setup(&spot, spot.port).start().await;
    for mode in ["fast", "immediate"].repeat(rounds()) {
        under_load(&broker, async {
            pause().await;
            let cluster = Arc::clone(&cluster);
            aside(move || cluster.restart(mode)).await;
            pause().await;
        })
        .await;
        recovers(&broker).await;
    }
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// Backends ended and statements cancelled, again and again, whatever they are in the middle of.
#[tokio::test]
async fn connections_that_are_ended_and_statements_that_are_cancelled_cost_nothing_that_was_answered()
 {
    let (broker, spot) = on_server().await;
    let before = broker.released();
    for word in ["pg_terminate_backend", "pg_cancel_backend"] {
        let storm = async {
            for _ in 0..25 * rounds() {
                let sql = format!(
                    "SELECT {word}(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'stint'"
                );
                spot.tell(&sql).await;
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        };
        under_load(&broker, storm).await;
        recovers(&broker).await;
    }
    assert!(broker.released() > before);
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// The primary is lost, its synchronous standby takes its place: everything that was answered is there.
#[tokio::test]
async fn a_synchronous_standby_takes_over_and_nothing_is_lost() {
    let primary = Arc::new(Cluster::start(&[]));
    let spot = primary.database().await;
    let proxy = Proxy::to(spot.port).await;
    let mut broker = setup(&spot, proxy.port()).start().await;
    let standby = Arc::new(primary.standby(Replication::Sync).await);
    under_load(&broker, async {
        pause().await;
        let (lost, heir) = (Arc::clone(&primary), Arc::clone(&standby));
        aside(move || {
            lost.down("immediate");
            heir.promote();
        })
        .await;
        proxy.lead_to(standby.port());
        proxy.cut();
        pause().await;
    })
    .await;
    recovers(&broker).await;
    let export = settled(&broker, &broker.grants()).await;
    let causes = |export: &stint_tests::after::Export| {
        let loaded = export.of("config_loaded");
        loaded
            .iter()
            .map(|it| it.header["what"]["cause"].clone())
            .collect::<Vec<_>>()
    };
    let mut said = causes(&export);
    for _ in 0..50 {
        if said.last().unwrap() == "failover" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        said = causes(&broker.export().await);
    }
    assert_eq!(said.last().unwrap(), "failover", "{said:?}");
    broker.moved_to(standby.spot(&spot.name));
    broker.finish_after_crash().await;
}

/// The standby that each commit waits for is gone: nobody is told anything that only one machine has. When it is back, it
/// goes on by itself.
#[tokio::test]
async fn without_its_synchronous_standby_nothing_is_answered() {
    let primary = Cluster::start(&[]);
    let spot = primary.database().await;
    let broker = setup(&spot, spot.port).start().await;
    let standby = primary.standby(Replication::Sync).await;
    grant(&broker).await;
    standby.down("immediate");
    let asks = (0..3).map(|_| broker.ci("acme/web").ask("deploy", STAGING).x509());
    for answer in together(asks).await {
        drop(answer.refused(Code::Unavailable));
    }
    standby.up();
    recovers(&broker).await;
    // A walk that outlived its caller's patience may have gone on to its end, as if its caller had hung up.
    broker.finish_after_crash().await;
}

/// The primary is lost with entries that its standby never had: a broker that knows them extends nothing else.
#[tokio::test]
async fn a_standby_without_the_last_entries_is_not_gone_on_with() {
    let primary = Cluster::start(&[]);
    let spot = primary.database().await;
    let proxy = Proxy::to(spot.port).await;
    let broker = setup(&spot, proxy.port()).start().await;
    let standby = primary.standby(Replication::Async).await;
    grant(&broker).await;
    let size = i64::try_from(broker.size().await).unwrap();
    let there = Database::Server(standby.spot(&spot.name));
    eventually("the standby has it", async || {
        number(&there, "SELECT max(size) FROM ledger_head").await >= size
    })
    .await;
    standby.down("immediate");
    grant(&broker).await;
    primary.down("immediate");
    standby.configure(&[("primary_conninfo", "")]);
    standby.up();
    standby.promote();
    proxy.lead_to(standby.port());
    proxy.cut();
    reads(&broker, "ledger_diverged").await;
    for _ in 0..3 {
        let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
        drop(answer.refused(Code::Unavailable));
    }
    assert_eq!(
        number(&there, "SELECT max(size) FROM ledger_head").await,
        size,
        "it was extended"
    );
    broker.give_up().await;
}

/// COMMIT reaches the server, its answer goes nowhere: the batch is looked for by its place and root, found, and answered.
#[tokio::test]
async fn a_commit_whose_answer_is_swallowed_is_looked_for_and_found() {
    for fate in [After::Cut, After::Deaf] {
        let spot = Cluster::shared().await.database().await;
        let proxy = Proxy::to(spot.port).await;
        let broker = setup(&spot, proxy.port()).start().await;
        grant(&broker).await;
        // What is derived of it is committed by now: the next COMMIT is a grant's.
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.after(b"COMMIT\0", fate);
        grant(&broker).await;
        assert!(proxy.triggered());
        grant(&broker).await;
        let export = settled(&broker, &broker.grants()).await;
        assert_eq!(export.of("sign_failed").len(), 0, "{fate:?}");
        broker.finish().await;
    }
}

/// The connection ends before COMMIT was sent: nothing is recorded, and the same token may be shown again.
#[tokio::test]
async fn a_commit_that_never_reached_the_server_leaves_nothing() {
    let spot = Cluster::shared().await.database().await;
    let proxy = Proxy::to(spot.port).await;
    let broker = setup(&spot, proxy.port()).start().await;
    grant(&broker).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let token = broker.ci("acme/web").token();
    let ask = || {
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&token)
            .x509()
    };
    proxy.after(b"COMMIT\0", After::Lost);
    drop(ask().await.refused(Code::Unavailable));
    assert!(proxy.triggered());
    eventually("the same token is good", async || ask().await.status == 201).await;
    let export = settled(&broker, &broker.grants()).await;
    assert_eq!(export.of("granted").len(), 2);
    broker.finish().await;
}

/// A server that takes connections and answers nothing: refused in bounded time, said, and found again by itself.
#[tokio::test]
async fn a_server_that_hangs_is_waited_for_and_not_for_ever() {
    let spot = Cluster::shared().await.database().await;
    let proxy = Proxy::to(spot.port).await;
    let broker = setup(&spot, proxy.port()).start().await;
    grant(&broker).await;
    proxy.black_hole();
    let asks = (0..8).map(|_| async {
        let ask = broker.ci("acme/web").ask("deploy", STAGING).x509();
        // Far more than it takes: that it ends at all is what counts.
        tokio::time::timeout(Duration::from_secs(60), ask)
            .await
            .unwrap()
    });
    for answer in together(asks).await {
        drop(answer.refused(Code::Unavailable));
    }
    reads(&broker, "store_unavailable").await;
    proxy.heal();
    proxy.cut();
    recovers(&broker).await;
    is_ready(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// A deadlock's victim was undone as a whole: it is tried again, and nobody hears of it.
#[tokio::test]
async fn the_victim_of_a_deadlock_is_tried_again() {
    let (broker, spot) = on_server().await;
    grant(&broker).await;
    spot.tell(
        "CREATE SEQUENCE attack.times;
         CREATE FUNCTION attack.victim() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           IF nextval('attack.times') <= 3 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
           RETURN NEW; END $$;
         CREATE TRIGGER victim BEFORE INSERT ON granted FOR EACH ROW EXECUTE FUNCTION attack.victim()",
    )
    .await;
    grant(&broker).await;
    let database = Database::Server(spot);
    assert_eq!(
        number(&database, "SELECT last_value FROM attack.times").await,
        4
    );
    broker.finish().await;
}
