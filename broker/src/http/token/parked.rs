//! The ask of a deferred answer, as it is kept beside its code: what the form said, and nothing of who said it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stint_policy::Seconds;

use crate::http::problem::oauth::Spelling;
use crate::issue::{Ask, CredentialAsk, KeyText, KindAsked};

/// An ask, and how its client wants the answer.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) ask: Ask,
    pub(super) spelling: Spelling,
    pub(super) requested: Option<String>,
    pub(super) receipt: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    action: String,
    resources: Vec<String>,
    kind: Kind,
    csr: Option<String>,
    spki: Option<String>,
    profile: Option<String>,
    audience: Option<String>,
    input: Option<Map<String, Value>>,
    ttl_s: Option<u32>,
    reason: Option<String>,
    task: Option<String>,
    client: Option<String>,
    details: bool,
    requested: Option<String>,
    receipt: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    AccessToken,
    Jwt,
    X509,
}

impl Parked {
    /// As it is kept.
    pub(super) fn text(&self) -> String {
        let ask = self.ask.clone();
        let (csr, spki) = match ask.credential.key {
            None => (None, None),
            Some(KeyText::Csr(csr)) => (Some(csr), None),
            Some(KeyText::Spki(spki)) => (None, Some(spki)),
        };
        let kept = Kept {
            action: ask.action,
            resources: ask.resources,
            kind: match ask.credential.kind {
                KindAsked::AccessToken => Kind::AccessToken,
                KindAsked::X509 => Kind::X509,
                // What is not supported is refused before anything is parked.
                KindAsked::Jwt | KindAsked::Unsupported => Kind::Jwt,
            },
            csr,
            spki,
            profile: ask.credential.profile,
            audience: ask.credential.audience,
            input: ask.input,
            ttl_s: ask.ttl.map(Seconds::as_u32),
            reason: ask.reason,
            task: ask.task,
            client: ask.client,
            details: self.spelling == Spelling::Details,
            requested: self.requested.clone(),
            receipt: self.receipt,
        };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Reads it back. It is never parked a second time: by now the people have spoken.
    pub(super) fn read(text: &str) -> Option<Parked> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let spki = kept.spki.map(KeyText::Spki);
        Some(Parked {
            ask: Ask {
                action: kept.action,
                resources: kept.resources,
                credential: CredentialAsk {
                    kind: match kept.kind {
                        Kind::AccessToken => KindAsked::AccessToken,
                        Kind::Jwt => KindAsked::Jwt,
                        Kind::X509 => KindAsked::X509,
                    },
                    key: kept.csr.map(KeyText::Csr).or(spki),
                    profile: kept.profile,
                    audience: kept.audience,
                },
                input: kept.input,
                ttl: kept.ttl_s.map(Seconds::new),
                reason: kept.reason,
                task: kept.task,
                client: kept.client,
                may_hold: false,
            },
            spelling: match kept.details {
                true => Spelling::Details,
                false => Spelling::Scope,
            },
            requested: kept.requested,
            receipt: kept.receipt,
        })
    }
}
