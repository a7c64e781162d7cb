//! Several brokers over one database write one ledger.

use std::collections::BTreeSet;

use serde_json::json;
use stint_tests::clock::eventually;
use stint_tests::database::cell;
use stint_tests::{TestBroker, together};

use crate::common::{STAGING, broker, grant};

#[tokio::test]
async fn two_brokers_lengthen_one_ledger() {
    let (a, _) = broker().await;
    let b = a.replica("b").await.unwrap();
    for _ in 0..5 {
        let first = grant(&a).await;
        let second = grant(&b).await;
        assert!(second > first, "{second} after {first}");
    }
    let asks = (0..10).flat_map(|_| [&a, &b]);
    let seqs = together(asks.map(grant)).await;
    let distinct: BTreeSet<_> = seqs.iter().collect();
    assert_eq!(distinct.len(), 20);
    let export = a.export().await;
    let nodes: BTreeSet<_> = export
        .of("granted")
        .iter()
        .map(|entry| entry.header["node"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    b.finish().await;
    a.finish().await;
}

#[tokio::test]
async fn evidence_that_was_used_at_one_broker_is_used_up_at_all() {
    let (a, _) = broker().await;
    let b = a.replica("b").await.unwrap();
    let job = a.ci("acme/web");
    let token = job.token();
    drop(
        job.ask("deploy", STAGING)
            .token(&token)
            .x509()
            .await
            .granted(),
    );
    let again = b
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(&token)
        .x509()
        .await;
    assert_ne!(again.status, 201, "{}", again.text());
    b.finish().await;
    a.finish().await;
}

#[tokio::test]
async fn a_freeze_at_one_broker_holds_at_all() {
    let (a, _) = broker().await;
    let b = a.replica("b").await.unwrap();
    grant(&b).await;
    let freeze = json!({ "issuer": "github", "reason": "a test" });
    assert_eq!(a.command("/v1/freeze", &freeze).await.status, 200);
    // Not a moment later: the commit itself folds what the other one wrote.
    let answer = b.ci("acme/web").ask("deploy", STAGING).x509().await;
    assert_ne!(answer.status, 201, "{}", answer.text());
    assert_eq!(a.command("/v1/unfreeze", &freeze).await.status, 200);
    eventually("the thaw is known", async || {
        b.ci("acme/web").ask("deploy", STAGING).x509().await.status == 201
    })
    .await;
    b.finish().await;
    a.finish().await;
}

#[tokio::test]
async fn two_brokers_of_one_name_do_not_both_serve() {
    let (a, _) = broker().await;
    grant(&a).await;
    assert!(a.replica("a").await.is_err(), "two lives of node a");
    grant(&a).await;
    a.finish().await;
}

#[tokio::test]
async fn a_replica_that_is_gone_is_not_missed() {
    let (a, spot) = broker().await;
    let mut b = a.replica("b").await.unwrap();
    grant(&b).await;
    b.stop().await;
    grant(&a).await;
    b.restart().await.unwrap();
    grant(&b).await;
    assert_eq!(b.database().spot().name, spot.name);
    b.finish().await;
    a.finish().await;
}

/// The connections that listen, by process.
async fn listening(broker: &TestBroker) -> Vec<u8> {
    let sql = "SELECT convert_to(coalesce(string_agg(pid::text, ' ' ORDER BY pid), ''), 'UTF8') FROM pg_stat_activity
               WHERE datname = current_database() AND query = 'LISTEN \"stint_head\"'";
    cell(&broker.database(), sql).await
}

/// How often a broker was woken.
async fn woken(broker: &TestBroker) -> u64 {
    let text = broker.operator("GET", "/metrics").await.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("stint_ledger_woken_total "));
    line.unwrap().parse().unwrap()
}

/// Each batch says whose it is, each broker is woken by the others' and not by its own, and listens again after it was cut
/// off. What is heard only saves waiting for the poll, so all of it may fail.
#[tokio::test]
async fn brokers_wake_each_other() {
    let (a, spot) = broker().await;
    let b = a.replica("b").await.unwrap();
    let two = async || listening(&a).await.split(|byte| *byte == b' ').count() == 2;
    eventually("both listen", two).await;
    grant(&a).await;
    eventually("b is woken", async || woken(&b).await > 0).await;
    let before = woken(&a).await;
    grant(&a).await;
    // Its own head, which it knows: whatever woke it since was of b, which wrote no entry.
    assert_eq!(woken(&a).await, before);
    grant(&b).await;
    eventually("a is woken", async || woken(&a).await > before).await;

    let first = listening(&a).await;
    spot.tell(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .await;
    eventually("both listen again", async || {
        two().await && listening(&a).await != first
    })
    .await;
    let before = woken(&b).await;
    grant(&a).await;
    eventually("b is woken again", async || woken(&b).await > before).await;
    b.finish().await;
    a.finish().await;
}
