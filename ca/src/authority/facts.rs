//! What the authority says about itself: for JWKS, `/v1/trust`, the ledger.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use stint_audit::Digest;

use super::Authority;
use crate::jwk;

impl Authority {
    /// The keys that verify tokens, as `/oauth2/jwks` shows them (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.tokens.jwk()] })
    }

    /// The algorithms of those keys, in JOSE's words.
    #[must_use]
    pub fn jwt_algorithms(&self) -> Vec<&'static str> {
        vec![self.jwt.algorithm().jose()]
    }

    /// The root: what relying parties trust. One PEM block.
    #[must_use]
    pub fn trust_bundle_pem(&self) -> &str {
        &self.issuing.root_pem
    }

    /// SHA-256 of the root's DER, in lower-case hex.
    #[must_use]
    pub fn root_fingerprint(&self) -> String {
        HEXLOWER.encode(&jwk::sha256(&self.issuing.root))
    }

    /// The issuing CA, one PEM block: what goes with a leaf.
    #[must_use]
    pub fn chain_pem(&self) -> &[String] {
        &self.chain_pem
    }

    /// `{id}` of `/crl/{id}.crl`: the issuing key's identifier in lower-case hex.
    #[must_use]
    pub fn issuer_id(&self) -> String {
        HEXLOWER.encode(&self.issuing.key_identifier)
    }

    /// SHA-256 of the issuing CA's SPKI.
    #[must_use]
    pub fn issuing_key(&self) -> Digest {
        Digest::of(self.issuing.signer.public_key_spki())
    }

    /// SHA-256 of the SPKI that verifies tokens.
    #[must_use]
    pub fn jwt_key(&self) -> Digest {
        Digest::of(self.jwt.public_key_spki())
    }

    /// The OID of the `stint` extension, dotted; published in `/v1/trust`.
    #[must_use]
    pub fn extension_oid(&self) -> String {
        self.certificates.grant_oid.to_string()
    }

    /// The trust domain of all it certifies.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Whether certificates can be asked for under this profile.
    #[must_use]
    pub fn has_profile(&self, name: &str) -> bool {
        self.profiles.contains_key(name)
    }
}
