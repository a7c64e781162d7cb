//! What entries say that still binds: freezes that were not lifted, and each issuer's newest key set (LEDGER.md §8).
//!
//! It is a fold of the entries themselves, in order. No row says it, so no row can be taken away: at a start the headers
//! are folded as they are re-hashed, and after that the committer folds what it commits. What the fold forbids cannot
//! follow it.

use std::collections::BTreeMap;

use stint_audit::kind::{KeyUse, Scope};
use stint_audit::{Body, Digest, Entry, Header, What};

use super::OpenError;
use crate::store::Store;
use crate::store::trail;

/// What is frozen now, by the seq of the entry that said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frozen(BTreeMap<u64, Target>);

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
    frozen: BTreeMap<u64, Header>,
    /// Key sets of issuers, the newest last; as many as may matter.
    sets: Vec<Header>,
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
        self.0.values().any(|target| match target {
            Target::All => true,
            Target::Issuer(frozen) => frozen == issuer,
        })
    }

    /// The entries that froze exactly this.
    #[must_use]
    pub fn of(&self, target: &Target) -> Vec<u64> {
        let same = self.0.iter().filter(|(_, frozen)| *frozen == target);
        same.map(|(seq, _)| *seq).collect()
    }

    /// What is frozen, oldest first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.0.values()
    }

    /// Whether anything is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it comes to with one more entry, at `seq`.
    pub(super) fn follow(&mut self, seq: u64, entry: &Entry) {
        match &entry.what {
            What::Frozen(_) => drop(self.0.insert(seq, Target::of(&entry.body))),
            What::Unfrozen(unfrozen) => drop(self.0.remove(&unfrozen.of)),
            _ => {}
        }
    }
}

impl Target {
    /// What the body of a `frozen` entry names. One that names nothing covers everything.
    fn of(body: &Body) -> Target {
        let target = body.what.get("target").and_then(|target| target.as_str());
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
    /// Folds one header, whose bytes hash to their leaf. Most are none of its business, and are not parsed.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let kind = KINDS.iter().find(|kind| contains(bytes, kind));
        if kind.is_none() {
            return Ok(());
        }
        let header =
            Header::parse(bytes).map_err(|error| OpenError::Diverged(error.to_string()))?;
        match &header.what {
            What::Frozen(_) => drop(self.frozen.insert(header.seq, header)),
            What::Unfrozen(unfrozen) => drop(self.frozen.remove(&unfrozen.of)),
            What::KeyAdded(added) if added.usage == KeyUse::Issuer => {
                self.sets.push(header);
                if self.sets.len() > 2 * SETS {
                    self.sets.drain(..SETS);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is frozen, by the bodies that say it.
    pub(super) async fn frozen(&self, store: &Store) -> Result<Frozen, OpenError> {
        let mut frozen = Frozen::default();
        for (seq, header) in &self.frozen {
            frozen
                .0
                .insert(*seq, Target::of(&body(store, header).await?));
        }
        Ok(frozen)
    }

    /// The newest sets, newest first. One whose body is gone is left out: it serves nobody.
    pub(super) async fn sets(&self, store: &Store) -> Result<Vec<SetEntry>, OpenError> {
        let mut sets = Vec::new();
        for header in self.sets.iter().rev().take(SETS) {
            let What::KeyAdded(added) = &header.what else {
                continue;
            };
            sets.push(SetEntry {
                key: added.key,
                ts: header.ts,
                body: body(store, header).await?.what,
            });
        }
        Ok(sets)
    }
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
const KINDS: [&[u8]; 3] = [
    br#""kind":"frozen""#,
    br#""kind":"unfrozen""#,
    br#""kind":"key_added""#,
];

/// Key sets that are looked at: of 256 issuers, each may have changed once since another did.
const SETS: usize = 1_024;
