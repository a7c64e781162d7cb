use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value, json};
use stint_audit::{Body, Digest, Entry, Head, LogKey, Receipt, What, kind};
use stint_policy::{
    ActionId, AskDigest, Binding, Claims, Consent, CredentialKind, Decision, Grant, GrantId,
    History, Kind, PolicySet, Principal, Query, Resources, Seconds, SpiffeId, Task, TaskId,
    TaskSource, Timestamp, Want,
};
use webpki::KeyUsage;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    Authority, AuthorityParts, BoundTo, Order, PrepareError, SetupError, SignError, rehearsal,
};
use crate::{
    audience::{Audience, AudienceParts, Flavour, SubTemplate},
    credential::{Credential, Unsigned},
    issuer::{Issuing, Made, new_issuing, new_root},
    profile::Profile,
    signer::{Algorithm, Signer, software, software::SoftwareSigner},
    subject::SubjectKey,
    x509::Serial,
};

const LOG: &str = "stint.acme.dev/ledger";
const AUDIENCE: &str = "https://deploy.acme.dev";

/// 2027-03-01T10:00:00.250Z: not on a whole second.
const NOW: i64 = 1_803_895_200_250;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW + seconds * 1000)
}

static POLICY: LazyLock<PolicySet> =
    LazyLock::new(|| PolicySet::from_files(stint_policy::sample()).unwrap());

/// What is asked, before policy is.
struct Ask {
    caller: Principal,
    subject: Option<Principal>,
    action: &'static str,
    resource: &'static str,
    want: Want,
    id: [u8; 16],
}

fn ask(kind: CredentialKind) -> Ask {
    let mut github: BTreeMap<String, stint_policy::Value> = BTreeMap::new();
    for (name, value) in [
        ("repository_id", "456789"),
        ("repository_owner_id", "123456"),
        ("run_id", "322"),
        ("ref", "refs/heads/main"),
    ] {
        github.insert(name.into(), stint_policy::Value::String(value.into()));
    }
    let mut caller = principal("spiffe://acme.dev/github/123456/456789", Kind::Workload);
    caller.claims.platform = Some(("github".into(), github));
    Ask {
        caller,
        subject: None,
        action: "deploy",
        resource: "Environment::staging/web",
        want: Want {
            kind,
            profile: "default".into(),
            bind: match kind {
                CredentialKind::X509 => Binding::Key,
                CredentialKind::Jwt | CredentialKind::None => Binding::Bearer,
            },
            audience: (kind == CredentialKind::Jwt).then(|| AUDIENCE.to_owned()),
            ttl: Seconds::new(900),
        },
        id: [7; 16],
    }
}

fn agent_ask() -> Ask {
    let mut kim = principal("spiffe://acme.dev/user/kim", Kind::User);
    kim.groups = BTreeSet::from(["support".to_owned()]);
    let mut asked = ask(CredentialKind::Jwt);
    asked.caller = principal("spiffe://acme.dev/agent/helper", Kind::Agent);
    asked.subject = Some(kim);
    asked.action = "read";
    asked.resource = "Table::shop/orders";
    asked.want.bind = Binding::Dpop;
    asked.want.ttl = Seconds::new(300);
    asked
}

fn principal(id: &str, kind: Kind) -> Principal {
    Principal {
        id: SpiffeId::parse(id).unwrap(),
        kind,
        issuer: "github".into(),
        preset: "github-actions".into(),
        claims: Claims::default(),
        groups: BTreeSet::new(),
        owner: None,
        person: None,
        attested: BTreeSet::new(),
    }
}

impl Ask {
    /// The one road there is to a grant.
    fn grant(self) -> Grant {
        let task = Task {
            id: TaskId::from_bytes([9; 16]),
            name: "github:456789/322/1".into(),
            source: TaskSource::Evidence,
            depth: 0,
            opened: now(),
            deadline: None,
            parent: None,
            initiator: None,
        };
        let query = Query {
            now: now(),
            caller: &self.caller,
            subject: self.subject.as_ref(),
            actors: &[],
            consent: self.subject.is_some().then_some(Consent::MayAct),
            subject_bound: false,
            own: &BTreeSet::new(),
            task: &task,
            history: &History::default(),
            action: &ActionId::parse(self.action).unwrap(),
            resources: &Resources::parse([self.resource]).unwrap(),
            input: None,
            want: &self.want,
            ceilings: &[],
            digest: AskDigest([3; 32]),
            votes: &[],
        };
        match POLICY.decide(&query, GrantId::from_bytes(self.id)) {
            Decision::Permit(grant) => grant,
            other => panic!("not permitted: {other:?}"),
        }
    }
}

/// An authority and what it was made of.
struct House {
    root: Made,
    issuing: Made,
}

impl House {
    fn new(days: u32) -> House {
        let root = new_root("acme.dev", now(), 3650).unwrap();
        let parts = (root.certificate_pem.as_str(), &root.key[..]);
        let issuing = new_issuing(parts, "acme.dev", now(), days).unwrap();
        House { root, issuing }
    }

    fn parts(&self) -> AuthorityParts {
        let signer = SoftwareSigner::from_pkcs8(Algorithm::Es256, &self.issuing.key).unwrap();
        let issuing = Issuing::new(
            &self.root.certificate_pem,
            &self.issuing.certificate_pem,
            Arc::new(signer),
            "acme.dev",
        );
        AuthorityParts {
            trust_domain: "acme.dev".into(),
            url: "https://stint.acme.dev".into(),
            log: LOG.into(),
            issuing: issuing.unwrap(),
            jwt: vec![signer_of(Algorithm::Es256)],
            audiences: Vec::new(),
            jwt_max_ttl: Seconds::new(900),
            profiles: vec![
                profile("default", &["client", "server"], ""),
                profile("named", &["client"], "grant"),
            ],
            backdate: Seconds::new(60),
            pki_url: None,
            arc: None,
            own_keys: Vec::new(),
        }
    }

    fn authority(&self) -> Authority {
        Authority::new(self.parts()).unwrap()
    }
}

fn signer_of(algorithm: Algorithm) -> Arc<dyn Signer> {
    let key = software::generate(algorithm).unwrap();
    Arc::new(SoftwareSigner::from_pkcs8(algorithm, &key).unwrap())
}

fn profile(name: &str, eku: &[&str], cn_from: &str) -> Profile {
    let eku: Vec<String> = eku.iter().map(|&word| word.to_owned()).collect();
    Profile::new(name, &eku, &[], cn_from, Seconds::new(3600)).unwrap()
}

fn key() -> SubjectKey {
    SubjectKey::from_spki_der(signer_of(Algorithm::Es256).public_key_spki()).unwrap()
}

fn requested(change: impl FnOnce(&mut rcgen::CertificateParams)) -> SubjectKey {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    change(&mut params);
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = params.serialize_request(&pair).unwrap();
    SubjectKey::from_csr(&request.pem().unwrap()).unwrap()
}

fn x509(key: SubjectKey) -> Order {
    Order::X509 {
        key,
        serial: Serial::from_random([0x5a; 20]),
    }
}

fn jwt(confirmation: Option<[u8; 32]>) -> Order {
    Order::Jwt {
        jti: [0xff; 16],
        confirmation: confirmation.map(BoundTo::Key),
        claims: BTreeMap::new(),
    }
}

fn entry(unsigned: &Unsigned) -> Entry {
    let what = kind::Granted {
        cred: match unsigned.kind() {
            CredentialKind::Jwt => kind::Credential::Jwt,
            CredentialKind::X509 | CredentialKind::None => kind::Credential::X509,
        },
        exp: u64::try_from(unsigned.not_after().as_millis()).unwrap(),
        first: false,
        opens: true,
        parent: None,
        renews: None,
        request: None,
        task: unsigned.grant().task_id().to_string(),
        tbs: unsigned.digest(),
        votes: None,
    };
    draft(&unsigned.grant().id().to_string(), what.into())
}

fn draft(id: &str, what: What) -> Entry {
    Entry {
        id: id.to_owned(),
        subj: Some(Digest::ZERO),
        by: None,
        behalf: None,
        pol: Some(Digest::ZERO),
        what,
        body: Body {
            salt: [1; 16],
            what: Map::new(),
        },
    }
}

/// The receipt of the last of these entries in a new log.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' log lives in memory, which is as durable as they are"
)]
fn record(log: &str, entries: Vec<Entry>) -> Receipt {
    let key = LogKey::from_seed(&[5; 32], log).unwrap();
    let genesis = kind::Genesis {
        epoch: 0,
        hash: "rfc6962-sha256".into(),
        nonce: Digest::ZERO,
        prior: None,
        vkey: key.vkey(),
    };
    let mut genesis = draft("ent_00000000000000000000000000", genesis.into());
    (genesis.subj, genesis.pol) = (None, None);
    let entries = [vec![genesis], entries].concat();
    let at = u64::try_from(NOW).unwrap();
    let batch = Head::empty(log, 0).extend("a", at, entries).unwrap();
    batch.durable(&key).receipts.pop().unwrap()
}

fn receipt(unsigned: &Unsigned) -> Receipt {
    record(LOG, vec![entry(unsigned)])
}

fn issue(authority: &Authority, ask: Ask, order: Order) -> Credential {
    let unsigned = authority.prepare(ask.grant(), order, now()).unwrap();
    let receipt = receipt(&unsigned);
    authority.sign(unsigned, &receipt, now()).unwrap()
}

fn certificate(credential: &Credential) -> CertificateDer<'static> {
    let Credential::X509 {
        certificate_pem, ..
    } = credential
    else {
        panic!("not a certificate: {credential:?}");
    };
    CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()
}

fn refused(authority: &Authority, ask: Ask, order: Order) -> PrepareError {
    authority.prepare(ask.grant(), order, now()).unwrap_err()
}

#[test]
fn a_certificate_is_good_for_both_sides_of_tls_and_names_the_caller() {
    let authority = House::new(30).authority();
    let issued = issue(&authority, ask(CredentialKind::X509), x509(key()));
    let der = certificate(&issued);
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        rehearsal::verify(&authority.issuing, &der, NOW / 1000, usage).unwrap();
    }
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    let names = read.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(
        names.value.general_names[0].to_string(),
        "URI(spiffe://acme.dev/github/123456/456789)"
    );
    assert_eq!(read.extensions().len(), 7);
    assert_eq!(HEXLOWER.encode(read.raw_serial()), "5a".repeat(20));
    assert_eq!(read.validity().not_before.timestamp(), NOW / 1000 - 60);
    assert_eq!(read.validity().not_after.timestamp(), NOW / 1000 + 900 - 1);
    let Credential::X509 {
        chain_pem, serial, ..
    } = &issued
    else {
        panic!("not a certificate");
    };
    assert_eq!(**chain_pem, *authority.chain_pem());
    assert_eq!(*serial, "5a".repeat(20));
}

#[test]
fn a_client_certificate_is_no_server_certificate() {
    let authority = House::new(30).authority();
    let mut asked = ask(CredentialKind::X509);
    asked.want.profile = "named".into();
    let der = certificate(&issue(&authority, asked, x509(key())));
    let verify = |usage| rehearsal::verify(&authority.issuing, &der, NOW / 1000, usage);
    assert!(verify(KeyUsage::client_auth()).is_ok());
    assert!(verify(KeyUsage::server_auth()).is_err());
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    let id = GrantId::from_bytes([7; 16]);
    assert_eq!(read.subject().to_string(), format!("CN={id}"));
    assert!(!read.subject_alternative_name().unwrap().unwrap().critical);
}

#[test]
fn an_ed25519_authority_issues_for_all_three_kinds_of_key() {
    let house = House::new(30);
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&pair);
        let key = SubjectKey::from_spki_der(&spki).unwrap();
        let authority = house.authority();
        let der = certificate(&issue(&authority, ask(CredentialKind::X509), x509(key)));
        let client = KeyUsage::client_auth();
        rehearsal::verify(&authority.issuing, &der, NOW / 1000, client).unwrap();
    }
}

#[test]
fn pointers_and_the_arc_are_the_operators() {
    let mut parts = House::new(30).parts();
    parts.pki_url = Some("http://pki.acme.dev".into());
    parts.arc = Some("1.3.6.1.4.1.99999".into());
    let authority = Authority::new(parts).unwrap();
    assert_eq!(authority.extension_oid(), "1.3.6.1.4.1.99999.1.1");
    let der = certificate(&issue(&authority, ask(CredentialKind::X509), x509(key())));
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(read.extensions().len(), 9);
    let text = String::from_utf8_lossy(&der).into_owned();
    let crl = format!("http://pki.acme.dev/crl/{}.crl", authority.issuer_id());
    assert!(text.contains(&crl) && text.contains("http://pki.acme.dev/ocsp"));
}

#[test]
fn what_is_prepared_is_a_function_of_its_arguments() {
    let authority = House::new(30).authority();
    let key = key();
    let prepare = || {
        let grant = ask(CredentialKind::X509).grant();
        authority
            .prepare(grant, x509(key.clone()), now())
            .unwrap()
            .digest()
    };
    assert_eq!(prepare(), prepare());
}

#[test]
fn a_request_for_more_than_the_grant_is_refused() {
    let authority = House::new(30).authority();
    let beyond = |change: fn(&mut rcgen::CertificateParams), profile: &str| {
        let mut asked = ask(CredentialKind::X509);
        asked.want.profile = profile.into();
        let order = x509(requested(change));
        authority
            .prepare(asked.grant(), order, now())
            .map(|_unsigned| ())
    };
    let other = beyond(
        |p| {
            let id = "spiffe://acme.dev/github/123456/1";
            p.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
        },
        "default",
    );
    assert_eq!(
        other.unwrap_err().to_string(),
        "the request asks for the name `spiffe://acme.dev/github/123456/1`, \
         which the grant does not give"
    );
    let dns = beyond(
        |p| p.subject_alt_names = vec![rcgen::SanType::DnsName("a.b".try_into().unwrap())],
        "default",
    );
    assert!(matches!(dns, Err(PrepareError::BeyondGrant(_))));
    let server = |p: &mut rcgen::CertificateParams| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(
        beyond(server, "named"),
        Err(PrepareError::BeyondGrant("serverAuth".into()))
    );
    assert_eq!(beyond(server, "default"), Ok(()));
    let own = beyond(
        |p| {
            let id = "spiffe://acme.dev/github/123456/456789";
            p.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
        },
        "default",
    );
    assert_eq!(own, Ok(()));
}

#[test]
fn nobody_is_certified_for_a_key_of_ours() {
    let mut parts = House::new(30).parts();
    let ledger = signer_of(Algorithm::Ed25519).public_key_spki().to_vec();
    parts.own_keys = vec![ledger.clone()];
    let ours = [
        ledger,
        parts.jwt[0].public_key_spki().to_vec(),
        parts.issuing.signer.public_key_spki().to_vec(),
        parts.issuing.root_spki.clone(),
    ];
    let authority = Authority::new(parts).unwrap();
    for spki in ours {
        let order = x509(SubjectKey::from_spki_der(&spki).unwrap());
        let why = refused(&authority, ask(CredentialKind::X509), order);
        assert_eq!(why, PrepareError::OurKey);
    }
}

#[test]
fn a_credential_never_outlives_its_bounds() {
    let house = House::new(1);
    let authority = house.authority();
    let end = authority.issuing.not_after;
    let at = |now: Timestamp| {
        let grant = ask(CredentialKind::X509).grant();
        authority.prepare(grant, x509(key()), now)
    };
    // The grant's end is 900 s from NOW: less a second, and nothing is left at its end.
    let whole = at(now()).unwrap();
    assert_eq!(whole.not_after().as_secs(), NOW / 1000 + 899);
    assert_eq!(at(after(899)).unwrap_err(), PrepareError::NoLife);
    assert_eq!(at(after(900)).unwrap_err(), PrepareError::NoLife);
    assert_eq!(at(after(898)).unwrap().not_after(), whole.not_after());

    let late = Timestamp::from_millis((end + 1) * 1000);
    assert_eq!(at(late).unwrap_err(), PrepareError::IssuingCa);
    let early = Timestamp::from_millis((authority.issuing.not_before - 1) * 1000);
    assert_eq!(at(early).unwrap_err(), PrepareError::IssuingCa);

    // A minute before now is the issuing CA's first moment: no leaf begins before it.
    let first = Timestamp::from_millis(authority.issuing.not_before * 1000);
    assert_eq!(at(first).unwrap().not_before(), first);

    let ceilings = authority
        .ceilings(CredentialKind::X509, ("default", None), now())
        .unwrap();
    let names: Vec<&str> = ceilings.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["profile", "issuing_ca"]);
    assert_eq!(ceilings[0].not_after, after(3600));
    assert_eq!(ceilings[1].not_after.as_secs(), end);
    assert_eq!(
        authority.ceilings(CredentialKind::X509, ("other", None), now()),
        Err(PrepareError::UnknownProfile("other".into()))
    );
}

#[test]
fn a_profiles_cap_cuts_a_longer_grant() {
    let mut parts = House::new(30).parts();
    let eku = ["client".to_owned()];
    let short = Profile::new("default", &eku, &[], "", Seconds::new(120)).unwrap();
    parts.profiles = vec![short];
    parts.jwt_max_ttl = Seconds::new(60);
    let authority = Authority::new(parts).unwrap();
    let grant = ask(CredentialKind::X509).grant();
    let unsigned = authority.prepare(grant, x509(key()), now()).unwrap();
    assert_eq!(unsigned.not_after().as_secs(), NOW / 1000 + 119);
    let grant = ask(CredentialKind::Jwt).grant();
    let unsigned = authority.prepare(grant, jwt(None), now()).unwrap();
    assert_eq!(unsigned.not_after().as_secs(), NOW / 1000 + 60);
}

#[test]
fn an_order_is_for_what_was_granted() {
    let authority = House::new(30).authority();
    let why = refused(&authority, ask(CredentialKind::X509), jwt(None));
    assert_eq!(why, PrepareError::OtherKind);
    let why = refused(&authority, ask(CredentialKind::Jwt), x509(key()));
    assert_eq!(why, PrepareError::OtherKind);
    let mut asked = ask(CredentialKind::X509);
    asked.want.profile = "other".into();
    let why = refused(&authority, asked, x509(key()));
    assert_eq!(why, PrepareError::UnknownProfile("other".into()));
}

/// The claims of a token whose signature verifies by the key its header names.
fn verified(authority: &Authority, credential: &Credential) -> (Value, Value) {
    let Credential::Jwt { token, .. } = credential else {
        panic!("not a token: {credential:?}");
    };
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("not three parts");
    };
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    let jwk = &authority.jwks()["keys"][0];
    assert_eq!(read(header)["kid"], jwk["kid"]);
    let coordinate = |name: &str| decode(jwk[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let signed = format!("{header}.{payload}");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature))
        .unwrap();
    (read(header), read(payload))
}

#[test]
fn a_token_is_rfc_9068_s_and_names_its_grant() {
    let authority = House::new(30).authority();
    let issued = issue(&authority, ask(CredentialKind::Jwt), jwt(None));
    let (header, claims) = verified(&authority, &issued);
    let jwk = &authority.jwks()["keys"][0];
    assert_eq!(
        header,
        json!({"typ": "at+jwt", "alg": "ES256", "kid": jwk["kid"]})
    );
    let caller = "spiffe://acme.dev/github/123456/456789";
    assert_eq!(
        claims,
        json!({
            "iss": "https://stint.acme.dev", "aud": AUDIENCE, "sub": caller, "client_id": caller,
            "iat": NOW / 1000, "nbf": NOW / 1000, "exp": NOW / 1000 + 900,
            "jti": "_____________________w", "grant": GrantId::from_bytes([7; 16]).to_string(),
            "task": "github:456789/322/1",
            "authorization_details": [{
                "type": "stint_task", "action": "deploy",
                "resources": ["Environment::\"staging/web\""],
                "task": {"id": "github:456789/322/1"}, "ttl_s": 900,
            }],
        })
    );
}

#[test]
fn an_agents_token_is_bound_and_says_for_whom_it_acts() {
    let authority = House::new(30).authority();
    let issued = issue(&authority, agent_ask(), jwt(Some([1; 32])));
    let (_, claims) = verified(&authority, &issued);
    assert_eq!(claims["sub"], "spiffe://acme.dev/user/kim");
    assert_eq!(claims["client_id"], "spiffe://acme.dev/agent/helper");
    assert_eq!(
        claims["act"],
        json!({
            "iss": "https://stint.acme.dev", "sub": "spiffe://acme.dev/agent/helper",
            "sub_profile": "ai_agent",
        })
    );
    assert_eq!(
        claims["cnf"],
        json!({ "jkt": BASE64URL_NOPAD.encode(&[1; 32]) })
    );
    assert_eq!(
        refused(&authority, agent_ask(), jwt(None)),
        PrepareError::Unbound
    );
}

#[test]
fn sign_takes_the_receipt_of_these_very_bytes_alone() {
    let authority = House::new(30).authority();
    let prepare = |id| {
        let mut asked = ask(CredentialKind::X509);
        asked.id = [id; 16];
        authority
            .prepare(asked.grant(), x509(key()), now())
            .unwrap()
    };
    let sign = |unsigned, receipt: &Receipt, now| {
        authority
            .sign(unsigned, receipt, now)
            .map(|_credential| ())
            .unwrap_err()
    };

    let (one, other) = (prepare(1), prepare(2));
    assert_eq!(sign(one, &receipt(&other), now()), SignError::OtherBytes);

    // The same grant, and the same bytes but for the key.
    let (first, second) = (prepare(1), prepare(1));
    assert_eq!(sign(first, &receipt(&second), now()), SignError::OtherBytes);

    // The bytes recorded under another grant's id.
    let one = prepare(1);
    let mut borrowed = entry(&one);
    borrowed.id = GrantId::from_bytes([2; 16]).to_string();
    assert_eq!(
        sign(one, &record(LOG, vec![borrowed]), now()),
        SignError::OtherBytes
    );

    let one = prepare(1);
    let elsewhere = record("stint.other.dev/ledger", vec![entry(&one)]);
    assert_eq!(sign(one, &elsewhere, now()), SignError::OtherLog);

    // The genesis entry is durable, and grants nothing.
    let nothing = record(LOG, Vec::new());
    assert_eq!(sign(prepare(1), &nothing, now()), SignError::NotGranted);

    let one = prepare(1);
    let late = receipt(&one);
    assert_eq!(sign(one, &late, after(900)), SignError::Ended);
}

#[test]
fn parts_that_do_not_fit_stop_the_start() {
    let house = House::new(30);
    let refused = |change: fn(&mut AuthorityParts)| {
        let mut parts = house.parts();
        change(&mut parts);
        Authority::new(parts).unwrap_err()
    };
    assert_eq!(
        refused(|p| p.backdate = Seconds::new(61)),
        SetupError::Backdate(Seconds::new(61))
    );
    assert_eq!(
        refused(|p| p.arc = Some("2.25.3000000000".into())),
        SetupError::Arc
    );
    assert_eq!(
        refused(|p| p.profiles.push(profile("default", &["client"], ""))),
        SetupError::ProfileTwice("default".into())
    );
    let rs256 = || {
        Audience::new(AudienceParts {
            name: "cloud".into(),
            aud: AUDIENCE.into(),
            flavour: Flavour::Federation,
            algorithm: Algorithm::Rs256,
            sub: SubTemplate::spiffe_id(),
            sub_max: 255,
            issuers: BTreeSet::new(),
            claims: Map::new(),
            max_ttl: Seconds::new(60),
        })
        .unwrap()
    };
    let mut parts = house.parts();
    parts.audiences = vec![rs256()];
    let no_key = SetupError::AudienceKey {
        audience: "cloud".into(),
        alg: "RS256",
    };
    assert_eq!(Authority::new(parts).unwrap_err(), no_key);
    let mut parts = house.parts();
    parts.audiences = vec![rs256(), rs256()];
    let brought = include_bytes!("../signer/software/rs256-test.pk8");
    let brought = SoftwareSigner::from_pkcs8(Algorithm::Rs256, brought).unwrap();
    parts.jwt.push(Arc::new(brought));
    let twice = SetupError::AudienceTwice(AUDIENCE.into());
    assert_eq!(Authority::new(parts).unwrap_err(), twice);

    // The extension has no room for such an origin: found by the lint before anybody asked.
    assert!(matches!(
        refused(|p| p.log = "l".repeat(256)),
        SetupError::Rehearsal { .. }
    ));
}

#[test]
fn what_relying_parties_trust_is_the_root() {
    let house = House::new(30);
    let authority = house.authority();
    assert_eq!(authority.trust_bundle_pem(), house.root.certificate_pem);
    assert_eq!(authority.root_fingerprint().len(), 64);
    assert_eq!(*authority.chain_pem(), [house.issuing.certificate_pem]);
}

#[test]
fn a_debug_print_of_a_token_does_not_show_it() {
    let authority = House::new(30).authority();
    let issued = issue(&authority, ask(CredentialKind::Jwt), jwt(None));
    assert_eq!(
        format!("{issued:?}"),
        "Jwt { id: \"_____________________w\", .. }"
    );
}
