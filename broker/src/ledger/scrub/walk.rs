//! One pass from the first entry to the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stint_audit::entry::{Body, Header};
use stint_audit::tile::{self, Edge, Full};
use stint_audit::tree::{Frontier, leaf_hash};
use stint_audit::{Checkpoint, Digest, What};

use super::{Finding, Scrubbed};
use crate::ledger::cut::{Below, Cut, CutError};
use crate::ledger::tiles::TileError;
use crate::ledger::{Ledger, index};
use crate::store::Write;
use crate::store::derived::{Derived, IndexRow};
use crate::store::trail::{BatchRow, signed};

/// Where a pass is, and what it has seen.
pub(super) struct Walk {
    edge: Edge,
    tree: Frontier,
    prev: Option<Digest>,
    last_ts: u64,
    /// Up to here tiles and index were there when the pass began.
    derived: u64,
    /// Where it begins.
    floor: u64,
    /// Why it does not begin with entry 0: one of its entries must say so.
    cut: Option<Arc<Cut>>,
    missing: Ranges,
    erased: Ranges,
    mend: Derived,
    seen: Scrubbed,
}

/// Half-open ranges, ascending as they came.
type Ranges = Vec<[u64; 2]>;

impl Walk {
    /// At the first entry from which on all are there. What stays below is looked at at once.
    pub(super) async fn begin(ledger: &Ledger, floor: u64, size: u64) -> Result<Self, Finding> {
        let mut walk = Self {
            edge: Edge::default(),
            tree: Frontier::of(&[]),
            prev: (floor == 0).then_some(Digest::ZERO),
            last_ts: 0,
            derived: ledger.of_store().derived().await?.min(size),
            floor,
            cut: None,
            missing: Vec::new(),
            erased: Vec::new(),
            mend: Derived::default(),
            seen: Scrubbed::default(),
        };
        if let Some(cut) = ledger.cut().filter(|cut| cut.below == floor) {
            walk.begin_at(ledger, &cut).await?;
            walk.cut = Some(cut);
        }
        Ok(walk)
    }

    async fn begin_at(&mut self, ledger: &Ledger, cut: &Cut) -> Result<(), Finding> {
        let (store, log) = (ledger.of_store(), ledger.origin());
        let read = async {
            let below = Below::read(store.readers().into(), log, cut.below).await?;
            let kept = below.kept(store.readers().into(), log, cut).await?;
            Ok::<_, CutError>((below, kept))
        };
        let (below, kept) = match read.await {
            Ok(read) => read,
            Err(error) => return Err(Finding::Diverged(error.of_store(store)?)),
        };
        for entry in kept {
            match entry.body {
                Some(body) => {
                    self.seen.bodies += 1;
                    check(ledger, &entry.header, &body)?;
                }
                None => self.gone(entry.header.seq),
            }
            self.seen.entries += 1;
        }
        let edge = ledger.tiles.edge_at(cut.below).await?;
        self.edge = edge.ok_or(TileError::Missing(cut.below))?;
        self.tree = below.frontier;
        Ok(())
    }

    /// The next entry.
    pub(super) fn at(&self) -> u64 {
        self.tree.size()
    }

    pub(super) fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Whether any body is gone.
    pub(super) fn misses(&self) -> bool {
        !self.missing.is_empty()
    }

    /// One batch: its entries, their bodies, its root.
    pub(super) async fn batch(
        &mut self,
        ledger: &Ledger,
        batch: &BatchRow,
        notes: &mut Vec<(u64, String)>,
    ) -> Result<(), Finding> {
        let first = self.at();
        let begins = batch.first_seq.unsigned_abs();
        // The one that reaches over the cut stayed whole.
        let over = begins < first && first == self.floor;
        if begins != first && !over {
            return Err(TileError::Missing(first).into());
        }
        let mut headers = Vec::new();
        for ((seq, bytes), leaf) in batch.entries().zip(batch.leaves()) {
            if seq < first {
                continue;
            }
            let header = self.header(ledger, seq, bytes)?;
            self.leaf(ledger, leaf, bytes).await?;
            self.notes(notes)?;
            headers.push(header);
        }
        if headers.is_empty() {
            return Err(TileError::Missing(self.at()).into());
        }
        if !batch.is_even() {
            return Err(diverged(first, "its batch has other headers than hashes"));
        }
        if batch.root != self.root().as_bytes() {
            let why = format!("the batch at entry {first} does not hash to its root");
            return Err(Finding::Diverged(why));
        }
        self.bodies(ledger, &headers).await?;
        self.index(ledger, &headers).await
    }

    fn header(&mut self, ledger: &Ledger, seq: u64, bytes: &[u8]) -> Result<Header, Finding> {
        let wrong = |what: &str| diverged(seq, what);
        let header = Header::parse(bytes).map_err(|error| wrong(&error.to_string()))?;
        if header.seq != seq || *header.log != *ledger.origin() {
            return Err(wrong("it is of another place or another log"));
        }
        if self.prev.is_some_and(|prev| prev != header.prev) {
            return Err(wrong("it is not linked to the one before"));
        }
        if header.ts < self.last_ts {
            return Err(wrong("its time is before that of the entry before"));
        }
        self.prev = Some(leaf_hash(bytes));
        self.last_ts = header.ts;
        match &header.what {
            What::Erased(erased) => self.erased.extend(&erased.ranges),
            _ if self.cut.as_ref().is_some_and(|cut| cut.is_of(&header)) => self.cut = None,
            _ => {}
        }
        Ok(header)
    }

    async fn leaf(&mut self, ledger: &Ledger, leaf: Digest, bytes: &[u8]) -> Result<(), Finding> {
        let seq = self.at();
        if leaf_hash(bytes) != leaf {
            return Err(diverged(seq, "its header does not hash to its leaf"));
        }
        self.tree.push(leaf);
        self.seen.entries += 1;
        for full in self.edge.push(leaf) {
            self.tile(ledger, full).await?;
        }
        Ok(())
    }

    /// A full tile against its row; one that should be there and is not is made again.
    async fn tile(&mut self, ledger: &Ledger, full: Full) -> Result<(), Finding> {
        let (level, index) = (full.tile.level, full.tile.index);
        let bytes = tile::hash_bytes(&full.hashes);
        let row = ledger.of_store().tiles(level, index, index + 1).await?;
        match row.into_iter().next() {
            Some((_, stored)) if stored == bytes => {}
            Some(_) => return Err(TileError::Conflict(full.tile.path()).into()),
            None if self.at() <= self.derived => self.mend.tiles.push((level, index, bytes)),
            None => {}
        }
        Ok(())
    }

    /// The published notes of this very size.
    fn notes(&mut self, notes: &mut Vec<(u64, String)>) -> Result<(), Finding> {
        while notes.first().is_some_and(|(size, _)| *size <= self.at()) {
            let (size, text) = notes.remove(0);
            let said = Checkpoint::parse_note(&text).ok().map(|(said, _)| said);
            let ours = said.is_some_and(|it| it.size == size && it.root == self.root());
            if size == self.at() && !ours {
                let why = format!("the stored note of size {size} is not of this log");
                return Err(Finding::Diverged(why));
            }
        }
        Ok(())
    }

    /// The bodies of a batch against their headers.
    async fn bodies(&mut self, ledger: &Ledger, headers: &[Header]) -> Result<(), Finding> {
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Ok(());
        };
        let (from, to) = (signed(first.seq), signed(last.seq + 1));
        let bodies = ledger.of_store().bodies(from, to).await?;
        let mut bodies: BTreeMap<_, _> = bodies.into_iter().collect();
        for header in headers {
            match bodies.remove(&signed(header.seq)) {
                Some(body) => {
                    self.seen.bodies += 1;
                    check(ledger, header, &body)?;
                }
                None => self.gone(header.seq),
            }
        }
        Ok(())
    }

    fn gone(&mut self, seq: u64) {
        self.seen.erased += 1;
        match self.missing.last_mut() {
            Some([_, end]) if *end == seq => *end += 1,
            _ => self.missing.push([seq, seq + 1]),
        }
    }

    /// The index against the headers. It is no evidence of anything: what differs is made again.
    async fn index(&mut self, ledger: &Ledger, headers: &[Header]) -> Result<(), Finding> {
        let due: Vec<_> = headers.iter().filter(|it| it.seq < self.derived).collect();
        let (Some(first), Some(last)) = (due.first(), due.last()) else {
            return Ok(());
        };
        let rows = ledger.of_store().index(first.seq, last.seq + 1).await?;
        let rows: BTreeMap<u64, IndexRow> = rows.into_iter().map(|row| (row.seq, row)).collect();
        for header in due {
            let row = index::row(header);
            if rows.get(&header.seq) != Some(&row) {
                self.mend.index.push(row);
            }
        }
        Ok(())
    }

    /// Writes what was made again.
    pub(super) async fn settle(&mut self, ledger: &Ledger) -> Result<(), Finding> {
        let mend = std::mem::take(&mut self.mend);
        let rows = mend.tiles.len() + mend.index.len();
        if rows > 0 {
            self.seen.mended += u64::try_from(rows).unwrap_or(u64::MAX);
            let writes = vec![Write::Derived(Box::new(mend))];
            ledger.settle(writes).await?;
        }
        Ok(())
    }

    /// Takes note of an erasure that was recorded meanwhile.
    pub(super) fn erasure(&mut self, header: &[u8]) {
        if let Ok(header) = Header::parse(header)
            && let What::Erased(erased) = &header.what
        {
            self.erased.extend(&erased.ranges);
        }
    }

    /// What is gone must have been erased.
    pub(super) fn end(mut self) -> Result<Scrubbed, Finding> {
        if self.cut.is_some() {
            return Err(TileError::Missing(0).into());
        }
        self.erased.sort_unstable();
        for [from, to] in &self.missing {
            if let Some(seq) = uncovered(*from, *to, &self.erased) {
                let what = "its body is gone, and no entry says that it was erased";
                return Err(diverged(seq, what));
            }
        }
        Ok(self.seen)
    }
}

/// The first seq of `[from, to)` that none of `erased`, which ascend, holds.
fn uncovered(from: u64, to: u64, erased: &[[u64; 2]]) -> Option<u64> {
    let mut next = from;
    for [start, end] in erased {
        if *start <= next {
            next = next.max(*end);
        }
    }
    (next < to).then_some(next)
}

/// A body against its header, and the identities in it against their pseudonyms.
fn check(ledger: &Ledger, header: &Header, bytes: &[u8]) -> Result<(), Finding> {
    let wrong = |what: &str| diverged(header.seq, what);
    if Digest::of(bytes) != header.body {
        return Err(wrong("its body does not hash to what the header says"));
    }
    let body = Body::parse(bytes).map_err(|error| wrong(&error.to_string()))?;
    for (member, pseudonym) in [("caller", &header.subj), ("actor", &header.by)] {
        let id = body.what.get(member).and_then(|who| who.get("id"));
        let (Some(id), Some(pseudonym)) = (id.and_then(Value::as_str), pseudonym) else {
            continue;
        };
        if ledger.subject(id).pseudonym != *pseudonym {
            return Err(wrong("its pseudonym is not that of whom its body names"));
        }
    }
    Ok(())
}

fn diverged(seq: u64, what: &str) -> Finding {
    Finding::Diverged(format!("entry {seq}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::uncovered;

    #[test]
    fn a_body_that_is_gone_is_covered_by_an_erasure_or_named() {
        for (from, to, erased, first) in [
            (3, 5, vec![[3, 5]], None),
            (3, 5, vec![[0, 4], [4, 9]], None),
            (3, 5, vec![[3, 4]], Some(4)),
            (3, 5, vec![[4, 5]], Some(3)),
            (3, 5, vec![], Some(3)),
            (3, 9, vec![[0, 100], [5, 6]], None),
            (3, 9, vec![[1, 2], [3, 6], [7, 9]], Some(6)),
        ] {
            assert_eq!(
                uncovered(from, to, &erased),
                first,
                "{from} {to} {erased:?}"
            );
        }
    }
}
