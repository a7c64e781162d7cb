//! The other door: client certificates, bare keys and retries at the token endpoint (PROTOCOLS.md §3.1, §3.3).

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use stint_tests::exchange::{Exchange, X509};
use stint_tests::keys::DpopKey;
use stint_tests::{TestBroker, after, issuer, keys};
use stint_wire::Code;
use stint_wire::oauth::{OAuthError, TokenType};

use crate::STAGING;
use crate::pki::Corp;

const AUDIENCE: &str = "https://deploy.acme.dev";

/// What one job sends, each time with a fresh token.
fn form(broker: &TestBroker) -> Exchange<'_> {
    broker
        .ci("acme/web")
        .job("1")
        .exchange("deploy", STAGING)
        .header("idempotency-key", "build-7")
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_of_the_handshake() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let leaf = corp.leaf(|_| ());
    broker.present(Some(&leaf.identity()));
    let ask = || broker.ci("acme/web").exchange("deploy", STAGING);
    let granted = ask().audience(AUDIENCE).send().await.exchanged();
    let claims = issuer::claims(granted.access_token.expose());
    let hash = stint_audit::Digest::of(&leaf.chain[0]);
    let hash = BASE64URL_NOPAD.encode(hash.as_bytes());
    assert_eq!(claims["cnf"], json!({ "x5t#S256": hash }), "RFC 8705 §3.1");
    // RFC 8705 §3: it is sent as a bearer token, over that certificate's TLS.
    assert_eq!(granted.token_type, TokenType::Bearer);
    assert_eq!(
        claims["sub"], "spiffe://acme.dev/github/123456/456789",
        "the subject token says who"
    );

    // A certificate says who asks nowhere but at its own door: a subject token that fails is not saved by it.
    let bad = ask().audience(AUDIENCE).set("subject_token", "x.y.z");
    let bad = bad.send().await.no_token(OAuthError::InvalidRequest);
    assert_eq!(bad.code, Code::EvidenceRejected);
    let none = ask().audience(AUDIENCE).without("subject_token");
    drop(none.send().await.no_token(OAuthError::InvalidRequest));
    assert_eq!(broker.released(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_as_good_as_none_here() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let elsewhere = Corp::new().leaf(|_| ());
    broker.present(Some(&elsewhere.identity()));
    let ask = broker.ci("acme/web").exchange("deploy", STAGING);
    let granted = ask.audience(AUDIENCE).send().await.exchanged();
    let claims = issuer::claims(granted.access_token.expose());
    // The handshake proved its key, which is all a proof is for: who signed it does not matter (RFC 8705 §2.2).
    let hash = stint_audit::Digest::of(&elsewhere.chain[0]);
    let hash = BASE64URL_NOPAD.encode(hash.as_bytes());
    assert_eq!(claims["cnf"], json!({ "x5t#S256": hash }));
    broker.finish().await;
}

#[tokio::test]
async fn a_bare_key_is_certified_under_the_proof_that_came_with_it() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let (key, other) = (DpopKey::default(), DpopKey::default());
    let ask = |spki: &str| {
        let form = broker.ci("acme/web").exchange("deploy", STAGING);
        form.field("requested_token_type", X509).field("spki", spki)
    };
    let of_proof = BASE64URL_NOPAD.encode(&crate::spki::spki_of(&key));
    let granted = ask(&of_proof).proved_by(&key).send().await.exchanged();
    let (leaf, _) = granted
        .access_token
        .expose()
        .split_once("-----END")
        .unwrap();
    let leaf = after::der(leaf);
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(leaf.public_key().raw, crate::spki::spki_of(&key));
    for form in [ask(&of_proof), ask(&of_proof).proved_by(&other)] {
        let refused = form.send().await.no_token(OAuthError::InvalidRequest);
        assert_eq!(refused.code, Code::BadCsr);
        assert!(refused.decision.is_some(), "the refusal is an entry");
    }

    // The handshake's key is proved as well, here as there; a DPoP proof beside it goes first.
    let leaf = corp.leaf(|_| ());
    let of_handshake = rcgen::PublicKeyData::subject_public_key_info(&leaf.key);
    let of_handshake = BASE64URL_NOPAD.encode(&of_handshake);
    broker.present(Some(&leaf.identity()));
    let ask = |spki: &str| {
        let form = broker.ci("acme/web").exchange("deploy", STAGING);
        form.field("requested_token_type", X509).field("spki", spki)
    };
    let _granted = ask(&of_handshake).send().await.exchanged();
    let beside = ask(&of_handshake).proved_by(&key).send().await;
    assert_eq!(
        beside.no_token(OAuthError::InvalidRequest).code,
        Code::BadCsr
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_was_used_brings_the_certificate_again() {
    let broker = TestBroker::start().await;
    let csr = keys::csr();
    let ask = |csr: &str| {
        form(&broker)
            .field("requested_token_type", X509)
            .field("csr", csr)
    };
    let first = ask(&csr).send().await.exchanged();
    let size = broker.size().await;
    let again = ask(&csr).send().await.exchanged();
    assert_eq!(again.access_token.expose(), first.access_token.expose());
    assert_eq!((&again.grant, &again.ledger), (&first.grant, &first.ledger));

    // Another body under the same key, though its evidence is fresh: RFC 6749 §5.2 has one status for it.
    let other = ask(&keys::csr()).send().await;
    let refused = other.no_token(OAuthError::InvalidRequest);
    assert_eq!(refused.code, Code::IdempotencyConflict);
    assert_eq!((other.status.as_u16(), refused.retryable), (400, false));
    assert_eq!(broker.size().await, size, "none of it is an entry");
    assert_eq!(broker.export().await.of("granted").len(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_brought_a_token_brings_it_no_more() {
    let broker = TestBroker::start().await;
    let _first = form(&broker).audience(AUDIENCE).send().await.exchanged();
    let again = form(&broker).audience(AUDIENCE).send().await;
    let refused = again.no_token(OAuthError::InvalidGrant);
    assert_eq!(refused.code, Code::AlreadyDelivered);
    let other = form(&broker).audience("https://other.example").send().await;
    let refused = other.no_token(OAuthError::InvalidRequest);
    assert_eq!(refused.code, Code::IdempotencyConflict);
    assert_eq!(broker.released(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn the_doors_share_their_keys() {
    let broker = TestBroker::start().await;
    let csr = keys::csr();
    let ask = form(&broker)
        .field("requested_token_type", X509)
        .field("csr", &csr);
    let first = ask.send().await.exchanged();
    let bearer = format!("Bearer {}", broker.ci("acme/web").job("1").token());
    let headers = [("authorization", &*bearer), ("idempotency-key", "build-7")];
    let credential = json!({ "kind": "x509", "csr": csr });
    let body = json!({ "action": "deploy", "resources": [STAGING], "credential": credential });
    let answer = broker
        .post("/v1/grants", &headers, body.to_string().as_bytes())
        .await;
    assert_eq!(answer.granted().grant, first.grant, "it is the same ask");
    assert_eq!(broker.export().await.of("granted").len(), 1);
    broker.finish().await;
}
