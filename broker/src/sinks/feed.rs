//! Reads entries that are committed, in order, and makes events of them.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use stint_policy::Timestamp;
use thiserror::Error;
use tokio::sync::watch;

use super::format::{Event, Format, Heartbeat, Source, leaf};
use crate::ledger::{Cut, Ledger, Published};
use crate::store::trail::{BatchRow, signed};
use crate::store::{self, Store};

/// What is committed, as one format shows it. Cloned, never shared: each has its own watch.
#[derive(Clone, Debug)]
pub struct Feed {
    store: Store,
    log: Arc<str>,
    cut: watch::Receiver<Option<Arc<Cut>>>,
    published: watch::Receiver<Published>,
    format: Format,
    bodies: Disclosed,
}

/// Of which kinds the bodies go along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disclosed(Vec<String>);

/// Why entries cannot be read.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The place is beyond the end: the ledger is older than what was sent of it.
    #[error("entry {next} is next, and the ledger has {size}: it is older than what was sent")]
    Beyond {
        /// The place.
        next: u64,
        /// Entries there are.
        size: u64,
    },
    /// It is not there, though the log is larger: an operator must look.
    #[error("entry {0} is not in the store")]
    Missing(u64),
    /// It is there, and not what its leaf hash says. Nobody is sent what cannot be proven.
    #[error("entry {0} does not hash to its leaf")]
    Damaged(u64),
    /// It hashes to its leaf and is no entry.
    #[error("entry {seq} is no entry")]
    Form {
        /// Which.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Nobody commits any more: the process ends.
    #[error("the ledger is closed")]
    Closed,
}

impl Disclosed {
    /// These kinds, `*` for all.
    #[must_use]
    pub fn new(kinds: Vec<String>) -> Disclosed {
        Disclosed(kinds)
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds(&self, kind: &str) -> bool {
        self.0.iter().any(|word| word == kind || word == "*")
    }
}

impl fmt::Display for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Feed {
    /// What `ledger` commits to `store`.
    #[must_use]
    pub fn new(store: &Store, ledger: &Ledger, (format, bodies): (Format, Disclosed)) -> Feed {
        Feed {
            store: store.clone(),
            log: ledger.origin().into(),
            cut: ledger.watch_cut(),
            published: ledger.watch_published(),
            format,
            bodies,
        }
    }

    /// Entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.published.borrow().size
    }

    /// Where the log begins, if not with entry 0.
    #[must_use]
    pub fn cut(&self) -> Option<Arc<Cut>> {
        self.cut.borrow().clone()
    }

    /// Waits until there is an entry `at`.
    ///
    /// # Errors
    /// [`FeedError::Closed`].
    pub async fn beyond(&mut self, at: u64) -> Result<(), FeedError> {
        let waited = self.published.wait_for(|now| now.size > at).await;
        waited.map(drop).map_err(|_closed| FeedError::Closed)
    }

    /// The events of the entries from `at` on, at most `most` and about 1 MiB, at least one.
    ///
    /// # Errors
    /// [`FeedError`]; none at all may be read then.
    pub async fn page(&self, at: u64, most: usize) -> Result<Vec<Event>, FeedError> {
        let to = at.saturating_add(u64::try_from(most.max(1)).unwrap_or(u64::MAX));
        let to = to.min(self.size());
        let headers = self.headers(at, to).await?;
        let mut bodies = self.bodies(at, to).await?.into_iter().peekable();
        let mut events = Vec::with_capacity(headers.len());
        let mut bytes = 0;
        for (seq, header) in (at..).zip(&headers) {
            while bodies.next_if(|(of, _)| *of < seq).is_some() {}
            let body = bodies.next_if(|(of, _)| *of == seq).map(|(_, body)| body);
            let body = body.filter(|_| self.bodies.holds(&kind(header)));
            let source = Source {
                header,
                body: body.as_deref(),
            };
            let event = self.format.event(source);
            let event = event.map_err(|source| FeedError::Form { seq, source })?;
            bytes += event.line.len();
            events.push(event);
            if bytes > ENOUGH {
                break;
            }
        }
        Ok(events)
    }

    /// The signed head, put before entry `next`.
    #[must_use]
    pub fn heartbeat(&self, next: u64, at: Timestamp) -> Option<Event> {
        let checkpoint = Arc::clone(&self.published.borrow().checkpoint);
        self.format.heartbeat(&Heartbeat {
            log: Arc::clone(&self.log),
            next,
            at,
            checkpoint,
        })
    }

    /// Headers of `[at, to)`, none missing, each of its leaf; fewer, if they are many.
    async fn headers(&self, at: u64, to: u64) -> Result<Vec<Vec<u8>>, FeedError> {
        let batches = self.store.batches(signed(at), signed(to), BATCHES).await?;
        let mut headers = Vec::new();
        let entries = batches.iter().flat_map(BatchRow::entries);
        let leaves = batches.iter().flat_map(BatchRow::leaves);
        for ((seq, header), hash) in entries.zip(leaves) {
            if !(at..to).contains(&seq) {
                continue;
            }
            let wanted = at.saturating_add(u64::try_from(headers.len()).unwrap_or(u64::MAX));
            if seq != wanted {
                return Err(FeedError::Missing(wanted));
            }
            if leaf(header) != hash {
                return Err(FeedError::Damaged(seq));
            }
            headers.push(header.to_vec());
        }
        match headers.is_empty() {
            true => Err(FeedError::Missing(at)),
            false => Ok(headers),
        }
    }

    /// Bodies of `[at, to)` that are still there; none if none goes along.
    async fn bodies(&self, at: u64, to: u64) -> Result<Vec<(u64, Vec<u8>)>, FeedError> {
        if self.bodies.is_empty() {
            return Ok(Vec::new());
        }
        let bodies = self.store.bodies(signed(at), signed(to)).await?;
        let of = |(seq, body): (i64, Vec<u8>)| (seq.unsigned_abs(), body);
        Ok(bodies.into_iter().map(of).collect())
    }
}

/// The kind, without the form: that is judged when the event is made.
fn kind(header: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    serde_json::from_slice(header).map_or_else(|_| String::new(), |it: Kind| it.kind)
}

/// Batches read at once: a batch is at most 512 entries.
const BATCHES: i64 = 64;
/// Bytes after which a page ends: receivers of HTTP often take no more than a few MiB.
const ENOUGH: usize = 1 << 20;
