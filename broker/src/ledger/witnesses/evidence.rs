//! A head under our own signature that is not of this log: somebody rolled it back, or signed a second one with its key.
//! Both sides are kept, beside the pin (LEDGER.md §8, §10).

use std::path::{Path, PathBuf};

use stint_audit::Digest;
use stint_audit::tree::{Frontier, verify_consistency};

use super::client::Held;
use crate::durable;
use crate::ledger::Tiles;
use crate::store::trail;
use crate::store::{self, Store};

/// The first of `held` that the log of this head does not extend, and why not. `None`: it extends all of them.
pub(in crate::ledger) async fn first_that_differs<'h>(
    store: &Store,
    tiles: &Tiles,
    (size, root): (u64, Digest),
    held: &'h [Held],
) -> Result<Option<(&'h Held, String)>, store::Error> {
    for one in held {
        let (witness, known) = (&one.witness, &one.checkpoint);
        if known.size > size {
            let why = format!(
                "{witness} holds {} entries under our signature, the store {size}",
                known.size
            );
            return Ok(Some((one, why)));
        }
        if known.size == 0 || is_proven(tiles, (size, root), (known.size, known.root)).await {
            continue;
        }
        // Tiles can be wrong where the log is not: the entries decide.
        let root = root_at(store, known.size).await?;
        if root.is_none() && known.size < tiles.floor() {
            tracing::warn!(
                %witness, size = known.size,
                "it holds a head from before the ledger was pruned, which cannot be compared any more"
            );
            continue;
        }
        if root != Some(known.root) {
            let why = format!(
                "{witness} holds another root at {} entries under our signature",
                known.size
            );
            return Ok(Some((one, why)));
        }
    }
    Ok(None)
}

/// Whether tiles prove that the head extends an earlier one. A proof that holds needs no trust in where it came from.
async fn is_proven(tiles: &Tiles, head: (u64, Digest), before: (u64, Digest)) -> bool {
    let proof = tiles.consistency(before.0, head.0).await;
    proof.is_ok_and(|proof| verify_consistency((before.0, &before.1), (head.0, &head.1), &proof))
}

/// The root the log had at this size, from the stored leaf hashes; none if entries are missing.
async fn root_at(store: &Store, size: u64) -> Result<Option<Digest>, store::Error> {
    let mut tree = Frontier::of(&[]);
    while tree.size() < size {
        let (before, to) = (tree.size(), trail::signed(size));
        let batches = store.batches(trail::signed(before), to, PAGE).await?;
        for batch in &batches {
            // Below a cut some batches stay: the tree of those is of no log.
            if batch.first_seq.unsigned_abs() != tree.size() {
                return Ok(None);
            }
            for leaf in batch.leaves() {
                if tree.size() < size {
                    tree.push(leaf);
                }
            }
        }
        if tree.size() == before {
            return Ok(None);
        }
    }
    Ok(Some(tree.root()))
}

/// Writes both sides to files beside the pin; what is there already stays.
pub(in crate::ledger) fn keep(pin: Option<&Path>, held: &Held, ours: &str) {
    let size = held.checkpoint.size;
    let Some(pin) = pin else {
        tracing::error!(witness = %held.witness, theirs = held.note, ours, "two heads of one log");
        return;
    };
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
            c
        } else {
            '_'
        }
    };
    let witness: String = held.witness.chars().map(safe).take(64).collect();
    for (side, text) in [("theirs", held.note.as_str()), ("ours", ours)] {
        let path = beside(pin, &format!("diverged-{witness}-{size}.{side}"));
        match durable::create(&path, 0o644, text.as_bytes()) {
            Ok(()) => tracing::error!(path = %path.display(), "evidence of two heads was kept"),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => tracing::error!(%error, path = %path.display(), "evidence was not kept"),
        }
    }
}

fn beside(pin: &Path, ending: &str) -> PathBuf {
    let mut name = pin.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Batches read at once.
const PAGE: i64 = 256;
