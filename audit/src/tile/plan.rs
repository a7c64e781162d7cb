//! Proofs from tiles. A proof is a list of subtree roots; a [`Plan`] says which, and which tiles hold what they are
//! made of: at most two a level, so that any proof costs O(log n) tiles. Whoever has the tiles, by whatever IO, hands
//! them back. What comes out is only as good as the tiles: it is checked against a root like any proof.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Tile, WIDTH};
use crate::Digest;
use crate::tree::{self, Frontier, node_hash};

/// The hashes of tiles, as far as they were read: at least as many as each tile is wide.
pub type Hashes = BTreeMap<Tile, Vec<Digest>>;

/// The subtree roots that a proof, or a frontier, consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    /// Leaves under each of them.
    spans: Vec<Range<u64>>,
}

impl Plan {
    /// PATH of RFC 6962 §2.1.1: siblings of leaf `index` in the tree of `size`, leaf to root. `None` if there is no such
    /// leaf.
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut all, mut spans) = (0..size, Vec::new());
        while let Some(middle) = split(&all) {
            let (left, right) = (all.start..middle, middle..all.end);
            let (inside, sibling) = if index < middle {
                (left, right)
            } else {
                (right, left)
            };
            spans.push(sibling);
            all = inside;
        }
        spans.reverse();
        Some(Self { size, spans })
    }

    /// PROOF of RFC 6962 §2.1.2 that the tree of `size` extends the one of `first`. Empty if they are equal; `None` if
    /// `first` is 0 or beyond.
    #[must_use]
    pub fn consistency(first: u64, size: u64) -> Option<Self> {
        if first == 0 || first > size {
            return None;
        }
        let (mut all, mut spans) = (0..size, Vec::new());
        while all.end != first {
            let Some(middle) = split(&all) else { break };
            let (left, right) = (all.start..middle, middle..all.end);
            let (inside, sibling) = if first <= middle {
                (left, right)
            } else {
                (right, left)
            };
            spans.push(sibling);
            all = inside;
        }
        // Whoever checks has the old root: it is left out where it is a subtree of the new one.
        if all.start > 0 {
            spans.push(all);
        }
        spans.reverse();
        Some(Self { size, spans })
    }

    /// The frontier of the tree of `size`.
    #[must_use]
    pub fn frontier(size: u64) -> Self {
        Self {
            size,
            spans: perfect(0..size).collect(),
        }
    }

    /// The tiles that are needed, each as wide as it is at this plan's size.
    #[must_use]
    pub fn tiles(&self) -> BTreeSet<Tile> {
        let spans = self.spans.iter().cloned().flat_map(perfect);
        spans
            .filter_map(|span| Place::of(&span).tile(self.size))
            .collect()
    }

    /// The subtree roots, in the order of the proof. `None` if a tile is missing or too short.
    #[must_use]
    pub fn read(&self, tiles: &Hashes) -> Option<Vec<Digest>> {
        let root = |span: &Range<u64>| {
            let perfect = perfect(span.clone()).map(|span| self.node(&span, tiles));
            let nodes = perfect.collect::<Option<Vec<_>>>()?.into_iter().rev();
            nodes.reduce(|right, left| node_hash(&left, &right))
        };
        self.spans.iter().map(root).collect()
    }

    /// The same for [`Self::frontier`].
    #[must_use]
    pub fn read_frontier(&self, tiles: &Hashes) -> Option<Frontier> {
        Frontier::from_nodes(self.size, self.read(tiles)?).ok()
    }

    fn node(&self, span: &Range<u64>, tiles: &Hashes) -> Option<Digest> {
        let place = Place::of(span);
        let hashes = tiles.get(&place.tile(self.size)?)?;
        let end = place.offset.checked_add(place.count)?;
        Some(tree::root(hashes.get(place.offset..end)?))
    }
}

/// Where the hashes under a perfect subtree are.
struct Place {
    level: u8,
    index: u64,
    offset: usize,
    count: usize,
}

impl Place {
    fn of(span: &Range<u64>) -> Self {
        let height = (span.end - span.start).trailing_zeros();
        let (level, count) = (height / 8, 1_usize << (height % 8));
        let first = span.start >> (8 * level);
        Self {
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index: first / WIDTH,
            offset: usize::try_from(first % WIDTH).unwrap_or(usize::MAX),
            count,
        }
    }

    fn tile(&self, size: u64) -> Option<Tile> {
        Tile::at(self.level, self.index, size)
    }
}

/// Where RFC 6962 cuts a subtree of more than one leaf: behind the largest power of two that is less.
fn split(span: &Range<u64>) -> Option<u64> {
    let leaves = span.end - span.start;
    (leaves > 1).then(|| span.start + (1 << (63 - (leaves - 1).leading_zeros())))
}

/// The perfect subtrees of a subtree, largest first.
fn perfect(span: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let leaves = span.end - span.start;
    let mut start = span.start;
    let heights = (0..64_u32)
        .rev()
        .filter(move |height| leaves >> height & 1 == 1);
    heights.map(move |height| {
        let node = start..start + (1 << height);
        start = node.end;
        node
    })
}

#[cfg(test)]
mod tests;
