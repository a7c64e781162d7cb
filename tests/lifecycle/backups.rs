//! `stintd backup` and `stintd restore`: what is brought back is what was there, or nothing is.

use std::fs;

use serde_json::json;
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::database::only_on;
use stint_wire::Code;

use crate::scene::{ACCEPT, STAGING, broker, command, grant, keep, stintd, vkey};

/// A stopped broker with a backup in `backup`, and its database gone.
async fn bereft(broker: &mut TestBroker) -> String {
    let dir = broker.path("backup").display().to_string();
    let said = stintd(broker, &["backup", &dir]).await.ok();
    assert!(said.contains("hashed again"), "{said}");
    broker.stop().await;
    broker.database().empty().await;
    dir
}

#[tokio::test]
async fn a_running_broker_is_backed_up_and_comes_back() {
    let mut broker = broker().await;
    grant(&broker).await;
    let before = keep(&broker, "before").await;
    let dir = bereft(&mut broker).await;
    for name in ["stint.db", "checkpoint", "backup.json"] {
        assert!(broker.path("backup").join(name).exists(), "{name}");
    }
    let said = stintd(&broker, &["restore", &dir]).await.ok();
    assert!(said.contains("each hashed again"), "{said}");
    broker.restart().await.unwrap();
    grant(&broker).await;
    keep(&broker, "after").await.extends(&before).await;
    let target =
        |it: &&stint_tests::after::Entry| it.body["what"]["target"] == format!("backup {dir}");
    let export = broker.export().await;
    assert_eq!(
        export.of("admin").iter().filter(target).count(),
        1,
        "the backup is an entry"
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_stopped_broker_is_backed_up_too() {
    let mut broker = broker().await;
    grant(&broker).await;
    let dir = broker.path("backup").display().to_string();
    if broker.database().engine() == Engine::Sqlite {
        stintd(&broker, &["backup", &dir, "--offline"])
            .await
            .refused("in use by another broker");
    }
    broker.stop().await;
    assert_eq!(
        stintd(&broker, &["backup", &dir]).await.code,
        7,
        "nobody answers on the socket"
    );
    stintd(&broker, &["backup", &dir, "--offline"]).await.ok();
    stintd(&broker, &["backup", &dir, "--offline"])
        .await
        .refused("is not empty");
    broker.database().empty().await;
    stintd(&broker, &["restore", &dir]).await.ok();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_backup_goes_where_a_new_folder_can_be() {
    let broker = broker().await;
    let (status, answer) = command(&broker, "/v1/backup", json!({ "dir": "relative" })).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("invalid_field")),
        "{answer}"
    );
    let taken = broker.path("policy").display().to_string();
    let size = broker.size().await;
    let (status, answer) = command(&broker, "/v1/backup", json!({ "dir": taken })).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(broker.size().await, size, "nothing was recorded");
    broker.finish().await;
}

#[tokio::test]
async fn an_old_backup_is_not_put_back_unless_two_accept_the_loss() {
    let mut broker = broker().await;
    let early = broker.ci("acme/web").token();
    grant(&broker).await;
    let dir = broker.path("backup").display().to_string();
    stintd(&broker, &["backup", &dir]).await.ok();
    let lost = grant(&broker).await;
    let before = keep(&broker, "before").await;
    broker.stop().await;
    broker.database().empty().await;

    let restore = ["restore", &dir];
    stintd(&broker, &restore).await.refused("would be lost");
    assert!(broker.restart().await.is_err(), "nothing was put in place");
    let alone = [
        &restore[..],
        &["--accept-loss", "--operator", "olu", "--reason", "disk"],
    ]
    .concat();
    stintd(&broker, &alone)
        .await
        .refused("two different people");
    let twice = [
        "--accept-loss",
        "--operator",
        "olu",
        "--operator",
        "olu",
        "--reason",
        "disk",
    ];
    stintd(&broker, &[&restore[..], &twice].concat())
        .await
        .refused("two different people");
    let silent = ["--accept-loss", "--operator", "olu", "--operator", "ann"];
    stintd(&broker, &[&restore[..], &silent].concat())
        .await
        .refused("--reason");

    let accept = [
        "--accept-loss",
        "--operator",
        "olu",
        "--operator",
        "ann",
        "--reason",
        "the disk died",
    ];
    let said = stintd(&broker, &[&restore[..], &accept].concat())
        .await
        .ok();
    assert!(said.contains("it.stint/ledger/1 begins"), "{said}");
    broker.restart().await.unwrap();
    let refused = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(&early)
        .x509()
        .await;
    drop(refused.refused(Code::EvidenceRejected));
    stint_tests::clock::eventually("a token of the next second", async || {
        broker.clock.advance(1);
        let asking = broker.ci("acme/web").ask("deploy", STAGING);
        asking.x509().await.status == 201
    })
    .await;

    let after = keep(&broker, "after").await;
    assert_eq!(after.checkpoint.origin, "it.stint/ledger/1");
    after.verify(&[]).await.ok();
    before.verify(&[]).await.ok();
    let entries = broker.export().await.entries();
    let prior = &entries[0].header["what"]["prior"];
    assert_eq!(prior["log"], "it.stint/ledger");
    assert!(prior["size"].as_u64().unwrap() > lost, "{prior}");
    let recovery = &entries[1];
    assert_eq!(recovery.header["kind"], "recovery");
    assert_eq!(recovery.header["what"]["seen"], prior["size"]);
    assert_eq!(recovery.body["what"]["reason"], "the disk died");
    let actors: Vec<_> = recovery.body["what"]["actors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(actors, ["operator:olu", "operator:ann"]);
    assert_ne!(vkey(&broker).await, before.vkey);
    broker.abandon().await;
}

/// T6: yesterday's database, put back by hand, is not served; and nobody need copy it twice to go on from it.
#[tokio::test]
async fn a_database_that_was_put_back_by_hand_is_taken_with_its_loss() {
    let mut broker = broker().await;
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("yesterday").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.database().restore("yesterday").await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("knows more"), "{refused}");
    let accept = [
        "restore",
        "--accept-loss",
        "--operator",
        "olu",
        "--operator",
        "ann",
        "--reason",
        "by hand",
    ];
    stintd(&broker, &accept).await.ok();
    broker.restart().await.unwrap();
    let after = keep(&broker, "after").await;
    after.verify(&[]).await.ok();
    // The old log is closed, and stays so.
    broker.stop().await;
    stintd(&broker, &["ledger", "epoch", "--reason", "again"])
        .await
        .ok();
    broker.restart().await.unwrap();
    assert_eq!(
        keep(&broker, "last").await.checkpoint.origin,
        "it.stint/ledger/2"
    );
    after.verify(&[]).await.ok();
    broker.abandon().await;
}

#[tokio::test]
async fn without_a_pin_nobody_says_that_nothing_is_lost() {
    let mut broker = broker().await;
    let dir = bereft(&mut broker).await;
    fs::remove_file(broker.path("ledger.pin")).unwrap();
    stintd(&broker, &["restore", &dir])
        .await
        .refused("there is no pin");
    broker.abandon().await;
}

#[tokio::test]
async fn a_backup_that_was_cut_off_or_changed_is_none() {
    let mut broker = broker().await;
    grant(&broker).await;
    let dir = bereft(&mut broker).await;
    let file = |name: &str| broker.path("backup").join(name);
    let whole = fs::read(file("stint.db")).unwrap();

    let mut flipped = whole.clone();
    let place = flipped.len() / 2;
    flipped[place] ^= 1;
    fs::write(file("stint.db"), &flipped).unwrap();
    stintd(&broker, &["restore", &dir])
        .await
        .refused("its bytes are not those that were written");
    fs::write(file("stint.db"), &whole).unwrap();

    let note = fs::read_to_string(file("checkpoint")).unwrap();
    fs::write(file("checkpoint"), note.replacen('\n', "/1\n", 1)).unwrap();
    stintd(&broker, &["restore", &dir])
        .await
        .refused("checkpoint");
    fs::write(file("checkpoint"), &note).unwrap();

    let manifest = fs::read(file("backup.json")).unwrap();
    fs::remove_file(file("backup.json")).unwrap();
    stintd(&broker, &["restore", &dir])
        .await
        .refused("was it cut off?");
    fs::write(file("backup.json"), manifest).unwrap();

    stintd(&broker, &["restore", &dir]).await.ok();
    // Whoever does not know whether it was cut off runs it again.
    stintd(&broker, &["restore", &dir]).await.ok();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    fs::remove_file(broker.path("ledger.pin")).unwrap();
    let lossy = [&["restore", dir.as_str()], ACCEPT].concat();
    stintd(&broker, &lossy).await.refused("is in the way");
    broker.restart().await.unwrap();
    broker.finish().await;
}

/// A row that no entry speaks of is as much of the backup as the ledger: a token that was used stays used.
#[tokio::test]
async fn what_was_spent_stays_spent() {
    if !only_on(
        Engine::Sqlite,
        "the rows are the same on both engines, and the copy is one code",
    ) {
        return;
    }
    let mut broker = broker().await;
    let token = broker.ci("acme/web").token();
    drop(
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&token)
            .x509()
            .await
            .granted(),
    );
    let dir = bereft(&mut broker).await;
    stintd(&broker, &["restore", &dir]).await.ok();
    broker.restart().await.unwrap();
    let again = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(&token)
        .x509()
        .await;
    drop(again.refused(Code::EvidenceRejected));
    broker.finish().await;
}
