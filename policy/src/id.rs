//! Ids of ours: a prefix that says what is meant, and 128 bits. They carry no time and no secret; who draws the bits is
//! the broker's business.

/// Defines an id type: 16 bytes, printed as a prefix and 26 lower-case Crockford base32 characters (5 bits each, most
/// significant first; the first holds the top three bits, so there is one spelling per id).
///
/// ```
/// stint_policy::prefixed_id!(
///     /// A parked ask.
///     RequestId, "req_"
/// );
/// let id = RequestId::from_bytes([0; 16]);
/// assert_eq!(id.to_string(), "req_00000000000000000000000000");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[macro_export]
macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id made of these 128 bits, big-endian.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 128 bits.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&$crate::id::base32(&self.0))
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::IdError;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                text.strip_prefix($prefix)
                    .and_then($crate::id::bytes)
                    .map(Self)
                    .ok_or($crate::id::IdError { prefix: $prefix })
            }
        }
    };
}

prefixed_id!(
    /// One permission to mint one credential.
    GrantId, "gr_"
);

prefixed_id!(
    /// One unit of work.
    TaskId, "task_"
);

/// A text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id here is `{prefix}` and 26 characters of 0-9 and a-z without i, l, o, u")]
pub struct IdError {
    /// What such an id begins with.
    pub prefix: &'static str,
}

/// 26 characters for 16 bytes; what [`prefixed_id!`](crate::prefixed_id) prints.
#[doc(hidden)]
#[must_use]
pub fn base32(bytes: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*bytes);
    (0..LENGTH)
        .rev()
        .filter_map(|place| u8::try_from(bits >> (place * 5) & 31).ok())
        .filter_map(|digit| ALPHABET.get(usize::from(digit)))
        .map(|symbol| char::from(*symbol))
        .collect()
}

/// The reverse of [`base32`]; none unless `text` is what that prints.
#[doc(hidden)]
#[must_use]
pub fn bytes(text: &str) -> Option<[u8; 16]> {
    if text.len() != LENGTH || !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
        return None;
    }
    let digit = |symbol: u8| ALPHABET.iter().position(|known| *known == symbol);
    text.bytes()
        .try_fold(0u128, |bits, symbol| {
            Some(bits << 5 | u128::try_from(digit(symbol)?).ok()?)
        })
        .map(u128::to_be_bytes)
}

/// ⌈128 / 5⌉.
const LENGTH: usize = 26;

/// Crockford's: no i, l, o, u, so that a person can read an id aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_spelling() {
        for bytes in [[0; 16], [255; 16], *b"0123456789abcdef"] {
            let id = GrantId::from_bytes(bytes);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(
            TaskId::from_bytes([255; 16]).to_string(),
            "task_7zzzzzzzzzzzzzzzzzzzzzzzzz"
        );
    }

    #[test]
    fn refuses_other_prefixes_lengths_and_letters() {
        let zeros = "0".repeat(26);
        for text in [
            format!("task_{zeros}"),
            format!("gr_{zeros}0"),
            "gr_".to_owned(),
            zeros.clone(),
            format!("gr_8{}", "0".repeat(25)),
            format!("gr_u{}", "0".repeat(25)),
            format!("gr_A{}", "0".repeat(25)),
        ] {
            assert_eq!(
                text.parse::<GrantId>(),
                Err(IdError { prefix: "gr_" }),
                "{text}"
            );
        }
    }
}
