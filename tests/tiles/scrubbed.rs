//! What was altered in the store of a broker that runs: found, named, and made again where it can be (T1, T5, T8).

use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::{number, tamper};
use stint_wire::Code;

use crate::common::{fill, grant, scrub};

/// A broker with more entries than a tile.
async fn large() -> TestBroker {
    let broker = TestBroker::start().await;
    fill(&broker, 262).await;
    broker.derived().await;
    broker
}

/// After `sql` a pass names `text`, and nothing is granted any more.
async fn found(broker: TestBroker, sql: &str, text: &str) {
    assert!(tamper(&broker.database(), sql).await > 0, "{sql}");
    let said = scrub(&broker).await.refused(Code::StateConflict);
    assert!(said.detail.contains(text), "{sql}: {}", said.detail);
    let answer = broker
        .ci("acme/web")
        .ask("deploy", crate::common::STAGING)
        .x509()
        .await;
    drop(answer.refused(Code::Unavailable));
    let ready = broker.operator("GET", "/readyz").await;
    assert_eq!(ready.status, 503);
    broker.abandon().await;
}

async fn three() -> TestBroker {
    let broker = TestBroker::start().await;
    for _ in 0..3 {
        drop(grant(&broker).await);
    }
    broker.derived().await;
    broker
}

#[tokio::test]
async fn a_whole_ledger_is_found_whole() {
    let broker = large().await;
    let size = broker.size().await;
    let seen = scrub(&broker).await.json();
    assert_eq!(
        seen,
        json!({ "entries": size, "bodies": size, "erased": 0, "mended": 0 })
    );
    eventually("the endless pass was there", async || {
        let metrics = broker.operator("GET", "/metrics").await.text();
        let line = "stint_ledger_scrub_age_seconds ";
        metrics.lines().any(|it| it.starts_with(line))
    })
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn an_altered_header_is_named() {
    let sql = "UPDATE ledger_batch SET headers = (SELECT headers FROM ledger_batch WHERE first_seq = 6) WHERE first_seq = 7";
    found(three().await, sql, "entry 7").await;
}

#[tokio::test]
async fn an_altered_leaf_is_named() {
    found(
        three().await,
        "UPDATE ledger_batch SET hashes = zeroblob(32) WHERE first_seq = 7",
        "entry 7",
    )
    .await;
}

#[tokio::test]
async fn an_altered_root_is_named() {
    found(
        three().await,
        "UPDATE ledger_batch SET root = zeroblob(32) WHERE first_seq = 7",
        "entry 7",
    )
    .await;
}

#[tokio::test]
async fn an_entry_that_is_gone_is_named() {
    found(
        three().await,
        "DELETE FROM ledger_batch WHERE first_seq = 7",
        "entry 7",
    )
    .await;
}

#[tokio::test]
async fn swapped_bodies_are_named() {
    let sql =
        "UPDATE ledger_body SET body = (SELECT body FROM ledger_body WHERE seq = 6) WHERE seq = 7";
    found(three().await, sql, "entry 7: its body").await;
}

#[tokio::test]
async fn a_body_that_nobody_erased_is_named() {
    found(
        three().await,
        "DELETE FROM ledger_body WHERE seq = 7",
        "entry 7: its body is gone",
    )
    .await;
}

#[tokio::test]
async fn an_altered_tile_is_named() {
    found(
        large().await,
        "UPDATE ledger_tile SET tile = zeroblob(8192) WHERE level = 0",
        "tile/0/000",
    )
    .await;
}

#[tokio::test]
async fn a_note_of_another_root_is_named() {
    let broker = three().await;
    let other = TestBroker::start().await;
    for _ in 0..3 {
        drop(grant(&other).await);
    }
    let note = other.get("/v1/ledger/checkpoint").await.text();
    let size = other.size().await;
    let log = "it.stint/ledger";
    let sql = format!(
        "INSERT INTO ledger_note (log, size, note, cosigs) VALUES ('{log}', {size}, '{note}', '')
         ON CONFLICT (log, size) DO UPDATE SET note = excluded.note"
    );
    other.finish().await;
    found(broker, &sql, "note of size").await;
}

/// What is derived and gone, or lies, is made again: it was never evidence of anything.
#[tokio::test]
async fn index_and_tiles_are_made_again() {
    let broker = large().await;
    let database = broker.database();
    for (sql, mended) in [
        (
            "UPDATE ledger_index SET id = 'gr_x', kind = 'frozen' WHERE seq = 8",
            1,
        ),
        ("DELETE FROM ledger_index WHERE seq < 10", 10),
        (
            "UPDATE ledger_index SET subj = NULL, tbs = NULL, task_id = NULL WHERE seq = 9",
            1,
        ),
        ("DELETE FROM ledger_tile", 1),
    ] {
        assert!(tamper(&database, sql).await > 0, "{sql}");
        let seen = scrub(&broker).await.json();
        // The endless pass may have been faster.
        assert!(
            seen["mended"] == mended || seen["mended"] == 0,
            "{sql}: {seen}"
        );
        let again = scrub(&broker).await.json();
        assert_eq!(again["mended"], 0, "{sql}");
    }
    assert_eq!(
        number(&database, "SELECT count(*) FROM ledger_tile").await,
        1
    );
    let wrong = "SELECT count(*) FROM ledger_index WHERE id = 'gr_x'";
    assert_eq!(number(&database, wrong).await, 0);
    broker.finish().await;
}

/// A tile that lies is found by whoever needs it, without a pass.
#[tokio::test]
async fn a_proof_from_an_altered_tile_is_given_to_nobody() {
    let mut broker = large().await;
    broker.stop().await;
    let sql = "UPDATE ledger_tile SET tile = zeroblob(8192) WHERE level = 0";
    assert_eq!(tamper(&broker.database(), sql).await, 1);
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("tile/0/000"), "{refused}");
    broker.abandon().await;
}
