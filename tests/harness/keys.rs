//! Keys of callers: requests for certificates and DPoP proofs.

use std::fmt;

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use stint_policy::Timestamp;

use crate::issuer::encode;

/// A PKCS #10 request of a new P-256 key, PEM.
#[must_use]
pub fn csr() -> String {
    csr_of(&key(&rcgen::PKCS_ECDSA_P256_SHA256))
}

/// A new key.
#[must_use]
pub fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// A request of `key` that names nobody but the subject rcgen makes up.
#[must_use]
pub fn csr_of(key: &KeyPair) -> String {
    request(key, |_| ())
}

/// A request of `key` with whatever `change` asks for.
#[must_use]
pub fn request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// The key behind DPoP proofs.
pub struct DpopKey(EcdsaKeyPair);

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DpopKey").finish_non_exhaustive()
    }
}

impl Default for DpopKey {
    fn default() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }
}

impl DpopKey {
    /// Its public JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
    }

    /// Its thumbprint (RFC 7638), base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
            jwk["x"], jwk["y"]
        );
        encode(stint_audit::Digest::of(text.as_bytes()).as_bytes())
    }

    /// The claims of a good proof for a POST to `url` with `token`.
    #[must_use]
    pub fn claims(&self, url: &str, token: &str, now: Timestamp) -> Map<String, Value> {
        let jti = encode(
            &ring::rand::generate::<[u8; 12]>(&SystemRandom::new())
                .unwrap()
                .expose(),
        );
        let ath = encode(stint_audit::Digest::of(token.as_bytes()).as_bytes());
        let claims =
            json!({ "jti": jti, "htm": "POST", "htu": url, "iat": now.as_secs(), "ath": ath });
        claims.as_object().unwrap().clone()
    }

    /// The header of a good proof.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
    }

    /// Signs whatever `header` and `claims` say.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        let claims = Value::Object(claims.clone()).to_string();
        let input = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.as_bytes())
        );
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature.as_ref()))
    }

    /// A good proof.
    #[must_use]
    pub fn proof(&self, url: &str, token: &str, now: Timestamp) -> String {
        self.sign(&self.header(), &self.claims(url, token, now))
    }
}
