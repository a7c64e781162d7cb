//! What happens to issuers' keys and must be on record before it counts (IDENTITY.md §2.5 *Recorded*).
//!
//! This module records nothing itself: it hands over, and waits to hear that it is durable.

use std::sync::Arc;

use serde_json::{Map, Value};
use stint_policy::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// The way to the ledger. Whoever holds the other end records each [`Filing`], in order.
#[derive(Clone, Debug)]
pub struct Register(mpsc::Sender<Filing>);

/// One thing to record.
#[derive(Debug)]
pub enum Filing {
    /// A key set that differs from the one on record. Durable once the sender is used; dropped, it was not recorded.
    Changed(KeyChange, oneshot::Sender<()>),
    /// The key set changed so often that no new one is taken.
    Degraded(Arc<str>),
    /// The set on record was fetched again, and is the same.
    Fetched(KeyFetch),
}

/// A key set that follows another.
#[derive(Clone, Debug)]
pub struct KeyChange {
    /// That it was fetched, and what names it.
    pub fetch: KeyFetch,
    /// The whole set, sorted by `kid`.
    pub keys: Vec<RecordedKey>,
    /// Thumbprints that were not in the set before.
    pub added: Vec<[u8; 32]>,
    /// Thumbprints that are not in it any more.
    pub removed: Vec<[u8; 32]>,
    /// Where it came from: a URL, or a file.
    pub source: String,
}

/// That an issuer's set was seen at its place.
#[derive(Clone, Debug)]
pub struct KeyFetch {
    /// `NAME` of `[issuer.NAME]`.
    pub issuer: Arc<str>,
    /// SHA-256 over the sorted thumbprints of the set.
    pub key: [u8; 32],
    /// When the fetch began.
    pub at: Timestamp,
}

/// One key as it stands on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedKey {
    /// The public JWK.
    pub jwk: Map<String, Value>,
    /// When the key was first seen.
    pub since: Timestamp,
}

/// The last set of an issuer that is on record, to serve from after a restart.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The entry that says so, newest for this issuer: what names the set, when it was fetched last.
    pub fetch: KeyFetch,
    /// The set.
    pub keys: Vec<RecordedKey>,
    /// Where it came from.
    pub source: String,
    /// When sets changed lately.
    pub changes: Vec<Timestamp>,
}

impl Register {
    /// A register, and where its filings come out.
    #[must_use]
    pub fn new() -> (Register, mpsc::Receiver<Filing>) {
        let (send, filings) = mpsc::channel(WAITING);
        (Register(send), filings)
    }

    /// Records a change. `false`: it is not durable, so its keys may not count.
    pub(super) async fn changed(&self, change: KeyChange) -> bool {
        let (done, durable) = oneshot::channel();
        let sent = self.0.send(Filing::Changed(change, done)).await;
        sent.is_ok() && durable.await.is_ok()
    }

    /// Hands over what nobody waits for. A full register drops it: it is said again with the next fetch.
    pub(super) fn mention(&self, filing: Filing) {
        if self.0.try_send(filing).is_err() {
            tracing::debug!("the register of issuers' keys is full");
        }
    }
}

/// As many as there may be issuers (IDENTITY.md §2.2).
const WAITING: usize = 256;
