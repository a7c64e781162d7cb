//! Project Wycheproof's signatures through our provider, as a token's signature would go: what is invalid never
//! verifies, what is valid does, and a key or an encoding that we do not take verifies nothing.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{Algorithm, install};
use crate::authenticate::keys::Key;

/// What became of a set.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    verified: usize,
    refused: usize,
    /// Vectors under keys that no JWK of ours holds.
    no_key: usize,
}

impl Tally {
    /// One vector: whatever must fail fails, and what is valid verifies if `valid` ones are to.
    fn count(
        &mut self,
        key: Option<&Key>,
        (message, signature): (&[u8], &[u8]),
        vector: Vector<'_>,
    ) {
        let Some(key) = key else {
            self.no_key += 1;
            return;
        };
        let verified = verifies(key, message, signature);
        // Under other parameters than ours "invalid" says nothing about ours.
        let fails = vector.wanted && vector.result.must_fail();
        assert!(!(verified && fails), "{} {}", vector.id, vector.comment);
        if *vector.result == TestResult::Valid {
            assert_eq!(verified, vector.wanted, "{} {}", vector.id, vector.comment);
        }
        match verified {
            true => self.verified += 1,
            false => self.refused += 1,
        }
    }
}

struct Vector<'a> {
    id: usize,
    comment: &'a str,
    result: &'a TestResult,
    /// Whether the valid ones are valid for us.
    wanted: bool,
}

fn verifies(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let signature = BASE64URL_NOPAD.encode(signature);
    let algorithm = key.algorithm().in_library();
    jsonwebtoken::crypto::verify(&signature, message, key.decoding(), algorithm).unwrap_or(false)
}

fn key(jwk: &Value, algorithm: Algorithm) -> Option<Key> {
    Key::public(jwk.as_object()?, Some(algorithm))
}

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Runs every group of a set; `$jwk` makes the key of a group.
macro_rules! run {
    ($module:ident :: $name:ident, $algorithm:expr, $wanted:expr, $jwk:expr) => {{
        install().unwrap();
        let set = $module::TestSet::load($module::TestName::$name).unwrap();
        let mut tally = Tally::default();
        for group in &set.test_groups {
            let jwk: Option<Value> = $jwk(&group.key);
            let key = jwk.and_then(|jwk| key(&jwk, $algorithm));
            for test in &group.tests {
                let vector = Vector {
                    id: test.tc_id,
                    comment: &test.comment,
                    result: &test.result,
                    wanted: $wanted,
                };
                tally.count(key.as_ref(), (&test.msg, &test.sig), vector);
            }
        }
        tally
    }};
}

/// The JWK of an uncompressed point.
fn point(curve: &str, key: &[u8]) -> Option<Value> {
    let (x, y) = key.get(1..)?.split_at(key.len() / 2);
    Some(json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) }))
}

fn p256(key: &wycheproof::EcdsaPublic) -> Option<Value> {
    point("P-256", &key.key)
}

fn p384(key: &wycheproof::EcdsaPublic) -> Option<Value> {
    point("P-384", &key.key)
}

fn rsa(key: &wycheproof::RsaPublic) -> Option<Value> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        text(&bytes[zeros..])
    };
    Some(json!({ "kty": "RSA", "n": number(&key.n), "e": number(&key.e) }))
}

/// Most keys were taken (an RSA key with an exponent of 3 is not), and something verified as well as failed.
fn check(tally: &Tally) {
    assert!(
        tally.no_key <= 2 && tally.verified > 0 && tally.refused > 0,
        "{tally:?}"
    );
}

/// Nothing that is valid under other parameters verified. Such a set has one vector at most that is wrong there because
/// it was made with ours.
fn check_foreign(tally: &Tally) {
    assert!(tally.verified <= 1 && tally.refused > 0, "{tally:?}");
}

/// Nothing verified.
fn check_none(tally: &Tally) {
    assert!(
        tally.verified == 0 && tally.refused + tally.no_key > 0,
        "{tally:?}"
    );
}

#[test]
fn ecdsa_signatures_of_two_numbers() {
    check(&run!(
        ecdsa::EcdsaSecp256r1Sha256P1363,
        Algorithm::Es256,
        true,
        p256
    ));
    check(&run!(
        ecdsa::EcdsaSecp384r1Sha384P1363,
        Algorithm::Es384,
        true,
        p384
    ));
}

#[test]
fn ecdsa_signatures_in_der_are_none() {
    check_none(&run!(
        ecdsa::EcdsaSecp256r1Sha256,
        Algorithm::Es256,
        false,
        p256
    ));
    check_none(&run!(
        ecdsa::EcdsaSecp384r1Sha384,
        Algorithm::Es384,
        false,
        p384
    ));
}

#[test]
fn ecdsa_under_another_hash_or_curve_is_none() {
    check_none(&run!(
        ecdsa::EcdsaSecp256r1Sha512P1363,
        Algorithm::Es256,
        false,
        p256
    ));
    check_none(&run!(
        ecdsa::EcdsaSecp256k1Sha256P1363,
        Algorithm::Es256,
        false,
        p256
    ));
    check_none(&run!(
        ecdsa::EcdsaSecp521r1Sha512P1363,
        Algorithm::Es384,
        false,
        p384
    ));
}

#[test]
fn ed25519_signatures() {
    let jwk = |key: &wycheproof::EddsaPublic| {
        Some(json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&key.pk) }))
    };
    check(&run!(eddsa::Ed25519, Algorithm::EdDsa, true, jwk));
    check_none(&run!(eddsa::Ed448, Algorithm::EdDsa, false, jwk));
}

#[test]
fn rsa_signatures_of_pkcs1() {
    use rsa_pkcs1_verify as pkcs1;
    check(&run!(pkcs1::Rsa2048Sha256, Algorithm::Rs256, true, rsa));
    check(&run!(pkcs1::Rsa3072Sha256, Algorithm::Rs256, true, rsa));
    check(&run!(pkcs1::Rsa4096Sha256, Algorithm::Rs256, true, rsa));
    // Another hash, and a key longer than we take.
    check_foreign(&run!(pkcs1::Rsa2048Sha512, Algorithm::Rs256, false, rsa));
    check_none(&run!(pkcs1::Rsa8192Sha256, Algorithm::Rs256, false, rsa));
}

#[test]
fn rsa_signatures_of_pss() {
    use rsa_pss_verify as pss;
    check(&run!(
        pss::RsaPss2048Sha256Mgf1SaltLen32,
        Algorithm::Ps256,
        true,
        rsa
    ));
    check(&run!(
        pss::RsaPss3072Sha256Mgf1SaltLen32,
        Algorithm::Ps256,
        true,
        rsa
    ));
    check(&run!(
        pss::RsaPss4096Sha256Mgf1SaltLen32,
        Algorithm::Ps256,
        true,
        rsa
    ));
    // Another salt (RFC 7518 §3.5 wants that of the hash), another mask, another hash.
    check_foreign(&run!(
        pss::RsaPss2048Sha256Mgf1SaltLen0,
        Algorithm::Ps256,
        false,
        rsa
    ));
    check_foreign(&run!(
        pss::RsaPss2048Sha256Mgf1Sha1_20,
        Algorithm::Ps256,
        false,
        rsa
    ));
    check_foreign(&run!(
        pss::RsaPss4096Sha512Mgf1SaltLen32,
        Algorithm::Ps256,
        false,
        rsa
    ));
    // And no PSS signature is one of PKCS #1, but the one that says so.
    check_foreign(&run!(
        pss::RsaPss2048Sha256Mgf1SaltLen32,
        Algorithm::Rs256,
        false,
        rsa
    ));
}
