//! C2SP `tlog-checkpoint`: origin, size and root, three lines of a signed note (LEDGER.md §9, §13). Ours have
//! no extension lines, and a text with any is refused.

use std::fmt;

use data_encoding::BASE64;

use crate::note::{Note, NoteError};
use crate::{Digest, base64};

/// The head of a log as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of the tree.
    pub root: Digest,
}

/// A text that is not a checkpoint of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is malformed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not three lines: origin, decimal size, base64 root.
    #[error("a checkpoint has three lines: origin, size and root")]
    Form,
}

impl Checkpoint {
    /// The text that is signed, three lines.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// Parses the text of a note.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text
            .strip_suffix('\n')
            .map(|lines| lines.split('\n').collect::<Vec<_>>());
        let Some([origin, size, root]) = lines.as_deref() else {
            return Err(CheckpointError::Form);
        };
        let root = base64::decode(root);
        let root = root.and_then(|root| root.try_into().ok());
        match (decimal(size), root) {
            (Some(size), Some(root)) if !origin.is_empty() => Ok(Self {
                origin: (*origin).to_owned(),
                size,
                root: Digest::from_bytes(root),
            }),
            _ => Err(CheckpointError::Form),
        }
    }

    /// Parses a whole signed note; checks no signature.
    ///
    /// # Errors
    /// What is wrong with the note or its text.
    pub fn parse_note(note: &str) -> Result<(Self, Note), CheckpointError> {
        let note = Note::parse(note)?;
        Ok((Self::parse(note.text())?, note))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = BASE64.encode(self.root.as_bytes());
        writeln!(f, "{}\n{}\n{root}", self.origin, self.size)
    }
}

/// A decimal without sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    if digits && (text == "0" || !text.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, CheckpointError};
    use crate::Digest;

    #[test]
    fn prints_and_parses_three_lines() {
        let checkpoint = Checkpoint {
            origin: "stint.example/ledger".into(),
            size: 2,
            root: Digest::of(b""),
        };
        let text = "stint.example/ledger\n2\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        assert_eq!(checkpoint.text(), text);
        assert_eq!(Checkpoint::parse(text), Ok(checkpoint));
    }

    #[test]
    fn refuses_every_other_form() {
        const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for text in [
            format!("log\n2\n{ROOT}"),
            format!("log\n2\n{ROOT}\nextension\n"),
            format!("\n2\n{ROOT}\n"),
            format!("log\n02\n{ROOT}\n"),
            format!("log\n+2\n{ROOT}\n"),
            format!("log\n\n{ROOT}\n"),
            format!("log\n18446744073709551616\n{ROOT}\n"),
            "log\n2\n47DEQpj8\n".to_owned(),
            "log\n2\n".to_owned(),
        ] {
            let refused = Checkpoint::parse(&text);
            assert_eq!(refused, Err(CheckpointError::Form), "{text}");
        }
    }
}
