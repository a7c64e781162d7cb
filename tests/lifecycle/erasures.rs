//! `stintd ledger erase`: the bodies go, the proofs stay, and an entry says what went.

use serde_json::json;
use stint_broker::store::Engine;
use stint_tests::database::only_on;
use stint_tests::{Like, TestBroker};
use stint_wire::Code;

use crate::scene::{STAGING, broker, command, grant, keep, stintd};

async fn erase(broker: &TestBroker, what: serde_json::Value) -> (u16, serde_json::Value) {
    let mut ask = json!({ "basis": "request", "ticket": "GDPR-7" });
    ask.as_object_mut()
        .unwrap()
        .extend(what.as_object().unwrap().clone());
    command(broker, "/v1/ledger/erase", ask).await
}

#[tokio::test]
async fn an_erased_grant_leaves_every_proof_as_it_was() {
    let mut broker = broker().await;
    let granted = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .x509()
        .await
        .granted();
    let before = keep(&broker, "before").await;
    let (status, refused) = erase(&broker, json!({ "grants": [granted.grant] })).await;
    assert_eq!(status, 400, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!(
            "entry {} is a grant that lives",
            granted.ledger.seq
        )),
        "{detail}"
    );

    broker.clock.advance(7_200);
    let (status, gone) = erase(&broker, json!({ "grants": [granted.grant] })).await;
    assert_eq!(status, 200, "{gone}");
    let seq = granted.ledger.seq;
    assert_eq!(
        (gone["n"].as_u64(), &gone["ranges"]),
        (Some(1), &json!([[seq, seq + 1]]))
    );
    let (status, again) = erase(&broker, json!({ "grants": [granted.grant] })).await;
    assert_eq!(
        (
            status,
            again["detail"]
                .as_str()
                .unwrap()
                .contains("nothing is left")
        ),
        (400, true),
        "{again}"
    );

    let after = keep(&broker, "after").await;
    after.extends(&before).await;
    before.verify(&[]).await.ok();
    let export = broker.export().await;
    let erased = &export.of("erased")[0];
    assert_eq!(erased.header["what"]["basis"], "request");
    assert_eq!(erased.body["what"]["ticket"], "GDPR-7");
    let entries = export.entries();
    assert!(entries[usize::try_from(seq).unwrap()].body.is_null());
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.abandon().await;
}

#[tokio::test]
async fn an_identity_is_erased_as_a_whole_and_none_other() {
    let broker = broker().await;
    let mine = grant(&broker).await;
    let denied = broker
        .ci("acme/web")
        .on("refs/heads/fix-12")
        .ask("deploy", "Environment::prod/web");
    drop(denied.x509().await.refused(Code::Denied));
    let other = broker
        .caller(Like::GitLab, "acme/web")
        .ask("deploy", STAGING);
    drop(other.x509().await.refused(Code::Denied));
    let entries = broker.export().await.entries();
    let denials = entries.iter().filter(|it| it.header["kind"] == "denied");
    let seqs: Vec<_> = denials
        .map(|it| it.header["seq"].as_u64().unwrap())
        .collect();
    let subject = entries[usize::try_from(mine).unwrap()].body["what"]["caller"]["id"].clone();
    broker.clock.advance(7_200);
    let (status, gone) = erase(&broker, json!({ "subjects": [subject] })).await;
    assert_eq!((status, gone["n"].as_u64()), (200, Some(2)), "{gone}");
    let entries = broker.export().await.entries();
    let body = |seq: u64| &entries[usize::try_from(seq).unwrap()].body;
    assert!(body(mine).is_null() && body(seqs[0]).is_null() && !body(seqs[1]).is_null());
    keep(&broker, "after").await.verify(&[]).await.ok();
    broker.abandon().await;
}

#[tokio::test]
async fn what_binds_is_not_erased_and_is_named() {
    let broker = broker().await;
    let held = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .ask("deploy", "Environment::prod/web");
    drop(held.x509().await.held());
    let (_, frozen) = command(
        &broker,
        "/v1/freeze",
        json!({ "issuer": "gitlab", "reason": "leak" }),
    )
    .await;
    let freeze = frozen["seq"].as_u64().unwrap();
    let entries = broker.export().await.entries();
    let place = |kind: &str| {
        entries
            .iter()
            .position(|it| it.header["kind"] == kind)
            .unwrap()
    };
    let size = broker.size().await;
    for (kind, why) in [
        ("genesis", "says where the log begins"),
        ("key_added", "has a key in use"),
        ("policy_loaded", "says which policy is in force"),
        ("requested", "is a request that is open"),
        ("frozen", "is a freeze that was not lifted"),
    ] {
        let seq = place(kind);
        let (status, refused) = erase(&broker, json!({ "seqs": [[seq, seq + 1]] })).await;
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            status == 400 && detail.contains(why),
            "{kind}: {status} {detail}"
        );
    }
    // One that binds keeps all the others: an erasure is whole or not at all.
    let (status, _) = erase(&broker, json!({ "seqs": [[4, freeze + 1]] })).await;
    assert_eq!(status, 400);
    assert_eq!(broker.size().await, size, "a refusal writes nothing");
    let (status, _) = command(
        &broker,
        "/v1/unfreeze",
        json!({ "issuer": "gitlab", "reason": "" }),
    )
    .await;
    assert_eq!(status, 200);
    let (status, gone) = erase(&broker, json!({ "seqs": [[freeze, freeze + 1]] })).await;
    assert_eq!(status, 200, "{gone}");
    broker.finish().await;
}

#[tokio::test]
async fn an_erasure_that_means_nothing_is_refused() {
    let broker = broker().await;
    let size = broker.size().await;
    for (what, status) in [
        (json!({}), 400),
        (json!({ "seqs": [[5, 5]] }), 404),
        (json!({ "seqs": [[0, 9_000]] }), 404),
        (json!({ "grants": ["gr_00000000000000000000000000"] }), 404),
        (json!({ "subjects": ["spiffe://acme.dev/nobody"] }), 400),
        (json!({ "basis": "whim", "seqs": [[4, 5]] }), 400),
        (json!({ "ticket": "two\nlines", "seqs": [[4, 5]] }), 400),
    ] {
        let (found, answer) = erase(&broker, what.clone()).await;
        assert_eq!(found, status, "{what}: {answer}");
    }
    assert_eq!(broker.size().await, size);
    broker.finish().await;
}

#[tokio::test]
async fn a_stopped_ledger_is_erased_by_the_program() {
    let mut broker = broker().await;
    broker.stop().await;
    assert_eq!(
        stintd(
            &broker,
            &["ledger", "erase", "--seq", "4", "--basis", "order"]
        )
        .await
        .code,
        7
    );
    let erase = [
        "ledger",
        "erase",
        "--offline",
        "--basis",
        "order",
        "--ticket",
        "A-1",
    ];
    stintd(&broker, &erase).await.refused("--seq");
    stintd(&broker, &[&erase[..], &["--seq", "9-4"]].concat())
        .await
        .refused("FIRST");
    stintd(&broker, &[&erase[..], &["--seq", "0"]].concat())
        .await
        .refused("where the log begins");
    let said = stintd(&broker, &[&erase[..], &["--seq", "4"]].concat())
        .await
        .ok();
    assert!(said.contains("1 bodies are gone"), "{said}");
    broker.restart().await.unwrap();
    broker.finish().await;
}

/// The bytes themselves are gone from the file and its log, not only from the table.
#[tokio::test]
async fn no_byte_of_an_erased_body_is_left_in_the_file() {
    if !only_on(
        Engine::Sqlite,
        "PostgreSQL frees space, and keeps bytes until it is used again: docs/erase.md",
    ) {
        return;
    }
    let mut broker = broker().await;
    let reason = "a-reason-that-names-somebody";
    let asking = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .member("reason", json!(reason));
    let granted = asking.x509().await.granted();
    let file = broker.path("stint.db");
    let holds = || {
        [file.clone(), file.with_extension("db-wal")]
            .iter()
            .filter_map(|path| std::fs::read(path).ok())
            .any(|bytes| {
                bytes
                    .windows(reason.len())
                    .any(|it| it == reason.as_bytes())
            })
    };
    assert!(holds());
    broker.clock.advance(7_200);
    let (status, gone) = erase(&broker, json!({ "grants": [granted.grant] })).await;
    assert_eq!(status, 200, "{gone}");
    assert!(!holds(), "right after the answer");
    broker.restart().await.unwrap();
    assert!(!holds(), "after a restart");
    broker.abandon().await;
}

/// A body that is missing without its entry is what it always was: a broken ledger.
#[tokio::test]
async fn only_an_entry_excuses_a_missing_body() {
    let mut broker = broker().await;
    let first = grant(&broker).await;
    let second = grant(&broker).await;
    broker.clock.advance(7_200);
    let (status, _) = erase(&broker, json!({ "seqs": [[first, first + 1]] })).await;
    assert_eq!(status, 200);
    broker.stop().await;
    let sql = format!("DELETE FROM ledger_body WHERE seq = {second}");
    assert_eq!(
        stint_tests::database::tamper(&broker.database(), &sql).await,
        1
    );
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains(&format!("entry {second}")), "{refused}");
    broker.abandon().await;
}
