//! C2SP `signed-note`: a text and signature lines (LEDGER.md §13). Parses, prints, signs and checks; knows
//! nothing of what a text means.
//!
//! A signature by an unknown key is kept and ignored; a false one by a known key rejects the note. Otherwise a
//! note could be spoiled, or saved, by a line that somebody appended.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::{Digest, base64};

/// Most signature lines accepted; the spec asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// The type byte of plain Ed25519.
const TYPE_ED25519: u8 = 0x01;

/// A text and its signatures, none of them checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line: `— NAME BASE64(key id ‖ signature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// First 4 bytes of SHA-256(name ‖ LF ‖ type ‖ key).
    pub key_id: [u8; 4],
    /// The signature; its form depends on the key's type.
    pub bytes: Vec<u8>,
}

/// Why a text is not a good note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not text, empty line and signature lines, or a control character in it.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// More signatures than [`MAX_SIGNATURES`].
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooMany,
    /// A known key's signature is false.
    #[error("the signature of `{0}` is false")]
    False(String),
    /// Two known keys share one name and id.
    #[error("two known keys are called `{0}` and have one id")]
    Ambiguous(String),
}

/// Why a text is not a verifier key, or a seed not a signing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `NAME+hex(key id)+base64(type ‖ key)`.
    #[error("a verifier key reads NAME+8 hex digits+base64")]
    Form,
    /// The key id is that of another name or key.
    #[error("the key id does not fit name and key")]
    Id,
    /// A type other than Ed25519 (0x01).
    #[error("keys of type {0:#04x} are not supported")]
    Type(u8),
    /// A name that is empty or holds `+` or white space.
    #[error("`{0}` cannot name a key: it is empty or holds `+` or white space")]
    Name(String),
    /// Not an Ed25519 private key.
    #[error("not an Ed25519 private key")]
    Private,
}

impl Note {
    /// Parses a whole note; checks no signature.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] or [`NoteError::TooMany`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("a control character"));
        }
        let (body, lines) = note
            .rsplit_once("\n\n")
            .ok_or(NoteError::Malformed("no empty line before signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("no line feed at the end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooMany);
            }
            signatures.push(line.parse()?);
        }
        let text = format!("{body}\n");
        Ok(Self { text, signatures })
    }

    /// The signed text, ending in LF.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The lines of keys in `known`, none of them checked.
    pub fn lines_of<'n>(&'n self, known: &'n [VerifierKey]) -> impl Iterator<Item = &'n Signature> {
        let made = |line: &&Signature| known.iter().any(|key| key.made(line));
        self.signatures.iter().filter(made)
    }

    /// Checks every signature of a key in `known` and returns those keys, none if no known key signed.
    ///
    /// # Errors
    /// [`NoteError::False`] if any of them is false, [`NoteError::Ambiguous`] if two known keys answer to one
    /// line.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut good: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let mut keys = known.iter().filter(|key| key.made(signature));
            let Some(key) = keys.next() else {
                continue;
            };
            if keys.any(|other| other != key) {
                return Err(NoteError::Ambiguous(signature.name.clone()));
            }
            if !key.verifies(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::False(signature.name.clone()));
            }
            if !good.contains(&key) {
                good.push(key);
            }
        }
        Ok(good)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id, self.bytes.as_slice()].concat();
        write!(f, "\u{2014} {} {}", self.name, BASE64.encode(&blob))
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature line");
        let parts = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '));
        let Some((name, blob)) = parts else {
            return Err(malformed);
        };
        let Some(blob) = base64::decode(blob) else {
            return Err(malformed);
        };
        match blob.split_first_chunk::<4>() {
            Some((key_id, bytes)) if is_name(name) && !bytes.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_id: *key_id,
                bytes: bytes.to_vec(),
            }),
            _ => Err(malformed),
        }
    }
}

/// A public key that signs notes: Ed25519, type 0x01.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_id: [u8; 4],
    key: [u8; 32],
}

impl VerifierKey {
    fn new(name: &str, key: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let preimage = [name.as_bytes(), &[b'\n', TYPE_ED25519], &key].concat();
        let [a, b, c, d, ..] = *Digest::of(&preimage).as_bytes();
        Ok(Self {
            name: name.to_owned(),
            key_id: [a, b, c, d],
            key,
        })
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.key
    }

    fn made(&self, signature: &Signature) -> bool {
        self.key_id == signature.key_id && self.name == signature.name
    }

    fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(text, signature)
            .is_ok()
    }
}

/// `NAME+hex(key id)+base64(type ‖ key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[TYPE_ED25519], self.key.as_slice()].concat();
        let id = HEXLOWER.encode(&self.key_id);
        write!(f, "{}+{id}+{}", self.name, BASE64.encode(&typed))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let typed = base64::decode(typed).unwrap_or_default();
        let (kind, key) = typed.split_first().ok_or(KeyError::Form)?;
        if *kind != TYPE_ED25519 {
            return Err(KeyError::Type(*kind));
        }
        let Ok(key) = <[u8; 32]>::try_from(key) else {
            return Err(KeyError::Form);
        };
        let made = Self::new(name, key)?;
        if HEXLOWER.encode(&made.key_id) == id {
            Ok(made)
        } else {
            Err(KeyError::Id)
        }
    }
}

/// The private key of a log. It signs notes and shows nothing of itself.
pub struct LogKey {
    pair: Ed25519KeyPair,
    public: VerifierKey,
    /// Keys of the same log that sign beside it, while one takes over from another.
    beside: Vec<LogKey>,
}

impl LogKey {
    /// The key of log `origin` from its 32-byte Ed25519 seed (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Name`] if `origin` cannot name a key.
    pub fn from_seed(seed: &[u8; 32], origin: &str) -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::from_seed_unchecked(seed).ok(), origin)
    }

    /// The key of log `origin` from PKCS#8 (RFC 8410), version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::Private`] if it is none, [`KeyError::Name`] if `origin` cannot name a key.
    pub fn from_pkcs8(der: &[u8], origin: &str) -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok(), origin)
    }

    fn new(pair: Option<Ed25519KeyPair>, origin: &str) -> Result<Self, KeyError> {
        let pair = pair.ok_or(KeyError::Private)?;
        let Ok(key) = <[u8; 32]>::try_from(pair.public_key().as_ref()) else {
            return Err(KeyError::Private);
        };
        let public = VerifierKey::new(origin, key)?;
        Ok(Self {
            pair,
            public,
            beside: Vec::new(),
        })
    }

    /// Lets `other` sign beside this one: both signatures stand under every note (LEDGER.md §12, rotation).
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        self.beside.push(other);
        self
    }

    /// The public halves, this one's first.
    #[must_use]
    pub fn all_public(&self) -> Vec<VerifierKey> {
        let beside = self.beside.iter().map(|key| key.public.clone());
        std::iter::once(self.public.clone()).chain(beside).collect()
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The public half as a note verifier key.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.public.to_string()
    }

    /// The note of `text`, which ends in LF, with this key's signature, and those of the keys beside it.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut note = format!("{text}\n");
        for key in std::iter::once(self).chain(&self.beside) {
            let signature = Signature {
                name: key.public.name.clone(),
                key_id: key.public.key_id,
                bytes: key.pair.sign(text.as_bytes()).as_ref().to_vec(),
            };
            note.push_str(&signature.to_string());
            note.push('\n');
        }
        note
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogKey")
            .field(&self.public.to_string())
            .finish()
    }
}

/// Whether a key can be called this: key names hold no `+` and no white space.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace())
}

#[cfg(test)]
mod tests;
