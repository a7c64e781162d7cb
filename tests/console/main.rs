//! The console's pages through the front door: who sees what, what is on them, and how they leave.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects"
)]

mod ballots;
mod events;
mod lists;
mod page;
mod pages;
mod rules;
mod seen;
mod stories;
