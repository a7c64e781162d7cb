//! Where an issuer entry's keys come from, and what is known of them now (IDENTITY.md §2.5 *Refresh*).
//!
//! `cold → ready → stale → expired`, by the walk's clock: keys are fetched when a token first wants them, past the soft
//! age they still serve while one refresh runs, past the hard age this issuer alone has none. One fetch at a time and
//! issuer, in a task of its own, outside every lock; failures back off; an unknown `kid` forces at most one fetch a
//! minute. A set is swapped whole: a key that left the document is dead at the swap. A set with other keys than the last
//! is on record before it serves, and one that changes without end does not serve at all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use stint_policy::{Seconds, Timestamp};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, watch};

use crate::authenticate::discovery::{FetchError, Fetched, Fetcher};
use crate::authenticate::keys::{Key, KeySet, KeyUse};
use crate::authenticate::register::{Filing, KeyChange, KeyFetch, Recorded, Register};

mod health;
mod state;

pub(super) use health::in_full;
pub use health::{Health, HealthState};
pub(super) use state::Stamp;

use state::{Held, State};

/// The keys of one issuer entry.
#[derive(Debug)]
pub(super) struct Source {
    /// None: the keys stand in the config and never change.
    supply: Option<Supply>,
    ages: Ages,
    state: Mutex<State>,
    waiting: Semaphore,
    /// The entry's name, and where changes are recorded. Set once, when the broker is built; a source without one is a
    /// test's, or `stintd issuer test`'s, and its sets serve unrecorded.
    register: OnceLock<(Arc<str>, Register)>,
}

/// Where keys are fetched from.
#[derive(Debug)]
pub(super) enum Supply {
    File(PathBuf, KeyUse),
    Network(Fetcher),
}

/// How long a set serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    /// `jwks_max_age`: then it is refreshed.
    pub(super) soft: Seconds,
    /// `jwks_stale`: then it serves no more.
    pub(super) hard: Seconds,
}

/// Why there is no key to check a token with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer's keys are not known: nobody's fault who holds a token.
    Keys,
    /// They are known, and this one is not among them.
    Kid,
}

/// A key, and when its issuer first showed it; not known of keys that stand in the config.
pub(super) type Dated = (Arc<Key>, Option<Timestamp>);

enum Look {
    Found(Dated),
    Missing(Missing),
    Wait(watch::Receiver<()>),
}

impl Source {
    /// Keys that never change: the config is their record.
    pub(super) fn fixed(keys: KeySet) -> Arc<Source> {
        let ages = Ages {
            soft: Seconds::new(0),
            hard: Seconds::new(0),
        };
        Source::new(None, ages, State::fixed(keys))
    }

    /// Keys that are fetched when they are first wanted.
    pub(super) fn fetched(supply: Supply, ages: Ages) -> Arc<Source> {
        Source::new(Some(supply), ages, State::cold())
    }

    fn new(supply: Option<Supply>, ages: Ages, state: State) -> Arc<Source> {
        Arc::new(Source {
            supply,
            ages,
            state: Mutex::new(state),
            waiting: Semaphore::new(WAITING),
            register: OnceLock::new(),
        })
    }

    /// From now on a set with other keys serves only once `register` has it on record. The first call counts.
    pub(super) fn enrol(&self, issuer: &Arc<str>, register: &Register) {
        drop(self.register.set((Arc::clone(issuer), register.clone())));
    }

    /// Takes up the last set on record, as old as it is, if it came from where keys come from now.
    pub(super) fn restore(&self, recorded: &Recorded) {
        let Some(supply) = &self.supply else { return };
        let Some(held) = Held::restored(recorded, self.ages) else {
            return;
        };
        if supply.place() == recorded.source {
            self.lock().restore(held, &recorded.changes);
        }
    }

    /// Where keys are fetched from; `None` if they stand in the config.
    pub(super) fn supply(&self) -> Option<&Supply> {
        self.supply.as_ref()
    }

    /// The keys that stand in the config.
    pub(super) fn config_keys(&self) -> Option<Arc<KeySet>> {
        let state = self.lock();
        let held = state.set.as_ref().filter(|_| self.supply.is_none());
        held.map(|held| Arc::clone(&held.keys))
    }

    /// Lets new keys count again after too many changes. `false` if none were held back.
    pub(super) fn accept(&self) -> bool {
        self.lock().accept()
    }

    /// The key of this `kid`. Waits only if there is none and a fetch may bring it: one fetch, 3 seconds at most.
    ///
    /// # Errors
    /// [`Missing`].
    pub(super) async fn key(self: &Arc<Self>, kid: &str, now: Timestamp) -> Result<Dated, Missing> {
        let mut landed = match self.look(kid, now) {
            Look::Found(key) => return Ok(key),
            Look::Missing(missing) => return Err(missing),
            Look::Wait(flight) => flight,
        };
        let Ok(_seat) = self.waiting.try_acquire() else {
            return Err(match self.lock().serves(now) {
                true => Missing::Kid,
                false => Missing::Keys,
            });
        };
        // The sender never sends; it is dropped when the fetch is over, however it ended.
        let over = async { while landed.changed().await.is_ok() {} };
        drop(tokio::time::timeout(PATIENCE, over).await);
        let found = self.lock().find(kid, now);
        found.ok_or_else(|| self.missing(kid, now))
    }

    /// Starts a fetch if one is due. Nothing waits for it.
    pub(super) fn warm_up(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.lock();
        if state.is_due(now) && state.may_fetch(now) {
            self.launch(&mut state, now);
        }
    }

    /// Reads a key file again if it is another one than was read last.
    pub(super) fn glance(self: &Arc<Self>, now: Timestamp) {
        let Some(Supply::File(path, _)) = &self.supply else {
            return;
        };
        let seen = std::fs::metadata(path).ok();
        let seen = seen.map(|file| (file.len(), file.modified().ok()));
        let mut state = self.lock();
        if state.has_other_file(seen) && !state.in_flight() {
            self.launch(&mut state, now);
        }
    }

    pub(super) fn health(&self, issuer: &str, now: Timestamp) -> Health {
        health::of(&self.lock(), issuer, self.supply.as_ref(), now)
    }

    fn look(self: &Arc<Self>, kid: &str, now: Timestamp) -> Look {
        let mut state = self.lock();
        let may_fetch = state.may_fetch(now);
        if let Some(found) = state.find(kid, now) {
            if may_fetch && state.is_due(now) {
                self.launch(&mut state, now);
            }
            return Look::Found(found);
        }
        if !state.serves(now) {
            return match (state.in_flight(), may_fetch) {
                (true, _) => Look::Wait(state.flight()),
                (false, true) => Look::Wait(self.launch(&mut state, now)),
                (false, false) => Look::Missing(Missing::Keys),
            };
        }
        if state.is_known_to_be_absent(kid, now) {
            return Look::Missing(Missing::Kid);
        }
        if state.in_flight() {
            return Look::Wait(state.flight());
        }
        if !may_fetch || !state.force(now) {
            state.is_absent(kid, now);
            return Look::Missing(Missing::Kid);
        }
        Look::Wait(self.launch(&mut state, now))
    }

    fn missing(&self, kid: &str, now: Timestamp) -> Missing {
        let mut state = self.lock();
        match state.serves(now) {
            true => {
                state.is_absent(kid, now);
                Missing::Kid
            }
            false => Missing::Keys,
        }
    }

    /// Starts the one fetch. Whoever holds the returned receiver learns when it is over.
    #[expect(
        clippy::disallowed_methods,
        reason = "a fetch serves everybody who waits for it, so no caller's hanging up may cancel it; if it panics its \
                  sender is dropped, the flight counts as over and the next token starts another"
    )]
    fn launch(self: &Arc<Self>, state: &mut State, now: Timestamp) -> watch::Receiver<()> {
        let (landing, flight) = watch::channel(());
        state.take_off(flight.clone());
        let source = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(supply) = &source.supply {
                source.land(supply.fetch().await, now).await;
            }
            drop(landing);
        });
        flight
    }

    /// `now`: when the fetch began, so that a set is never thought younger than it is.
    async fn land(&self, outcome: Result<Fetched, FetchError>, now: Timestamp) {
        let taken = match outcome {
            Ok(fetched) => self.take(fetched, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            let alarm = self.lock().fail(error, now, back_off);
            if let (true, Some((issuer, register))) = (alarm, self.register.get()) {
                tracing::error!(
                    issuer = &**issuer,
                    "the key set changes without end: no new key is taken until `stintd issuer accept`"
                );
                register.mention(Filing::Degraded(Arc::clone(issuer)));
            }
        }
    }

    /// Swaps the set, after its change is on record.
    async fn take(&self, fetched: Fetched, now: Timestamp) -> Result<(), FetchError> {
        let soft = self.ages.soft.as_u32();
        let age = fetched
            .max_age
            .map_or(soft, |age| age.clamp(MIN_AGE.min(soft), soft));
        let mut held = Held::new(fetched.keys, now, (Seconds::new(age), self.ages.hard));
        held.file = fetched.file;
        let news = self.lock().compare(&mut held, now)?;
        if let Some((issuer, register)) = self.register.get() {
            let fetch = KeyFetch {
                issuer: Arc::clone(issuer),
                key: held.keys.digest(),
                at: now,
            };
            match &news {
                None => register.mention(Filing::Fetched(fetch)),
                Some((added, removed)) => {
                    let change = KeyChange {
                        fetch,
                        keys: held.recorded(),
                        added: added.clone(),
                        removed: removed.clone(),
                        source: self.supply.as_ref().map_or_else(String::new, Supply::place),
                    };
                    // INVARIANT: no token is judged by a key that is not on record.
                    if !register.changed(change).await {
                        return Err(FetchError::Unrecorded);
                    }
                }
            }
        }
        self.lock().swap(held, news.is_some().then_some(now));
        Ok(())
    }

    /// The lock guards plain assignments, none of which can panic half-way: a poisoned state is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let (path, wanted) = match self {
            Supply::Network(fetcher) => return fetcher.fetch().await,
            Supply::File(path, wanted) => (path, *wanted),
        };
        let mut json = Vec::new();
        let file = tokio::fs::File::open(path)
            .await
            .map_err(FetchError::File)?;
        // Looked at before it is read: a change meanwhile shows at the next glance.
        let seen = file.metadata().await.map_err(FetchError::File)?;
        file.take(MAX_FILE)
            .read_to_end(&mut json)
            .await
            .map_err(FetchError::File)?;
        let keys = KeySet::parse(&json, wanted).map_err(FetchError::Keys)?;
        Ok(Fetched {
            keys,
            max_age: None,
            date: None,
            file: Some((seen.len(), seen.modified().ok())),
        })
    }

    /// Where keys come from, for the record.
    pub(super) fn place(&self) -> String {
        match self {
            Supply::File(path, _) => path.display().to_string(),
            Supply::Network(fetcher) => fetcher.place(),
        }
    }
}

/// 1 s … 60 s with full jitter, so that replicas do not come back together.
fn back_off(failures: u32) -> Seconds {
    let ceiling = 1_u32
        .checked_shl(failures.min(6))
        .unwrap_or(LONGEST_WAIT)
        .min(LONGEST_WAIT);
    let mut random = [0; 4];
    // Without randomness the longest wait is as good as any.
    let drawn = match SystemRandom::new().fill(&mut random) {
        Ok(()) => u32::from_be_bytes(random) % ceiling + 1,
        Err(_) => ceiling,
    };
    Seconds::new(drawn)
}

// IDENTITY.md §2.2.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(3);
const MIN_AGE: u32 = 60;
const LONGEST_WAIT: u32 = 60;

/// As much as is read from the network.
const MAX_FILE: u64 = 256 * 1024;
