//! C2SP `tlog-cosignature`, type 0x04: a witness says that at a time the largest tree it saw of a log was this
//! one (LEDGER.md §10, §13). Signs, parses and checks; never reads a clock.
//!
//! ML-DSA-44 (0x06) keys can be named in a policy, so that a policy that others wrote can be read, but what
//! they sign is not checked here: their lines are ignored as any unknown key's are.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::note::{KeyError, Note, NoteError, Signature, is_name};
use crate::{Digest, base64};

/// The type byte of Ed25519 cosignatures.
const TYPE_ED25519: u8 = 0x04;

/// The type byte of ML-DSA-44 cosignatures.
const TYPE_ML_DSA_44: u8 = 0x06;

/// Bytes of an ML-DSA-44 public key (FIPS 204, table 2).
const ML_DSA_44_KEY: usize = 1_312;

/// The public key of a witness, by which it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignerKey {
    name: String,
    key_id: [u8; 4],
    key: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PublicKey {
    Ed25519([u8; 32]),
    MlDsa44(Vec<u8>),
}

/// A cosignature that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigned<'k> {
    /// Who cosigned.
    pub by: &'k CosignerKey,
    /// When, by its own clock: seconds since 1970 UTC, below 2^63.
    pub time: u64,
}

/// Checks every cosignature in `note` of a key in `known`. Gives them in the order of their lines; a witness
/// may be there more than once. Cosignatures that cannot be checked are not there at all.
///
/// # Errors
/// [`NoteError::False`] if any of them is false, [`NoteError::Ambiguous`] if two known keys answer to one line.
pub fn verify<'k>(note: &Note, known: &'k [CosignerKey]) -> Result<Vec<Cosigned<'k>>, NoteError> {
    verify_lines(note.text(), note.signatures(), known)
}

/// As [`verify`], for lines that came apart from the note with `text`: the answer of a witness.
///
/// # Errors
/// As [`verify`].
pub fn verify_lines<'k>(
    text: &str,
    lines: &[Signature],
    known: &'k [CosignerKey],
) -> Result<Vec<Cosigned<'k>>, NoteError> {
    let mut good = Vec::new();
    for line in lines {
        let mut keys = known.iter().filter(|key| key.made(line));
        let Some(by) = keys.next() else {
            continue;
        };
        if keys.any(|other| other != by) {
            return Err(NoteError::Ambiguous(line.name.clone()));
        }
        let PublicKey::Ed25519(key) = &by.key else {
            continue;
        };
        let time = time_of(key, text, &line.bytes);
        let time = time.ok_or_else(|| NoteError::False(line.name.clone()))?;
        good.push(Cosigned { by, time });
    }
    Ok(good)
}

/// The time in a true cosignature: u64be seconds ‖ Ed25519 signature.
fn time_of(key: &[u8; 32], text: &str, bytes: &[u8]) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    // tlog-cosignature: "It MUST NOT exceed 2^63 - 1".
    let time = u64::from_be_bytes(*time);
    let message = message(i64::try_from(time).ok()?.unsigned_abs(), text);
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(message.as_bytes(), signature).ok()?;
    Some(time)
}

/// What is signed: a header, the time and the whole text of the note, its extension lines included.
fn message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl CosignerKey {
    fn new(name: &str, key: PublicKey) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let typed = [name.as_bytes(), b"\n", &key.typed()].concat();
        let [a, b, c, d, ..] = *Digest::of(&typed).as_bytes();
        Ok(Self {
            name: name.to_owned(),
            key_id: [a, b, c, d],
            key,
        })
    }

    /// The key's name, as its signature lines have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what this key signs can be checked here.
    #[must_use]
    pub const fn is_supported(&self) -> bool {
        matches!(self.key, PublicKey::Ed25519(_))
    }

    /// Whether `other` is the same public key, under whatever name (tlog-policy: *duplicate*).
    #[must_use]
    pub fn is_duplicate(&self, other: &Self) -> bool {
        self.key == other.key
    }

    fn made(&self, line: &Signature) -> bool {
        self.key_id == line.key_id && self.name == line.name
    }
}

impl PublicKey {
    /// `type ‖ key`.
    fn typed(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => [&[TYPE_ED25519], key.as_slice()].concat(),
            Self::MlDsa44(key) => [&[TYPE_ML_DSA_44], key.as_slice()].concat(),
        }
    }

    fn from_typed(typed: &[u8]) -> Result<Self, KeyError> {
        let (kind, key) = typed.split_first().ok_or(KeyError::Form)?;
        match (*kind, <[u8; 32]>::try_from(key)) {
            (TYPE_ED25519, Ok(key)) => Ok(Self::Ed25519(key)),
            (TYPE_ML_DSA_44, _) if key.len() == ML_DSA_44_KEY => Ok(Self::MlDsa44(key.to_vec())),
            (TYPE_ED25519 | TYPE_ML_DSA_44, _) => Err(KeyError::Form),
            (kind, _) => Err(KeyError::Type(kind)),
        }
    }
}

/// `NAME+hex(key id)+base64(type ‖ key)`.
impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = HEXLOWER.encode(&self.key_id);
        let typed = BASE64.encode(&self.key.typed());
        write!(f, "{}+{id}+{typed}", self.name)
    }
}

impl FromStr for CosignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let typed = base64::decode(typed).unwrap_or_default();
        let made = Self::new(name, PublicKey::from_typed(&typed)?)?;
        if HEXLOWER.encode(&made.key_id) == id {
            Ok(made)
        } else {
            Err(KeyError::Id)
        }
    }
}

/// The private key of a witness. It signs cosignatures and nothing else, and shows nothing of itself.
pub struct WitnessKey {
    pair: Ed25519KeyPair,
    public: CosignerKey,
}

impl WitnessKey {
    /// The key of witness `name` from its 32-byte Ed25519 seed (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Name`] if `name` cannot name a key.
    pub fn from_seed(seed: &[u8; 32], name: &str) -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::from_seed_unchecked(seed).ok(), name)
    }

    /// The key of witness `name` from PKCS#8 (RFC 8410), version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::Private`] if it is none, [`KeyError::Name`] if `name` cannot name a key.
    pub fn from_pkcs8(der: &[u8], name: &str) -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok(), name)
    }

    fn new(pair: Option<Ed25519KeyPair>, name: &str) -> Result<Self, KeyError> {
        let pair = pair.ok_or(KeyError::Private)?;
        let Ok(key) = <[u8; 32]>::try_from(pair.public_key().as_ref()) else {
            return Err(KeyError::Private);
        };
        let public = CosignerKey::new(name, PublicKey::Ed25519(key))?;
        Ok(Self { pair, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &CosignerKey {
        &self.public
    }

    /// The cosignature over a note's whole `text` at `time`, seconds since 1970 UTC; `None` from 2^63 on. Who
    /// calls has made the checks of tlog-witness, and has made what it accepted durable.
    #[must_use]
    pub fn cosign(&self, text: &str, time: u64) -> Option<Signature> {
        i64::try_from(time).ok()?;
        let signature = self.pair.sign(message(time, text).as_bytes());
        Some(Signature {
            name: self.public.name.clone(),
            key_id: self.public.key_id,
            bytes: [&time.to_be_bytes(), signature.as_ref()].concat(),
        })
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = self.public.to_string();
        f.debug_tuple("WitnessKey").field(&public).finish()
    }
}

#[cfg(test)]
mod tests;
