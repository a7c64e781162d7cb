//! One rate for many: the generic cell rate algorithm (ITU-T I.371). Per key one moment, the time at which its bucket
//! would be empty again. Pure but for its own memory; time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::TooMany;
use crate::config::Rate;

/// One rate, and what each key has used of it.
#[derive(Debug)]
pub(super) struct Meter<K> {
    /// Between two events, in microseconds.
    interval: i64,
    /// How far ahead the empty moment may lie, in microseconds.
    burst: i64,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    /// When each key's bucket is empty, in microseconds. What is not in it has an empty one.
    empty_at: HashMap<K, i64>,
    /// How many keys are remembered before those with empty buckets are forgotten.
    forget_at: usize,
}

impl<K: Hash + Eq + Clone> Meter<K> {
    /// One period's worth may come at once.
    pub(super) fn new(rate: Rate) -> Meter<K> {
        Meter::bursting(rate, 1)
    }

    /// So many periods' worth may.
    pub(super) fn bursting(rate: Rate, periods: i64) -> Meter<K> {
        let period = i64::from(rate.per.as_u32()) * SECOND;
        Meter {
            interval: (period / i64::from(rate.count.max(1))).max(1),
            burst: period.saturating_mul(periods),
            state: Mutex::new(State {
                empty_at: HashMap::new(),
                forget_at: KEYS,
            }),
        }
    }

    /// Uses one event of `key`'s, at `now` in microseconds.
    ///
    /// # Errors
    /// [`TooMany`], and then nothing is used.
    pub(super) fn take(&self, key: &K, now: i64) -> Result<(), TooMany> {
        let mut state = self.lock();
        if state.empty_at.len() >= state.forget_at {
            state.empty_at.retain(|_, empty| *empty > now);
            // Twice what is left, so that forgetting costs each event the same.
            state.forget_at = state.empty_at.len().saturating_mul(2).max(KEYS);
        }
        let empty = self.sane(&mut state, key, now).max(now);
        self.admits(empty, now)?;
        match state.empty_at.get_mut(key) {
            Some(known) => *known = empty + self.interval,
            None => drop(state.empty_at.insert(key.clone(), empty + self.interval)),
        }
        Ok(())
    }

    /// Whether an event of `key`'s would be admitted.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(super) fn look(&self, key: &K, now: i64) -> Result<(), TooMany> {
        let empty = self.sane(&mut self.lock(), key, now);
        self.admits(empty, now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No moment lies further ahead than a full bucket: else the clock was set back, and from now on the bucket is full.
    fn sane(&self, state: &mut State<K>, key: &K, now: i64) -> i64 {
        let Some(known) = state.empty_at.get_mut(key) else {
            return now;
        };
        *known = (*known).min(now.saturating_add(self.burst));
        *known
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

const SECOND: i64 = 1_000_000;

/// Keys remembered before those with empty buckets are forgotten.
const KEYS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::TooMany;
    use super::{KEYS, Meter};
    use crate::config::Rate;

    #[test]
    fn a_burst_then_the_rate_and_nobody_pays_for_a_neighbour() {
        let meter = Meter::new(Rate::per_second(10));
        let at = |millis: i64| 1_000_000_000 + millis * 1_000;
        for _ in 0..10 {
            assert_eq!(meter.take(&1, at(0)), Ok(()));
        }
        assert_eq!(meter.look(&1, at(0)), Err(TooMany(1)));
        assert_eq!(meter.take(&1, at(0)), Err(TooMany(1)));
        assert_eq!(meter.take(&2, at(0)), Ok(()));
        assert_eq!(meter.take(&1, at(100)), Ok(()));
        assert_eq!(meter.take(&1, at(100)), Err(TooMany(1)));
    }

    #[test]
    fn five_seconds_worth_may_come_at_once() {
        let meter = Meter::bursting(Rate::per_second(200), 5);
        let admitted = (0..2_000).filter(|_| meter.take(&1, 0).is_ok()).count();
        assert_eq!(admitted, 1_000);
        let later = (0..2_000)
            .filter(|_| meter.take(&1, 1_000_000).is_ok())
            .count();
        assert_eq!(later, 200);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let meter = Meter::new(Rate::per_second(10));
        meter.take(&1, 3_600_000_000).unwrap();
        assert_eq!(meter.take(&1, 0), Err(TooMany(1)));
        assert_eq!(meter.take(&1, 100_000), Ok(()));
    }

    #[test]
    fn strangers_are_forgotten() {
        let meter = Meter::new(Rate::per_second(10));
        for key in 0..i64::try_from(KEYS * 5).unwrap() {
            meter.take(&key, key * 1_000_000).unwrap();
        }
        assert!(meter.lock().empty_at.len() <= KEYS);
    }
}
