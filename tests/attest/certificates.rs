//! Client certificates over TLS: from the handshake to a credential.

use serde_json::json;
use stint_tests::keys;
use stint_tests::{Answer, TestBroker};
use stint_wire::Code;

use crate::STAGING;
use crate::pki::{Corp, Leaf, uri};

/// An ask without `Authorization`.
async fn ask(
    broker: &TestBroker,
    headers: &[(&str, &str)],
    credential: serde_json::Value,
) -> Answer {
    let body = json!({ "action": "deploy", "resources": [STAGING], "credential": credential });
    broker
        .post("/v1/grants", headers, body.to_string().as_bytes())
        .await
}

fn x509() -> serde_json::Value {
    json!({ "kind": "x509", "csr": keys::csr() })
}

fn jwt() -> serde_json::Value {
    json!({ "kind": "jwt", "audience": "https://api" })
}

fn present(broker: &mut TestBroker, leaf: &Leaf) {
    broker.present(Some(&leaf.identity()));
}

#[tokio::test]
async fn a_certificate_is_evidence_and_its_handshake_is_the_proof() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let leaf = corp.leaf(|_| ());
    present(&mut broker, &leaf);
    let granted = ask(&broker, &[], x509()).await.granted();
    let stint_wire::Credential::X509 { spiffe_id, .. } = granted.credential else {
        panic!("no certificate");
    };
    assert_eq!(spiffe_id, "spiffe://acme.dev/corp/build/web");

    // Nothing was used up: the next ask is another handshake's, or the same one's.
    let granted = ask(&broker, &[], jwt()).await.granted();
    let stint_wire::Credential::Jwt { token, .. } = granted.credential else {
        panic!("no token");
    };
    let claims = stint_tests::issuer::claims(token.expose());
    let hash = stint_audit::Digest::of(&leaf.chain[0]);
    let hash = data_encoding::BASE64URL_NOPAD.encode(hash.as_bytes());
    assert_eq!(claims["cnf"], json!({ "x5t#S256": hash }), "RFC 8705 §3.1");

    let entry = broker.export().await.of("granted").pop().unwrap();
    let evidence = &entry.body["what"]["evidence"][0];
    assert_eq!(evidence["type"], "client-cert");
    assert_eq!(evidence["issuer"], "corp");
    assert_eq!(evidence["digest"], json!(hash));
    broker.finish().await;
}

#[tokio::test]
async fn who_am_i_says_what_the_certificate_makes() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    present(&mut broker, &corp.leaf(|_| ()));
    let me = broker.post("/v1/whoami", &[], b"").await.json();
    assert_eq!(me["spiffe_id"], "spiffe://acme.dev/corp/build/web");
    assert_eq!(
        (&me["issuer"], &me["preset"]),
        (&json!("corp"), &json!("client-cert"))
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_credential_does_not_outlive_its_certificate() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let soon = rcgen::date_time_ymd(2027, 3, 1) + std::time::Duration::from_secs(10 * 3600 + 120);
    present(&mut broker, &corp.leaf(|params| params.not_after = soon));
    let granted = ask(&broker, &[], x509()).await.granted();
    assert!(
        granted.expires_at.as_str() <= "2027-03-01T10:02:00Z",
        "{}",
        granted.expires_at
    );
    assert!(
        granted
            .shortened_by
            .iter()
            .any(|by| by.contains("evidence"))
    );
    broker.finish().await;
}

#[tokio::test]
async fn certificates_that_fail_are_answered_like_tokens_that_fail() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let bad_token = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token("x.y.z")
        .x509()
        .await;
    let expected = bad_token.refused(Code::EvidenceRejected);
    let state = broker.state().await;
    let elsewhere = Corp::new();
    let leaves = [
        corp.leaf(|params| params.not_after = rcgen::date_time_ymd(2027, 2, 20)),
        corp.leaf(|params| params.extended_key_usages.clear()),
        corp.leaf(|params| {
            params
                .subject_alt_names
                .push(uri("spiffe://corp.example/b"))
        }),
        elsewhere.leaf(|_| ()),
    ];
    for leaf in &leaves {
        present(&mut broker, leaf);
        let answer = ask(&broker, &[], x509()).await;
        assert_eq!(answer.refused(Code::EvidenceRejected), expected);
        assert_eq!(answer.body, bad_token.body, "the same bytes");
    }
    broker.present(Some(&stint_tests::tls::stranger()));
    drop(
        ask(&broker, &[], x509())
            .await
            .refused(Code::EvidenceRejected),
    );
    assert_eq!(broker.state().await, state, "strangers write nothing");
    broker.present(None);
    drop(ask(&broker, &[], x509()).await.refused(Code::LoginRequired));
    broker.finish().await;
}

#[tokio::test]
async fn a_certificate_that_names_no_task_is_told_so() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    broker.reconfigure("task = \"{issuer_sha256}/{serial}\"", "");
    broker.restart().await.unwrap();
    present(
        &mut broker,
        &corp.leaf(|params| params.not_after = rcgen::date_time_ymd(2096, 1, 1)),
    );
    let problem = ask(&broker, &[], x509()).await.refused(Code::TaskRequired);
    assert!(
        problem.decision.is_some(),
        "a known caller's refusal is an entry"
    );
    broker.finish().await;
}

#[tokio::test]
async fn beside_a_token_the_certificate_is_the_proof_alone() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let leaf = corp.leaf(|_| ());
    present(&mut broker, &leaf);
    let granted = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .jwt("https://api")
        .await
        .granted();
    let stint_wire::Credential::Jwt { token, .. } = granted.credential else {
        panic!("no token");
    };
    let claims = stint_tests::issuer::claims(token.expose());
    assert_eq!(
        claims["sub"], "spiffe://acme.dev/github/123456/456789",
        "the token says who"
    );
    let hash = stint_audit::Digest::of(&leaf.chain[0]);
    let hash = data_encoding::BASE64URL_NOPAD.encode(hash.as_bytes());
    assert_eq!(claims["cnf"]["x5t#S256"], json!(hash));
    // A token that fails is not saved by a good certificate.
    let bad = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token("x.y.z")
        .x509()
        .await;
    drop(bad.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test]
async fn a_dpop_proof_beside_a_token_goes_before_the_certificate() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    present(&mut broker, &corp.leaf(|_| ()));
    let key = keys::DpopKey::default();
    let ask = broker.ci("acme/web").ask("deploy", STAGING).proved_by(&key);
    let granted = ask.jwt("https://api").await.granted();
    let stint_wire::Credential::Jwt { token, .. } = granted.credential else {
        panic!("no token");
    };
    let claims = stint_tests::issuer::claims(token.expose());
    assert_eq!(claims["cnf"], json!({ "jkt": key.thumbprint() }));
    broker.finish().await;
}
