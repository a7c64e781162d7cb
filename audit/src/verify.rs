//! One function, one verdict per question: does what an auditor was handed hold (LEDGER.md §11)?
//!
//! [`verify()`] reads a bundle once, in order, in bounded memory, and believes nothing in it: hashes are
//! recomputed, signatures count only under keys the auditor pinned. It does not stop at the first fault: each
//! verdict names its own first bad seq. What this version cannot check is `incomplete`, never `ok`.

mod bodies;
mod lines;
mod ranges;
mod report;
mod walk;

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::Digest;
use crate::bundle::{self, BundleSource, Manifest, Proofs};
use crate::canonical::MAX_INTEGER;
use crate::checkpoint::Checkpoint;
use crate::note::{Note, NoteError};
use crate::tree::{Frontier, verify_consistency};
use crate::trust::Trust;

pub use report::{Name, Report, State, Verdict};

use bodies::Outside;
use lines::Lines;
use report::{Check, moment};
use walk::{Walk, Walked};

/// Longest manifest, checkpoint or proof file, bytes.
const MAX_SMALL_FILE: u64 = 1 << 20;

/// How far ahead of the auditor's clock the log's may be, milliseconds (LEDGER.md §11).
const MAX_AHEAD: u64 = 5 * 60 * 1_000;

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

/// Verifies a bundle. Never fails: what cannot be read is a failed verdict.
#[must_use]
pub fn verify(source: &dyn BundleSource, trust: &Trust, options: &Options) -> Report {
    match Opened::read(source) {
        Ok(opened) => opened.judge(source, trust, options),
        Err(fault) => Report::unreadable(&fault),
    }
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

    fn judge(self, source: &dyn BundleSource, trust: &Trust, options: &Options) -> Report {
        let mut bytes = Check::default();
        let mut root = Check::default();
        let sizes = self.remembered(trust, options).map(|mine| mine.size);
        let mut walk = Walk::new(&self.manifest, &self.left, sizes.collect());
        let outside = Outside::read(source, &self.checkpoint, &mut root, |it| walk.outside(it));
        let walked = walk.run(source, outside, options.credential, &mut bytes);
        self.root(&walked, &mut root);
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
            self.signature(trust),
            self.append(&walked, trust, options),
            Verdict::open(
                Name::Witnesses,
                options.unasked(),
                "cosignatures are not checked by this version",
            ),
            walked.complete(self.manifest.promise.as_ref()),
            fresh(&walked, options),
            passkeys(&walked, options),
            Verdict::open(
                Name::Replay,
                options.unasked(),
                "decisions are not run again by this version",
            ),
        ];
        let found = options.credential.map(|_| walked.credential());
        let verdicts = verdicts.into_iter().chain(found).collect();
        Report::new(&self.manifest, &walked, verdicts)
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

    fn root(&self, walked: &Walked, root: &mut Check) {
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

    fn signature(&self, trust: &Trust) -> Verdict {
        let mut check = Check::default();
        let log = &self.checkpoint.origin;
        let keys = trust.keys_of(log);
        match self.note.verify(&keys) {
            Err(error @ (NoteError::False(_) | NoteError::Ambiguous(_))) => {
                check.fail(None, error.to_string());
            }
            Err(error @ (NoteError::Malformed(_) | NoteError::TooMany)) => {
                check.fail(None, error.to_string());
            }
            Ok(_) if keys.is_empty() => {
                check.doubt(None, format!("no pinned key of {log}: give one with --key"));
            }
            Ok(signers) if signers.is_empty() => {
                check.doubt(None, format!("not signed by the pinned key of {log}"));
            }
            Ok(_) => {}
        }
        check.verdict(
            Name::Signature,
            format!("signed by the pinned key of {log}"),
        )
    }

    fn append(&self, walked: &Walked, trust: &Trust, options: &Options) -> Verdict {
        let mut check = Check::default();
        let mut mine = self.remembered(trust, options).peekable();
        if mine.peek().is_none() {
            return Verdict::open(
                Name::Append,
                options.unasked(),
                "no remembered checkpoint to extend",
            );
        }
        let mut text = String::new();
        for old in mine {
            text = format!("extends your checkpoint {}", old.size);
            self.extends(old, walked, &mut check);
        }
        check.verdict(Name::Append, text)
    }

    fn extends(&self, old: &Checkpoint, walked: &Walked, check: &mut Check) {
        let new = &self.checkpoint;
        let m = old.size;
        if old.origin != new.origin {
            check.doubt(None, format!("your checkpoint is of log {:?}", old.origin));
        } else if m == new.size && old.root != new.root {
            let text =
                format!("your checkpoint {m} has another root: this is a fork; keep both notes");
            check.fail(None, text);
        } else if m > new.size {
            let text = format!(
                "the bundle ends at {}, your checkpoint is of {m}: ask for a newer one",
                new.size
            );
            check.doubt(None, text);
        } else if m == new.size || m == 0 {
        } else if let Some(root) = walked.roots.get(&m) {
            if *root != old.root {
                let text = format!(
                    "the first {m} entries are not those of your checkpoint: this is a fork"
                );
                check.fail(None, text);
            }
        } else if let Some(proof) = self.proofs.since.get(&m) {
            if !verify_consistency((m, &old.root), (new.size, &new.root), proof) {
                check.fail(
                    None,
                    format!("the proof from your checkpoint {m} is false: this is a fork"),
                );
            }
        } else {
            check.doubt(
                None,
                format!("the bundle has no proof from your checkpoint {m}"),
            );
        }
    }
}

fn fresh(walked: &Walked, options: &Options) -> Verdict {
    let mut check = Check::default();
    let Some(max_age) = options.max_age else {
        return Verdict::open(Name::Fresh, options.unasked(), "no greatest age was given");
    };
    let Some(last) = walked.last_ts else {
        check.doubt(
            None,
            "nothing in the bundle tells how old it is".to_string(),
        );
        return check.verdict(Name::Fresh, String::new());
    };
    let when = moment(last);
    if last > options.now.saturating_add(MAX_AHEAD) {
        check.doubt(
            None,
            format!("the last entry is of {when}, which is still to come"),
        );
    } else if options.now.saturating_sub(last) > max_age {
        check.doubt(
            None,
            format!("the last entry is of {when}, older than asked for"),
        );
    }
    let text = format!("the last entry is of {when}; no witness vouches for the time");
    check.verdict(Name::Fresh, text)
}

fn passkeys(walked: &Walked, options: &Options) -> Verdict {
    if walked.voted_grants == 0 {
        let text = "no grant in the range rests on votes".to_owned();
        return Check::default().verdict(Name::Passkeys, text);
    }
    let text = format!(
        "{} grants rest on votes, which this version does not check",
        walked.voted_grants
    );
    Verdict::open(Name::Passkeys, options.unasked(), text)
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
    serde_json::from_str(&text).map_err(|error| format!("{name} is unreadable: {error}"))
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
mod tests;
