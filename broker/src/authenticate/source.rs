//! Where an issuer entry's keys come from, and what is known of them now (IDENTITY.md §2.5 *Refresh*).
//!
//! `cold → ready → stale → expired`, by the walk's clock: keys are fetched when a token first wants them, past the soft
//! age they still serve while one refresh runs, past the hard age this issuer alone has none. One fetch at a time and
//! issuer, in a task of its own, outside every lock; failures back off; an unknown `kid` forces at most one fetch a
//! minute. A set is swapped whole: a key that left the document is dead at the swap.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use stint_policy::{Seconds, Timestamp};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, watch};

use crate::authenticate::discovery::{FetchError, Fetched, Fetcher};
use crate::authenticate::keys::{Key, KeySet};

/// The keys of one issuer entry.
#[derive(Debug)]
pub(super) struct Source {
    /// None: the keys stand in the config and never change.
    supply: Option<Supply>,
    ages: Ages,
    state: Mutex<State>,
    waiting: Semaphore,
}

/// Where keys are fetched from.
#[derive(Debug)]
pub(super) enum Supply {
    File(PathBuf),
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

#[derive(Debug)]
struct State {
    set: Option<Held>,
    /// The sender lives as long as a fetch is under way.
    flight: watch::Receiver<()>,
    failures: u32,
    retry_at: Timestamp,
    /// When an unknown `kid` may force a fetch again.
    force_at: Timestamp,
    last_error: Option<FetchError>,
}

#[derive(Clone, Debug)]
struct Held {
    keys: Arc<KeySet>,
    /// When the fetch began that brought it.
    since: Timestamp,
    refresh_at: Timestamp,
    expires_at: Timestamp,
}

/// Why there is no key to check a token with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer's keys are not known: nobody's fault who holds a token.
    Keys,
    /// They are known, and this one is not among them.
    Kid,
}

/// How an issuer's keys are, for `/readyz`, console and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The entry's name.
    pub issuer: String,
    /// Whether tokens can be judged.
    pub state: HealthState,
    /// Keys in the set that serves.
    pub keys: usize,
    /// Seconds since that set was fetched.
    pub age_s: Option<i64>,
    /// The last fetch's failure, if it failed.
    pub error: Option<String>,
}

/// The life of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Nobody asked yet, or nothing was ever fetched.
    Cold,
    /// Past its hard age: tokens of this issuer get 503.
    Expired,
    /// Within its soft age.
    Ready,
    /// Serving while a refresh is due.
    Stale,
}

enum Look {
    Found(Arc<Key>),
    Missing(Missing),
    Wait(watch::Receiver<()>),
}

impl Source {
    /// Keys that never change.
    pub(super) fn fixed(keys: KeySet) -> Arc<Source> {
        let forever = Timestamp::MAX;
        let since = Timestamp::from_millis(0);
        let held = Held {
            keys: Arc::new(keys),
            since,
            refresh_at: forever,
            expires_at: forever,
        };
        let ages = Ages {
            soft: Seconds::new(0),
            hard: Seconds::new(0),
        };
        Source::new(
            None,
            ages,
            State {
                set: Some(held),
                retry_at: forever,
                ..State::cold()
            },
        )
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
        })
    }

    /// The key of this `kid`. Waits only if there is none and a fetch may bring it: one fetch, 3 seconds at most.
    ///
    /// # Errors
    /// [`Missing`].
    pub(super) async fn key(
        self: &Arc<Self>,
        kid: &str,
        now: Timestamp,
    ) -> Result<Arc<Key>, Missing> {
        let mut landed = match self.look(kid, now) {
            Look::Found(key) => return Ok(key),
            Look::Missing(missing) => return Err(missing),
            Look::Wait(flight) => flight,
        };
        let Ok(_seat) = self.waiting.try_acquire() else {
            return Err(self.missing(now));
        };
        // The sender never sends; it is dropped when the fetch is over, however it ended.
        while landed.changed().await.is_ok() {}
        let found = self
            .lock()
            .serving(now)
            .and_then(|keys| keys.get(kid).cloned());
        found.ok_or_else(|| self.missing(now))
    }

    /// Starts a fetch if one is due. Nothing waits for it.
    pub(super) fn warm_up(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.lock();
        if state.set.is_none() && state.may_fetch(now) {
            self.launch(&mut state, now);
        }
    }

    pub(super) fn health(&self, issuer: &str, now: Timestamp) -> Health {
        let state = self.lock();
        let serves = state.serving(now).is_some();
        let health = match &state.set {
            None => HealthState::Cold,
            Some(_) if !serves => HealthState::Expired,
            Some(held) if held.refresh_at <= now => HealthState::Stale,
            Some(_) => HealthState::Ready,
        };
        let fetched = state.set.as_ref().filter(|_| self.supply.is_some());
        Health {
            issuer: issuer.to_owned(),
            state: health,
            keys: state.set.as_ref().map_or(0, |held| held.keys.len()),
            age_s: fetched.map(|held| now.seconds_since(held.since)),
            error: state.last_error.as_ref().map(ToString::to_string),
        }
    }

    fn look(self: &Arc<Self>, kid: &str, now: Timestamp) -> Look {
        let mut state = self.lock();
        let serving = state.serving(now);
        let may_fetch = state.may_fetch(now);
        let Some(keys) = serving else {
            return match (state.in_flight(), may_fetch) {
                (true, _) => Look::Wait(state.flight.clone()),
                (false, true) => Look::Wait(self.launch(&mut state, now)),
                (false, false) => Look::Missing(Missing::Keys),
            };
        };
        if let Some(key) = keys.get(kid) {
            if may_fetch && state.is_due(now) {
                self.launch(&mut state, now);
            }
            return Look::Found(Arc::clone(key));
        }
        if state.in_flight() {
            return Look::Wait(state.flight.clone());
        }
        if !may_fetch || now < state.force_at {
            return Look::Missing(Missing::Kid);
        }
        state.force_at = now.plus(FORCED_EVERY);
        Look::Wait(self.launch(&mut state, now))
    }

    fn missing(&self, now: Timestamp) -> Missing {
        match self.lock().serving(now) {
            Some(_) => Missing::Kid,
            None => Missing::Keys,
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
        state.flight = flight.clone();
        let source = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(supply) = &source.supply {
                source.land(supply.fetch().await, now);
            }
            drop(landing);
        });
        flight
    }

    /// `now`: when the fetch began, so that a set is never thought younger than it is.
    fn land(&self, outcome: Result<Fetched, FetchError>, now: Timestamp) {
        let mut state = self.lock();
        match outcome {
            Ok(fetched) => {
                let soft = self.ages.soft.as_u32();
                let age = fetched
                    .max_age
                    .map_or(soft, |age| age.clamp(MIN_AGE.min(soft), soft));
                state.set = Some(Held {
                    keys: Arc::new(fetched.keys),
                    since: now,
                    refresh_at: now.plus(Seconds::new(age)),
                    expires_at: now.plus(self.ages.hard),
                });
                state.failures = 0;
                state.last_error = None;
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.retry_at = now.plus(back_off(state.failures));
                state.last_error = Some(error);
            }
        }
    }

    /// The lock guards plain assignments, none of which can panic half-way: a poisoned state is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cold() -> State {
        let long_ago = Timestamp::from_millis(0);
        State {
            set: None,
            flight: watch::channel(()).1,
            failures: 0,
            retry_at: long_ago,
            force_at: long_ago,
            last_error: None,
        }
    }

    fn serving(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let held = self.set.as_ref().filter(|held| now < held.expires_at)?;
        Some(Arc::clone(&held.keys))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.set.as_ref().is_none_or(|held| held.refresh_at <= now)
    }

    fn in_flight(&self) -> bool {
        self.flight.has_changed().is_ok()
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        !self.in_flight() && self.retry_at <= now
    }
}

impl Supply {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let path = match self {
            Supply::Network(fetcher) => return fetcher.fetch().await,
            Supply::File(path) => path,
        };
        let mut json = Vec::new();
        let file = tokio::fs::File::open(path)
            .await
            .map_err(FetchError::File)?;
        file.take(MAX_FILE)
            .read_to_end(&mut json)
            .await
            .map_err(FetchError::File)?;
        let keys = KeySet::parse(&json).map_err(FetchError::Keys)?;
        Ok(Fetched {
            keys,
            max_age: None,
        })
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
const FORCED_EVERY: Seconds = Seconds::new(60);
const MIN_AGE: u32 = 60;
const LONGEST_WAIT: u32 = 60;

/// As much as is read from the network.
const MAX_FILE: u64 = 256 * 1024;
