//! What the broker says about its reader ([`WhoAmI`]) and about itself ([`Trust`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The 200 of `POST /v1/whoami`: the caller as the broker verified it. Takes evidence and spends nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmI {
    /// `spiffe://TRUST_DOMAIN/…`.
    pub spiffe_id: String,
    /// `workload`, `agent` or `user`, as Cedar's entity type names it.
    pub kind: String,
    /// The issuer entry's name in the broker's config.
    pub issuer: String,
    /// The preset that typed the claims: `github-actions`.
    pub preset: String,
    /// The verified claims, as policies see them.
    pub claims: ClaimsView,
    /// The task the evidence names, if it names one.
    pub task: Option<TaskView>,
    /// The group that owns this caller, if one does.
    pub owner: Option<String>,
    /// How long the evidence is good.
    pub evidence: EvidenceView,
    /// The broker's clock, RFC 3339.
    pub time: String,
}

/// Claims in the records policies read (IDENTITY.md §1.1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimsView {
    /// What every preset fills.
    #[serde(default)]
    pub origin: BTreeMap<String, Value>,
    /// The platform's own record under its name, at most one: `{"github": {"ref": …}}`.
    #[serde(default)]
    pub platform: BTreeMap<String, BTreeMap<String, Value>>,
    /// What the issuer's entry maps beyond the preset.
    #[serde(default)]
    pub extra: BTreeMap<String, Value>,
}

/// A task by both its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskView {
    /// `task_…`.
    pub id: String,
    /// `<issuer>:<path>`.
    pub name: String,
}

/// A token's life, seconds since 1970 as the token says (RFC 7519 NumericDate, whole).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EvidenceView {
    /// Issued at.
    pub iat: i64,
    /// Good until.
    pub exp: i64,
}

/// The 200 of `GET /v1/trust`: all a client needs to know this broker. Open to everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trust {
    /// The broker's URL, byte for byte the `iss` of its tokens.
    pub url: String,
    /// The SPIFFE trust domain.
    pub trust_domain: String,
    /// The one audience evidence must have.
    pub audience: String,
    /// SHA-256 of the root certificate's DER, `sha256:` and lower-case hex.
    pub root_fingerprint: String,
    /// The root certificate, PEM.
    pub root_pem: String,
    /// The log to pin.
    pub ledger: LedgerTrust,
    /// Where the JWT keys are.
    pub jwks_uri: String,
    /// How long things live here.
    pub lifetimes: Lifetimes,
    /// The arc our X.509 extension stands under, dotted (PROTOCOLS.md §3.13).
    pub arc: String,
    /// The broker's version.
    pub version: String,
}

/// A log and the key that signs its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerTrust {
    /// Its C2SP origin line.
    pub origin: String,
    /// The verifier key of a signed note: `NAME+HASH+KEY`.
    pub vkey: String,
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lifetimes {
    /// What an ask without `ttl_s` gets, before policy.
    pub default_ttl_s: u32,
    /// The longest life of any credential.
    pub max_ttl_s: u32,
    /// The longest life of a JWT.
    pub jwt_max_ttl_s: u32,
}

#[cfg(test)]
mod tests {
    use super::{ClaimsView, WhoAmI};

    #[test]
    fn claims_a_preset_does_not_fill_are_empty() {
        let me: WhoAmI = serde_json::from_str(
            r#"{"spiffe_id":"spiffe://acme.dev/github/1/2","kind":"workload","issuer":"github","preset":"github-actions",
                "claims":{"platform":{"github":{"ref":"refs/heads/main"}}},"task":{"id":"task_1","name":"github:1"},
                "owner":null,"evidence":{"iat":1,"exp":2},"time":"2026-07-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(me.claims.platform["github"]["ref"], "refs/heads/main");
        assert_eq!(
            ClaimsView {
                platform: me.claims.platform.clone(),
                ..ClaimsView::default()
            },
            me.claims
        );
    }
}
