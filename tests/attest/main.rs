//! Evidence that is no token, and asks that are sent twice.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod certificates;
mod chains;
mod doors;
mod pki;
mod retries;
mod spki;
mod survival;

/// What acme/web may have.
const STAGING: &str = "Environment::staging/web";
/// What it may have with two votes.
const PROD: &str = "Environment::prod/web";
