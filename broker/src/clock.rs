//! Time. The one file that reads the system's clocks; everybody else takes `now`, or measures with a [`Stopwatch`].

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stint_policy::Timestamp;

/// Tells what time it is.
///
/// The walk asks once and hands `now` on, so whatever is decided, signed and recorded for one ask carries one time.
/// - `now` is UTC, cut to the millisecond: the value that is signed is the value that is stored.
/// - It never blocks, never fails and may be called from any thread.
/// - It may step backwards, as system clocks do. Whoever needs order has the ledger's `seq`; whoever needs a length of
///   time has a [`Stopwatch`].
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Whether this is the machine's own clock, which somebody may set while we run.
    fn may_be_set(&self) -> bool {
        false
    }
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the rightful place: all others ask Clock"
        )]
        let now = SystemTime::now();
        // A clock before 1970 reads as 1970: evidence of today is then from the future and is refused.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn may_be_set(&self) -> bool {
        true
    }
}

/// Measures how long something takes, on the monotonic clock: not moved by steps of the system's time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Stopwatch {
        #[expect(
            clippy::disallowed_methods,
            reason = "the rightful place: all others measure with Stopwatch"
        )]
        Stopwatch(Instant::now())
    }

    /// The time since the start, never negative.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_tells_a_time_of_this_era() {
        let year_2025 = Timestamp::parse_rfc3339("2025-01-01T00:00:00Z").unwrap();
        assert!(SystemClock.now() > year_2025);
        assert!(SystemClock.now() < Timestamp::MAX);
    }

    #[test]
    fn a_stopwatch_never_runs_backwards() {
        let watch = Stopwatch::start();
        let first = watch.elapsed();
        assert!(watch.elapsed() >= first);
    }
}
