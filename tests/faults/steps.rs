//! `kill -9` at every step of the commit (LEDGER.md §7): before and in the middle of each call that SQLite makes of its
//! files, and at each statement that PostgreSQL is sent, before and within COMMIT and before its answer is heard.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use stint_broker::store::Engine;
use stint_tests::clock::eventually;
use stint_tests::database::{Database, number, only_on};
use stint_tests::postgres::{Cluster, Spot};
use stint_tests::process::program;
use stint_tests::proxy::{After, Proxy};
use stint_tests::{TestBroker, together};

use crate::common::{failing_disk, grant, reads, rounds, settled, setup, try_grant};

/// A program on a disk that does as it is told.
pub(crate) async fn on_disk(broker: &mut TestBroker, order: &str) {
    let (library, at) = (failing_disk(), broker.path("disk"));
    drop(std::fs::remove_file(&at));
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
        ("STINT_DISK", at.display().to_string()),
        ("STINT_TRACE", broker.path("trace").display().to_string()),
    ];
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let traced = order == "trace";
    broker.serve_with(&env[..if traced { 3 } else { 2 }]).await;
    if !traced {
        tell(broker, order);
    }
}

/// A start that dies at one of its calls.
pub(crate) async fn killed_starting(broker: &TestBroker, call: usize) {
    tell(broker, &format!("kill {call}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = format!(
        "[server]\nlisten = \"{}\"\n",
        listener.local_addr().unwrap()
    );
    drop(listener);
    let path = broker.config_file();
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replacen("[server]\n", &listen, 1);
    std::fs::write(&path, text).unwrap();
    let mut child = Command::new(program("stintd"))
        .args(["serve", "-c"])
        .arg(path)
        .env("LD_PRELOAD", failing_disk())
        .env("STINT_DISK", broker.path("disk"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it dies", async || child.try_wait().unwrap().is_some()).await;
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), Some(9), "call {call}: {ended}");
}

/// Tells the disk, at once and whole.
pub(crate) fn tell(broker: &TestBroker, order: &str) {
    let new = broker.path("disk.new");
    std::fs::write(&new, order).unwrap();
    std::fs::rename(new, broker.path("disk")).unwrap();
}

/// A grant is a handful of calls: the log's pages and a sync. The later ones are of the certificate that is kept, of the
/// sign of life, and of the next grant.
#[tokio::test]
async fn sqlite_is_killed_at_every_call_of_a_commit() {
    if !only_on(Engine::Sqlite, "a disk that fails is under a file") {
        return;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    let mut died = 0;
    for call in 0..12 * rounds() {
        let word = if call % 3 == 2 { "tear" } else { "kill" };
        on_disk(&mut broker, &format!("{word} {call}")).await;
        // The one that dies in it may ask for more than its own commit.
        for _ in 0..20 {
            if try_grant(&broker).await == 0 {
                died += 1;
                break;
            }
        }
        broker.kill();
    }
    assert_eq!(died, 12 * rounds(), "some died of nothing");
    broker.restart().await.unwrap();
    grant(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// Where a statement of the commit waits until it is let go: before or after a table is written, or in COMMIT itself.
#[derive(Debug, Clone, Copy)]
struct Step {
    table: &'static str,
    when: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        table: "spent",
        when: "BEFORE INSERT",
    },
    Step {
        table: "task",
        when: "BEFORE INSERT",
    },
    Step {
        table: "granted",
        when: "BEFORE INSERT",
    },
    Step {
        table: "ledger_node",
        when: "BEFORE UPDATE",
    },
    Step {
        table: "ledger_head",
        when: "BEFORE UPDATE",
    },
    Step {
        table: "ledger_batch",
        when: "BEFORE INSERT",
    },
    Step {
        table: "ledger_body",
        when: "BEFORE INSERT",
    },
    Step {
        table: "ledger_body",
        when: "AFTER INSERT",
    },
    Step {
        table: "ledger_batch",
        when: "COMMIT",
    },
];

/// Whoever comes by `step` waits for the lock that the test holds; the sign of life alone waits for nobody.
fn trap(step: Step) -> String {
    let mut sql = String::from(
        "CREATE FUNCTION attack.wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;",
    );
    let Step { table, when } = step;
    let made = match when {
        "COMMIT" => write!(
            sql,
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION attack.wait()"
        ),
        when => write!(
            sql,
            "CREATE TRIGGER wait {when} ON {table} FOR EACH ROW EXECUTE FUNCTION attack.wait()"
        ),
    };
    made.unwrap();
    sql
}

async fn killed_at(step: Step) {
    let spot = Cluster::shared().await.database().await;
    let mut broker = setup(&spot, spot.port).start().await;
    broker.stop().await;
    broker.serve(None).await;
    grant(&broker).await;
    let id = broker.process().id();
    let mut holder = spot.connect().await;
    sqlx::query("SELECT pg_advisory_lock(4711)")
        .execute(&mut holder)
        .await
        .unwrap();
    spot.tell(&trap(step)).await;
    let (status, ()) = tokio::join!(try_grant(&broker), async {
        waits(&spot).await;
        stint_tests::process::signal(id, "KILL");
    });
    assert_eq!(status, 0, "{step:?}: it was answered");
    broker.kill();
    // What it had begun comes to its end as if its machine were gone: without it.
    spot.tell(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = 'stint'",
    )
    .await;
    sqlx::query("SELECT pg_advisory_unlock(4711)")
        .execute(&mut holder)
        .await
        .unwrap();
    spot.tell("DROP FUNCTION attack.wait() CASCADE").await;
    sqlx::Connection::close(holder).await.unwrap();
    broker.restart().await.unwrap();
    grant(&broker).await;
    let export = settled(&broker, &broker.grants()).await;
    assert_eq!(
        export.of("granted").len(),
        2,
        "{step:?}: what never was committed is there"
    );
    broker.finish().await;
}

/// Somebody waits for the lock.
async fn waits(spot: &Spot) {
    let database = Database::Server(spot.clone());
    eventually("a statement waits", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event = 'advisory'";
        number(&database, sql).await > 0
    })
    .await;
}

#[tokio::test]
async fn on_postgres_a_broker_that_is_killed_at_any_statement_leaves_nothing_of_it() {
    for steps in STEPS.chunks(5) {
        together(steps.iter().map(|step| killed_at(*step))).await;
    }
}

/// The commit is in the server's hands and the broker is gone before it hears of it: the entry stands, closed by the next
/// life.
#[tokio::test]
async fn on_postgres_a_broker_that_dies_before_it_hears_of_its_commit_leaves_a_closed_grant() {
    let spot = Cluster::shared().await.database().await;
    let proxy = Proxy::to(spot.port).await;
    let mut broker = setup(&spot, proxy.port()).start().await;
    broker.stop().await;
    broker.serve(None).await;
    grant(&broker).await;
    let id = broker.process().id();
    // What is derived of the first grant is committed by now, so the next COMMIT is the second's.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.after(b"COMMIT\0", After::Deaf);
    let (status, ()) = tokio::join!(try_grant(&broker), async {
        eventually("COMMIT went by", async || proxy.triggered()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stint_tests::process::signal(id, "KILL");
    });
    assert_eq!(status, 0);
    broker.kill();
    proxy.heal();
    broker.restart().await.unwrap();
    let export = settled(&broker, &broker.grants()).await;
    assert_eq!(export.of("granted").len(), 2);
    let closed = export.of("sign_failed");
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].header["what"]["why"], "interrupted");
    broker.finish_after_crash().await;
}

/// The server holds a COMMIT for longer than anybody waits. It comes to light after all: nobody was told, so nobody has the
/// credential, and the broker that wrote it closes it.
#[tokio::test]
async fn on_postgres_a_commit_that_comes_to_light_after_it_was_given_up_is_closed() {
    let spot = Cluster::shared().await.database().await;
    let broker = setup(&spot, spot.port).start().await;
    grant(&broker).await;
    let mut holder = spot.connect().await;
    sqlx::query("SELECT pg_advisory_lock(4711)")
        .execute(&mut holder)
        .await
        .unwrap();
    let within = Step {
        table: "ledger_batch",
        when: "COMMIT",
    };
    spot.tell(&trap(within)).await;
    assert_eq!(try_grant(&broker).await, 503);
    // The caller's patience ends before the broker's.
    reads(&broker, "store_unavailable").await;
    sqlx::query("SELECT pg_advisory_unlock(4711)")
        .execute(&mut holder)
        .await
        .unwrap();
    sqlx::Connection::close(holder).await.unwrap();
    eventually("it is closed", async || {
        let answer = broker.operator("GET", "/readyz").await;
        answer.status == 200 && !broker.export().await.of("sign_failed").is_empty()
    })
    .await;
    grant(&broker).await;
    let export = settled(&broker, &broker.grants()).await;
    assert_eq!(export.of("granted").len(), 3);
    let closed = export.of("sign_failed");
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].header["what"]["why"], "interrupted");
    broker.finish_after_crash().await;
}
