//! What strangers and floods leave in the ledger: at most one entry a minute and issuer (inv. 4, LEDGER.md §5).
//!
//! Refused evidence, rate limits and the later replays of one token write nothing of their own. They are counted here, in
//! memory, per configured issuer and `other`, and become `rollup` entries. A crash loses a minute of noise.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, json};
use stint_audit::Entry;
use stint_audit::kind::Rollup;
use stint_policy::{Seconds, Timestamp};

use crate::clock::Clock;
use crate::ledger::{self, Ledger};

/// Counters of refusals. Bounded by what there is to configure: issuers, reasons, and a cap on peers.
#[derive(Debug)]
pub struct Noise {
    clock: Arc<dyn Clock>,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// When the first of what is counted was.
    since: Option<Timestamp>,
    issuers: BTreeMap<String, Counter>,
}

#[derive(Debug, Default)]
struct Counter {
    reasons: BTreeMap<&'static str, u64>,
    peers: HashSet<IpAddr>,
}

impl Noise {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Noise {
        let counters = Mutex::default();
        Noise { clock, counters }
    }

    /// Counts one refusal: the entry it was judged by, if there was one, a closed word, and who it came from.
    pub fn count(&self, issuer: Option<&str>, reason: &'static str, peer: Option<IpAddr>) {
        let now = self.clock.now();
        let mut counters = self.counters();
        counters.since.get_or_insert(now);
        let issuer = issuer.unwrap_or(OTHER);
        if !counters.issuers.contains_key(issuer) {
            counters
                .issuers
                .insert(issuer.to_owned(), Counter::default());
        }
        if let Some(counter) = counters.issuers.get_mut(issuer) {
            let n = counter.reasons.entry(reason).or_default();
            *n = n.saturating_add(1);
            if counter.peers.len() < PEERS {
                counter.peers.extend(peer.map(network));
            }
        }
    }

    /// Records what was counted, if a minute of it is full.
    ///
    /// # Errors
    /// The ledger's; what was not recorded stays counted.
    pub async fn roll_up(&self, ledger: &Ledger) -> Result<(), ledger::Error> {
        match self.is_full() {
            true => self.flush(ledger).await,
            false => Ok(()),
        }
    }

    /// Records what was counted so far: one entry an issuer, none where nothing was refused.
    ///
    /// # Errors
    /// As [`Self::roll_up`].
    pub async fn flush(&self, ledger: &Ledger) -> Result<(), ledger::Error> {
        let now = self.clock.now();
        let counters = std::mem::take(&mut *self.counters());
        let since = counters.since.unwrap_or(now);
        let mut failed = Ok(());
        for (issuer, counter) in counters.issuers {
            let entry = entry(&issuer, &counter, (since, now));
            if let (Ok(()), true) = (&failed, counter.total() > 0) {
                failed = ledger.record(entry, None, Vec::new()).await.map(drop);
            }
            if failed.is_err() {
                self.put_back(issuer, counter, since);
            }
        }
        failed
    }

    /// A minute begins with what is counted first.
    fn is_full(&self) -> bool {
        let since = self.counters().since;
        since.is_some_and(|since| since.plus(MINUTE) <= self.clock.now())
    }

    /// The lock guards additions, none of which can panic half-way.
    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, issuer: String, counter: Counter, since: Timestamp) {
        let mut counters = self.counters();
        counters.since = Some(since);
        let place = counters.issuers.entry(issuer).or_default();
        for (reason, n) in counter.reasons {
            let sum = place.reasons.entry(reason).or_default();
            *sum = sum.saturating_add(n);
        }
        place.peers.extend(counter.peers);
    }
}

impl Counter {
    fn total(&self) -> u64 {
        self.reasons
            .values()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }
}

fn entry(issuer: &str, counter: &Counter, (since, until): (Timestamp, Timestamp)) -> Entry {
    let millis = |time: Timestamp| u64::try_from(time.as_millis()).unwrap_or(0);
    let what = Rollup {
        n: counter.total().min(MOST),
        since: millis(since),
        until: millis(until),
    };
    let mut body = Map::new();
    body.insert("issuer".to_owned(), json!(issuer));
    body.insert("reasons".to_owned(), json!(counter.reasons));
    body.insert("peers".to_owned(), json!(counter.peers.len()));
    ledger::note(what, None, body)
}

/// One peer: an IPv4 address, or the /64 that one IPv6 subscriber has (SECURITY.md §4).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What matched no entry of the config.
const OTHER: &str = "other";

const MINUTE: Seconds = Seconds::new(60);

/// Peers that are told apart; more count as this many.
const PEERS: usize = 10_000;

/// The largest number that every reader of JSON reads alike (LEDGER.md §2).
const MOST: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A clock that shows these seconds.
    #[derive(Debug, Default)]
    struct At(AtomicU32);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_minute_begins_with_what_is_counted() {
        let clock = Arc::new(At::default());
        let noise = Noise::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let is_full_at = |secs| {
            clock.0.store(secs, Ordering::SeqCst);
            noise.is_full()
        };
        assert!(!is_full_at(0) && !is_full_at(600));
        noise.count(None, "form", None);
        assert!(!is_full_at(600) && !is_full_at(659));
        noise.count(None, "form", None);
        assert!(is_full_at(660));
    }

    #[test]
    fn peers_are_counted_as_one_subscriber_each_and_within_bounds() {
        let noise = Noise::new(Arc::new(At::default()));
        for peer in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "192.0.2.2",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:0:1::1",
        ] {
            noise.count(Some("github"), "key", Some(peer.parse().unwrap()));
        }
        for n in 0..20_000_u32 {
            noise.count(None, "form", Some(IpAddr::V4(n.into())));
        }
        let counters = noise.counters();
        let of = |issuer: &str| {
            let counter = &counters.issuers[issuer];
            (counter.total(), counter.peers.len())
        };
        assert_eq!(of("github"), (6, 4));
        assert_eq!(of("other"), (20_000, PEERS));
    }
}
