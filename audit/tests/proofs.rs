//! Every proof of every tree of at most 600 leaves, against the definitions of RFC 6962 §2.1 written down as they stand
//! there.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails on the spot"
)]

use std::collections::HashMap;

use ring::digest::{Context, SHA256};
use stint_audit::Digest;
use stint_audit::tree::{Frontier, Growth, verify_consistency, verify_inclusion};

const LARGEST: u64 = 600;

/// MTH, PATH and PROOF by recursion; the roots of ranges are remembered.
struct Definition {
    leaves: Vec<Digest>,
    roots: HashMap<(u64, u64), Digest>,
}

impl Definition {
    fn new() -> Self {
        let leaf = |n: u64| Digest::of(&n.to_be_bytes());
        Self {
            leaves: (0..LARGEST).map(leaf).collect(),
            roots: HashMap::new(),
        }
    }

    /// The largest power of two smaller than `n`.
    fn split(n: u64) -> u64 {
        let mut k = 1;
        while 2 * k < n {
            k *= 2;
        }
        k
    }

    fn mth(&mut self, from: u64, to: u64) -> Digest {
        if to - from == 1 {
            return self.leaves[usize::try_from(from).unwrap()];
        }
        if let Some(known) = self.roots.get(&(from, to)) {
            return *known;
        }
        let middle = from + Self::split(to - from);
        let (left, right) = (self.mth(from, middle), self.mth(middle, to));
        let mut context = Context::new(&SHA256);
        context.update(&[1]);
        context.update(left.as_bytes());
        context.update(right.as_bytes());
        let root = Digest::from_bytes(context.finish().as_ref().try_into().unwrap());
        self.roots.insert((from, to), root);
        root
    }

    fn path(&mut self, m: u64, from: u64, to: u64) -> Vec<Digest> {
        if to - from == 1 {
            return Vec::new();
        }
        let middle = from + Self::split(to - from);
        let (mut path, sibling) = if m < middle {
            (self.path(m, from, middle), self.mth(middle, to))
        } else {
            (self.path(m, middle, to), self.mth(from, middle))
        };
        path.push(sibling);
        path
    }

    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "SUB(m, D, b) of RFC 6962 §2.1.2"
    )]
    fn proof(&mut self, m: u64, (from, to): (u64, u64), whole: bool) -> Vec<Digest> {
        if m == to {
            return if whole {
                Vec::new()
            } else {
                vec![self.mth(from, to)]
            };
        }
        let middle = from + Self::split(to - from);
        let (mut proof, rest) = if m <= middle {
            (self.proof(m, (from, middle), whole), self.mth(middle, to))
        } else {
            (self.proof(m, (middle, to), false), self.mth(from, middle))
        };
        proof.push(rest);
        proof
    }
}

#[test]
fn proofs_of_all_sizes_are_those_of_the_definition() {
    let mut definition = Definition::new();
    let mut frontier = Frontier::default();
    for size in 1..=LARGEST {
        let leaves = definition.leaves[..usize::try_from(size).unwrap()].to_vec();
        frontier.push(*leaves.last().unwrap());
        let root = definition.mth(0, size);
        assert_eq!(frontier.root(), root, "root of {size}");
        let growth = Growth::new(&Frontier::default(), &leaves);
        for (index, leaf) in (0..).zip(&leaves) {
            let path = definition.path(index, 0, size);
            assert_eq!(
                growth.inclusion(index).as_ref(),
                Some(&path),
                "{index} in {size}"
            );
            assert!(
                verify_inclusion(leaf, index, size, &path, &root),
                "{index} in {size}"
            );
        }
        for first in 1..=size {
            let proof = definition.proof(first, (0, size), true);
            assert_eq!(
                growth.consistency(first).as_ref(),
                Some(&proof),
                "{first} to {size}"
            );
            let old = definition.mth(0, first);
            assert!(
                verify_consistency((first, &old), (size, &root), &proof),
                "{first} to {size}"
            );
        }
    }
}

/// Any one bit of a proof, a root or a leaf: refused, at sizes around each power of two.
#[test]
fn no_bit_can_be_another() {
    let mut definition = Definition::new();
    for size in [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 64, 65, 100] {
        let root = definition.mth(0, size);
        for index in [0, size / 2, size - 1] {
            let leaf = definition.mth(index, index + 1);
            let path = definition.path(index, 0, size);
            let holds = |leaf: &Digest, path: &[Digest], root: &Digest| {
                verify_inclusion(leaf, index, size, path, root)
            };
            for bit in 0..256 {
                assert!(!holds(&flipped(&leaf, bit), &path, &root));
                assert!(!holds(&leaf, &path, &flipped(&root, bit)));
                for at in 0..path.len() {
                    let mut spoiled = path.clone();
                    spoiled[at] = flipped(&spoiled[at], bit);
                    assert!(!holds(&leaf, &spoiled, &root), "{index} in {size}");
                }
            }
            assert!(path.is_empty() || !holds(&leaf, &path[1..], &root));
            assert!(!holds(&leaf, &[path.clone(), vec![root]].concat(), &root));
        }
        for first in [1, size / 2 + 1, size] {
            let old = definition.mth(0, first);
            let proof = definition.proof(first, (0, size), true);
            let holds = |old: &Digest, proof: &[Digest], root: &Digest| {
                verify_consistency((first, old), (size, root), proof)
            };
            for bit in 0..256 {
                assert!(!holds(&flipped(&old, bit), &proof, &root));
                assert!(!holds(&old, &proof, &flipped(&root, bit)));
                for at in 0..proof.len() {
                    let mut spoiled = proof.clone();
                    spoiled[at] = flipped(&spoiled[at], bit);
                    assert!(!holds(&old, &spoiled, &root), "{first} to {size}");
                }
            }
            assert!(!holds(&old, &[proof.clone(), vec![root]].concat(), &root));
        }
    }
}

fn flipped(digest: &Digest, bit: usize) -> Digest {
    let mut bytes = *digest.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Digest::from_bytes(bytes)
}
