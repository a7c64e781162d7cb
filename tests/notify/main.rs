//! Notices: approvers are told that an ask waits and what it came to, by whatever they read; nobody waits for it, nothing
//! is said twice, and nothing that a stranger wrote is more than text.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails on the spot"
)]

mod commands;
mod config;
mod console;
mod fatigue;
mod http;
mod hygiene;
mod mail;
mod scene;
mod signed;
mod slack;
mod smtp;
mod trouble;
