//! C2SP `tlog-proof`: one file that proves one entry (LEDGER.md §9, §13). Its `extra` line is the header, so
//! that it verifies alone.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::entry::{FormError, Header};
use crate::note::{NoteError, VerifierKey};
use crate::tree::{leaf_hash, verify_inclusion};
use crate::{Digest, base64};

/// Longest audit path: sizes stay below 2^63.
const MAX_PATH: usize = 63;

const MAGIC: &str = "c2sp.org/tlog-proof@v1";

/// A proof text, parsed and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What the proof carries along; for us the exact header bytes.
    pub extra: Option<Vec<u8>>,
    /// The entry's seq.
    pub index: u64,
    /// Sibling hashes, leaf to root, at most 63.
    pub path: Vec<Digest>,
    /// The signed note.
    pub checkpoint: String,
}

/// What a proof proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry.
    pub header: Header,
    /// Its leaf hash.
    pub leaf: Digest,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// Why a proof text proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not a `tlog-proof`.
    #[error("not a tlog-proof: {0}")]
    Form(&'static str),
    /// No `extra` line: there is no header to prove.
    #[error("the proof carries no header")]
    NoHeader,
    /// The header has not the form of its kind.
    #[error("the header it carries")]
    Header(#[from] FormError),
    /// The checkpoint is malformed.
    #[error("the checkpoint it carries")]
    Checkpoint(#[from] CheckpointError),
    /// A known key's signature is false.
    #[error("the checkpoint it carries")]
    Signature(#[from] NoteError),
    /// No known key signed the checkpoint.
    #[error("no known key of `{0}` signed the checkpoint")]
    Unsigned(String),
    /// Header, index and checkpoint are of different logs or places.
    #[error("the header is of another log or another place in it")]
    Place,
    /// The path does not lead from the header to the checkpoint's root.
    #[error("entry {0} is not in the tree the checkpoint commits to")]
    Inclusion(u64),
}

impl Proof {
    /// Checks everything: the header's form, its place, the signature of a key in `known` that carries the
    /// log's name, and the path to the root.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, known: &[VerifierKey]) -> Result<Proven, ProofError> {
        let (checkpoint, note) = Checkpoint::parse_note(&self.checkpoint)?;
        let signers = note.verify(known)?;
        if !signers.iter().any(|key| key.name() == checkpoint.origin) {
            return Err(ProofError::Unsigned(checkpoint.origin));
        }
        let (header, leaf) = self.under(&checkpoint)?;
        Ok(Proven {
            header,
            leaf,
            checkpoint,
        })
    }

    /// Checks the header's form and place, and the path to the root of a checkpoint that is believed already.
    pub(crate) fn under(&self, checkpoint: &Checkpoint) -> Result<(Header, Digest), ProofError> {
        let bytes = self.extra.as_deref().ok_or(ProofError::NoHeader)?;
        let header = Header::parse(bytes)?;
        if header.seq != self.index || *header.log != *checkpoint.origin {
            return Err(ProofError::Place);
        }
        let (leaf, size, root) = (leaf_hash(bytes), checkpoint.size, &checkpoint.root);
        if verify_inclusion(&leaf, self.index, size, &self.path, root) {
            Ok((header, leaf))
        } else {
            Err(ProofError::Inclusion(self.index))
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let (proof, checkpoint) = text
            .split_once("\n\n")
            .ok_or(ProofError::Form("no empty line"))?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(MAGIC) {
            return Err(ProofError::Form("another first line"));
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .and_then(|line| line.strip_prefix("extra "))
            .map(|extra| {
                base64::decode(extra).ok_or(ProofError::Form("the extra line is not base64"))
            })
            .transpose()?;
        let index = lines
            .next()
            .and_then(|line| decimal(line.strip_prefix("index ")?))
            .ok_or(ProofError::Form("no index"))?;
        let path = lines
            .map(hash_line)
            .collect::<Option<Vec<_>>>()
            .filter(|path| path.len() <= MAX_PATH)
            .ok_or(ProofError::Form("a hash line"))?;
        Ok(Self {
            extra,
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

fn hash_line(line: &str) -> Option<Digest> {
    let bytes = base64::decode(line)?;
    bytes.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests;
