//! Follows the log, whoever commits: writes tiles and index, folds what binds, and puts an anchor into the log once a
//! minute (LEDGER.md §7, §8). It is behind by a second at most, and nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use stint_audit::entry::{FormError, Header};
use stint_audit::kind::Anchor;
use stint_audit::tile::{self, Tile};
use stint_audit::tree::leaf_hash;
use stint_audit::{Checkpoint, Digest, What};
use thiserror::Error;

use super::binding::Binding;
use super::tiles::TileError;
use super::{Ledger, cut, index, note};
use crate::clock::Clock;
use crate::store::derived::{Derived, IndexRow};
use crate::store::trail::{BatchRow, signed};
use crate::store::{self, Write};

/// The task that follows. Whoever opened the ledger runs it.
#[derive(Debug)]
pub struct Deriver {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    /// The next entry without a row in the index; `None` before the store was asked.
    at: Option<u64>,
    binding: Binding,
    owed: Owed,
    /// An entry said that the log was cut, and nobody looked yet.
    cut: bool,
}

/// When the next anchor is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Owed {
    /// Time of the newest anchor, or of the first entry that was seen.
    since: Option<u64>,
    /// Whether anything but anchors came since.
    news: bool,
}

/// Why the follower stopped short.
#[derive(Debug, Error)]
enum DeriveError {
    #[error(transparent)]
    Tile(#[from] TileError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Ledger(#[from] super::Error),
    /// What is stored is not what was signed.
    #[error("{0}")]
    Diverged(String),
    #[error("entry {seq} is no entry")]
    Form { seq: u64, source: FormError },
}

impl Deriver {
    /// Goes on from `binding`, the fold of all entries at the start.
    pub(super) fn new(ledger: Ledger, clock: Arc<dyn Clock>, binding: Binding) -> Self {
        Self {
            ledger,
            clock,
            at: None,
            binding,
            owed: Owed::default(),
            cut: false,
        }
    }

    /// Runs until the committer is gone.
    pub async fn run(mut self) {
        let mut published = self.ledger.watch_published();
        loop {
            let step = self.step().await;
            if let Err(error) = step {
                self.tell(error);
            }
            // A little later there is more to write at once.
            tokio::time::sleep(LINGER).await;
            let wait = if self.owed.news { LINGER } else { IDLE };
            if let Ok(Err(_closed)) = tokio::time::timeout(wait, published.changed()).await {
                return;
            }
        }
    }

    fn tell(&self, error: DeriveError) {
        match error {
            DeriveError::Diverged(why) => self.ledger.accuse(why),
            DeriveError::Tile(error @ (TileError::Conflict(_) | TileError::Missing(_))) => {
                self.ledger.accuse(error.to_string());
            }
            DeriveError::Form { .. } => self.ledger.accuse(error.to_string()),
            DeriveError::Tile(_) | DeriveError::Store(_) | DeriveError::Ledger(_) => {
                tracing::warn!(%error, "tiles and index are behind; it is tried again");
            }
        }
    }

    /// Writes what is new, and an anchor if one is due.
    async fn step(&mut self) -> Result<(), DeriveError> {
        let due = self.is_due();
        let note: Arc<str> = match due {
            // Witnesses are asked at once, and it is folded to the very head that goes into the anchor.
            true => self.ledger.witnessed(self.binding.size()).await.checkpoint,
            false => self.ledger.published().checkpoint,
        };
        let (checkpoint, _) = Checkpoint::parse_note(&note)
            .map_err(|error| DeriveError::Diverged(error.to_string()))?;
        let at = match self.at {
            Some(at) => at,
            None => self.ledger.store.derived().await?.min(self.binding.size()),
        };
        self.at = Some(at);
        if at < checkpoint.size {
            self.catch_up(at, checkpoint.size).await?;
            self.compare(&checkpoint).await?;
        }
        self.flush_tiles(Derived::default()).await?;
        if due && self.binding.size() == checkpoint.size {
            self.anchor(&checkpoint, &note).await?;
        }
        Ok(())
    }

    async fn catch_up(&mut self, mut at: u64, size: u64) -> Result<(), DeriveError> {
        while at < size {
            let store = &self.ledger.store;
            let batches = store.batches(signed(at), signed(size), BATCHES).await?;
            let rows = self.take(at, size, &batches)?;
            let end = at + u64::try_from(rows.len()).unwrap_or(0);
            if end == at {
                return Err(TileError::Missing(at).into());
            }
            while let Err(error) = self.ledger.tiles.grow(end).await {
                match error {
                    TileError::Growing(..) => self.flush_tiles(Derived::default()).await?,
                    error => return Err(error.into()),
                }
            }
            let derived = Derived {
                index: rows,
                to: Some(end),
                ..Derived::default()
            };
            self.flush(derived).await?;
            self.at = Some(end);
            at = end;
            if std::mem::take(&mut self.cut) {
                self.ledger.learn_cut().await?;
            }
        }
        Ok(())
    }

    /// The rows of the entries of `[at, size)` that are in `batches`; folds those that were not.
    fn take(
        &mut self,
        at: u64,
        size: u64,
        batches: &[BatchRow],
    ) -> Result<Vec<IndexRow>, DeriveError> {
        let mut rows: Vec<IndexRow> = Vec::new();
        let entries = batches.iter().flat_map(BatchRow::entries);
        let leaves = batches.iter().flat_map(BatchRow::leaves);
        for ((seq, bytes), leaf) in entries.zip(leaves) {
            if !(at..size).contains(&seq) {
                continue;
            }
            if leaf_hash(bytes) != leaf {
                let why = format!("entry {seq} does not hash to its leaf");
                return Err(DeriveError::Diverged(why));
            }
            let header =
                Header::parse(bytes).map_err(|source| DeriveError::Form { seq, source })?;
            if header.seq != seq {
                let why = format!("entry {} lies at place {seq}", header.seq);
                return Err(DeriveError::Diverged(why));
            }
            self.owed.heard(&header);
            self.cut |= cut::pruned(&header.what).is_some();
            if seq == self.binding.size() {
                self.binding.follow(&header);
            }
            rows.push(index::row(&header));
        }
        Ok(rows)
    }

    /// One small unit of rows, with the tiles that wait.
    async fn flush(&mut self, derived: Derived) -> Result<(), DeriveError> {
        let tiles = self.ledger.tiles.unwritten().await;
        let bytes = |(tile, hashes): &(Tile, Vec<Digest>)| {
            (tile.level, tile.index, tile::hash_bytes(hashes))
        };
        let derived = Derived {
            tiles: tiles.iter().map(bytes).collect(),
            ..derived
        };
        let writes = vec![Write::Derived(Box::new(derived))];
        self.ledger.settle(writes).await?;
        self.ledger.tiles.written(&tiles).await?;
        Ok(())
    }

    async fn flush_tiles(&mut self, derived: Derived) -> Result<(), DeriveError> {
        match self.ledger.tiles.unwritten().await.is_empty() {
            true => Ok(()),
            false => self.flush(derived).await,
        }
    }

    /// Whether tiles and entries give the root that was signed. If they do not, it was a row of a tile: all are made
    /// anew from the entries, and the one that differs is found as they are written.
    async fn compare(&mut self, checkpoint: &Checkpoint) -> Result<(), DeriveError> {
        let tiles = self.ledger.tiles.clone();
        if tiles.frontier(checkpoint.size).await?.root() == checkpoint.root {
            return Ok(());
        }
        tiles.begin_anew().await?;
        while let Err(error) = tiles.grow(checkpoint.size).await {
            match error {
                TileError::Growing(..) => self.flush_tiles(Derived::default()).await?,
                error => return Err(error.into()),
            }
        }
        self.flush_tiles(Derived::default()).await?;
        match tiles.tip().await.root() == checkpoint.root {
            true => Ok(()),
            false => Err(DeriveError::Diverged(format!(
                "the entries do not give the root of checkpoint {}",
                checkpoint.size
            ))),
        }
    }

    fn is_due(&self) -> bool {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        self.owed.is_due(now)
    }

    /// Puts the published checkpoint, and what binds as of it, into the log itself.
    async fn anchor(&mut self, checkpoint: &Checkpoint, text: &str) -> Result<(), DeriveError> {
        self.binding.prune();
        let standing = self.binding.text();
        let seen = self.ledger.seen();
        let ours = seen
            .newest
            .is_some_and(|newest| newest.size == checkpoint.size);
        let (cosigs, latest) = if ours { seen.cosigs } else { (0, None) };
        let anchor = Anchor {
            cosigs,
            latest,
            note: Digest::of(text.as_bytes()),
            root: checkpoint.root,
            size: checkpoint.size,
            standing: Digest::of(standing.as_bytes()),
        };
        let mut body = Map::new();
        body.insert("note".to_owned(), Value::String(text.to_owned()));
        let derived = Derived {
            standing: Some((checkpoint.size, standing)),
            ..Derived::default()
        };
        let writes = vec![Write::Derived(Box::new(derived))];
        self.ledger
            .record(note(anchor, None, body), None, writes)
            .await?;
        // Until it is followed itself, the next one is not due.
        self.owed.news = false;
        Ok(())
    }
}

impl Owed {
    fn heard(&mut self, header: &Header) {
        match header.what {
            What::Anchor(_) => {
                *self = Owed {
                    since: Some(header.ts),
                    news: false,
                }
            }
            _ => {
                self.since = self.since.or(Some(header.ts));
                self.news = true;
            }
        }
    }

    fn is_due(&self, now: u64) -> bool {
        let due = |since: u64| now.saturating_sub(since) >= EVERY_MS;
        self.news && self.since.is_some_and(due)
    }
}

/// Between two writes.
const LINGER: Duration = Duration::from_millis(500);
/// Between two looks at what was published, where nothing is owed.
const IDLE: Duration = Duration::from_secs(10);
/// Batches read at once: 2 MiB of headers at most.
const BATCHES: i64 = 8;
/// Anchors come once a minute (LEDGER.md §5).
const EVERY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_due_a_minute_after_the_last_if_anything_else_came() {
        let owed = |since, news| Owed { since, news };
        assert!(!owed(None, false).is_due(u64::MAX));
        assert!(!owed(Some(5), false).is_due(u64::MAX));
        assert!(!owed(Some(5), true).is_due(60_004));
        assert!(owed(Some(5), true).is_due(60_005));
        // A clock that went back: not yet.
        assert!(!owed(Some(100_000), true).is_due(5));
    }
}
