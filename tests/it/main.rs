//! The broker by its front door: one file per subject, one sentence per test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails on the spot"
)]

mod asks;
mod decisions;
mod evidence;
mod grants;
mod ledger;
mod policy;
mod routes;
mod tidy;
