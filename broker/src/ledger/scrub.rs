//! The scrubber: reads the whole log again and again, slowly, and believes no row (LEDGER.md §8).
//!
//! A pass hashes every header to its leaf, follows `prev`, compares the root after each batch, every full tile, every
//! published note, every body with its header and every pseudonym with the identity a body names. A body may be gone only
//! if an entry says that it was erased. What can be made again from the entries (index, missing tiles) is; whatever else
//! is otherwise than it was signed is a finding: the log is diverged, and the finding names the entry.

mod walk;

use std::sync::Arc;
use std::time::Duration;

use stint_audit::Checkpoint;
use thiserror::Error;

use self::walk::Walk;
use super::tiles::TileError;
use super::{Error as LedgerError, Ledger};
use crate::clock::{Clock, Stopwatch};
use crate::store::trail::signed;
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;

/// The endless pass. Whoever opened the ledger runs it.
#[derive(Debug)]
pub struct Scrubber {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// What a whole pass saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Entries there are, each of them hashed.
    pub entries: u64,
    /// Bodies that are there, each of them hashed.
    pub bodies: u64,
    /// Bodies that are gone, as an entry says.
    pub erased: u64,
    /// Rows that were made again from the entries.
    pub mended: u64,
}

/// Why a pass did not come to its end.
#[derive(Debug, Error)]
pub enum Finding {
    /// What is stored is not what was signed. It names the entry.
    #[error("{0}")]
    Diverged(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was mended could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<TileError> for Finding {
    fn from(error: TileError) -> Self {
        match error {
            TileError::Store(error) => Self::Store(error),
            TileError::Conflict(_)
            | TileError::Growing(..)
            | TileError::Missing(_)
            | TileError::Pruned { .. }
            | TileError::Range(_) => Self::Diverged(error.to_string()),
        }
    }
}

/// How much of a processor a pass may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As much as there is: somebody waits.
    Full,
    /// A twentieth.
    Low,
}

impl Scrubber {
    /// Scrubs `ledger`.
    pub(super) fn new(ledger: Ledger, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self {
            ledger,
            clock,
            metrics,
        }
    }

    /// Runs until it is stopped.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.ledger.pass(Pace::Low).await {
                Ok(seen) => {
                    self.metrics.scrubbed(self.clock.now());
                    if seen.mended > 0 {
                        tracing::warn!(
                            rows = seen.mended,
                            "the scrubber made rows of the index or tiles again"
                        );
                    }
                }
                Err(Finding::Diverged(why)) => self.ledger.accuse(why),
                Err(error) => {
                    tracing::warn!(%error, "the scrubber did not come to the end of the ledger")
                }
            }
        }
    }
}

impl Ledger {
    /// One pass, as fast as it goes. A finding makes the log diverged.
    ///
    /// # Errors
    /// [`Finding`].
    pub async fn scrub(&self) -> Result<Scrubbed, Finding> {
        let seen = self.pass(Pace::Full).await;
        if let Err(Finding::Diverged(why)) = &seen {
            self.accuse(why.clone());
        }
        seen
    }

    /// A pass, begun anew where the log was cut under it.
    async fn pass(&self, pace: Pace) -> Result<Scrubbed, Finding> {
        loop {
            let floor = self.floor();
            let seen = self.pass_from(floor, pace).await;
            if let Err(Finding::Diverged(_)) = &seen {
                self.learn_cut().await?;
                if self.floor() > floor {
                    continue;
                }
            }
            return seen;
        }
    }

    async fn pass_from(&self, floor: u64, pace: Pace) -> Result<Scrubbed, Finding> {
        let note = self.published().checkpoint;
        let checkpoint = Checkpoint::parse_note(&note);
        let (checkpoint, _) = checkpoint.map_err(|error| Finding::Diverged(error.to_string()))?;
        let mut walk = Walk::begin(self, floor, checkpoint.size).await?;
        while walk.at() < checkpoint.size {
            let watch = Stopwatch::start();
            self.page(&mut walk, checkpoint.size).await?;
            if pace == Pace::Low {
                tokio::time::sleep(watch.elapsed().saturating_mul(REST)).await;
            }
        }
        if walk.root() != checkpoint.root {
            let why = format!(
                "the entries do not give the root of checkpoint {}",
                checkpoint.size
            );
            return Err(Finding::Diverged(why));
        }
        self.later_erasures(&mut walk).await?;
        walk.end()
    }

    async fn page(&self, walk: &mut Walk, size: u64) -> Result<(), Finding> {
        let at = walk.at();
        let batches = self
            .store
            .batches(signed(at), signed(size), BATCHES)
            .await?;
        let end = batches.last().map_or(at, |batch| {
            let entries = u64::try_from(batch.hashes.len() / 32).unwrap_or(0);
            batch.first_seq.unsigned_abs().saturating_add(entries)
        });
        let mut notes = self.store.notes_between(at, end).await?;
        for batch in &batches {
            walk.batch(self, batch, &mut notes).await?;
        }
        match walk.at() > at {
            true => walk.settle(self).await,
            false => Err(TileError::Missing(at).into()),
        }
    }

    /// Bodies that were erased while the pass went on.
    async fn later_erasures(&self, walk: &mut Walk) -> Result<(), Finding> {
        let mut at = walk.at();
        let size = self.published().size;
        while at < size && walk.misses() {
            let end = size.min(at + LATER);
            for header in self.headers(at, end).await? {
                walk.erasure(&header);
            }
            at = end;
        }
        Ok(())
    }

    pub(super) fn of_store(&self) -> &Store {
        &self.store
    }
}

/// Between two passes.
const PAUSE: Duration = Duration::from_secs(2);
/// How long it rests for each unit of work.
const REST: u32 = 19;
/// Batches read at once: 4 MiB of headers at most.
const BATCHES: i64 = 16;
/// Headers read at once behind the end of the pass.
const LATER: u64 = 1_024;
