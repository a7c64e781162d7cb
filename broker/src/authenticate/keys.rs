//! JSON Web Keys of issuers and of DPoP proofs: public, asymmetric, one algorithm each, fixed here (IDENTITY.md §2.5
//! *Keys*, SECURITY.md §2 rule 3). What cannot be used is skipped; what is ambiguous counts for nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use ring::agreement::{self, EphemeralPrivateKey};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use serde_json::{Map, Value};

use crate::authenticate::crypto::Algorithm;
use crate::strict::{self, Limits};

/// A public key that can check signatures of one algorithm.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
    thumbprint: [u8; 32],
    /// The required members of its JWK, in order (RFC 7638 §3.2): what the thumbprint is of.
    canonical: String,
}

impl Key {
    /// Reads a public JWK. `None` for a key that is symmetric, has a private part, an unusable size or curve, or does not
    /// fit `algorithm`. Whether a point lies on its curve is for [`KeySet`], and for the verification itself.
    ///
    /// `algorithm`: the one asked for; without it P-256 is ES256, P-384 ES384, Ed25519 EdDSA and RSA RS256.
    pub(super) fn public(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Option<Key> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return None;
        }
        let (natural, decoding, canonical) = match text(jwk, "kty")? {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk)?,
            "OKP" => edwards(jwk)?,
            _ => return None,
        };
        let algorithm = match (natural, algorithm) {
            (Algorithm::Rs256, Some(Algorithm::Ps256)) => Algorithm::Ps256,
            (natural, Some(wanted)) if natural != wanted => return None,
            (natural, _) => natural,
        };
        let thumbprint = sha256(canonical.as_bytes());
        Some(Key {
            algorithm,
            decoding,
            thumbprint,
            canonical,
        })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// RFC 7638, SHA-256.
    pub(super) fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// A JWK that stands in a set: for this use, with a `kid` (none, no key), on its curve.
    fn listed(jwk: &Map<String, Value>, wanted: KeyUse) -> Option<(String, Key)> {
        let kid = text(jwk, "kid").filter(|kid| is_kid(kid))?;
        let fits = match (jwk.get("use"), wanted) {
            (None, wanted) => wanted == KeyUse::Signature,
            (Some(said), KeyUse::JwtSvid) => said == "jwt-svid",
            (Some(said), KeyUse::Signature) => said == "sig",
        };
        if !fits {
            return None;
        }
        let verify = |ops: &Value| {
            ops.as_array()
                .is_some_and(|ops| ops.iter().any(|op| op == "verify"))
        };
        if jwk.get("key_ops").is_some_and(|ops| !verify(ops)) {
            return None;
        }
        let algorithm = match jwk.get("alg") {
            Some(name) => Some(Algorithm::parse(name.as_str()?)?),
            None => None,
        };
        let key = Key::public(jwk, algorithm).filter(Key::is_on_curve)?;
        Some((kid.to_owned(), key))
    }

    /// Asks ring to agree on a secret with the point, which it does for points on the curve only.
    fn is_on_curve(&self) -> bool {
        let curve = match self.algorithm {
            Algorithm::Es256 => &agreement::ECDH_P256,
            Algorithm::Es384 => &agreement::ECDH_P384,
            Algorithm::EdDsa | Algorithm::Ps256 | Algorithm::Rs256 => return true,
        };
        let Ok(point) = self.decoding.try_get_as_bytes() else {
            return false;
        };
        let peer = agreement::UnparsedPublicKey::new(curve, point);
        EphemeralPrivateKey::generate(curve, &SystemRandom::new())
            .and_then(|own| agreement::agree_ephemeral(own, &peer, |_| ()))
            .is_ok()
    }
}

/// What the keys of a set are for, in the word of `use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUse {
    /// `jwt-svid`, in the bundle of a trust domain. A bundle without such keys is a set without keys: that ends every
    /// SVID of the domain at once (IDENTITY.md §8).
    JwtSvid,
    /// `sig`, or no `use` at all.
    Signature,
}

/// The usable keys of one issuer by `kid`; swapped whole, never merged.
#[derive(Debug, Default)]
pub(super) struct KeySet(HashMap<String, Arc<Key>>);

impl KeySet {
    /// Reads a JWK Set (RFC 7517 §5). Unusable keys are skipped; two keys under one `kid` void that `kid`.
    ///
    /// # Errors
    /// [`KeySetError`]; the set that was there before stays in service.
    pub(super) fn parse(json: &[u8], wanted: KeyUse) -> Result<KeySet, KeySetError> {
        let document = strict::object(json, Limits::METADATA).map_err(KeySetError::Unreadable)?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(keys.len()));
        }
        let mut set: HashMap<String, Option<Arc<Key>>> = HashMap::new();
        for (kid, key) in keys
            .iter()
            .filter_map(Value::as_object)
            .filter_map(|jwk| Key::listed(jwk, wanted))
        {
            let twin = |other: &Arc<Key>| {
                (other.thumbprint, other.algorithm) == (key.thumbprint, key.algorithm)
            };
            match set.get_mut(&kid) {
                Some(place) => *place = place.take().filter(twin),
                None => {
                    set.insert(kid, Some(Arc::new(key)));
                }
            }
        }
        let usable = set
            .into_iter()
            .filter_map(|(kid, key)| Some((kid, key?)))
            .collect();
        Some(KeySet(usable))
            .filter(|set| !set.0.is_empty() || wanted == KeyUse::JwtSvid)
            .ok_or(KeySetError::NoKeys)
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Arc<Key>> {
        self.0.get(kid)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The thumbprints of all keys, each once, sorted.
    pub(super) fn thumbprints(&self) -> BTreeSet<[u8; 32]> {
        self.0.values().map(|key| key.thumbprint).collect()
    }

    /// What names the set: SHA-256 of its sorted thumbprints (LEDGER.md §5, `key_added`).
    pub(super) fn digest(&self) -> [u8; 32] {
        let sorted: Vec<_> = self.thumbprints().into_iter().collect();
        sha256(sorted.as_flattened())
    }

    /// Each key as a JWK with its `kid` and algorithm, and nothing that is not needed; sorted by `kid`.
    pub(super) fn jwks(&self) -> Vec<([u8; 32], Map<String, Value>)> {
        let jwk = |(kid, key): (&String, &Arc<Key>)| {
            let mut jwk: Map<String, Value> = serde_json::from_str(&key.canonical).ok()?;
            jwk.insert("kid".to_owned(), kid.as_str().into());
            jwk.insert("alg".to_owned(), key.algorithm.as_str().into());
            Some((key.thumbprint, jwk))
        };
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_unstable_by_key(|(kid, _)| *kid);
        sorted.into_iter().filter_map(jwk).collect()
    }
}

/// Why a document is no key set; the words are for operators.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// No key in it can be used.
    #[error(
        "no usable key: wanted is a public RSA 2048/3072/4096, P-256, P-384 or Ed25519 key with a `kid`"
    )]
    NoKeys,
    /// More than 64 keys.
    #[error("{0} keys, and at most 64 are read")]
    TooMany(usize),
    /// Not strict JSON.
    #[error("not readable: {0}")]
    Unreadable(strict::Unreadable),
}

/// `kid`s and other words of headers: 1 to 255 bytes of visible ASCII or space.
pub(super) fn is_kid(kid: &str) -> bool {
    (1..=255).contains(&kid.len()) && kid.bytes().all(|b| matches!(b, b' '..=b'~'))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

type Material = (Algorithm, DecodingKey, String);

fn rsa(jwk: &Map<String, Value>) -> Option<Material> {
    let n = bytes(jwk, "n")?;
    let bits = n.len() * 8;
    let full = n.first().is_some_and(|byte| *byte >= 0x80);
    if !RSA_BITS.contains(&bits) || !full || bytes(jwk, "e")? != RSA_E {
        return None;
    }
    let canonical = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, text(jwk, "n")?);
    Some((
        Algorithm::Rs256,
        DecodingKey::from_rsa_raw_components(&n, &RSA_E),
        canonical,
    ))
}

fn elliptic(jwk: &Map<String, Value>) -> Option<Material> {
    let crv = text(jwk, "crv")?;
    let (algorithm, length) = match crv {
        "P-256" => (Algorithm::Es256, 32),
        "P-384" => (Algorithm::Es384, 48),
        _ => return None,
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return None;
    }
    let point = [&UNCOMPRESSED, x.as_slice(), y.as_slice()].concat();
    let (x, y) = (text(jwk, "x")?, text(jwk, "y")?);
    let canonical = format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Some((algorithm, DecodingKey::from_ec_der(&point), canonical))
}

fn edwards(jwk: &Map<String, Value>) -> Option<Material> {
    let x = bytes(jwk, "x")?;
    if text(jwk, "crv")? != "Ed25519" || x.len() != 32 {
        return None;
    }
    let canonical = format!(
        r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
        text(jwk, "x")?
    );
    Some((Algorithm::EdDsa, DecodingKey::from_ed_der(&x), canonical))
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member).and_then(Value::as_str)
}

/// Canonical base64url only, so that one key has one thumbprint.
fn bytes(jwk: &Map<String, Value>, member: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text(jwk, member)?.as_bytes()).ok()
}

/// RFC 7518 §6: private parts of RSA, EC and OKP keys, and the symmetric `k`.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const RSA_BITS: [usize; 3] = [2048, 3072, 4096];

/// 65537.
const RSA_E: [u8; 3] = [1, 0, 1];

/// SEC 1 §2.3.3: the prefix of an uncompressed point.
const UNCOMPRESSED: [u8; 1] = [4];

const MAX_KEYS: usize = 64;

#[cfg(test)]
mod tests;
