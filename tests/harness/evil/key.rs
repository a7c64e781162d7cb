//! Keys of identity providers.

use serde_json::{Map, Value, json};

use crate::keys::DpopKey;

/// A key of an identity provider: P-256, under a `kid`.
#[derive(Debug)]
pub struct IdpKey {
    /// Its name.
    pub kid: String,
    key: DpopKey,
}

impl IdpKey {
    /// A new key.
    #[must_use]
    pub fn new(kid: &str) -> IdpKey {
        IdpKey {
            kid: kid.to_owned(),
            key: DpopKey::default(),
        }
    }

    /// Its public JWK.
    ///
    /// # Panics
    /// Never: it is an object.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.key.jwk();
        let members = jwk.as_object_mut().unwrap();
        members.insert("kid".to_owned(), json!(self.kid));
        members.insert("use".to_owned(), json!("sig"));
        members.insert("alg".to_owned(), json!("ES256"));
        jwk
    }

    /// Its thumbprint, base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Map<String, Value>) -> String {
        self.sign(
            &json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    /// A JWS with whatever header.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        self.key.sign(header, claims)
    }
}
