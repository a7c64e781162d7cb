//! `stintd keys`: one key of the log takes over from another, and nobody who pinned the old one is left behind; another CA
//! leaves everybody behind, which is what it is for.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use stint_audit::Checkpoint;
use stint_audit::kind::KeyUse;
use stint_broker::start::StartError;
use stint_tests::TestBroker;
use stint_tests::database::number;
use stint_tests::files::{copy, write_secret};
use stint_wire::{Credential, Granted};

use crate::scene::{STAGING, broker, grant, keep, stintd, vkey};

#[tokio::test]
async fn a_new_key_takes_over_and_the_old_one_hands_over() {
    let mut broker = broker().await;
    grant(&broker).await;
    let before = keep(&broker, "before").await;
    broker.stop().await;
    let said = stintd(&broker, &["keys", "rotate", "ledger"]).await.ok();
    assert!(
        said.contains("ledger-0-2.key") && said.contains("handover"),
        "{said}"
    );
    stintd(&broker, &["keys", "rotate", "ledger"])
        .await
        .refused("two keys sign already");
    let listed = stintd(&broker, &["keys", "ls"]).await.ok();
    assert!(
        listed.contains("ledger.key\t") && listed.contains("ledger-0-2.key\t"),
        "{listed}"
    );

    broker.restart().await.unwrap();
    grant(&broker).await;
    assert_ne!(vkey(&broker).await, before.vkey);
    let overlap = keep(&broker, "overlap").await;
    let (_, note) =
        Checkpoint::parse_note(&std::fs::read_to_string(&overlap.note).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 2, "both keys sign");
    overlap.extends(&before).await;
    overlap.verify(&[]).await.ok();

    broker.stop().await;
    stintd(&broker, &["keys", "retire", "ledger"])
        .await
        .refused("wait, or say `--now`");
    stintd(&broker, &["keys", "retire", "ledger", "--now"])
        .await
        .refused("--reason");
    let urgent = [
        "keys",
        "retire",
        "ledger",
        "--now",
        "--reason",
        "left on a laptop",
    ];
    stintd(&broker, &urgent).await.ok();
    stintd(&broker, &urgent)
        .await
        .refused("there is nothing to retire");
    broker.restart().await.unwrap();
    grant(&broker).await;

    let after = keep(&broker, "after").await;
    let (_, note) = Checkpoint::parse_note(&std::fs::read_to_string(&after.note).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 1, "the old one signs no more");
    after.extends(&before).await;
    after.verify(&[]).await.ok();
    before.verify(&[]).await.ok();
    overlap.verify_under(&before.vkey, &[]).await.ok();
    let export = broker.export().await;
    assert_eq!(
        export.of("key_retired")[0].body["what"]["reason"],
        "left on a laptop"
    );
    broker.finish().await;
}

async fn certified(broker: &TestBroker) -> Granted {
    let asking = broker.ci("acme/web").ask("deploy", STAGING);
    asking.x509().await.granted()
}

/// Whether openssl follows a certificate to a root.
fn leads_to(granted: &Granted, root: &str) -> bool {
    let Credential::X509 {
        certificate, chain, ..
    } = &granted.credential
    else {
        return false;
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.pem", root);
    write("chain.pem", &chain.concat());
    write("leaf.pem", certificate);
    let mut openssl = Command::new("openssl");
    openssl.args(["verify", "-x509_strict", "-CAfile", "root.pem"]);
    openssl.args(["-untrusted", "chain.pem", "leaf.pem"]);
    let said = openssl.current_dir(folder.path()).output().unwrap();
    said.status.success()
}

async fn kids(broker: &TestBroker) -> BTreeSet<String> {
    let keys = broker.get("/oauth2/jwks").await.json()["keys"].take();
    let keys: Vec<Value> = serde_json::from_value(keys).unwrap();
    keys.iter().map(|key| key["kid"].to_string()).collect()
}

/// The keys that entries of a kind name, by their use.
async fn named(broker: &TestBroker, kind: &str) -> BTreeSet<String> {
    let entries = broker.export().await.of(kind);
    let what = entries.iter().map(|entry| &entry.header["what"]);
    let ours = what.filter(|what| ["ca", "jwt"].contains(&what["use"].as_str().unwrap()));
    ours.map(|what| format!("{} {}", what["use"], what["key"]))
        .collect()
}

#[tokio::test]
async fn another_ca_is_another_root() {
    let mut broker = broker().await;
    let old = certified(&broker).await;
    let (old_root, old_kids) = (
        broker.get("/v1/trust/bundle").await.text(),
        kids(&broker).await,
    );
    let old_keys = named(&broker, "key_added").await;
    assert!(leads_to(&old, &old_root));
    broker.stop().await;
    stintd(&broker, &["keys", "replace", "ca"])
        .await
        .refused("--reason");
    let replace = [
        "keys",
        "replace",
        "ca",
        "--reason",
        "the machine was stolen",
    ];
    let said = stintd(&broker, &replace).await.ok();
    for word in [
        "issuing-1.key.retired",
        "jwt-1.key.retired",
        "root-1.key.retired",
    ] {
        assert!(said.contains(word), "{said}");
        assert!(broker.path("keys").join(word).exists());
    }

    broker.restart().await.unwrap();
    let new = certified(&broker).await;
    let root = broker.get("/v1/trust/bundle").await.text();
    let shown = broker.get("/v1/trust").await.json();
    assert!(
        said.contains(shown["root_fingerprint"].as_str().unwrap()),
        "{said}"
    );
    assert!(leads_to(&new, &root));
    assert!(
        !leads_to(&old, &root),
        "the old certificate under the new root"
    );
    assert!(
        !leads_to(&new, &old_root),
        "the new certificate under the old root"
    );
    assert!(kids(&broker).await.is_disjoint(&old_kids));
    assert_eq!(named(&broker, "key_retired").await, old_keys);
    assert_eq!(named(&broker, "key_added").await.len(), 4);
    let retired = broker.export().await.of("key_retired");
    assert!(
        retired
            .iter()
            .all(|it| it.body["what"]["reason"] == "the machine was stolen")
    );

    // And once more: nothing is overwritten.
    broker.stop().await;
    let seq = retired[0].header["seq"].to_string();
    let erase = [
        "ledger",
        "erase",
        "--offline",
        "--basis",
        "request",
        "--seq",
        &seq,
    ];
    stintd(&broker, &erase)
        .await
        .refused("says that a key was retired");
    let said = stintd(&broker, &replace).await.ok();
    assert!(said.contains("root-2.key.retired"), "{said}");
    broker.restart().await.unwrap();
    assert_eq!(named(&broker, "key_retired").await.len(), 4);
    assert!(!leads_to(
        &new,
        &broker.get("/v1/trust/bundle").await.text()
    ));

    // A log that began since knows what was retired before, and takes back what it never named; and the token key may be
    // of another sort.
    broker.stop().await;
    let epoch = ["ledger", "epoch", "--reason", "stolen too"];
    stintd(&broker, &epoch).await.ok();
    broker.reconfigure("[ledger]\n", "[jwt]\nalg = \"EdDSA\"\n[ledger]\n");
    stintd(&broker, &replace).await.ok();
    broker.restart().await.unwrap();
    let last = certified(&broker).await;
    assert!(leads_to(
        &last,
        &broker.get("/v1/trust/bundle").await.text()
    ));
    assert_eq!(named(&broker, "key_retired").await.len(), 4 + 2);
    assert_eq!(named(&broker, "key_added").await.len(), 4 + 2 + 2);
    broker.abandon().await;
}

#[tokio::test]
async fn keys_that_the_ledger_retired_sign_no_more() {
    let mut broker = broker().await;
    let (keys, old) = (
        broker.path("keys"),
        broker.path("keys-of-the-other-replica"),
    );
    broker.stop().await;
    copy(&keys, &old);
    let replace = ["keys", "replace", "ca", "--reason", "stolen"];
    stintd(&broker, &replace).await.ok();
    let new = broker.path("keys-of-this-one");
    std::fs::rename(&keys, &new).unwrap();
    copy(&old, &keys);

    let size = number(&broker.database(), ENTRIES).await;
    let refused = broker.restart().await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Retired { usage, .. } if *usage == KeyUse::Ca),
        "{refused}"
    );
    assert_eq!(number(&broker.database(), ENTRIES).await, size);
    // The token key alone.
    for file in std::fs::read_dir(&new).unwrap() {
        let name = file.unwrap().file_name();
        let text = name.to_str().unwrap();
        if ["root.", "issuing-"].iter().any(|it| text.starts_with(it)) {
            std::fs::copy(new.join(&name), keys.join(&name)).unwrap();
        }
    }
    let refused = broker.restart().await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Retired { usage, .. } if *usage == KeyUse::Jwt),
        "{refused}"
    );

    std::fs::remove_dir_all(&keys).unwrap();
    std::fs::rename(&new, &keys).unwrap();
    broker.restart().await.unwrap();
    drop(certified(&broker).await);

    // With the keys of a later epoch beside it, as somebody copied them.
    broker.stop().await;
    stintd(&broker, &["ledger", "epoch", "--reason", "stolen too"])
        .await
        .ok();
    copy(&keys, &new);
    for name in ["issuing-2.key", "issuing-2.pem", "jwt-2.key"] {
        std::fs::remove_file(keys.join(name)).unwrap();
    }
    for name in [
        "root.key",
        "root.pem",
        "issuing-1.key",
        "issuing-1.pem",
        "jwt-1.key",
    ] {
        std::fs::copy(old.join(name), keys.join(name)).unwrap();
    }
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(
        refused.contains("the CA's key in [keys] dir was retired"),
        "{refused}"
    );
    // Its way out is the same command.
    stintd(&broker, &replace).await.ok();
    broker.restart().await.unwrap();
    drop(certified(&broker).await);
    broker.abandon().await;
}

#[tokio::test]
async fn a_key_that_the_operator_brings_is_on_record_once() {
    let mut broker = broker().await;
    let before = named(&broker, "key_added").await;
    broker.stop().await;
    write_secret(&broker.path("rs256.key"), RSA);
    broker.reconfigure(
        "[ledger]\n",
        "[jwt]\nrs256 = { file = \"rs256.key\" }\n[ledger]\n",
    );
    for _ in 0..2 {
        broker.restart().await.unwrap();
        assert!(named(&broker, "key_added").await.is_superset(&before));
        assert_eq!(
            broker.export().await.of("key_added").len(),
            before.len() + 2
        );
        broker.stop().await;
    }
    broker.abandon().await;
}

const ENTRIES: &str = "SELECT size FROM ledger_head";
const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");
