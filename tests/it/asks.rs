//! Asks that cannot be read or may not be so: the code each gets, and the entry once the caller is known.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use stint_ca::keyfile;
use stint_tests::TestBroker;
use stint_tests::after::der;
use stint_tests::keys;
use stint_wire::Code;

const STAGING: &str = "Environment::staging/web";

/// What an authenticated caller's ask must come to: this code, one `denied` entry that says `why`, nothing minted.
async fn check(broker: &TestBroker, what: &str, body: &Value, (code, why): (Code, &str)) {
    let size = broker.size().await;
    let bearer = format!("Bearer {}", broker.ci("acme/web").token());
    let headers = [("authorization", bearer.as_str())];
    let answer = broker
        .post("/v1/grants", &headers, body.to_string().as_bytes())
        .await;
    assert_eq!(
        answer.json()["code"],
        code.as_str(),
        "{what}: {}",
        answer.text()
    );
    let problem = answer.refused(code);
    assert!(!problem.retryable, "{what}");
    assert_eq!(broker.size().await, size + 1, "{what}: one entry");
    let entry = broker.export().await.of("denied").pop().unwrap();
    assert_eq!(entry.header["what"]["why"], why, "{what}");
    assert_eq!(
        problem.decision.unwrap(),
        *entry.header["id"].as_str().unwrap(),
        "{what}"
    );
    let again = broker
        .post("/v1/grants", &headers, body.to_string().as_bytes())
        .await;
    assert_eq!(
        again.text(),
        answer.text(),
        "{what}: a retry gets the same decision"
    );
    assert_eq!(
        broker.size().await,
        size + 2,
        "{what}: the export, and no second refusal"
    );
    let mut other = body.clone();
    other["ttl_s"] = json!(61);
    let other = broker
        .post("/v1/grants", &headers, other.to_string().as_bytes())
        .await;
    drop(other.refused(Code::EvidenceRejected));
}

/// What nobody in particular sends: this status and code, no entry, no row.
async fn check_door(broker: &TestBroker, what: &str, body: &[u8], code: Code) {
    let before = broker.state().await;
    let bearer = format!("Bearer {}", broker.ci("acme/web").token());
    let answer = broker
        .post("/v1/grants", &[("authorization", &bearer)], body)
        .await;
    assert_eq!(
        answer.json()["code"],
        code.as_str(),
        "{what}: {}",
        answer.text()
    );
    drop(answer.refused(code));
    assert_eq!(broker.state().await, before, "{what}");
    // The token was not looked at, so it is as good as before.
    let good = body_of(&[]).to_string();
    let answer = broker
        .post("/v1/grants", &[("authorization", &bearer)], good.as_bytes())
        .await;
    assert_eq!(answer.status, 201, "{what}: {}", answer.text());
}

/// A good ask with members changed; `null` takes one away.
fn body_of(changes: &[(&str, Value)]) -> Value {
    let credential = json!({ "kind": "jwt", "audience": "https://api" });
    let mut body = json!({ "action": "deploy", "resources": [STAGING], "credential": credential });
    for (name, value) in changes {
        body[*name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_body_that_is_not_the_documented_json_ends_at_the_door() {
    let broker = TestBroker::start().await;
    let good = body_of(&[]).to_string();
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    for (what, body) in [
        ("nothing", String::new()),
        ("a word", "deploy".to_owned()),
        ("a list", format!("[{good}]")),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("something behind it", format!("{good}{{}}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("an unknown member", with(r#""sudo":true"#)),
        (
            "an unknown member of the credential",
            good.replace(r#""kind""#, r#""subject":"CN=x","kind""#),
        ),
        ("a duplicate member", with(r#""action":"read""#)),
        ("a duplicate in the input", with(r#""input":{"a":1,"a":2}"#)),
        (
            "a duplicate deep in the input",
            with(r#""input":{"a":[{"b":{"c":1,"c":1}}]}"#),
        ),
        ("an input that is a list", with(r#""input":[1]"#)),
        ("no action", good.replace(r#""action":"deploy","#, "")),
        (
            "no resources",
            good.replace(&format!(r#","resources":["{STAGING}"]"#), ""),
        ),
        (
            "no credential",
            r#"{"action":"deploy","resources":["Environment::staging/web"]}"#.to_owned(),
        ),
        (
            "resources a text",
            good.replace(&format!(r#"["{STAGING}"]"#), &format!(r#""{STAGING}""#)),
        ),
        (
            "an action that is a number",
            good.replace(r#""deploy""#, "1"),
        ),
        ("a negative life", with(r#""ttl_s":-1"#)),
        ("half a second", with(r#""ttl_s":0.5"#)),
        ("a life as text", with(r#""ttl_s":"1h""#)),
        ("a life beyond all", with(r#""ttl_s":4294967296"#)),
    ] {
        check_door(&broker, what, body.as_bytes(), Code::Malformed).await;
    }
    check_door(
        &broker,
        "not UTF-8",
        b"{\"action\":\"\xff\"}",
        Code::Malformed,
    )
    .await;
    let long = with(&format!(r#""input":{{"a":"{}"}}"#, "x".repeat(9_000)));
    check_door(&broker, "a text too long", long.as_bytes(), Code::Malformed).await;
    let deep = with(&format!(
        r#""input":{{"a":{}1{}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    ));
    check_door(
        &broker,
        "deeper than a stack",
        deep.as_bytes(),
        Code::Malformed,
    )
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn members_that_no_ask_may_have_end_at_the_door() {
    let broker = TestBroker::start().await;
    let credential = |members: Value| ("credential", members);
    for (what, change) in [
        ("no life at all", ("ttl_s", json!(0))),
        ("a novel for a reason", ("reason", json!("x".repeat(501)))),
        (
            "somebody else's token",
            ("on_behalf_of", json!("eyJ.eyJ.sig")),
        ),
        ("an empty audience", ("audience", json!(""))),
        (
            "an audience that looks like another",
            ("audience", json!("https://deploy.acme.dev\u{200b}")),
        ),
        (
            "an audience of two lines",
            ("audience", json!("https://deploy.acme.dev\r\nX: y")),
        ),
        ("a quoted audience", ("audience", json!("a\"b"))),
        (
            "two audiences that differ",
            ("audience", json!("https://other")),
        ),
        (
            "a CSR and a bare key",
            credential(json!({ "kind": "x509", "csr": "a", "spki": "b" })),
        ),
    ] {
        let body = body_of(&[change]).to_string();
        check_door(&broker, what, body.as_bytes(), Code::InvalidField).await;
    }
    broker.finish().await;
}

#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused_as_such() {
    let broker = TestBroker::start().await;
    let size = broker.size().await;
    let body = body_of(&[]).to_string();
    let bearer = format!("Bearer {}", broker.ci("acme/web").token());
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        drop(
            broker
                .post("/v1/grants", &headers, body.as_bytes())
                .await
                .refused(Code::UnsupportedMediaType),
        );
    }
    let packed = [
        ("authorization", bearer.as_str()),
        ("content-encoding", "gzip"),
    ];
    drop(
        broker
            .post("/v1/grants", &packed, body.as_bytes())
            .await
            .refused(Code::UnsupportedMediaType),
    );
    let large = body_of(&[("reason", json!("x".repeat(65_536)))]).to_string();
    drop(
        broker
            .post(
                "/v1/grants",
                &[("authorization", &bearer)],
                large.as_bytes(),
            )
            .await
            .refused(Code::TooLarge),
    );
    assert_eq!(broker.size().await, size);
    broker.finish().await;
}

#[tokio::test]
async fn what_is_not_in_the_schema_is_named_and_recorded() {
    let broker = TestBroker::start().await;
    let resources = |list: &[&str]| ("resources", json!(list));
    let many: Vec<String> = (0..65).map(|n| format!("Environment::e{n}")).collect();
    for (what, change, code) in [
        (
            "an unknown action",
            ("action", json!("fly")),
            Code::UnknownAction,
        ),
        (
            "consent, which is no ask",
            ("action", json!("Stint::Action::\"delegate\"")),
            Code::UnknownAction,
        ),
        (
            "an empty action",
            ("action", json!("")),
            Code::UnknownAction,
        ),
        (
            "a type for an action",
            ("action", json!("Environment::\"staging\"")),
            Code::UnknownAction,
        ),
        (
            "an unknown type",
            resources(&["Planet::mars"]),
            Code::UnknownResourceType,
        ),
        (
            "a type in small letters",
            resources(&["environment::staging/web"]),
            Code::UnknownResourceType,
        ),
        ("no type", resources(&["staging/web"]), Code::InvalidField),
        ("no resource", resources(&[]), Code::InvalidField),
        (
            "sixty-five resources",
            ("resources", json!(many)),
            Code::InvalidField,
        ),
        (
            "a quote that does not end",
            resources(&["Environment::\"staging"]),
            Code::InvalidField,
        ),
        (
            "another job's task",
            ("task", json!("task_00000000000000000000000000")),
            Code::InvalidField,
        ),
        (
            "a credential nobody has",
            ("credential", json!({ "kind": "ssh" })),
            Code::UnsupportedCredential,
        ),
        (
            "a profile nobody made",
            (
                "credential",
                json!({ "kind": "jwt", "audience": "a", "profile": "root" }),
            ),
            Code::UnsupportedCredential,
        ),
        (
            "a JWT for nobody",
            ("credential", json!({ "kind": "jwt" })),
            Code::InvalidField,
        ),
        (
            "a JWT with a key",
            ("credential", json!({ "kind": "jwt", "csr": keys::csr() })),
            Code::InvalidField,
        ),
        (
            "a certificate without a key",
            ("credential", json!({ "kind": "x509" })),
            Code::InvalidField,
        ),
        (
            "a certificate for an audience",
            (
                "credential",
                json!({ "kind": "x509", "csr": keys::csr(), "audience": "a" }),
            ),
            Code::InvalidField,
        ),
    ] {
        check(&broker, what, &body_of(&[change]), (code, "form")).await;
    }
    broker.finish().await;
}

#[tokio::test]
async fn what_no_policy_knows_is_denied_without_being_guessed_at() {
    let broker = TestBroker::start().await;
    for (what, change, detail) in [
        (
            "an unlisted resource",
            ("resources", json!(["Environment::staging/api"])),
            "unknown_resource",
        ),
        (
            "a look-alike",
            ("resources", json!(["Environment::stag\u{456}ng/web"])),
            "unknown_resource",
        ),
        (
            "one listed and one not",
            ("resources", json!([STAGING, "Environment::x"])),
            "unknown_resource",
        ),
        (
            "an action for others",
            ("action", json!("read")),
            "not_for_you",
        ),
    ] {
        let mut body = body_of(&[change]);
        if what == "an action for others" {
            body["resources"] = json!(["Table::shop/orders"]);
        }
        check(&broker, what, &body, (Code::Denied, "policy")).await;
        let entry = broker
            .export()
            .await
            .of("denied")
            .into_iter()
            .rev()
            .nth(1)
            .unwrap();
        assert_eq!(entry.body["what"]["detail"], detail, "{what}");
    }
    broker.finish().await;
}

/// One extension by its OID under 2.5.29 and its DER.
fn extension(place: u64, der: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, place], der.to_vec())
}

fn pem(der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{base64}\n-----END CERTIFICATE REQUEST-----\n")
}

fn requesting(change: impl FnOnce(&mut CertificateParams)) -> String {
    keys::request(&keys::key(&rcgen::PKCS_ECDSA_P256_SHA256), change)
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// A request of one of the broker's own keys.
fn of_our_own(broker: &TestBroker, name: &str) -> String {
    let file = std::fs::read(broker.path("keys").join(name)).unwrap();
    let mut key = keyfile::open(&file, None).unwrap().to_vec();
    if key.len() == 32 {
        // A bare Ed25519 seed: RFC 8410 §7 says how PKCS #8 begins.
        key = [
            b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
            key.as_slice(),
        ]
        .concat();
    }
    keys::csr_of(&KeyPair::try_from(key).unwrap())
}

#[tokio::test]
async fn a_csr_that_wants_more_than_a_key_is_refused() {
    let broker = TestBroker::start().await;
    let good = keys::csr();
    let mut broken = der(&good);
    *broken.last_mut().unwrap() ^= 1;
    let trailing = [der(&good), vec![0]].concat();
    let mut other = der(&good);
    let place = other.len() / 3;
    other[place] ^= 1;
    for (what, csr) in [
        ("nothing", String::new()),
        ("text", "a request".to_owned()),
        ("two blocks", format!("{good}{good}")),
        (
            "a certificate",
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        ),
        ("trailing bytes", pem(&trailing)),
        ("cut off", pem(&der(&good)[..100])),
        ("a broken signature", pem(&broken)),
        ("another body under its signature", pem(&other)),
        ("six thousand bytes of nothing", pem(&vec![0x30; 6_000])),
        (
            "CA:TRUE",
            requesting(|it| it.custom_extensions = vec![extension(19, b"\x30\x03\x01\x01\xff")]),
        ),
        (
            "name constraints",
            requesting(|it| it.custom_extensions = vec![extension(30, b"\x30\x00")]),
        ),
        (
            "any purpose",
            requesting(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        ),
        (
            "code signing",
            requesting(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
        ),
        (
            "signing certificates",
            requesting(|it| it.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        ),
        (
            "somebody else's id",
            requesting(|it| it.subject_alt_names = vec![uri("spiffe://acme.dev/admin")]),
        ),
        (
            "its own id and another",
            requesting(|it| {
                let own = "spiffe://acme.dev/github/123456/456789";
                it.subject_alt_names = vec![uri(own), uri("spiffe://acme.dev/admin")];
            }),
        ),
        (
            "a host",
            requesting(|it| {
                it.subject_alt_names = vec![SanType::DnsName("acme.dev".try_into().unwrap())]
            }),
        ),
        (
            "an address",
            requesting(|it| {
                it.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))]
            }),
        ),
        ("the issuing CA's key", of_our_own(&broker, "issuing-1.key")),
        ("the root's key", of_our_own(&broker, "root.key")),
        ("the JWT key", of_our_own(&broker, "jwt-1.key")),
        ("the ledger's key", of_our_own(&broker, "ledger.key")),
    ] {
        let body = body_of(&[("credential", json!({ "kind": "x509", "csr": csr }))]);
        check(&broker, what, &body, (Code::BadCsr, "key")).await;
    }
    let spki = json!({ "kind": "x509", "spki": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE" });
    check(
        &broker,
        "a bare key",
        &body_of(&[("credential", spki)]),
        (Code::BadCsr, "key"),
    )
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn a_csr_may_ask_for_what_the_grant_gives_anyway() {
    let broker = TestBroker::start().await;
    let own = "spiffe://acme.dev/github/123456/456789";
    for csr in [
        requesting(|it| it.subject_alt_names = vec![uri(own)]),
        requesting(|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        requesting(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        requesting(|it| it.custom_extensions = vec![extension(19, b"\x30\x00")]),
        data_encoding::BASE64.encode(&der(&keys::csr())),
    ] {
        let answer = broker.ci("acme/web").ask("deploy", STAGING).csr(&csr).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    broker.finish().await;
}

#[tokio::test]
async fn both_spellings_of_a_resource_are_the_same_ask() {
    let broker = TestBroker::start().await;
    for resource in ["Environment::prod/web", "Environment::\"prod/web\""] {
        let ask = broker
            .ci("acme/web")
            .job("a")
            .ask("deploy", resource)
            .member("action", json!("Action::\"deploy\""));
        let held = ask.x509().await.held();
        assert_eq!(held.created, resource == "Environment::prod/web");
    }
    broker.finish().await;
}

#[tokio::test]
async fn text_of_an_ask_cannot_forge_a_line_of_the_ledger() {
    let broker = TestBroker::start().await;
    let reason = "\u{1b}[31mred\n{\"kind\":\"granted\"}\r\n— it.stint/ledger AAAA\u{202e}";
    let ask = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .member("reason", json!(reason));
    assert_eq!(ask.x509().await.status, 201);
    let export = broker.export().await;
    assert_eq!(export.of("granted").len(), 1);
    assert_eq!(export.of("granted")[0].body["what"]["reason"], reason);
    let bodies = &export.files[stint_audit::bundle::BODIES];
    assert!(!bodies.contains(&0x1b), "an escape stands as an escape");
    broker.finish().await;
}

#[tokio::test]
async fn a_caller_that_is_denied_too_often_waits_and_its_neighbour_does_not() {
    let broker = TestBroker::with().limited().start().await;
    let prod = |repo| {
        broker
            .ci(repo)
            .on("refs/heads/x")
            .ask("deploy", "Environment::prod/web")
    };
    for _ in 0..10 {
        drop(prod("acme/web").x509().await.refused(Code::Denied));
    }
    let size = broker.size().await;
    let answer = prod("acme/web").x509().await;
    let problem = answer.refused(Code::RateLimited);
    assert!(
        problem.retryable && problem.retry_after_s == Some(1),
        "{problem:?}"
    );
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(broker.size().await, size, "a limit is no decision");
    drop(prod("acme/api").x509().await.refused(Code::Denied));
    broker.clock.advance(1);
    drop(prod("acme/web").x509().await.refused(Code::Denied));
    broker.finish().await;
}
