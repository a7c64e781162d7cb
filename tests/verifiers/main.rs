//! The second verifier, in JavaScript (`clients/javascript`): its own tests, the two verifiers against each other, and its
//! page in a real browser. `tests/run interop` installs what this needs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test that cannot go on fails on the spot, and says from which seed it began"
)]

mod bend;
mod bundles;
mod dice;
mod differential;
mod logs;
mod mutants;
mod node;
mod page;
mod signatures;
mod texts;
mod units;
mod zips;
