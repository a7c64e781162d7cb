//! Software written by others judges what a real broker does: it takes what we make, and refuses it spoiled.
//!
//! The programs lie beside this file; `tests/run interop` installs what they need and runs all of this.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod action;
mod certificates;
mod dev;
mod events;
mod exchange;
mod federated;
mod foreign;
mod issued;
mod ledger;
mod logins;
mod nginx;
mod notices;
mod openapi;
mod passkeys;
mod provider;
mod scanned;
mod shipped;
mod tiles;
mod tokens;
mod witnesses;
