use ct_merkle::mem_backed_tree::MemoryBackedTree;
use data_encoding::{BASE64, HEXLOWER};
use proptest::prelude::proptest;
use proptest::{collection, prop_assert};
use serde_json::Value;
use sha2::Sha256;

use super::{
    Frontier, Growth, count, leaf_hash, node_hash, root, verify_consistency, verify_inclusion,
};
use crate::Digest;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/merkle.json")).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap().iter();
    items.map(|item| item.as_str().unwrap()).collect()
}

fn digest(text: &str) -> Digest {
    let bytes = match text.len() {
        64 => HEXLOWER.decode(text.as_bytes()),
        _ => BASE64.decode(text.as_bytes()),
    };
    Digest::from_bytes(bytes.unwrap().try_into().unwrap())
}

fn digests(value: &Value) -> Vec<Digest> {
    texts(value).into_iter().map(digest).collect()
}

fn rfc_leaves() -> Vec<Digest> {
    let vectors = vectors();
    let leaves = texts(&vectors["rfc6962"]["leaves_hex"]).into_iter();
    leaves
        .map(|hex| leaf_hash(&HEXLOWER.decode(hex.as_bytes()).unwrap()))
        .collect()
}

fn tessera_leaves() -> Vec<Digest> {
    let vectors = vectors();
    let leaves = texts(&vectors["tessera"]["leaves"]).into_iter();
    leaves.map(|leaf| leaf_hash(leaf.as_bytes())).collect()
}

/// MTH as RFC 6962 §2.1 defines it, by recursion: shares no line with the code under test.
fn mth(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// PATH and PROOF as RFC 6962 §2.1.1 and §2.1.2 define them, by recursion.
fn path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if m < left.len() {
        (path(m, left), mth(right))
    } else {
        (path(m - left.len(), right), mth(left))
    };
    path.push(sibling);
    path
}

fn sub(m: usize, leaves: &[Digest], end: fn(&[Digest]) -> Vec<Digest>) -> Vec<Digest> {
    if m == leaves.len() {
        return end(leaves);
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if m <= left.len() {
        (sub(m, left, end), mth(right))
    } else {
        (
            sub(m - left.len(), right, |right| vec![mth(right)]),
            mth(left),
        )
    };
    proof.push(sibling);
    proof
}

fn numbered(n: usize) -> Vec<Digest> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn grown(leaves: &[Digest], old: usize) -> Growth {
    Growth::new(&Frontier::of(&leaves[..old]), &leaves[old..])
}

fn u(n: usize) -> u64 {
    n.try_into().unwrap()
}

#[test]
fn agrees_with_the_roots_of_rfc_6962() {
    let leaves = rfc_leaves();
    let roots = digests(&vectors()["rfc6962"]["roots_hex"]);
    for (size, want) in (1..).zip(roots) {
        assert_eq!(root(&leaves[..size]), want, "size {size}");
    }
}

#[test]
fn agrees_with_a_whole_foreign_log() {
    let leaves = tessera_leaves();
    let roots = digests(&vectors()["tessera"]["roots"]);
    for (size, want) in roots.into_iter().enumerate() {
        assert_eq!(root(&leaves[..size]), want, "size {size}");
    }
}

#[test]
fn agrees_with_published_proofs() {
    let vectors = vectors();
    let tessera = &vectors["tessera"];
    let growth = grown(&tessera_leaves(), 0);
    assert_eq!(
        growth.inclusion(5).unwrap(),
        digests(&tessera["inclusion"][0]["path"])
    );
    assert_eq!(
        growth.consistency(7).unwrap(),
        digests(&tessera["consistency"][0]["path"])
    );
    let rfc = digests(&vectors["rfc6962"]["consistency"][0]["path"]);
    assert_eq!(grown(&rfc_leaves(), 0).consistency(6).unwrap(), rfc);
}

/// Every size to 300, grown from several old sizes: each root, path and proof is the recursive one.
#[test]
fn growth_gives_the_proofs_of_the_definition_at_every_size() {
    let leaves = numbered(300);
    for size in 0..=300 {
        let all = &leaves[..size];
        let want = mth(all);
        assert_eq!(root(all), want);
        for old in [0, 1, size / 3, size / 2, size.saturating_sub(1), size] {
            let growth = grown(all, old.min(size));
            assert_eq!(growth.frontier(u(size)).unwrap().root(), want);
            for index in (old..size).step_by(1 + size / 16) {
                assert_eq!(growth.inclusion(u(index)).unwrap(), path(index, all));
            }
            for first in (old.max(1)..=size).step_by(1 + size / 16) {
                assert_eq!(
                    growth.consistency(u(first)).unwrap(),
                    sub(first, all, |_| vec![])
                );
                assert_eq!(
                    growth.frontier(u(first)).unwrap(),
                    Frontier::of(&all[..first])
                );
            }
        }
    }
}

#[test]
fn verifies_its_own_proofs_and_no_others() {
    let leaves = numbered(70);
    for size in 1..=70 {
        let all = &leaves[..size];
        let (growth, tip) = (grown(all, 0), root(all));
        for index in 0..size {
            let proof = growth.inclusion(u(index)).unwrap();
            let holds = |index: usize, size: usize, proof: &[Digest], tip: &Digest| {
                verify_inclusion(&leaves[index], u(index), u(size), proof, tip)
            };
            assert!(holds(index, size, &proof, &tip));
            assert!(!holds(index, size, &proof, &leaves[0]) || size == 1);
            assert!(!verify_inclusion(
                &leaves[index],
                u(size),
                u(size),
                &proof,
                &tip
            ));
            let mut long = proof.clone();
            long.push(tip);
            assert!(!holds(index, size, &long, &tip));
            if let Some((_, short)) = proof.split_last() {
                assert!(!holds(index, size, short, &tip));
            }
        }
        for first in 1..=size {
            let proof = growth.consistency(u(first)).unwrap();
            let old = root(&leaves[..first]);
            let check = |old: &Digest, tip: &Digest, proof: &[Digest]| {
                verify_consistency((u(first), old), (u(size), tip), proof)
            };
            assert!(check(&old, &tip, &proof));
            assert!(!check(&leaves[69], &tip, &proof));
            assert!(!check(&old, &leaves[69], &proof));
            let mut long = proof.clone();
            long.push(tip);
            assert!(!check(&old, &tip, &long));
            if let Some((_, short)) = proof.split_last() {
                assert!(!check(&old, &tip, short));
            }
        }
    }
}

#[test]
fn size_zero_proves_nothing() {
    let empty = Digest::of(b"");
    assert!(!verify_consistency((0, &empty), (0, &empty), &[]));
    assert!(!verify_consistency((0, &empty), (3, &empty), &[]));
    assert!(!verify_consistency((2, &empty), (1, &empty), &[]));
    assert_eq!(grown(&numbered(3), 0).consistency(0), None);
}

#[test]
fn knows_nothing_of_leaves_before_it() {
    let growth = grown(&numbered(20), 13);
    assert_eq!(growth.inclusion(12), None);
    assert_eq!(growth.inclusion(20), None);
    assert_eq!(growth.consistency(12), None);
    assert_eq!(growth.frontier(12), None);
    assert_eq!(growth.frontier(21), None);
}

#[test]
fn a_frontier_has_a_node_for_each_bit() {
    assert!(Frontier::from_nodes(6, numbered(2)).is_ok());
    assert!(Frontier::from_nodes(6, numbered(3)).is_err());
}

proptest! {
    /// Another author's RFC 6962 agrees on roots and accepts our paths.
    #[test]
    fn a_foreign_tree_agrees(leaves in collection::vec(collection::vec(0_u8.., 0..40), 1..120), at in 0_usize..) {
        let mut foreign = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut ours = Vec::new();
        for leaf in leaves {
            ours.push(leaf_hash(&leaf));
            foreign.push(leaf);
        }
        let (index, growth) = (at % ours.len(), grown(&ours, 0));
        prop_assert!(foreign.root().as_bytes().as_slice() == root(&ours).as_bytes());
        let path: Vec<u8> = growth.inclusion(u(index)).unwrap().iter().flat_map(|d| *d.as_bytes()).collect();
        prop_assert!(foreign.prove_inclusion(index).as_bytes() == path.as_slice());
        if index > 0 {
            let proof = growth.consistency(u(index)).unwrap();
            prop_assert!(verify_consistency((u(index), &root(&ours[..index])), (count(&ours), &root(&ours)), &proof));
        }
    }
}
