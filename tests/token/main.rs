//! The token endpoint: the walk in OAuth's words, through the front door. What is refused mints nothing, writes nothing
//! where nobody was authenticated, and tells strangers nothing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod audiences;
mod certificates;
mod desk;
mod evidence;
mod exchanges;
mod flavours;
mod forms;
mod metadata;
mod proofs;
mod twins;
