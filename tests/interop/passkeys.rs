//! Passkeys before PyPI `webauthn`: what our software authenticator makes is what a relying party by others takes, and what
//! is spoiled there is spoiled here. So the authenticator of the tests and the checks of the broker do not err together.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_audit::passkey::{Assertion, Expected, Key, check, enrol};
use stint_tests::passkey::{AAGUID, Passkey, VERIFIED};

use crate::foreign;

const RP: &str = "stint.example";
const ORIGIN: &str = "https://stint.example:8443";
const CHALLENGE: &[u8] = b"a challenge of thirty-two bytes!";

const EXPECTED: Expected<'static> = Expected {
    rp: RP,
    origin: ORIGIN,
    challenge: CHALLENGE,
};

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn case(kind: &str, more: Value) -> Value {
    let mut case =
        json!({"kind": kind, "rp": RP, "origin": ORIGIN, "challenge": encode(CHALLENGE)});
    let members = case.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    case
}

fn of_enrolment((credential, data, client): &(Vec<u8>, Vec<u8>, Vec<u8>)) -> Value {
    case(
        "enrol",
        json!({"credential": encode(credential), "authenticator_data": encode(data), "client_data": encode(client)}),
    )
}

fn of_assertion(passkey: &Passkey, assertion: &Assertion) -> Value {
    let mut more = serde_json::to_value(assertion).unwrap();
    more["cose"] = encode(&passkey.cose()).into();
    more["count"] = json!(0);
    case("sign", more)
}

/// What `webauthn` says of each.
fn theirs(cases: &[Value]) -> Vec<Value> {
    let said = foreign::run(
        &mut foreign::python("check_passkey.py"),
        &json!(cases).to_string(),
    );
    assert!(said.ok, "{said:?}");
    said.json()["said"].as_array().unwrap().clone()
}

fn each() -> [Passkey; 3] {
    [
        Passkey::new(RP, ORIGIN),
        Passkey::ed25519(RP, ORIGIN),
        Passkey::rs256(RP, ORIGIN),
    ]
}

#[test]
fn webauthn_takes_what_our_authenticator_makes_and_reads_the_same_in_it() {
    for passkey in each() {
        let enrolment = passkey.enrol(CHALLENGE);
        let assertion = passkey.sign(CHALLENGE);
        let said = theirs(&[of_enrolment(&enrolment), of_assertion(&passkey, &assertion)]);
        let ours = enrol(&enrolment.1, &enrolment.2, &EXPECTED).unwrap();
        assert_eq!(said[0]["credential"], encode(&ours.credential));
        assert_eq!(said[0]["cose"], encode(&passkey.cose()));
        assert_eq!(
            (&said[0]["count"], &said[0]["backed_up"]),
            (&json!(ours.count), &json!(ours.backed_up))
        );
        let aaguid = said[0]["aaguid"].as_str().unwrap().replace('-', "");
        assert_eq!(aaguid, data_encoding::HEXLOWER.encode(&AAGUID));
        let count = check(&assertion, &ours.key, &EXPECTED).unwrap();
        assert_eq!(said[1]["count"], json!(count), "{said:?}");
    }
}

#[test]
fn webauthn_refuses_the_same_enrolments() {
    let honest = Passkey::new(RP, ORIGIN);
    let spoil = |at: usize, bit: u8| {
        let (credential, mut data, client) = honest.enrol(CHALLENGE);
        data[at] ^= bit;
        (credential, data, client)
    };
    let cut = |end: usize| {
        let (credential, data, client) = honest.enrol(CHALLENGE);
        (credential, data[..end].to_vec(), client)
    };
    let spoiled = [
        ("challenge", honest.enrol(b"another challenge")),
        (
            "origin",
            Passkey::new(RP, "https://evil.example").enrol(CHALLENGE),
        ),
        (
            "relying party",
            Passkey::new("evil.example", ORIGIN).enrol(CHALLENGE),
        ),
        (
            "presence",
            Passkey::new(RP, ORIGIN).absent().enrol(CHALLENGE),
        ),
        (
            "verification",
            Passkey::new(RP, ORIGIN).unverified().enrol(CHALLENGE),
        ),
        ("verified flag", spoil(32, VERIFIED)),
        ("hash of the relying party", spoil(0, 1)),
        ("no key announced", spoil(32, 1 << 6)),
        ("algorithm of the key", spoil(91, 0x10)),
        ("cut off in the key", cut(120)),
        ("cut off before the key", cut(60)),
        ("not even a counter", cut(36)),
    ];
    let cases: Vec<Value> = spoiled.iter().map(|(_, it)| of_enrolment(it)).collect();
    for ((name, (_, data, client)), said) in spoiled.iter().zip(theirs(&cases)) {
        assert_eq!(said["ok"], false, "{name}: {said}");
        assert!(enrol(data, client, &EXPECTED).is_err(), "{name}");
    }
}

#[test]
fn webauthn_refuses_the_same_assertions() {
    for honest in each() {
        let good = honest.sign(CHALLENGE);
        let with = |bend: fn(&mut Assertion)| {
            let mut bent = good.clone();
            bend(&mut bent);
            bent
        };
        let created = honest.client_data("webauthn.create", CHALLENGE).to_string();
        let mut unverified = honest.authenticator_data(0);
        unverified[32] ^= VERIFIED;
        let client = good.client_data.clone();
        let other = Passkey::new("evil.example", ORIGIN);
        let elsewhere = other.authenticator_data(0);
        let spoiled = [
            ("challenge", honest.sign(b"another challenge")),
            (
                "ceremony",
                honest.seal(honest.authenticator_data(0), created.into()),
            ),
            ("verification", honest.seal(unverified, client.clone())),
            ("relying party", honest.seal(elsewhere, client)),
            (
                "somebody else's signature",
                Passkey::new(RP, ORIGIN).sign(CHALLENGE),
            ),
            (
                "first byte of the signature",
                with(|it| it.signature[0] ^= 1),
            ),
            (
                "last byte of the signature",
                with(|it| *it.signature.last_mut().unwrap() ^= 1),
            ),
            ("longer signature", with(|it| it.signature.push(0))),
            ("no signature", with(|it| it.signature.clear())),
            ("counter", with(|it| it.authenticator_data[36] ^= 1)),
            ("client data", with(|it| it.client_data.push(b' '))),
            ("cut off", with(|it| it.authenticator_data.truncate(36))),
        ];
        let key = Key::from_jwk(&honest.jwk()).unwrap();
        let cases: Vec<Value> = spoiled
            .iter()
            .map(|(_, it)| of_assertion(&honest, it))
            .collect();
        for ((name, assertion), said) in spoiled.iter().zip(theirs(&cases)) {
            assert_eq!(said["ok"], false, "{name}: {said}");
            assert!(check(assertion, &key, &EXPECTED).is_err(), "{name}");
        }
    }
    let page = Passkey::new(RP, ORIGIN).on("https://evil.example");
    let assertion = page.sign(CHALLENGE);
    assert_eq!(theirs(&[of_assertion(&page, &assertion)])[0]["ok"], false);
    let key = Key::from_jwk(&page.jwk()).unwrap();
    assert!(check(&assertion, &key, &EXPECTED).is_err());
}
