//! Head + entries to [`Batch`]; [`Batch::durable`] to [`Receipt`]s (LEDGER.md §6, §7).
//!
//! The link from an entry to the one before is that entry's leaf hash, so chain and tree cannot tell two
//! stories. Nothing here commits: the one committer extends the head in memory, writes what the batch holds in
//! one transaction, and only after COMMIT calls `durable`, which signs the checkpoint and makes the receipts.

mod follow;

use std::fmt;
use std::sync::Arc;

use ring::hmac::{self, HMAC_SHA256};

use crate::canonical::MAX_INTEGER;
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, FormError, Header, Sealed};
use crate::kind::{Granted, What};
use crate::note::LogKey;
use crate::receipt::Proof;
use crate::tree::{self, Frontier, Growth};
use crate::{Digest, canonical};

pub use follow::FollowError;

/// Most entries in one batch.
pub const MAX_BATCH: usize = 512;

/// The end of a log: all that is needed to extend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    log: Arc<str>,
    epoch: u64,
    last_leaf: Digest,
    root: Digest,
    frontier: Frontier,
    last_ts: u64,
    closed: bool,
}

/// A stored head, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadParts {
    /// The origin, with `/n` for epoch n > 0.
    pub log: String,
    /// 0 for the first log.
    pub epoch: u64,
    /// How many entries.
    pub size: u64,
    /// The leaf hash of the last entry; zeros when there is none.
    pub last_leaf: Digest,
    /// The root of the tree.
    pub root: Digest,
    /// Roots of the perfect subtrees, largest first.
    pub frontier: Vec<Digest>,
    /// The last entry's `ts`.
    pub last_ts: u64,
    /// Whether an `epoch` entry ended the log.
    pub closed: bool,
}

/// A stored head that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The number of frontier nodes does not fit the size.
    #[error(transparent)]
    Frontier(#[from] tree::FrontierError),
    /// The frontier gives another root.
    #[error("the frontier of head {0} does not give its root")]
    Root(u64),
    /// The last leaf is not where the frontier says.
    #[error("the last leaf of head {0} is not in its frontier")]
    LastLeaf(u64),
}

/// Entries that do not extend a head.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    /// An `epoch` entry ended this log.
    #[error("log `{0}` is closed: the next epoch serves")]
    Closed(Arc<str>),
    /// None, or more than [`MAX_BATCH`].
    #[error("a batch holds 1 to {MAX_BATCH} entries, not {0}")]
    Size(usize),
    /// The log would outgrow 2^53 - 1 entries, or the time its millisecond count.
    #[error("seq or time is beyond 2^53 - 1")]
    Range,
    /// One entry has not the form of its kind.
    #[error("entry {index} of the batch (`{id}`)")]
    Entry {
        /// Its place in the batch, from 0.
        index: usize,
        /// Its id.
        id: String,
        /// What is wrong with it.
        #[source]
        source: FormError,
    },
}

impl Head {
    /// The head of a log without entries. `log` is the whole origin, with `/n` for epoch n > 0.
    #[must_use]
    pub fn empty(log: &str, epoch: u64) -> Self {
        Self {
            log: log.into(),
            epoch,
            last_leaf: Digest::ZERO,
            root: Digest::of(b""),
            frontier: Frontier::default(),
            last_ts: 0,
            closed: false,
        }
    }

    /// Takes up a stored head. Whether it is the one that was stored last only [`Self::mac`] and other
    /// memories can tell.
    ///
    /// # Errors
    /// When its parts contradict each other.
    pub fn restore(parts: HeadParts) -> Result<Self, HeadError> {
        let size = parts.size;
        let frontier = Frontier::from_nodes(size, parts.frontier)?;
        if frontier.root() != parts.root {
            return Err(HeadError::Root(size));
        }
        let last = if size == 0 {
            Some(&Digest::ZERO)
        } else if size % 2 == 1 {
            frontier.nodes().last()
        } else {
            None
        };
        if last.is_some_and(|last| *last != parts.last_leaf) {
            return Err(HeadError::LastLeaf(size));
        }
        Ok(Self {
            log: parts.log.into(),
            epoch: parts.epoch,
            last_leaf: parts.last_leaf,
            root: parts.root,
            frontier,
            last_ts: parts.last_ts,
            closed: parts.closed,
        })
    }

    /// The origin.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The leaf hash of the last entry; zeros when there is none.
    #[must_use]
    pub const fn last_leaf(&self) -> &Digest {
        &self.last_leaf
    }

    /// The root of the tree.
    #[must_use]
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// The right edge of the tree.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The last entry's `ts`, milliseconds.
    #[must_use]
    pub const fn last_ts(&self) -> u64 {
        self.last_ts
    }

    /// Whether an `epoch` entry ended this log.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.closed
    }

    /// What a signed checkpoint says about this head.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: self.log.to_string(),
            size: self.size(),
            root: self.root,
        }
    }

    /// The seal of a stored head under a key outside the database (LEDGER.md §7).
    #[must_use]
    pub fn mac(&self, key: &[u8; 32]) -> Digest {
        let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
        context.update(b"stint/head/v1\n");
        // Each header carries the name and is at most 4,096 bytes, so it always fits.
        let length = u16::try_from(self.log.len()).unwrap_or(u16::MAX);
        context.update(&length.to_be_bytes());
        context.update(self.log.as_bytes());
        context.update(&self.size().to_be_bytes());
        context.update(self.last_leaf.as_bytes());
        context.update(self.root.as_bytes());
        context.update(&self.last_ts.to_be_bytes());
        context.update(&[u8::from(self.closed)]);
        Digest::from_tag(context.sign().as_ref())
    }

    /// Chains `entries` behind this head: seq, prev, time, hashes, root. `node` names the replica; the time is
    /// `now_ms`, or the last entry's if that is later.
    ///
    /// # Errors
    /// When the log is closed, the batch is empty or too large, or an entry has not the form of its kind. The
    /// head is as it was.
    pub fn extend(
        &self,
        node: &str,
        now_ms: u64,
        entries: Vec<Entry>,
    ) -> Result<Batch, ExtendError> {
        let sealed = entries.into_iter().enumerate().map(|(index, entry)| {
            let id = entry.id.clone();
            let sealed = entry.seal();
            sealed.map_err(|source| ExtendError::Entry { index, id, source })
        });
        let sealed: Vec<_> = sealed.collect::<Result<_, _>>()?;
        self.extend_sealed(node, now_ms, &sealed.iter().collect::<Vec<_>>())
    }

    /// As [`Self::extend`], with entries whose bodies have their bytes already. They may be chained again behind
    /// another head.
    ///
    /// # Errors
    /// As [`Self::extend`].
    pub fn extend_sealed(
        &self,
        node: &str,
        now_ms: u64,
        entries: &[&Sealed],
    ) -> Result<Batch, ExtendError> {
        if entries.is_empty() || entries.len() > MAX_BATCH {
            return Err(ExtendError::Size(entries.len()));
        }
        let ts = now_ms.max(self.last_ts);
        if ts > MAX_INTEGER || self.size() > MAX_INTEGER - tree::count(entries) {
            return Err(ExtendError::Range);
        }
        let mut draft = Draft::new(self, node, ts, entries.len());
        for (index, sealed) in entries.iter().enumerate() {
            if draft.closed {
                return Err(ExtendError::Closed(draft.log));
            }
            draft.add(sealed).map_err(|source| ExtendError::Entry {
                index,
                id: sealed.entry.id.clone(),
                source,
            })?;
        }
        Ok(draft.finish(self))
    }
}

/// A batch in the making.
struct Draft {
    log: Arc<str>,
    node: Arc<str>,
    ts: u64,
    seq: u64,
    prev: Digest,
    closed: bool,
    entries: Vec<Header>,
    headers: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    hashes: Vec<Digest>,
}

impl Draft {
    fn new(head: &Head, node: &str, ts: u64, capacity: usize) -> Self {
        Self {
            log: Arc::clone(&head.log),
            node: node.into(),
            ts,
            seq: head.size(),
            prev: head.last_leaf,
            closed: head.closed,
            entries: Vec::with_capacity(capacity),
            headers: Vec::with_capacity(capacity),
            bodies: Vec::with_capacity(capacity),
            hashes: Vec::with_capacity(capacity),
        }
    }

    fn add(&mut self, sealed: &Sealed) -> Result<(), FormError> {
        let Sealed { entry, body } = sealed;
        let header = Header {
            log: Arc::clone(&self.log),
            seq: self.seq,
            prev: self.prev,
            ts: self.ts,
            node: Arc::clone(&self.node),
            id: entry.id.clone(),
            subj: entry.subj,
            by: entry.by,
            behalf: entry.behalf,
            pol: entry.pol,
            body: Digest::of(body),
            what: entry.what.clone(),
        };
        let bytes = header.bytes()?;
        // INVARIANT: what is hashed here is what a strict reader accepts, or the log could not be verified.
        debug_assert!(canonical::lint_header(&bytes).is_ok());
        self.prev = tree::leaf_hash(&bytes);
        self.closed = matches!(header.what, What::Epoch(_));
        self.seq += 1;
        self.hashes.push(self.prev);
        self.entries.push(header);
        self.headers.push(bytes);
        self.bodies.push(body.clone());
        Ok(())
    }

    fn finish(self, before: &Head) -> Batch {
        let growth = Growth::new(&before.frontier, &self.hashes);
        let frontier = growth.frontier(growth.size()).unwrap_or_default();
        let head = Head {
            log: self.log,
            epoch: before.epoch,
            last_leaf: self.prev,
            root: frontier.root(),
            frontier,
            last_ts: self.ts,
            closed: self.closed,
        };
        Batch {
            prev: before.last_leaf,
            head,
            growth,
            entries: self.entries,
            headers: self.headers,
            bodies: self.bodies,
            hashes: self.hashes,
        }
    }
}

/// Entries chained behind a head, in memory only: to be written in one transaction.
pub struct Batch {
    prev: Digest,
    head: Head,
    growth: Growth,
    entries: Vec<Header>,
    headers: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    hashes: Vec<Digest>,
}

/// What a batch gives once it is on disk.
#[derive(Debug)]
pub struct Durable {
    /// The head to extend next.
    pub head: Head,
    /// The signed note over it.
    pub checkpoint: String,
    /// One receipt for each entry, in order.
    pub receipts: Vec<Receipt>,
}

impl Batch {
    /// The seq of the first entry.
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.growth.old_size()
    }

    /// How many entries, 1 to [`MAX_BATCH`].
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "Head::extend makes no empty batch"
    )]
    pub const fn len(&self) -> usize {
        self.headers.len()
    }

    /// The leaf hash of the entry before the first.
    #[must_use]
    pub const fn prev(&self) -> &Digest {
        &self.prev
    }

    /// The entries as they were chained.
    #[must_use]
    pub fn entries(&self) -> &[Header] {
        &self.entries
    }

    /// The exact header bytes, in order.
    #[must_use]
    pub fn headers(&self) -> &[Vec<u8>] {
        &self.headers
    }

    /// The exact body bytes, in order.
    #[must_use]
    pub fn bodies(&self) -> &[Vec<u8>] {
        &self.bodies
    }

    /// The leaf hashes, in order.
    #[must_use]
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The head after the last entry.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Swears that the transaction holding this batch has committed: signs the checkpoint and makes the
    /// receipts. Only the committer may say so, and only after COMMIT.
    ///
    /// `key` is the key of this log; under another name the checkpoint is refused by every reader.
    #[must_use]
    pub fn durable(self, key: &LogKey) -> Durable {
        let checkpoint = key.sign(&self.head.checkpoint().text());
        let proven = Arc::new(Proven {
            growth: self.growth,
            checkpoint: checkpoint.clone(),
        });
        let parts = self.entries.into_iter().zip(self.headers).zip(self.hashes);
        let receipts = parts
            .map(|((header, bytes), leaf)| Receipt {
                header,
                bytes,
                leaf,
                proven: Arc::clone(&proven),
            })
            .collect();
        Durable {
            head: self.head,
            checkpoint,
            receipts,
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("first_seq", &self.first_seq())
            .field("len", &self.len())
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// Proof that one entry is durable. [`Batch::durable`] is its only maker.
#[derive(Clone)]
pub struct Receipt {
    header: Header,
    bytes: Vec<u8>,
    leaf: Digest,
    proven: Arc<Proven>,
}

/// What the receipts of one batch share.
struct Proven {
    growth: Growth,
    checkpoint: String,
}

impl Receipt {
    /// The entry's seq.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.header.seq
    }

    /// The entry's leaf hash.
    #[must_use]
    pub const fn leaf(&self) -> &Digest {
        &self.leaf
    }

    /// What was recorded.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The exact bytes that were recorded.
    #[must_use]
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The facts of a grant; `None` for every other kind.
    #[must_use]
    pub const fn granted(&self) -> Option<&Granted> {
        match &self.header.what {
            What::Granted(granted) => Some(granted),
            _ => None,
        }
    }

    /// The signed checkpoint that covers the entry.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.proven.checkpoint
    }

    /// The C2SP `tlog-proof` text that verifies alone, its `extra` line the header; 1.5 to 2.2 KB. Made here,
    /// when it is asked for.
    #[must_use]
    pub fn proof_text(&self) -> String {
        Proof {
            extra: Some(self.bytes.clone()),
            index: self.header.seq,
            path: self
                .proven
                .growth
                .inclusion(self.header.seq)
                .unwrap_or_default(),
            checkpoint: self.proven.checkpoint.clone(),
        }
        .to_string()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("id", &self.header.id)
            .field("seq", &self.header.seq)
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
