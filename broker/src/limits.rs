//! How much one caller or peer may ask for: one that floods waits, and its neighbours do not.
//!
//! What is per caller goes by the walk's `now`, which a library with a clock of its own could not promise (inv. 8).

pub mod evidence;
pub mod peers;
pub mod turns;

mod meter;

use stint_policy::{SpiffeId, Timestamp};

use self::meter::Meter;
use crate::config::Limits;

/// The limits of every caller (SECURITY.md §4).
#[derive(Debug)]
pub struct CallerLimits {
    asks: Meter<SpiffeId>,
    denials: Meter<SpiffeId>,
    dry_runs: Meter<SpiffeId>,
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
        self.denials.look(caller, micros(now))?;
        self.asks.take(caller, micros(now))
    }

    /// Charges one denial.
    pub fn denied(&self, caller: &SpiffeId, now: Timestamp) {
        if self.denials.take(caller, micros(now)).is_err() {
            tracing::info!(caller.subject = %caller, "a caller is denied too often: its asks wait");
        }
    }

    /// Admits one dry run.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn dry_run(&self, caller: &SpiffeId, now: Timestamp) -> Result<(), TooMany> {
        self.dry_runs.take(caller, micros(now))
    }
}

fn micros(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(1_000)
}
