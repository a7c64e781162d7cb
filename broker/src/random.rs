//! Random bytes, from the operating system alone.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes.
///
/// INVARIANT: never bytes that were not drawn. Where the system has no randomness to give there is
/// no safe answer, and no walk to go on with: the process ends.
#[must_use]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// Three random decimal digits, for people to compare. 1,000 does not divide 2³²: the bias is
/// below one in four million.
#[must_use]
pub(crate) fn match_code() -> String {
    format!("{:03}", u32::from_be_bytes(bytes()) % 1_000)
}
