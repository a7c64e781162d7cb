//! What a grant is: the answer, the credential, the receipt, and what the ledger says of it.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rcgen::PublicKeyData as _;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use stint_audit::note::VerifierKey;
use stint_audit::receipt::Proof;
use stint_policy::Timestamp;
use stint_tests::after::{der, tbs};
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, TestBroker, together};
use stint_wire::{Credential, Granted};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

const STAGING: &str = "Environment::staging/web";

/// The certificate of a 201, PEM, and its chain.
fn certificate(granted: &Granted) -> (&str, &[String]) {
    match &granted.credential {
        Credential::X509 {
            certificate, chain, ..
        } => (certificate, chain),
        Credential::Jwt { .. } => panic!("a JWT"),
    }
}

fn token(granted: &Granted) -> &str {
    match &granted.credential {
        Credential::Jwt { token, .. } => token.expose(),
        Credential::X509 { .. } => panic!("a certificate"),
    }
}

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_answer_has_every_member_of_the_contract() {
    let broker = TestBroker::start().await;
    let answer = broker
        .ci("acme/web")
        .job("a")
        .ask("deploy", STAGING)
        .ttl(300)
        .x509()
        .await;
    let granted = answer.granted();
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let mut members: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "approval_ends_at",
            "credential",
            "decision",
            "expires_at",
            "grant",
            "ledger",
            "not_before",
            "outcome",
            "policy_version",
            "renew_after",
            "request",
            "shortened_by",
            "task",
            "trust_bundle",
        ]
    );
    let Credential::X509 {
        serial, spiffe_id, ..
    } = &granted.credential
    else {
        panic!("a JWT")
    };
    assert_eq!(spiffe_id, "spiffe://acme.dev/github/123456/456789");
    assert_eq!(serial.len(), 40);
    for (id, prefix) in [
        (&granted.grant, "gr_"),
        (&granted.task, "task_"),
        (&granted.decision, "dec_"),
    ] {
        assert!(
            id.starts_with(prefix) && id.len() == prefix.len() + 26,
            "{id}"
        );
    }
    assert_eq!(granted.decision[4..], granted.grant[3..]);
    let end = Timestamp::parse_rfc3339(&granted.expires_at).unwrap();
    let asked = broker.now().as_millis() + 300_000;
    assert!(
        (asked - 1_000..=asked).contains(&end.as_millis()),
        "{}",
        granted.expires_at
    );
    assert!(granted.not_before < granted.renew_after && granted.renew_after < granted.expires_at);
    assert!(granted.shortened_by.is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn the_same_job_is_the_same_task_and_another_job_another() {
    let broker = TestBroker::start().await;
    let ask = async |job: &str| {
        broker
            .ci("acme/web")
            .job(job)
            .ask("deploy", STAGING)
            .x509()
            .await
            .granted()
            .task
    };
    let (first, again, other) = (ask("a").await, ask("a").await, ask("b").await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    broker.finish().await;
}

#[tokio::test]
async fn a_fresh_token_of_the_job_renews_and_a_caller_and_a_task_are_new_once() {
    let broker = TestBroker::start().await;
    for (job, opens, first) in [
        ("a", true, true),
        ("a", false, false),
        ("b", true, false),
        ("a", false, false),
    ] {
        let granted = broker
            .ci("acme/web")
            .job(job)
            .ask("deploy", STAGING)
            .x509()
            .await
            .granted();
        let entry = &broker.export().await.of("granted").pop().unwrap().header;
        assert_eq!(entry["id"], *granted.grant);
        assert_eq!(entry["what"]["task"], *granted.task);
        let flag = |name: &str| entry["what"].get(name) == Some(&json!(true));
        assert_eq!((flag("opens"), flag("first")), (opens, first), "{entry}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_certificate_carries_the_grant_and_nothing_beyond_it() {
    let broker = TestBroker::start().await;
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let key = keys::key(algorithm);
        let answer = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .csr(&keys::csr_of(&key))
            .await;
        let granted = answer.granted();
        let der = der(certificate(&granted).0);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(
            certificate.subject().iter().count(),
            0,
            "the subject of the request is not ours"
        );
        assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
        let mut kinds = Vec::new();
        for extension in certificate.extensions() {
            kinds.push(extension.oid.to_id_string());
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(it) => assert!(!it.ca && extension.critical),
                ParsedExtension::KeyUsage(it) => {
                    assert_eq!((it.flags, extension.critical), (1, true))
                }
                ParsedExtension::ExtendedKeyUsage(it) => {
                    assert!(it.client_auth && it.server_auth && !it.any && it.other.is_empty());
                }
                ParsedExtension::SubjectAlternativeName(it) => {
                    let [GeneralName::URI(uri)] = it.general_names.as_slice() else {
                        panic!("{it:?}")
                    };
                    assert_eq!(*uri, "spiffe://acme.dev/github/123456/456789");
                }
                _ => assert!(!extension.critical),
            }
        }
        kinds.sort();
        let arc = broker.get("/v1/trust").await.json()["arc"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut expected = [
            "2.5.29.14",
            "2.5.29.15",
            "2.5.29.17",
            "2.5.29.19",
            "2.5.29.35",
            "2.5.29.37",
            &arc,
        ];
        expected.sort_unstable();
        assert_eq!(kinds, expected);
        let life = certificate.validity();
        assert!(life.not_before.timestamp() >= broker.now().as_secs() - 60);
        assert!(life.not_after.timestamp() < broker.now().as_secs() + 600);
    }
    broker.finish().await;
}

/// Whether webpki finds a path from the chain to the root for a client at `at`.
fn webpki(granted: &Granted, at: i64) -> Result<(), webpki::Error> {
    let (leaf, chain) = certificate(granted);
    let root = CertificateDer::from(der(&granted.trust_bundle));
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let chain: Vec<_> = chain
        .iter()
        .map(|pem| CertificateDer::from(der(pem)))
        .collect();
    let leaf = CertificateDer::from(der(leaf));
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.unsigned_abs()));
    webpki::EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &chain,
            time,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
}

/// `openssl verify` on files, at a time.
fn openssl(granted: &Granted, leaf: &[u8], at: i64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::File::create(folder.path().join(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    };
    write("root.pem", granted.trust_bundle.as_bytes());
    write("chain.pem", certificate(granted).1.concat().as_bytes());
    write("leaf.pem", leaf);
    let args = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "chain.pem",
    ];
    let mut command = Command::new("openssl");
    command
        .args(args)
        .args(["-attime", &at.to_string(), "leaf.pem"])
        .current_dir(folder.path());
    command.output().unwrap().status.success()
}

#[tokio::test]
async fn others_accept_the_chain_while_it_lives_and_only_then() {
    let broker = TestBroker::start().await;
    let now = broker.now().as_secs();
    let granted = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .x509()
        .await
        .granted();
    let leaf = certificate(&granted).0;
    // OpenSSL takes the last second for past, so neither is asked about it.
    for (at, good) in [
        (now, true),
        (now - 59, true),
        (now + 598, true),
        (now - 61, false),
        (now + 601, false),
    ] {
        assert_eq!(webpki(&granted, at).is_ok(), good, "webpki at {}", at - now);
        assert_eq!(
            openssl(&granted, leaf.as_bytes(), at),
            good,
            "openssl at {}",
            at - now
        );
    }
    let mut spoiled = der(leaf);
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    let lines = data_encoding::BASE64.encode(&spoiled);
    let spoiled = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        wrapped(&lines)
    );
    assert!(
        !openssl(&granted, spoiled.as_bytes(), now),
        "a spoiled signature"
    );
    broker.finish().await;
}

fn wrapped(base64: &str) -> String {
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_jwt_is_for_one_audience_and_verifies_by_the_published_keys() {
    let broker = TestBroker::start().await;
    let answer = broker
        .ci("acme/web")
        .job("a")
        .ask("deploy", STAGING)
        .jwt("https://api.acme.dev")
        .await;
    let granted = answer.granted();
    let token = token(&granted);
    let (header, claims) = (part(token, 0), part(token, 1));
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("at+jwt"), &json!("ES256"))
    );
    assert_eq!(claims["aud"], "https://api.acme.dev");
    assert_eq!(claims["iss"], "http://localhost:8640");
    assert_eq!(claims["sub"], "spiffe://acme.dev/github/123456/456789");
    assert!(claims.get("cnf").is_none(), "no proof came along: {claims}");
    let Credential::Jwt { jti, .. } = &granted.credential else {
        panic!("a certificate")
    };
    assert_eq!(claims["jti"], **jti);
    let end = Timestamp::parse_rfc3339(&granted.expires_at).unwrap();
    assert_eq!(claims["exp"], end.as_secs());
    assert!(end.as_secs() <= broker.now().as_secs() + 600);

    let keys = broker.get("/oauth2/jwks").await.json();
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    let coordinate = |name: &str| {
        BASE64URL_NOPAD
            .decode(key[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(input.as_bytes(), &signature)
        .unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_dpop_proof_binds_the_jwt_to_its_key() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let answer = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .proved_by(&key)
        .jwt("https://api.acme.dev")
        .await;
    assert_eq!(
        part(token(&answer.granted()), 1)["cnf"]["jkt"],
        key.thumbprint()
    );
    broker.finish().await;
}

#[tokio::test]
async fn the_receipt_proves_the_entry_of_these_very_bytes() {
    let broker = TestBroker::start().await;
    let vkey: VerifierKey = {
        let trust = broker.get("/v1/trust").await.json();
        trust["ledger"]["vkey"].as_str().unwrap().parse().unwrap()
    };
    for _ in 0..5 {
        let granted = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509()
            .await
            .granted();
        let proof: Proof = granted.ledger.receipt.parse().unwrap();
        let proven = proof.verify(std::slice::from_ref(&vkey)).unwrap();
        assert_eq!(
            (proven.header.seq, &*proven.header.id),
            (granted.ledger.seq, &*granted.grant)
        );
        let header: Value = serde_json::from_slice(proof.extra.as_deref().unwrap()).unwrap();
        assert_eq!(
            header["what"]["tbs"],
            tbs(certificate(&granted).0).to_string()
        );
        assert!(
            proof.verify(&[]).is_err(),
            "nobody's signature proves nothing"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_life_beyond_a_cap_is_shortened_and_the_answer_says_by_what() {
    let broker = TestBroker::start().await;
    let life = |answer: &Answer| {
        let end = Timestamp::parse_rfc3339(&answer.granted().expires_at).unwrap();
        (
            end.as_secs() - broker.now().as_secs(),
            answer.granted().shortened_by,
        )
    };
    let ask = |ttl| broker.ci("acme/web").ask("deploy", STAGING).ttl(ttl);
    let (seconds, by) = life(&ask(36_000).x509().await);
    assert!((1_798..=1_800).contains(&seconds), "{seconds}");
    assert!(by.iter().any(|by| by.contains("deploy-staging")), "{by:?}");
    let (seconds, by) = life(&ask(1_200).jwt("https://api").await);
    assert!((898..=900).contains(&seconds), "{seconds}");
    assert!(by.iter().any(|by| by.contains("jwt")), "{by:?}");
    let (seconds, by) = life(&ask(60).jwt("https://api").await);
    assert!(
        (59..=60).contains(&seconds) && by.is_empty(),
        "{seconds} {by:?}"
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_get_one_entry_each() {
    let broker = TestBroker::start().await;
    let ask = |job: u32| {
        broker
            .ci("acme/web")
            .job(&job.to_string())
            .ask("deploy", STAGING)
            .x509()
    };
    let answers = together((0..60).map(ask)).await;
    let mut seqs: Vec<_> = answers
        .iter()
        .map(|answer| answer.granted().ledger.seq)
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 60);
    broker.finish().await;
}
