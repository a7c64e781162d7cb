//! What `stintd check` says of sinks that cannot be.

use std::process::Command;

use stint_tests::{TestBroker, process};

use crate::receiver::sink;

/// `stintd check` on a config with this table: whether it holds, and what was said.
fn check(broker: &TestBroker, table: &str) -> (bool, String) {
    let path = broker.config_file();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + table).unwrap();
    let done = Command::new(process::program("stintd"))
        .args(["check", "-c"])
        .arg(&path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn sinks_that_cannot_be_are_refused_with_their_line() {
    let broker = TestBroker::start().await;
    let refused = |table: &str, why: &str| {
        let (holds, said) = check(&broker, table);
        // miette wraps what is long.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!holds && said.contains(why), "{table}\n{said}");
        assert!(!said.contains("hunter2"), "{said}");
    };
    let out = |to: &str, more: &str| sink("jsonl", to, more);
    refused(
        "[sink.out]\nkind = \"jsonl\"\n",
        "missing key `to` in [sink.out]",
    );
    refused(&sink("json", "file:x", ""), "did you mean `jsonl`?");
    refused(
        &out("siem.example", ""),
        "`to` in [sink.out] is not a place",
    );
    refused(&out("http://siem.example/in", ""), "is in the clear");
    refused(
        &out("https://me:hunter2@siem.example/in", ""),
        "has a user, a password",
    );
    refused(
        &out("syslog+udp://127.0.0.1:514", ""),
        "does not know `syslog+udp`",
    );
    refused(&out("syslog+tls://siem.example", ""), "needs `ca_file`");
    refused(
        &out("file:x", "secret = { env = \"HOME\" }"),
        "has no receiver that reads it",
    );
    refused(
        &out("https://siem.example/", "secret = \"hunter2\""),
        "`secret` in [sink.out]",
    );
    refused(&out("file:x", "ca_file = \"x\""), "has no TLS to judge");
    refused(
        &out("file:x", "bodies = [\"grantd\"]"),
        "did you mean `granted`?",
    );
    refused(
        &out("file:x", "kinds = [\"granted\"]"),
        "unknown key `kinds` in [sink.out]",
    );
    refused(&out("file:x", "batch = 0"), "is out of bounds: 0");
    refused(
        &sink("jsonl", "file:x", "").replace("sink.out", "sink.Out"),
        "cannot name a table",
    );
    let (holds, said) = check(&broker, &out("file:x", "bodies = [\"granted\"]"));
    assert!(holds && said.contains("no erasure reaches"), "{said}");
    let (holds, said) = check(&broker, &out("https://siem.example/in?index=stint", ""));
    assert!(holds, "{said}");
    broker.finish().await;
}

#[tokio::test]
async fn a_root_file_that_holds_no_root_stops_the_start() {
    let mut broker = TestBroker::with()
        .secret_file("root.pem", b"nothing")
        .start()
        .await;
    let table = sink("jsonl", "https://siem.example/in", "ca_file = \"root.pem\"");
    broker.reconfigure("[limits]\n", &format!("{table}[limits]\n"));
    let error = broker.restart().await.unwrap_err().to_string();
    assert!(error.contains("[sink.out] `ca_file`"), "{error}");
    broker.abandon().await;
}
