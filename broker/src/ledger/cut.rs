//! Where a log begins that was pruned (LEDGER.md §12): entries below are in an archive, but for those that still bind.
//!
//! An entry of the log says so, and its body names every entry below that stays; so what binds can no more be taken away
//! than before. Tiles of level 1 and above stay too: they lead from what is left to the root, and the root that the entries
//! from the cut on lead to is the one that was sealed, or nothing of it counts.

use std::sync::Arc;

use stint_audit::kind::AdminOp;
use stint_audit::tile::{self, Plan, WIDTH};
use stint_audit::tree::{Frontier, leaf_hash};
use stint_audit::{Body, Digest, Header, What};
use thiserror::Error;
use tokio::sync::watch;

use super::Ledger;
use super::tiles::TileError;
use crate::store::engine::Via;
use crate::store::trail::{self, BatchRow, signed};
use crate::store::{self, Store, derived, prune};

/// A log that begins later than it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first entry that is there.
    pub below: u64,
    /// The entry that says so.
    pub entry: u64,
    /// SHA-256 of the bundle that has those below.
    pub archive: Digest,
    /// Where that was written.
    pub file: String,
    /// Entries below that stay, ascending.
    pub(crate) kept: Vec<u64>,
    /// Sizes below of which it stays provable that the log extends them.
    pub(crate) sizes: Vec<u64>,
    /// The body of the entry, by its header.
    body: Digest,
}

/// The newest cut of a log, for everybody who holds its door.
pub(super) type Cuts = Arc<watch::Sender<Option<Arc<Cut>>>>;

/// Why what is said of a cut does not count.
#[derive(Debug, Error)]
pub(crate) enum CutError {
    #[error("the database failed")]
    Engine(#[from] sqlx::Error),
    #[error("entry {0}: {1}")]
    Wrong(u64, &'static str),
}

impl CutError {
    /// What is wrong in words, unless it was the engine.
    pub(crate) fn of_store(self, store: &Store) -> Result<String, store::Error> {
        match self {
            Self::Engine(source) => Err(store.failed(source)),
            wrong @ Self::Wrong(..) => Ok(wrong.to_string()),
        }
    }

    /// As an error of the engine: what was read cannot be what was written.
    pub(crate) fn into_engine(self) -> sqlx::Error {
        match self {
            Self::Engine(source) => source,
            wrong @ Self::Wrong(..) => sqlx::Error::Decode(Box::new(wrong)),
        }
    }
}

/// The unit of cuts (LEDGER.md §12): a full tile of level 1, which is one hash of level 2.
pub(crate) const UNIT: u64 = WIDTH * WIDTH;

impl Cut {
    /// Whether entry `seq` is not in the store any more.
    #[must_use]
    pub fn took(&self, seq: u64) -> bool {
        seq < self.below && self.kept.binary_search(&seq).is_err()
    }

    /// Tiles of level 0 that stay: those of entries that do, and those that lead from sizes that do.
    pub(crate) fn tiles(&self) -> Vec<u64> {
        let mut stay: Vec<u64> = self.kept.iter().map(|seq| seq / WIDTH).collect();
        for old in &self.sizes {
            let plan = Plan::consistency(*old, self.below);
            let tiles = plan.iter().flat_map(Plan::tiles);
            stay.extend(tiles.filter(|it| it.level == 0).map(|it| it.index));
        }
        stay.sort_unstable();
        stay.dedup();
        stay
    }

    /// Whether it is the one that this header speaks of.
    pub(crate) fn is_of(&self, header: &Header) -> bool {
        header.seq == self.entry
            && header.body == self.body
            && pruned(&header.what) == Some(self.below)
    }

    pub(super) fn missing(&self, seq: u64) -> TileError {
        TileError::Pruned {
            seq,
            below: self.below,
            file: self.file.clone(),
            archive: self.archive,
        }
    }
}

/// Up to where an entry of this sort says that the log was cut.
pub(crate) fn pruned(what: &What) -> Option<u64> {
    match what {
        What::Admin(admin) if admin.op == AdminOp::Pruned => admin.n,
        _ => None,
    }
}

/// The cut that the rows speak of, or that of the entry `at`: not more than said, until that entry is known to be of the
/// log.
pub(crate) async fn find(
    mut via: Via<'_>,
    log: &str,
    at: Option<u64>,
) -> Result<Option<Cut>, CutError> {
    let seq = match at {
        Some(seq) => Some(seq),
        None => prune::entry(via.again(), log).await?,
    };
    let Some(seq) = seq else { return Ok(None) };
    let header = entry(&mut via, log, seq).await?;
    let header = header.and_then(|bytes| Header::parse(&bytes).ok());
    let wrong = || CutError::Wrong(seq, "it does not say where the log was cut");
    let header = header
        .filter(|header| header.seq == seq)
        .ok_or_else(wrong)?;
    let below = pruned(&header.what).filter(|below| below.is_multiple_of(UNIT) && *below <= seq);
    let below = below.ok_or_else(wrong)?;
    let bodies = trail::bodies(via.again(), log, (signed(seq), signed(seq + 1))).await?;
    let body = bodies.into_iter().map(|(_, body)| body);
    let body = body
        .into_iter()
        .find(|body| Digest::of(body) == header.body);
    let body = body.and_then(|body| Body::parse(&body).ok());
    let said = body.and_then(|body| {
        let now = body.what.get("now")?;
        let numbers = |name| -> Option<Vec<u64>> {
            let numbers = now.get(name)?.as_array()?.iter();
            numbers.map(serde_json::Value::as_u64).collect()
        };
        Some(Cut {
            below,
            entry: seq,
            archive: now.get("archive")?.as_str()?.parse().ok()?,
            file: body.what.get("target")?.as_str()?.to_owned(),
            kept: numbers("kept")?,
            sizes: numbers("sizes")?,
            body: header.body,
        })
    });
    let rises = |cut: &Cut| {
        cut.kept.is_sorted_by(|a, b| a < b) && cut.kept.last().is_none_or(|last| *last < below)
    };
    said.filter(rises).map(Some).ok_or_else(|| {
        CutError::Wrong(
            seq,
            "its body, which says what was cut, is not the one it was",
        )
    })
}

/// The header of one entry.
async fn entry(via: &mut Via<'_>, log: &str, seq: u64) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let batches = trail::batches(via.again(), log, (signed(seq), signed(seq + 1)), 1).await?;
    let mut entries = batches.iter().flat_map(BatchRow::entries);
    let found = entries.find(|(at, _)| *at == seq);
    Ok(found.map(|(_, header)| header.to_vec()))
}

/// The tree below a cut, by its tiles. They are rows: what is built on it has to lead to a root that was sealed.
pub(crate) struct Below {
    pub(crate) frontier: Frontier,
    /// Of each [`UNIT`] of entries.
    roots: Vec<Digest>,
}

/// An entry below that stays: its header, exact bytes, and its body.
pub(crate) struct Kept {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Below {
    /// The tree of the first `below` entries.
    pub(crate) async fn read(mut via: Via<'_>, log: &str, below: u64) -> Result<Self, CutError> {
        let wrong = || CutError::Wrong(below, "the tiles below are not there, and it was cut here");
        let mut roots = Vec::new();
        let units = below / UNIT;
        for from in (0..units).step_by(ROWS) {
            let to = units.min(from.saturating_add(PAGE));
            for (index, bytes) in derived::tiles(via.again(), log, 1, (from, to)).await? {
                let root = tile::hashes(&bytes).and_then(|hashes| tile::parent(&hashes));
                let next = u64::try_from(roots.len()).ok() == Some(index);
                roots.push(root.filter(|_| next).ok_or_else(wrong)?);
            }
        }
        let nodes = Frontier::of(&roots).nodes().to_vec();
        let frontier = Frontier::from_nodes(below, nodes).map_err(|_width| wrong())?;
        Ok(Self { frontier, roots })
    }

    /// The entries that stay, each of them hashed up to one of these roots.
    pub(crate) async fn kept(
        &self,
        mut via: Via<'_>,
        log: &str,
        cut: &Cut,
    ) -> Result<Vec<Kept>, CutError> {
        let mut kept = Vec::with_capacity(cut.kept.len());
        for seq in cut.kept.iter().copied() {
            let wrong = |what| CutError::Wrong(seq, what);
            let bytes = entry(&mut via, log, seq).await?;
            let bytes = bytes.ok_or_else(|| wrong("it binds, and is missing"))?;
            if !self.holds(&mut via, log, (seq, leaf_hash(&bytes))).await? {
                return Err(wrong("its header does not hash to its leaf"));
            }
            let header = Header::parse(&bytes).ok().filter(|it| it.seq == seq);
            let header = header.ok_or_else(|| wrong("it is no entry of this place"))?;
            let bodies = trail::bodies(via.again(), log, (signed(seq), signed(seq + 1))).await?;
            let body = bodies.into_iter().next().map(|(_, body)| body);
            if body
                .as_ref()
                .is_some_and(|body| Digest::of(body) != header.body)
            {
                return Err(wrong("its body does not hash to what the header says"));
            }
            kept.push(Kept {
                header,
                bytes,
                body,
            });
        }
        Ok(kept)
    }

    /// Whether the tiles lead from this leaf to a root.
    async fn holds(
        &self,
        via: &mut Via<'_>,
        log: &str,
        (seq, leaf): (u64, Digest),
    ) -> Result<bool, sqlx::Error> {
        let mut hash = leaf;
        for level in 0..2_u8 {
            let place = seq >> (8 * u32::from(level));
            let index = place / WIDTH;
            let rows = derived::tiles(via.again(), log, level, (index, index + 1)).await?;
            let hashes = rows.first().and_then(|(_, bytes)| tile::hashes(bytes));
            let hashes = hashes.unwrap_or_default();
            let at = usize::try_from(place % WIDTH).unwrap_or(usize::MAX);
            match tile::parent(&hashes) {
                Some(above) if hashes.get(at) == Some(&hash) => hash = above,
                _ => return Ok(false),
            }
        }
        let unit = usize::try_from(seq / UNIT).unwrap_or(usize::MAX);
        Ok(self.roots.get(unit) == Some(&hash))
    }
}

impl Ledger {
    /// Where the log begins, if not with entry 0.
    #[must_use]
    pub fn cut(&self) -> Option<Arc<Cut>> {
        self.cuts.borrow().clone()
    }

    /// The same, for whoever follows.
    #[must_use]
    pub fn watch_cut(&self) -> watch::Receiver<Option<Arc<Cut>>> {
        self.cuts.subscribe()
    }

    /// The first entry from which on all are there.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.cuts.borrow().as_ref().map_or(0, |cut| cut.below)
    }

    /// Whether all entries of `[from, to)` are, or were to be, in the store.
    ///
    /// # Errors
    /// [`TileError::Pruned`] names the archive of the first that is not.
    pub fn has(&self, from: u64, to: u64) -> Result<(), TileError> {
        match self.cut() {
            Some(cut) if from < cut.below => {
                match (from..to.min(cut.below)).find(|it| cut.took(*it)) {
                    Some(seq) => Err(cut.missing(seq)),
                    None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Looks whether the log was cut meanwhile, by this replica or another.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn learn_cut(&self) -> Result<(), store::Error> {
        let found = find(self.store.readers().into(), self.origin(), None).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let why = error.of_store(&self.store)?;
                tracing::warn!(%why, "what is said of a cut of the ledger does not count");
                None
            }
        };
        if let Some(found) = found {
            self.cuts.send_if_modified(|known| {
                let news = known.as_ref().is_none_or(|it| it.below < found.below);
                if news {
                    *known = Some(Arc::new(found));
                }
                news
            });
        }
        Ok(())
    }
}

/// Tiles read at once: 512 KiB.
const ROWS: usize = 64;
const PAGE: u64 = 64;
