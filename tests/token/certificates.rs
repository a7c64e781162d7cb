//! Certificates through the token endpoint (PROTOCOLS.md §3.3; §6, 7).

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, SanType};
use stint_tests::TestBroker;
use stint_tests::after::der;
use stint_tests::exchange::{Exchange, X509};
use stint_tests::keys::{self, DpopKey};
use stint_wire::Code;
use stint_wire::oauth::{OAuthError, TokenType};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::desk::{AUDIENCE, CALLER, STAGING, recorded_no, strangers_no};

fn form(broker: &TestBroker) -> Exchange<'_> {
    let form = broker.ci("acme/web").exchange("deploy", STAGING);
    form.field("requested_token_type", X509)
}

#[tokio::test]
async fn a_csr_becomes_a_chain() {
    let broker = TestBroker::start().await;
    let granted = form(&broker)
        .field("csr", &keys::csr())
        .send()
        .await
        .exchanged();
    assert_eq!(granted.issued_token_type, X509);
    assert_eq!(granted.token_type, TokenType::NotApplicable);
    assert_eq!(granted.spiffe_id.as_deref(), Some(CALLER));
    let pem = granted.access_token.expose();
    let blocks: Vec<_> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let [leaf, issuing] = blocks[..] else {
        panic!("{} blocks", blocks.len())
    };
    assert_ne!(
        issuing,
        broker.get("/v1/trust/bundle").await.text(),
        "never the root"
    );
    let leaf = der(leaf);
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let until = leaf.validity().not_after.timestamp();
    assert_eq!(granted.expires_in, until - broker.now().as_secs());
    assert_eq!(granted.expires_in, 599, "both ends of a certificate count");
    assert_eq!(
        leaf.raw_serial_as_string().replace(':', ""),
        granted.serial.unwrap()
    );
    assert!(granted.renew_after.unwrap().ends_with('Z'));
    broker.finish().await;
}

#[tokio::test]
async fn a_csr_may_be_bare_der() {
    let broker = TestBroker::start().await;
    let pem = keys::csr();
    let base64: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let _granted = form(&broker).field("csr", &base64).send().await.exchanged();
    broker.finish().await;
}

#[tokio::test]
async fn the_form_of_a_certificates_ask_is_exact() {
    let broker = TestBroker::start().await;
    let csr = keys::csr();
    let cases = [
        ("neither key", form(&broker), OAuthError::InvalidRequest),
        (
            "both",
            form(&broker).field("csr", &csr).field("spki", "MFkw"),
            OAuthError::InvalidRequest,
        ),
        (
            "an audience",
            form(&broker).field("csr", &csr).audience(AUDIENCE),
            OAuthError::InvalidTarget,
        ),
        (
            "a resource",
            form(&broker).field("csr", &csr).field("resource", AUDIENCE),
            OAuthError::InvalidTarget,
        ),
        (
            "a csr for a token",
            broker
                .ci("acme/web")
                .exchange("deploy", STAGING)
                .audience(AUDIENCE)
                .field("csr", &csr),
            OAuthError::InvalidRequest,
        ),
    ];
    for (what, form, error) in cases {
        strangers_no(what, &broker, form, error).await;
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_csr_that_wants_more_or_is_broken_is_on_record() {
    let broker = TestBroker::start().await;
    let key = keys::key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let wants = |change: fn(&mut rcgen::CertificateParams)| keys::request(&key, change);
    let good = keys::csr_of(&key);
    let bad_signature = {
        let mut bytes = der(&good);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        data_encoding::BASE64.encode(&bytes)
    };
    let trailing = data_encoding::BASE64.encode(&[der(&good), vec![0]].concat());
    let cases = [
        (
            "CA:TRUE",
            wants(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            "EKU any",
            wants(|it| it.extended_key_usages.push(ExtendedKeyUsagePurpose::Any)),
        ),
        (
            "a foreign name",
            wants(|it| {
                let name = "spiffe://acme.dev/github/1/2".try_into().unwrap();
                it.subject_alt_names.push(SanType::URI(name));
            }),
        ),
        ("two blocks", format!("{good}{good}")),
        ("trailing bytes", trailing),
        ("a broken signature", bad_signature),
        ("no request", "MIIB".to_owned()),
    ];
    for (what, csr) in cases {
        let form = form(&broker).field("csr", &csr);
        let refused = recorded_no(what, &broker, form, (OAuthError::InvalidRequest, "key")).await;
        assert_eq!(refused.code, Code::BadCsr, "{what}");
    }
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn a_bare_key_that_nobody_proved_is_refused() {
    let broker = TestBroker::start().await;
    let key = keys::key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let spki =
        data_encoding::BASE64URL_NOPAD.encode(&rcgen::PublicKeyData::subject_public_key_info(&key));
    let form = form(&broker).field("spki", &spki);
    let refused = recorded_no(
        "spki without proof",
        &broker,
        form,
        (OAuthError::InvalidRequest, "key"),
    )
    .await;
    assert_eq!(refused.code, Code::BadCsr);
    broker.finish().await;
}

#[tokio::test]
async fn a_bare_key_is_certified_with_the_proof_of_that_very_key() {
    let broker = TestBroker::start().await;
    let (key, other) = (DpopKey::default(), DpopKey::default());
    let asked = |spki: &DpopKey, proof: &DpopKey| {
        form(&broker).field("spki", &spki_of(spki)).proved_by(proof)
    };
    let granted = asked(&key, &key).send().await.exchanged();
    let (leaf, _) = granted
        .access_token
        .expose()
        .split_once("-----END")
        .unwrap();
    let leaf = der(leaf);
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    assert_eq!(
        data_encoding::BASE64URL_NOPAD.encode(leaf.public_key().raw),
        spki_of(&key)
    );
    let no = (OAuthError::InvalidRequest, "key");
    recorded_no("the proof of another key", &broker, asked(&key, &other), no).await;
    broker.finish().await;
}

/// RFC 5480: a P-256 key is a fixed prefix and its point.
fn spki_of(key: &DpopKey) -> String {
    let jwk = key.jwk();
    let part = |name: &str| {
        data_encoding::BASE64URL_NOPAD
            .decode(jwk[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    let prefix = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
    data_encoding::BASE64URL_NOPAD.encode(&[prefix.to_vec(), part("x"), part("y")].concat())
}

#[tokio::test]
async fn the_same_ask_again_is_the_same_certificate() {
    let broker = TestBroker::start().await;
    let token = broker.ci("acme/web").token();
    let csr = keys::csr();
    let asked = || {
        form(&broker)
            .set("subject_token", &token)
            .field("csr", &csr)
    };
    let first = asked().send().await.exchanged();
    let size = broker.size().await;
    let again = asked().send().await.exchanged();
    assert_eq!(again.access_token.expose(), first.access_token.expose());
    assert_eq!((&again.grant, &again.serial), (&first.grant, &first.serial));
    assert_eq!(again.authorization_details, first.authorization_details);
    assert_eq!(again.ledger, first.ledger);
    assert_eq!(broker.size().await, size, "a retry writes nothing");

    // Another ask with the same evidence is a replay, whatever was given for it before.
    let other = asked()
        .without("authorization_details")
        .details("deploy", &["Environment::staging"]);
    let _refused = other.send().await.no_token(OAuthError::InvalidRequest);
    broker.finish().await;
}

#[tokio::test]
async fn a_token_is_not_kept_to_be_given_again() {
    let broker = TestBroker::start().await;
    let token = broker.ci("acme/web").token();
    let asked = || {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE);
        form.set("subject_token", &token)
    };
    let _first = asked().send().await.exchanged();
    let refused = asked().send().await.no_token(OAuthError::InvalidGrant);
    assert_eq!(refused.code, Code::AlreadyDelivered);
    assert_eq!(broker.released(), 1);
    let twice = asked()
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    let _unreadable = twice.send().await.no_token(OAuthError::InvalidRequest);
    broker.finish().await;
}

#[tokio::test]
async fn an_unknown_profile_is_refused() {
    let broker = TestBroker::start().await;
    let form = form(&broker)
        .field("csr", &keys::csr())
        .field("profile", "other");
    let no = (OAuthError::InvalidRequest, "form");
    let refused = recorded_no("profile", &broker, form, no).await;
    assert_eq!(refused.code, Code::UnsupportedCredential);
    broker.finish().await;
}
