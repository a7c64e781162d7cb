//! The log as tiles: what is served, what is exported, how a start believes it again, and who finds what was altered.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod anchors;
mod common;
mod folders;
mod proofs;
mod routes;
mod scrubbed;
