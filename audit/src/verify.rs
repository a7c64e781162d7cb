//! One function, one verdict per question: does what an auditor was handed hold (LEDGER.md §11)?
//!
//! [`verify()`] reads a bundle once, in order, in bounded memory, and believes nothing in it: hashes are
//! recomputed, signatures count only under keys the auditor pinned. It does not stop at the first fault: each
//! verdict names its own first bad seq. What this version cannot check is `incomplete`, never `ok`.

mod bodies;
mod handover;
mod lines;
mod passkeys;
mod ranges;
mod replay;
mod report;
mod seen;
mod signed;
mod walk;

use std::io::Read;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Digest;
use crate::bundle::{self, BundleSource, Manifest, Proofs};
use crate::canonical::MAX_INTEGER;
use crate::checkpoint::Checkpoint;
use crate::entry::Header;
use crate::note::Note;
use crate::record;
use crate::tree::{Frontier, verify_consistency};
use crate::trust::Trust;

pub use report::{Name, Report, State, Verdict};

use bodies::Outside;
use handover::Handovers;
use lines::Lines;
use report::Check;
use walk::{Quest, Walk, Walked};

/// Longest manifest, checkpoint or proof file, bytes.
const MAX_SMALL_FILE: u64 = 1 << 20;

/// What the auditor asks beside the five questions that are always asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The time now, milliseconds.
    pub now: u64,
    /// A checkpoint the bundle's must extend.
    pub since: Option<Checkpoint>,
    /// How old the newest sign of life may be, milliseconds.
    pub max_age: Option<u64>,
    /// SHA-256 of the to-be-signed bytes of a credential whose grant is looked for.
    pub credential: Option<Digest>,
    /// Whether every verdict is required.
    pub all: bool,
}

impl Options {
    /// How a question that could not be looked into is answered: open if all were asked.
    const fn unasked(&self) -> State {
        if self.all {
            State::Incomplete
        } else {
            State::NotAsked
        }
    }
}

/// The auditor's policy engine: decides again what the ledger says was decided. This crate has none.
pub trait Decider {
    /// Decides the question in `body` again, under the policy set that `header` names. Must not trust either for
    /// more than it is: the body is the one its header commits to, and both may be lies.
    fn again(&self, header: &Header, body: &Map<String, Value>) -> Again;
}

/// What came of deciding again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// Something else came out; in words.
    Differs(String),
    /// Policy was not asked then, so it is not asked now.
    NotAsked,
    /// The same outcome, by the same policies.
    Same,
    /// It cannot be told; why.
    Unknown(String),
}

/// Verifies a bundle. Never fails: what cannot be read is a failed verdict. Nothing is decided again.
#[must_use]
pub fn verify(source: &dyn BundleSource, trust: &Trust, options: &Options) -> Report {
    verify_with(source, trust, options, None)
}

/// As [`verify()`], and decides again with `decider` whatever is open.
#[must_use]
pub fn verify_with(
    source: &dyn BundleSource,
    trust: &Trust,
    options: &Options,
    decider: Option<&dyn Decider>,
) -> Report {
    let report = match Opened::read(source) {
        Ok(opened) => opened.judge(source, trust, options, decider),
        Err(fault) => Report::unreadable(&fault),
    };
    let fault = source.fault();
    fault.map_or(report, |fault| Report::unreadable(&fault))
}

/// The small files of a bundle, parsed and consistent with each other.
struct Opened {
    manifest: Manifest,
    checkpoint: Checkpoint,
    note: Note,
    proofs: Proofs,
    left: Frontier,
}

impl Opened {
    fn read(source: &dyn BundleSource) -> Result<Self, String> {
        let manifest: Manifest = json(source, bundle::MANIFEST)?;
        if manifest.v != 1 {
            return Err(format!("manifest version {} is not known", manifest.v));
        }
        let text = small(source, bundle::CHECKPOINT)?;
        let (checkpoint, note) = Checkpoint::parse_note(&text)
            .map_err(|error| format!("{} is unreadable: {error}", bundle::CHECKPOINT))?;
        let proofs: Proofs = json(source, bundle::PROOF)?;
        let Manifest { from, to, size, .. } = manifest;
        if !(from <= to && to <= size && size <= MAX_INTEGER) {
            return Err(format!("entries {from} to {to} of {size} are no range"));
        }
        if checkpoint.origin != manifest.log || checkpoint.size != size {
            let Checkpoint { origin, size, .. } = checkpoint;
            return Err(format!(
                "the checkpoint is of log {origin:?} at {size}, the manifest of {:?} at {}",
                manifest.log, manifest.size
            ));
        }
        let left = Frontier::from_nodes(from, proofs.left.clone())
            .map_err(|error| format!("{}: {error}", bundle::PROOF))?;
        Ok(Self {
            manifest,
            checkpoint,
            note,
            proofs,
            left,
        })
    }

    fn judge(
        self,
        source: &dyn BundleSource,
        trust: &Trust,
        options: &Options,
        decider: Option<&dyn Decider>,
    ) -> Report {
        let mut bytes = Check::default();
        let mut root = Check::default();
        let handovers = Handovers::read(source);
        let sizes = self.remembered(trust, options).map(|mine| mine.size);
        let sizes = sizes.chain(handovers.sizes()).collect();
        let from = self.manifest.from;
        let mut walk = Walk::new(&self.manifest, &self.left, sizes);
        let outside = Outside::read(source, (&self.checkpoint, from), &mut root, |it| {
            walk.outside(it);
        });
        let quest = Quest {
            credential: options.credential,
            decider,
        };
        let mut walked = walk.run(source, outside, quest, &mut bytes);
        self.root(&walked, &mut root);
        let keys = handovers.follow(trust.keys_of(&self.checkpoint.origin), |old| {
            self.leads_from(old, &walked)
        });
        let witnessed = trust.policy.as_ref().map(|it| it.judge(&self.note));
        let replay = std::mem::take(&mut walked.replay);
        let verdicts = vec![
            bytes.verdict(Name::Bytes, walked.bytes_text(&self.checkpoint)),
            walked.chain.clone().verdict(
                Name::Chain,
                format!("{} entries, each linked to the one before", walked.read),
            ),
            root.verdict(
                Name::Root,
                format!(
                    "the entries lead to the root of checkpoint {}",
                    self.checkpoint.size
                ),
            ),
            signed::signature(&self.note, &self.checkpoint.origin, &keys),
            self.append(&walked, trust, options),
            signed::witnesses(witnessed.as_ref(), options),
            walked.complete(self.manifest.promise.as_ref()),
            signed::fresh(witnessed.as_ref(), &walked, options),
            walked.passkeys.verdict(),
            replay.verdict(),
        ];
        let found = options.credential.map(|_| walked.credential());
        let verdicts = verdicts.into_iter().chain(found).collect();
        Report::new(&self.manifest, &walked, verdicts, options)
    }

    /// The checkpoints the auditor holds: asked for first.
    fn remembered<'a>(
        &self,
        trust: &'a Trust,
        options: &'a Options,
    ) -> impl Iterator<Item = &'a Checkpoint> + use<'a> {
        let log = self.checkpoint.origin.clone();
        let kept = trust.remembered.iter().filter(move |it| it.origin == log);
        options.since.iter().chain(kept)
    }

    fn root(&self, walked: &Walked<'_>, root: &mut Check) {
        let Checkpoint {
            size, root: want, ..
        } = &self.checkpoint;
        let to = self.manifest.to;
        if walked.frontier.size() != to {
            root.fail(None, format!("the tree of {to} entries cannot be built"));
            return;
        }
        let have = walked.frontier.root();
        let holds = if to == 0 {
            self.proofs.right.is_empty() && (*size > 0 || have == *want)
        } else {
            verify_consistency((to, &have), (*size, want), &self.proofs.right)
        };
        if holds {
            return;
        }
        // With every link sound only the last entry, or all from one on anew, can have been changed.
        let bad = walked
            .chain
            .fault()
            .or_else(|| to.checked_sub(1).filter(|last| *last >= self.manifest.from));
        let text = match bad {
            Some(seq) => format!(
                "entry {seq} does not hash to what checkpoint {size} commits to, or the proof is false"
            ),
            None => format!("the proof does not lead to the root of checkpoint {size}"),
        };
        root.fail(bad, text);
    }
}

fn small(source: &dyn BundleSource, name: &str) -> Result<String, String> {
    let missing = || format!("not a bundle: {name} is missing");
    let unreadable = |error| format!("{name} is unreadable: {error}");
    let file = source.open(name).map_err(unreadable)?.ok_or_else(missing)?;
    let mut text = String::new();
    let read = file.take(MAX_SMALL_FILE + 1).read_to_string(&mut text);
    if crate::tree::count(text.as_bytes()) > MAX_SMALL_FILE {
        return Err(format!("{name} is longer than {MAX_SMALL_FILE} bytes"));
    }
    read.map_err(unreadable).map(|_| text)
}

fn json<T: DeserializeOwned>(source: &dyn BundleSource, name: &str) -> Result<T, String> {
    let text = small(source, name)?;
    let mut reader = serde_json::Deserializer::from_str(&text);
    // The whole is read first: members that are passed over have to be JSON, too.
    let read = serde_json::from_str::<Value>(&text)
        .and_then(|_whole| record::one(&mut reader))
        .and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| format!("{name} is unreadable: {error}"))
}

fn lines<'a>(
    source: &'a dyn BundleSource,
    name: &str,
    max: usize,
    check: &mut Check,
) -> Option<Lines<'a>> {
    match source.open(name) {
        Ok(file) => file.map(|file| Lines::new(file, max)),
        Err(error) => {
            check.fail(None, format!("{name} is unreadable: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tamper;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
