//! Evidence that does not hold, by peer: looked at before any is judged, so that a flood of it costs no signature check
//! (SECURITY.md §4).
//!
//! Only failures are charged, and no limit is per issuer: that would let one peer shut out the rest.

use super::TooMany;
use super::meter::Meter;
use super::peers::PeerKey;
use crate::clock::Stopwatch;
use crate::config::Rate;

/// How much evidence of each peer failed lately.
#[derive(Debug)]
pub struct FailedEvidence {
    meter: Meter<PeerKey>,
    /// Monotonic: a step of the system's clock frees and locks out nobody.
    since: Stopwatch,
}

impl FailedEvidence {
    /// At `rate`, with five periods' worth at once.
    #[must_use]
    pub fn new(rate: Rate) -> FailedEvidence {
        FailedEvidence {
            meter: Meter::bursting(rate, 5),
            since: Stopwatch::start(),
        }
    }

    /// Whether evidence of `peer` is looked at.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn look(&self, peer: PeerKey) -> Result<(), TooMany> {
        self.meter.look(&peer, self.now())
    }

    /// Charges one failure. What came side by side may be charged in vain: it was looked at already.
    pub fn charge(&self, peer: PeerKey) {
        if self.meter.take(&peer, self.now()).is_err() {
            tracing::debug!("a peer's evidence fails too often: more of it is not looked at");
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
