//! C2SP `tlog-witness`: the texts of `add-checkpoint`, and the one decision a witness makes (LEDGER.md §10,
//! §13). Parses, prints and judges; keeps nothing, signs nothing and knows no HTTP.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::note::{Note, NoteError, Signature};
use crate::tree::verify_consistency;
use crate::{Digest, base64};

/// Most lines of a consistency proof.
pub const MAX_PROOF: usize = 63;

/// The type of a 409's body.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The request of `add-checkpoint`: an old size, a proof and a checkpoint, none of them checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the client believes the witness has.
    pub old: u64,
    /// Consistency from `old` to the checkpoint, at most [`MAX_PROOF`].
    pub proof: Vec<Digest>,
    /// The signed note.
    pub note: Note,
    /// Its first three lines. Other logs than ours may have extension lines, which are signed as they are.
    pub checkpoint: Checkpoint,
}

/// Why a request, or an answer, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The checkpoint is malformed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is no empty line before the checkpoint.
    #[error("no empty line before the checkpoint")]
    Gap,
    /// The first line.
    #[error("the first line is `old` and a decimal number")]
    Old,
    /// A line of the proof.
    #[error("a proof line is the base64 of 32 bytes")]
    Proof,
    /// More than [`MAX_PROOF`] lines.
    #[error("more than {MAX_PROOF} proof lines")]
    TooLong,
}

/// What a witness holds of a log: the largest tree it cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Entries.
    pub size: u64,
    /// The root.
    pub root: Digest,
}

/// Why a checkpoint that its log signed is not cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 422: the log contradicts itself, or the request does not show that it does not.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// 400: the old size is above the checkpoint's.
    #[error("the old size is above the checkpoint's")]
    Old,
    /// 409: the witness holds another size.
    #[error("the size held is {0}")]
    Stale(u64),
}

impl AddCheckpoint {
    /// What a client sends that believes the witness at `old`.
    ///
    /// # Errors
    /// What is wrong with the note.
    pub fn new(old: u64, proof: Vec<Digest>, note: &str) -> Result<Self, FormError> {
        let note = Note::parse(note).map_err(CheckpointError::Note)?;
        let checkpoint = head(note.text())?;
        Ok(Self {
            old,
            proof,
            note,
            checkpoint,
        })
    }

    /// The decision of tlog-witness, for a checkpoint that the log is known to have signed: `held` is what this
    /// witness cosigned last of it. Accepted if `Ok`; then it must become what is held, durably and in one step
    /// with this check, before it is cosigned.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(&self, held: Option<&Held>) -> Result<(), Refusal> {
        let Checkpoint { size, root, .. } = &self.checkpoint;
        if self.old > *size {
            return Err(Refusal::Old);
        }
        let known = held.map_or(0, |held| held.size);
        if self.old != known {
            return Err(Refusal::Stale(known));
        }
        if *size == 0 && *root != Digest::of(b"") {
            return Err(Refusal::Inconsistent("an empty log has another root"));
        }
        let Some(held) = held.filter(|held| held.size > 0) else {
            return if self.proof.is_empty() {
                Ok(())
            } else {
                Err(Refusal::Inconsistent("from size 0 the proof is empty"))
            };
        };
        if *size == held.size && *root != held.root {
            return Err(Refusal::Inconsistent("same size, other root"));
        }
        if verify_consistency((held.size, &held.root), (*size, root), &self.proof) {
            Ok(())
        } else {
            Err(Refusal::Inconsistent("the consistency proof is false"))
        }
    }
}

impl FromStr for AddCheckpoint {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let (before, note) = text.split_once("\n\n").ok_or(FormError::Gap)?;
        let mut lines = before.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(decimal).ok_or(FormError::Old)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF {
                return Err(FormError::TooLong);
            }
            proof.push(hash(line)?);
        }
        Self::new(old, proof, note)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", BASE64.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// The first three lines of a checkpoint; extension lines after them are not empty.
fn head(text: &str) -> Result<Checkpoint, FormError> {
    let end = text.match_indices('\n').nth(2).map(|(at, _)| at + 1);
    let (head, extensions) = end
        .and_then(|end| text.split_at_checked(end))
        .ok_or(CheckpointError::Form)?;
    if extensions.split_inclusive('\n').any(|line| line == "\n") {
        return Err(CheckpointError::Form.into());
    }
    Ok(Checkpoint::parse(head)?)
}

/// The base64 of 32 bytes.
fn hash(line: &str) -> Result<Digest, FormError> {
    let bytes = base64::decode(line);
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest::from_bytes).ok_or(FormError::Proof)
}

/// The body of a 409.
#[must_use]
pub fn size_text(size: u64) -> String {
    format!("{size}\n")
}

/// The size in the body of a 409; `None` if it is none.
#[must_use]
pub fn parse_size(body: &str) -> Option<u64> {
    decimal(body.strip_suffix('\n')?)
}

/// The lines in the body of a 200.
///
/// # Errors
/// The first line that is no signature line, or too many, or none.
pub fn parse_cosignatures(body: &str) -> Result<Vec<Signature>, NoteError> {
    // As the spec suggests: put behind some text, the answer is a note.
    let note = Note::parse(&format!("x\n\n{body}"))?;
    if note.text() == "x\n" {
        Ok(note.signatures().to_vec())
    } else {
        Err(NoteError::Malformed("an empty line"))
    }
}

/// The word for a log in a witness's paths: SHA-256 of its origin, lower-case hex.
#[must_use]
pub fn origin_hash(origin: &str) -> String {
    HEXLOWER.encode(Digest::of(origin.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests;
