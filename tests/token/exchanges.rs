//! Exchanges that succeed, each verified as a relying party would; and those that policy refuses.

use serde_json::{Value, json};
use stint_audit::note::VerifierKey;
use stint_audit::receipt::Proof;
use stint_tests::TestBroker;
use stint_tests::database::tamper;
use stint_tests::exchange::TYPE;
use stint_tests::keys::DpopKey;
use stint_wire::oauth::{OAuthError, TokenType};
use stint_wire::{Code, NextKind};

use crate::desk::{AUDIENCE, CALLER, STAGING, recorded_no, verified, with_targets};

#[tokio::test]
async fn a_token_of_a_job_becomes_an_access_token() {
    let broker = TestBroker::start().await;
    let form = broker.ci("acme/web").job("a").form().audience(AUDIENCE);
    let detail = json!({
        "type": "stint_task", "action": "deploy", "reason": "v2.3.1", "ttl_s": 300,
        "resources": ["Environment::staging/web"],
    });
    let answer = form.with_details(&json!([detail])).send().await;
    let granted = answer.exchanged();
    assert_eq!(granted.issued_token_type, format!("{TYPE}access_token"));
    assert_eq!(granted.token_type, TokenType::Bearer);
    assert_eq!(granted.expires_in, 300);
    assert!(granted.ledger.leaf.is_some() && granted.ledger.receipt.is_none());
    assert!(granted.grant.starts_with("gr_") && granted.decision.starts_with("dec_"));
    assert!(answer.json().get("refresh_token").is_none());
    assert!(answer.json().get("scope").is_none());

    let (header, claims) = verified(&broker, granted.access_token.expose()).await;
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!(CALLER), &json!(CALLER))
    );
    assert_eq!(
        claims["authorization_details"],
        granted.authorization_details
    );
    let detail = &granted.authorization_details[0];
    assert_eq!(detail["resources"], json!(["Environment::\"staging/web\""]));
    assert_eq!(detail["ttl_s"], 300);
    assert_eq!(detail.get("reason"), None, "prose goes into no credential");
    let [entry] = &broker.export().await.of("granted")[..] else {
        panic!("one grant")
    };
    assert_eq!(entry.body["what"]["reason"], "v2.3.1");
    broker.finish().await;
}

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let granted = form.proved_by(&key).send().await.exchanged();
    assert_eq!(granted.token_type, TokenType::Dpop);
    let (_, claims) = verified(&broker, granted.access_token.expose()).await;
    assert_eq!(claims["cnf"], json!({ "jkt": key.thumbprint() }));
    broker.finish().await;
}

#[tokio::test]
async fn the_receipt_comes_whole_where_it_is_asked_for() {
    let broker = TestBroker::start().await;
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let granted = form.field("ledger", "receipt").send().await.exchanged();
    assert_eq!(granted.ledger.leaf, None);
    let proof: Proof = granted.ledger.receipt.unwrap().parse().unwrap();
    let vkey = broker.get("/v1/trust").await.json()["ledger"]["vkey"].clone();
    let vkey: VerifierKey = vkey.as_str().unwrap().parse().unwrap();
    let proven = proof.verify(&[vkey]).unwrap();
    assert_eq!(proven.header.id, granted.grant);

    // Without asking, the leaf's hash: the same that the proof leads from.
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let plain = form.send().await.exchanged();
    assert!(plain.ledger.leaf.unwrap().len() > 40);
    broker.finish().await;
}

#[tokio::test]
async fn the_short_form_asks_for_its_own_target() {
    let broker = with_targets().start().await;
    for target in ["audience", "resource"] {
        let form = broker.ci("acme/web").form().field("scope", "use");
        let form = form.field(target, AUDIENCE).field("ttl_s", "120");
        let granted = form.send().await.exchanged();
        assert_eq!(granted.expires_in, 120);
        let (_, claims) = verified(&broker, granted.access_token.expose()).await;
        let detail = &claims["authorization_details"][0];
        assert_eq!(detail["action"], "use");
        assert_eq!(
            detail["resources"],
            json!(["Stint::Target::\"https://deploy.acme.dev\""])
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn token_types_have_two_spellings() {
    let broker = TestBroker::start().await;
    let urn = |word: &str| format!("{TYPE}{word}");
    for subject in ["jwt", "id_token", &urn("jwt"), &urn("id_token")] {
        for (requested, issued) in [("access_token", "access_token"), ("jwt", "jwt")] {
            let form = broker
                .ci("acme/web")
                .exchange("deploy", STAGING)
                .audience(AUDIENCE);
            let form = form.set("subject_token_type", subject);
            let requested = match subject.len() > 10 {
                true => urn(requested),
                false => requested.to_owned(),
            };
            let form = form.field("requested_token_type", &requested);
            let granted = form.send().await.exchanged();
            assert_eq!(granted.issued_token_type, urn(issued));
            let (header, _) = verified(&broker, granted.access_token.expose()).await;
            assert_eq!(header["typ"], "at+jwt");
        }
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_longer_life_is_shortened_and_says_by_what() {
    let broker = TestBroker::start().await;
    let detail = json!([{
        "type": "stint_task", "action": "deploy", "resources": [STAGING], "ttl_s": 86_400,
    }]);
    let form = broker
        .ci("acme/web")
        .form()
        .audience(AUDIENCE)
        .with_details(&detail);
    let granted = form.send().await.exchanged();
    assert_eq!(granted.expires_in, 900);
    assert!(granted.shortened_by.contains(&"jwt".to_owned()));
    assert_eq!(granted.authorization_details[0]["ttl_s"], 900);
    broker.finish().await;
}

#[tokio::test]
async fn a_client_id_is_the_callers_own() {
    let broker = TestBroker::start().await;
    let form = || {
        broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE)
    };
    let _granted = form().field("client_id", CALLER).send().await.exchanged();
    let other = form().field("client_id", "spiffe://acme.dev/github/1/2");
    let no = (OAuthError::InvalidClient, "form");
    let refused = recorded_no("another's client_id", &broker, other, no).await;
    assert_eq!(refused.code, Code::InvalidField);
    broker.finish().await;
}

#[tokio::test]
async fn the_tasks_name_may_be_repeated_and_never_changed() {
    let broker = TestBroker::start().await;
    let form = |task: Value| {
        let detail = json!([{ "type": "stint_task", "action": "deploy", "resources": [STAGING], "task": task }]);
        broker
            .ci("acme/web")
            .job("a")
            .form()
            .audience(AUDIENCE)
            .with_details(&detail)
    };
    let granted = form(json!({})).send().await.exchanged();
    let name = granted.authorization_details[0]["task"]["id"].clone();
    let _by_name = form(json!({ "id": name })).send().await.exchanged();
    let _by_id = form(json!({ "id": granted.task })).send().await.exchanged();
    let no = (OAuthError::InvalidAuthorizationDetails, "form");
    recorded_no(
        "another task",
        &broker,
        form(json!({ "id": "github:1/2/3" })),
        no,
    )
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn policy_says_no_and_why() {
    let broker = TestBroker::start().await;
    let form = broker
        .ci("acme/other")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let no = (OAuthError::InvalidAuthorizationDetails, "policy");
    let refused = recorded_no("denied", &broker, form, no).await;
    assert_eq!(refused.code, Code::Denied);
    assert!(!refused.retryable);
    let receipt = refused.decision_receipt.unwrap();
    assert_eq!(receipt["outcome"], "deny");
    assert!(
        receipt["caller"]["id"]
            .as_str()
            .unwrap()
            .starts_with("spiffe://acme.dev/github/")
    );

    let broker_with_targets = with_targets().start().await;
    let form = broker_with_targets
        .ci("acme/web")
        .form()
        .field("scope", "use");
    let form = form.field("resource", "https://other.example");
    let no = (OAuthError::InvalidScope, "policy");
    recorded_no("denied in the short form", &broker_with_targets, form, no).await;
    broker_with_targets.finish().await;
    broker.finish().await;
}

#[tokio::test]
async fn what_people_must_approve_is_refused_and_not_parked() {
    let broker = TestBroker::start().await;
    let csr = stint_tests::keys::csr();
    let form = || {
        let form = broker.ci("acme/web").on("refs/heads/main");
        let form = form.exchange("deploy", "Environment::prod/web");
        form.field("requested_token_type", stint_tests::exchange::X509)
            .field("csr", &csr)
    };
    let no = (OAuthError::InvalidAuthorizationDetails, "approval_needed");
    for form in [form(), form().field("completion_mode", "other")] {
        let refused = recorded_no("a hold", &broker, form, no).await;
        assert_eq!(refused.code, Code::ApprovalNeeded);
        assert_eq!(refused.request, None);
        let next = refused.next_action.unwrap();
        assert_eq!(
            (next.kind, next.url.as_deref()),
            (NextKind::Wait, Some("/v1/grants"))
        );
    }
    assert!(broker.export().await.of("requested").is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn a_broker_that_cannot_record_mints_nothing_and_names_no_cause() {
    let broker = TestBroker::start().await;
    let spoiled = tamper(&broker.database(), "UPDATE ledger_head SET size = size + 1").await;
    assert_eq!(spoiled, 1);
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let answer = form.send().await;
    assert_eq!(answer.status, 503);
    let after = answer.header("retry-after").parse::<u32>().unwrap();
    let refused = answer.no_token(OAuthError::TemporarilyUnavailable);
    assert_eq!((refused.code, refused.retryable), (Code::Unavailable, true));
    assert_eq!(refused.retry_after_s, Some(after));
    assert!(!answer.text().contains("head"), "{}", answer.text());
    assert_eq!(broker.released(), 0);
    broker.abandon().await;
}

#[tokio::test]
async fn too_many_asks_are_told_when_to_come_back() {
    let broker = TestBroker::with()
        .set("limits", "denials_per_caller = \"1/m\"")
        .limited()
        .start()
        .await;
    let form = || {
        broker
            .ci("acme/other")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE)
    };
    let mut refused = form().send().await;
    for _ in 0..20 {
        if refused.status == 429 {
            break;
        }
        refused = form().send().await;
    }
    let after = refused.header("retry-after").parse::<u32>().unwrap();
    let body = refused.no_token(OAuthError::TemporarilyUnavailable);
    assert_eq!((body.code, body.retryable), (Code::RateLimited, true));
    assert_eq!(body.retry_after_s, Some(after));
    broker.finish().await;
}
