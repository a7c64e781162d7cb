use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{Hashes, Plan};
use crate::Digest;
use crate::tile::{Edge, Tile, WIDTH};
use crate::tree::{Frontier, Growth, leaf_hash, verify_consistency, verify_inclusion};

/// A log as its tiles: full ones, and the growing edge.
struct Log {
    full: Hashes,
    edge: Edge,
    leaves: Vec<Digest>,
}

impl Log {
    fn of(size: u64) -> Self {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let (mut edge, mut full) = (Edge::default(), Hashes::new());
        for leaf in &leaves {
            for done in edge.push(*leaf) {
                full.insert(done.tile, done.hashes);
            }
        }
        Self { full, edge, leaves }
    }

    /// What a store of full tiles and an edge gives for `plan`.
    fn read(&self, plan: &Plan) -> Hashes {
        let mut hashes = Hashes::new();
        for tile in plan.tiles() {
            let whole = Tile {
                width: WIDTH,
                ..tile
            };
            let found = self.full.get(&whole).map(Vec::as_slice);
            let found = found.or_else(|| self.edge.hashes(&tile)).unwrap();
            hashes.insert(tile, found[..usize::try_from(tile.width).unwrap()].to_vec());
        }
        hashes
    }

    fn growth(&self, size: u64) -> Growth {
        let leaves = &self.leaves[..usize::try_from(size).unwrap()];
        Growth::new(&Frontier::default(), leaves)
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Digest> {
        let plan = Plan::inclusion(index, size).unwrap();
        plan.read(&self.read(&plan)).unwrap()
    }

    fn consistency(&self, first: u64, size: u64) -> Vec<Digest> {
        let plan = Plan::consistency(first, size).unwrap();
        plan.read(&self.read(&plan)).unwrap()
    }

    fn frontier(&self, size: u64) -> Frontier {
        let plan = Plan::frontier(size);
        plan.read_frontier(&self.read(&plan)).unwrap()
    }
}

/// Every index and every first size of every size to 600, against the tree that has all leaves; from the tiles of a log
/// that has grown beyond.
#[test]
fn tiles_give_the_proofs_that_all_leaves_give() {
    let log = Log::of(600);
    for size in 0..=600 {
        let growth = log.growth(size);
        assert_eq!(Some(log.frontier(size)), growth.frontier(size));
        let step = 1 + usize::try_from(size / 40).unwrap();
        for index in (0..size).step_by(step) {
            let proof = log.inclusion(index, size);
            assert_eq!(Some(proof), growth.inclusion(index), "{index} in {size}");
        }
        for first in (1..=size).step_by(step) {
            let proof = log.consistency(first, size);
            assert_eq!(Some(proof), growth.consistency(first), "{first} to {size}");
        }
    }
}

#[test]
fn a_proof_reads_two_tiles_a_level_at_most() {
    for (index, size) in [
        (0, 70_000),
        (69_999, 70_000),
        (123_456, 1 << 20),
        (5, (1 << 40) + 77),
    ] {
        let count = Plan::inclusion(index, size).unwrap().tiles().len();
        let levels = usize::try_from((64 - u64::leading_zeros(size - 1)).div_ceil(8)).unwrap();
        assert!(count <= 2 * levels, "{index} in {size}: {count}");
        let count = Plan::consistency(index + 1, size).unwrap().tiles().len();
        assert!(count <= 2 * levels, "{index} to {size}: {count}");
    }
}

#[test]
fn what_is_not_in_the_tree_has_no_proof() {
    assert_eq!(Plan::inclusion(0, 0), None);
    assert_eq!(Plan::inclusion(7, 7), None);
    assert_eq!(Plan::consistency(0, 7), None);
    assert_eq!(Plan::consistency(8, 7), None);
    assert_eq!(
        Plan::consistency(7, 7).unwrap().read(&Hashes::new()),
        Some(vec![])
    );
}

#[test]
fn a_tile_that_is_missing_short_or_another_proves_nothing() {
    let log = Log::of(600);
    let plan = Plan::inclusion(3, 600).unwrap();
    let tiles = log.read(&plan);
    let root = log.frontier(600).root();
    for tile in tiles.keys() {
        let mut without = tiles.clone();
        without.remove(tile);
        assert_eq!(plan.read(&without), None);
        let mut short = tiles.clone();
        short.get_mut(tile).unwrap().clear();
        assert_eq!(plan.read(&short), None);
        let mut edited = tiles.clone();
        for hash in edited.get_mut(tile).unwrap() {
            *hash = Digest::of(hash.as_bytes());
        }
        let proof = plan.read(&edited).unwrap();
        assert!(!verify_inclusion(&log.leaves[3], 3, 600, &proof, &root));
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(6))]
    #[test]
    fn big_trees_too(size in 60_000_u64..140_000, a in any::<u64>(), b in any::<u64>()) {
        let log = Log::of(size);
        let at = 1 + a % size;
        let root = log.frontier(at).root();
        let growth = log.growth(at);
        prop_assert_eq!(growth.frontier(at).unwrap().root(), root);
        let index = b % at;
        let proof = log.inclusion(index, at);
        prop_assert_eq!(Some(proof.clone()), growth.inclusion(index));
        let leaf = &log.leaves[usize::try_from(index).unwrap()];
        prop_assert!(verify_inclusion(leaf, index, at, &proof, &root));
        let proof = log.consistency(index + 1, at);
        prop_assert_eq!(Some(proof.clone()), growth.consistency(index + 1));
        let old = log.frontier(index + 1).root();
        prop_assert!(verify_consistency((index + 1, &old), (at, &root), &proof));
    }
}
