//! People: how they sign in, what keeps others from it, and what a session is good for.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod changes;
mod logins;
mod passkeys;
mod provider;
mod sessions;
mod terminals;
