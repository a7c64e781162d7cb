//! The log: one wide event for each outcome, searchable by every id its caller holds, and nothing of a stranger's in it.

use serde_json::Value;
use stint_tests::clock::eventually;
use stint_tests::{TestBroker, process};
use stint_wire::Code;

use crate::lies;

const STAGING: &str = "Environment::staging/web";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// `stintd` itself, whose stderr is a file and so JSON.
async fn stintd() -> TestBroker {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.serve(None).await;
    broker
}

/// The lines in which `word` stands, as soon as there is one.
async fn lines(broker: &TestBroker, word: &str) -> Vec<Value> {
    let folder = broker.path("");
    let with_word = |said: &str| -> Vec<Value> {
        let lines = said.lines().filter(|line| line.contains(word));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    eventually(word, async || {
        !with_word(&process::said(&folder)).is_empty()
    })
    .await;
    with_word(&process::said(&folder))
}

async fn one_line(broker: &TestBroker, word: &str) -> Value {
    let mut lines = lines(broker, word).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[tokio::test]
async fn a_grant_is_one_wide_event() {
    let broker = stintd().await;
    let asking = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .ask("deploy", STAGING);
    let granted = asking.x509().await.granted();
    let event = one_line(&broker, &granted.grant).await;
    for (name, value) in [
        ("message", "granted"),
        ("level", "INFO"),
        ("method", "POST"),
        ("route", "/v1/grants"),
        ("outcome", "permit"),
        ("kind", "x509"),
        ("issuer", "github"),
        ("caller.subject", "spiffe://acme.dev/github/123456/456789"),
        ("decision", &*granted.decision),
        ("task", &*granted.task),
    ] {
        assert_eq!(event[name], value, "{name}: {event:#}");
    }
    assert_eq!(event["status"], 201);
    let micros = |name: &str| {
        event[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {event:#}"))
    };
    let steps = ["authenticate", "decide", "prepare", "record", "sign"];
    let steps: u64 = steps
        .iter()
        .map(|step| micros(&format!("{step}_micros")))
        .sum();
    assert!(0 < steps && steps <= micros("micros"), "{event:#}");
    for absent in ["code", "refused", "trace_id", "request"] {
        assert_eq!(event.get(absent), None, "{event:#}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_deny_and_a_hold_name_their_decision() {
    let broker = stintd().await;
    let asking = broker
        .ci("acme/web")
        .on("refs/heads/x")
        .ask("deploy", "Environment::prod/web");
    let denied = asking.x509().await.refused(Code::Denied);
    let event = one_line(&broker, &denied.decision.unwrap()).await;
    assert_eq!(
        (&event["message"], &event["code"]),
        (&"denied".into(), &"denied".into())
    );
    assert_eq!(
        (&event["status"], &event["outcome"]),
        (&403.into(), &"deny".into())
    );
    let asking = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .ask("deploy", "Environment::prod/web");
    let held = asking.x509().await.held();
    let event = one_line(&broker, &held.request).await;
    assert_eq!(
        (&event["message"], &event["outcome"]),
        (&"held".into(), &"hold".into())
    );
    broker.finish().await;
}

/// The caller reads one sentence and an id; under the id the operator reads the reason (UX.md §4).
#[tokio::test]
async fn the_id_of_a_refusal_leads_to_its_reason() {
    let broker = stintd().await;
    for lie in lies::all(&broker) {
        if lie.token.len() > 32 {
            broker.canary(&lie.token);
        }
        let asking = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&lie.token);
        let answer = asking.x509().await;
        drop(answer.refused(Code::EvidenceRejected));
        let id = answer.header("x-request-id");
        assert!(id.starts_with("err_") && id.len() == 30, "{id}");
        assert!(!answer.text().contains(id));
        let event = one_line(&broker, id).await;
        assert_eq!(event["refused"], lie.reason, "{event:#}");
        assert_eq!(event["message"], "evidence rejected");
        assert_eq!(event["code"], "evidence_rejected");
        assert_eq!(
            event.get("caller.subject"),
            None,
            "a subject that was not verified: {event:#}"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_trace_is_kept_and_a_broken_one_is_not() {
    let broker = stintd().await;
    let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer = broker
        .request("GET", "/v1/nothing", &[("traceparent", &good)], b"")
        .await;
    drop(answer.refused(Code::NotFound));
    // Level 1 of the standard defines no header for answers.
    assert_eq!(
        (answer.header("traceparent"), answer.header("traceresponse")),
        ("", "")
    );
    let event = one_line(&broker, answer.header("x-request-id")).await;
    assert_eq!(
        (&event["trace_id"], &event["route"]),
        (&TRACE.into(), &"none".into())
    );
    let long = format!("00-{}-00f067aa0ba902b7-01", TRACE.repeat(100));
    for bad in [
        &*long,
        "00-x-y-01",
        &good.replace("00-", "ff-"),
        &good.to_uppercase(),
    ] {
        let answer = broker
            .request("GET", "/v1/nothing", &[("traceparent", bad)], b"")
            .await;
        let event = one_line(&broker, answer.header("x-request-id")).await;
        assert_eq!(event.get("trace_id"), None, "{event:#}");
    }
    let twice = [("traceparent", &*good), ("traceparent", &*good)];
    let answer = broker.request("GET", "/v1/nothing", &twice, b"").await;
    let event = one_line(&broker, answer.header("x-request-id")).await;
    assert_eq!(event.get("trace_id"), None, "{event:#}");
    broker.finish().await;
}

/// Paths, methods, headers and bodies of strangers are in no line, whole or in part.
#[tokio::test]
async fn nothing_of_a_strangers_is_in_the_log() {
    let broker = stintd().await;
    let word = "NINEPINS";
    for path in [
        format!("/{word}"),
        format!("/a/{word}%0a%1b[2J"),
        format!("/v1/trust?{word}={word}"),
    ] {
        broker.get(&path).await;
    }
    broker.request(word, "/v1/trust", &[], b"").await;
    let headers = [
        ("authorization", &*format!("Bearer {word}.{word}.{word}")),
        ("user-agent", word),
        ("tracestate", word),
    ];
    let answer = broker
        .post(
            "/v1/grants",
            &headers,
            format!("{{\"{word}\":1}}").as_bytes(),
        )
        .await;
    drop(lines(&broker, answer.header("x-request-id")).await);
    let said = process::said(&broker.path(""));
    assert!(!said.to_uppercase().contains(word), "{said}");
    broker.finish().await;
}

/// Who hangs up cuts nothing, and its outcome is told all the same, once.
#[tokio::test]
async fn a_caller_that_hangs_up_is_told_once() {
    let broker = stintd().await;
    let token = broker.ci("acme/web").on("refs/heads/main").token();
    let body = format!(
        r#"{{"action":"deploy","resources":["{STAGING}"],"credential":{{"kind":"jwt","audience":"https://r.acme.dev"}}}}"#
    );
    let head = format!(
        "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    broker.hang_up(head.as_bytes()).await.unwrap();
    let event = one_line(&broker, "\"outcome\":\"permit\"").await;
    assert_eq!(
        (&event["message"], &event["kind"]),
        (&"granted".into(), &"jwt".into())
    );
    broker.finish_after_crash().await;
}
