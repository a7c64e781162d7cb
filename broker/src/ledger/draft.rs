//! Entries in the making: what they have in common before the chain links them.

use serde_json::{Map, Value};
use stint_audit::{Body, Digest, Entry, What};

use crate::ids::EntryId;
use crate::random;

/// A body with its salt: 16 bytes from the system, new for each (LEDGER.md §4).
pub(crate) fn salted(what: Map<String, Value>) -> Body {
    Body {
        salt: random::bytes(),
        what,
    }
}

/// An entry about the broker itself, about nobody.
pub(crate) fn note(what: impl Into<What>, pol: Option<Digest>, body: Map<String, Value>) -> Entry {
    Entry {
        id: EntryId::from_bytes(random::bytes()).to_string(),
        subj: None,
        by: None,
        behalf: None,
        pol,
        what: what.into(),
        body: salted(body),
    }
}
