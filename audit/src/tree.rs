//! RFC 6962 §2.1 hashes and proofs, checked as RFC 9162 §2.1.3.2 and §2.1.4.2 say (LEDGER.md §13).
//!
//! Two shapes of one tree: a [`Frontier`] takes leaves one by one and keeps 64 nodes at most, for streaming; a
//! [`Growth`] keeps every node above a run of new leaves, so that each of their proofs is a walk of at most 64
//! look-ups. Neither reads old leaves, so a proof costs the same at any size.

use ring::digest::{Context, SHA256};

use crate::Digest;

/// The hash of a leaf: SHA-256(0x00 ‖ `bytes`).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    hash(&[&[0], bytes])
}

/// The hash of an inner node: SHA-256(0x01 ‖ `left` ‖ `right`).
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    hash(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    Digest::from_ring(&context.finish())
}

/// MTH of `leaves` (their hashes). An empty tree's root is SHA-256 of nothing.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    Frontier::of(leaves).root()
}

/// The right edge of a tree: the roots of its perfect subtrees, largest first, one for each bit set in `size`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Digest>,
}

/// A frontier whose number of nodes does not fit its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree of size {size} has {} frontier nodes, not {nodes}", size.count_ones())]
pub struct FrontierError {
    /// The size claimed.
    pub size: u64,
    /// The nodes given.
    pub nodes: usize,
}

impl Frontier {
    /// The frontier of `leaves`.
    #[must_use]
    pub fn of(leaves: &[Digest]) -> Self {
        let mut frontier = Self::default();
        for leaf in leaves {
            frontier.push(*leaf);
        }
        frontier
    }

    /// Takes up a stored frontier: `nodes` are the roots of the perfect subtrees of `size`, largest first.
    ///
    /// # Errors
    /// When their number is not that of the bits set in `size`.
    pub fn from_nodes(size: u64, nodes: Vec<Digest>) -> Result<Self, FrontierError> {
        if usize::try_from(size.count_ones()) == Ok(nodes.len()) {
            Ok(Self { size, nodes })
        } else {
            let nodes = nodes.len();
            Err(FrontierError { size, nodes })
        }
    }

    /// Adds one leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The nodes, largest subtree first.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        let folded = self.nodes.iter().rev().copied();
        folded
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| Digest::of(b""))
    }
}

/// A tree that grew from `old` to `size` leaves: its frontier before, and every node above the new leaves.
#[derive(Debug, Clone)]
pub struct Growth {
    old: u64,
    size: u64,
    levels: Vec<Level>,
}

/// The nodes of one level that are at hand.
#[derive(Debug, Clone)]
struct Level {
    /// Index of the first of `nodes` in its level; always even.
    start: u64,
    /// Perfect subtrees of 2^level leaves each.
    nodes: Vec<Digest>,
    /// The root of the leaves to the right of the last perfect subtree, if there are any.
    ragged: Option<Digest>,
}

impl Growth {
    /// Grows `before` by `leaves`. Hashes each new node once.
    #[must_use]
    pub fn new(before: &Frontier, leaves: &[Digest]) -> Self {
        let old = before.size;
        let size = before.size.saturating_add(count(leaves));
        let mut levels = Vec::new();
        let mut edge = before.nodes.iter().rev();
        let mut fresh = leaves.to_vec();
        let mut ragged = None;
        for height in 0..64 - size.leading_zeros() {
            let start = (old >> height) & !1;
            let mut nodes = Vec::with_capacity(fresh.len() + 1);
            if old >> height & 1 == 1 {
                nodes.extend(edge.next());
            }
            nodes.append(&mut fresh);
            let (pairs, rest) = nodes.as_chunks::<2>();
            fresh = pairs.iter().map(|[l, r]| node_hash(l, r)).collect();
            let above = match (rest.first(), ragged) {
                (Some(left), Some(right)) => Some(node_hash(left, &right)),
                (left, right) => left.copied().or(right),
            };
            levels.push(Level {
                start,
                nodes,
                ragged,
            });
            ragged = above;
        }
        Self { old, size, levels }
    }

    /// The number of leaves before.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old
    }

    /// The number of leaves now.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The frontier the tree had at `size`, for [`Self::old_size`] ≤ `size` ≤ [`Self::size`]; else `None`.
    #[must_use]
    pub fn frontier(&self, size: u64) -> Option<Frontier> {
        if !(self.old..=self.size).contains(&size) {
            return None;
        }
        let heights = (0..64).rev().filter(|height| size >> height & 1 == 1);
        let nodes = heights
            .map(|height| self.perfect(height, (size >> height) - 1))
            .collect::<Option<_>>()?;
        Some(Frontier { size, nodes })
    }

    /// PATH of RFC 6962 §2.1.1 for leaf `index` ≥ [`Self::old_size`]: sibling hashes, leaf to root, at most
    /// 63. `None` for a leaf that is not among the new ones.
    #[must_use]
    pub fn inclusion(&self, index: u64) -> Option<Vec<Digest>> {
        (self.old..self.size)
            .contains(&index)
            .then(|| self.path(0, index))
    }

    /// PROOF of RFC 6962 §2.1.2 that the present tree extends the one of size `first`, for
    /// [`Self::old_size`] ≤ `first` ≤ [`Self::size`] and `first` > 0; else `None`. Empty if the sizes are equal.
    #[must_use]
    pub fn consistency(&self, first: u64) -> Option<Vec<Digest>> {
        if first == 0 || !(self.old..=self.size).contains(&first) {
            return None;
        }
        if first == self.size {
            return Some(Vec::new());
        }
        let height = first.trailing_zeros();
        let index = (first >> height) - 1;
        let mut proof = Vec::new();
        if index > 0 {
            proof.push(self.perfect(height, index)?);
        }
        proof.extend(self.path(height, index));
        Some(proof)
    }

    /// The siblings of node `index` at `height` on its way to the root.
    fn path(&self, height: u32, index: u64) -> Vec<Digest> {
        let levels = (height..).zip(self.levels.iter().skip(height as usize));
        levels
            .filter_map(|(above, level)| {
                let sibling = (index >> (above - height)) ^ 1;
                level.at(sibling, self.size >> above)
            })
            .collect()
    }

    fn perfect(&self, height: u32, index: u64) -> Option<Digest> {
        self.levels.get(height as usize)?.perfect(index)
    }
}

impl Level {
    /// Node `index` of a level with `complete` perfect subtrees: one of them, or the ragged one behind.
    fn at(&self, index: u64, complete: u64) -> Option<Digest> {
        if index == complete {
            self.ragged
        } else {
            self.perfect(index)
        }
    }

    fn perfect(&self, index: u64) -> Option<Digest> {
        let offset = usize::try_from(index.checked_sub(self.start)?).ok()?;
        self.nodes.get(offset).copied()
    }
}

/// Checks that `leaf` is entry `index` of the tree of `size` leaves with `root` (RFC 9162 §2.1.3.2). `proof`:
/// sibling hashes, leaf to root.
#[must_use]
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut fnode, mut snode) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node_hash(sibling, &hash);
            (fnode, snode) = skip_zeros(fnode, snode);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (fnode, snode) = (fnode >> 1, snode >> 1);
    }
    snode == 0 && hash == *root
}

/// Checks that the tree `second` extends the tree `first` (RFC 9162 §2.1.4.2). Each is (size, root); a size of
/// 0 on either side is refused: first contact proves nothing and is the caller's case to treat apart.
#[must_use]
pub fn verify_consistency(first: (u64, &Digest), second: (u64, &Digest), proof: &[Digest]) -> bool {
    let ((m, root1), (n, root2)) = (first, second);
    if m == 0 || m > n {
        return false;
    }
    if m == n {
        return proof.is_empty() && root1 == root2;
    }
    let shift = (m - 1).trailing_ones();
    let (mut fnode, mut snode) = ((m - 1) >> shift, (n - 1) >> shift);
    let (start, rest) = if m.is_power_of_two() {
        (root1, proof)
    } else {
        let Some((start, rest)) = proof.split_first() else {
            return false;
        };
        (start, rest)
    };
    let (mut fhash, mut shash) = (*start, *start);
    for node in rest {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            fhash = node_hash(node, &fhash);
            shash = node_hash(node, &shash);
            (fnode, snode) = skip_zeros(fnode, snode);
        } else {
            shash = node_hash(&shash, node);
        }
        (fnode, snode) = (fnode >> 1, snode >> 1);
    }
    fhash == *root1 && shash == *root2 && snode == 0
}

/// Shifts both right while the first is even and not 0.
const fn skip_zeros(fnode: u64, snode: u64) -> (u64, u64) {
    if fnode == 0 {
        return (fnode, snode);
    }
    let zeros = fnode.trailing_zeros();
    (fnode >> zeros, snode >> zeros)
}

pub(crate) fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
