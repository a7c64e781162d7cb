//! The log as tiles (C2SP tlog-tiles, LEDGER.md §9): every proof from a handful of reads, at any size.
//!
//! Full tiles are rows, written once; the growing ones are in memory. A row is never believed: a proof that was made
//! from tiles is checked against a root that we signed, and where it does not hold, the tiles are made anew from the
//! entries, and whichever row says otherwise has been tampered with.

use std::collections::BTreeMap;
use std::sync::Arc;

use stint_audit::Digest;
use stint_audit::tile::{self, Edge, Hashes, Plan, Tile, WIDTH};
use stint_audit::tree::Frontier;
use thiserror::Error;
use tokio::sync::Mutex;

use super::cut::Cuts;
use crate::store::trail::{BatchRow, signed};
use crate::store::{self, Store};

/// Why there is no proof.
#[derive(Debug, Error)]
pub enum TileError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An entry is not in the store, though the log is larger.
    #[error("entry {0} is not in the store")]
    Missing(u64),
    /// A stored tile is not what its entries hash to.
    #[error("{0} is not what its entries hash to")]
    Conflict(String),
    /// The log is not that large.
    #[error("there is no such place in a ledger of {0} entries")]
    Range(u64),
    /// The entry is in an archive, and here no more.
    #[error(
        "entry {seq} is in the archive `{file}` (SHA-256 {archive}): entries below {below} were pruned"
    )]
    Pruned {
        /// The entry.
        seq: u64,
        /// The first that is there.
        below: u64,
        /// Where the archive was written.
        file: String,
        /// Its hash.
        archive: Digest,
    },
    /// The tiles of the older entries are still being made.
    #[error("tiles are still being made: entry {0} of {1}")]
    Growing(u64, u64),
}

/// The tiles of one log.
#[derive(Debug, Clone)]
pub struct Tiles {
    store: Store,
    growing: Arc<Mutex<Growing>>,
    cuts: Cuts,
}

/// What is not in the store, or not yet.
#[derive(Debug, Default)]
struct Growing {
    /// `None`: not read yet.
    edge: Option<Edge>,
    /// Full tiles that wait for their row.
    unwritten: BTreeMap<Tile, Vec<Digest>>,
}

impl Tiles {
    /// The tiles of the log in `store`.
    pub(super) fn new(store: Store, cuts: Cuts) -> Self {
        Self {
            store,
            growing: Arc::default(),
            cuts,
        }
    }

    /// The first entry from which on all are there.
    pub(super) fn floor(&self) -> u64 {
        self.cuts.borrow().as_ref().map_or(0, |cut| cut.below)
    }

    /// PATH of leaf `seq` in the tree of `size`, which is at most the log's.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn inclusion(&self, seq: u64, size: u64) -> Result<Vec<Digest>, TileError> {
        let plan = Plan::inclusion(seq, size).ok_or(TileError::Range(size))?;
        self.read(&plan, size).await
    }

    /// PROOF that the tree of `size` extends the one of `first`; empty if they are equal.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn consistency(&self, first: u64, size: u64) -> Result<Vec<Digest>, TileError> {
        let plan = Plan::consistency(first, size).ok_or(TileError::Range(size))?;
        self.read(&plan, size).await
    }

    /// The frontier of the tree of `size`.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn frontier(&self, size: u64) -> Result<Frontier, TileError> {
        let hashes = self.hashes(&Plan::frontier(size), size).await?;
        let frontier = Plan::frontier(size).read_frontier(&hashes);
        frontier.ok_or(TileError::Range(size))
    }

    async fn read(&self, plan: &Plan, size: u64) -> Result<Vec<Digest>, TileError> {
        let hashes = self.hashes(plan, size).await?;
        plan.read(&hashes).ok_or(TileError::Range(size))
    }

    async fn hashes(&self, plan: &Plan, size: u64) -> Result<Hashes, TileError> {
        self.grow(size).await?;
        let mut hashes = Hashes::new();
        for tile in plan.tiles() {
            hashes.insert(tile, self.tile(&tile).await?);
        }
        Ok(hashes)
    }

    /// The hashes of one tile that the log has.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn tile(&self, tile: &Tile) -> Result<Vec<Digest>, TileError> {
        let whole = whole(tile);
        {
            let growing = self.growing.lock().await;
            let edge = growing.edge.as_ref().and_then(|edge| edge.hashes(tile));
            let waiting = growing.unwritten.get(&whole).map(Vec::as_slice);
            if let Some(hashes) = edge.or(waiting) {
                return Ok(prefix(hashes, tile));
            }
        }
        let found = self
            .store
            .tiles(tile.level, tile.index, tile.index.saturating_add(1));
        let found = found.await?.into_iter().next();
        match found.map(|(_, bytes)| tile::hashes(&bytes)) {
            Some(Some(hashes)) if hashes.len() == FULL => Ok(prefix(&hashes, tile)),
            Some(_) => Err(TileError::Conflict(whole.path())),
            None => Ok(prefix(&self.again(&whole).await?, tile)),
        }
    }

    /// A full tile from the entries below it: nothing that is derived is read.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn again(&self, tile: &Tile) -> Result<Vec<Digest>, TileError> {
        // What was cut away cannot be hashed again: its tiles are what is left of it.
        let cut = self.cuts.borrow().clone();
        let (end, _) = tile.sizes().unwrap_or((u64::MAX, u64::MAX));
        if let Some(cut) = cut.filter(|cut| end <= cut.below) {
            let rows = self.store.tiles(tile.level, tile.index, tile.index + 1);
            let hashes = match rows.await?.into_iter().next() {
                Some((_, bytes)) => tile::hashes(&bytes),
                None => return Err(cut.missing(end.saturating_sub(1))),
            };
            return hashes.ok_or_else(|| TileError::Conflict(tile.path()));
        }
        if tile.level == 0 {
            return leaves(&self.store, tile.index * WIDTH, (tile.index + 1) * WIDTH).await;
        }
        let mut hashes = Vec::with_capacity(FULL);
        for index in tile.index * WIDTH..(tile.index + 1) * WIDTH {
            let below = Tile {
                level: tile.level - 1,
                index,
                width: WIDTH,
            };
            let below = Box::pin(self.again(&below)).await?;
            hashes.extend(tile::parent(&below));
        }
        Ok(hashes)
    }

    /// Finds the stored tile that made a proof of `plan` fail: each is made anew from the entries and compared.
    ///
    /// # Errors
    /// [`TileError::Conflict`] names the first that differs.
    async fn suspect(&self, plan: &Plan) -> Result<(), TileError> {
        for tile in plan.tiles() {
            let whole = whole(&tile);
            let stored = self.store.tiles(tile.level, tile.index, tile.index + 1);
            let Some((_, bytes)) = stored.await?.into_iter().next() else {
                continue;
            };
            if tile::hash_bytes(&self.again(&whole).await?) != bytes {
                return Err(TileError::Conflict(whole.path()));
            }
        }
        Ok(())
    }

    /// The tile that contradicts a proof of leaf `seq` under `size`, if one does.
    ///
    /// # Errors
    /// [`TileError::Conflict`].
    pub(super) async fn suspect_inclusion(&self, seq: u64, size: u64) -> Result<(), TileError> {
        match Plan::inclusion(seq, size) {
            Some(plan) => self.suspect(&plan).await,
            None => Ok(()),
        }
    }

    /// Lets the edge grow to `size`, which is committed. Beyond [`STEP`] tiles that wait for their row it stops:
    /// whoever writes them goes on.
    ///
    /// # Errors
    /// [`TileError`].
    pub(super) async fn grow(&self, size: u64) -> Result<(), TileError> {
        let mut growing = self.growing.lock().await;
        if growing.edge.is_none() {
            let at = self.store.derived().await?.min(size);
            growing.edge = match self.edge_at(at / WIDTH * WIDTH).await? {
                Some(edge) if edge.size() >= self.floor() => Some(edge),
                Some(_) | None => self.edge_at(self.floor()).await?,
            };
            if growing.edge.is_none() {
                return Err(TileError::Missing(self.floor()));
            }
        }
        loop {
            let at = growing.edge.as_ref().map_or(0, Edge::size);
            if at >= size {
                return Ok(());
            }
            if growing.unwritten.len() >= STEP {
                return Err(TileError::Growing(at, size));
            }
            let batches = self
                .store
                .batches(signed(at), signed(size), BATCHES)
                .await?;
            growing.take(at, size, &batches)?;
        }
    }

    /// The edge as of `at`, a multiple of [`WIDTH`], from stored tiles. Nothing if a row is missing: all are made anew
    /// then, and compared as they are written.
    pub(super) async fn edge_at(&self, at: u64) -> Result<Option<Edge>, TileError> {
        let mut levels = vec![Vec::new()];
        for level in 1..8_u8 {
            let end = at >> (8 * u32::from(level));
            let rows = self
                .store
                .tiles(level - 1, end / WIDTH * WIDTH, end)
                .await?;
            let hashes = rows.iter().map(|(_, bytes)| {
                let hashes = tile::hashes(bytes)?;
                tile::parent(&hashes)
            });
            match hashes.collect::<Option<Vec<_>>>() {
                Some(hashes) => levels.push(hashes),
                None => return Ok(None),
            }
        }
        Ok(Edge::of(at, levels))
    }

    /// Tiles that wait for their row, some of them.
    pub(super) async fn unwritten(&self) -> Vec<(Tile, Vec<Digest>)> {
        let growing = self.growing.lock().await;
        let tiles = growing.unwritten.iter().take(STEP);
        tiles
            .map(|(tile, hashes)| (*tile, hashes.clone()))
            .collect()
    }

    /// These are rows now.
    ///
    /// # Errors
    /// [`TileError::Conflict`]: another tile is there instead.
    pub(super) async fn written(&self, tiles: &[(Tile, Vec<Digest>)]) -> Result<(), TileError> {
        for (tile, hashes) in tiles {
            let stored = self.store.tiles(tile.level, tile.index, tile.index + 1);
            match stored.await?.into_iter().next() {
                Some((_, bytes)) if bytes == tile::hash_bytes(hashes) => {}
                Some(_) => return Err(TileError::Conflict(tile.path())),
                // Somebody takes rows away as they come: the tile stays in memory, and is tried again.
                None => continue,
            }
            self.growing.lock().await.unwritten.remove(tile);
        }
        Ok(())
    }

    /// The frontier of the whole edge.
    pub(super) async fn tip(&self) -> Frontier {
        let growing = self.growing.lock().await;
        growing
            .edge
            .as_ref()
            .map(Edge::frontier)
            .unwrap_or_default()
    }

    /// Forgets what was read: the next reader begins with the entries themselves.
    ///
    /// # Errors
    /// [`TileError`]: a log that was cut begins with its tiles.
    pub(super) async fn begin_anew(&self) -> Result<(), TileError> {
        let floor = self.floor();
        let edge = self.edge_at(floor).await?;
        let mut growing = self.growing.lock().await;
        growing.edge = Some(edge.ok_or(TileError::Missing(floor))?);
        growing.unwritten.clear();
        Ok(())
    }
}

impl Growing {
    /// Adds the leaves of `[at, size)` that are in `batches`.
    fn take(&mut self, at: u64, size: u64, batches: &[BatchRow]) -> Result<(), TileError> {
        let Some(edge) = &mut self.edge else {
            return Ok(());
        };
        for batch in batches {
            for (seq, leaf) in (batch.first_seq.unsigned_abs()..).zip(batch.leaves()) {
                if seq < edge.size() || seq >= size {
                    continue;
                }
                if seq > edge.size() {
                    return Err(TileError::Missing(edge.size()));
                }
                for full in edge.push(leaf) {
                    self.unwritten.insert(full.tile, full.hashes);
                }
            }
        }
        match edge.size() > at {
            true => Ok(()),
            false => Err(TileError::Missing(at)),
        }
    }
}

/// The leaf hashes of `[from, to)`, none missing.
async fn leaves(store: &Store, from: u64, to: u64) -> Result<Vec<Digest>, TileError> {
    let mut leaves = Vec::new();
    let mut next = from;
    while next < to {
        let began = next;
        for batch in store.batches(signed(next), signed(to), BATCHES).await? {
            for (seq, leaf) in (batch.first_seq.unsigned_abs()..).zip(batch.leaves()) {
                if seq == next && seq < to {
                    leaves.push(leaf);
                    next += 1;
                }
            }
        }
        if next == began {
            return Err(TileError::Missing(next));
        }
    }
    Ok(leaves)
}

fn whole(tile: &Tile) -> Tile {
    Tile {
        width: WIDTH,
        ..*tile
    }
}

fn prefix(hashes: &[Digest], tile: &Tile) -> Vec<Digest> {
    let width = usize::try_from(tile.width).unwrap_or(FULL);
    hashes.get(..width).unwrap_or(hashes).to_vec()
}

/// [`WIDTH`], as a length.
const FULL: usize = 256;
/// Batches read at once.
const BATCHES: i64 = 64;
/// Tiles that may wait for their row: 4 MiB of them.
const STEP: usize = 512;
