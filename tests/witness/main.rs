//! Witnesses (LEDGER.md §10): the program that is one, and the broker that asks them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod scene;

mod commands;
mod killed;
mod lasting;
mod limits;
mod protocol;
mod races;

mod rollback;
mod watched;
