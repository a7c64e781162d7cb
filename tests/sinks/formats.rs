//! Each format to each kind of receiver; what a receiver reads of each entry.

use std::collections::BTreeSet;

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::tls::Pki;

use crate::check::proves_all;
use crate::receiver::{Receiver, seqs, sink};
use crate::syslog;

const STAGING: &str = "Environment::staging/web";
const PROD: &str = "Environment::prod/web";

/// A little of everything: a grant, a request, a denial, a freeze.
pub(crate) async fn live(broker: &TestBroker) {
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    drop(caller().ask("deploy", STAGING).x509().await.granted());
    drop(caller().ask("deploy", PROD).x509().await.held());
    let other = broker.ci("acme/web").on("refs/heads/other");
    assert_eq!(other.ask("deploy", PROD).x509().await.status, 403);
    let freeze = serde_json::json!({ "issuer": "github", "reason": "test" });
    assert_eq!(broker.command("/v1/freeze", &freeze).await.status, 200);
    assert_eq!(broker.command("/v1/unfreeze", &freeze).await.status, 200);
}

/// Entries once each, in order.
fn in_order(text: &str) {
    let seqs = seqs(text);
    let count = u64::try_from(seqs.len()).unwrap();
    assert_eq!(seqs, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_format_reaches_a_file_and_is_all_of_the_ledger() {
    for kind in ["jsonl", "ocsf", "cloudevents"] {
        let table = sink(kind, "file:events", "bodies = [\"granted\", \"denied\"]");
        let broker = TestBroker::with().tables(&table).start().await;
        live(&broker).await;
        let path = broker.path("events");
        let text = proves_all(&broker, || {
            std::fs::read_to_string(&path).unwrap_or_default()
        })
        .await;
        in_order(&text);
        broker.finish().await;
    }
}

#[tokio::test]
async fn each_format_is_posted_and_is_all_of_the_ledger() {
    for (kind, media) in [
        ("jsonl", "application/x-ndjson"),
        ("ocsf", "application/x-ndjson"),
        ("cloudevents", "application/cloudevents-batch+json"),
    ] {
        let receiver = Receiver::start().await;
        let table = receiver.sink(kind, "bodies = [\"*\"]\nsecret = { file = \"token\" }");
        let setup = TestBroker::with().secret_file("token", b"s3cr3t-of-the-siem\n");
        let broker = setup.tables(&table).start().await;
        live(&broker).await;
        let text = proves_all(&broker, || receiver.text()).await;
        in_order(&text);
        let post = receiver.posts().remove(0);
        assert_eq!(post.headers["content-type"], media);
        assert_eq!(post.headers["authorization"], "Bearer s3cr3t-of-the-siem");
        broker.finish().await;
    }
}

#[tokio::test]
async fn each_format_goes_by_syslog_and_is_all_of_the_ledger() {
    for kind in ["jsonl", "ocsf", "cloudevents"] {
        let receiver = syslog::Receiver::start(None).await;
        let table = sink(kind, &format!("syslog+tcp://{}", receiver.address), "");
        let broker = TestBroker::with().tables(&table).start().await;
        live(&broker).await;
        let text = proves_all(&broker, || receiver.text()).await;
        in_order(&text);
        let denied = text.lines().find(|line| line.contains(" denied - "));
        let denied = denied.unwrap();
        let head = "<109>1 2027-03-01T10:00:00Z - stintd - denied - {";
        assert!(denied.starts_with(head), "{denied}");
        broker.finish().await;
    }
}

#[tokio::test]
async fn syslog_goes_over_tls_to_whoever_the_root_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path());
    let receiver = syslog::Receiver::start(Some(&pki)).await;
    let to = format!("syslog+tls://localhost:{}", receiver.address.port());
    let table = |root: &str| sink("jsonl", &to, &format!("ca_file = \"{root}\""));
    let root = folder.path().join("root.pem");
    std::fs::write(&root, pki.root_pem()).unwrap();
    let broker = TestBroker::with()
        .tables(&table(&root.display().to_string()))
        .start()
        .await;
    live(&broker).await;
    let text = proves_all(&broker, || receiver.text()).await;
    in_order(&text);
    broker.finish().await;

    let stranger = tempfile::tempdir().unwrap();
    let root = stranger.path().join("root.pem");
    std::fs::write(&root, Pki::new(stranger.path()).root_pem()).unwrap();
    let before = receiver.text();
    let broker = TestBroker::with()
        .tables(&table(&root.display().to_string()))
        .start()
        .await;
    stint_tests::clock::eventually("the sink is stuck", async || {
        let check = broker.check("sink out").await;
        check["code"] == "sink_stuck" && check["detail"].as_str().unwrap().contains("certificate")
    })
    .await;
    assert_eq!(receiver.text(), before);
    broker.finish().await;
}

#[tokio::test]
async fn bodies_go_along_for_the_kinds_that_are_named() {
    let table = sink("jsonl", "file:events", "bodies = [\"denied\"]");
    let broker = TestBroker::with().tables(&table).start().await;
    live(&broker).await;
    let path = broker.path("events");
    let text = proves_all(&broker, || {
        std::fs::read_to_string(&path).unwrap_or_default()
    })
    .await;
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries: Vec<Value> = events.filter(|event| event.get("seq").is_some()).collect();
    let with_body = entries.iter().filter(|event| event.get("body").is_some());
    let kinds: BTreeSet<_> = with_body
        .map(|it| it["header"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["denied"]));
    assert!(entries.iter().any(|it| it["header"]["kind"] == "granted"));
    broker.finish().await;
}

#[tokio::test]
async fn decisions_sign_ins_and_the_rest_have_the_classes_of_ocsf() {
    let table = sink("ocsf", "file:events", "");
    let broker = TestBroker::with().tables(&table).start().await;
    live(&broker).await;
    let path = broker.path("events");
    let text = proves_all(&broker, || {
        std::fs::read_to_string(&path).unwrap_or_default()
    })
    .await;
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["metadata"]["event_code"].as_str().unwrap().to_owned();
        let class = match kind.as_str() {
            "granted" | "denied" | "requested" => 3003,
            "heartbeat" => 0,
            _ => 6003,
        };
        assert_eq!(event["class_uid"], class, "{kind}");
        let activity = event["activity_id"].as_u64().unwrap();
        assert_eq!(event["type_uid"], class * 100 + activity, "{kind}");
        assert_eq!(event["category_uid"], class / 1000, "{kind}");
        kinds.insert(kind);
    }
    for kind in [
        "genesis",
        "granted",
        "denied",
        "requested",
        "frozen",
        "unfrozen",
        "heartbeat",
    ] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    broker.finish().await;
}
