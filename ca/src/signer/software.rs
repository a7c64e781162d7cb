//! Keys in this process's memory, by ring.
//!
//! ring does not wipe its key pairs when they are dropped; the bytes they are read from are wiped by
//! their owner ([`Zeroizing`]).

use std::fmt;

use ring::{
    rand::{SecureRandom, SystemRandom},
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use zeroize::Zeroizing;

use super::{Algorithm, Signer, SignerError, probe};
use crate::jwk::{self, PublicKey};

/// A private key in memory. Made by [`SoftwareSigner::from_pkcs8`] alone, which has seen it sign.
pub struct SoftwareSigner {
    key: Key,
    spki: Vec<u8>,
    random: SystemRandom,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(Box<rsa::KeyPair>),
}

impl SoftwareSigner {
    /// A key of exactly this algorithm. RS256 takes 2048 to 4096 bits and e = 65537.
    ///
    /// `pkcs8`: DER of RFC 5958's OneAsymmetricKey, or of its older version 1.
    ///
    /// # Errors
    /// [`KeyRejected`] when the bytes are no such key, or the key does not sign what its public
    /// half verifies.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<SoftwareSigner, KeyRejected> {
        let random = SystemRandom::new();
        let rejected = |reason: ring::error::KeyRejected| KeyRejected(reason.to_string());
        let (key, spki) = match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(rejected)?;
                let public = pair.public_key().as_ref().try_into().ok();
                let spki = public.map(PublicKey::Ed25519).and_then(|key| key.to_spki());
                (Key::Ed25519(pair), spki)
            }
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
                        .map_err(rejected)?;
                let public = pair.public_key().as_ref().try_into().ok();
                let spki = public.map(PublicKey::P256).and_then(|key| key.to_spki());
                (Key::Es256(pair), spki)
            }
            Algorithm::Rs256 => {
                let pair = rsa::KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let spki = rsa_public(&pair)?;
                (Key::Rs256(Box::new(pair)), Some(spki))
            }
        };
        let spki = spki.ok_or_else(|| KeyRejected("its public half has no SPKI".into()))?;
        let signer = SoftwareSigner { key, spki, random };
        probe(&signer).map_err(|SignerError(reason)| KeyRejected(reason))?;
        Ok(signer)
    }
}

impl Signer for SoftwareSigner {
    fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Ed25519(_) => Algorithm::Ed25519,
            Key::Es256(_) => Algorithm::Es256,
            Key::Rs256(_) => Algorithm::Rs256,
        }
    }

    fn public_key_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let failed = |ring::error::Unspecified| SignerError("the key would not sign".into());
        match &self.key {
            Key::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Key::Es256(pair) => pair
                .sign(&self.random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareSigner")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// The bytes are no key of the algorithm asked for, or one that we refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key was rejected: {0}")]
pub struct KeyRejected(String);

/// A new private key, as PKCS#8 DER.
///
/// # Errors
/// [`KeyRejected`] for RS256, whose keys operators bring (ring makes none), and when the system has
/// no randomness.
pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyRejected> {
    let random = SystemRandom::new();
    let document = match algorithm {
        Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        Algorithm::Rs256 => {
            return Err(KeyRejected("an RS256 key is brought, not made".into()));
        }
    };
    document
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(no_randomness)
}

/// A new secret of 32 random bytes, for the ledger's key and `secret.key`.
///
/// # Errors
/// [`KeyRejected`] when the system has no randomness.
pub fn generate_seed() -> Result<Zeroizing<[u8; 32]>, KeyRejected> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(seed.as_mut())
        .map_err(no_randomness)?;
    Ok(seed)
}

fn no_randomness(ring::error::Unspecified: ring::error::Unspecified) -> KeyRejected {
    KeyRejected("the system gives no randomness".into())
}

fn rsa_public(pair: &rsa::KeyPair) -> Result<Vec<u8>, KeyRejected> {
    let public = pair.public();
    let bits = public.modulus_len() * 8;
    if !(2048..=4096).contains(&bits) {
        return Err(KeyRejected(format!("{bits} bits, not 2048 to 4096")));
    }
    let spki = jwk::rsa_spki(public.as_ref())
        .map_err(|fault| KeyRejected(format!("its public half has no SPKI: {fault}")))?;
    match PublicKey::from_spki(&spki) {
        Some(PublicKey::Rsa { e, .. }) if e == EXPONENT => Ok(spki),
        _ => Err(KeyRejected("its exponent is not 65537".into())),
    }
}

/// 65537, the only public exponent we sign with.
const EXPONENT: [u8; 3] = [1, 0, 1];

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "what a signer signs is what is tested"
)]
mod tests {
    use super::{Algorithm, Signer, SoftwareSigner, generate};

    #[test]
    fn a_new_key_signs_in_the_form_jws_wants() {
        for algorithm in [Algorithm::Es256, Algorithm::Ed25519] {
            let key = generate(algorithm).unwrap();
            let signer = SoftwareSigner::from_pkcs8(algorithm, &key).unwrap();
            assert_eq!(signer.algorithm(), algorithm);
            assert_eq!(signer.sign(b"message").unwrap().len(), 64);
        }
    }

    #[test]
    fn a_key_is_of_one_algorithm() {
        let key = generate(Algorithm::Es256).unwrap();
        assert!(SoftwareSigner::from_pkcs8(Algorithm::Ed25519, &key).is_err());
        assert!(SoftwareSigner::from_pkcs8(Algorithm::Rs256, &key).is_err());
        assert!(generate(Algorithm::Rs256).is_err());
    }

    #[test]
    fn an_operators_rsa_key_signs() {
        let pkcs8 = include_bytes!("software/rs256-test.pk8");
        let signer = SoftwareSigner::from_pkcs8(Algorithm::Rs256, pkcs8).unwrap();
        assert_eq!(signer.sign(b"message").unwrap().len(), 256);
    }

    #[test]
    fn a_debug_print_has_no_key_in_it() {
        let key = generate(Algorithm::Es256).unwrap();
        let signer = SoftwareSigner::from_pkcs8(Algorithm::Es256, &key).unwrap();
        assert_eq!(
            format!("{signer:?}"),
            "SoftwareSigner { algorithm: Es256, .. }"
        );
    }
}
