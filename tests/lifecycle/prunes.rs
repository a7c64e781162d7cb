//! `stintd ledger prune`: entries go into an archive and then from the store; what is left proves as much as before.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stint_broker::ledger::prune::sweep;
use stint_broker::store::{Engine, Location};
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::{number, tamper};
use stint_tests::files::copy;
use stint_tests::filled::UNIT;
use stint_tests::postgres::OWNER;

use crate::moves::to_server;
use crate::scene::{Kept, command, grant, keep, stintd};

/// Where the tests cut.
const BELOW: u64 = UNIT;
/// Prunes as the running broker does, and on a server deletes as its owner does.
async fn prune(broker: &TestBroker, archive: &Path) -> (u16, Value) {
    let ask = json!({ "below": BELOW, "archive": archive });
    let (status, pruned) = command(broker, "/v1/ledger/prune", ask).await;
    if status == 200 && broker.database().engine() == Engine::Postgres {
        assert_eq!(pruned["swept"], false);
        let location = broker.database().spot().location(OWNER);
        assert!(
            matches!(location, Location::Server(_)),
            "a spot is on a server"
        );
        let Location::Server(owner) = location else {
            return (status, pruned);
        };
        let log = pruned["log"].as_str().unwrap();
        assert_eq!(sweep(&owner, log).await.unwrap(), BELOW);
    }
    (status, pruned)
}

/// What is refused, and why.
async fn refused(broker: &TestBroker, below: u64, archive: &Path, why: &str) {
    let ask = json!({ "below": below, "archive": archive });
    let (status, refused) = command(broker, "/v1/ledger/prune", ask).await;
    let detail = refused["detail"].as_str().unwrap_or_default();
    let said = status == 400 && detail.contains(why);
    assert!(said, "{why}: {status} {refused}");
}

/// Whether a start finds the ledger whole, also by the long way.
async fn starts(broker: &mut TestBroker) {
    broker.restart().await.unwrap();
    broker.stop().await;
    tamper(&broker.database(), "DELETE FROM ledger_standing").await;
    broker.restart().await.unwrap();
}

/// A sink that cannot be reached.
const STUCK: &str = "[sink.siem]\nkind = \"jsonl\"\nto = \"http://127.0.0.1:9/\"\n";

/// Filled and with a sink that is behind, until that is taken out of the config; a freeze from before still binds, and so
/// does it that the first CA was replaced.
async fn filled() -> (TestBroker, PathBuf) {
    let mut broker = TestBroker::with().real_time().tables(STUCK).start().await;
    let archive = broker.path("archive.stint");
    let freeze = json!({ "issuer": "gitlab", "reason": "leak" });
    let (status, _) = command(&broker, "/v1/freeze", freeze).await;
    assert_eq!(status, 200);
    refused(&broker, BELOW, &archive, "there must be 66560").await;
    for below in [0, 1_000, BELOW + 256] {
        refused(&broker, below, &archive, "no multiple of 65536").await;
    }
    broker.stop().await;
    copy(&broker.path("keys"), &broker.path("keys-from-before"));
    stintd(&broker, &["keys", "replace", "ca", "--reason", "theft"])
        .await
        .ok();
    broker.fill().await;
    let behind = "the sink `siem` has sent the entries up to 0 alone";
    refused(&broker, BELOW, &archive, behind).await;
    broker.stop().await;
    broker.reconfigure(STUCK, "");
    broker.restart().await.unwrap();
    refused(&broker, BELOW, Path::new("archive.stint"), "absolute").await;
    std::fs::write(&archive, "taken").unwrap();
    refused(&broker, BELOW, &archive, "exists").await;
    std::fs::remove_file(&archive).unwrap();
    (broker, archive)
}

#[tokio::test]
async fn what_was_pruned_is_in_the_archive_and_all_else_proves_as_before() {
    let (mut broker, archive) = filled().await;
    let before = keep(&broker, "before").await;
    let size = broker.size().await;
    let (status, done) = prune(&broker, &archive).await;
    assert_eq!((status, &done["below"]), (200, &json!(BELOW)), "{done}");
    assert!(done["seq"].as_u64().unwrap() >= size, "{done}");
    let database = broker.database();
    for (sql, most) in [
        ("SELECT count(*) FROM ledger_body WHERE seq < 65536", 20),
        ("SELECT count(*) FROM ledger_index WHERE seq < 65536", 20),
        (
            "SELECT count(*) FROM ledger_batch WHERE first_seq < 65000",
            20,
        ),
        (
            "SELECT count(*) FROM ledger_tile WHERE level = 0 AND idx < 256",
            3,
        ),
    ] {
        let left = number(&database, sql).await;
        assert!((1..=most).contains(&left), "{sql}: {left}");
    }
    // The archive, and what an auditor took home before, verify on; the present extends both.
    let archived = Kept {
        bundle: archive.clone(),
        note: before.note.clone(),
        vkey: before.vkey.clone(),
        checkpoint: before.checkpoint.clone(),
    };
    archived.verify(&[]).await.ok();
    before.verify(&[]).await.ok();
    let after = keep(&broker, "after").await;
    after.extends(&before).await;

    // Whoever asks for what is gone reads where it is.
    for path in [
        "/v1/ledger/bundle?from=0",
        "/v1/ledger/entries?from=70&to=80",
        "/v1/ledger/events?from=9000",
        "/v1/ledger/entries/20000",
        "/v1/ledger/proofs/20000",
    ] {
        let answer = broker.operator("GET", path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains(&archive.display().to_string()) && detail.contains("below 65536"),
            "{path}: {detail}"
        );
    }
    assert_eq!(broker.get("/v1/ledger/tile/0/100").await.status, 404);
    for path in ["/v1/ledger/tile/1/000", "/v1/ledger/tile/0/256"] {
        assert_eq!(broker.get(path).await.status, 200, "{path}");
    }
    for seq in [0, 1, BELOW, BELOW + 1_000] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/proofs/{seq}"))
            .await;
        assert_eq!(answer.status, 200, "{seq}: {}", answer.text());
    }
    let first = broker.operator("GET", "/v1/ledger/entries").await.text();
    assert!(
        first.lines().next().unwrap().contains("\"seq\":65536,"),
        "{first:.200}"
    );

    // Asked again, nothing more happens.
    let size = broker.size().await;
    let (status, again) = prune(&broker, &archive).await;
    assert_eq!((status, broker.size().await), (200, size), "{again}");

    starts(&mut broker).await;
    let scrubbed = broker.command("/v1/ledger/scrub", &json!({})).await;
    assert_eq!(scrubbed.status, 200, "{}", scrubbed.text());
    assert_eq!(scrubbed.json()["mended"], 0);
    // What was frozen before is frozen.
    let thaw = json!({ "issuer": "gitlab", "reason": "" });
    let (_, thawed) = command(&broker, "/v1/unfreeze", thaw).await;
    assert_eq!(thawed["changed"], true, "{thawed}");
    grant(&broker).await;
    keep(&broker, "later").await.extends(&before).await;
    signs_no_more(&mut broker).await;
    begins_late(&mut broker).await;
    broker.abandon().await;
}

/// That a key was retired is known when the entry that added it is gone.
async fn signs_no_more(broker: &mut TestBroker) {
    broker.stop().await;
    let (keys, new) = (broker.path("keys"), broker.path("keys-in-use"));
    std::fs::rename(&keys, &new).unwrap();
    copy(&broker.path("keys-from-before"), &keys);
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("was retired by entry"), "{refused}");
    std::fs::remove_dir_all(&keys).unwrap();
    std::fs::rename(&new, &keys).unwrap();
    broker.restart().await.unwrap();
}

/// A sink that is new begins where the ledger does.
async fn begins_late(broker: &mut TestBroker) {
    let events = broker.path("events.jsonl");
    broker.stop().await;
    let to = events.display();
    let table = format!("[sink.late]\nkind = \"jsonl\"\nto = \"file:{to}\"\n\n[store]");
    broker.reconfigure("[store]", &table);
    broker.restart().await.unwrap();
    let first = || {
        let text = std::fs::read_to_string(&events).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|it| serde_json::from_str::<Value>(it).ok());
        lines.filter_map(|it| it["seq"].as_u64()).next()
    };
    eventually("the sink has an entry", async || first().is_some()).await;
    assert_eq!(first(), Some(BELOW));
}

/// What binds is as hard to take away as it was, and so is the cut itself.
#[tokio::test]
async fn what_stays_below_the_cut_cannot_be_taken_away() {
    let (mut broker, archive) = filled().await;
    let before = keep(&broker, "before").await;
    let (status, done) = prune(&broker, &archive).await;
    assert_eq!(status, 200, "{done}");
    broker.stop().await;
    let database = broker.database();
    database.save("pruned").await;
    for (sql, says) in [
        ("DELETE FROM ledger_batch WHERE first_seq = 0", "entry 0"),
        ("DELETE FROM ledger_tile WHERE level = 1", "tiles below"),
        (
            "UPDATE ledger_cursor SET seq = seq - 1 WHERE name = 'pruned'",
            "where the log was cut",
        ),
        ("DELETE FROM ledger_cursor WHERE name = 'pruned'", "entry"),
    ] {
        tamper(&database, "DELETE FROM ledger_standing").await;
        assert!(tamper(&database, sql).await > 0, "{sql}");
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(refused.contains(says), "{sql}: {refused}");
        database.restore("pruned").await;
    }
    broker.restart().await.unwrap();
    comes_back(&mut broker, &before).await;
    broker.abandon().await;
}

/// From a backup, on a server, and on into the next epoch.
async fn comes_back(broker: &mut TestBroker, before: &Kept) {
    let dir = broker.path("backup");
    let (status, made) = command(broker, "/v1/backup", json!({ "dir": dir })).await;
    assert_eq!(status, 200, "{made}");
    broker.stop().await;
    broker.database().empty().await;
    let restore = ["restore", &dir.display().to_string()];
    stintd(broker, &restore).await.ok();
    starts(broker).await;
    if broker.database().engine() == Engine::Sqlite {
        broker.stop().await;
        to_server(broker).await;
        starts(broker).await;
        grant(broker).await;
    }
    keep(broker, "after").await.extends(before).await;
    broker.stop().await;
    let epoch = ["ledger", "epoch", "--reason", "a new year"];
    stintd(broker, &epoch).await.ok();
    broker.restart().await.unwrap();
    grant(broker).await;
    // The log that ended is exported from where it begins.
    let old = broker.operator("GET", "/v1/ledger/0/bundle").await;
    assert_eq!(old.status, 200, "{}", old.text());
}
