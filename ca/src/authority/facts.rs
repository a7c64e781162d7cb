//! What the authority says about itself: for JWKS, `/v1/trust`, the ledger.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use stint_audit::Digest;

use super::Authority;
use crate::{
    audience::{Audience, Flavour},
    jwk, jwt,
    signer::Signer,
};

impl Authority {
    /// The keys that verify tokens, as `/oauth2/jwks` shows them (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let jwk = |key: &Arc<dyn Signer>| jwt::public_jwk_of(&**key);
        json!({ "keys": self.jwt.iter().filter_map(jwk).collect::<Vec<_>>() })
    }

    /// The algorithms of those keys, in JOSE's words.
    #[must_use]
    pub fn jwt_algorithms(&self) -> Vec<&'static str> {
        self.jwt.iter().map(|key| key.algorithm().jose()).collect()
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

    /// SHA-256 of each SPKI that verifies tokens.
    pub fn jwt_keys(&self) -> impl Iterator<Item = Digest> {
        self.jwt.iter().map(|key| Digest::of(key.public_key_spki()))
    }

    /// The caller's claims that names are made of for `audience`.
    pub fn claims_of(&self, audience: &str) -> impl Iterator<Item = &str> {
        let own = self.audience(audience).into_iter();
        own.flat_map(Audience::named_by)
    }

    /// Which sort of token `audience` reads.
    #[must_use]
    pub fn flavour_of(&self, audience: &str) -> Flavour {
        self.audience(audience)
            .map_or(Flavour::AccessToken, Audience::flavour)
    }

    /// When root and issuing CA end, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> (i64, i64) {
        (self.issuing.root_not_after, self.issuing.not_after)
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
