//! Chains, judged without a connection: each refusal has its chain, and all refusals are one.

use std::path::Path;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use stint_broker::authenticate::attest::AttestEntry;
use stint_broker::authenticate::{Caller, Evidence, Label, ProofKind, Refused, Roster};
use stint_broker::config::Config;
use stint_policy::Timestamp;

use crate::pki::{Ca, Corp, WEB, ca, chain_of, list, signed, uri, web};

/// 2027-03-01T10:00:00Z.
fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2027-03-01T10:00:00Z").unwrap()
}

fn config(tables: &str) -> String {
    format!(
        "version = 1\n[server]\nurl = \"http://localhost:8640\"\n[ca]\ntrust_domain = \"acme.dev\"\n\
         [policy]\ndir = \"/tmp\"\n{tables}"
    )
}

fn entries(tables: &str) -> Vec<AttestEntry> {
    let config = Config::parse("test", &config(tables), Path::new("/"))
        .unwrap()
        .config;
    let domain = &config.ca.trust_domain;
    let entry = |(name, attest): (&String, &stint_broker::config::Attest)| {
        attest.entry(name, domain).unwrap()
    };
    config.attestors.iter().map(entry).collect()
}

fn roster(tables: &str) -> Roster {
    let empty = Roster::new(Vec::new()).unwrap();
    empty.with_attestors(entries(tables)).unwrap()
}

/// What is wrong with the config, all of it.
fn faults(tables: &str) -> String {
    let refused = Config::parse("test", &config(tables), Path::new("/")).unwrap_err();
    refused.to_string()
}

async fn judge(
    roster: &Roster,
    chain: Vec<CertificateDer<'static>>,
    now: Timestamp,
) -> Result<Caller, Refused> {
    let evidence = Evidence::certificate(chain.into(), None);
    roster.authenticate(&evidence, now).await
}

#[tokio::test]
async fn a_good_chain_is_a_caller() {
    let corp = Corp::new();
    let roster = roster(&corp.table("task = \"{issuer_sha256}/{serial}\"\ntask_life = \"2h\""));
    let leaf = corp.leaf(|_| ());
    let caller = judge(&roster, leaf.chain.clone(), now()).await.unwrap();
    let principal = caller.principal();
    assert_eq!(principal.id.as_str(), "spiffe://acme.dev/corp/build/web");
    assert_eq!(
        (&*principal.issuer, &*principal.preset),
        ("corp", "client-cert")
    );
    assert!(principal.attested.contains(&format!("x509:uri:{WEB}")));
    assert!(principal.attested.contains("x509:serial:5a11"));
    let task = caller.task().unwrap();
    assert!(
        task.name.starts_with("corp:") && task.name.ends_with("/5a11"),
        "{}",
        task.name
    );
    assert!(caller.replay().is_none(), "a handshake is new each time");
    let digest = stint_audit::Digest::of(&leaf.chain[0]);
    let certificate = *digest.as_bytes();
    assert_eq!(caller.proof_kind(), Some(ProofKind::Tls { certificate }));
    assert_eq!(caller.seen().digest, certificate);
    let end = Timestamp::parse_rfc3339("2027-04-01T00:00:00Z").unwrap();
    assert_eq!(caller.ceiling().unwrap().not_after, end);
}

#[tokio::test]
async fn ids_come_from_what_the_operator_names() {
    let corp = Corp::new();
    let both = |params: &mut CertificateParams| {
        let name = "build.corp.example".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::DnsName(name));
    };
    for (id, expected) in [
        ("{spiffe_path}", "build/web"),
        ("ci/{spiffe_path}", "ci/build/web"),
        ("{dns}", "build.corp.example"),
        ("by-name/{dns}", "by-name/build.corp.example"),
    ] {
        let roster = roster(&corp.table(&format!("id = \"{id}\"")));
        let caller = judge(&roster, corp.leaf(both).chain, now()).await.unwrap();
        let id = caller.principal().id.as_str();
        assert_eq!(id, format!("spiffe://acme.dev/corp/{expected}"));
    }
    for (id, length) in [
        ("{uri:h}", 32),
        ("{spki_sha256}", 64),
        ("{issuer_sha256}/{serial}", 69),
    ] {
        let roster = roster(&corp.table(&format!("id = \"{id}\"")));
        let caller = judge(&roster, corp.leaf(both).chain, now()).await.unwrap();
        let path = caller
            .principal()
            .id
            .as_str()
            .strip_prefix("spiffe://acme.dev/corp/");
        assert_eq!(path.unwrap().len(), length, "{id}");
    }
}

/// Chains that must not come in, each with its reason.
fn bad_chains(corp: &Corp) -> Vec<(&'static str, Vec<CertificateDer<'static>>)> {
    let leaf = |change: fn(&mut CertificateParams)| corp.leaf(change).chain;
    let other = ca("corp root", None);
    let mut cas: Vec<Ca> = vec![ca("one", Some(&corp.root))];
    for name in ["two", "three", "four"] {
        let above = ca(name, cas.last().map(|ca| &**ca));
        cas.push(above);
    }
    let deep: Vec<&Ca> = std::iter::once(&corp.root).chain(&cas).collect();
    let rsa = |bits: usize| chain_of(&web(), &Rsa::of(bits), &[&corp.root]);
    let alone = {
        let key = KeyPair::generate().unwrap();
        vec![web().self_signed(&key).unwrap().der().clone()]
    };
    let mut huge = leaf(|_| ());
    huge.extend((0..4).map(|_| {
        let mut params = web();
        let name = "a".repeat(6_000);
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, name);
        params
            .signed_by(&KeyPair::generate().unwrap(), &corp.root)
            .unwrap()
            .der()
            .clone()
    }));
    let mut spoilt = leaf(|_| ());
    let mut bytes = spoilt[0].to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    spoilt[0] = bytes.into();
    vec![
        ("expired", leaf(|p| p.not_after = date_time_ymd(2027, 3, 1))),
        (
            "not yet valid",
            leaf(|p| p.not_before = date_time_ymd(2027, 3, 2)),
        ),
        (
            "another CA of the same name",
            signed(&web(), &[&other]).chain,
        ),
        ("self-signed", alone),
        ("the root itself", vec![corp.root.der().clone()]),
        ("no extended usage", leaf(|p| p.extended_key_usages.clear())),
        (
            "for servers",
            leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            "for anything",
            leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        ),
        ("no usage", leaf(|p| p.key_usages.clear())),
        (
            "key agreement",
            leaf(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ),
        (
            "signs certificates",
            leaf(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ),
        (
            "a CA",
            leaf(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ),
        (
            "two URI names",
            leaf(|p| {
                p.subject_alt_names
                    .push(uri("spiffe://corp.example/build/api"))
            }),
        ),
        ("no name at all", leaf(|p| p.subject_alt_names.clear())),
        (
            "another trust domain",
            leaf(|p| p.subject_alt_names = vec![uri("spiffe://other.example/build/web")]),
        ),
        (
            "a longer trust domain",
            leaf(|p| p.subject_alt_names = vec![uri("spiffe://corp.example.evil/build/web")]),
        ),
        (
            "our own trust domain",
            leaf(|p| p.subject_alt_names = vec![uri("spiffe://acme.dev/github/1/2")]),
        ),
        (
            "a path with a query",
            leaf(|p| p.subject_alt_names = vec![uri("spiffe://corp.example/build?x")]),
        ),
        (
            "no SPIFFE ID",
            leaf(|p| p.subject_alt_names = vec![uri("https://corp.example/build/web")]),
        ),
        (
            "the common name alone",
            leaf(|p| {
                p.subject_alt_names.clear();
                p.distinguished_name.push(rcgen::DnType::CommonName, WEB);
            }),
        ),
        ("five deep", signed(&web(), &deep).chain),
        ("RSA of 1024 bits", rsa(1_024)),
        ("RSA of 2040 bits", rsa(2_040)),
        ("RSA of 16384 bits", rsa(16_384)),
        ("more than 16 KiB", huge),
        ("a signature with one bit turned", spoilt),
        (
            "no certificate",
            vec![b"\x30\x03\x02\x01\x00".to_vec().into()],
        ),
        ("nothing", Vec::new()),
    ]
}

#[tokio::test]
async fn every_bad_chain_is_refused_in_one_way() {
    let corp = Corp::new();
    let roster = roster(&corp.table(""));
    for (why, chain) in bad_chains(&corp) {
        let refused = judge(&roster, chain, now()).await;
        let Err(Refused::Evidence { label, .. }) = refused else {
            panic!("{why}: {refused:?}");
        };
        assert_eq!(label, Label::Attestation, "{why}");
    }
    // And the one they are all changed from is good, also at four, also with the root sent along.
    assert!(judge(&roster, corp.leaf(|_| ()).chain, now()).await.is_ok());
    let one = ca("one", Some(&corp.root));
    let two = ca("two", Some(&one));
    let three = ca("three", Some(&two));
    let mut four = signed(&web(), &[&corp.root, &one, &two, &three]).chain;
    assert!(judge(&roster, four.clone(), now()).await.is_ok());
    four.push(corp.root.der().clone());
    assert!(judge(&roster, four, now()).await.is_ok());
}

#[tokio::test]
async fn a_certificate_is_good_until_its_last_second() {
    let corp = Corp::new();
    let roster = roster(&corp.table(""));
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    for (moment, good) in [
        ("2027-01-31T23:59:59Z", false),
        ("2027-02-01T00:00:00Z", true),
        ("2027-04-01T00:00:00Z", true),
        ("2027-04-01T00:00:01Z", false),
    ] {
        let judged = judge(&roster, corp.leaf(|_| ()).chain, at(moment)).await;
        assert_eq!(judged.is_ok(), good, "{moment}");
    }
}

#[tokio::test]
async fn selectors_must_all_be_there() {
    let corp = Corp::new();
    let serial = "x509:serial:5a11";
    let with = |more: &str| roster(&corp.table(&format!("selectors = [\"{serial}\"{more}]")));
    assert!(
        judge(&with(""), corp.leaf(|_| ()).chain, now())
            .await
            .is_ok()
    );
    let more = with(", \"x509:dns:build.corp.example\"");
    assert!(judge(&more, corp.leaf(|_| ()).chain, now()).await.is_err());
}

#[tokio::test]
async fn where_two_entries_would_vouch_nobody_comes_in() {
    let corp = Corp::new();
    let twice = corp.table("").replace("[attest.corp]", "[attest.twin]");
    let roster = roster(&format!("{}{twice}", corp.table("")));
    let refused = judge(&roster, corp.leaf(|_| ()).chain, now())
        .await
        .unwrap_err();
    assert!(matches!(
        refused,
        Refused::Evidence {
            label: Label::Attestation,
            ..
        }
    ));
}

#[tokio::test]
async fn two_pkis_with_one_name_are_told_apart() {
    let (corp, other) = (Corp::new(), Corp::new());
    let twin = other.table("").replace("[attest.corp]", "[attest.twin]");
    let roster = roster(&format!("{}{twin}", corp.table("")));
    for (pki, name) in [(&corp, "corp"), (&other, "twin")] {
        let caller = judge(&roster, pki.leaf(|_| ()).chain, now()).await.unwrap();
        assert_eq!(caller.principal().issuer, name);
    }
}

#[tokio::test]
async fn a_revoked_certificate_and_a_stale_list_are_refused() {
    let corp = Corp::new();
    let file = corp.path("corp.crl");
    let table = corp.table(&format!("crl = [\"{}\"]", file.display()));
    let check = async |text: &str, good: bool, why: &str| {
        std::fs::write(&file, text).unwrap();
        let judged = judge(&roster(&table), corp.leaf(|_| ()).chain, now()).await;
        assert_eq!(judged.is_ok(), good, "{why}: {judged:?}");
    };
    let late = (2027, 3, 10);
    check(&corp.list(&[0x77], late), true, "not on the list").await;
    check(&corp.list(&[0x5a, 0x11], late), false, "on the list").await;
    check(&corp.list(&[0x77], (2027, 2, 20)), false, "a stale list").await;
    let stranger = ca("corp root", None);
    check(
        &list(&stranger, &[0x77], late),
        false,
        "a list of another key",
    )
    .await;
    let elsewhere = ca("elsewhere", None);
    check(
        &list(&elsewhere, &[0x77], late),
        false,
        "no list of its issuer",
    )
    .await;
}

#[tokio::test]
async fn a_list_that_was_written_anew_counts_within_seconds() {
    let corp = Corp::new();
    let file = corp.path("corp.crl");
    let late = (2027, 3, 10);
    std::fs::write(&file, corp.list(&[0x77], late)).unwrap();
    let roster = roster(&corp.table(&format!("crl = [\"{}\"]", file.display())));
    let leaf = corp.leaf(|_| ());
    assert!(judge(&roster, leaf.chain.clone(), now()).await.is_ok());
    let revoked = corp.list(&[0x5a, 0x11], late) + &corp.list(&[0x5a, 0x11], late);
    std::fs::write(&file, revoked).unwrap();
    let later = now().plus(stint_policy::Seconds::new(6));
    assert!(judge(&roster, leaf.chain.clone(), later).await.is_err());
    // What cannot be read leaves the last good list in force.
    std::fs::write(&file, "no list").unwrap();
    let later = later.plus(stint_policy::Seconds::new(6));
    assert!(judge(&roster, leaf.chain, later).await.is_err());
}

#[test]
fn a_table_that_could_let_in_the_wrong_one_does_not_load() {
    let corp = Corp::new();
    let check = |lines: &str, expected: &str| {
        let report = faults(&corp.table(lines));
        assert!(report.contains(expected), "{lines}: {report}");
    };
    check("id = \"{serial}\"", "names one caller");
    check("id = \"everybody\"", "names one caller");
    check("id = \"{common_name}\"", "is no field of a certificate");
    check("id = \"{spiffe_path}/x\"", "stands at the end");
    check("task = \"{nonsense}\"", "is no field of a certificate");
    check("crl = [\"/nowhere.crl\"]", "cannot be read");
    let table = corp.table("");
    let report = faults(&table.replace("trust_domain = \"corp.example\"", ""));
    assert!(report.contains("trust_domain"), "{report}");
    let report = faults(&table.replace("corp.example", "acme.dev"));
    assert!(
        report.contains("what Stint issued is no evidence"),
        "{report}"
    );
    let report = faults(&table.replace("roots.pem", "none.pem"));
    assert!(report.contains("cannot be read"), "{report}");
    let report = faults(&table.replace("client-cert", "join-token"));
    assert!(report.contains("does not know the word"), "{report}");
    let report = faults(&table.replace("[attest.corp]", "[attest.agent]"));
    assert!(report.contains("reserved name"), "{report}");
    let github =
        "[issuer.corp]\npreset = \"github-actions\"\nonly = { repository_owner_id = [\"1\"] }\n";
    let report = faults(&format!("{table}{github}"));
    assert!(report.contains("has the name of an issuer"), "{report}");
    std::fs::write(corp.path("leaf.pem"), corp.leaf(|_| ()).identity()).unwrap();
    let report = faults(&table.replace("roots.pem", "leaf.pem"));
    assert!(report.contains("is no CA"), "{report}");
}

/// An RSA key that nobody has the other half of.
struct Rsa(Vec<u8>);

impl Rsa {
    fn of(bits: usize) -> Rsa {
        let number = |mut bytes: Vec<u8>| {
            bytes.insert(0, 0); // positive
            tlv(0x02, &bytes)
        };
        let modulus = number(vec![0xff; bits / 8]);
        let both = [modulus, tlv(0x02, &[1, 0, 1])].concat();
        Rsa(tlv(0x30, &both))
    }
}

/// DER of one value.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let head = match length {
        0..=127 => vec![tag, u8::try_from(length).unwrap()],
        128..=255 => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => [
            vec![tag, 0x82],
            u16::try_from(length).unwrap().to_be_bytes().to_vec(),
        ]
        .concat(),
    };
    [head, value.to_vec()].concat()
}

impl PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}
