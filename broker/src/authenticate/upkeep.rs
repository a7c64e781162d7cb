//! What is done with issuers beside judging their tokens: keys are fetched, restored and accepted, and freezes heeded.

use std::sync::Arc;

use stint_policy::Timestamp;
use tokio::sync::watch;

use super::attest::AttestEntry;
use super::register::{Recorded, Register};
use super::source::Health;
use super::{Caller, IssuerEntry, Label, Refused, Roster};
use crate::ledger::Frozen;

impl Roster {
    /// Refuses the evidence of whatever is frozen, from now on.
    pub fn heed(&mut self, frozen: watch::Receiver<Frozen>) {
        self.frozen = Some(frozen);
    }

    /// From now on a set with other keys serves only once `register` has it on record.
    pub fn enrol(&self, register: &Register) {
        self.all()
            .for_each(|entry| entry.source.enrol(&entry.name, register));
    }

    /// Takes up the sets that are on record, as old as they are. Before anything is served.
    pub fn restore(&self, recorded: &[Recorded]) {
        for recorded in recorded {
            if let Some(entry) = self.named(&recorded.fetch.issuer) {
                entry.source.restore(recorded);
            }
        }
    }

    /// Fetches what is due and nobody asked for yet. Nothing waits for it; called once after start.
    pub fn warm_up(&self, now: Timestamp) {
        self.all().for_each(|entry| entry.source.warm_up(now));
    }

    /// Reads key files again that are not what they were. Called every half second.
    pub fn glance(&self, now: Timestamp) {
        self.all().for_each(|entry| entry.source.glance(now));
    }

    /// An operator lets new keys of this issuer count again, after too many changes, and they are fetched. `None`: there
    /// is no such issuer; `false`: none were held back.
    #[must_use]
    pub fn accept(&self, issuer: &str, now: Timestamp) -> Option<bool> {
        let source = &self.named(issuer)?.source;
        let was = source.accept();
        if was {
            source.warm_up(now);
        }
        Some(was)
    }

    /// Whether there is an entry of this name.
    #[must_use]
    pub fn knows(&self, issuer: &str) -> bool {
        let attests = |entry: &Arc<AttestEntry>| entry.name() == issuer;
        self.named(issuer).is_some() || self.attestors.iter().any(attests)
    }

    /// How the keys of each issuer are, by name.
    #[must_use]
    pub fn health(&self, now: Timestamp) -> Vec<Health> {
        let health = |entry: &Arc<IssuerEntry>| Health {
            frozen: self.is_frozen(&entry.name),
            ..entry.source.health(&entry.name, now)
        };
        let mut all: Vec<_> = self.all().map(health).collect();
        all.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        all
    }

    /// Check 13 of IDENTITY.md §2.1, made early: what is frozen costs no fetch and no signature. The outcome's
    /// transaction reads it again.
    pub(super) fn is_frozen(&self, issuer: &str) -> bool {
        let frozen = self.frozen.as_ref();
        frozen.is_some_and(|frozen| frozen.borrow().covers(issuer))
    }

    /// The same for evidence that names its entry by what it is.
    pub(super) fn unfrozen(&self, caller: Caller) -> Result<Caller, Refused> {
        let issuer = &caller.principal.issuer;
        match self.is_frozen(issuer) {
            true => Err(Refused::Evidence {
                label: Label::Frozen,
                issuer: Some(issuer.as_str().into()),
            }),
            false => Ok(caller),
        }
    }

    fn named(&self, issuer: &str) -> Option<&Arc<IssuerEntry>> {
        self.all().find(|entry| &*entry.name == issuer)
    }
}

impl Caller {
    /// How long the key that verified has been known, where that is known (`context.origin.key_age`, seconds).
    pub(super) fn with_key_age(mut self, first: Option<Timestamp>, now: Timestamp) -> Caller {
        let age = first.map(|first| now.seconds_since(first).max(0));
        let origin = &mut self.principal.claims.origin;
        origin.extend(age.map(|age| ("key_age".to_owned(), stint_policy::Value::Long(age))));
        self
    }
}
