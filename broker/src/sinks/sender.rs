//! One sink's sender: takes its turn, sends what is new, moves the place, and begins anew after any failure.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::feed::{Feed, FeedError};
use super::health::Health;
use super::way::{Trouble, Way};
use crate::clock::Clock;
use crate::post::PostError;
use crate::random;
use crate::store;
use crate::store::cursors::{Cursor, Turn};

/// Sends one sink's events.
#[derive(Debug)]
pub struct Sender {
    pub(super) feed: Feed,
    pub(super) way: Way,
    pub(super) cursor: Cursor,
    pub(super) health: Arc<Health>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) again: watch::Receiver<()>,
    /// Entries of one delivery, as many as the receiver is known to take.
    pub(super) most: usize,
    pub(super) heartbeat: Duration,
}

/// Why it begins anew.
#[derive(Debug, Error)]
enum Stop {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("another replica has the turn")]
    Lost,
    #[error("{0}")]
    Way(#[from] Trouble),
}

impl Sender {
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Sends until the ledger closes. What was not confirmed then is sent after the next start.
    pub async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let (stop, sent) = self.turn().await;
            let wait = match stop {
                Stop::Feed(FeedError::Closed) => return,
                Stop::Way(Trouble::Post(PostError::Status { status: 413, .. }))
                    if self.most > 1 =>
                {
                    // The receiver finds it too large: half of it, at once. One entry is tried for ever.
                    self.most /= 2;
                    Duration::ZERO
                }
                Stop::Lost => {
                    failures = 0;
                    self.health.elsewhere();
                    STANDBY
                }
                Stop::Feed(_) | Stop::Store(_) | Stop::Way(_) => {
                    failures = if sent { 1 } else { failures.saturating_add(1) };
                    self.health.stuck(stop.to_string());
                    if failures >= PATIENCE {
                        // Where this replica cannot reach the receiver, another one may.
                        drop(self.cursor.leave().await);
                    }
                    pause(failures, &stop)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One turn, to its end; and whether anything arrived in it.
    async fn turn(&mut self) -> (Stop, bool) {
        let mut at = match self.take().await {
            Ok(at) => at,
            Err(stop) => return (stop, false),
        };
        let size = self.feed.size();
        if at > size {
            // Or this replica has not heard of the newest entries yet: it looks again.
            let beyond = FeedError::Beyond { next: at, size };
            return (beyond.into(), false);
        }
        if let Some(cut) = self.feed.cut().filter(|cut| at < cut.below) {
            tracing::warn!(
                sink = self.health.name(),
                from = at,
                below = cut.below,
                archive = cut.file,
                "entries below were pruned: the sink goes on from where the ledger begins"
            );
            at = match self.moved(at, cut.below).await {
                Ok(at) => at,
                Err(stop) => return (stop, false),
            };
        }
        let mut sent = false;
        let mut beat = every(self.heartbeat);
        let mut keep = every(LEASE / 3);
        keep.reset(); // it was taken just now
        loop {
            let step = async {
                tokio::select! {
                    beyond = self.feed.beyond(at) => beyond.map(|()| Step::Forward),
                    _ = beat.tick() => Ok(Step::Beat),
                    _ = keep.tick() => Ok(Step::Keep),
                }
            };
            let stepped = match step.await {
                Ok(Step::Forward) => self.forward(at).await,
                Ok(Step::Beat) => self.beat(at).await.map(|()| at),
                Ok(Step::Keep) => self.take().await,
                Err(error) => Err(error.into()),
            };
            match stepped {
                Ok(next) => (at, sent) = (next, sent || next > at),
                Err(stop) => return (stop, sent),
            }
        }
    }

    /// Takes or keeps the turn; the place.
    async fn take(&mut self) -> Result<u64, Stop> {
        let now = self.clock.now().as_millis();
        let until = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        match self.cursor.take(now, now.saturating_add(until)).await? {
            Turn::Ours(at) => {
                self.health.reached(at);
                Ok(at)
            }
            Turn::Theirs(at) => {
                self.health.reached(at);
                Err(Stop::Lost)
            }
        }
    }

    /// Sends the next entries; the new place.
    async fn forward(&mut self, at: u64) -> Result<u64, Stop> {
        if let Way::Tiles(tiles) = &self.way {
            // Each size leaves partial tiles behind: not for every commit.
            tokio::time::sleep(self.heartbeat.min(LEASE / 3)).await;
            let next = tiles.extend(at).await?;
            return self.moved(at, next.max(at)).await;
        }
        // A little later there is more to send at once.
        tokio::time::sleep(LINGER).await;
        let events = self.feed.page(at, self.most).await?;
        let next = at.saturating_add(u64::try_from(events.len()).unwrap_or(u64::MAX));
        self.deliver(events).await?;
        self.moved(at, next).await
    }

    /// All before `next` has arrived.
    async fn moved(&mut self, at: u64, next: u64) -> Result<u64, Stop> {
        if !self.cursor.advance(at, next).await? {
            return Err(Stop::Lost);
        }
        self.health.reached(next);
        Ok(next)
    }

    async fn beat(&mut self, at: u64) -> Result<(), Stop> {
        match self.feed.heartbeat(at, self.clock.now()) {
            Some(event) => self.deliver(vec![event]).await,
            None => Ok(()),
        }
    }

    async fn deliver(&mut self, events: Vec<super::format::Event>) -> Result<(), Stop> {
        if self.again.has_changed().unwrap_or(false) {
            self.again.mark_unchanged();
            self.way.reopen();
        }
        self.way.deliver(events).await?;
        self.health.well();
        Ok(())
    }
}

enum Step {
    Beat,
    Forward,
    Keep,
}

/// The first is at once.
fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Longer after each failure, up to a minute; between half and all of it, so that replicas and sinks do not come
/// together. What a receiver asks for counts, up to the same minute.
fn pause(failures: u32, stop: &Stop) -> Duration {
    if let Stop::Way(Trouble::Post(PostError::Status {
        wait: Some(wait), ..
    })) = stop
    {
        return (*wait).clamp(FIRST, LONGEST);
    }
    let full = FIRST.saturating_mul(1 << failures.clamp(1, 8).saturating_sub(1));
    let full = full.min(LONGEST);
    let share = u32::from(u16::from_be_bytes(random::bytes()));
    full / 2 + full / 2 * share / u32::from(u16::MAX)
}

/// How long a turn lasts without a word; longer than any delivery may take, which is a minute.
const LEASE: Duration = Duration::from_secs(90);
/// Between two looks at a turn that is another replica's.
const STANDBY: Duration = Duration::from_secs(5);
/// Failures in a row after which another replica may try.
const PATIENCE: u32 = 3;
/// Of waits after failures.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// One connection or POST for what is committed in a fifth of a second.
const LINGER: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_are_never_alike() {
        let stop = || Stop::Way(Trouble::Slow(FIRST));
        for (failures, least, most) in [
            (1, 250, 500),
            (2, 500, 1_000),
            (5, 4_000, 8_000),
            (99, 30_000, 60_000),
        ] {
            for _ in 0..100 {
                let pause = pause(failures, &stop()).as_millis();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
        let asked = |seconds| {
            let wait = Some(Duration::from_secs(seconds));
            let said = String::new();
            Stop::Way(Trouble::Post(PostError::Status {
                status: 429,
                wait,
                said,
            }))
        };
        assert_eq!(pause(1, &asked(7)), Duration::from_secs(7));
        assert_eq!(pause(1, &asked(0)), FIRST);
        assert_eq!(pause(1, &asked(86_400)), LONGEST);
    }
}
