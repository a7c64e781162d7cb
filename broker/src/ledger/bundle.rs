//! What an auditor is handed: one zip of plain files that verify without us (LEDGER.md §11).
//!
//! Pages are read while the file is written, and proofs come from tiles, so memory does not grow with the range. The
//! file is spooled to a temporary file: a range that turns out to be damaged yields an error, never half a bundle.

mod beside;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::json;
use stint_audit::Digest;
use stint_audit::bundle::{self, BundleSink, Contents, Manifest, Promise, Proofs};
use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Ledger;
use super::cosigned::Shown;
use super::tiles::TileError;
use crate::store;
use crate::store::trail::{self, BatchRow};

use beside::Beside;

/// What is to be in a bundle: entries from `from` up to, not including, `to`.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// First entry.
    pub from: u64,
    /// One past the last; absent: the newest.
    pub to: Option<u64>,
    /// Kinds of entries whose bodies go along; absent: all.
    pub kinds: Option<BTreeSet<String>>,
    /// Sizes of checkpoints that somebody keeps.
    pub since: Vec<u64>,
    /// Identities that are disclosed by name.
    pub opened: Vec<String>,
    /// Whether the entries' own receipts go along: of a bundle of one.
    pub receipts: bool,
    /// Files that only help: trust anchors, the verifier's page.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The export could not be recorded.
    #[error("the export could not be recorded")]
    Ledger(#[from] super::Error),
    /// What was asked for is not there.
    #[error("{0}")]
    Unknown(String),
    /// The range is none.
    #[error("entries {from} to {to} are no range of a ledger of {size} entries")]
    Range {
        /// First.
        from: u64,
        /// One past the last.
        to: u64,
        /// Entries there are.
        size: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is stored does not hold together.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// The file could not be written, or what is stored is not whole.
    #[error("the bundle could not be written: {0}")]
    Write(#[from] io::Error),
}

impl Order {
    fn wants(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }

    /// How the bodies were chosen, for people.
    fn filter(&self) -> Option<serde_json::Value> {
        self.kinds.as_ref().map(|kinds| json!({ "kinds": kinds }))
    }
}

impl Ledger {
    /// The bundle of `order` under the newest checkpoint; `now` in milliseconds.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn bundle(&self, mut order: Order, now: u64) -> Result<File, ExportError> {
        self.hand_over(&mut order);
        let shown = self.witnessed(self.published().size).await;
        let size = shown.size;
        let (from, to) = (order.from, order.to.unwrap_or(size));
        if from >= to || to > size {
            return Err(ExportError::Range { from, to, size });
        }
        self.has(from, to)?;
        let beside = self
            .beside(&order, (from, to, size), &shown.checkpoint)
            .await?;
        let (headers, header_feed) = sync_channel(PAGES);
        let (bodies, body_feed) = sync_channel(PAGES);
        let kinds = order.kinds.clone();
        let job = Job {
            manifest: self.manifest(&order, (from, to, size), now),
            proofs: self.proofs(&order, (from, to, size)).await?,
            openings: self.openings(&order),
            files: order.files,
            beside,
            shown,
            vkey: self.vkey.to_string(),
        };
        let mut early = job.beside.bodies.clone();
        let late = early.split_off(&from);
        let writer = tokio::task::spawn_blocking(move || job.write(header_feed, body_feed));
        let fed = async {
            self.feed_headers(from, to, headers).await?;
            if send(&bodies, early.into_iter().collect()).await {
                self.feed_bodies((from, to), kinds.as_ref(), &bodies)
                    .await?;
                send(&bodies, late.into_iter().collect()).await;
            }
            drop(bodies);
            Ok::<_, ExportError>(())
        };
        let fed = fed.await;
        let file = writer.await.map_err(io::Error::other)?;
        fed?;
        Ok(file?)
    }

    /// Whoever pinned a key that signs no more finds the way to the one that does (LEDGER.md §12).
    fn hand_over(&self, order: &mut Order) {
        for ((seq, proof), size) in self.handed_over() {
            order.since.push(size);
            let name = format!("{}{seq}.tlog-proof", bundle::HANDOVER);
            order.files.push((name, proof.clone().into_bytes()));
        }
    }

    /// What handed keys over, each with the size that both keys signed.
    pub(super) fn handed_over(&self) -> impl Iterator<Item = (&(u64, String), u64)> {
        self.handovers.iter().filter_map(|handover| {
            let proof = handover.1.parse::<stint_audit::receipt::Proof>().ok()?;
            let signed = stint_audit::Checkpoint::parse_note(&proof.checkpoint).ok()?;
            Some((handover, signed.0.size))
        })
    }

    fn manifest(&self, order: &Order, (from, to, size): Place, now: u64) -> Manifest {
        Manifest {
            v: 1,
            log: self.origin().to_owned(),
            epoch: epoch_of(self.origin()),
            from,
            to,
            size,
            made_at: now,
            filter: order.filter(),
            promise: Some(Promise {
                kinds: order.kinds.clone(),
                who: None,
            }),
            files: Vec::new(),
        }
    }

    /// What ties the range to the checkpoint.
    async fn proofs(&self, order: &Order, (from, to, size): Place) -> Result<Proofs, ExportError> {
        let mut since = BTreeMap::new();
        for old in order.since.iter().filter(|old| (1..=size).contains(*old)) {
            match self.consistency(*old, size).await {
                Ok(proof) => drop(since.insert(*old, proof)),
                // Of a size that was cut away: whoever keeps it has the archive's proof.
                Err(TileError::Pruned { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Proofs {
            left: self.tiles.frontier(from).await?.nodes().to_vec(),
            right: self.consistency(to, size).await?,
            since,
        })
    }

    fn openings(&self, order: &Order) -> Vec<(Digest, String, Digest)> {
        let opening = |id: &String| {
            let subject = self.subject(id);
            (subject.pseudonym, id.clone(), subject.open)
        };
        order.opened.iter().map(opening).collect()
    }

    /// Reads the headers of `[from, to)` page by page; whoever writes sets the pace.
    async fn feed_headers(
        &self,
        from: u64,
        to: u64,
        pages: Pages<Vec<u8>>,
    ) -> Result<(), ExportError> {
        let mut next = from;
        while next < to {
            let batches = self
                .store
                .batches(trail::signed(next), trail::signed(to), BATCHES)
                .await?;
            let wanted = |(seq, _): &(u64, &[u8])| (next..to).contains(seq);
            let entries = batches.iter().flat_map(BatchRow::entries).filter(wanted);
            let page: Vec<_> = entries.map(|(_, header)| header.to_vec()).collect();
            if page.is_empty() {
                return Err(damaged(next).into());
            }
            next += u64::try_from(page.len()).unwrap_or(u64::MAX);
            if !send(&pages, page).await {
                break;
            }
        }
        Ok(())
    }

    /// The same for the bodies that are still there, of the kinds that are wanted.
    async fn feed_bodies(
        &self,
        (from, to): (u64, u64),
        kinds: Option<&BTreeSet<String>>,
        pages: &Pages<(u64, Vec<u8>)>,
    ) -> Result<(), ExportError> {
        if kinds.is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        let mut next = from;
        while next < to {
            let end = to.min(next + BODIES);
            let mut page = self.bodies(next, end).await?;
            if let Some(kinds) = kinds {
                let wanted = self.seqs_of(kinds, next, end).await?;
                page.retain(|(seq, _)| wanted.contains(seq));
            }
            if !send(pages, page).await {
                break;
            }
            next = end;
        }
        Ok(())
    }

    async fn bodies(&self, from: u64, to: u64) -> Result<Vec<(u64, Vec<u8>)>, ExportError> {
        let bodies = self.store.bodies(trail::signed(from), trail::signed(to));
        let bodies = bodies.await?.into_iter();
        Ok(bodies
            .map(|(seq, body)| (seq.unsigned_abs(), body))
            .collect())
    }

    /// Entries of these kinds, by their own headers: a row of an index could hide a body.
    async fn seqs_of(
        &self,
        kinds: &BTreeSet<String>,
        from: u64,
        to: u64,
    ) -> Result<BTreeSet<u64>, ExportError> {
        let words: Vec<Vec<u8>> = kinds.iter().map(|kind| spelled(kind)).collect();
        let headers = self.headers(from, to).await?;
        let is_wanted = |header: &Vec<u8>| words.iter().any(|word| contains(header, word));
        let wanted = (from..).zip(&headers).filter(|(_, it)| is_wanted(it));
        Ok(wanted.map(|(seq, _)| seq).collect())
    }
}

/// From, to, size.
type Place = (u64, u64, u64);

type Pages<T> = SyncSender<Vec<T>>;

/// How canonical JSON spells the kind of a header.
fn spelled(kind: &str) -> Vec<u8> {
    format!("\"kind\":\"{kind}\"").into_bytes()
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(bytes, word).is_some()
}

/// The origin of epoch n > 0 ends in `/n` (LEDGER.md §9).
fn epoch_of(origin: &str) -> u64 {
    let last = origin.rsplit_once('/').map(|(_, last)| last);
    last.and_then(|last| last.parse().ok()).unwrap_or(0)
}

/// Hands a page over, off the reactor. `false`: the writer gave up, and says why itself.
async fn send<T: Send + 'static>(pages: &Pages<T>, page: Vec<T>) -> bool {
    let pages = pages.clone();
    let sent = tokio::task::spawn_blocking(move || pages.send(page)).await;
    matches!(sent, Ok(Ok(())))
}

/// All that the blocking writer needs.
struct Job {
    manifest: Manifest,
    proofs: Proofs,
    openings: Vec<(Digest, String, Digest)>,
    files: Vec<(String, Vec<u8>)>,
    beside: Beside,
    shown: Shown,
    vkey: String,
}

impl Job {
    fn write(
        mut self,
        headers: Receiver<Vec<Vec<u8>>>,
        bodies: Receiver<Vec<(u64, Vec<u8>)>>,
    ) -> io::Result<File> {
        let key = self.vkey.parse().map_err(io::Error::other)?;
        self.files.append(&mut self.beside.files);
        let contents = Contents {
            manifest: self.manifest,
            checkpoint: &self.shown.checkpoint,
            proofs: self.proofs,
            receipts: &self.beside.receipts,
            openings: &self.openings,
            keys: &[key],
            files: &self.files,
        };
        let mut zip = Zip(ZipWriter::new(tempfile::tempfile()?));
        let mut headers = headers.into_iter().flatten().map(Ok);
        let mut bodies = bodies.into_iter().flatten().map(Ok);
        bundle::write(&mut zip, contents, &mut headers, &mut bodies)?;
        let mut file = zip.0.finish()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

/// The container: deflate, fixed names, one time for all.
struct Zip(ZipWriter<File>);

impl BundleSink for Zip {
    fn start(&mut self, name: &str) -> io::Result<&mut dyn Write> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .large_file(true);
        self.0.start_file(name, options).map_err(io::Error::other)?;
        Ok(&mut self.0)
    }
}

fn damaged(seq: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("entry {seq} is not in the store"),
    )
}

/// Batches read at once.
const BATCHES: i64 = 64;
/// Bodies read at once.
const BODIES: u64 = 1_024;
/// Pages that wait for the writer.
const PAGES: usize = 2;
