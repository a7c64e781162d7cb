//! What these tests share with those of the other crates, which stand above this one.

#![expect(unreachable_pub, reason = "in the harness it is another crate's")]

#[path = "../../tests/harness/passkey.rs"]
pub mod passkey;
#[path = "../../tests/harness/votes.rs"]
pub mod votes;
