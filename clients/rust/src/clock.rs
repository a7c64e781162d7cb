//! The one place in this crate that asks the time, and only to date proofs and to judge tokens for their holder.

use std::time::SystemTime;

/// Seconds since 1970, by this machine. A clock before 1970 reads 0.
#[expect(
    clippy::disallowed_methods,
    reason = "a client has no Clock to ask; this is the only call"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
