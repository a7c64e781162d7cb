//! What one source knows: the set that serves, the fetch under way, and what was refused lately. Plain values and plain
//! assignments; [`super::Source`] holds the lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use stint_policy::{Seconds, Timestamp};
use tokio::sync::watch;

use super::{Ages, Dated};
use crate::authenticate::discovery::{FetchError, MAX_CHANGES};
use crate::authenticate::keys::{KeySet, KeyUse};
use crate::authenticate::register::{Recorded, RecordedKey};

/// What a file looked like from outside: length, and when it was written.
pub(in crate::authenticate) type Stamp = (u64, Option<SystemTime>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) set: Option<Held>,
    /// The sender lives as long as a fetch is under way.
    flight: watch::Receiver<()>,
    failures: u32,
    retry_at: Timestamp,
    /// When an unknown `kid` may force a fetch again.
    force_at: Timestamp,
    /// `kid`s that were looked for in vain, and until when nobody looks again.
    absent: HashMap<String, Timestamp>,
    pub(super) last_error: Option<FetchError>,
    /// Since when fetches fail.
    pub(super) failing_since: Option<Timestamp>,
    /// When the set changed in the last hour.
    changes: VecDeque<Timestamp>,
    /// Too many changes: no new keys until an operator looks.
    pub(super) halted: bool,
}

/// A set that serves.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) keys: Arc<KeySet>,
    /// When the fetch began that brought it.
    pub(super) since: Timestamp,
    pub(super) refresh_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// When each key was first seen, by thumbprint.
    first: HashMap<[u8; 32], Timestamp>,
    pub(super) file: Option<Stamp>,
}

/// Thumbprints that came and that went.
pub(super) type News = (Vec<[u8; 32]>, Vec<[u8; 32]>);

impl Held {
    /// A set that was fetched at `since`, all of its keys new. `ages`: soft and hard.
    pub(super) fn new(keys: KeySet, since: Timestamp, (soft, hard): (Seconds, Seconds)) -> Held {
        let thumbprints = keys.thumbprints().into_iter();
        Held {
            first: thumbprints.map(|key| (key, since)).collect(),
            keys: Arc::new(keys),
            since,
            refresh_at: since.plus(soft),
            expires_at: since.plus(hard),
            file: None,
        }
    }

    /// The set on record, as old as its last fetch; due at once. `None` unless it is what its entry says.
    pub(super) fn restored(recorded: &Recorded, ages: Ages) -> Option<Held> {
        let jwks = recorded
            .keys
            .iter()
            .map(|key| Value::Object(key.jwk.clone()));
        let jwks = json!({ "keys": jwks.collect::<Vec<_>>() });
        let keys = KeySet::parse(jwks.to_string().as_bytes(), KeyUse::Signature).ok()?;
        if keys.digest() != recorded.fetch.key {
            return None;
        }
        let mut held = Held::new(keys, recorded.fetch.at, (Seconds::new(0), ages.hard));
        let written = recorded.keys.iter().zip(held.keys.jwks());
        held.first = written
            .map(|(key, (thumbprint, _))| (thumbprint, key.since))
            .collect();
        Some(held)
    }

    /// The set as it goes on record.
    pub(super) fn recorded(&self) -> Vec<RecordedKey> {
        let key = |(thumbprint, jwk)| RecordedKey {
            jwk,
            since: self.first.get(&thumbprint).copied().unwrap_or(self.since),
        };
        self.keys.jwks().into_iter().map(key).collect()
    }
}

impl State {
    pub(super) fn cold() -> State {
        let long_ago = Timestamp::from_millis(0);
        State {
            set: None,
            flight: watch::channel(()).1,
            failures: 0,
            retry_at: long_ago,
            force_at: long_ago,
            absent: HashMap::new(),
            last_error: None,
            failing_since: None,
            changes: VecDeque::new(),
            halted: false,
        }
    }

    /// Keys of the config: they never age, and nobody knows when they were first seen.
    pub(super) fn fixed(keys: KeySet) -> State {
        let forever = Timestamp::MAX;
        let held = Held {
            keys: Arc::new(keys),
            since: Timestamp::from_millis(0),
            refresh_at: forever,
            expires_at: forever,
            first: HashMap::new(),
            file: None,
        };
        State {
            set: Some(held),
            retry_at: forever,
            ..State::cold()
        }
    }

    fn serving(&self, now: Timestamp) -> Option<&Held> {
        self.set.as_ref().filter(|held| now < held.expires_at)
    }

    pub(super) fn serves(&self, now: Timestamp) -> bool {
        self.serving(now).is_some()
    }

    pub(super) fn find(&self, kid: &str, now: Timestamp) -> Option<Dated> {
        let held = self.serving(now)?;
        let key = held.keys.get(kid)?;
        let first = held.first.get(&key.thumbprint()).copied();
        Some((Arc::clone(key), first))
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.set.as_ref().is_none_or(|held| held.refresh_at <= now)
    }

    pub(super) fn in_flight(&self) -> bool {
        self.flight.has_changed().is_ok()
    }

    pub(super) fn flight(&self) -> watch::Receiver<()> {
        self.flight.clone()
    }

    pub(super) fn take_off(&mut self, flight: watch::Receiver<()>) {
        self.flight = flight;
    }

    pub(super) fn may_fetch(&self, now: Timestamp) -> bool {
        !self.in_flight() && self.retry_at <= now
    }

    /// Whether an unknown `kid` may force a fetch now; it then did.
    pub(super) fn force(&mut self, now: Timestamp) -> bool {
        let may = self.force_at <= now;
        if may {
            self.force_at = now.plus(FORCED_EVERY);
        }
        may
    }

    /// Whether this `kid` was looked for in vain a moment ago: it waits for nothing and fetches nothing.
    pub(super) fn is_known_to_be_absent(&self, kid: &str, now: Timestamp) -> bool {
        self.absent.get(kid).is_some_and(|until| now < *until)
    }

    /// This `kid` was looked for in vain: nobody looks before a fetch can be forced again.
    pub(super) fn is_absent(&mut self, kid: &str, now: Timestamp) {
        if self.absent.len() >= ABSENT {
            self.absent.retain(|_, until| now < *until);
        }
        if self.absent.len() < ABSENT && now < self.force_at {
            self.absent.insert(kid.to_owned(), self.force_at);
        }
    }

    pub(super) fn has_other_file(&self, seen: Option<Stamp>) -> bool {
        self.set.as_ref().is_some_and(|held| held.file != seen)
    }

    /// What of `held` is news beside the set that is there; nothing if the keys are the same. Keys that stay keep the
    /// time they were first seen.
    ///
    /// # Errors
    /// [`FetchError::Changing`] if there is news, and there was too much of it lately.
    pub(super) fn compare(
        &mut self,
        held: &mut Held,
        now: Timestamp,
    ) -> Result<Option<News>, FetchError> {
        let (before, after) = match &self.set {
            Some(set) => (set.keys.thumbprints(), held.keys.thumbprints()),
            None => (Default::default(), held.keys.thumbprints()),
        };
        for (key, first) in &mut held.first {
            let known = self.set.as_ref().and_then(|set| set.first.get(key));
            *first = known.copied().unwrap_or(*first);
        }
        if self.set.is_some() && before == after {
            return Ok(None);
        }
        self.changes.retain(|at| now < at.plus(HOUR));
        if self.halted || self.changes.len() >= MAX_CHANGES {
            return Err(FetchError::Changing);
        }
        let added = after.difference(&before).copied().collect();
        let removed = before.difference(&after).copied().collect();
        Ok(Some((added, removed)))
    }

    /// The set is another one from here on. `changed`: when its keys did, if they did.
    pub(super) fn swap(&mut self, held: Held, changed: Option<Timestamp>) {
        // The first set is not a change of anything.
        if self.set.is_some() {
            self.changes.extend(changed);
        }
        if changed.is_some() {
            self.absent.clear();
        }
        self.set = Some(held);
        self.failures = 0;
        self.last_error = None;
        self.failing_since = None;
    }

    /// Takes up a set from before the restart, unless a fetch was faster.
    pub(super) fn restore(&mut self, held: Held, changes: &[Timestamp]) {
        if self.set.is_none() {
            self.set = Some(held);
            self.changes = changes.iter().copied().collect();
        }
    }

    /// A fetch failed; the next one waits. Whether this is the moment to raise the alarm about changes.
    pub(super) fn fail(
        &mut self,
        error: FetchError,
        now: Timestamp,
        back_off: fn(u32) -> Seconds,
    ) -> bool {
        let halts = matches!(error, FetchError::Changing);
        let alarm = halts && !self.halted;
        self.halted |= halts;
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.plus(back_off(self.failures));
        self.failing_since.get_or_insert(now);
        self.last_error = Some(error);
        alarm
    }

    /// An operator looked: new keys count again, from the next fetch on.
    pub(super) fn accept(&mut self) -> bool {
        let was = std::mem::take(&mut self.halted);
        if was {
            self.changes.clear();
            self.retry_at = Timestamp::from_millis(0);
            if let Some(held) = &mut self.set {
                held.refresh_at = Timestamp::from_millis(0);
            }
        }
        was
    }
}

// IDENTITY.md §2.2.
const FORCED_EVERY: Seconds = Seconds::new(60);
/// IDENTITY.md §2.5 *Refresh*.
const ABSENT: usize = 1_024;
const HOUR: Seconds = Seconds::new(3600);
