//! The auditor's side: what a broker hands out, read by `stint` on a machine that knows the log's key and nothing else.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod bundles;
mod desk;
mod followed;
mod forged;
mod proved;
