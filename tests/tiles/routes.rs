//! Tiles over HTTP: hashes for anybody, entries for the operator.

use serde_json::json;
use stint_audit::tile::{self, Tile};
use stint_audit::tree::leaf_hash;
use stint_tests::TestBroker;
use stint_wire::Code;

use crate::common::{fill, grant, hashes, headers, newest, root};

#[tokio::test]
async fn the_tile_of_a_published_size_gives_its_root() {
    let broker = TestBroker::start().await;
    for _ in 0..3 {
        drop(grant(&broker).await);
        let head = broker.checkpoint().await;
        let leaves = hashes(&broker, &format!("tile/0/000.p/{}", head.size)).await;
        assert_eq!(root(&leaves), head.root);
    }
    // Each commit was published, and what was published stays.
    let size = broker.size().await;
    let all = hashes(&broker, &format!("tile/0/000.p/{size}")).await;
    assert_eq!(hashes(&broker, "tile/0/000.p/1").await, all[..1]);
    let answer = broker.get("/v1/ledger/tile/0/000.p/1").await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    broker.finish().await;
}

#[tokio::test]
async fn a_tile_that_was_never_published_or_is_not_spelt_so_is_not_there() {
    let broker = TestBroker::start().await;
    let size = broker.size().await;
    let wide = format!("0/000.p/{}", size + 1);
    for place in [
        wide.as_str(),
        "0/000",
        "0/001",
        "0/001.p/1",
        "1/000",
        "1/000.p/1",
        "8/000",
        "0/0",
        "0/x000/000",
        "0/000.p/0",
        "0/000.p/256",
        "00/000",
        "+0/000.p/1",
        "0/000.p/01",
        "-1/000",
        "data/000",
        "entries/000.p/1",
        "0/x001/000",
        "0/x999/x999/x999/x999/x999/x999/999",
        "0/000.p/1/",
        "0/000.p",
    ] {
        let answer = broker.get(&format!("/v1/ledger/tile/{place}")).await;
        assert_eq!(answer.refused(Code::NotFound).status, 404, "{place}");
    }
    for path in [
        "/v1/ledger/entries",
        "/v1/ledger/entries/0",
        "/v1/ledger/scrub",
        "/v1/ledger/tile",
        "/v1/ledger/tile/0",
    ] {
        assert_eq!(broker.get(path).await.status, 404, "{path}");
    }
    broker.finish().await;
}

/// A batch of several entries leaves sizes out: their tiles were never signed.
#[tokio::test]
async fn sizes_inside_of_a_batch_are_not_published() {
    let broker = TestBroker::start().await;
    fill(&broker, 40).await;
    let size = broker.size().await;
    let database = broker.database();
    let sql = "SELECT count(*) FROM ledger_batch";
    let commits = stint_tests::database::number(&database, sql).await;
    let mut there = 0;
    for width in 1..=size {
        let answer = broker
            .get(&format!("/v1/ledger/tile/0/000.p/{width}"))
            .await;
        there += i64::from(answer.status == 200);
    }
    assert_eq!(there, commits);
    broker.finish().await;
}

#[tokio::test]
async fn a_full_tile_is_kept_for_ever_and_stands_for_one_hash_above() {
    let broker = TestBroker::start().await;
    fill(&broker, 260).await;
    let full = broker.get("/v1/ledger/tile/0/000").await;
    assert_eq!(
        full.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    let leaves = tile::hashes(&full.body).unwrap();
    assert_eq!(leaves.len(), 256);
    assert_eq!(hashes(&broker, "tile/1/000.p/1").await, [root(&leaves)]);
    broker.derived().await;
    // The same from the row as from memory.
    assert_eq!(broker.get("/v1/ledger/tile/0/000").await.body, full.body);
    let head = broker.checkpoint().await;
    let mut all = leaves;
    all.extend(hashes(&broker, &format!("tile/0/001.p/{}", head.size - 256)).await);
    assert_eq!(root(&all), head.root);
    // A partial tile that became full is a prefix of it.
    assert_eq!(hashes(&broker, "tile/0/000.p/2").await, all[..2]);
    broker.finish().await;
}

#[tokio::test]
async fn the_operator_reads_the_entries_under_a_tile() {
    let broker = TestBroker::start().await;
    drop(grant(&broker).await);
    let size = broker.size().await;
    let leaves = hashes(&broker, &format!("tile/0/000.p/{size}")).await;
    let answer = broker
        .operator("GET", &format!("/v1/ledger/tile/entries/000.p/{size}"))
        .await;
    assert_eq!(answer.status, 200);
    let entries = tile::entries(&answer.body).unwrap();
    let hashed: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    assert_eq!(hashed, leaves);
    let lines = broker.operator("GET", "/v1/ledger/entries").await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines = lines.body;
    let lines: Vec<_> = lines
        .split(|byte| *byte == b'\n')
        .filter(|it| !it.is_empty())
        .collect();
    assert_eq!(lines, entries);
    // Hashes are there as well, so that one socket is enough for an export.
    for tile in Tile::all(size) {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/{}", tile.path()))
            .await;
        assert_eq!(answer.status, 200, "{tile:?}");
    }
    for query in [
        "from=5&to=5",
        "from=9999",
        "to=9999",
        "from=-1",
        "from=x",
        "page=2",
    ] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/entries?{query}"))
            .await;
        assert_eq!(answer.refused(Code::InvalidField).status, 400, "{query}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn who_reads_a_body_is_on_record() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    let seq = granted.ledger.seq;
    let before = broker.size().await;
    let entry = broker
        .operator("GET", &format!("/v1/ledger/entries/{seq}"))
        .await
        .json();
    assert_eq!(entry["seq"], seq);
    assert_eq!(entry["header"]["id"], *granted.grant);
    assert_eq!(entry["body"]["what"]["caller"]["issuer"], "github");
    let leaf = headers(&broker, seq, seq + 1).await[0].bytes().unwrap();
    assert_eq!(entry["leaf"], leaf_hash(&leaf).to_string());
    let read = newest(&broker, "admin").await.unwrap();
    assert_eq!(read.seq, before);
    assert!(read.by.is_some());
    let what = serde_json::to_value(&read.what).unwrap();
    assert_eq!(what, json!({ "of": seq, "op": "body_read" }));
    for seq in ["9999", "x", "-1", "007"] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/entries/{seq}"))
            .await;
        assert_eq!(answer.status, 404, "{seq}");
    }
    assert_eq!(broker.size().await, before + 1);
    broker.finish().await;
}
