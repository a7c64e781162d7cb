//! The standing set: the entries that still bind (LEDGER.md §8). It is a fold of headers; an anchor has the hash of it,
//! so that a start need not read the whole log, and nothing that binds can be taken away unseen.
//!
//! An anchor's set is that of the checkpoint in it (`size`), and what ends counts while its end is ahead of the last
//! entry under that checkpoint: both can be computed by whoever has the entries, and by every replica alike.

use std::collections::{BTreeMap, VecDeque};

use stint_audit::What;
use stint_audit::entry::Header;
use stint_audit::kind::{AdminOp, KeyUse};

/// What binds as of one size of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Binding {
    size: u64,
    last_ts: u64,
    /// Each with its end, if it has one.
    seqs: BTreeMap<u64, Option<u64>>,
    policy: Option<u64>,
    /// The newest entry that cut the log.
    pruned: Option<u64>,
    /// Key sets of issuers: a header does not say whose, so the newest of all are kept.
    sets: VecDeque<u64>,
}

impl Binding {
    /// The set of an anchor: `headers` are those of its entries, in order, as of `size`, whose last entry is of
    /// `last_ts`.
    pub(super) fn restored<'a>(
        headers: impl IntoIterator<Item = &'a Header>,
        size: u64,
        last_ts: u64,
    ) -> Self {
        let mut binding = Self::default();
        for header in headers {
            binding.follow(header);
        }
        binding.arrived(size, last_ts);
        binding
    }

    /// With one more entry.
    pub(super) fn follow(&mut self, header: &Header) {
        let seq = header.seq;
        self.size = seq.saturating_add(1);
        self.last_ts = header.ts;
        match &header.what {
            What::PolicyLoaded(loaded) if loaded.ok => {
                if let Some(was) = self.policy.replace(seq) {
                    self.seqs.remove(&was);
                }
                self.binds(seq, None);
            }
            What::KeyAdded(added) => {
                self.binds(seq, None);
                if matches!(added.usage, KeyUse::Issuer | KeyUse::Federation) {
                    self.sets.push_back(seq);
                    if self.sets.len() > SETS
                        && let Some(oldest) = self.sets.pop_front()
                    {
                        self.seqs.remove(&oldest);
                    }
                }
            }
            What::KeyRetired(retired) => self.undone(retired.of),
            What::Frozen(_) | What::CallerDisabled(_) => self.binds(seq, None),
            What::Unfrozen(unfrozen) => self.undone(unfrozen.of),
            What::Admin(admin) if admin.op == AdminOp::CallerEnabled => {
                admin.of.iter().for_each(|of| self.undone(*of));
            }
            What::Admin(admin) if admin.op == AdminOp::Pruned => {
                self.pruned = Some(seq);
                self.binds(seq, None);
            }
            What::Revoked(it) => self.binds(seq, Some(it.until)),
            What::TaskClosed(it) => self.binds(seq, Some(it.until)),
            What::Requested(it) => self.binds(seq, Some(it.expires)),
            What::Voted(it) => self.binds(seq, Some(it.until)),
            What::RequestClosed(it) => self.binds(seq, Some(it.until)),
            _ => {}
        }
    }

    fn binds(&mut self, seq: u64, until: Option<u64>) {
        self.seqs.insert(seq, until);
    }

    fn undone(&mut self, seq: u64) {
        self.seqs.remove(&seq);
        self.sets.retain(|set| *set != seq);
    }

    /// All entries of a log of `size` were folded, or say nothing that binds; the last is of `last_ts`.
    pub(super) fn arrived(&mut self, size: u64, last_ts: u64) {
        self.size = size;
        self.last_ts = last_ts;
    }

    /// Entries that were folded.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The newest set of policies in force, by its entry.
    pub(super) fn policy(&self) -> Option<u64> {
        self.policy
    }

    /// The newest entry that says that the log was cut.
    pub(super) fn pruned(&self) -> Option<u64> {
        self.pruned
    }

    /// What binds at `now`, in milliseconds, ascending.
    pub(super) fn at(&self, now: u64) -> impl Iterator<Item = u64> {
        let binds = move |until: &Option<u64>| until.is_none_or(|until| until > now);
        let seqs = self.seqs.iter().filter(move |(_, until)| binds(until));
        seqs.map(|(seq, _)| *seq)
    }

    /// Whether an entry binds.
    pub(super) fn holds(&self, seq: u64) -> bool {
        self.seqs.contains_key(&seq)
    }

    /// How many do.
    pub(super) fn len(&self) -> usize {
        self.seqs.len()
    }

    /// What has ended is forgotten.
    pub(super) fn prune(&mut self) {
        let now = self.last_ts;
        self.seqs
            .retain(|_, until| until.is_none_or(|until| until > now));
    }

    /// The seqs as an anchor hashes them: ascending decimals joined by LF.
    pub(super) fn text(&self) -> String {
        let binds = |until: &Option<u64>| until.is_none_or(|until| until > self.last_ts);
        let seqs = self.seqs.iter().filter(|(_, until)| binds(until));
        let seqs: Vec<_> = seqs.map(|(seq, _)| seq.to_string()).collect();
        seqs.join("\n")
    }
}

/// Key sets that are kept: of 256 issuers, each may have changed a few times since another did.
const SETS: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stint_audit::Digest;
    use stint_audit::kind::{
        Admin, CallerDisabled, Credential, Frozen, KeyAdded, KeyRetired, PolicyLoaded, Revoked,
        Scope, Unfrozen,
    };

    use super::*;

    fn fold(entries: Vec<(u64, What)>) -> Binding {
        let mut binding = Binding::default();
        for (seq, (ts, what)) in (0..).zip(entries) {
            binding.follow(&header(seq, ts, what));
        }
        binding
    }

    fn header(seq: u64, ts: u64, what: What) -> Header {
        Header {
            log: Arc::from("l"),
            seq,
            prev: Digest::ZERO,
            ts,
            node: Arc::from("a"),
            id: String::new(),
            subj: None,
            by: None,
            behalf: None,
            pol: None,
            body: Digest::ZERO,
            what,
        }
    }

    fn key(usage: KeyUse) -> What {
        What::KeyAdded(KeyAdded {
            key: Digest::ZERO,
            not_after: None,
            usage,
            vkey: None,
        })
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "the member of the entry")]
    fn loaded(ok: bool) -> What {
        What::PolicyLoaded(PolicyLoaded {
            ok,
            tried: None,
            was: None,
        })
    }

    fn revoked(until: u64) -> What {
        What::Revoked(Revoked {
            cred: Credential::Jwt,
            grant: String::new(),
            of: 0,
            until,
            why: String::new(),
        })
    }

    #[test]
    fn what_is_undone_replaced_or_over_binds_no_more() {
        let frozen = || {
            What::Frozen(Frozen {
                revokes: 0,
                scope: Scope::All,
            })
        };
        let unfrozen = |of| {
            What::Unfrozen(Unfrozen {
                of,
                scope: Scope::All,
            })
        };
        let retired = |of| {
            What::KeyRetired(KeyRetired {
                key: Digest::ZERO,
                not_after: None,
                of,
                usage: KeyUse::Log,
                vkey: None,
                why: String::new(),
            })
        };
        let enabled = |of| {
            What::Admin(Admin {
                n: None,
                of: Some(of),
                op: AdminOp::CallerEnabled,
            })
        };
        for (entries, text) in [
            (vec![(1, frozen()), (1, frozen()), (1, unfrozen(0))], "1"),
            (
                vec![(1, key(KeyUse::Log)), (1, key(KeyUse::Ca)), (1, retired(0))],
                "1",
            ),
            (
                vec![(1, loaded(true)), (1, loaded(false)), (1, loaded(true))],
                "2",
            ),
            (
                vec![
                    (1, What::CallerDisabled(CallerDisabled { revokes: 0 })),
                    (1, enabled(0)),
                ],
                "",
            ),
            (
                vec![(1, revoked(3)), (1, revoked(4)), (3, loaded(true))],
                "1\n2",
            ),
        ] {
            let binding = fold(entries);
            assert_eq!(binding.text(), text);
        }
    }

    #[test]
    fn key_sets_are_bounded() {
        let binding = fold((0..1_030).map(|_| (1, key(KeyUse::Issuer))).collect());
        assert_eq!(binding.seqs.len(), SETS);
        assert_eq!(binding.seqs.first_key_value().unwrap().0, &6);
    }

    #[test]
    fn an_anchors_set_goes_on_as_the_fold_would() {
        let entries = vec![
            (1, loaded(true)),
            (2, key(KeyUse::Issuer)),
            (3, revoked(9)),
            (4, revoked(2)),
            (5, loaded(true)),
        ];
        let headers: Vec<_> = (0..)
            .zip(entries)
            .map(|(seq, (ts, what))| header(seq, ts, what))
            .collect();
        let mut folded = Binding::default();
        headers.iter().for_each(|header| folded.follow(header));
        folded.prune();
        let kept = headers
            .iter()
            .filter(|it| folded.seqs.contains_key(&it.seq));
        let restored = Binding::restored(kept, 5, 5);
        assert_eq!(restored, folded);
    }
}
