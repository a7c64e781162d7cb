//! Public keys in their two public forms, SubjectPublicKeyInfo and JWK, and the RFC 7638 thumbprint.
//!
//! Each kind of elliptic-curve key has exactly one DER encoding as an SPKI: a fixed prefix, then the
//! key. Comparing that prefix is the strictest parser there is. RSA keys are read only where they
//! are our own (RS256).

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use der::{
    Decode, Encode, Sequence,
    asn1::{BitStringRef, UintRef},
    oid::ObjectIdentifier,
};
use ring::digest::{SHA256, digest};

/// A public key of a kind we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// 32 bytes (RFC 8032).
    Ed25519([u8; 32]),
    /// Uncompressed point: `04 ‖ x ‖ y`.
    P256([u8; 65]),
    /// Uncompressed point: `04 ‖ x ‖ y`.
    P384([u8; 97]),
    /// Modulus and exponent, big-endian without leading zeros, and both as DER of RSAPublicKey.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        pkcs1: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads exactly one SPKI in DER; `None` for every other kind of key and every other encoding.
    /// Does not say whether a point lies on its curve.
    pub(crate) fn from_spki(spki: &[u8]) -> Option<PublicKey> {
        if let Some(key) = spki.strip_prefix(&ED25519_PREFIX) {
            return key.try_into().ok().map(PublicKey::Ed25519);
        }
        if let Some(point) = spki.strip_prefix(&P256_PREFIX) {
            let point: [u8; 65] = point.try_into().ok()?;
            return (point.first() == Some(&UNCOMPRESSED)).then_some(PublicKey::P256(point));
        }
        if let Some(point) = spki.strip_prefix(&P384_PREFIX) {
            let point: [u8; 97] = point.try_into().ok()?;
            return (point.first() == Some(&UNCOMPRESSED)).then_some(PublicKey::P384(point));
        }
        from_rsa(spki)
    }

    /// Reads the public members of a JWK (RFC 7517, RFC 8037): P-256, P-384 or Ed25519, and no
    /// private member. `None` for anything else.
    pub(crate) fn from_jwk(jwk: &serde_json::Value) -> Option<PublicKey> {
        let text = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        if jwk.get("d").is_some() {
            return None;
        }
        match (text("kty")?, text("crv")?) {
            ("EC", "P-256") => point(bytes("x")?, bytes("y")?).map(PublicKey::P256),
            ("EC", "P-384") => point(bytes("x")?, bytes("y")?).map(PublicKey::P384),
            ("OKP", "Ed25519") => bytes("x")?.try_into().ok().map(PublicKey::Ed25519),
            _ => None,
        }
    }

    /// The key as DER of a SubjectPublicKeyInfo. An RSA key is never built from its parts.
    pub(crate) fn to_spki(&self) -> Option<Vec<u8>> {
        match self {
            PublicKey::Ed25519(key) => Some([&ED25519_PREFIX[..], key].concat()),
            PublicKey::P256(point) => Some([&P256_PREFIX[..], point].concat()),
            PublicKey::P384(point) => Some([&P384_PREFIX[..], point].concat()),
            PublicKey::Rsa { .. } => None,
        }
    }

    /// The subjectPublicKey BIT STRING's bytes, without the count of unused bits.
    pub(crate) fn bits(&self) -> &[u8] {
        match self {
            PublicKey::Ed25519(key) => key,
            PublicKey::P256(point) => point,
            PublicKey::P384(point) => point,
            PublicKey::Rsa { pkcs1, .. } => pkcs1,
        }
    }

    /// The members RFC 7638 §3.2 and RFC 8037 §2 require, in lexicographic order.
    pub(crate) fn members(&self) -> BTreeMap<&'static str, String> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let curve = |name: &str, point: &[u8]| {
            let (x, y) = point
                .get(1..)
                .and_then(|both| both.split_at_checked(both.len() / 2))
                .unwrap_or_default();
            BTreeMap::from([
                ("crv", name.to_owned()),
                ("kty", "EC".to_owned()),
                ("x", text(x)),
                ("y", text(y)),
            ])
        };
        match self {
            PublicKey::Ed25519(key) => BTreeMap::from([
                ("crv", "Ed25519".to_owned()),
                ("kty", "OKP".to_owned()),
                ("x", text(key)),
            ]),
            PublicKey::P256(point) => curve("P-256", point),
            PublicKey::P384(point) => curve("P-384", point),
            PublicKey::Rsa { n, e, .. } => {
                BTreeMap::from([("e", text(e)), ("kty", "RSA".to_owned()), ("n", text(n))])
            }
        }
    }

    /// The SHA-256 JWK thumbprint (RFC 7638).
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        // Values are base64url or fixed words, so the canonical JSON needs no escapes.
        let members: Vec<String> = self
            .members()
            .iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        sha256(format!("{{{}}}", members.join(",")).as_bytes())
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Leftmost 160 bits of SHA-256 of the key bits (RFC 7093 §2, method 1).
pub(crate) fn key_identifier(key: &PublicKey) -> [u8; 20] {
    let mut identifier = [0; 20];
    for (to, from) in identifier.iter_mut().zip(sha256(key.bits())) {
        *to = from;
    }
    identifier
}

fn point<const N: usize>(x: Vec<u8>, y: Vec<u8>) -> Option<[u8; N]> {
    if x.len() != y.len() {
        return None;
    }
    [vec![UNCOMPRESSED], x, y].concat().try_into().ok()
}

fn from_rsa(spki: &[u8]) -> Option<PublicKey> {
    let spki = RsaSpki::from_der(spki).ok()?;
    if spki.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    let pkcs1 = spki.key.as_bytes()?;
    let key = RsaPublicKey::from_der(pkcs1).ok()?;
    Some(PublicKey::Rsa {
        n: key.modulus.as_bytes().to_vec(),
        e: key.exponent.as_bytes().to_vec(),
        pkcs1: pkcs1.to_vec(),
    })
}

/// The SPKI of an RSA key given as DER of RSAPublicKey (RFC 8017 §A.1.1).
pub(crate) fn rsa_spki(pkcs1: &[u8]) -> der::Result<Vec<u8>> {
    RsaSpki {
        algorithm: RsaAlgorithm {
            oid: RSA_ENCRYPTION,
            parameters: der::asn1::Null,
        },
        key: BitStringRef::from_bytes(pkcs1)?,
    }
    .to_der()
}

#[derive(Sequence)]
struct RsaSpki<'a> {
    algorithm: RsaAlgorithm,
    key: BitStringRef<'a>,
}

#[derive(Sequence)]
struct RsaAlgorithm {
    oid: ObjectIdentifier,
    parameters: der::asn1::Null,
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// SEC 1 §2.3.3: the point that follows is not compressed.
const UNCOMPRESSED: u8 = 0x04;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING } up to the key (RFC 8410 §4).
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING } up to the point (RFC 5480 §2).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// SEQUENCE { SEQUENCE { id-ecPublicKey, secp384r1 }, BIT STRING } up to the point (RFC 5480 §2).
const P384_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::json;

    use super::{PublicKey, rsa_spki};

    #[test]
    fn the_thumbprint_is_that_of_rfc_9449() {
        let jwk = json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        let key = PublicKey::from_jwk(&jwk).unwrap();
        assert_eq!(
            BASE64URL_NOPAD.encode(&key.thumbprint()),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        assert_eq!(PublicKey::from_spki(&key.to_spki().unwrap()), Some(key));
    }

    #[test]
    fn the_thumbprint_of_an_rsa_key_is_that_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::Rsa {
            n: BASE64URL_NOPAD.decode(n.as_bytes()).unwrap(),
            e: vec![1, 0, 1],
            pkcs1: Vec::new(),
        };
        assert_eq!(
            BASE64URL_NOPAD.encode(&key.thumbprint()),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn an_rsa_key_reads_back() {
        // SEQUENCE { INTEGER 0x0082, INTEGER 65537 }: form only.
        let pkcs1 = [
            0x30, 0x09, 0x02, 0x02, 0x00, 0x82, 0x02, 0x03, 0x01, 0x00, 0x01,
        ];
        let key = PublicKey::from_spki(&rsa_spki(&pkcs1).unwrap()).unwrap();
        assert_eq!(
            key,
            PublicKey::Rsa {
                n: vec![0x82],
                e: vec![1, 0, 1],
                pkcs1: pkcs1.to_vec()
            }
        );
    }

    #[test]
    fn other_encodings_of_a_key_are_no_keys() {
        let spki = PublicKey::P256([4; 65]).to_spki().unwrap();
        let mut compressed = spki.clone();
        compressed[26] = 2;
        assert_eq!(PublicKey::from_spki(&compressed), None);
        assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
        assert_eq!(PublicKey::from_spki(&spki[..90]), None);
        assert_eq!(
            PublicKey::from_jwk(&json!({"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"})),
            None
        );
    }
}
