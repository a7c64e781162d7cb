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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::bundle::tests::bundle;
    use crate::bundle::{CHECKPOINT, Files, HANDOVER, Promise};
    use crate::chain::tests::{LOG, entry, genesis, grant, id, log_key, policy};
    use crate::checkpoint::Checkpoint;
    use crate::kind::{KeyAdded, KeyUse};
    use crate::note::LogKey;
    use crate::receipt::Proof;
    use crate::tree::{Frontier, Growth};
    use crate::trust::Trust;
    use crate::verify::tests::{options, state, trust};
    use crate::verify::{Name, State, verify};
    use crate::{Batch, Digest, Head};

    fn new_key() -> LogKey {
        LogKey::from_seed(&[7; 32], LOG).unwrap()
    }

    /// Ten entries, the new key added by entry 2.
    fn log(usage: KeyUse) -> Batch {
        let added = KeyAdded {
            key: Digest::of(new_key().public().public_key()),
            not_after: None,
            usage,
            vkey: Some(new_key().vkey()),
        };
        let mut entries = vec![genesis(), policy(1), entry(id("ent_", 2), added, json!({}))];
        entries.extend((3..10).map(grant));
        Head::empty(LOG, 0).extend("a", 1_000, entries).unwrap()
    }

    /// The bundle of that log under the new key alone, with a checkpoint of size 5 that `signers` signed.
    fn handed(usage: KeyUse, signers: &[LogKey], root: Option<Digest>) -> Files {
        let batch = log(usage);
        let growth = Growth::new(&Frontier::default(), &batch.hashes()[..5]);
        let overlap = Checkpoint {
            origin: LOG.into(),
            size: 5,
            root: root.unwrap_or_else(|| crate::tree::root(&batch.hashes()[..5])),
        };
        let lines: String = signers
            .iter()
            .map(|key| key.sign(&overlap.text()))
            .map(|note| note.lines().last().unwrap().to_owned() + "\n")
            .collect();
        let proof = Proof {
            extra: Some(batch.headers()[2].clone()),
            index: 2,
            path: growth.inclusion(2).unwrap(),
            checkpoint: format!("{overlap}\n{lines}"),
        };
        let newest = new_key().sign(&batch.head().checkpoint().text());
        let mut files = bundle(batch, (0, 10), Some(Promise::default()), |_| true);
        files.insert(CHECKPOINT.into(), newest.into());
        let name = format!("{HANDOVER}2.tlog-proof");
        files.insert(name, proof.to_string().into());
        files
    }

    fn check(files: &Files, trust: &Trust, expected: (State, u8)) {
        let report = verify(files, trust, &options());
        let found = (state(&report, Name::Signature), report.exit);
        assert_eq!(found, expected, "{report}");
    }

    #[test]
    fn a_pinned_key_hands_over_to_its_successor() {
        let both = [log_key(), new_key()];
        let files = handed(KeyUse::Log, &both, None);
        check(&files, &trust(), (State::Ok, 0));
        check(&files, &Trust::default(), (State::Incomplete, 9));
        let mut bare = files;
        bare.retain(|name, _| !name.starts_with(HANDOVER));
        check(&bare, &trust(), (State::Incomplete, 9));
    }

    #[test]
    fn nothing_is_handed_over_without_both_keys_the_entry_and_the_same_log() {
        let open = (State::Incomplete, 9);
        check(&handed(KeyUse::Log, &[new_key()], None), &trust(), open);
        check(&handed(KeyUse::Log, &[log_key()], None), &trust(), open);
        let both = [log_key(), new_key()];
        check(&handed(KeyUse::Ca, &both, None), &trust(), open);
        let fork = Some(Digest::of(b"another tree"));
        check(&handed(KeyUse::Log, &both, fork), &trust(), open);
    }
}
