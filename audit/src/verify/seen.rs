//! `append`: the log extends what the auditor has seen of it before.

use super::report::{Check, Name, Verdict};
use super::walk::Walked;
use super::{Opened, Options};
use crate::checkpoint::Checkpoint;
use crate::tree::verify_consistency;
use crate::trust::Trust;

/// How a checkpoint that was seen before stands to the bundle's.
pub(super) enum Leads {
    /// The bundle's extends it.
    Yes,
    /// It does not; in words.
    No(String),
    /// It cannot be told; in words.
    Unknown(String),
}

impl Opened {
    pub(super) fn append(&self, walked: &Walked<'_>, trust: &Trust, options: &Options) -> Verdict {
        let mut check = Check::default();
        let mut mine = self.remembered(trust, options).peekable();
        if mine.peek().is_none() {
            let text = "no remembered checkpoint to extend";
            return Verdict::open(Name::Append, options.unasked(), text);
        }
        let mut text = String::new();
        for old in mine {
            text = format!("extends your checkpoint {}", old.size);
            match self.leads_from(old, walked) {
                Leads::Yes => {}
                Leads::No(text) => check.fail(None, text),
                Leads::Unknown(text) => check.doubt(None, text),
            }
        }
        check.verdict(Name::Append, text)
    }

    /// Whether the bundle's checkpoint extends `old`: by a root computed on the way, else by a proof it carries.
    pub(super) fn leads_from(&self, old: &Checkpoint, walked: &Walked<'_>) -> Leads {
        let new = &self.checkpoint;
        let m = old.size;
        if old.origin != new.origin {
            let origin = &old.origin;
            return Leads::Unknown(format!("your checkpoint is of log {origin:?}"));
        }
        if m > new.size {
            let size = new.size;
            let text = format!(
                "the bundle ends at {size}, your checkpoint is of {m}: ask for a newer one"
            );
            return Leads::Unknown(text);
        }
        let (holds, otherwise) = if m == new.size {
            let text =
                format!("your checkpoint {m} has another root: this is a fork; keep both notes");
            (old.root == new.root, text)
        } else if m == 0 {
            return Leads::Yes;
        } else if let Some(root) = walked.roots.get(&m) {
            let text =
                format!("the first {m} entries are not those of your checkpoint: this is a fork");
            (*root == old.root, text)
        } else if let Some(proof) = self.proofs.since.get(&m) {
            let holds = verify_consistency((m, &old.root), (new.size, &new.root), proof);
            let text = format!("the proof from your checkpoint {m} is false: this is a fork");
            (holds, text)
        } else {
            return Leads::Unknown(format!("the bundle has no proof from your checkpoint {m}"));
        };
        match holds {
            true => Leads::Yes,
            false => Leads::No(otherwise),
        }
    }
}
