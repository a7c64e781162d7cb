//! `stintd ledger recover`: what was lost and was kept elsewhere is on record again, once, and only what is proven.

use std::path::{Path, PathBuf};

use serde_json::Value;
use stint_audit::Digest;
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::after::Entry;
use stint_tests::clock::eventually;
use stint_tests::database::only_on;

use crate::scene::{ACCEPT, Kept, broker, grant, keep, stintd};

/// A broker whose log lost its end, with what others kept of that: an auditor's bundle of all of it, one grant's receipt, and
/// what a sink was sent.
struct Bereft {
    broker: TestBroker,
    before: Kept,
    receipt: PathBuf,
    events: PathBuf,
    /// Entries that are left.
    left: u64,
    /// The grant that has the receipt.
    granted: u64,
}

async fn bereft() -> Bereft {
    let sink = "[sink.siem]\nkind = \"jsonl\"\nto = \"file:events.jsonl\"\nbodies = [\"granted\"]\nheartbeat = \"1s\"\n";
    let mut broker = TestBroker::with().real_time().tables(sink).start().await;
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("yesterday").await;
    let database = broker.database();
    let left = stint_tests::database::number(&database, "SELECT size FROM ledger_head").await;
    let left = left.unsigned_abs();
    broker.restart().await.unwrap();
    grant(&broker).await;
    let granted = grant(&broker).await;
    let answer = broker
        .operator("GET", &format!("/v1/ledger/proofs/{granted}"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let receipt = broker.path("grant.tlog-proof");
    std::fs::write(&receipt, answer.text()).unwrap();
    let before = keep(&broker, "before").await;
    let (events, size) = (broker.path("events.jsonl"), before.checkpoint.size);
    eventually("the sink was sent a head of all of it", async || {
        let text = std::fs::read_to_string(&events).unwrap_or_default();
        text.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["heartbeat"]["next"]
                .as_u64()
                .is_some_and(|next| next >= size)
        })
    })
    .await;
    broker.stop().await;
    broker.database().restore("yesterday").await;
    stintd(&broker, &[&["restore"], ACCEPT].concat()).await.ok();
    Bereft {
        broker,
        before,
        receipt,
        events,
        left,
        granted,
    }
}

async fn recover(broker: &TestBroker, files: &[&Path]) -> crate::scene::Ended {
    let files: Vec<_> = files.iter().map(|it| it.to_str().unwrap()).collect();
    stintd(broker, &[&["ledger", "recover"], &files[..]].concat()).await
}

/// The entries that came back, once the broker serves again.
async fn came_back(broker: &mut TestBroker) -> Vec<Entry> {
    broker.restart().await.unwrap();
    let export = broker.export().await;
    let found = export.of("recovery").into_iter();
    let found: Vec<_> = found
        .filter(|it| it.header["what"]["form"] == "entry")
        .collect();
    for entry in &found {
        let header = entry.body["what"]["header"].as_str().unwrap();
        let old: Value = serde_json::from_str(header).unwrap();
        assert_eq!(old["seq"], entry.header["what"]["old"]);
        assert_eq!(old["log"], "it.stint/ledger");
        if let Some(body) = entry.body["what"]["body"].as_str() {
            assert_eq!(old["body"], Digest::of(body.as_bytes()).to_string());
        }
    }
    found
}

fn olds(entries: &[Entry]) -> Vec<u64> {
    entries
        .iter()
        .map(|it| it.header["what"]["old"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn what_was_lost_comes_back_from_a_bundle_and_comes_once() {
    let Bereft {
        mut broker,
        before,
        receipt,
        events,
        left,
        granted,
    } = bereft().await;
    // The receipt alone: one header.
    let said = recover(&broker, &[&receipt]).await.ok();
    assert!(
        said.contains("1 entries of it.stint/ledger are on record again, 0 with"),
        "{said}"
    );
    assert!(said.contains("1 granted"), "{said}");
    // The bundle has all of it, with the bodies.
    let said = recover(&broker, &[&before.bundle]).await.ok();
    assert!(said.contains("; 1 were before"), "{said}");
    let said = recover(&broker, &[&receipt, &before.bundle, &events])
        .await
        .ok();
    assert!(said.contains("0 entries of"), "{said}");
    let found = came_back(&mut broker).await;
    let (first, rest) = found.split_first().unwrap();
    assert_eq!(first.header["what"]["old"], granted);
    assert!(first.body["what"].get("body").is_none(), "{}", first.body);
    assert_eq!(first.body["what"]["source"], "receipt grant.tlog-proof");
    let size = before.checkpoint.size;
    let expected: Vec<_> = (left..size).filter(|seq| *seq != granted).collect();
    assert_eq!(olds(rest), expected);
    assert!(
        rest.iter()
            .all(|it| it.body["what"]["source"] == "bundle before.stint")
    );
    assert!(rest.iter().all(|it| it.body["what"]["body"].is_string()));
    keep(&broker, "after").await.verify(&[]).await.ok();
    // A body of it can go, as any other: it names somebody.
    let seq = first.header["seq"].as_u64().unwrap();
    let ask = serde_json::json!({ "seqs": [[seq, seq + 1]], "basis": "request" });
    let (status, gone) = crate::scene::command(&broker, "/v1/ledger/erase", ask).await;
    assert_eq!(status, 200, "{gone}");
    broker.restart().await.unwrap();
    keep(&broker, "erased").await.verify(&[]).await.ok();
    broker.abandon().await;
}

#[tokio::test]
async fn what_a_sink_was_sent_comes_back_as_far_as_a_signed_head_covers_it() {
    if !only_on(
        Engine::Sqlite,
        "what is read are files, and they are the same",
    ) {
        return;
    }
    let Bereft {
        mut broker,
        before,
        events,
        left,
        ..
    } = bereft().await;
    let text = std::fs::read_to_string(&events).unwrap();
    let whole: Vec<_> = text.lines().collect();
    let write = |name: &str, lines: &[&str]| {
        let path = broker.path(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64();
    // No signed head, no word: the log in use knows the one that the pin had, and that is all.
    let size = before.checkpoint.size;
    let bare: Vec<_> = whole
        .iter()
        .copied()
        .filter(|it| seq(it).is_some_and(|it| it < size - 1))
        .collect();
    let said = recover(&broker, &[&write("bare.jsonl", &bare)]).await.ok();
    assert!(
        said.contains("0 entries of") && said.contains("lead to no signed head"),
        "{said}"
    );
    // A gap: what is behind it leads nowhere.
    let gap: Vec<_> = whole
        .iter()
        .copied()
        .filter(|it| seq(it) != Some(left))
        .collect();
    let said = recover(&broker, &[&write("gap.jsonl", &gap)]).await.ok();
    assert!(said.contains("0 entries of"), "{said}");
    // An entry that was changed.
    let changed = text.replace("\"cred\":\"x509\"", "\"cred\":\"jwt\"");
    let said = recover(&broker, &[&write("changed.jsonl", &[&changed])])
        .await
        .ok();
    assert!(!said.contains("granted"), "{said}");
    let said = recover(&broker, &[&events]).await.ok();
    assert!(!said.contains("missing   1"), "{said}");
    let found = came_back(&mut broker).await;
    let mut all = olds(&found);
    all.sort_unstable();
    assert!(
        all.iter()
            .copied()
            .eq(left..left + u64::try_from(all.len()).unwrap()),
        "{all:?}"
    );
    assert!(all.len() as u64 >= size - left, "{all:?}");
    let with = found
        .iter()
        .filter(|it| it.body["what"]["body"].is_string())
        .count();
    assert_eq!(with, 2, "the sink was sent bodies of grants alone");
    keep(&broker, "after").await.verify(&[]).await.ok();
    broker.abandon().await;
}

#[tokio::test]
async fn what_proves_nothing_is_refused() {
    let Bereft {
        broker,
        before,
        receipt,
        ..
    } = bereft().await;
    let write = |name: &str, bytes: &[u8]| {
        let path = broker.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let text = std::fs::read_to_string(&receipt).unwrap();
    let other = text.replacen("index ", "index 1", 1);
    recover(&broker, &[&write("other.tlog-proof", other.as_bytes())])
        .await
        .refused("other.tlog-proof");
    let bundle = std::fs::read(&before.bundle).unwrap();
    let (half, _) = bundle.split_at(bundle.len() / 2);
    recover(&broker, &[&write("half.stint", half)])
        .await
        .refused("half.stint");
    let mut foreign = crate::scene::broker().await;
    grant(&foreign).await;
    let theirs = keep(&foreign, "theirs").await;
    recover(&broker, &[&theirs.bundle])
        .await
        .refused("does not verify");
    foreign.stop().await;
    foreign.abandon().await;
    recover(&broker, &[&write("what.txt", b"a story\n")])
        .await
        .refused("no event in line 1");
    recover(&broker, &[Path::new("/nowhere")])
        .await
        .refused("/nowhere");
    stintd(&broker, &["ledger", "recover"])
        .await
        .refused("FILE");
    broker.abandon().await;
}

#[tokio::test]
async fn a_log_that_lost_nothing_gets_nothing_back() {
    let mut broker = broker().await;
    grant(&broker).await;
    let kept = keep(&broker, "kept").await;
    if broker.database().engine() == Engine::Sqlite {
        recover(&broker, &[&kept.bundle])
            .await
            .refused("in use by another broker");
    }
    broker.stop().await;
    recover(&broker, &[&kept.bundle])
        .await
        .refused("did not begin with a loss");
    broker.restart().await.unwrap();
    broker.finish().await;
}
