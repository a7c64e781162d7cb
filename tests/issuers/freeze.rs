//! The kill switch: one issuer, or everything, until somebody lifts it; and tokens from before a moment.

use serde_json::{Value, json};
use stint_broker::start::StartError;
use stint_broker::store::Engine;
use stint_tests::evil::{Evil, IdpKey};
use stint_tests::{TestBroker, database, together};
use stint_wire::Code;

use crate::common::{POLICY, ask_as, broker, others_are_served, setup};

fn github() -> Value {
    json!({ "issuer": "github", "reason": "their signing key is out" })
}

async fn ci(broker: &TestBroker) -> stint_tests::Answer {
    let ask = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    ask.x509().await
}

async fn freeze(broker: &TestBroker, what: &Value) -> u64 {
    let done = broker.command("/v1/freeze", what).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json()["changed"], true);
    done.json()["seq"].as_u64().unwrap()
}

async fn unfreeze(broker: &TestBroker, what: &Value) {
    let done = broker.command("/v1/unfreeze", what).await;
    assert_eq!(
        (done.status.as_u16(), &done.json()["changed"]),
        (200, &json!(true))
    );
}

#[tokio::test]
async fn a_frozen_issuer_is_refused_like_any_bad_evidence_and_others_are_not() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let broker = broker(&[&idp]).await;
    drop(ci(&broker).await.granted());
    drop(ask_as(&broker, &idp, &key).await.granted());
    let seq = freeze(&broker, &github()).await;
    let before = broker.state().await;
    let answer = ci(&broker).await;
    drop(answer.refused(Code::EvidenceRejected));
    let bad = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web")
        .token("a.b.c");
    assert_eq!(
        bad.x509().await.text(),
        answer.text(),
        "nobody reads that it is frozen"
    );
    let dry = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web")
        .for_jwt("https://x.example");
    drop(dry.judge().await.refused(Code::EvidenceRejected));
    let bearer = format!("Bearer {}", broker.ci("acme/web").token());
    let who = broker
        .post("/v1/whoami", &[("authorization", &bearer)], b"")
        .await;
    drop(who.refused(Code::EvidenceRejected));
    assert_eq!(broker.state().await, before, "and nothing was written");
    drop(ask_as(&broker, &idp, &key).await.granted());

    let frozen = broker.export().await.of("frozen").remove(0);
    assert_eq!(frozen.header["seq"], seq);
    assert_eq!(
        frozen.header["what"],
        json!({ "revokes": 0, "scope": "issuer" })
    );
    let body = &frozen.body["what"];
    assert_eq!(
        (&body["target"], &body["reason"]),
        (&json!("github"), &json!("their signing key is out"))
    );
    assert!(body["actor"]["id"].as_str().unwrap().starts_with("local:"));
    assert_eq!(broker.check("issuer github").await["code"], "issuer_frozen");
    assert_eq!(broker.check("frozen").await["detail"], "issuer github");
    assert_eq!(broker.operator("GET", "/readyz").await.status, 200);
    broker.finish().await;
}

#[tokio::test]
async fn a_freeze_outlives_a_restart_and_ends_when_it_is_lifted() {
    let mut broker = TestBroker::start().await;
    let seq = freeze(&broker, &github()).await;
    let again = broker.command("/v1/freeze", &github()).await.json();
    assert_eq!(
        again,
        json!({ "changed": false, "seq": null }),
        "it was frozen already"
    );
    broker.restart().await.unwrap();
    drop(ci(&broker).await.refused(Code::EvidenceRejected));
    unfreeze(&broker, &github()).await;
    drop(ci(&broker).await.granted());
    let unfrozen = broker.export().await.of("unfrozen").remove(0);
    assert_eq!(
        unfrozen.header["what"],
        json!({ "of": seq, "scope": "issuer" })
    );
    broker.restart().await.unwrap();
    drop(ci(&broker).await.granted());
    let again = broker.command("/v1/unfreeze", &github()).await.json();
    assert_eq!(again["changed"], false);
    broker.finish().await;
}

#[tokio::test]
async fn everything_can_be_frozen_and_levels_add_up() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let mut broker = broker(&[&idp]).await;
    freeze(&broker, &github()).await;
    freeze(&broker, &json!({ "all": true, "reason": "stop" })).await;
    broker.restart().await.unwrap();
    for answer in [ci(&broker).await, ask_as(&broker, &idp, &key).await] {
        drop(answer.refused(Code::EvidenceRejected));
    }
    unfreeze(&broker, &json!({ "all": true })).await;
    drop(ask_as(&broker, &idp, &key).await.granted());
    drop(ci(&broker).await.refused(Code::EvidenceRejected));
    unfreeze(&broker, &github()).await;
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn no_grant_follows_the_freeze_that_covers_it() {
    let broker = TestBroker::start().await;
    let what = github();
    let asks = (0..60).map(|n| {
        let (broker, what) = (&broker, &what);
        async move {
            if n == 30 {
                freeze(broker, what).await;
                return 0;
            }
            ci(broker).await.status.as_u16()
        }
    });
    let statuses = together(asks).await;
    // 503: a busy machine did not come to look at it in time, and granted nothing.
    let known = |status: &u16| [0, 201, 400, 503].contains(status);
    assert!(statuses.iter().all(known), "{statuses:?}");
    let export = broker.export().await;
    let seq = |entry: &stint_tests::after::Entry| entry.header["seq"].as_u64().unwrap();
    let frozen = seq(&export.of("frozen")[0]);
    assert!(export.of("granted").iter().all(|entry| seq(entry) < frozen));
    broker.finish().await;
}

#[tokio::test]
async fn a_freeze_that_is_made_to_say_something_else_stops_the_start() {
    let mut broker = TestBroker::start().await;
    freeze(&broker, &github()).await;
    broker.stop().await;
    // Old enough that no body near the end is looked at: the header alone must give it away.
    let sql = match broker.database().engine() {
        Engine::Sqlite => {
            "UPDATE ledger_batch SET headers = CAST(replace(CAST(headers AS TEXT), '\"kind\":\"frozen\"', \
             '\"kind\":\"frozeN\"') AS BLOB) WHERE instr(headers, CAST('\"kind\":\"frozen\"' AS BLOB)) > 0"
        }
        // The place of its last letter, 14 bytes on.
        Engine::Postgres => {
            "UPDATE ledger_batch SET headers = overlay(headers PLACING 'N'::bytea \
             FROM position('\"kind\":\"frozen\"'::bytea IN headers) + 13) \
             WHERE position('\"kind\":\"frozen\"'::bytea IN headers) > 0"
        }
    };
    assert_eq!(database::tamper(&broker.database(), sql).await, 1);
    assert!(matches!(broker.restart().await, Err(StartError::Ledger(_))));
    broker.abandon().await;
}

#[tokio::test]
async fn only_operators_freeze_and_only_what_there_is() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    for path in ["/v1/freeze", "/v1/unfreeze", "/v1/issuers/accept"] {
        let stranger = broker
            .post(path, &[], github().to_string().as_bytes())
            .await;
        drop(stranger.refused(Code::NotFound));
    }
    let long = "x".repeat(501);
    for (what, code) in [
        (json!({}), Code::InvalidField),
        (
            json!({ "all": true, "issuer": "github" }),
            Code::InvalidField,
        ),
        (json!({ "all": false }), Code::InvalidField),
        (json!({ "issuer": "nobody" }), Code::NotFound),
        (
            json!({ "issuer": "github", "reason": long }),
            Code::InvalidField,
        ),
        (
            json!({ "issuer": "github", "reason": "a\nb" }),
            Code::InvalidField,
        ),
        (
            json!({ "issuer": "github", "for": "ever" }),
            Code::Malformed,
        ),
        (json!({ "issuer": 7 }), Code::Malformed),
    ] {
        drop(broker.command("/v1/freeze", &what).await.refused(code));
    }
    assert_eq!(broker.state().await, before);
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn tokens_from_before_the_cut_off_are_refused() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let table = idp.config_with("cut_off = \"2027-03-01T10:00:30Z\"");
    let broker = setup(POLICY, &table).start().await;
    let early = idp.token(&key, broker.now());
    broker.clock.advance(29);
    drop(
        ask_as(&broker, &idp, &key)
            .await
            .refused(Code::EvidenceRejected),
    );
    broker.clock.advance(1);
    drop(ask_as(&broker, &idp, &key).await.granted());
    drop(
        crate::common::ask(&broker, &early)
            .await
            .refused(Code::EvidenceRejected),
    );
    others_are_served(&broker).await;
    broker.finish().await;
}
