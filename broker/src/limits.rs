//! How much one caller may ask for: a caller that floods waits, and its neighbours do not.
//!
//! The generic cell rate algorithm (ITU-T I.371): per caller one moment, the time at which its
//! bucket would be empty again. Pure but for its own memory; time is the walk's `now`, which a
//! library with a clock of its own could not promise (inv. 8).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stint_policy::{SpiffeId, Timestamp};

use crate::config::{Limits, Rate};

/// The limits of every caller (SECURITY.md §4).
#[derive(Debug)]
pub struct CallerLimits {
    asks: Meter,
    denials: Meter,
    dry_runs: Meter,
}

/// Too many: how long until the next is admitted, in whole seconds, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many asks; the next is admitted in {0} s")]
pub struct TooMany(pub u32);

impl CallerLimits {
    /// The operator's limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            asks: Meter::new(limits.asks_per_caller),
            denials: Meter::new(limits.denials_per_caller),
            dry_runs: Meter::new(limits.dry_runs_per_caller),
        }
    }

    /// Admits one ask. A caller that was denied too often lately waits too: each denial is an entry.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn ask(&self, caller: &SpiffeId, now: Timestamp) -> Result<(), TooMany> {
        self.denials.look(caller, now)?;
        self.asks.take(caller, now)
    }

    /// Charges one denial.
    pub fn denied(&self, caller: &SpiffeId, now: Timestamp) {
        if self.denials.take(caller, now).is_err() {
            tracing::info!(caller.subject = %caller, "a caller is denied too often: its asks wait");
        }
    }

    /// Admits one dry run.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn dry_run(&self, caller: &SpiffeId, now: Timestamp) -> Result<(), TooMany> {
        self.dry_runs.take(caller, now)
    }
}

/// One rate. The burst is one second's worth, or one period's for slower rates.
#[derive(Debug)]
struct Meter {
    /// Between two events, in microseconds.
    interval: i64,
    /// How far ahead the empty moment may lie, in microseconds.
    burst: i64,
    /// When each caller's bucket is empty, in microseconds. Who is not in it has an empty one.
    empty_at: Mutex<HashMap<SpiffeId, i64>>,
}

impl Meter {
    fn new(rate: Rate) -> Self {
        let period = i64::from(rate.per.as_u32()) * SECOND;
        let interval = (period / i64::from(rate.count.max(1))).max(1);
        Self {
            interval,
            burst: period,
            empty_at: Mutex::new(HashMap::new()),
        }
    }

    fn take(&self, caller: &SpiffeId, now: Timestamp) -> Result<(), TooMany> {
        let now = micros(now);
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        if empty_at.len() >= CALLERS {
            empty_at.retain(|_, empty| *empty > now);
        }
        let empty = self.sane(empty_at.get(caller).copied(), now).max(now);
        self.admits(empty, now)?;
        match empty_at.get_mut(caller) {
            Some(known) => *known = empty + self.interval,
            None => drop(empty_at.insert(caller.clone(), empty + self.interval)),
        }
        Ok(())
    }

    fn look(&self, caller: &SpiffeId, now: Timestamp) -> Result<(), TooMany> {
        let empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, now) = (empty_at.get(caller).copied(), micros(now));
        drop(empty_at);
        self.admits(self.sane(known, now), now)
    }

    /// No moment lies further ahead than a full bucket: else the clock was set back.
    fn sane(&self, known: Option<i64>, now: i64) -> i64 {
        known
            .unwrap_or(now)
            .min(now.saturating_add(self.burst + self.interval))
    }

    fn admits(&self, empty: i64, now: i64) -> Result<(), TooMany> {
        let wait = empty
            .saturating_add(self.interval)
            .saturating_sub(now.saturating_add(self.burst));
        if wait <= 0 {
            return Ok(());
        }
        Err(TooMany(
            u32::try_from(wait.div_euclid(SECOND) + 1).unwrap_or(u32::MAX),
        ))
    }
}

fn micros(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(1_000)
}

const SECOND: i64 = 1_000_000;

/// Callers remembered before those with empty buckets are forgotten.
const CALLERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use stint_policy::{SpiffeId, Timestamp};

    use super::{Meter, TooMany};
    use crate::config::Rate;

    #[test]
    fn a_burst_then_the_rate_and_nobody_pays_for_a_neighbour() {
        let meter = Meter::new(Rate::per_second(10));
        let caller = SpiffeId::parse("spiffe://acme.dev/github/1/2").unwrap();
        let other = SpiffeId::parse("spiffe://acme.dev/github/1/3").unwrap();
        let at = |millis: i64| Timestamp::from_millis(1_000_000 + millis);
        for _ in 0..10 {
            assert_eq!(meter.take(&caller, at(0)), Ok(()));
        }
        assert_eq!(meter.look(&caller, at(0)), Err(TooMany(1)));
        assert_eq!(meter.take(&caller, at(0)), Err(TooMany(1)));
        assert_eq!(meter.take(&other, at(0)), Ok(()));
        assert_eq!(meter.take(&caller, at(100)), Ok(()));
        assert_eq!(meter.take(&caller, at(100)), Err(TooMany(1)));
    }
}
