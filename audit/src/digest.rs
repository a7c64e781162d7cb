//! SHA-256 digests as values. They print and parse as base64url without padding, 43 characters (`h` in
//! LEDGER.md §2), and never in another spelling.

use std::fmt;
use std::str::{self, FromStr};

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 32 bytes: a SHA-256 hash, an HMAC-SHA256, a Merkle node or a pseudonym.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is not 43 base64url characters of exactly 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 43 base64url characters (SHA-256, no padding)")]
pub struct DigestError;

impl Digest {
    /// 32 zero bytes: the `prev` of the first entry of a log.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_ring(&digest(&SHA256, bytes))
    }

    /// Wraps 32 bytes that are a digest already.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The output of ring's SHA-256, which is always 32 bytes.
    pub(crate) fn from_ring(output: &ring::digest::Digest) -> Self {
        Self::from_tag(output.as_ref())
    }

    /// The output of ring's HMAC-SHA256, which is always 32 bytes.
    pub(crate) fn from_tag(output: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(output);
        Self(bytes)
    }

    fn with_text<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        let mut buffer = [0; 43]; // ceil(32 * 8 / 6)
        BASE64URL_NOPAD.encode_mut(&self.0, &mut buffer);
        f(str::from_utf8(&buffer).unwrap_or_default())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(DigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("43 base64url characters")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn prints_and_parses_one_spelling() {
        let empty = Digest::of(b"");
        assert_eq!(
            empty.to_string(),
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
        assert_eq!(empty.to_string().parse(), Ok(empty));
    }

    #[test]
    fn refuses_padding_other_lengths_and_stray_bits() {
        for text in [
            "",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFV",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuF",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
