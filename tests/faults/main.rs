//! Faults: each test breaks one thing (LEDGER.md §15) and asks what must hold afterwards. Every credential that anybody
//! got has its one entry, the ledger verifies from genesis, grants that nobody got are closed, and the broker goes on by
//! itself, or not at all where an operator must look.
//!
//! `STINT_FAULT_ROUNDS=N` does everything N times as often; without it the run is as short as is worth anything.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod clock;
mod common;
mod crashes;
mod disk;
mod power;
mod replicas;
mod server;
mod steps;
mod tamper;
mod upkeep;
