//! How a start believes the log again (LEDGER.md §8): from the newest anchor where there is one, so that it costs the
//! same at any size, and else from the first entry on.
//!
//! The short way rests on nothing that is stored beside the entries. Tiles give the frontier under the anchor; the
//! entries since, hashed one by one, must lead from it to the sealed head, and the anchor itself is one of them. The row
//! that lists what binds must hash to what the anchor says, and each entry in it is proven under the anchor's root.
//! Wherever any of this does not hold, the long way is taken, which reads every entry and names the one that is wrong.

use std::sync::Arc;

use stint_audit::kind::Anchor;
use stint_audit::tree::{Frontier, leaf_hash, verify_consistency, verify_inclusion};
use stint_audit::{Digest, Head, Header, What, tile};

use super::OpenError;
use super::cut::{Below, Cut, CutError, Cuts};
use super::standing::Standing;
use super::tiles::{TileError, Tiles};
use crate::store::Store;
use crate::store::trail::{BatchRow, signed};

/// Checks the stored log against `head`, which is sealed, and against `pin`, size and root. Gives what binds.
///
/// # Errors
/// [`OpenError::Diverged`] names what is wrong.
pub(super) async fn resume(
    store: &Store,
    head: &Head,
    pin: Option<(u64, Digest)>,
    cuts: &Cuts,
) -> Result<Standing, OpenError> {
    let tiles = Tiles::new(store.clone(), Arc::clone(cuts));
    let short = Short {
        store,
        tiles: &tiles,
        head,
        pin,
    };
    let standing = match short.walk().await? {
        Some(standing) => standing,
        None => {
            let cut = cuts.borrow().clone();
            let walk = match cut {
                None => Walk::new(Frontier::of(&[]), Standing::default(), pin),
                Some(cut) => from_cut(store, &cut, pin).await?,
            };
            whole(walk, store, head).await?
        }
    };
    recheck(store, head.size()).await?;
    recheck_tiles(&tiles, store, head.size()).await?;
    Ok(standing)
}

/// The way from the newest anchor.
struct Short<'a> {
    store: &'a Store,
    tiles: &'a Tiles,
    head: &'a Head,
    pin: Option<(u64, Digest)>,
}

/// An entry that says it is an anchor.
struct Found {
    seq: u64,
    bytes: Vec<u8>,
    anchor: Anchor,
}

impl Short<'_> {
    /// What binds; nothing where the long way has to be taken.
    async fn walk(&self) -> Result<Option<Standing>, OpenError> {
        let Some(found) = self.newest_anchor().await? else {
            return Ok(None);
        };
        let size = found.anchor.size;
        let Some(before) = readable(self.tiles.frontier(size).await)? else {
            return Ok(None);
        };
        if before.root() != found.anchor.root || !self.extends_pin(&found.anchor).await? {
            return Ok(None);
        }
        match self.bound(&found.anchor).await? {
            Some(standing) => self.since(before, &found, standing).await,
            None => Ok(None),
        }
    }

    async fn newest_anchor(&self) -> Result<Option<Found>, OpenError> {
        let seq = self.store.newest_anchor().await?;
        let Some(seq) = seq.filter(|seq| *seq < self.head.size()) else {
            return Ok(None);
        };
        let Some(bytes) = self.header(seq).await? else {
            return Ok(None);
        };
        let header = Header::parse(&bytes).ok();
        Ok(match header.map(|header| header.what) {
            Some(What::Anchor(anchor)) if (1..=seq).contains(&anchor.size) => {
                Some(Found { seq, bytes, anchor })
            }
            _ => None,
        })
    }

    /// Whether the tree under the anchor extends the pin, or is to be found in the entries since.
    async fn extends_pin(&self, anchor: &Anchor) -> Result<bool, OpenError> {
        let Some((size, root)) = self.pin.filter(|(size, _)| (1..anchor.size).contains(size))
        else {
            return Ok(true);
        };
        let proof = readable(self.tiles.consistency(size, anchor.size).await)?;
        let holds = |proof: Vec<Digest>| {
            verify_consistency((size, &root), (anchor.size, &anchor.root), &proof)
        };
        Ok(proof.is_some_and(holds))
    }

    /// What bound as of the anchor: as the row says, if it is what the anchor hashed, each entry proven.
    async fn bound(&self, anchor: &Anchor) -> Result<Option<Standing>, OpenError> {
        let text = self.store.standing(anchor.size).await?;
        let Some(text) = text.filter(|text| Digest::of(text.as_bytes()) == anchor.standing) else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        for line in text.lines() {
            let header = match line.parse() {
                Ok(seq) => self.proven(seq, anchor).await?,
                Err(_) => None,
            };
            match header {
                Some(header) => headers.push(header),
                None => return Ok(None),
            }
        }
        let Some(last) = self.proven(anchor.size - 1, anchor).await? else {
            return Ok(None);
        };
        Ok(Some(Standing::restored(headers, anchor.size, last.ts)))
    }

    /// The header of entry `seq`, if it is under the anchor's root.
    async fn proven(&self, seq: u64, anchor: &Anchor) -> Result<Option<Header>, OpenError> {
        let Some(bytes) = self.header(seq).await? else {
            return Ok(None);
        };
        let path = readable(self.tiles.inclusion(seq, anchor.size).await)?;
        let leaf = leaf_hash(&bytes);
        let holds =
            |path: &Vec<Digest>| verify_inclusion(&leaf, seq, anchor.size, path, &anchor.root);
        Ok(match path.filter(holds) {
            Some(_) => Header::parse(&bytes).ok(),
            None => None,
        })
    }

    async fn header(&self, seq: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let batches = self.store.batches(signed(seq), signed(seq + 1), 1).await?;
        let mut entries = batches.iter().flat_map(BatchRow::entries);
        let found = entries.find(|(at, _)| *at == seq);
        Ok(found.map(|(_, header)| header.to_vec()))
    }

    /// Hashes and folds the entries since: they must lead to the head, and the anchor must be among them.
    async fn since(
        &self,
        before: Frontier,
        found: &Found,
        standing: Standing,
    ) -> Result<Option<Standing>, OpenError> {
        let mut walk = Walk::new(before, standing, self.pin);
        walk.until(self.store, self.head.size()).await?;
        let anchored = walk.met(found.seq, &found.bytes, self.store).await?;
        let whole = walk.tree.root() == *self.head.root() && walk.odd.is_none();
        Ok((whole && anchored && walk.extends_pin()).then_some(walk.standing))
    }
}

/// The long way of a log that was cut: what stays below was proven by its tiles, which must lead to the head with the rest.
async fn from_cut(store: &Store, cut: &Cut, pin: Option<(u64, Digest)>) -> Result<Walk, OpenError> {
    if let Some((size, _)) = pin.filter(|(size, _)| *size < cut.below) {
        return Err(OpenError::Diverged(format!(
            "the pin knows {size} entries, and entries below {} were pruned: it cannot be compared any more",
            cut.below
        )));
    }
    let read = async {
        let below = Below::read(store.readers().into(), store.log(), cut.below).await?;
        let kept = below.kept(store.readers().into(), store.log(), cut).await?;
        Ok::<_, CutError>((below, kept))
    };
    let (below, kept) = match read.await {
        Ok(read) => read,
        Err(error) => return Err(OpenError::Diverged(error.of_store(store)?)),
    };
    let mut standing = Standing::default();
    for entry in kept {
        standing.follow(&entry.bytes)?;
    }
    Ok(Walk::new(below.frontier, standing, pin))
}

/// The long way: every entry that is there.
async fn whole(mut walk: Walk, store: &Store, head: &Head) -> Result<Standing, OpenError> {
    walk.until(store, head.size()).await?;
    if walk.tree.root() != *head.root() {
        return Err(diverged("the stored hashes do not give the head's root"));
    }
    if !walk.extends_pin() {
        return Err(diverged("the log does not extend the pinned head"));
    }
    if let Some(seq) = walk.odd {
        return Err(wrong(seq, "its header does not hash to its leaf"));
    }
    walk.standing.arrived(head.size(), head.last_ts());
    Ok(walk.standing)
}

/// A walk over entries in order, from any size.
struct Walk {
    tree: Frontier,
    standing: Standing,
    pin: Option<(u64, Digest)>,
    at_pin: Option<Digest>,
    /// The first entry whose header does not hash to its leaf.
    odd: Option<u64>,
}

impl Walk {
    fn new(tree: Frontier, standing: Standing, pin: Option<(u64, Digest)>) -> Self {
        let at_pin = pin
            .filter(|(size, _)| *size == tree.size())
            .map(|_| tree.root());
        // What is pinned below the beginning was proven already.
        let at_pin = at_pin.or(pin
            .filter(|(size, _)| *size < tree.size())
            .map(|(_, root)| root));
        Self {
            tree,
            standing,
            pin,
            at_pin,
            odd: None,
        }
    }

    fn extends_pin(&self) -> bool {
        self.pin.is_none_or(|(_, root)| self.at_pin == Some(root))
    }

    /// Builds the tree over the stored leaf hashes up to `size`. Each header is hashed to its leaf on the way: a freeze
    /// whose header was made to say something else would be a freeze no more.
    async fn until(&mut self, store: &Store, size: u64) -> Result<(), OpenError> {
        while self.tree.size() < size {
            let next = self.tree.size();
            for batch in store.batches(signed(next), signed(size), PAGE).await? {
                self.batch(&batch, size)?;
            }
            if self.tree.size() == next {
                return Err(missing(next));
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRow, size: u64) -> Result<(), OpenError> {
        let headers = batch.entries().map(|(_, header)| Some(header));
        let headers = headers.chain(std::iter::repeat(None));
        let first = batch.first_seq.unsigned_abs();
        if first > self.tree.size() {
            return Err(missing(self.tree.size()));
        }
        for ((seq, leaf), header) in (first..size).zip(batch.leaves()).zip(headers) {
            if seq < self.tree.size() {
                continue;
            }
            match header.filter(|header| leaf_hash(header) == leaf) {
                Some(header) => self.standing.follow(header)?,
                None => self.odd = self.odd.or(Some(seq)),
            }
            self.tree.push(leaf);
            if self
                .pin
                .is_some_and(|(pinned, _)| pinned == self.tree.size())
            {
                self.at_pin = Some(self.tree.root());
            }
        }
        Ok(())
    }

    /// Whether entry `seq`, which was walked over, is of these bytes.
    async fn met(&self, seq: u64, bytes: &[u8], store: &Store) -> Result<bool, OpenError> {
        let batches = store.batches(signed(seq), signed(seq + 1), 1).await?;
        let found = batches.iter().find_map(|batch| {
            let place = seq.checked_sub(batch.first_seq.unsigned_abs())?;
            batch.leaves().nth(usize::try_from(place).ok()?)
        });
        Ok(found == Some(leaf_hash(bytes)) && seq < self.tree.size())
    }
}

/// Re-hashes the last entries byte for byte: each header to its leaf, which the root covers, each body to its header.
/// A body that is gone was erased by one of the entries behind it.
async fn recheck(store: &Store, size: u64) -> Result<(), OpenError> {
    let from = size.saturating_sub(RECHECKED);
    let (headers, erased) = last_headers(store, from, size).await?;
    let bodies = store.bodies(signed(from), signed(size)).await?;
    let mut bodies = bodies.into_iter().peekable();
    for header in headers {
        let seq = header.seq;
        while bodies.next_if(|(of, _)| of.unsigned_abs() < seq).is_some() {}
        match bodies.next_if(|(of, _)| of.unsigned_abs() == seq) {
            Some((_, body)) if Digest::of(&body) == header.body => {}
            Some(_) => return Err(wrong(seq, "its body does not hash to what the header says")),
            None if erased.iter().any(|[a, b]| (*a..*b).contains(&seq)) => {}
            None => return Err(wrong(seq, "its body is missing")),
        }
    }
    Ok(())
}

/// The headers of `[from, size)`, and which bodies they say were erased.
async fn last_headers(
    store: &Store,
    from: u64,
    size: u64,
) -> Result<(Vec<Header>, Vec<[u64; 2]>), OpenError> {
    let (mut headers, mut erased, mut next) = (Vec::new(), Vec::new(), from);
    while next < size {
        let began = next;
        for batch in store.batches(signed(next), signed(size), PAGE).await? {
            if !batch.is_even() {
                let first = batch.first_seq.unsigned_abs();
                return Err(wrong(
                    first,
                    "its header does not hash to its leaf, or its batch has others besides",
                ));
            }
            for ((seq, bytes), leaf) in batch.entries().zip(batch.leaves()) {
                if seq < next || seq >= size {
                    continue;
                }
                if seq != next || leaf_hash(bytes) != leaf {
                    return Err(wrong(next, "its header does not hash to its leaf"));
                }
                let header =
                    Header::parse(bytes).map_err(|error| wrong(seq, &error.to_string()))?;
                if header.seq != seq {
                    return Err(wrong(seq, "its header is of another place"));
                }
                if let What::Erased(it) = &header.what {
                    erased.extend(&it.ranges);
                }
                headers.push(header);
                next += 1;
            }
        }
        if next == began {
            return Err(missing(next));
        }
    }
    Ok((headers, erased))
}

/// The stored tiles of the last entries: what is not there is made later, what is there must be right.
async fn recheck_tiles(tiles: &Tiles, store: &Store, size: u64) -> Result<(), OpenError> {
    let first = size.saturating_sub(RECHECKED) / tile::WIDTH;
    for (index, bytes) in store.tiles(0, first, size / tile::WIDTH).await? {
        let tile = tile::Tile {
            level: 0,
            index,
            width: tile::WIDTH,
        };
        let hashes = tiles.again(&tile).await.map_err(opened)?;
        if tile::hash_bytes(&hashes) != bytes {
            return Err(opened(TileError::Conflict(tile.path())));
        }
    }
    Ok(())
}

/// What tiles gave; nothing where they are not as they should be, which the long way looks into.
fn readable<T>(read: Result<T, TileError>) -> Result<Option<T>, OpenError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(TileError::Store(error)) => Err(error.into()),
        Err(
            TileError::Conflict(_)
            | TileError::Growing(..)
            | TileError::Missing(_)
            | TileError::Pruned { .. }
            | TileError::Range(_),
        ) => Ok(None),
    }
}

fn opened(error: TileError) -> OpenError {
    match error {
        TileError::Store(error) => error.into(),
        TileError::Conflict(_)
        | TileError::Growing(..)
        | TileError::Missing(_)
        | TileError::Pruned { .. }
        | TileError::Range(_) => OpenError::Diverged(error.to_string()),
    }
}

fn missing(seq: u64) -> OpenError {
    OpenError::Diverged(format!("entry {seq} is missing"))
}

fn wrong(seq: u64, what: &str) -> OpenError {
    OpenError::Diverged(format!("entry {seq}: {what}"))
}

fn diverged(why: &str) -> OpenError {
    OpenError::Diverged(why.to_owned())
}

/// Entries whose bodies are re-hashed byte for byte at every start.
const RECHECKED: u64 = 512;

/// Batches read at once.
const PAGE: i64 = 256;
