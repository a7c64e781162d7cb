//! Audiences the operator says more of than their name: which flavour of token they read, under which algorithm, and how
//! they know a caller (PROTOCOLS.md §3.8, §3.10).
//!
//! An audience without a table gets an access token of the default key. Whatever stands in a token is a function of the
//! grant, this table and the caller's immutable claims: nothing in the ask changes it.

mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use stint_policy::{Seconds, SpiffeId};

pub use template::{Part, SubTemplate, TemplateError};

use crate::signer::Algorithm;

/// The three sorts of JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// RFC 9068: `typ: at+jwt`, says what may be done, bound to a key where one was proved.
    AccessToken,
    /// An OIDC token for a cloud or a cluster: `typ: JWT`, says who; always a bearer token.
    Federation,
    /// SPIFFE JWT-SVID: `typ: JWT`, `sub` is the SPIFFE ID; always a bearer token.
    JwtSvid,
}

impl Flavour {
    /// Whether its tokens carry `cnf`.
    #[must_use]
    pub const fn binds(self) -> bool {
        matches!(self, Flavour::AccessToken)
    }

    pub(crate) const fn typ(self) -> &'static str {
        match self {
            Flavour::AccessToken => "at+jwt",
            Flavour::Federation | Flavour::JwtSvid => "JWT",
        }
    }
}

/// What an [`Audience`] is made of: one `[audience.NAME]`.
#[derive(Debug, Clone)]
pub struct AudienceParts {
    /// `NAME`, for faults and bounds.
    pub name: String,
    /// `aud`, byte for byte.
    pub aud: String,
    /// Which sort of token.
    pub flavour: Flavour,
    /// What it is signed with; a key of it must be there.
    pub algorithm: Algorithm,
    /// How `sub` is made. Only a federation token may have another than `{spiffe_id}`.
    pub sub: SubTemplate,
    /// The longest `sub`, in bytes.
    pub sub_max: usize,
    /// Issuers (the first segment of a SPIFFE ID's path) whose claims the template may take.
    pub issuers: BTreeSet<String>,
    /// Fixed claims besides ours; of a federation token only.
    pub claims: Map<String, Value>,
    /// The longest life.
    pub max_ttl: Seconds,
}

/// An audience that can be minted for. Made by [`Audience::new`] alone.
#[derive(Debug)]
pub struct Audience(AudienceParts);

/// Why an audience cannot be. The operator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// JWT-SVID forbids EdDSA.
    #[error("a JWT-SVID is signed with ES256 or RS256")]
    Algorithm,
    /// A claim that is ours to set.
    #[error("the claim `{0}` is not the operator's to set")]
    Claim(String),
    /// An access token or a JWT-SVID says who by SPIFFE ID, and nothing besides.
    #[error("only a federation token has a `sub_template` or `claims` of its own")]
    Fixed,
}

impl Audience {
    /// Checks what the standards fix.
    ///
    /// # Errors
    /// [`AudienceError`].
    pub fn new(parts: AudienceParts) -> Result<Audience, AudienceError> {
        if let Some(ours) = parts.claims.keys().find(|name| is_ours(name)) {
            return Err(AudienceError::Claim(ours.clone()));
        }
        let federation = parts.flavour == Flavour::Federation;
        if !federation && (!parts.claims.is_empty() || parts.sub != SubTemplate::spiffe_id()) {
            return Err(AudienceError::Fixed);
        }
        if parts.flavour == Flavour::JwtSvid && parts.algorithm == Algorithm::Ed25519 {
            return Err(AudienceError::Algorithm);
        }
        Ok(Audience(parts))
    }

    /// `NAME` of its table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Which sort of token it reads.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.0.flavour
    }

    pub(crate) fn aud(&self) -> &str {
        &self.0.aud
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    pub(crate) fn max_ttl(&self) -> Seconds {
        self.0.max_ttl
    }

    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// The claims its names are made of.
    pub(crate) fn named_by(&self) -> impl Iterator<Item = &str> {
        self.0.sub.claims()
    }

    /// The `sub` of `caller`; `claims` are its immutable ones.
    ///
    /// # Errors
    /// In words for the caller, who asks for somewhere it is not known.
    pub(crate) fn subject(
        &self,
        caller: &SpiffeId,
        claims: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let AudienceParts {
            sub,
            sub_max,
            issuers,
            ..
        } = &self.0;
        let issuer = caller.path().split('/').next().unwrap_or_default();
        if sub.claims().next().is_some() && !issuers.contains(issuer) {
            return Err(format!("callers of `{issuer}` have no name there"));
        }
        let subject = sub.render(caller, claims)?;
        match subject.len() <= *sub_max {
            true => Ok(subject),
            false => Err(format!(
                "this caller's name is longer than {sub_max} bytes there"
            )),
        }
    }
}

/// Claims with a meaning that a relying party of ours acts on.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 17] = [
        "act",
        "aud",
        "authorization_details",
        "client_id",
        "cnf",
        "exp",
        "grant",
        "iat",
        "iss",
        "jti",
        "may_act",
        "nbf",
        "nonce",
        "scope",
        "status",
        "sub",
        "task",
    ];
    OURS.contains(&name)
}

#[cfg(test)]
mod tests;
