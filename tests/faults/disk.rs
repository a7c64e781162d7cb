//! SQLite on a disk that fails: full, a sync that fails once, a read that fails once.

use std::os::unix::process::ExitStatusExt as _;

use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::only_on;
use stint_wire::Code;

use crate::common::{STAGING, grant, is_ready, reads, recovers, settled, try_grant};
use crate::steps::{on_disk, tell};

async fn broker() -> Option<TestBroker> {
    if !only_on(Engine::Sqlite, "a disk that fails is under a file") {
        return None;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    on_disk(&mut broker, "well").await;
    grant(&broker).await;
    Some(broker)
}

/// No space: refused and said, nothing written, and it goes on by itself as soon as there is some.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let Some(mut broker) = broker().await else {
        return;
    };
    tell(&broker, "full");
    let token = broker.ci("acme/web").token();
    let ask = || broker.ci("acme/web").ask("deploy", STAGING).token(&token);
    for _ in 0..3 {
        let answer = ask().x509().await;
        let problem = answer.refused(Code::Unavailable);
        assert!(problem.retryable);
        assert_eq!(
            answer.header("retry-after"),
            problem.retry_after_s.unwrap().to_string()
        );
    }
    reads(&broker, "ledger_unwritable").await;
    tell(&broker, "well");
    // The token that was refused was not used up.
    eventually("it grants again", async || ask().x509().await.status == 201).await;
    is_ready(&broker).await;
    broker.stop().await;
    broker.restart().await.unwrap();
    drop(settled(&broker, &broker.grants()).await);
    broker.finish().await;
}

/// After a sync that failed nobody knows what is on the disk, and the page cache lies: the process ends, the next start
/// reads what is there.
#[tokio::test]
async fn a_sync_that_fails_ends_the_process() {
    // A sync that fails once may be the checkpoint writer's, whose frames the commit of the grant wrote anew and synced.
    for (order, answers) in [
        ("sync each", [0, 503].as_slice()),
        ("sync once", &[0, 201, 503]),
    ] {
        let Some(mut broker) = broker().await else {
            return;
        };
        tell(&broker, order);
        let status = try_grant(&broker).await;
        assert!(answers.contains(&status), "{order}: {status}");
        eventually(&format!("the process ends: {order} {status}"), async || {
            broker.process().ended().is_some()
        })
        .await;
        assert_eq!(broker.process().ended().unwrap().signal(), Some(6));
        let said = stint_tests::process::said(&broker.path(""));
        assert!(said.contains("the process ends"), "{said}");
        broker.kill();
        broker.restart().await.unwrap();
        grant(&broker).await;
        drop(settled(&broker, &broker.grants()).await);
        broker.finish_after_crash().await;
    }
}

/// A read that fails is a 503 or the end of the process, never a grant that rests on what was not read.
#[tokio::test]
async fn a_read_that_fails_is_no_answer() {
    let Some(mut broker) = broker().await else {
        return;
    };
    for _ in 0..5 {
        if broker.process().ended().is_some() {
            broker.kill();
            on_disk(&mut broker, "well").await;
        }
        tell(&broker, "read");
        assert!(matches!(try_grant(&broker).await, 0 | 201 | 503));
    }
    drop(std::fs::remove_file(broker.path("disk")));
    if broker.process().ended().is_none() {
        recovers(&broker).await;
    }
    broker.kill();
    broker.restart().await.unwrap();
    grant(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// Less than the reserve is left: refused while there is room to refuse in.
#[tokio::test]
async fn below_the_reserve_nothing_is_granted_and_it_says_so() {
    if !only_on(Engine::Sqlite, "the reserve is of the disk a file lies on") {
        return;
    }
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    broker.reconfigure("[store]\n", "[store]\ndisk_reserve = \"1000000GiB\"\n");
    let refused = broker.restart().await.unwrap_err();
    assert!(
        refused.to_string().contains("could not be recorded"),
        "{refused}"
    );
    broker.reconfigure("disk_reserve = \"1000000GiB\"\n", "");
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}
