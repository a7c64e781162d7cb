//! Where private keys live: the trait every key store stands behind, and what can be asked of it.
//!
//! A key has one algorithm, fixed when it is loaded. Nothing here decides what may be signed: the
//! only caller on the issuing path is [`Authority::sign`](crate::Authority::sign).

use std::fmt;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

use crate::jwk;

pub mod software;

/// A private key that signs, wherever it lives.
///
/// An implementation promises:
/// - the key, and so `algorithm` and `public_key_spki`, never changes while the value lives;
/// - `sign` hashes and signs the whole message by itself, and may be called from many threads;
/// - `sign` may block (a device, a network): callers keep it off their reactor;
/// - an error means that nothing was signed, or that no one can know; it is never retried here.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The one algorithm of this key.
    fn algorithm(&self) -> Algorithm;

    /// The public half as DER of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    fn public_key_spki(&self) -> &[u8];

    /// The signature over `message`, encoded as RFC 7518 §3 has it for JWS: for ES256 the 64 bytes
    /// `r ‖ s`, for Ed25519 64 bytes, for RS256 as many bytes as the modulus has.
    ///
    /// # Errors
    /// [`SignerError`] when the key store refuses or fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError>;
}

/// What a key signs with. There is no other algorithm, and no negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032); `EdDSA` in JOSE.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: JWTs for relying parties that know nothing else, by a key
    /// that the operator brought.
    Rs256,
}

impl Algorithm {
    /// The name in a JOSE header's `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    #[must_use]
    pub fn jose(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
        }
    }
}

/// A key store would not, or could not, sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signer failed: {0}")]
pub struct SignerError(pub String);

/// Signs a probe and verifies it, so that a key that does not fit its public half, or a device that
/// is not there, is found when the key is loaded and not at the first grant.
///
/// # Errors
/// [`SignerError`] when the key does not sign, or signs something else.
pub fn probe(signer: &dyn Signer) -> Result<(), SignerError> {
    let public = jwk::PublicKey::from_spki(signer.public_key_spki())
        .ok_or_else(|| SignerError("its public key is of no kind we know".into()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a key is tried when it is loaded"
    )]
    let signature = signer.sign(PROBE)?;
    let verified = match (signer.algorithm(), &public) {
        (Algorithm::Es256, jwk::PublicKey::P256(point)) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(PROBE, &signature)
        }
        (Algorithm::Ed25519, jwk::PublicKey::Ed25519(key)) => {
            UnparsedPublicKey::new(&ED25519, key).verify(PROBE, &signature)
        }
        (Algorithm::Rs256, jwk::PublicKey::Rsa { pkcs1, .. }) => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pkcs1).verify(PROBE, &signature)
        }
        (Algorithm::Ed25519 | Algorithm::Es256 | Algorithm::Rs256, _) => {
            return Err(SignerError("its public key is of another algorithm".into()));
        }
    };
    verified.map_err(|ring::error::Unspecified| {
        SignerError("its signature does not verify by its public key".into())
    })
}

/// Neither a JWS signing input nor a TBSCertificate, so the probe's signature is good for nothing.
const PROBE: &[u8] = b"stint/signer/probe/v1\n";
