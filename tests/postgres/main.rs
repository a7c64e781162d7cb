//! What is PostgreSQL's alone: which servers are refused, what the role that serves may do, what its client does when it
//! is cut off, several brokers over one ledger, and the commands of operators. The walk itself runs on both engines, by
//! `STINT_TEST_STORE=postgres`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails on the spot"
)]

mod commands;
mod common;
mod failover;
mod replicas;
mod roles;
mod settings;
mod traps;
mod wire;
