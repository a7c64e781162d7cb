//! A whole log of one database, hashed again from its bytes: for a copy that nobody serves yet.
//!
//! Every header against its leaf, `prev` and place; every batch against its root; every body against its header. A body
//! may be missing only if a later entry says that it was erased.

use std::collections::BTreeMap;

use stint_audit::entry::FormError;
use stint_audit::kind::KeyRetired;
use stint_audit::tree::{Frontier, leaf_hash};
use stint_audit::{Body, Digest, Head, Header, What};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::cut::{self, Below, Cut, CutError};
use super::opening::restore;
use super::standing::Frozen;
use crate::store::trail::{self, BatchRow};
use crate::store::{Db, pages};

/// A log that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its end.
    pub head: Head,
    /// Bodies that are there.
    pub bodies: u64,
    /// Bodies that were erased.
    pub erased: u64,
    /// Its root at each size that was asked for and reached.
    pub roots: BTreeMap<u64, Digest>,
    /// What is frozen, and who is disabled.
    pub frozen: Frozen,
    /// Keys that signed credentials and were retired, and by which entries.
    pub retired: Vec<(u64, KeyRetired)>,
}

/// Why it is not.
#[derive(Debug, Error)]
pub enum WholeError {
    /// There is no such log.
    #[error("the ledger `{0}` is not in this database")]
    Absent(String),
    /// The engine failed.
    #[error("the database failed")]
    Engine(#[from] sqlx::Error),
    /// An entry is not what the log says it was.
    #[error("entry {seq}: {text}")]
    Entry {
        /// Its number.
        seq: u64,
        /// What is wrong.
        text: String,
    },
    /// The head is not that of the entries, or not this broker's.
    #[error("the head: {0}")]
    Head(String),
}

/// Checks `log` in `db`; `mac` seals heads, where whoever asks has it; `sizes` are the sizes whose roots are wanted.
pub(crate) async fn whole(
    db: &mut Db,
    log: &str,
    mac: Option<&[u8; 32]>,
    sizes: &[u64],
) -> Result<Whole, WholeError> {
    let row = trail::head(db, log, trail::Lock::None).await?;
    let row = row.ok_or_else(|| WholeError::Absent(log.to_owned()))?;
    let seal = row.mac.clone();
    let head = restore(log, row).map_err(|error| WholeError::Head(error.to_string()))?;
    let ours = |mac| bool::from(head.mac(mac).as_bytes().as_slice().ct_eq(&seal));
    if !mac.is_none_or(ours) {
        return Err(WholeError::Head("its seal is not this broker's".to_owned()));
    }
    let mut walk = Walk::begin(db, log).await?;
    walk.note(sizes);
    while walk.tree.size() < head.size() {
        let next = walk.tree.size();
        let place = (trail::signed(next), i64::MAX);
        let batches = trail::batches(&mut *db, log, place, BATCHES).await?;
        let end = batches.last().map_or(next, |batch| {
            let entries = u64::try_from(batch.hashes.len() / 32).unwrap_or(0);
            batch.first_seq.unsigned_abs() + entries
        });
        let bodies = pages::bodies(db, log, trail::signed(next), trail::signed(end)).await?;
        let mut bodies: BTreeMap<u64, Vec<u8>> = bodies.into_iter().collect();
        for batch in &batches {
            walk.batch(log, batch, &mut bodies, sizes)?;
        }
        if walk.tree.size() == next {
            return Err(entry(next, "is missing"));
        }
    }
    walk.end(head)
}

#[derive(Default)]
struct Walk {
    tree: Frontier,
    prev: Option<Digest>,
    ts: u64,
    roots: BTreeMap<u64, Digest>,
    bodies: u64,
    /// Half-open ranges of bodies that are not there, and those that entries say were erased.
    missing: Vec<[u64; 2]>,
    erased: Vec<[u64; 2]>,
    frozen: Frozen,
    retired: Vec<(u64, KeyRetired)>,
    /// Where it begins, and the cut that one of the entries must speak of.
    floor: u64,
    cut: Option<Cut>,
}

impl Walk {
    /// At the first entry from which on all are there. What stays below a cut is looked at at once; the tiles it rests
    /// on must lead to the sealed head with the entries to come.
    async fn begin(db: &mut Db, log: &str) -> Result<Self, WholeError> {
        let mut walk = Self::default();
        let wrong = |error| match error {
            CutError::Engine(source) => WholeError::Engine(source),
            CutError::Wrong(seq, text) => entry(seq, text),
        };
        let Some(cut) = cut::find((&mut *db).into(), log, None)
            .await
            .map_err(wrong)?
        else {
            return Ok(walk);
        };
        let below = Below::read((&mut *db).into(), log, cut.below);
        let below = below.await.map_err(wrong)?;
        let kept = below.kept((&mut *db).into(), log, &cut);
        for kept in kept.await.map_err(wrong)? {
            walk.fold(&kept.header, kept.body.as_deref());
            walk.bodies += u64::from(kept.body.is_some());
            if kept.body.is_none() {
                walk.missing.push([kept.header.seq, kept.header.seq + 1]);
            }
        }
        walk.tree = below.frontier;
        walk.floor = cut.below;
        walk.cut = Some(cut);
        Ok(walk)
    }

    fn note(&mut self, sizes: &[u64]) {
        if sizes.contains(&self.tree.size()) {
            self.roots.insert(self.tree.size(), self.tree.root());
        }
    }

    fn batch(
        &mut self,
        log: &str,
        batch: &BatchRow,
        bodies: &mut BTreeMap<u64, Vec<u8>>,
        sizes: &[u64],
    ) -> Result<(), WholeError> {
        let seq = self.tree.size();
        let begins = batch.first_seq.unsigned_abs();
        // The one that reaches over the cut stayed whole.
        if begins != seq && !(begins < seq && seq == self.floor) {
            return Err(entry(seq, "is missing"));
        }
        let over = usize::try_from(seq - begins).unwrap_or(usize::MAX);
        let mut headers = batch.entries().skip(over);
        for leaf in batch.leaves().skip(over) {
            let seq = self.tree.size();
            let bytes = headers.next().map(|(_, bytes)| bytes);
            let bytes = bytes.filter(|bytes| leaf_hash(bytes) == leaf);
            let bytes = bytes.ok_or_else(|| entry(seq, "its header does not hash to its leaf"))?;
            self.header(log, seq, bytes, bodies.remove(&seq))?;
            self.prev = Some(leaf);
            self.tree.push(leaf);
            self.note(sizes);
        }
        if *self.tree.root().as_bytes() != *batch.root {
            return Err(entry(seq, "its batch has another root"));
        }
        Ok(())
    }

    fn header(
        &mut self,
        log: &str,
        seq: u64,
        bytes: &[u8],
        body: Option<Vec<u8>>,
    ) -> Result<(), WholeError> {
        let header = match Header::parse(bytes) {
            Ok(header) => header,
            // A later version's entry: its bytes are what the tree holds, and that is all this one can tell.
            Err(FormError::Version(_)) => return Ok(()),
            Err(error) => return Err(entry(seq, &error.to_string())),
        };
        let begins = (seq == 0).then_some(Digest::ZERO);
        let follows = self.prev.or(begins);
        let chained = header.seq == seq && follows.is_none_or(|prev| header.prev == prev);
        if self.cut.as_ref().is_some_and(|cut| cut.is_of(&header)) {
            self.cut = None;
        }
        if !chained || &*header.log != log || header.ts < self.ts {
            return Err(entry(seq, "does not follow the one before"));
        }
        self.ts = header.ts;
        self.fold(&header, body.as_deref());
        match body {
            Some(body) if Digest::of(&body) != header.body => {
                return Err(entry(seq, "its body does not hash to what the header says"));
            }
            Some(_) => self.bodies += 1,
            None => match self.missing.last_mut() {
                Some([_, end]) if *end == seq => *end += 1,
                _ => self.missing.push([seq, seq + 1]),
            },
        }
        Ok(())
    }

    /// What the entry says that the next log must know.
    fn fold(&mut self, header: &Header, body: Option<&[u8]>) {
        match &header.what {
            What::Erased(erased) => self.erased.extend(&erased.ranges),
            What::KeyAdded(it) => self
                .retired
                .retain(|(_, was)| (was.usage, was.key) != (it.usage, it.key)),
            What::KeyRetired(it) if it.usage.signs_credentials() => {
                self.retired.push((header.seq, it.clone()));
            }
            what => {
                let body = || body.and_then(|body| Body::parse(body).ok());
                self.frozen.follow(header.seq, what, body);
            }
        }
    }

    fn end(mut self, head: Head) -> Result<Whole, WholeError> {
        if self.cut.is_some() {
            return Err(entry(0, "is missing, and no entry says that it was pruned"));
        }
        if self.tree.root() != *head.root() || self.tree.size() != head.size() {
            return Err(WholeError::Head("the entries give another root".to_owned()));
        }
        if self.ts > head.last_ts() {
            return Err(WholeError::Head(
                "its time is before its last entry's".to_owned(),
            ));
        }
        self.erased.sort_unstable();
        let unsaid = self
            .missing
            .iter()
            .find_map(|range| unsaid(*range, &self.erased));
        if let Some(seq) = unsaid {
            return Err(entry(
                seq,
                "its body is missing, and no entry says that it was erased",
            ));
        }
        Ok(Whole {
            head,
            bodies: self.bodies,
            erased: self.missing.iter().map(|[from, to]| to - from).sum(),
            roots: self.roots,
            frozen: self.frozen,
            retired: self.retired,
        })
    }
}

/// The first of `range` that none of `erased` (ascending) covers.
pub(super) fn unsaid([from, to]: [u64; 2], erased: &[[u64; 2]]) -> Option<u64> {
    let mut next = from;
    for [a, b] in erased {
        if *a > next {
            break;
        }
        next = next.max(*b);
    }
    (next < to).then_some(next)
}

fn entry(seq: u64, text: &str) -> WholeError {
    let text = text.to_owned();
    WholeError::Entry { seq, text }
}

/// Batches read at once.
const BATCHES: i64 = 64;

#[cfg(test)]
mod tests {
    use super::unsaid;

    #[test]
    fn a_gap_is_covered_by_what_was_said_or_named() {
        let erased = [[2, 5], [5, 7], [3, 4], [10, 12]];
        assert_eq!(unsaid([2, 7], &erased), None);
        assert_eq!(unsaid([2, 8], &erased), Some(7));
        assert_eq!(unsaid([0, 3], &erased), Some(0));
        assert_eq!(unsaid([10, 12], &erased), None);
        assert_eq!(unsaid([11, 13], &erased), Some(12));
        assert_eq!(unsaid([20, 21], &[]), Some(20));
    }
}
