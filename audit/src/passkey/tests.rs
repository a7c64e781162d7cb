use serde_json::{Value, json};

use super::{
    ATTESTED, Assertion, BACKED_UP, BACKUP_ELIGIBLE, EXTENDED, Expected, Key, MAX_PART,
    PasskeyError, challenge, check, enrol, host,
};
use crate::harness::passkey::{AAGUID, Passkey};

const RP: &str = "stint.example";
const ORIGIN: &str = "https://stint.example:8443";
const CHALLENGE: &[u8] = b"a challenge of thirty-two bytes!";

const EXPECTED: Expected<'static> = Expected {
    rp: RP,
    origin: ORIGIN,
    challenge: CHALLENGE,
};

fn passkey() -> Passkey {
    Passkey::new(RP, ORIGIN)
}

fn key(passkey: &Passkey) -> Key {
    Key::from_jwk(&passkey.jwk()).unwrap()
}

#[test]
fn takes_what_an_authenticator_makes_of_each_algorithm() {
    for passkey in [
        passkey(),
        Passkey::ed25519(RP, ORIGIN),
        Passkey::rs256(RP, ORIGIN),
    ] {
        let (credential, data, client) = passkey.enrol(CHALLENGE);
        let enrolled = enrol(&data, &client, &EXPECTED).unwrap();
        assert_eq!(enrolled.credential, credential);
        assert_eq!(enrolled.credential, passkey.credential());
        assert_eq!(enrolled.key.jwk(), passkey.jwk());
        assert_eq!(
            (enrolled.aaguid, enrolled.count, enrolled.backed_up),
            (AAGUID, 1, false)
        );
        assert_eq!(
            check(&passkey.sign(CHALLENGE), &enrolled.key, &EXPECTED),
            Ok(2)
        );
        passkey.wind(0);
        assert_eq!(
            check(&passkey.sign(CHALLENGE), &enrolled.key, &EXPECTED),
            Ok(1)
        );
    }
}

#[track_caller]
fn refuses(passkey: &Passkey, assertion: &Assertion, why: PasskeyError) {
    assert_eq!(check(assertion, &key(passkey), &EXPECTED), Err(why));
}

/// An assertion whose client data is `spoil`ed before it is signed.
fn said(passkey: &Passkey, spoil: impl FnOnce(&mut Value)) -> Assertion {
    let mut client = passkey.client_data("webauthn.get", CHALLENGE);
    spoil(&mut client);
    wrote(passkey, client.to_string())
}

fn wrote(passkey: &Passkey, client: impl Into<Vec<u8>>) -> Assertion {
    passkey.seal(passkey.authenticator_data(0), client.into())
}

#[test]
fn refuses_what_was_signed_elsewhere_or_for_something_else() {
    let it = passkey();
    refuses(&it, &it.sign(b"another challenge"), PasskeyError::Challenge);
    refuses(
        &it,
        &said(&it, |c| c["type"] = json!("webauthn.create")),
        PasskeyError::Type,
    );
    refuses(
        &it,
        &said(&it, |c| c["crossOrigin"] = json!(true)),
        PasskeyError::CrossOrigin,
    );
    refuses(
        &it,
        &said(&it, |c| c["topOrigin"] = json!(ORIGIN)),
        PasskeyError::TopOrigin,
    );
    for other in [
        "https://stint.example",
        "http://stint.example:8443",
        "https://stint.example:8443/",
        "https://STINT.example:8443",
        "https://evil.example",
    ] {
        let it = passkey().on(other);
        refuses(&it, &it.sign(CHALLENGE), PasskeyError::Origin);
    }
    let it = Passkey::new("evil.example", ORIGIN);
    refuses(&it, &it.sign(CHALLENGE), PasskeyError::Rp);
    let it = passkey().absent();
    refuses(&it, &it.sign(CHALLENGE), PasskeyError::UserPresence);
    let it = passkey().unverified();
    refuses(&it, &it.sign(CHALLENGE), PasskeyError::UserVerification);
}

#[test]
fn refuses_client_data_with_two_readings_or_none() {
    let it = passkey();
    let good = it.client_data("webauthn.get", CHALLENGE).to_string();
    let inner = good.trim_start_matches('{');
    for spoilt in [
        format!(r#"{{"type":"webauthn.get",{inner}"#),
        format!(r#"{{"typ\u0065":"webauthn.get",{inner}"#),
        format!(r#"{{"new":{{"a":1,"a":1}},{inner}"#),
        format!(r#"{{"new":1,"new":1,{inner}"#),
        format!("{good} {good}"),
        format!("\u{feff}{good}"),
        format!("[{good}]"),
        good.replace("\"crossOrigin\":false", "\"crossOrigin\":\"false\""),
        good.replace("\"crossOrigin\":false", "\"crossOrigin\":null"),
        good.replace("\"crossOrigin\":false", "\"crossOrigin\":0"),
        good.replace("\"crossOrigin\":false", "\"crossOrigin\":\"\""),
        good.replace("\"origin\"", "\"Origin\""),
        good.replace("\"webauthn.get\"", "1"),
        format!("{good}{}", " ".repeat(MAX_PART)),
        "null".to_owned(),
        String::new(),
    ] {
        refuses(&it, &wrote(&it, spoilt), PasskeyError::ClientData);
    }
    for fine in [
        format!(r#"{{"other_keys_can_be_added_here":"do not compare","new":[1.5,null],{inner}"#),
        good.replace("\"crossOrigin\":false,", "")
            .replace(",\"crossOrigin\":false", ""),
        format!(" {good}\n"),
    ] {
        assert!(check(&wrote(&it, fine), &key(&it), &EXPECTED).is_ok());
    }
    // The same challenge in another spelling is another.
    for twin in ["=", "A"] {
        let spoilt = said(&it, |c| {
            c["challenge"] = json!(format!("{}{twin}", c["challenge"].as_str().unwrap()));
        });
        refuses(&it, &spoilt, PasskeyError::Challenge);
    }
}

#[test]
fn refuses_authenticator_data_that_is_not_what_its_flags_say() {
    let it = passkey();
    let client = || {
        let client = it.client_data("webauthn.get", CHALLENGE);
        client.to_string().into_bytes()
    };
    let with = |flags: u8, behind: &[u8]| {
        let data = [it.authenticator_data(flags).as_slice(), behind].concat();
        it.seal(data, client())
    };
    let form = PasskeyError::AuthenticatorData;
    refuses(&it, &with(0, b"\xa0"), form);
    refuses(&it, &with(ATTESTED, b""), form);
    for short in [0, 31, 32, 33, 36] {
        let data = it.authenticator_data(0);
        refuses(&it, &it.seal(data[..short].to_vec(), client()), form);
    }
    refuses(&it, &with(BACKED_UP, b""), PasskeyError::Backup);
    assert!(
        check(
            &with(BACKED_UP | BACKUP_ELIGIBLE, b""),
            &key(&it),
            &EXPECTED
        )
        .is_ok()
    );
    for good in [
        b"\xa0".as_slice(),
        b"\xa1\x63abc\x81\xa1\x01\xf5",
        b"\xa1\x61a\xfb\x3f\xf0\0\0\0\0\0\0",
    ] {
        assert!(check(&with(EXTENDED, good), &key(&it), &EXPECTED).is_ok());
    }
    for bad in [
        b"".as_slice(),
        b"\x80",                                         // no map
        b"\xa0\xa0",                                     // something behind
        b"\xa1\x61a",                                    // a value is missing
        b"\xbf\xff",                                     // indefinite
        b"\xa1\x61\xff\xf5",                             // not UTF-8
        b"\xc0\xa0",                                     // a tag
        b"\xa1\x01\xc0\x01",                             // a tag inside
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",         // too many to count
        b"\xa1\x01\x5b\xff\xff\xff\xff\xff\xff\xff\xff", // too long to be
        b"\xa1\x01\xa1\x01\xa1\x01\xa1\x01\xa0",         // too deep
    ] {
        refuses(&it, &with(EXTENDED, bad), PasskeyError::Extensions);
    }
    let long = [b"\xa1\x01\x59\x10\x00", [0; MAX_PART].as_slice()].concat();
    refuses(&it, &with(EXTENDED, &long), form);
}

#[test]
fn refuses_every_bent_signature() {
    for it in [
        passkey(),
        Passkey::ed25519(RP, ORIGIN),
        Passkey::rs256(RP, ORIGIN),
    ] {
        let good = it.sign(CHALLENGE);
        for at in 0..good.signature.len() {
            let mut bent = good.clone();
            bent.signature[at] ^= 1;
            refuses(&it, &bent, PasskeyError::Signature);
        }
        let mut longer = good.clone();
        longer.signature.push(0);
        refuses(&it, &longer, PasskeyError::Signature);
        let mut counted = good.clone();
        counted.authenticator_data[36] ^= 1;
        refuses(&it, &counted, PasskeyError::Signature);
        let mut spaced = good.clone();
        spaced.client_data.push(b' ');
        refuses(&it, &spaced, PasskeyError::Signature);
        refuses(&passkey(), &good, PasskeyError::Signature);
    }
    // r ‖ s is how JOSE writes it, not WebAuthn.
    let it = passkey();
    let mut raw = it.sign(CHALLENGE);
    raw.signature = vec![1; 64];
    refuses(&it, &raw, PasskeyError::Signature);
}

#[track_caller]
fn never(data: &[u8], client: &[u8], why: PasskeyError) {
    assert_eq!(enrol(data, client, &EXPECTED).err(), Some(why));
}

#[test]
fn refuses_enrolments_in_another_form() {
    let it = passkey();
    let (_, data, client) = it.enrol(CHALLENGE);
    let form = PasskeyError::AuthenticatorData;
    // 37 bytes, 16 of the model, 2 of the length, 32 of the id, 77 of the key.
    assert_eq!(data.len(), 164);
    never(&data, &it.sign(CHALLENGE).client_data, PasskeyError::Type);
    never(&it.authenticator_data(0), &client, PasskeyError::NoKey);
    for short in [40, 54, 60] {
        never(&data[..short], &client, form);
    }
    never(&[&data[..], b"\xa0"].concat(), &client, form);
    let mut extended = data.clone();
    extended[32] |= EXTENDED;
    never(&extended, &client, PasskeyError::Extensions);
    extended.push(0xa0);
    assert!(enrol(&extended, &client, &EXPECTED).is_ok());
    let mut empty = data.clone();
    empty[54] = 0;
    never(&empty, &client, PasskeyError::Credential);
    empty[53..55].copy_from_slice(&1_024_u16.to_be_bytes());
    never(&empty, &client, PasskeyError::Credential);
    for lie in [passkey().unverified(), passkey().absent()] {
        let (_, data, client) = lie.enrol(CHALLENGE);
        let error = enrol(&data, &client, &EXPECTED).unwrap_err();
        assert!(matches!(
            error,
            PasskeyError::UserVerification | PasskeyError::UserPresence
        ));
    }
    let (_, data, client) = it.enrol(b"another");
    never(&data, &client, PasskeyError::Challenge);
}

#[test]
fn refuses_keys_in_another_encoding() {
    for it in [
        passkey(),
        Passkey::ed25519(RP, ORIGIN),
        Passkey::rs256(RP, ORIGIN),
    ] {
        let (_, data, client) = it.enrol(CHALLENGE);
        let (before, cose) = data.split_at(87);
        let with = |cose: &[u8]| [before, cose].concat();
        assert_eq!(cose, it.cose());
        for short in 0..cose.len() {
            never(&with(&cose[..short]), &client, PasskeyError::CoseKey);
        }
        // Any other head is another algorithm, another curve, or another encoding of the same.
        for at in 0..10 {
            for bit in 0..8 {
                let mut bent = cose.to_vec();
                bent[at] ^= 1 << bit;
                never(&with(&bent), &client, PasskeyError::CoseKey);
            }
        }
    }
    // The same map in another order, and with a longer head.
    let it = passkey();
    let (_, data, client) = it.enrol(CHALLENGE);
    let cose = it.cose();
    let swapped = [&cose[..1], &cose[3..5], &cose[1..3], &cose[5..]].concat();
    let longer = [b"\xb8\x05", &cose[1..]].concat();
    for bad in [swapped, longer] {
        never(
            &[&data[..87], &bad].concat(),
            &client,
            PasskeyError::CoseKey,
        );
    }
}

#[test]
fn rsa_keys_are_odd_and_of_2048_to_4096_bits() {
    let n = |length: usize, first: u8, last: u8| {
        let mut n = vec![0x55; length];
        n[0] = first;
        n[length - 1] = last;
        Key::rs256(&n).is_some()
    };
    assert!(n(256, 0x80, 1) && n(257, 1, 1) && n(512, 0xff, 3));
    assert!(!n(256, 0x7f, 1) && !n(257, 0, 1) && !n(513, 1, 1) && !n(256, 0x80, 2));
    assert!(Key::rs256(&[]).is_none());
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
    let okp =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for (jwk, thumbprint) in [
        (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"), // RFC 7638 §3.1
        (okp, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"), // RFC 8037 §A.3
    ] {
        let key = Key::from_jwk(&jwk).unwrap();
        assert_eq!(key.thumbprint().to_string(), thumbprint);
        assert_eq!(format!("{key:?}"), format!("Key({thumbprint})"));
    }
}

#[test]
fn a_jwk_has_its_members_and_no_other() {
    for it in [
        passkey(),
        Passkey::ed25519(RP, ORIGIN),
        Passkey::rs256(RP, ORIGIN),
    ] {
        let good = it.jwk();
        assert_eq!(Key::from_jwk(&good).unwrap().jwk(), good);
        for name in good.as_object().unwrap().keys() {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(Key::from_jwk(&without), Err(PasskeyError::Jwk));
            let mut other = good.clone();
            other[name] = json!(format!("{}=", good[name].as_str().unwrap()));
            assert_eq!(Key::from_jwk(&other), Err(PasskeyError::Jwk));
        }
        let mut more = good.clone();
        more["alg"] = json!("ES256");
        assert_eq!(Key::from_jwk(&more), Err(PasskeyError::Jwk));
    }
    for none in [json!(null), json!([]), json!({}), json!({"kty": "oct"})] {
        assert_eq!(Key::from_jwk(&none), Err(PasskeyError::Jwk));
    }
}

#[test]
fn an_assertion_is_four_texts() {
    let good = passkey().sign(CHALLENGE);
    let text = serde_json::to_value(&good).unwrap();
    assert_eq!(text.as_object().unwrap().len(), 4);
    assert_eq!(
        serde_json::from_value::<Assertion>(text.clone()).unwrap(),
        good
    );
    for (name, value) in [
        ("more", json!("")),
        ("credential", json!("AA==")),
        ("credential", json!("AB")),
        ("signature", json!("+/")),
        ("client_data", json!(null)),
    ] {
        let mut bad = text.clone();
        bad[name] = value;
        assert!(serde_json::from_value::<Assertion>(bad).is_err(), "{name}");
    }
}

#[test]
fn a_vote_is_signed_over_its_facts_in_one_spelling() {
    let facts = json!({"v": 1, "vote": "yes", "shown": [["Lets", "deploy → prod"]]});
    let text = br#"{"shown":[["Lets","deploy "#;
    let preimage = [
        b"stint/vote/v1\n".as_slice(),
        &[7; 32],
        text,
        "→".as_bytes(),
        br#" prod"]],"v":1,"vote":"yes"}"#,
    ];
    let expected = crate::Digest::of(&preimage.concat());
    assert_eq!(challenge(&[7; 32], &facts), Ok(expected));
    assert_ne!(challenge(&[8; 32], &facts), Ok(expected));
    assert!(challenge(&[7; 32], &json!({"lasts_s": 1.5})).is_err());
}

#[test]
fn the_relying_party_is_the_host_of_the_origin() {
    for (origin, rp) in [
        ("https://stint.example", Some("stint.example")),
        ("https://stint.example:8443", Some("stint.example")),
        ("http://localhost:8640", Some("localhost")),
        ("https://", None),
        ("https://a:", None),
        ("https://a:b", None),
        ("https://a/", None),
        ("https://u@a", None),
        ("https://A", None),
        ("ftp://a", None),
        ("a", None),
    ] {
        assert_eq!(host(origin), rp, "{origin}");
    }
}
