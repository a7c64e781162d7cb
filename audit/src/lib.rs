//! The audit ledger: one hash chain that is one RFC 6962 Merkle tree that is one C2SP `tlog-tiles` log.
//!
//! This crate makes the exact bytes of entries, links them, proves them and checks them. It promises that the
//! bytes that were hashed are the bytes that are handed out, that a [`Receipt`] exists only for what somebody
//! swore is durable ([`Batch::durable`]), and that [`verify()`] trusts nothing but the keys and checkpoints it
//! was given. It never opens a file, reads a clock, draws a random number or runs async: salts, ids, times
//! (milliseconds since 1970 UTC) and readers come as arguments.
//!
//! In reading order: a [`Digest`] and the one spelling of a JSON value ([`canonical`]); what an entry says
//! ([`kind`], [`entry`]), whom it is about ([`subject`]) and what people sign ([`passkey`]); how entries become
//! a tree ([`tree`]) and a chain ([`chain`]); the C2SP texts ([`note`], [`checkpoint`], [`receipt`], [`tile`],
//! [`cosign`], [`witness`]); what an auditor is handed ([`bundle`]), whom he trusts ([`trust`]), what he finds
//! ([`mod@verify`]) and which entries he looks at ([`sample`]).

#[cfg(test)]
mod harness;
// The harness knows this crate by its name.
#[cfg(test)]
extern crate self as stint_audit;

mod base64;
mod digest;
mod record;

pub mod canonical;
pub mod kind;

pub mod entry;
pub mod passkey;
pub mod subject;

pub mod chain;
pub mod tree;

pub mod checkpoint;
pub mod cosign;
pub mod note;
pub mod receipt;
pub mod tile;
pub mod witness;

pub mod bundle;
pub mod sample;
pub mod trust;
pub mod verify;

pub use chain::{Batch, Durable, Head, Receipt};
pub use checkpoint::Checkpoint;
pub use digest::Digest;
pub use entry::{Body, Entry, Header, Sealed};
pub use kind::What;
pub use note::LogKey;
pub use subject::Pseudonyms;
pub use verify::verify;
