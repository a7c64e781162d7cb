//! Anchors, and a start that begins with the newest one.

use serde_json::json;
use stint_audit::kind::{Anchor, KeyUse};
use stint_audit::{Digest, What};
use stint_tests::TestBroker;
use stint_tests::database::tamper;
use stint_wire::Code;

use crate::common::{STAGING, anchored, fill, grant, hashes, headers, parsed, root, scrub};

fn anchor(what: &What) -> &Anchor {
    let What::Anchor(anchor) = what else {
        panic!("{what:?}")
    };
    anchor
}

/// What binds as of `size`, by a fold of this test's own.
async fn standing(broker: &TestBroker, size: u64) -> Digest {
    let mut seqs: Vec<u64> = Vec::new();
    let mut policy = None;
    for header in headers(broker, 0, size).await {
        match &header.what {
            What::PolicyLoaded(loaded) if loaded.ok => policy = Some(header.seq),
            What::KeyAdded(_) | What::Frozen(_) => seqs.push(header.seq),
            What::Unfrozen(it) => seqs.retain(|seq| *seq != it.of),
            _ => {}
        }
    }
    seqs.extend(policy);
    seqs.sort_unstable();
    let text: Vec<_> = seqs.iter().map(ToString::to_string).collect();
    Digest::of(text.join("\n").as_bytes())
}

async fn freeze(broker: &TestBroker, path: &str) {
    let ask = json!({ "all": false, "issuer": "github", "reason": "a drill" });
    let done = broker.command(path, &ask).await;
    assert_eq!(done.json()["changed"], true, "{}", done.text());
}

async fn is_frozen(broker: &TestBroker) -> bool {
    let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
    match answer.status.as_u16() {
        201 => false,
        _ => {
            drop(answer.refused(Code::EvidenceRejected));
            true
        }
    }
}

#[tokio::test]
async fn an_anchor_has_a_head_of_the_log_and_the_hash_of_what_binds() {
    let broker = TestBroker::start().await;
    drop(grant(&broker).await);
    let entry = anchored(&broker).await;
    let said = anchor(&entry.what);
    assert!(said.size <= entry.seq);
    let leaves = hashes(&broker, &format!("tile/0/000.p/{}", said.size)).await;
    assert_eq!(said.root, root(&leaves));
    assert_eq!(said.standing, standing(&broker, said.size).await);
    let body = broker
        .operator("GET", &format!("/v1/ledger/entries/{}", entry.seq))
        .await
        .json();
    let note = body["body"]["what"]["note"].as_str().unwrap();
    assert_eq!(Digest::of(note.as_bytes()), said.note);
    assert_eq!(
        (parsed(note).size, parsed(note).root),
        (said.size, said.root)
    );
    assert_eq!((said.cosigs, said.latest), (0, None));
    broker.finish().await;
}

#[tokio::test]
async fn an_anchor_alone_brings_no_other() {
    let broker = TestBroker::start().await;
    let first = anchored(&broker).await;
    broker.clock.advance(600);
    // The next one comes with the next grant, and it is the only one in between.
    drop(grant(&broker).await);
    let second = anchored(&broker).await;
    let kinds = headers(&broker, first.seq, second.seq).await;
    let anchors = kinds
        .iter()
        .filter(|header| header.what.kind() == "anchor")
        .count();
    assert!(anchors <= 2, "{anchors}");
    assert!(kinds.iter().any(|header| header.what.kind() == "granted"));
    broker.finish().await;
}

#[tokio::test]
async fn what_binds_outlives_starts_from_an_anchor() {
    let mut broker = TestBroker::start().await;
    drop(grant(&broker).await);
    freeze(&broker, "/v1/freeze").await;
    drop(anchored(&broker).await);
    broker.restart().await.unwrap();
    assert!(is_frozen(&broker).await);
    freeze(&broker, "/v1/unfreeze").await;
    drop(anchored(&broker).await);
    broker.restart().await.unwrap();
    assert!(!is_frozen(&broker).await);
    // A policy that took force after the anchor is in force after the start.
    let text = broker.read_policy("web.cedar");
    broker.write_policy("web.cedar", &format!("{text}\n// another one\n"));
    assert_eq!(broker.reload().await.status, 200);
    let version = broker.get("/v1/policy").await.json();
    broker.restart().await.unwrap();
    assert_eq!(broker.get("/v1/policy").await.json(), version);
    drop(grant(&broker).await);
    drop(anchored(&broker).await);
    broker.restart().await.unwrap();
    drop(grant(&broker).await);
    let last = anchored(&broker).await;
    let said = anchor(&last.what);
    assert_eq!(said.standing, standing(&broker, said.size).await);
    let keys = headers(&broker, 0, said.size).await;
    assert!(
        keys.iter()
            .any(|it| matches!(&it.what, What::KeyAdded(it) if it.usage == KeyUse::Log))
    );
    broker.finish().await;
}

/// Whatever is derived may be taken away or lie: the start then goes the long way, and nothing is forgotten.
#[tokio::test]
async fn a_start_needs_no_row_that_is_derived() {
    let mut broker = TestBroker::start().await;
    freeze(&broker, "/v1/freeze").await;
    drop(anchored(&broker).await);
    broker.derived().await;
    broker.stop().await;
    broker.database().save("whole").await;
    std::fs::copy(broker.path("ledger.pin"), broker.path("whole.pin")).unwrap();
    for sql in [
        "DELETE FROM ledger_standing",
        "UPDATE ledger_standing SET seqs = '1'",
        "UPDATE ledger_standing SET seqs = 'x'",
        "UPDATE ledger_standing SET size = size - 1",
        "DELETE FROM ledger_index",
        "UPDATE ledger_index SET kind = 'anchor'",
        "UPDATE ledger_index SET seq = seq + 1000",
        "DELETE FROM ledger_cursor",
        "UPDATE ledger_cursor SET seq = 1000000",
    ] {
        assert!(tamper(&broker.database(), sql).await > 0, "{sql}");
        broker
            .restart()
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(is_frozen(&broker).await, "{sql}");
        broker.stop().await;
        broker.database().restore("whole").await;
        std::fs::copy(broker.path("whole.pin"), broker.path("ledger.pin")).unwrap();
    }
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_freeze_that_was_taken_away_keeps_the_broker_from_starting() {
    let mut broker = TestBroker::start().await;
    freeze(&broker, "/v1/freeze").await;
    let frozen = crate::common::newest(&broker, "frozen").await.unwrap().seq;
    drop(anchored(&broker).await);
    broker.stop().await;
    broker.database().save("whole").await;
    for sql in [
        format!("DELETE FROM ledger_batch WHERE first_seq = {frozen}"),
        format!("UPDATE ledger_batch SET headers = zeroblob(0) WHERE first_seq = {frozen}"),
        format!("DELETE FROM ledger_body WHERE seq = {frozen}"),
    ] {
        assert!(tamper(&broker.database(), &sql).await > 0, "{sql}");
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("entry {frozen}")),
            "{sql}: {refused}"
        );
        broker.database().restore("whole").await;
    }
    broker.restart().await.unwrap();
    assert!(is_frozen(&broker).await);
    broker.finish().await;
}

/// A start reads what is new and what binds; all else is the scrubber's. So it costs the same at any size.
#[tokio::test]
async fn a_start_from_an_anchor_does_not_read_the_whole_log() {
    let mut broker = TestBroker::start().await;
    freeze(&broker, "/v1/freeze").await;
    freeze(&broker, "/v1/unfreeze").await;
    drop(grant(&broker).await);
    let old = crate::common::newest(&broker, "granted").await.unwrap().seq;
    fill(&broker, old + 530).await;
    drop(anchored(&broker).await);
    broker.derived().await;
    broker.stop().await;
    let sql = format!(
        "UPDATE ledger_batch SET headers = zeroblob(length(headers)) WHERE first_seq = {old}"
    );
    assert_eq!(tamper(&broker.database(), &sql).await, 1);
    broker.restart().await.unwrap();
    let found = scrub(&broker).await.refused(Code::StateConflict);
    assert!(
        found.detail.contains(&format!("entry {old}")),
        "{}",
        found.detail
    );
    // Without the anchor the long way is taken, and finds it.
    broker.stop().await;
    assert!(tamper(&broker.database(), "DELETE FROM ledger_standing").await > 0);
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains(&format!("entry {old}")), "{refused}");
    broker.abandon().await;
}

/// The pin may be older or newer than the anchor; either way the log must extend it.
#[tokio::test]
async fn an_old_pin_is_proven_by_tiles() {
    let mut broker = TestBroker::start().await;
    drop(grant(&broker).await);
    broker.stop().await;
    std::fs::copy(broker.path("ledger.pin"), broker.path("old.pin")).unwrap();
    broker.restart().await.unwrap();
    drop(grant(&broker).await);
    drop(anchored(&broker).await);
    broker.stop().await;
    std::fs::copy(broker.path("old.pin"), broker.path("ledger.pin")).unwrap();
    broker.restart().await.unwrap();
    drop(grant(&broker).await);
    broker.finish().await;
}
