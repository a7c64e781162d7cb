//! `jsonwebtoken`'s crypto over ring, for checking signatures only: RS256, PS256, ES256, ES384 and EdDSA exist, HMAC and
//! signing do not. Where the library would panic for want of a provider, this one answers with an error.
//!
//! ring reads a public key at each verification and offers no parsed form to keep; a key's bytes are decoded from its
//! JWK once, when its set is loaded, and are what [`DecodingKey`] holds.

use std::sync::OnceLock;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm as JwtAlgorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

use crate::authenticate::keys::Key;
use crate::strict;

/// What a key signs with; one per key, fixed when the key is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Ps256,
    Rs256,
}

impl Algorithm {
    /// The name in a header, compared byte for byte (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Ps256 => "PS256",
            Algorithm::Rs256 => "RS256",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Algorithm> {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
        [EdDsa, Es256, Es384, Ps256, Rs256]
            .into_iter()
            .find(|a| a.as_str() == name)
    }

    const fn in_library(self) -> JwtAlgorithm {
        match self {
            Algorithm::EdDsa => JwtAlgorithm::EdDSA,
            Algorithm::Es256 => JwtAlgorithm::ES256,
            Algorithm::Es384 => JwtAlgorithm::ES384,
            Algorithm::Ps256 => JwtAlgorithm::PS256,
            Algorithm::Rs256 => JwtAlgorithm::RS256,
        }
    }
}

/// Whether `signature` (base64url) is `key`'s over `message`. False for every failure: which one is nobody's business.
pub(super) fn verifies(key: &Key, message: &str, signature: &str) -> bool {
    let algorithm = key.algorithm().in_library();
    jsonwebtoken::crypto::verify(signature, message.as_bytes(), key.decoding(), algorithm)
        .unwrap_or(false)
}

/// The process cannot check signatures, so it must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Another provider was installed before ours.
    #[error("another JWT crypto provider is installed in this process")]
    Foreign,
    /// A known answer came out wrong for this algorithm.
    #[error("the self-test of `{0}` failed")]
    SelfTest(&'static str),
}

/// Makes ring the process's JWT crypto and tries every algorithm on a known answer. First thing in `main`; again is
/// harmless.
///
/// # Errors
/// [`CryptoError`]; the caller ends the process.
pub fn install() -> Result<(), CryptoError> {
    static OURS: OnceLock<bool> = OnceLock::new();
    match OURS.get_or_init(|| PROVIDER.install_default().is_ok()) {
        true => self_test(),
        false => Err(CryptoError::Foreign),
    }
}

/// Makes ring the TLS provider of the process, if nobody did: the HTTP client looks there, and would panic.
pub(crate) fn ensure_tls() {
    static DONE: OnceLock<bool> = OnceLock::new();
    DONE.get_or_init(|| {
        rustls::crypto::CryptoProvider::get_default().is_some()
            || rustls::crypto::ring::default_provider()
                .install_default()
                .is_ok()
    });
}

/// Each algorithm accepts a signature that OpenSSL made and refuses it over another message.
fn self_test() -> Result<(), CryptoError> {
    for (algorithm, jwk, signature) in KNOWN_ANSWERS {
        let failed = CryptoError::SelfTest(algorithm.as_str());
        let jwk = strict::object(jwk.as_bytes(), strict::Limits::WIRE).ok();
        let key = jwk
            .and_then(|jwk| Key::public(&jwk, Some(algorithm)))
            .ok_or(failed)?;
        if !verifies(&key, KNOWN_MESSAGE, signature)
            || verifies(&key, "stint known answers", signature)
        {
            return Err(failed);
        }
    }
    Ok(())
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

fn verifier(algorithm: &JwtAlgorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    // INVARIANT: a key serves its own family only; the library leaves that check to the provider.
    if algorithm.family() != key.family() || key.family() == AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let public = match (*algorithm, key.kind()) {
        (JwtAlgorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => Public::Rsa {
            n: n.clone(),
            e: e.clone(),
            padding: &signature::RSA_PKCS1_2048_8192_SHA256,
        },
        (JwtAlgorithm::PS256, DecodingKeyKind::RsaModulusExponent { n, e }) => Public::Rsa {
            n: n.clone(),
            e: e.clone(),
            padding: &signature::RSA_PSS_2048_8192_SHA256,
        },
        (JwtAlgorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            Public::raw(&signature::ECDSA_P256_SHA256_FIXED, point)
        }
        (JwtAlgorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => {
            Public::raw(&signature::ECDSA_P384_SHA384_FIXED, point)
        }
        (JwtAlgorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
            Public::raw(&signature::ED25519, point)
        }
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        public,
    }))
}

struct RingVerifier {
    algorithm: JwtAlgorithm,
    public: Public,
}

enum Public {
    Raw(UnparsedPublicKey<Vec<u8>>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        padding: &'static signature::RsaParameters,
    },
}

impl Public {
    fn raw(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Public {
        Public::Raw(UnparsedPublicKey::new(algorithm, bytes.to_vec()))
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let outcome = match &self.public {
            Public::Raw(key) => key.verify(message, signature),
            Public::Rsa { n, e, padding } => {
                RsaPublicKeyComponents { n, e }.verify(padding, message, signature)
            }
        };
        // ring says no more than "no".
        outcome.or(Err(SignatureError::new()))
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }
}

const KNOWN_MESSAGE: &str = "stint known answer";

const KNOWN_RSA: &str = r#"{"kty":"RSA","n":"1tRw0wAc07BgiXq75cPQncpvlvfBdVysXsn_x7aAgkVwBmaZLIEhihRNXgcLxo98_1_ov_AEhnyuqXDxTU6y4xOxTh8ua3_RoHGvfleKjYhNE_JBd6bHFACaW1v-6P1RqLiFnQXlmgwVQeUsLQnxg8FRHV7oIslhDuCwwkep5C1w8hjeVl_P8GMOuJb85VHNKkPq2yAPVx4SFRKOs8BfbCiGuHfbcQ33jUALUip_VhxTUp4RvWz5W6M93Z3ZUYIjrtVu7Ov73dSLhGk4elNQhBWcqqGT8Yw2uRZ7whacRNyK-10IG55qWK5WraBFVjVjSmwJrSt8ONOnN6XtWH_ACw","e":"AQAB"}"#;

/// Made by OpenSSL 3 over [`KNOWN_MESSAGE`] with keys that were thrown away.
const KNOWN_ANSWERS: [(Algorithm, &str, &str); 5] = [
    (
        Algorithm::Rs256,
        KNOWN_RSA,
        "TxXRP5odfNBtawfn8uPi3oYtX-yg_jC_gzzjrFp_IpB2SKIlekUZhObOB2XuaKDud-1xShBJoql6jn-FCIOL5D1U4b6KiyCyK5zoqOoBMsIgx-Py6ZDAiOfX5CJsFX8atbTOrImH3GM24bsAcei2j7iDoZt9okGHLvGq_2LA6-Z42Nh7OUF9yneYQHEFik_7wLQDXpUn-ZSaEnJpDUA0CzmPSRL7voXIFBwkQkNhp51PK7DGkiaXweXjCE7GonrdWjQU-3L1CK95yUP9W9pTSYCKP4Zj8h-YHQqjoczQnLFOgq6IsIlwYiLsatPGWYtCQl9Ia8fC-Sm1aBEyxlb2AQ",
    ),
    (
        Algorithm::Ps256,
        KNOWN_RSA,
        "maXcBfGp4NsbZlxKWmoxGoOGUMUOpgCoLCoUoPE5LSdzmiHG0l360kqUhwPrxU4vLvI4FpDbMJ9ZLNkU8JAoSpYFEhdgpj3S6aAvM9HpECpPwbeQFG9mo2Dru2IzKafvBWY-wvEhUVjN-cVuFLM_bnXsKFAeIM7BGw_ZD12GZR1fyPcwyRxI3uLZB-kVR8a4hqMBauxoqAPmmyoOgeWWDs_sXuKhRFJCycPYtYWQcNpEk6pb4MnybVRzxv0PKqCunMIG6G2c_JK5ZB_PJIdzd-F_lhqafxDc4C5jCA7TrBDSvru9G4uPtOGrgC-WNvM6ppo54nkpbUGAKid_MRrWYQ",
    ),
    (
        Algorithm::Es256,
        r#"{"kty":"EC","crv":"P-256","x":"e97JB4fNC7G311ZPGyPlYBJ3a-URLjAi7IV1YEBz-MY","y":"_Ts9hUpqsLVzfUfw1nBhIq_rWV52WkeHnXmjE9mbG94"}"#,
        "J62zD648uvCoYFUljP0GZ9M1mcTmH4slsbaRZmCXklHXXVMI_hz8kTxbarDqXybU_hGaJVYxzca31ouB9k9GQg",
    ),
    (
        Algorithm::Es384,
        r#"{"kty":"EC","crv":"P-384","x":"-WfPFmC83dDbMY1LUAAC6t-m7BmRzWNefQAT3uCPluhhwbTVIGU5neWWvr3bAmvU","y":"kS10r78GC4UfisZWBOQkPGjqQr97NCECZyH-K9oUJRCcRX0s-qxiN9y1TYbQmpRM"}"#,
        "WeyTxmnbI-1kRhUEqo_UgxD-QHYKy7x8CwqrIhIjKWxNJRbTBTueGAT19AVAomOWpGWj1cKcKHDdLB9naHqByhF9Wt9SZ2FBfQGc5VU_I5Jjxi8zxsiCiC5Edk9JcORA",
    ),
    (
        Algorithm::EdDsa,
        r#"{"kty":"OKP","crv":"Ed25519","x":"DlHGpxaYOB3tUsazCjEdPcbUJfgHyMZ7p2VlnWV2vFI"}"#,
        "1U7NnXQ9RlwBbBKaarENMzWtMyBEvZ0R68QwaiP6JejLdQnITI3BhUQ2kXZieizJZFHyIeCSVJ27oIWeySFTCA",
    ),
];

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_gives_its_known_answer() {
        assert_eq!(install(), Ok(()));
        assert_eq!(install(), Ok(()), "a second call is harmless");
    }

    #[test]
    fn a_key_of_one_family_never_verifies_for_another() {
        install().unwrap();
        let hmac = DecodingKey::from_secret(b"public key used as a secret");
        let rsa = DecodingKey::from_rsa_raw_components(&[1; 256], &[1, 0, 1]);
        let ed = DecodingKey::from_ed_der(&[1; 32]);
        for (algorithm, key) in [
            (JwtAlgorithm::HS256, &hmac),
            (JwtAlgorithm::HS256, &rsa),
            (JwtAlgorithm::RS256, &hmac),
            (JwtAlgorithm::RS384, &rsa),
            (JwtAlgorithm::RS256, &ed),
            (JwtAlgorithm::ES256, &ed),
            (JwtAlgorithm::EdDSA, &rsa),
        ] {
            assert!(verifier(&algorithm, key).is_err(), "{algorithm:?}");
        }
    }
}
