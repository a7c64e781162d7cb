//! What entries say that still binds: freezes that were not lifted, identities that are disabled, and each issuer's newest
//! key set (LEDGER.md §8).
//!
//! It is a fold of the entries themselves, in order. No row says it, so no row can be taken away: at a start the headers
//! are folded as they are re-hashed, and after that the committer folds what it commits. What the fold forbids cannot
//! follow it.

use std::collections::BTreeMap;

use stint_audit::kind::{AdminOp, KeyUse, Scope};
use stint_audit::{Body, Digest, Header, What};

use super::OpenError;
use super::binding::Binding;
use crate::store::Store;
use crate::store::trail;

/// What is frozen now, and who is disabled, by the seq of the entry that said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frozen {
    pub(super) targets: BTreeMap<u64, Target>,
    /// SPIFFE IDs, of workloads and people alike.
    pub(super) disabled: BTreeMap<u64, String>,
}

/// What a freeze covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything.
    All,
    /// The evidence of one issuer, by its config name.
    Issuer(String),
}

/// What the headers of a log say that still binds, before bodies say of whom.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Everything that binds, by its entry; some of it does not any more.
    headers: BTreeMap<u64, Header>,
    binding: Binding,
}

/// A `key_added` entry of an issuer's set.
#[derive(Debug, Clone)]
pub struct SetEntry {
    /// What names the set.
    pub key: Digest,
    /// When it was recorded, in milliseconds.
    pub ts: u64,
    /// The body's members.
    pub body: serde_json::Map<String, serde_json::Value>,
}

impl Frozen {
    /// Whether the evidence of this issuer is refused.
    #[must_use]
    pub fn covers(&self, issuer: &str) -> bool {
        self.targets.values().any(|target| match target {
            Target::All => true,
            Target::Issuer(frozen) => frozen == issuer,
        })
    }

    /// Whether this identity is shut out.
    #[must_use]
    pub fn disables(&self, id: &str) -> bool {
        self.disabled.values().any(|disabled| disabled == id)
    }

    /// The entries that shut this identity out.
    #[must_use]
    pub fn disabled_by(&self, id: &str) -> Vec<u64> {
        let same = self.disabled.iter().filter(|(_, disabled)| *disabled == id);
        same.map(|(seq, _)| *seq).collect()
    }

    /// The entries that froze exactly this.
    #[must_use]
    pub fn of(&self, target: &Target) -> Vec<u64> {
        let same = self.targets.iter().filter(|(_, frozen)| *frozen == target);
        same.map(|(seq, _)| *seq).collect()
    }

    /// What is frozen, oldest first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.values()
    }

    /// Whether anything is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Whether an entry has a say here.
    pub(super) fn hears(what: &What) -> bool {
        match what {
            What::CallerDisabled(_) | What::Frozen(_) | What::Unfrozen(_) => true,
            What::Admin(admin) => admin.op == AdminOp::CallerEnabled,
            _ => false,
        }
    }

    /// What it comes to with one more entry, at `seq`, whose body is asked for where it matters. A freeze without one
    /// covers everything.
    pub(super) fn follow(&mut self, seq: u64, what: &What, body: impl FnOnce() -> Option<Body>) {
        match what {
            What::Frozen(_) => drop(self.targets.insert(seq, Target::of(body().as_ref()))),
            What::Unfrozen(unfrozen) => drop(self.targets.remove(&unfrozen.of)),
            What::CallerDisabled(_) => {
                self.disabled
                    .extend(body().and_then(|body| Some((seq, whom(&body)?))));
            }
            What::Admin(admin) if admin.op == AdminOp::CallerEnabled => {
                admin.of.map(|of| self.disabled.remove(&of));
            }
            _ => {}
        }
    }
}

impl Target {
    /// What the body of a `frozen` entry names. One that names nothing covers everything.
    fn of(body: Option<&Body>) -> Target {
        let target = body.and_then(|body| body.what.get("target")?.as_str());
        target.map_or(Target::All, |issuer| Target::Issuer(issuer.to_owned()))
    }

    /// The word of the header.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Target::All => Scope::All,
            Target::Issuer(_) => Scope::Issuer,
        }
    }
}

impl Standing {
    /// What bound as of a log of `size`, whose last entry is of `last_ts`.
    pub(super) fn restored(headers: Vec<Header>, size: u64, last_ts: u64) -> Self {
        let binding = Binding::restored(&headers, size, last_ts);
        let headers = headers.into_iter().map(|header| (header.seq, header));
        Self {
            headers: headers.collect(),
            binding,
        }
    }

    /// Folds one header, whose bytes hash to their leaf. Most are none of its business, and are not parsed.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let kind = KINDS.iter().find(|kind| contains(bytes, kind));
        if kind.is_none() {
            return Ok(());
        }
        let header =
            Header::parse(bytes).map_err(|error| OpenError::Diverged(error.to_string()))?;
        self.binding.follow(&header);
        self.headers.insert(header.seq, header);
        if self.headers.len() > 2 * self.binding.len() + SPARE {
            self.binding.prune();
            self.headers.retain(|seq, _| self.binding.holds(*seq));
        }
        Ok(())
    }

    /// All entries of a log of `size` were folded; the last is of `last_ts`.
    pub(super) fn arrived(&mut self, size: u64, last_ts: u64) {
        self.binding.arrived(size, last_ts);
    }

    /// The fold, to go on with.
    pub(super) fn into_binding(self) -> Binding {
        self.binding
    }

    /// The entry that put the policies in force, and which they are.
    pub(super) fn policy(&self) -> Option<(u64, Digest)> {
        let seq = self.binding.policy()?;
        Some((seq, self.headers.get(&seq)?.pol?))
    }

    /// The newest entry that says that the log was cut.
    pub(super) fn pruned(&self) -> Option<&Header> {
        self.headers.get(&self.binding.pruned()?)
    }

    /// What is frozen and who is disabled, by the bodies that say it.
    pub(super) async fn frozen(&self, store: &Store) -> Result<Frozen, OpenError> {
        let mut frozen = Frozen::default();
        for header in self.of(Frozen::hears) {
            let body = body(store, header).await?;
            frozen.follow(header.seq, &header.what, || Some(body));
        }
        Ok(frozen)
    }

    /// The newest sets, newest first.
    pub(super) async fn sets(&self, store: &Store) -> Result<Vec<SetEntry>, OpenError> {
        let mut sets = Vec::new();
        for header in
            self.of(|what| matches!(what, What::KeyAdded(it) if it.usage == KeyUse::Issuer))
        {
            let What::KeyAdded(added) = &header.what else {
                continue;
            };
            sets.push(SetEntry {
                key: added.key,
                ts: header.ts,
                body: body(store, header).await?.what,
            });
        }
        sets.reverse();
        Ok(sets)
    }

    /// The keys that sign credentials, as the log counts on them.
    pub(super) fn signing(&self) -> Vec<(KeyUse, Digest)> {
        let signs = |header: &Header| match &header.what {
            What::KeyAdded(it) if it.usage.signs_credentials() => Some((it.usage, it.key)),
            _ => None,
        };
        self.of(|what| matches!(what, What::KeyAdded(_)))
            .filter_map(signs)
            .collect()
    }

    /// The headers that bind, of some kinds.
    fn of(&self, wanted: impl Fn(&What) -> bool) -> impl Iterator<Item = &Header> {
        let bind = self
            .headers
            .values()
            .filter(|it| self.binding.holds(it.seq));
        bind.filter(move |header| wanted(&header.what))
    }
}

/// Whom the body of a `caller_disabled` entry names.
fn whom(body: &Body) -> Option<String> {
    let id = body.what.get("caller")?.get("id")?;
    id.as_str().map(str::to_owned)
}

/// The body that this header commits to, or no start.
async fn body(store: &Store, header: &Header) -> Result<Body, OpenError> {
    let seq = trail::signed(header.seq);
    let found = store.bodies(seq, seq + 1).await?;
    let bytes = found.into_iter().next().map(|(_, bytes)| bytes);
    let body = bytes.filter(|bytes| Digest::of(bytes) == header.body);
    let body = body.and_then(|bytes| Body::parse(&bytes).ok());
    body.ok_or_else(|| {
        let text = format!(
            "entry {}: its body does not hash to what the header says",
            header.seq
        );
        OpenError::Diverged(text)
    })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(bytes, word).is_some()
}

/// How the headers that matter spell their kind: canonical JSON has one spelling.
const KINDS: [&[u8]; 12] = [
    br#""kind":"admin""#,
    br#""kind":"caller_disabled""#,
    br#""kind":"frozen""#,
    br#""kind":"key_added""#,
    br#""kind":"key_retired""#,
    br#""kind":"policy_loaded""#,
    br#""kind":"request_closed""#,
    br#""kind":"requested""#,
    br#""kind":"revoked""#,
    br#""kind":"task_closed""#,
    br#""kind":"unfrozen""#,
    br#""kind":"voted""#,
];

/// Headers that are kept although they bind no more, until they are looked through.
const SPARE: usize = 1_024;
