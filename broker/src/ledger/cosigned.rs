//! What witnesses have seen of the log: the one place where everybody looks, and from where they are hurried.

use std::sync::Arc;
use std::time::Duration;

use stint_policy::Timestamp;
use tokio::sync::{Notify, watch};

use super::{Ledger, Published};

/// What is known of the witnesses.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The newest head that a quorum cosigned; none without witnesses.
    pub newest: Option<Shown>,
    /// How many cosignatures it has, and the newest of their times, in seconds since 1970.
    pub cosigs: (u64, Option<u64>),
    /// When a quorum cosigned last, by this broker's clock.
    pub since: Option<Timestamp>,
    /// Each that is asked, and what is wrong with it.
    pub witnesses: Vec<(Arc<str>, Option<String>)>,
}

/// A head as it is shown to others.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Entries.
    pub size: u64,
    /// The signed note over them, with what witnesses put beneath it.
    pub checkpoint: Arc<str>,
}

impl From<Published> for Shown {
    fn from(published: Published) -> Self {
        Self {
            size: published.size,
            checkpoint: published.checkpoint,
        }
    }
}

impl Seen {
    /// Whether a quorum cosigned within the last minute.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let age = |since: Timestamp| now.as_millis().saturating_sub(since.as_millis());
        self.since.is_some_and(|since| age(since) < FRESH_MS)
    }
}

/// Shared by all doors of one log.
#[derive(Debug, Clone, Default)]
pub(super) struct Cosigned {
    seen: Arc<watch::Sender<Seen>>,
    wanted: Arc<Notify>,
}

impl Cosigned {
    pub(super) fn say(&self, seen: Seen) {
        self.seen.send_replace(seen);
    }

    /// Waits until somebody cannot wait for the next round.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Ledger {
    /// What witnesses have seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.cosigned.seen.borrow().clone()
    }

    /// The head to show to strangers: the newest that a quorum cosigned, if there are witnesses and one did within the
    /// last minute; else the newest.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Shown {
        let seen = self.seen();
        let newest = || self.published().into();
        match seen.is_fresh(now) {
            true => seen.newest.unwrap_or_else(newest),
            false => newest(),
        }
    }

    /// A head of `size` entries or more, cosigned by a quorum if there are witnesses and they answer soon: they are asked
    /// at once. Without, it is the newest.
    pub async fn witnessed(&self, size: u64) -> Shown {
        let mut seen = self.cosigned.seen.subscribe();
        if !seen.borrow().witnesses.is_empty() {
            self.cosigned.wanted.notify_one();
            let enough = |seen: &Seen| {
                seen.newest
                    .as_ref()
                    .is_some_and(|newest| newest.size >= size)
            };
            let waited = tokio::time::timeout(PATIENCE, seen.wait_for(enough)).await;
            let newest = waited.ok().and_then(Result::ok);
            if let Some(newest) = newest.and_then(|seen| seen.newest.clone()) {
                return newest;
            }
        }
        self.published().into()
    }
}

/// A quorum that is this old is not shown in place of newer heads.
const FRESH_MS: i64 = 60_000;
/// Two rounds: one that may be under way, and one that is surely new.
const PATIENCE: Duration = Duration::from_millis(2_500);
