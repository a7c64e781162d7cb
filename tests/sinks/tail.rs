//! `GET /v1/ledger/events` on the operator socket: what `stint ledger tail` reads.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use stint_tests::TestBroker;

use crate::check::{check, key};

const STAGING: &str = "Environment::staging/web";

async fn grant(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", STAGING).x509().await.granted());
}

/// A reader of lines.
struct Reader {
    response: Response,
    bytes: Vec<u8>,
    text: String,
}

impl Reader {
    async fn open(broker: &TestBroker, query: &str) -> Reader {
        let client = Client::builder()
            .unix_socket(broker.path("stintd.sock"))
            .build()
            .unwrap();
        let request = client.get(format!("http://localhost/v1/ledger/events{query}"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Reader {
            response,
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    /// The next line, or none at the end.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=at).collect();
                let line = String::from_utf8(line).unwrap();
                self.text.push_str(&line);
                return Some(serde_json::from_str(&line).unwrap());
            }
            self.bytes
                .extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    /// Reads up to entry `seq`.
    async fn until(&mut self, seq: u64) -> Value {
        loop {
            let event = self.line().await.unwrap();
            if event["seq"] == seq {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn entries_come_as_they_are_committed_behind_a_signed_head() {
    let broker = TestBroker::start().await;
    let size = broker.size().await;
    let mut reader = Reader::open(&broker, "").await;
    reader.until(size - 1).await;
    grant(&broker).await;
    let event = reader.until(size).await;
    assert_eq!(event["header"]["kind"], "granted");
    assert_eq!(event.get("body"), None);
    let beats = reader
        .text
        .lines()
        .filter(|line| line.contains("heartbeat"));
    assert!(beats.count() >= 1);
    let verdict = check(&key(&broker).await, &reader.text, &[]);
    assert_ne!(verdict.code, 8, "{}", verdict.said);
    let mut later = Reader::open(&broker, &format!("?from={size}")).await;
    let first = loop {
        let event = later.line().await.unwrap();
        if event.get("seq").is_some() {
            break event;
        }
    };
    assert_eq!(first, event);
    drop((reader, later));
    broker.finish().await;
}

#[tokio::test]
async fn a_quiet_stream_is_not_taken_for_a_stuck_connection() {
    let broker = TestBroker::with()
        .set("limits", "write_timeout = \"1s\"")
        .start()
        .await;
    let size = broker.size().await;
    let mut reader = Reader::open(&broker, &format!("?from={size}")).await;
    let quiet = tokio::time::timeout(Duration::from_secs(3), reader.until(size)).await;
    assert!(quiet.is_err(), "nothing came");
    grant(&broker).await;
    reader.until(size).await;
    drop(reader);
    broker.finish().await;
}

#[tokio::test]
async fn who_reads_bodies_is_on_record_before_the_first_one() {
    let broker = TestBroker::start().await;
    grant(&broker).await;
    let size = broker.size().await;
    let query = "?from=1&bodies=granted,denied";
    let mut reader = Reader::open(&broker, query).await;
    let granted = reader.until(size - 1).await;
    assert_eq!(granted["body"]["what"]["caller"]["issuer"], "github");
    let read = reader.until(size).await;
    assert_eq!(read["header"]["kind"], "admin");
    assert_eq!(
        read["header"]["what"],
        json!({ "of": 1, "op": "body_read" })
    );
    let bodies = reader
        .text
        .lines()
        .filter(|line| line.contains("\"body\":{\"salt\""));
    assert!(bodies.count() > 0);
    drop(reader);
    let (export, _) = broker.verify_ledger().await;
    let admin = export.of("admin").remove(0);
    let what = &admin.body["what"];
    assert_eq!(what["target"], "granted,denied");
    assert!(what["actor"]["id"].as_str().unwrap().starts_with("local:"));
    broker.finish().await;
}

#[tokio::test]
async fn what_is_no_range_or_kind_is_refused_and_not_recorded() {
    let broker = TestBroker::start().await;
    let state = broker.state().await;
    for (query, why) in [
        ("?from=99999", "the ledger has"),
        ("?from=-1", "`from` is the number of an entry"),
        ("?from=1&bodies=grantd", "`bodies` are kinds"),
        ("?bodies=", "`bodies` are kinds"),
        ("?until=3", "say `from` and `bodies` alone"),
    ] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/events{query}"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(why), "{query}: {}", answer.text());
    }
    assert_eq!(broker.state().await, state);
    assert_eq!(broker.get("/v1/ledger/events").await.status, 404);
    broker.finish().await;
}

#[tokio::test]
async fn a_reader_does_not_keep_the_broker_from_stopping() {
    let mut broker = TestBroker::with()
        .set("server", "shutdown_grace = \"300s\"")
        .start()
        .await;
    let size = broker.size().await;
    let mut reader = Reader::open(&broker, &format!("?from={size}")).await;
    assert!(reader.line().await.unwrap().get("heartbeat").is_some());
    broker.stop().await;
    assert_eq!(reader.line().await, None);
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_keeps_nobody_waiting() {
    let broker = TestBroker::start().await;
    let reader = Reader::open(&broker, "?bodies=*").await;
    for _ in 0..50 {
        grant(&broker).await;
    }
    drop(reader);
    broker.finish().await;
}
