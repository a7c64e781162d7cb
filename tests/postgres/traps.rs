//! What is known to go wrong between sqlx and PostgreSQL (SECURITY.md §3): a future that is dropped in a transaction, a
//! default isolation that is not the one the ledger was thought through for, a connection that was taken away.

use std::time::Duration;

use stint_tests::clock::eventually;
use stint_tests::database::{Database, number};
use stint_tests::proxy::{Proxy, Way};
use stint_tests::{TestBroker, keys, together};
use stint_wire::Code;

use crate::common::{STAGING, broker, grant};

/// `begin()` of sqlx is not cancel-safe: here no client's future has one, and no connection comes back with one open.
#[tokio::test]
async fn clients_that_hang_up_in_the_middle_leave_no_transaction_behind() {
    let cluster = stint_tests::postgres::Cluster::shared().await;
    let spot = cluster.database().await;
    let proxy = Proxy::to(spot.port).await;
    let broker = TestBroker::with()
        .on_server(&spot, proxy.port())
        .start()
        .await;
    // Slow enough that most are gone while the broker reads.
    proxy.set(
        Way::Open(Duration::from_millis(5)),
        Way::Open(Duration::from_millis(5)),
    );
    let csr = keys::csr();
    let asks = (0..60).map(|at| {
        let asked = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .for_csr(&csr)
            .judge();
        async move {
            tokio::time::timeout(Duration::from_millis(at * 2), asked)
                .await
                .is_ok()
        }
    });
    let answered = together(asks).await.into_iter().filter(|it| *it).count();
    assert!(answered < 60, "nobody hung up");
    proxy.heal();
    let database = Database::Server(spot);
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    eventually("nothing is in a transaction", async || {
        number(&database, open).await == 0
    })
    .await;
    // Whoever reads next reads on a clean connection: as many at once as there are.
    let asks = (0..16).map(|_| {
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .for_csr(&csr)
            .judge()
    });
    for answer in together(asks).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    grant(&broker).await;
    broker.finish().await;
}

/// The isolation is the one LEDGER.md §7 argues with, whatever the server's default is, and no statement can hang for
/// ever: read where it counts, inside the transaction that extends the ledger.
#[tokio::test]
async fn the_commit_chooses_its_isolation_and_its_limits() {
    let (mut broker, spot) = broker().await;
    broker.stop().await;
    spot.tell(
        "CREATE TABLE attack.inside (isolation text, statement text, idle text);
         CREATE FUNCTION attack.look() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           INSERT INTO attack.inside VALUES (current_setting('transaction_isolation'),
             current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'));
           RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON ledger_batch FOR EACH ROW EXECUTE FUNCTION attack.look()",
    )
    .await;
    let sql = format!(
        "ALTER DATABASE {} SET default_transaction_isolation = serializable",
        spot.name
    );
    spot.tell(&sql).await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    let database = Database::Server(spot);
    let count = |sql| number(&database, sql);
    assert!(count("SELECT count(*) FROM attack.inside").await > 0);
    let other = "SELECT count(*) FROM attack.inside
                 WHERE (isolation, statement, idle) IS DISTINCT FROM ('read committed', '5s', '10s')";
    assert_eq!(count(other).await, 0);
    broker.finish().await;
}

/// A pool hands out what it has: a connection that the server ended is found out before it is used.
#[tokio::test]
async fn connections_that_the_server_ended_are_replaced() {
    let (broker, spot) = broker().await;
    grant(&broker).await;
    for _ in 0..3 {
        spot.tell(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
        // The first to write may find out the hard way, and says so: nothing was granted.
        eventually("a grant", async || {
            let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
            if answer.status != 201 {
                let _problem = answer.refused(Code::Unavailable);
            }
            answer.status == 201
        })
        .await;
    }
    broker.finish().await;
}
