//! Who is asking: from bytes a stranger presents to a [`Caller`] (IDENTITY.md §1, §2).
//!
//! The checks run in the order of §2.1, one file each: form and signature in `jws`, keys in `keys`, `source` and
//! `discovery`, time, claims and mapping in `judge`, what a platform's claims mean in `github`, `gitlab`, … A token is
//! read once; from a `Caller` on nothing looks at it again. This module writes nothing, decides nothing about what a
//! caller may do, and fetches no URL that a token names. It takes `now` and never asks the time.
//!
//! Every way evidence can fail is one [`Refused`] to the outside. Its label is for metric and log.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use stint_policy::{Ceiling, PolicySet, Principal, Seconds, Timestamp};
use tokio::sync::watch;

use crate::authenticate::attest::AttestEntry;
use crate::authenticate::entry::IssuerEntry;
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::jws::{Payload, Unverified};
use crate::authenticate::preset::FoundBy;
use crate::authenticate::source::Missing;
use crate::config::Secret;
use crate::ledger::Frozen;
use crate::limits::peers::PeerKey;
use crate::limits::turns::{Busy, Turns};

pub mod attest;
pub mod crypto;
pub mod dpop;
pub mod entry;
pub mod examine;
pub mod register;
pub mod source;

pub(crate) mod address;
mod aws;
mod azure;
mod buildkite;
mod circleci;
mod claims;
pub(crate) mod discovery;
mod generic;
mod github;
mod gitlab;
mod google;
mod judge;
mod jws;
mod keys;
mod kubernetes;
pub(crate) mod login;
mod preset;
mod row;
mod spiffe;
mod template;
mod terraform;
mod upkeep;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

/// What a caller presents.
#[derive(Debug)]
pub struct Evidence {
    what: What,
    proof: Option<Proof>,
    peer: PeerKey,
}

/// The sorts of evidence there are: no default arm reads one for another.
#[derive(Debug)]
enum What {
    /// The certificates of a TLS handshake, leaf first.
    Certificate(Arc<[CertificateDer<'static>]>),
    /// An OIDC token: a compact JWS.
    Token(Secret<String>),
}

impl Proof {
    /// The key of a TLS handshake, by the first certificate it presented; `None` for a key we do not calculate with.
    #[must_use]
    pub fn of_handshake(leaf: &CertificateDer<'_>) -> Option<Proof> {
        attest::proof_of(leaf)
    }
}

impl Evidence {
    /// An OIDC token, and the key that was proved beside it.
    #[must_use]
    pub fn token(token: Secret<String>, proof: Option<Proof>) -> Evidence {
        Evidence {
            what: What::Token(token),
            proof,
            peer: PeerKey::LOCAL,
        }
    }

    /// The client certificates of this connection's TLS handshake, leaf first: it proved the leaf's key and judged
    /// nothing. `proof`: a key that was proved beside it, by DPoP.
    #[must_use]
    pub fn certificate(chain: Arc<[CertificateDer<'static>]>, proof: Option<Proof>) -> Evidence {
        Evidence {
            what: What::Certificate(chain),
            proof,
            peer: PeerKey::LOCAL,
        }
    }

    /// Whoever brought it: where many bring evidence at once, each peer's is looked at in turn.
    #[must_use]
    pub fn brought_by(mut self, peer: PeerKey) -> Evidence {
        self.peer = peer;
        self
    }
}

/// A key whose possession was shown with this very request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// RFC 7638, SHA-256.
    pub thumbprint: [u8; 32],
    /// How it was shown.
    pub kind: ProofKind,
}

/// How possession of a key was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// A DPoP proof (RFC 9449).
    Dpop,
    /// The self-signature of the key that is to be certified.
    Key,
    /// The handshake of this connection (RFC 8705).
    Tls {
        /// SHA-256 of the client certificate's DER: `x5t#S256`.
        certificate: [u8; 32],
    },
}

/// A verified identity. Made by [`Roster::authenticate`] alone.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    owner: Option<String>,
    task: Option<TaskEvidence>,
    replay: Option<Replay>,
    proof: Option<Proof>,
    seen: Seen,
    ceiling: Option<Ceiling>,
}

impl Caller {
    /// The identity and its claims, as policy sees them. `owner`, `person` and `groups` are empty: they are the inventory's.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The group the entry's `owner` template names. It counts only where inventory and `entities.json` name no owner and
    /// that group exists: a claim never creates a team.
    #[must_use]
    pub fn claimed_owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Takes the claimed owner for the caller's, where `policy` names none and has that group
    /// (IDENTITY.md §1).
    pub(crate) fn adopt_owner(&mut self, policy: &PolicySet) {
        let claimed = self.owner.as_ref().filter(|group| policy.has_group(group));
        if policy.owner_of(&self.principal.id).is_none() {
            self.principal.owner = claimed.cloned();
        }
    }

    /// The unit of work the evidence speaks for, if it speaks for one.
    #[must_use]
    pub fn task(&self) -> Option<&TaskEvidence> {
        self.task.as_ref()
    }

    /// What must be spent with the outcome; nothing where the evidence is a handshake, which is new each time.
    #[must_use]
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// The thumbprint of the key that was proved with this request.
    #[must_use]
    pub fn proof(&self) -> Option<[u8; 32]> {
        self.proof.map(|proof| proof.thumbprint)
    }

    /// How that key was proved.
    #[must_use]
    pub fn proof_kind(&self) -> Option<ProofKind> {
        self.proof.map(|proof| proof.kind)
    }

    /// What the ledger keeps of the evidence.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The evidence's own end, where a credential may not outlive it.
    #[must_use]
    pub fn ceiling(&self) -> Option<&Ceiling> {
        self.ceiling.as_ref()
    }
}

/// One unit of work, as the evidence names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvidence {
    /// `<issuer name>:<path>`, at most 255 bytes.
    pub name: String,
    /// The account that started it: an id of the issuer's, and no SPIFFE ID. (issuer name, this) may be linked to a person.
    pub initiator: Option<String>,
    /// `task_life`: how long after it was opened the task ends; without it, it has no deadline.
    pub life: Option<Seconds>,
}

/// How evidence is kept from being used twice (IDENTITY.md §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// SHA-256 over the entry's name and the `jti`, or the signing input's digest where there is none.
    pub key: [u8; 32],
    /// Whether the same token may come again.
    pub reuse: Reuse,
    /// Until when the key must be remembered: `exp` + leeway + 60 s.
    pub until: Timestamp,
}

/// Whether the same token may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It may not.
    Never,
    /// With a proof of the key that came with it first, and for the same task.
    SameKey,
}

/// What the ledger keeps of a token that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of the signing input.
    pub digest: [u8; 32],
    /// When the issuer made it.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// The thumbprint of the key that verified.
    pub key: [u8; 32],
}

/// No caller. To the outside every [`Refused::Evidence`] is the same bytes, no sooner than 3 ms (SECURITY.md §5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The evidence does not hold.
    #[error("the evidence is rejected: {label}")]
    Evidence {
        /// Why, for metric and log.
        label: Label,
        /// The entry it was judged by, if one matched.
        issuer: Option<Arc<str>>,
    },
    /// More signatures wait to be checked than can be in time: 503.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// An entry matched and its keys are not known: 503, cause unnamed.
    #[error("the keys of issuer `{issuer}` are not known")]
    Unavailable {
        /// The entry.
        issuer: Arc<str>,
    },
}

/// Why evidence does not hold: the closed list of IDENTITY.md §2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the words are those of IDENTITY.md §2.4, and the checks of §2.1 explain them"
)]
pub enum Label {
    Alg,
    Attestation,
    Audience,
    Claims,
    CutOff,
    Early,
    Event,
    Expired,
    Form,
    Frozen,
    Header,
    Issuer,
    Key,
    Lifetime,
    NotAdmitted,
    Proof,
    Replay,
    Signature,
    TooLarge,
    Typ,
}

impl Label {
    /// The word in metric and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Alg => "alg",
            Label::Attestation => "attestation",
            Label::Audience => "audience",
            Label::Claims => "claims",
            Label::CutOff => "cut_off",
            Label::Early => "early",
            Label::Event => "event",
            Label::Expired => "expired",
            Label::Form => "form",
            Label::Frozen => "frozen",
            Label::Header => "header",
            Label::Issuer => "issuer",
            Label::Key => "key",
            Label::Lifetime => "lifetime",
            Label::NotAdmitted => "not_admitted",
            Label::Proof => "proof",
            Label::Replay => "replay",
            Label::Signature => "signature",
            Label::TooLarge => "too_large",
            Label::Typ => "typ",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All issuers whose tokens are evidence, by their exact bytes.
#[derive(Debug, Default)]
pub struct Roster {
    /// `iss` (or `spiffe://` and the trust domain of `sub`), then `aud`.
    entries: HashMap<String, HashMap<String, Arc<IssuerEntry>>>,
    /// Who may come in without a token.
    attestors: Vec<Arc<AttestEntry>>,
    /// What an operator froze; nothing, where nobody told.
    frozen: Option<watch::Receiver<Frozen>>,
    /// Signatures that are checked at once: on all cores but one.
    checks: Turns<PeerKey>,
}

impl Roster {
    /// Puts the entries side by side.
    ///
    /// # Errors
    /// The entries (by name) whose (`url`, `audience`) another one has too (I05), and those beyond 256.
    pub fn new(issuers: Vec<IssuerEntry>) -> Result<Roster, Vec<(String, Fault)>> {
        let mut roster = Roster::default();
        let mut faults = Vec::new();
        for (index, entry) in issuers.into_iter().enumerate() {
            let name = entry.name().to_owned();
            if index >= MAX_ENTRIES {
                faults.push((
                    name.clone(),
                    Fault::new("", format!("is one more than {MAX_ENTRIES}")),
                ));
            }
            let audiences = roster.entries.entry(entry.url().to_owned()).or_default();
            if let Some(twin) = audiences.get(entry.audience()) {
                let text = format!(
                    "has the same `url` and `audience` as [issuer.{}] (I05)",
                    twin.name()
                );
                faults.push((name, Fault::new("audience", text)));
                continue;
            }
            audiences.insert(entry.audience().to_owned(), Arc::new(entry));
        }
        if faults.is_empty() {
            Ok(roster)
        } else {
            Err(faults)
        }
    }

    /// Judges a token with the walk's one `now`. Reads memory, and may wait for a key, 3 seconds at most; writes nothing.
    ///
    /// # Errors
    /// [`Refused`], with the first check of IDENTITY.md §2.1 that failed.
    pub async fn authenticate(
        &self,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let refused = |issuer: Option<&Arc<str>>, label| Refused::Evidence {
            label,
            issuer: issuer.cloned(),
        };
        let token = match &evidence.what {
            What::Certificate(chain) => {
                let _turn = self.checks.take(&evidence.peer).await?;
                let caller = self.attested(chain, evidence.proof, now).await?;
                return self.unfrozen(caller);
            }
            What::Token(token) => token,
        };
        #[expect(clippy::disallowed_methods, reason = "the one reader of tokens")]
        let token = Unverified::parse(token.expose()).map_err(|label| refused(None, label))?;
        let header = token
            .evidence_header()
            .map_err(|label| refused(None, label))?;
        let entry = self
            .entry(token.untrusted())
            .map_err(|label| refused(None, label))?;
        let because = |label| refused(Some(&entry.name), label);
        if self.is_frozen(&entry.name) {
            return Err(because(Label::Frozen));
        }
        entry.check_header(&header).map_err(because)?;
        judge::not_long_over(token.untrusted(), now).map_err(because)?;
        let (key, first_seen) = match entry.source.key(header.kid, now).await {
            Ok(key) => key,
            Err(Missing::Kid) => return Err(because(Label::Key)),
            Err(Missing::Keys) => {
                return Err(Refused::Unavailable {
                    issuer: Arc::clone(&entry.name),
                });
            }
        };
        if header.alg != key.algorithm().as_str() || !entry.algorithms.contains(&key.algorithm()) {
            return Err(because(Label::Alg));
        }
        let typ = header.typ.map(str::to_ascii_uppercase);
        let turn = self.checks.take(&evidence.peer).await?;
        let verified = token.verify(&key).map_err(because)?;
        drop(turn);
        entry
            .judge(&verified, typ.as_deref(), evidence.proof, now)
            .map(|caller| caller.with_key_age(first_seen, now))
            .map_err(because)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<IssuerEntry>> {
        self.entries.values().flat_map(HashMap::values)
    }

    /// The one entry for these bytes. What is not verified yet only ever indexes a map.
    fn entry(&self, untrusted: &Payload) -> Result<&IssuerEntry, Label> {
        // A trust domain's entry is asked first: it does not read `iss`.
        let named = [FoundBy::TrustDomain, FoundBy::Issuer]
            .map(|place| self.entries.get(judge::found_at(untrusted, place)?));
        let mut known = named.into_iter().flatten().peekable();
        known.peek().ok_or(Label::Issuer)?;
        let audience = judge::one_audience(untrusted)?;
        let entry = known.find_map(|audiences| audiences.get(audience));
        entry.map(Arc::as_ref).ok_or(Label::Audience)
    }
}

/// The leeway between two clocks: one value for every comparison of times and for how long a replay key is kept.
pub const LEEWAY: Seconds = Seconds::new(30);

/// IDENTITY.md §2.2.
const MAX_ENTRIES: usize = 256;
