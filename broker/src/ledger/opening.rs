//! What must hold before the log is served: nothing at rest is trusted (LEDGER.md §8).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use stint_audit::chain::HeadParts;
use stint_audit::kind::{Genesis, KeyAdded, KeyUse};
use stint_audit::tree::{Frontier, leaf_hash};
use stint_audit::{Checkpoint, Digest, Entry, Head, Header, LogKey, Pseudonyms, What};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::draft::note;
use super::pin::{self, Pin};
use super::standing::{Frozen, SetEntry, Standing};
use super::{Committer, Job, Ledger, Published, Sealing, State, Unit};
use crate::clock::Clock;
use crate::random;
use crate::store::trail::{self, BatchRow, HeadRow};
use crate::store::{self, Store, policies};
use crate::telemetry::metrics::Metrics;

/// What the log needs beside its store.
#[derive(Debug)]
pub struct Site {
    /// Signs checkpoints; its origin is the log's name.
    pub log_key: LogKey,
    /// Key of the head's mac.
    pub mac: Zeroizing<[u8; 32]>,
    /// Key of the pseudonyms.
    pub pseudonyms: Zeroizing<[u8; 32]>,
    /// This replica's name.
    pub node: String,
    /// Where the newest head is remembered outside the store; `None` where nothing is kept.
    pub pin: Option<PathBuf>,
    /// How many outcomes may wait.
    pub queue: usize,
    /// Where commits are counted.
    pub metrics: Arc<Metrics>,
}

/// What to do with a store that holds no log.
#[derive(Debug, Clone, Copy)]
pub(super) enum IfAbsent {
    /// `stintd init`, `stintd dev`.
    Begin,
    /// `stintd serve`: a store that vanished is not begun anew.
    Refuse,
}

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// The door.
    pub ledger: Ledger,
    /// Writes; somebody must run it.
    pub committer: Committer,
    /// Remembers; somebody must run it, if there is one.
    pub pin: Option<Pin>,
    /// The policy set that was last in force: hash and serial.
    pub policy: Option<(Digest, u64)>,
    /// The newest key sets of issuers, newest first.
    pub sets: Vec<SetEntry>,
    /// Whether this start began the log.
    pub is_new: bool,
}

/// Why the log is not served.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log has not begun, and was not to.
    #[error("the ledger `{0}` has not begun in this store")]
    Absent(String),
    /// The first entries could not be written.
    #[error("the ledger could not begin")]
    Begin(#[source] super::Error),
    /// What is stored does not hold together.
    #[error("the ledger in the store is not the one this broker wrote: {0}")]
    Diverged(String),
    /// The pin cannot be read.
    #[error("the pin `{path}` cannot be read")]
    Pin {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Checks everything, then gives the log.
pub(super) async fn open(
    store: Store,
    mut db: SqliteConnection,
    site: Site,
    clock: Arc<dyn Clock>,
    if_absent: IfAbsent,
) -> Result<Opened, OpenError> {
    let log = store.log().to_owned();
    let row = trail::head(&mut db, &log)
        .await
        .map_err(|source| store.failed(source))?;
    let pinned = pinned(&site)?;
    let (head, standing) = match row {
        Some(row) => {
            if let (Some(path), None) = (&site.pin, &pinned) {
                tracing::warn!(path = %path.display(), "there is no pin: a rolled back store would not show");
            }
            existing(&store, &site, row, pinned.as_ref()).await?
        }
        None => {
            let head = absent(&log, if_absent, pinned.as_ref())?;
            (head, Standing::default())
        }
    };
    let frozen = standing.frozen(&store).await?;
    let sets = standing.sets(&store).await?;
    let is_new = head.size() == 0;
    let policy = newest_policy(&store, &mut db).await?;
    let (ledger, mut committer, pin) = assemble(store, db, (head, policy, frozen), site, clock);
    if is_new {
        committer.begin().await.map_err(OpenError::Begin)?;
    }
    Ok(Opened {
        ledger,
        committer,
        pin,
        policy,
        sets,
        is_new,
    })
}

fn absent(log: &str, if_absent: IfAbsent, pinned: Option<&Checkpoint>) -> Result<Head, OpenError> {
    if let Some(pinned) = pinned {
        let text = format!("the pin knows {} entries, the store none", pinned.size);
        return Err(OpenError::Diverged(text));
    }
    match if_absent {
        IfAbsent::Begin => Ok(Head::empty(log, 0)),
        IfAbsent::Refuse => Err(OpenError::Absent(log.to_owned())),
    }
}

/// Mac, frontier, pin, every header to its leaf and to the root, and the last bodies byte for byte.
async fn existing(
    store: &Store,
    site: &Site,
    row: HeadRow,
    pinned: Option<&Checkpoint>,
) -> Result<(Head, Standing), OpenError> {
    let mac = row.mac.clone();
    let head = restore(store.log(), row)?;
    let ours = head.mac(&site.mac);
    if !bool::from(ours.as_bytes().as_slice().ct_eq(&mac)) {
        return Err(diverged("the head's seal is not this broker's"));
    }
    let pinned = pinned.map(|pin| (pin.size, pin.root));
    if pinned.is_some_and(|(size, _)| size > head.size()) {
        let text = format!("the head is at {} entries, the pin knows more", head.size());
        return Err(OpenError::Diverged(text));
    }
    let seen = rehash(store, head.size(), pinned.map(|(size, _)| size)).await?;
    if seen.root != *head.root() {
        return Err(diverged("the stored hashes do not give the head's root"));
    }
    if pinned.is_some_and(|(_, root)| seen.at_pin != Some(root)) {
        return Err(diverged("the log does not extend the pinned head"));
    }
    if let Some(seq) = seen.odd {
        let text = "its header does not hash to its leaf";
        return Err(OpenError::Diverged(format!("entry {seq}: {text}")));
    }
    recheck(store, head.size()).await?;
    Ok((head, seen.standing))
}

fn restore(log: &str, row: HeadRow) -> Result<Head, OpenError> {
    let digest = |bytes: &[u8]| match bytes.try_into() {
        Ok(bytes) => Ok(Digest::from_bytes(bytes)),
        Err(_) => Err(diverged("a hash of the head is not 32 bytes")),
    };
    let frontier: Result<Vec<_>, _> = row.frontier.chunks(32).map(digest).collect();
    let parts = HeadParts {
        log: log.to_owned(),
        epoch: row.epoch.unsigned_abs(),
        size: row.size.unsigned_abs(),
        last_leaf: digest(&row.last_leaf)?,
        root: digest(&row.root)?,
        frontier: frontier?,
        last_ts: row.last_ts.unsigned_abs(),
        closed: row.closed,
    };
    Head::restore(parts).map_err(|error| OpenError::Diverged(error.to_string()))
}

/// What the stored leaf hashes come to.
struct Seen {
    root: Digest,
    at_pin: Option<Digest>,
    standing: Standing,
    /// The first entry whose header does not hash to its leaf.
    odd: Option<u64>,
}

/// Builds the tree over all stored leaf hashes: the root of the whole, and of the pinned size. Each header is hashed to
/// its leaf on the way: a freeze whose header was made to say something else would be a freeze no more.
async fn rehash(store: &Store, size: u64, pin: Option<u64>) -> Result<Seen, OpenError> {
    let mut tree = Frontier::of(&[]);
    let mut at_pin = None;
    let mut standing = Standing::default();
    let mut odd = None;
    while tree.size() < size {
        let next = tree.size();
        let batches = store
            .batches(trail::signed(next), trail::signed(size), PAGE)
            .await?;
        for batch in batches {
            if batch.first_seq.unsigned_abs() != tree.size() {
                return Err(missing(tree.size()));
            }
            let headers = batch.entries().map(|(_, header)| Some(header));
            let headers = headers.chain(std::iter::repeat(None));
            for (leaf, header) in batch.leaves().zip(headers) {
                match header.filter(|header| leaf_hash(header) == leaf) {
                    Some(header) => standing.follow(header)?,
                    None => odd = odd.or(Some(tree.size())),
                }
                tree.push(leaf);
                if Some(tree.size()) == pin {
                    at_pin = Some(tree.root());
                }
            }
        }
        if tree.size() == next {
            return Err(missing(next));
        }
    }
    Ok(Seen {
        root: tree.root(),
        at_pin,
        standing,
        odd,
    })
}

/// Re-hashes the last entries byte for byte: each header to its leaf, which the root covers, each
/// body to its header. Nothing can take a body away in this version.
async fn recheck(store: &Store, size: u64) -> Result<(), OpenError> {
    let mut seq = size.saturating_sub(RECHECKED);
    while seq < size {
        let batches = store
            .batches(trail::signed(seq), trail::signed(size), PAGE)
            .await?;
        let entries = batches
            .iter()
            .flat_map(|batch| batch.entries().zip(batch.leaves()));
        let entries: Vec<_> = entries.filter(|((at, _), _)| *at >= seq).collect();
        let bodies = store
            .bodies(trail::signed(seq), trail::signed(size))
            .await?;
        let mut bodies = bodies.into_iter();
        if entries.is_empty() {
            return Err(missing(seq));
        }
        for ((at, bytes), leaf) in entries {
            let wrong = |what: &str| OpenError::Diverged(format!("entry {at}: {what}"));
            let body = bodies.next().filter(|(of, _)| of.unsigned_abs() == at);
            let (_, body) = body.ok_or_else(|| wrong("its body is missing"))?;
            if at != seq || leaf_hash(bytes) != leaf {
                return Err(wrong("its header does not hash to its leaf"));
            }
            let header = Header::parse(bytes).map_err(|error| wrong(&error.to_string()))?;
            if header.seq != at || Digest::of(&body) != header.body {
                return Err(wrong("its body does not hash to what the header says"));
            }
            seq += 1;
        }
    }
    Ok(())
}

fn missing(seq: u64) -> OpenError {
    OpenError::Diverged(format!("entry {seq} is missing"))
}

/// The set that was in force at the end, as its own entry says.
async fn newest_policy(
    store: &Store,
    db: &mut SqliteConnection,
) -> Result<Option<(Digest, u64)>, OpenError> {
    let newest = policies::newest(db, store.log())
        .await
        .map_err(|source| store.failed(source))?;
    let Some((pol, serial, seq)) = newest else {
        return Ok(None);
    };
    let batches = store.batches(seq, seq + 1, 1).await?;
    let entry = batches
        .iter()
        .flat_map(BatchRow::entries)
        .find(|(at, _)| *at == seq.unsigned_abs());
    let header = entry.and_then(|(_, bytes)| Header::parse(bytes).ok());
    let loaded = |header: &Header| matches!(&header.what, What::PolicyLoaded(loaded) if loaded.ok);
    match header.filter(loaded).and_then(|header| header.pol) {
        Some(said) if said.to_string() == pol => Ok(Some((said, serial.unsigned_abs()))),
        _ => Err(OpenError::Diverged(format!(
            "entry {seq} did not put policy {pol} in force"
        ))),
    }
}

fn pinned(site: &Site) -> Result<Option<Checkpoint>, OpenError> {
    let Some(path) = &site.pin else {
        return Ok(None);
    };
    let note = pin::read(path).map_err(|source| OpenError::Pin {
        path: path.clone(),
        source,
    })?;
    let Some(note) = note else {
        return Ok(None);
    };
    let wrong = |why: String| OpenError::Diverged(format!("the pin `{}`: {why}", path.display()));
    let (checkpoint, note) =
        Checkpoint::parse_note(&note).map_err(|error| wrong(error.to_string()))?;
    let known = [site.log_key.public().clone()];
    let signers = note
        .verify(&known)
        .map_err(|error| wrong(error.to_string()))?;
    if signers.is_empty() || checkpoint.origin != site.log_key.public().name() {
        return Err(wrong("it is not signed by this log's key".to_owned()));
    }
    Ok(Some(checkpoint))
}

fn assemble(
    store: Store,
    db: SqliteConnection,
    (head, policy, frozen): (Head, Option<(Digest, u64)>, Frozen),
    site: Site,
    clock: Arc<dyn Clock>,
) -> (Ledger, Committer, Option<Pin>) {
    let (send, queue) = mpsc::channel(site.queue);
    let checkpoint = site.log_key.sign(&head.checkpoint().text()).into();
    let (published, follow) = watch::channel(Published {
        size: head.size(),
        checkpoint,
    });
    let (state, watching) = watch::channel(State::Open);
    let (freeze, frozen) = watch::channel(frozen);
    let pin = site.pin.map(|path| Pin::new(path, follow.clone()));
    let ledger = Ledger {
        queue: send,
        capacity: site.queue,
        pseudonyms: Arc::new(Pseudonyms::new(*site.pseudonyms, store.log())),
        vkey: site.log_key.vkey().into(),
        published: follow,
        state: watching,
        frozen,
        store,
    };
    let committer = Committer {
        db,
        head,
        pol: policy.map(|(pol, _)| pol),
        node: site.node,
        sealing: Sealing {
            log_key: site.log_key,
            mac: site.mac,
        },
        clock,
        queue,
        published,
        state,
        frozen: freeze,
        waiting: VecDeque::new(),
        unmoved: 0,
        metrics: site.metrics,
    };
    (ledger, committer, pin)
}

impl Committer {
    /// Writes entry 0, and that the log's key is in use.
    async fn begin(&mut self) -> Result<(), super::Error> {
        let vkey = self.sealing.log_key.vkey();
        let genesis = Genesis {
            epoch: self.head.epoch(),
            hash: "rfc6962-sha256".to_owned(),
            nonce: Digest::from_bytes(random::bytes()),
            prior: None,
            vkey: vkey.clone(),
        };
        let key = KeyAdded {
            key: Digest::of(self.sealing.log_key.public().public_key()),
            not_after: None,
            usage: KeyUse::Log,
            vkey: Some(vkey),
        };
        let software = serde_json::json!({
            "software": env!("CARGO_PKG_VERSION"),
            "storage": { "engine": "sqlite", "synchronous": "full" },
        });
        let described = software.as_object().cloned().unwrap_or_default();
        self.commit_now(note(genesis, None, described)).await?;
        self.commit_now(note(key, None, serde_json::Map::new()))
            .await
    }

    async fn commit_now(&mut self, entry: Entry) -> Result<(), super::Error> {
        let (answer, mut waiting) = oneshot::channel();
        let unit = Unit {
            entry: Some(entry),
            pol: None,
            writes: Vec::new(),
        };
        self.commit(vec![Job { unit, answer }]).await;
        waiting
            .try_recv()
            .unwrap_or(Err(super::Error::Unwritable))
            .map(drop)
    }
}

fn diverged(why: &str) -> OpenError {
    OpenError::Diverged(why.to_owned())
}

/// Entries whose bodies are re-hashed byte for byte at every start.
const RECHECKED: u64 = 512;

/// Batches read at once.
const PAGE: i64 = 256;
