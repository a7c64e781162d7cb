//! `[ledger] keep_bodies`: bodies that were kept long enough go, once a day, by one replica, and entries say so.
//!
//! What still binds is left out, not refused: it goes on the first day on which it binds no more. One entry names at
//! most a hundred ranges, so where kinds that are kept and kinds that go alternate, one day's work is several entries.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use stint_audit::kind::{Basis, Erased};
use stint_audit::{Entry, Header, What};

use super::{EraseError, Holds, MAX_RANGES, PAGE, row, scrub};
use crate::clock::Stopwatch;
use crate::config::KeepBodies;
use crate::issue::Broker;
use crate::ledger::{self, Error as LedgerError, Lost};
use crate::store::Write;
use crate::store::cursors::{Cursor, Turn};
use crate::store::erase::EraseRow;
use crate::store::trail::{BatchRow, signed};

/// Who sees to it. One replica has the turn.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) broker: Arc<Broker>,
    pub(crate) keep: KeepBodies,
    /// The replica's name.
    pub(crate) node: String,
}

impl Keeper {
    /// Looks again and again. Nothing to do if everything is kept.
    pub(crate) async fn run(self) {
        let mut next = i64::MIN;
        while !self.keep.is_empty() {
            tokio::time::sleep(GLANCE).await;
            let now = self.broker.clock.now().as_millis();
            if now < next {
                continue;
            }
            let wait = self.look(now.unsigned_abs()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "bodies that were kept long enough are not erased yet; it is tried again");
                HOUR
            });
            next = now.saturating_add(signed(wait));
        }
    }

    /// Erases what is due at `now`, if this day's turn was nobody's; milliseconds until the next look.
    async fn look(&self, now: u64) -> Result<u64, EraseError> {
        let store = &self.broker.store;
        let mut turn = Cursor::new(store.clone(), "retention".to_owned(), self.node.clone());
        let until = signed(now.saturating_add(HOUR));
        if let Turn::Theirs(_) = turn.take(signed(now), until).await? {
            return Ok(HOUR);
        }
        let wait = match self.last(now).await? {
            Some(last) => last.saturating_add(DAY).saturating_sub(now),
            None => match self.erase_due(now).await? {
                0 => HOUR,
                n => {
                    tracing::info!(n, "bodies that were kept long enough were erased");
                    scrub(store).await;
                    DAY
                }
            },
        };
        turn.leave().await?;
        Ok(wait)
    }

    /// When it was done on the day before `now`. An operator's hand does not count.
    async fn last(&self, now: u64) -> Result<Option<u64>, EraseError> {
        let since = now.saturating_sub(DAY - 1);
        let mut last = None;
        for seq in self.broker.store.seqs_since("erased", since).await? {
            let is_ours = |header: &Header| match &header.what {
                What::Erased(it) => it.basis == Basis::Retention && header.by.is_none(),
                _ => false,
            };
            let header = self.headers(&[seq]).await?.pop().filter(is_ours);
            last = last.max(header.map(|it| it.ts).filter(|ts| *ts >= since));
        }
        Ok(last)
    }

    /// How many bodies went.
    async fn erase_due(&self, now: u64) -> Result<u64, EraseError> {
        let before: Vec<_> = self
            .keep
            .kinds()
            .map(|(kind, time)| (kind, now.saturating_sub(u64::from(time.as_u32()) * 1_000)))
            .collect();
        let store = &self.broker.store;
        let mut found = store.bodies_before(&before, 0, FOUND).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let holds = self.holds().await?;
        let is_due = |it: &Header| {
            let mut before = before.iter();
            before.any(|(kind, ts)| it.what.kind() == *kind && it.ts < *ts)
        };
        let mut gone = 0;
        while let Some(last) = found.last() {
            let from = last.saturating_add(1);
            let mut parts = Parts::default();
            for header in self.headers(&found).await? {
                let may_go = is_due(&header) && holds.binds(store, &header, now).await?.is_none();
                if may_go && let Some(full) = parts.add(header) {
                    gone += self.record(&full, now).await?;
                }
            }
            gone += self.record(&parts.headers, now).await?;
            found = store.bodies_before(&before, from, FOUND).await?;
        }
        Ok(gone)
    }

    /// What binds without an end, by every header there is.
    async fn holds(&self) -> Result<Holds, EraseError> {
        let store = &self.broker.store;
        let (mut holds, mut next) = (Holds::default(), 0);
        let size = self.broker.ledger.published().size;
        while next < size {
            let watch = Stopwatch::start();
            let page = store.batches(signed(next), signed(size), PAGE).await?;
            let began = next;
            for (seq, bytes) in page.iter().flat_map(BatchRow::entries) {
                if (next..size).contains(&seq) {
                    holds.follow_bytes(bytes);
                    next = seq + 1;
                }
            }
            if next == began {
                break; // the store lost a batch: the committer says so
            }
            tokio::time::sleep(watch.elapsed() * REST).await;
        }
        Ok(holds)
    }

    /// The headers of these entries, which ascend.
    async fn headers(&self, seqs: &[u64]) -> Result<Vec<Header>, EraseError> {
        let mut headers = Vec::with_capacity(seqs.len());
        let mut wanted = seqs.iter().copied().peekable();
        while let Some(next) = wanted.peek().copied() {
            let batches = self
                .broker
                .store
                .batches(signed(next), i64::MAX, PAGE)
                .await?;
            for (seq, bytes) in batches.iter().flat_map(BatchRow::entries) {
                while wanted.next_if(|it| *it < seq).is_some() {}
                if wanted.next_if_eq(&seq).is_some() {
                    headers.extend(Header::parse(bytes).ok().filter(|it| it.seq == seq));
                }
            }
            wanted.next_if_eq(&next); // there is no such entry: the index lied
        }
        Ok(headers)
    }

    /// One entry, with the bodies it speaks of; how many went.
    async fn record(&self, headers: &[Header], now: u64) -> Result<u64, EraseError> {
        if headers.is_empty() {
            return Ok(0);
        }
        let watch = Stopwatch::start();
        let row = EraseRow {
            over: Some(now),
            ..row(headers.iter(), &[])
        };
        let n = row.n();
        let writes = vec![Write::Erase(Box::new(row.clone()))];
        let recorded = self.broker.ledger.record(entry(&row), None, writes).await;
        tokio::time::sleep(watch.elapsed() * REST).await;
        match recorded {
            Ok(_) => Ok(n),
            // An operator was first; the rest of them go another day.
            Err(LedgerError::Lost(Lost::Erased)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

fn entry(row: &EraseRow) -> Entry {
    let erased = Erased {
        basis: Basis::Retention,
        n: row.n(),
        ranges: row.ranges.clone(),
    };
    ledger::note(erased, None, Map::new())
}

/// Headers of one entry to be, and in how many ranges they lie.
#[derive(Debug, Default)]
struct Parts {
    headers: Vec<Header>,
    ranges: usize,
}

impl Parts {
    /// Adds one more; those before it, if it has no room beside them.
    fn add(&mut self, header: Header) -> Option<Vec<Header>> {
        let last = self.headers.last().map(|last| last.seq.saturating_add(1));
        let begins = last != Some(header.seq);
        let full = self.headers.len() >= MOST || begins && self.ranges >= MAX_RANGES;
        let before = full.then(|| std::mem::take(self).headers);
        self.ranges += usize::from(begins || full);
        self.headers.push(header);
        before
    }
}

/// Between two looks at the clock.
const GLANCE: Duration = Duration::from_secs(2);
/// In milliseconds.
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Entries looked at together.
const FOUND: i64 = 16_384;
/// Bodies that go with one entry: whoever wants to record something waits as long.
const MOST: usize = 4_096;
/// How long it rests for each unit of work.
const REST: u32 = 4;
