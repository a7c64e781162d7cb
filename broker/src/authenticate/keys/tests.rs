//! Keys of issuers: which count, and which do not.

use serde_json::json;

use super::*;

const X: &str = "e97JB4fNC7G311ZPGyPlYBJ3a-URLjAi7IV1YEBz-MY";
const Y: &str = "_Ts9hUpqsLVzfUfw1nBhIq_rWV52WkeHnXmjE9mbG94";

fn ec(kid: &str) -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": kid})
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn ed(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "DlHGpxaYOB3tUsazCjEdPcbUJfgHyMZ7p2VlnWV2vFI", "kid": kid})
}

fn rsa(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": BASE64URL_NOPAD.encode(n), "e": BASE64URL_NOPAD.encode(e), "kid": "r"})
}

fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
    let json = json!({ "keys": keys }).to_string();
    KeySet::parse(json.as_bytes(), KeyUse::Signature)
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let check = |jwk: Value, expected: &str| {
        let key = Key::public(jwk.as_object().unwrap(), None).unwrap();
        assert_eq!(BASE64URL_NOPAD.encode(&key.thumbprint()), expected);
    };
    // RFC 9449 §6.1, RFC 8037 A.3.
    check(
        json!({"kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    );
    check(
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    );
}

#[test]
fn skips_keys_that_cannot_be_used_and_keeps_the_good_one() {
    let n = [0xff; 256];
    for bad in [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "b", "alg": "HS256"}),
        with(ec("b"), "d", json!("AQ")),
        with(ec("b"), "use", json!("enc")),
        with(ec("b"), "key_ops", json!(["sign"])),
        with(ec("b"), "alg", json!("ES384")),
        with(ec("b"), "alg", json!("HS256")),
        with(ec("b"), "alg", json!(1)),
        with(ec("b"), "crv", json!("P-521")),
        with(ec("b"), "crv", json!("P-384")),
        with(ec("b"), "x", json!(Y)),
        with(ec("b"), "x", json!(format!("{X}="))),
        with(ec("b"), "kid", json!("")),
        with(ec("b"), "kid", json!(7)),
        with(ed("b"), "crv", json!("X25519")),
        rsa(&[0xff; 128], &[1, 0, 1]),
        rsa(&n[..255], &[1, 0, 1]),
        rsa(&[&[0x7f], &n[1..]].concat(), &[1, 0, 1]),
        rsa(&[&[0], &n[..]].concat(), &[1, 0, 1]),
        rsa(&n, &[3]),
        rsa(&n, &[0, 1, 0, 1]),
        json!("not an object"),
    ] {
        let set = parse(&[bad.clone(), ed("good")]).unwrap();
        assert_eq!((set.len(), set.get("good").is_some()), (1, true), "{bad}");
        assert!(
            matches!(parse(std::slice::from_ref(&bad)), Err(KeySetError::NoKeys)),
            "{bad}"
        );
    }
    assert_eq!(
        parse(&[rsa(&n, &[1, 0, 1])])
            .unwrap()
            .get("r")
            .unwrap()
            .algorithm(),
        Algorithm::Rs256
    );
}

#[test]
fn two_materials_under_one_kid_void_it() {
    let set = parse(&[ec("a"), ed("a"), ec("a"), ed("b")]).unwrap();
    assert_eq!(
        (set.get("a").is_none(), set.get("b").is_some()),
        (true, true)
    );
    assert!(
        parse(&[ec("a"), ec("a")]).unwrap().get("a").is_some(),
        "one key given twice is one key"
    );
    assert!(
        parse(&[ec("a"), with(ec("a"), "alg", json!("ES256"))])
            .unwrap()
            .get("a")
            .is_some()
    );
}

#[test]
fn a_set_has_at_most_64_keys() {
    let keys = |n: usize| (0..n).map(|i| ed(&format!("k{i}"))).collect::<Vec<_>>();
    assert_eq!(parse(&keys(64)).unwrap().len(), 64);
    assert!(matches!(parse(&keys(65)), Err(KeySetError::TooMany(65))));
    assert!(matches!(
        KeySet::parse(br#"{"keys":[],"keys":[]}"#, KeyUse::Signature),
        Err(KeySetError::Unreadable(_))
    ));
}

#[test]
fn a_set_reads_back_as_what_it_was_written_as() {
    let pss = with(rsa(&[0xff; 256], &[1, 0, 1]), "alg", json!("PS256"));
    let set = parse(&[ec("b"), pss, ed("a")]).unwrap();
    let written: Vec<_> = set.jwks().into_iter().map(|(_, jwk)| jwk.into()).collect();
    let again = parse(&written).unwrap();
    assert_eq!((again.len(), again.digest()), (3, set.digest()));
    assert_eq!(again.get("r").unwrap().algorithm(), Algorithm::Ps256);
    let other = parse(&[ec("other"), ed("a")]).unwrap();
    assert_ne!(other.digest(), set.digest());
    let renamed = parse(&[ec("x"), ed("y")]).unwrap();
    assert_eq!(renamed.digest(), other.digest(), "names are not keys");
}

#[test]
fn a_bundle_gives_its_jwt_svid_keys_and_no_others() {
    let bundle = json!({ "spiffe_sequence": 3, "spiffe_refresh_hint": 300, "keys": [
        with(ec("a"), "use", json!("jwt-svid")),
        with(ec("b"), "use", json!("x509-svid")),
        with(ec("c"), "use", json!("sig")),
        ec("d"),
    ]});
    let parse =
        |bundle: &Value| KeySet::parse(bundle.to_string().as_bytes(), KeyUse::JwtSvid).unwrap();
    let set = parse(&bundle);
    assert_eq!((set.len(), set.get("a").is_some()), (1, true));
    let revoked = with(bundle, "keys", json!([]));
    assert_eq!(parse(&revoked).len(), 0, "an empty bundle is an answer");
}

#[test]
fn an_rsa_key_may_be_bound_to_pss() {
    let jwk = with(rsa(&[0xff; 256], &[1, 0, 1]), "alg", json!("PS256"));
    assert_eq!(
        parse(&[jwk]).unwrap().get("r").unwrap().algorithm(),
        Algorithm::Ps256
    );
}
