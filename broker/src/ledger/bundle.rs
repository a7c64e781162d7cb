//! What an auditor is handed: one zip of plain files that verify without us (LEDGER.md §11).
//!
//! Pages are read while the file is written: of a range only its leaf hashes, 32 bytes an entry,
//! are held in memory. The file is spooled
//! to a temporary file: a range that turns out to be damaged yields an error, never half a bundle.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use stint_audit::Checkpoint;
use stint_audit::bundle::{self, BundleSink, Contents, Manifest, Promise, Proofs};
use stint_audit::tree::{Frontier, Growth};
use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Ledger, Published};
use crate::store;
use crate::store::trail::{self, BatchRow};

/// Entries from `from` up to, not including, `to`. Absent: all there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// First entry.
    pub from: Option<u64>,
    /// One past the last.
    pub to: Option<u64>,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The export could not be recorded.
    #[error("the export could not be recorded")]
    Ledger(#[from] super::Error),
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
    /// The file could not be written, or what is stored is not whole.
    #[error("the bundle could not be written: {0}")]
    Write(#[from] io::Error),
}

impl Ledger {
    /// The bundle of `range` under the newest checkpoint, all bodies included; `now` in milliseconds.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn bundle(&self, range: Range, now: u64) -> Result<File, ExportError> {
        let published = self.published();
        let size = published.size;
        let (from, to) = (range.from.unwrap_or(0), range.to.unwrap_or(size));
        if from >= to || to > size {
            return Err(ExportError::Range { from, to, size });
        }
        let proofs = self.proofs(from, to, size).await?;
        let (headers, header_feed) = sync_channel(PAGES);
        let (bodies, body_feed) = sync_channel(PAGES);
        let job = Job {
            from,
            to,
            now,
            proofs,
            published,
            vkey: self.vkey.to_string(),
        };
        let writer = tokio::task::spawn_blocking(move || job.write(header_feed, body_feed));
        let fed = async {
            self.feed_headers(from, to, headers).await?;
            self.feed_bodies(from, to, bodies).await
        };
        let fed = fed.await;
        let file = writer.await.map_err(io::Error::other)?;
        fed?;
        Ok(file?)
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

    /// The same for the bodies that are still there.
    async fn feed_bodies(
        &self,
        from: u64,
        to: u64,
        pages: Pages<(u64, Vec<u8>)>,
    ) -> Result<(), ExportError> {
        let mut next = from;
        while next < to {
            let end = to.min(next + BODIES);
            let bodies = self
                .store
                .bodies(trail::signed(next), trail::signed(end))
                .await?;
            let page = bodies
                .into_iter()
                .map(|(seq, body)| (seq.unsigned_abs(), body))
                .collect();
            if !send(&pages, page).await {
                break;
            }
            next = end;
        }
        Ok(())
    }

    /// What ties the range to the checkpoint, from the stored leaf hashes.
    async fn proofs(&self, from: u64, to: u64, size: u64) -> Result<Proofs, ExportError> {
        let mut before = Frontier::of(&[]);
        let mut leaves = Vec::new();
        let mut next = 0;
        while next < size {
            let batches = self
                .store
                .batches(trail::signed(next), trail::signed(size), BATCHES)
                .await?;
            let began = next;
            for hash in batches.iter().flat_map(BatchRow::leaves) {
                if next < from {
                    before.push(hash)
                } else {
                    leaves.push(hash)
                }
                next += 1;
            }
            if next == began {
                return Err(damaged(next).into());
            }
        }
        let proofs = Proofs::of(&Growth::new(&before, &leaves), from, to, &[]);
        proofs.ok_or_else(|| damaged(from).into())
    }
}

type Pages<T> = SyncSender<Vec<T>>;

/// Hands a page over, off the reactor. `false`: the writer gave up, and says why itself.
async fn send<T: Send + 'static>(pages: &Pages<T>, page: Vec<T>) -> bool {
    let pages = pages.clone();
    let sent = tokio::task::spawn_blocking(move || pages.send(page)).await;
    matches!(sent, Ok(Ok(())))
}

/// All that the blocking writer needs.
struct Job {
    from: u64,
    to: u64,
    now: u64,
    proofs: Proofs,
    published: Published,
    vkey: String,
}

impl Job {
    fn write(
        self,
        headers: Receiver<Vec<Vec<u8>>>,
        bodies: Receiver<Vec<(u64, Vec<u8>)>>,
    ) -> io::Result<File> {
        let (checkpoint, _) =
            Checkpoint::parse_note(&self.published.checkpoint).map_err(io::Error::other)?;
        let key = self.vkey.parse().map_err(io::Error::other)?;
        let contents = Contents {
            manifest: Manifest {
                v: 1,
                log: checkpoint.origin,
                epoch: 0,
                from: self.from,
                to: self.to,
                size: self.published.size,
                made_at: self.now,
                filter: None,
                promise: Some(Promise::default()),
                files: Vec::new(),
            },
            checkpoint: &self.published.checkpoint,
            proofs: self.proofs,
            receipts: &[],
            openings: &[],
            keys: &[key],
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
