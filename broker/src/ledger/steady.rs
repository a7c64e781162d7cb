//! What time the committer stamps: the clock's, unless it was just set (LEDGER.md §8).
//!
//! An entry's time is never before the last one's, so a single entry from a clock that stood ten years ahead for a second
//! would hold the log in that future. Until the clock is believed again ([`crate::skew`]), time goes on as the monotonic
//! clock counts it, and no grant is recorded: its own times were read from the clock that was set.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Halt, Halts};
use crate::clock::{Clock, Stopwatch};
use crate::skew::Base;

/// The last moment that was believed.
#[derive(Debug)]
pub(super) struct Steady {
    base: Base,
    odd: Option<Stopwatch>,
    halts: Arc<watch::Sender<Halts>>,
}

/// A moment to be written down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Milliseconds since 1970; a clock before it counts as 1970.
    pub(super) millis: u64,
    /// Whether it is what the clock shows.
    pub(super) believed: bool,
}

impl Steady {
    pub(super) fn new(clock: &dyn Clock, halts: Arc<watch::Sender<Halts>>) -> Self {
        let (base, odd) = (Base::of(clock), None);
        Self { base, odd, halts }
    }

    pub(super) fn now(&mut self, clock: &dyn Clock) -> Moment {
        if clock.may_be_set() && self.base.stepped(clock).is_some() {
            let noticed = self.odd.get_or_insert_with(Stopwatch::start).elapsed();
            let halted = self.halts.borrow().contains_key(&Halt::Clock);
            if halted || noticed < UNDECIDED {
                return Moment {
                    millis: u64::try_from(self.base.expected()).unwrap_or(0),
                    believed: false,
                };
            }
        }
        (self.base, self.odd) = (Base::of(clock), None);
        Moment {
            millis: u64::try_from(clock.now().as_millis()).unwrap_or(0),
            believed: true,
        }
    }
}

/// Longer than the watch takes to see that the clock was set, and to believe it again.
const UNDECIDED: Duration = Duration::from_secs(13);
