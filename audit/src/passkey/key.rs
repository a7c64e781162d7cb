//! The public key of a passkey, as the ledger carries it (a JWK) and as signatures are checked with it.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::PasskeyError;
use crate::Digest;

/// A public key: ES256 (COSE -7), EdDSA over Ed25519 (-8) or RS256 of 2048 to 4096 bits (-257). It has its form; that a
/// point is on its curve shows with the first signature, which fails if not.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// 4, then x and y of a point of P-256 (SEC 1 §2.3.3).
    Es256([u8; 65]),
    /// RFC 8032.
    Ed25519([u8; 32]),
    /// The modulus; the exponent is 65537.
    Rs256(Vec<u8>),
}

/// The exponent of every RSA key here, 65537.
pub(super) const EXPONENT: [u8; 3] = [1, 0, 1];

impl Key {
    pub(super) fn es256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        let mut point = [4; 65];
        let (_, xy) = point.split_at_mut(1);
        let (first, second) = xy.split_at_mut(32);
        first.copy_from_slice(x);
        second.copy_from_slice(y);
        Self(Form::Es256(point))
    }

    pub(super) const fn ed25519(x: &[u8; 32]) -> Self {
        Self(Form::Ed25519(*x))
    }

    /// `None` unless the modulus is odd and of 2048 to 4096 bits, without zeros in front.
    pub(super) fn rs256(modulus: &[u8]) -> Option<Self> {
        let (first, last) = (modulus.first()?, modulus.last()?);
        let long = match modulus.len() {
            256 => *first >= 0x80,
            257..=512 => *first > 0,
            _ => false,
        };
        (long && last % 2 == 1).then(|| Self(Form::Rs256(modulus.to_vec())))
    }

    /// Reads a public JWK (RFC 7518 §6, RFC 8037) that has exactly the members of its thumbprint.
    ///
    /// # Errors
    /// [`PasskeyError::Jwk`].
    pub fn from_jwk(jwk: &Value) -> Result<Self, PasskeyError> {
        Self::read(jwk)
            .filter(|key| key.jwk() == *jwk)
            .ok_or(PasskeyError::Jwk)
    }

    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name)?.as_str();
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        let short = |name: &str| <[u8; 32]>::try_from(bytes(name)?).ok();
        match text("kty")? {
            "EC" => Some(Self::es256(&short("x")?, &short("y")?)),
            "OKP" => Some(Self::ed25519(&short("x")?)),
            "RSA" => Self::rs256(&bytes("n")?),
            _ => None,
        }
    }

    /// The public JWK, with the members of its thumbprint and no other.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match &self.0 {
            Form::Es256(point) => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
                json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)})
            }
            Form::Ed25519(x) => json!({"crv": "Ed25519", "kty": "OKP", "x": text(x)}),
            Form::Rs256(n) => json!({"e": text(&EXPONENT), "kty": "RSA", "n": text(n)}),
        }
    }

    /// The SHA-256 thumbprint of the JWK (RFC 7638): what a `key_added` header carries.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        // Members sort by name and none needs an escape, so this is the form of RFC 7638 §3.
        Digest::of(self.jwk().to_string().as_bytes())
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.0 {
            Form::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Form::Ed25519(x) => UnparsedPublicKey::new(&ED25519, x).verify(message, signature),
            Form::Rs256(n) => {
                let key = RsaPublicKeyComponents {
                    n: n.as_slice(),
                    e: EXPONENT.as_slice(),
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.thumbprint()).finish()
    }
}
