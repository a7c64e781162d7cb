//! The one place in the CLI that asks the time: to say "in 15 min", and how old a checkpoint may be.

use time::OffsetDateTime;

/// Now, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "a client has no Clock to ask; this is the only call"
)]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
