//! The SIEM stream: each format to each kind of receiver, all of it though receivers and the broker fail, and the check
//! by which a receiver proves it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod check;
mod config;
mod crash;
mod cursor;
mod files;
mod formats;
mod hygiene;
mod receiver;
mod syslog;
mod tail;
mod takeover;
mod tampered;
mod trouble;
