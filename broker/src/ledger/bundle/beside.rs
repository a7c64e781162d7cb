//! What a range refers to and does not hold: the policy sets that decided in it, with the entries that put them in
//! force, what its voted grants rest on ([`super::votes`]), and later entries that erased bodies of it. Each entry comes with its receipt; policy files need none, for
//! they hash to what the headers name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stint_audit::bundle::POLICIES;
use stint_audit::receipt::Proof;
use stint_audit::{Digest, Header, What};
use stint_policy::Files;

use super::{ExportError, Order, Place, contains, spelled};
use crate::ledger::Ledger;

/// Beside the range.
#[derive(Default)]
pub(super) struct Beside {
    /// `tlog-proof` texts, by seq.
    pub(super) receipts: Vec<(u64, String)>,
    /// Bodies of those entries.
    pub(super) bodies: BTreeMap<u64, Vec<u8>>,
    /// Policy files, by their name in the bundle.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// The decisions: whose bodies hold a question that can be put again.
const DECISIONS: [&str; 3] = ["denied", "granted", "requested"];

impl Ledger {
    pub(super) async fn beside(
        &self,
        order: &Order,
        (from, to, size): Place,
        checkpoint: &str,
    ) -> Result<Beside, ExportError> {
        let mut beside = Beside::default();
        let mut wanted = BTreeSet::new();
        if DECISIONS.iter().any(|kind| order.wants(kind)) {
            let sets = self.sets(from, to).await?;
            wanted.extend(sets.before);
            for pol in sets.named {
                beside.files.extend(self.policy_files(&pol).await?);
            }
        }
        if order.wants("voted") {
            wanted.extend(self.voted_before(from, to).await?);
        }
        wanted.extend(self.erasures((from, to), size).await?);
        if order.receipts {
            wanted.extend(from..to);
        }
        for seq in wanted {
            self.refer(seq, (from, to, size), checkpoint, &mut beside)
                .await?;
        }
        Ok(beside)
    }

    /// One entry with its receipt and, outside the range, its body.
    async fn refer(
        &self,
        seq: u64,
        (from, to, size): Place,
        checkpoint: &str,
        beside: &mut Beside,
    ) -> Result<(), ExportError> {
        let proof = Proof {
            extra: self.headers(seq, seq + 1).await?.pop(),
            index: seq,
            path: self.inclusion(seq, size).await?,
            checkpoint: checkpoint.to_owned(),
        };
        beside.receipts.push((seq, proof.to_string()));
        if !(from..to).contains(&seq) {
            beside.bodies.extend(self.bodies(seq, seq + 1).await?);
        }
        Ok(())
    }

    /// The policy sets in force in the range: those that take force in it, and the one that was in force before.
    async fn sets(&self, from: u64, to: u64) -> Result<Sets, ExportError> {
        let mut sets = Sets::default();
        let loaded = |header: &Header| match &header.what {
            What::PolicyLoaded(loaded) if loaded.ok => header.pol,
            _ => None,
        };
        for header in self.of_kind("policy_loaded", from, to).await? {
            sets.named.extend(loaded(&header));
        }
        let (mut end, floor) = (from, self.floor());
        while end > floor && sets.before.is_none() {
            let start = end.saturating_sub(PAGE).max(floor);
            let page = self.of_kind("policy_loaded", start, end).await?;
            if let Some((seq, pol)) = page.iter().rev().find_map(|it| Some((it.seq, loaded(it)?))) {
                sets.before = Some(seq);
                sets.named.insert(pol);
            }
            end = start;
        }
        if let (None, Some(cut)) = (sets.before, self.cut()) {
            // Below the cut is what bound there: the set that was in force is the newest of them.
            for seq in cut.kept.iter().rev().filter(|seq| **seq < from) {
                let header = self.headers(*seq, seq + 1).await?.pop();
                let header = header.and_then(|bytes| Header::parse(&bytes).ok());
                if let Some(pol) = header.as_ref().and_then(loaded) {
                    sets.before = Some(*seq);
                    sets.named.insert(pol);
                    break;
                }
            }
        }
        Ok(sets)
    }

    /// Entries behind the range that erased bodies of it.
    async fn erasures(&self, (from, to): (u64, u64), size: u64) -> Result<Vec<u64>, ExportError> {
        let later = self.of_kind("erased", to, size).await?.into_iter();
        let concerns = |header: &Header| match &header.what {
            What::Erased(erased) => erased.ranges.iter().any(|[a, b]| *a < to && *b > from),
            _ => false,
        };
        Ok(later.filter(concerns).map(|header| header.seq).collect())
    }

    /// Entries of one kind, in order, by their own headers.
    pub(super) async fn of_kind(
        &self,
        kind: &str,
        from: u64,
        to: u64,
    ) -> Result<Vec<Header>, ExportError> {
        let word = spelled(kind);
        let mut found = Vec::new();
        let mut next = from;
        while next < to {
            let end = to.min(next + PAGE);
            let headers = self.headers(next, end).await?;
            let wanted = headers.iter().filter(|bytes| contains(bytes, &word));
            let parsed = wanted.filter_map(|bytes| Header::parse(bytes).ok());
            found.extend(parsed.filter(|header| header.what.kind() == kind));
            next = end;
        }
        Ok(found)
    }

    /// The files of a set, if the store still has them and they are the ones its address names.
    async fn policy_files(&self, pol: &Digest) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let Some(text) = self.store.kept_policy(&pol.to_string()).await? else {
            return Ok(Vec::new());
        };
        let read: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        let files: Files = read.into_iter().collect();
        let mut named: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(path, bytes)| (format!("{POLICIES}{pol}/{path}"), bytes.to_vec()))
            .collect();
        // The schema of the version that decided is part of the address; a later one would not be true of it.
        if address(&files) == *pol {
            let name = format!("{POLICIES}{pol}/stint.cedarschema");
            named.push((name, stint_policy::schema().as_bytes().to_vec()));
        }
        Ok(named)
    }
}

/// Sets of one range.
#[derive(Default)]
struct Sets {
    named: BTreeSet<Digest>,
    /// The entry before the range that put its first set in force.
    before: Option<u64>,
}

/// The content address of a set under the schema of this version (LEDGER.md §3).
fn address(files: &Files) -> Digest {
    let manifest: Value = json!({"files": files.digests(), "v": 1});
    Digest::of(manifest.to_string().as_bytes())
}

/// Headers looked through at once.
const PAGE: u64 = 16_384;
