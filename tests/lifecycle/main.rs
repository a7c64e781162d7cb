//! The ledger's life as a whole (LEDGER.md §12): copied and brought back, moved, erased in parts, signed by other keys,
//! ended and begun anew. The programs do it; what was handed out before still verifies.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod scene;

mod backups;
mod epochs;
mod erasures;
mod moves;
mod prunes;
mod recoveries;
mod retention;
mod rotations;
