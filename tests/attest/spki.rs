//! A bare public key, certified with proof of possession by another way than a CSR (PROTOCOLS.md §3.3).

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use stint_tests::keys::DpopKey;
use stint_tests::{TestBroker, keys};
use stint_wire::Code;

use crate::STAGING;
use crate::pki::Corp;

/// The SubjectPublicKeyInfo of a DPoP key.
pub(crate) fn spki_of(key: &DpopKey) -> Vec<u8> {
    let jwk = key.jwk();
    let part = |name: &str| {
        BASE64URL_NOPAD
            .decode(jwk[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    // RFC 5480 §2: id-ecPublicKey, P-256, and an uncompressed point.
    let head = data_encoding::HEXLOWER
        .decode(b"3059301306072a8648ce3d020106082a8648ce3d03010703420004")
        .unwrap();
    [head, part("x"), part("y")].concat()
}

fn for_spki(spki: &str) -> Value {
    json!({ "kind": "x509", "spki": spki })
}

#[tokio::test]
async fn the_key_of_a_dpop_proof_is_certified() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    for text in [
        BASE64URL_NOPAD.encode(&spki_of(&key)),
        BASE64.encode(&spki_of(&key)),
    ] {
        let ask = broker.ci("acme/web").ask("deploy", STAGING).proved_by(&key);
        let granted = ask
            .member("credential", for_spki(&text))
            .send()
            .await
            .granted();
        let stint_wire::Credential::X509 { certificate, .. } = granted.credential else {
            panic!("no certificate");
        };
        let der = stint_tests::after::der(&certificate);
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.public_key().raw, spki_of(&key));
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_was_not_proved_is_not_certified() {
    let broker = TestBroker::start().await;
    let (key, other) = (DpopKey::default(), DpopKey::default());
    let spki = BASE64URL_NOPAD.encode(&spki_of(&key));
    let ask = || broker.ci("acme/web").ask("deploy", STAGING);
    let check = async |asking: stint_tests::caller::Asking<'_>, says: &str| {
        let problem = asking.send().await.refused(Code::BadCsr);
        assert!(problem.detail.contains(says), "{}", problem.detail);
        assert!(
            problem.decision.is_some(),
            "a known caller's refusal is an entry"
        );
    };
    check(ask().member("credential", for_spki(&spki)), "proves no key").await;
    let theirs = ask()
        .proved_by(&other)
        .member("credential", for_spki(&spki));
    check(theirs, "is not the key that was proved").await;
    for (bad, says) in [
        ("", "not a P-256"),
        ("!", "base64url"),
        ("AAAA", "not a P-256"),
        (&*format!("{spki}AA"), "not a P-256"),
    ] {
        let asking = ask().proved_by(&key).member("credential", for_spki(bad));
        let problem = asking.send().await.refused(Code::BadCsr);
        assert!(problem.detail.contains(says), "{bad}: {}", problem.detail);
    }
    let both = json!({ "kind": "x509", "spki": spki, "csr": keys::csr() });
    let asking = ask().proved_by(&key).member("credential", both);
    drop(asking.send().await.refused(Code::InvalidField));
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn the_key_of_a_handshake_is_certified() {
    let corp = Corp::new();
    let mut broker = corp.broker("").start().await;
    let leaf = corp.leaf(|_| ());
    broker.present(Some(&leaf.identity()));
    let spki = BASE64URL_NOPAD.encode(&leaf.key.subject_public_key_info());
    let body = json!({ "action": "deploy", "resources": [STAGING], "credential": for_spki(&spki) });
    let asked = broker
        .post("/v1/grants", &[], body.to_string().as_bytes())
        .await;
    assert_eq!(asked.status, 201, "{}", asked.text());
    // Beside a token as well.
    let ask = broker.ci("acme/web").ask("deploy", STAGING);
    assert_eq!(
        ask.member("credential", for_spki(&spki))
            .send()
            .await
            .status,
        201
    );
    // And another certificate's key is not.
    let other = corp.leaf(|_| ());
    broker.present(Some(&other.identity()));
    let asked = broker
        .post("/v1/grants", &[], body.to_string().as_bytes())
        .await;
    drop(asked.refused(Code::BadCsr));
    broker.finish().await;
}
