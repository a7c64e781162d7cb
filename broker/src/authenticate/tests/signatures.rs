//! Signatures as a stranger may alter them, through the whole check of a token: form, entry, key, signature.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::idp::Signer;
use super::{NOW, build, present, roster};
use crate::authenticate::{Label, Refused, Roster};

/// A token of an ES256 key without `jti`, and who judges it.
fn token() -> (Roster, String) {
    let key = Signer::ec("k");
    let config = json!({"preset": "generic", "url": "https://idp.example", "audience": "https://stint.example/ci",
        "alg": ["ES256"], "single_tenant": true, "id": "{who}", "immutable": ["who"], "jwks": key.jwks(),
        "extra": {"who": {"claim": "who", "type": "id"}}});
    let claims = json!({"iss": "https://idp.example", "aud": "https://stint.example/ci", "who": "w1",
        "iat": NOW - 3, "exp": NOW + 297});
    let token = key.token(&claims);
    (roster(vec![build("generic", config).unwrap()]), token)
}

/// What becomes of a token whose 64 bytes of signature went through `change`: its replay key, or why not.
async fn judged(
    (roster, token): &(Roster, String),
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<[u8; 32], Label> {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = change(BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap());
    let token = format!("{input}.{}", BASE64URL_NOPAD.encode(&signature));
    match present(roster, token).await {
        Ok(caller) => Ok(caller.replay().unwrap().key),
        Err(Refused::Evidence { label, .. }) => Err(label),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_signature_that_was_altered_is_none() {
    let token = token();
    assert!(judged(&token, |whole| whole).await.is_ok());
    let half = |whole: &[u8], place: usize| whole[place * 32..(place + 1) * 32].to_vec();
    type Change = Box<dyn Fn(Vec<u8>) -> Vec<u8>>;
    let changes: [(&str, Change); 12] = [
        (
            "r is zero",
            Box::new(move |it| [vec![0; 32], half(&it, 1)].concat()),
        ),
        (
            "s is zero",
            Box::new(move |it| [half(&it, 0), vec![0; 32]].concat()),
        ),
        ("both are zero", Box::new(|_| vec![0; 64])),
        (
            "r is the order",
            Box::new(move |it| [ORDER.to_vec(), half(&it, 1)].concat()),
        ),
        (
            "s is the order",
            Box::new(move |it| [half(&it, 0), ORDER.to_vec()].concat()),
        ),
        ("both are one", Box::new(|_| [one(), one()].concat())),
        (
            "the halves changed places",
            Box::new(move |it| [half(&it, 1), half(&it, 0)].concat()),
        ),
        ("DER", Box::new(move |it| der(&half(&it, 0), &half(&it, 1)))),
        (
            "the length of P-384",
            Box::new(move |it| wide(&half(&it, 0), &half(&it, 1))),
        ),
        ("one byte short", Box::new(|it| it[..63].to_vec())),
        ("one byte more", Box::new(|it| [it, vec![0]].concat())),
        (
            "one bit turned",
            Box::new(|mut it| {
                it[40] ^= 4;
                it
            }),
        ),
    ];
    for (what, change) in changes {
        assert_eq!(
            judged(&token, change).await,
            Err(Label::Signature),
            "{what}"
        );
    }
}

#[tokio::test]
async fn the_other_signature_of_an_ecdsa_token_is_the_same_token() {
    // ECDSA has two for every message, s and n − s, and anybody makes the one of the other: so the replay key is made
    // of the `jti` or of what was signed, and never of the signature (IDENTITY.md §2.3).
    let token = token();
    let first = judged(&token, |whole| whole).await.unwrap();
    let second = judged(&token, |whole| {
        let (r, s) = whole.split_at(32);
        [r.to_vec(), minus(&ORDER, s)].concat()
    });
    assert_eq!(second.await.unwrap(), first);
}

/// n of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn one() -> Vec<u8> {
    [vec![0; 31], vec![1]].concat()
}

/// `a − b`, both big-endian, `a` the larger.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = vec![0; a.len()];
    let mut borrow = 0;
    for place in (0..a.len()).rev() {
        let digit = i16::from(a[place]) - i16::from(b[place]) - borrow;
        borrow = i16::from(digit < 0);
        out[place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    out
}

/// SEQUENCE of two INTEGERs.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[0x02, 33, 0], bytes].concat();
    let both = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat()
}

/// The same numbers in 48 bytes each.
fn wide(r: &[u8], s: &[u8]) -> Vec<u8> {
    [&[0; 16], r, &[0; 16], s].concat()
}
