//! What sinks send, held against OCSF's own schema and read by the CloudEvents SDK.

use std::collections::BTreeMap;

use stint_tests::TestBroker;
use stint_tests::clock::eventually;

use crate::foreign::{python, run};

/// A file with every sort of event that a broker can be made to send, a line each.
async fn lines(kind: &str) -> String {
    let table = format!(
        "[sink.out]\nkind = \"{kind}\"\nto = \"file:events\"\nbodies = [\"*\"]\nheartbeat = \"1s\"\n"
    );
    let broker = TestBroker::with().tables(&table).start().await;
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    let (staging, prod) = ("Environment::staging/web", "Environment::prod/web");
    drop(caller().ask("deploy", staging).x509().await.granted());
    drop(caller().ask("deploy", prod).x509().await.held());
    let other = broker.ci("acme/web").on("refs/heads/other");
    assert_eq!(other.ask("deploy", prod).x509().await.status, 403);
    let freeze = serde_json::json!({ "all": true, "reason": "test" });
    assert_eq!(broker.command("/v1/freeze", &freeze).await.status, 200);
    assert_eq!(broker.command("/v1/unfreeze", &freeze).await.status, 200);
    assert_eq!(
        broker.operator("GET", "/v1/ledger/bundle").await.status,
        200
    );
    let (path, size) = (broker.path("events"), broker.size().await);
    let mut text = String::new();
    eventually("a heartbeat behind all entries", async || {
        text = std::fs::read_to_string(&path).unwrap_or_default();
        text.contains(&format!("\\n{size}\\n"))
    })
    .await;
    broker.finish().await;
    text
}

fn read(kind: &str, lines: &str) -> Result<BTreeMap<String, u64>, String> {
    let said = run(python("check_events.py").arg(kind), lines);
    match said.ok {
        true => Ok(serde_json::from_str(&said.out).unwrap()),
        false => Err(said.err),
    }
}

#[tokio::test]
async fn ocsf_events_are_of_their_class() {
    let lines = lines("ocsf").await;
    let read_ = read("ocsf", &lines).unwrap();
    assert!(read_["authorize_session"] >= 3, "{read_:?}");
    assert!(read_["api_activity"] >= 5, "{read_:?}");
    assert!(read_["base_event"] >= 1, "{read_:?}");
    // The check can fail.
    for (from, to) in [
        ("\"severity_id\":1", "\"severity_id\":7"),
        ("\"activity_id\":1", "\"activity_id\":8"),
        ("\"privileges\":", "\"privilege\":"),
        ("\"operation\":", "\"operations\":"),
    ] {
        assert!(lines.contains(from), "{from}");
        assert!(read("ocsf", &lines.replace(from, to)).is_err(), "{to}");
    }
}

#[tokio::test]
async fn cloud_events_are_read_by_the_sdk() {
    let lines = lines("cloudevents").await;
    let read_ = read("cloudevents", &lines).unwrap();
    for kind in [
        "genesis",
        "granted",
        "denied",
        "requested",
        "frozen",
        "heartbeat",
    ] {
        assert!(
            read_.contains_key(&format!("dev.stint.ledger.{kind}")),
            "{read_:?}"
        );
    }
    for (from, to) in [
        ("\"specversion\":\"1.0\"", "\"specversion\":\"9\""),
        ("\"id\":\"", "\"ID\":\""),
        ("\"source\":", "\"sauce\":"),
    ] {
        assert!(lines.contains(from), "{from}");
        assert!(
            read("cloudevents", &lines.replace(from, to)).is_err(),
            "{to}"
        );
    }
}
