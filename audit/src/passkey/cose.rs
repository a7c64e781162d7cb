//! CBOR as far as authenticators send it: three forms of a key, and maps of extensions that are only walked over.

use super::Key;
use super::key::EXPONENT;

/// Deepest nesting of CBOR that CTAP2 allows (§8).
const MAX_DEPTH: u8 = 4;

/// ES256: `{1: 2, 3: -7, -1: 1, -2: x, …}`.
const ES256: &[u8] = &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
/// Between the coordinates: `…, -3: y}`.
const ES256_Y: &[u8] = &[0x22, 0x58, 32];
/// EdDSA: `{1: 1, 3: -8, -1: 6, -2: x}`.
const ED25519: &[u8] = &[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
/// RS256: `{1: 3, 3: -257, -1: n, …}`.
const RS256: &[u8] = &[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59];
/// Behind the modulus: `…, -2: h'010001'}`.
const RS256_E: &[u8] = &[0x21, 0x43];

/// A COSE key (RFC 9053, RFC 8230) in its one CTAP2 encoding, and what stands behind it.
pub(super) fn key(bytes: &[u8]) -> Option<(Key, &[u8])> {
    if let Some(rest) = bytes.strip_prefix(ES256) {
        let (x, rest) = rest.split_first_chunk::<32>()?;
        let (y, rest) = rest.strip_prefix(ES256_Y)?.split_first_chunk::<32>()?;
        Some((Key::es256(x, y), rest))
    } else if let Some(rest) = bytes.strip_prefix(ED25519) {
        let (x, rest) = rest.split_first_chunk::<32>()?;
        Some((Key::ed25519(x), rest))
    } else {
        let rest = bytes.strip_prefix(RS256)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (modulus, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let rest = rest.strip_prefix(RS256_E)?.strip_prefix(&EXPONENT)?;
        Some((Key::rs256(modulus)?, rest))
    }
}

/// Whether `bytes` are one map of definite length and nothing behind it.
pub(super) fn is_map(bytes: &[u8]) -> bool {
    let map = bytes.first().is_some_and(|first| first >> 5 == 5);
    map && item(bytes, MAX_DEPTH) == Some(&[])
}

/// What stands behind the item that `bytes` begin with (RFC 8949 §3), without tags and indefinite lengths.
fn item(bytes: &[u8], depth: u8) -> Option<&[u8]> {
    let (&first, rest) = bytes.split_first()?;
    let (n, rest) = argument(first & 31, rest)?;
    match first >> 5 {
        0 | 1 => Some(rest),
        2 | 3 => {
            let (text, behind) = rest.split_at_checked(usize::try_from(n).ok()?)?;
            (first >> 5 == 2 || std::str::from_utf8(text).is_ok()).then_some(behind)
        }
        4 => items(rest, n, depth.checked_sub(1)?),
        5 => items(rest, n.checked_mul(2)?, depth.checked_sub(1)?),
        7 => Some(rest),
        _ => None,
    }
}

/// Each item has a byte at least, so that the bytes bound the loop, not `n`.
fn items(mut rest: &[u8], n: u64, depth: u8) -> Option<&[u8]> {
    for _ in 0..n {
        rest = item(rest, depth)?;
    }
    Some(rest)
}

/// The number in a head: in its 5 bits, or in the 1, 2, 4 or 8 bytes behind.
fn argument(info: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    let length = match info {
        0..=23 => return Some((info.into(), rest)),
        24..=27 => 1_usize << (info - 24),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(length)?;
    let n = bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    Some((n, rest))
}
