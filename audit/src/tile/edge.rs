//! The right edge of a log as tiles: the one growing tile of each level, 8 KiB each at most.

use super::{Tile, WIDTH, parent};
use crate::Digest;
use crate::tree::{self, Frontier};

/// The growing tiles of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// Level by level: fewer than [`WIDTH`] hashes each.
    levels: Vec<Vec<Digest>>,
}

/// A tile that is full, and so never changes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Which.
    pub tile: Tile,
    /// Its [`WIDTH`] hashes.
    pub hashes: Vec<Digest>,
}

impl Edge {
    /// The growing tiles of `size` entries, from level 0 up; levels without one may be left out at the end. `None` if
    /// they are not as wide as they must be.
    #[must_use]
    pub fn of(size: u64, levels: Vec<Vec<Digest>>) -> Option<Self> {
        let wide = |level: u32| Some(size.checked_shr(8 * level).unwrap_or(0) % WIDTH);
        let fits = (0..8).all(|level| {
            let held = usize::try_from(level).ok().and_then(|at| levels.get(at));
            Some(held.map_or(0, |hashes| tree::count(hashes))) == wide(level)
        });
        (fits && levels.len() <= 8).then_some(Self { size, levels })
    }

    /// Entries so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash; the tiles that are full with it, from level 0 up.
    pub fn push(&mut self, leaf: Digest) -> Vec<Full> {
        let (mut hash, mut full) = (leaf, Vec::new());
        for level in 0..8_u8 {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(growing) = self.levels.get_mut(usize::from(level)) else {
                break;
            };
            growing.push(hash);
            let Some(above) = parent(growing) else { break };
            let hashes = std::mem::take(growing);
            let index = self.size >> (8 * (u32::from(level) + 1));
            let tile = Tile {
                level,
                index,
                width: WIDTH,
            };
            full.push(Full { tile, hashes });
            hash = above;
        }
        self.size = self.size.saturating_add(1);
        full
    }

    /// The hashes of `tile`, if it is, or was, a growing one that has not become full: a partial tile is a prefix of
    /// each later one.
    #[must_use]
    pub fn hashes(&self, tile: &Tile) -> Option<&[Digest]> {
        let growing = self.size.checked_shr(8 * (u32::from(tile.level) + 1))?;
        let held = self.levels.get(usize::from(tile.level))?;
        let width = usize::try_from(tile.width).ok()?;
        (tile.index == growing).then(|| held.get(..width))?
    }

    /// The frontier of the whole log.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let levels = self.levels.iter().rev();
        let nodes = levels.flat_map(|hashes| {
            let mut rest = hashes.as_slice();
            let heights = (0..8_u32).rev().filter(|at| hashes.len() >> at & 1 == 1);
            let runs: Vec<_> = heights
                .map_while(|height| {
                    let (run, after) = rest.split_at_checked(1 << height)?;
                    rest = after;
                    Some(tree::root(run))
                })
                .collect();
            runs
        });
        Frontier::from_nodes(self.size, nodes.collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Edge;
    use crate::Digest;
    use crate::tile::{Tile, WIDTH};
    use crate::tree::{Frontier, leaf_hash};

    fn leaf(n: u64) -> Digest {
        leaf_hash(&n.to_be_bytes())
    }

    /// 70,000 leaves one by one: the tiles that become full are those of the spec, and each root is the tree's.
    #[test]
    fn grows_into_the_tiles_of_its_size() {
        let (mut edge, mut tree, mut full) = (Edge::default(), Frontier::of(&[]), Vec::new());
        for n in 0..70_000 {
            full.extend(edge.push(leaf(n)));
            tree.push(leaf(n));
            if n < 600 || n % 997 == 0 {
                assert_eq!(edge.frontier(), tree, "{n}");
            }
        }
        let mut made: Vec<_> = full.iter().map(|full| full.tile).collect();
        made.sort();
        let wanted: Vec<_> = Tile::all(70_000).collect();
        let (whole, partial): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|tile| tile.width == WIDTH);
        assert_eq!(made, whole);
        for tile in partial {
            assert_eq!(edge.hashes(&tile).unwrap().len() as u64, tile.width);
        }
        let again = Edge::of(70_000, edge.levels.clone()).unwrap();
        assert_eq!(again, edge);
        assert_eq!(Edge::of(70_001, edge.levels.clone()), None);
        assert_eq!(Edge::of(70_000, edge.levels[1..].to_vec()), None);
    }

    #[test]
    fn has_prefixes_of_what_grows_and_nothing_else() {
        let mut edge = Edge::default();
        for n in 0..300 {
            edge.push(leaf(n));
        }
        let tile = |level, index, width| Tile {
            level,
            index,
            width,
        };
        assert_eq!(edge.hashes(&tile(0, 1, 44)).unwrap().len(), 44);
        assert_eq!(edge.hashes(&tile(0, 1, 3)).unwrap()[2], leaf(258));
        assert_eq!(edge.hashes(&tile(0, 1, 45)), None);
        assert_eq!(edge.hashes(&tile(0, 0, 256)), None);
        assert_eq!(edge.hashes(&tile(1, 0, 1)).unwrap().len(), 1);
        assert_eq!(edge.hashes(&tile(2, 0, 1)), None);
    }
}
