//! Keys that the log handed over to (LEDGER.md §12): a checkpoint of the overlap with both signatures, the
//! `key_added` of the new key proven under it, and the present checkpoint extending it.
//!
//! Each is a file `handover/SEQ.tlog-proof`. Nothing of it counts unless the old key was trusted before.

use super::seen::Leads;
use super::small;
use crate::bundle::{BundleSource, HANDOVER};
use crate::checkpoint::Checkpoint;
use crate::kind::{KeyUse, What};
use crate::note::VerifierKey;
use crate::receipt::Proof;

/// Most handovers of one bundle: a key that lives for a month is handed over 64 times in five years.
const MAX_HANDOVERS: usize = 64;

/// Handovers that a bundle claims, oldest first.
pub(super) struct Handovers(Vec<Handover>);

struct Handover {
    proof: Proof,
    checkpoint: Checkpoint,
}

impl Handovers {
    /// Reads them. What cannot be read hands nothing over.
    pub(super) fn read(source: &dyn BundleSource) -> Self {
        let names = source.names();
        let names = names.iter().filter(|name| name.starts_with(HANDOVER));
        let read = names.take(MAX_HANDOVERS).filter_map(|name| {
            let proof: Proof = small(source, name).ok()?.parse().ok()?;
            let (checkpoint, _) = Checkpoint::parse_note(&proof.checkpoint).ok()?;
            Some(Handover { proof, checkpoint })
        });
        let mut found: Vec<_> = read.collect();
        found.sort_by_key(|it| it.proof.index);
        Self(found)
    }

    /// Sizes whose roots are wanted.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|it| it.checkpoint.size)
    }

    /// `keys`, and those they handed over to; `leads` tells whether the present checkpoint extends another.
    pub(super) fn follow(
        &self,
        mut keys: Vec<VerifierKey>,
        leads: impl Fn(&Checkpoint) -> Leads,
    ) -> Vec<VerifierKey> {
        for handover in &self.0 {
            let new = handover.new_key(&keys);
            let new = new.filter(|_| matches!(leads(&handover.checkpoint), Leads::Yes));
            if let Some(new) = new.filter(|new| !keys.contains(new)) {
                keys.push(new);
            }
        }
        keys
    }
}

impl Handover {
    /// The key that one of `keys` handed over to.
    fn new_key(&self, keys: &[VerifierKey]) -> Option<VerifierKey> {
        let proven = self.proof.verify(keys).ok()?;
        let What::KeyAdded(added) = &proven.header.what else {
            return None;
        };
        let new: VerifierKey = added.vkey.as_deref()?.parse().ok()?;
        if added.usage != KeyUse::Log || new.name() != proven.checkpoint.origin {
            return None;
        }
        let (_, note) = Checkpoint::parse_note(&self.proof.checkpoint).ok()?;
        let signed = note.verify(std::slice::from_ref(&new)).ok()?;
        (!signed.is_empty()).then_some(new)
    }
}
