//! Requests after they were parked, through the front door: whoever asked comes back by evidence or by key, waits, takes
//! it back, or redeems a deferral code; nobody else finds anything.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod deferred;
mod desk;
mod looking;
mod people;
mod program;
mod voted;
mod waiting;
