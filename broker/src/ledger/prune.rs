//! Entries that go because they are in an archive (LEDGER.md §12): the archive is written and verified first, an entry says
//! where it is, and only then rows go.
//!
//! What still binds stays, with its body and what proves it: keys, policies, freezes, open requests, and the entries that
//! begin the log. Receipts, checkpoints and bundles from before verify as they did.

pub(crate) mod archive;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, json};
use stint_audit::kind::{Admin, AdminOp, Recovery};
use stint_audit::{Digest, Header, What};
use thiserror::Error;
use tokio::task::JoinError;

use super::binding::Binding;
use super::cut::{Cut, CutError, UNIT, find};
use super::tiles::TileError;
use super::{ExportError, Ledger, Order};
use crate::clock::Stopwatch;
use crate::store::prune::{self, SweepRow};
use crate::store::trail::{BatchRow, signed};
use crate::store::{self, Db, Engine, Server, Store, Write};
use crate::upkeep::hand;

/// What is to go, and where it goes.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Entries below.
    pub below: u64,
    /// A file that is not there yet.
    pub archive: &'a Path,
    /// Who answers for it, as bodies name them.
    pub actor: &'a str,
    /// Sinks that must have seen what goes.
    pub sinks: Vec<&'a str>,
    /// Files that help whoever opens the archive.
    pub files: Vec<(String, Vec<u8>)>,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The log.
    pub log: String,
    /// The entry that says so.
    pub seq: u64,
    /// Where the log begins now.
    pub below: u64,
    /// SHA-256 of the archive.
    pub archive: Digest,
    /// Entries below that stay.
    pub kept: u64,
    /// Whether the rows are gone. On a server they are not: whoever serves it may not delete them.
    pub swept: bool,
}

/// Why nothing went.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The archive was not written as a whole, does not verify, or is not where the entry says.
    #[error("the archive `{path}` {why}: nothing was pruned")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Somebody still needs what would go.
    #[error("{0}: nothing was pruned")]
    Behind(String),
    /// A log is cut at whole tiles.
    #[error("{0} is no multiple of 65536: a ledger is cut where its tiles are")]
    Between(u64),
    /// The archive could not be made.
    #[error("the archive was not made, and nothing was pruned")]
    Export(#[from] ExportError),
    /// It could not be recorded.
    #[error("it could not be recorded, and so nothing was pruned")]
    Record(#[from] super::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is stored does not hold together.
    #[error(transparent)]
    Tiles(#[from] TileError),
}

impl PruneError {
    /// Whether somebody asked for what cannot be, and nothing is wrong here.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Archive { .. } | Self::Behind(_) | Self::Between(_) => true,
            Self::Export(_) | Self::Record(_) | Self::Store(_) | Self::Tiles(_) => false,
        }
    }
}

/// Archives the entries below, and records that they go; `now` in milliseconds. On a file they go at once. Asked again for
/// the same place, it goes on where it was cut off.
///
/// # Errors
/// [`PruneError`]; after the entry was written it is the store's alone.
pub async fn prune(
    ledger: &Ledger,
    store: &Store,
    wanted: Wanted<'_>,
    now: u64,
) -> Result<Pruned, PruneError> {
    ledger.learn_cut().await?;
    if ledger.floor() < wanted.below || ledger.cut().is_none() {
        begin(ledger, store, wanted, now).await?;
    } else if ledger.floor() > wanted.below {
        let text = format!("the ledger begins with entry {} already", ledger.floor());
        return Err(PruneError::Behind(text));
    }
    let cut = ledger
        .cut()
        .ok_or_else(|| PruneError::Behind("the ledger does not say where it begins".to_owned()))?;
    settle(&cut).await?;
    let swept = store.engine() == Engine::Sqlite;
    if swept {
        for row in parts(&cut) {
            let watch = Stopwatch::start();
            let writes = vec![Write::Sweep(Box::new(row))];
            ledger.settle(writes).await?;
            tokio::time::sleep(watch.elapsed() * REST).await;
        }
        super::erase::scrub(store).await;
    }
    Ok(Pruned {
        log: ledger.origin().to_owned(),
        seq: cut.entry,
        below: cut.below,
        archive: cut.archive,
        kept: u64::try_from(cut.kept.len()).unwrap_or(u64::MAX),
        swept,
    })
}

/// Checks, archives, verifies, records.
async fn begin(
    ledger: &Ledger,
    store: &Store,
    wanted: Wanted<'_>,
    now: u64,
) -> Result<(), PruneError> {
    let below = wanted.below;
    may_go(ledger, store, &wanted).await?;
    let kept = what_stays(ledger, store, below, now).await?;
    let order = Order {
        from: ledger.floor(),
        to: Some(below),
        files: wanted.files,
        ..Order::default()
    };
    let bundle = ledger.bundle(order, now).await?;
    let sizes: Vec<_> = ledger
        .handed_over()
        .map(|(_, size)| size)
        .filter(|it| *it < below)
        .collect();
    let (path, vkeys) = (wanted.archive.to_owned(), ledger.vkeys().to_vec());
    let archived = tokio::task::spawn_blocking(move || archive::write(bundle, &path, &vkeys, now));
    let archive = unless_archived(archived.await, wanted.archive)?;
    let mut body = Map::new();
    body.insert(
        "target".to_owned(),
        json!(wanted.archive.display().to_string()),
    );
    body.insert(
        "now".to_owned(),
        json!({ "archive": archive.to_string(), "kept": kept, "sizes": sizes }),
    );
    let pruned = Admin {
        n: Some(below),
        of: None,
        op: AdminOp::Pruned,
    };
    let entry = hand::acted(ledger, pruned.into(), wanted.actor, body);
    ledger.record(entry, None, vec![Write::Pruned]).await?;
    ledger.learn_cut().await?;
    Ok(())
}

/// The archive lies where the entry says, or nothing goes. A run that was cut off may have left it under another name.
async fn settle(cut: &Cut) -> Result<(), PruneError> {
    let (path, archive) = (PathBuf::from(&cut.file), cut.archive);
    let settled = tokio::task::spawn_blocking(move || archive::settle(&path, &archive)).await;
    unless_archived(settled, Path::new(&cut.file))
}

fn unless_archived<T>(
    done: Result<io::Result<T>, JoinError>,
    path: &Path,
) -> Result<T, PruneError> {
    let done = done.map_err(io::Error::other).and_then(|done| done);
    done.map_err(|error| PruneError::Archive {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// Whether nobody needs what would go.
async fn may_go(ledger: &Ledger, store: &Store, wanted: &Wanted<'_>) -> Result<(), PruneError> {
    let below = wanted.below;
    let behind = |text: String| Err(PruneError::Behind(text));
    if below == 0 || !below.is_multiple_of(UNIT) {
        return Err(PruneError::Between(below));
    }
    let shown = ledger.witnessed(ledger.published().size).await;
    let seen = ledger.seen();
    let size = match seen.witnesses.is_empty() {
        true => shown.size,
        // Where they do not answer it is the newest head that is shown, and no quorum saw that: one that holds a size
        // from before the cut could not be led on from there any more.
        false => seen.newest.map_or(0, |newest| newest.size),
    };
    if size < below.saturating_add(LEAST) {
        let least = below.saturating_add(LEAST);
        return behind(format!(
            "{size} entries are signed and witnessed; to prune below {below} there must be {least}"
        ));
    }
    let places = prune::places(store.readers().into(), store.log()).await;
    for (name, at) in places.map_err(|source| store.failed(source))? {
        let sink = name.strip_prefix("sink/");
        let counts = sink.is_none_or(|sink| wanted.sinks.contains(&sink));
        let follows = sink.is_some() || name == "derived";
        if counts && follows && at < below {
            return behind(match sink {
                Some(sink) => format!("the sink `{sink}` has sent the entries up to {at} alone"),
                None => format!("the index is at entry {at}"),
            });
        }
    }
    let newest = store.newest_anchor().await?;
    match newest.is_some_and(|seq| seq >= below) {
        true => Ok(()),
        false => behind(format!("there is no anchor behind entry {below}")),
    }
}

/// The entries below that stay: what begins the log, what binds as of the cut, less what is over by now, and which keys were
/// retired.
async fn what_stays(
    ledger: &Ledger,
    store: &Store,
    below: u64,
    now: u64,
) -> Result<Vec<u64>, PruneError> {
    let mut stays = Binding::default();
    let mut kept = Vec::new();
    let mut look = |bytes: &[u8]| -> Result<(), PruneError> {
        let Ok(header) = Header::parse(bytes) else {
            return Ok(());
        };
        match &header.what {
            What::Genesis(_) | What::Recovery(Recovery::Begin { .. }) => kept.push(header.seq),
            // A folder of keys may be older than any entry that is left.
            What::KeyRetired(it) if it.usage.signs_credentials() => {
                kept.push(header.seq);
            }
            What::Granted(granted) if granted.exp > now => {
                return Err(PruneError::Behind(format!(
                    "entry {} is a grant that lives until {}",
                    header.seq, granted.exp
                )));
            }
            _ => {}
        }
        stays.follow(&header);
        Ok(())
    };
    for seq in ledger.cut().iter().flat_map(|cut| cut.kept.clone()) {
        ledger
            .headers(seq, seq + 1)
            .await?
            .iter()
            .try_for_each(|it| look(it))?;
    }
    let mut next = ledger.floor();
    while next < below {
        let batches = store.batches(signed(next), signed(below), PAGE).await?;
        let began = next;
        for (seq, bytes) in batches.iter().flat_map(BatchRow::entries) {
            if seq == next && seq < below {
                look(bytes)?;
                next += 1;
            }
        }
        if next == began {
            return Err(TileError::Missing(next).into());
        }
    }
    kept.extend(stays.at(now));
    kept.sort_unstable();
    kept.dedup();
    match kept.len() > MOST_KEPT {
        true => Err(PruneError::Behind(format!(
            "{} entries below {below} still bind, more than can be named: try it later",
            kept.len()
        ))),
        false => Ok(kept),
    }
}

/// What goes, part by part.
fn parts(cut: &Cut) -> impl Iterator<Item = SweepRow> + use<> {
    let (below, kept, tiles) = (cut.below, cut.kept.clone(), cut.tiles());
    (0..below.div_ceil(PART)).map(move |part| SweepRow {
        from: part * PART,
        to: below.min((part + 1) * PART),
        below,
        kept: kept.clone(),
        tiles: tiles.clone(),
    })
}

/// Deletes what was pruned from a server, as a role that may. Gives where the log begins.
///
/// # Errors
/// The server's.
pub async fn sweep(server: &Server, log: &str) -> Result<u64, store::Error> {
    let location = store::Location::Server(server.clone());
    let mut db = store::connect(&location).await?;
    let swept = sweep_all(&mut db, log).await;
    let swept = swept.map_err(|error| store::Error::database(&location, error.into_engine()));
    drop(db.close().await);
    swept
}

async fn sweep_all(db: &mut Db, log: &str) -> Result<u64, CutError> {
    let Some(cut) = find((&mut *db).into(), log, None).await? else {
        return Ok(0);
    };
    for row in parts(&cut) {
        db.begin().await?;
        prune::sweep(db, log, &row).await?;
        db.tell("COMMIT").await?;
    }
    Ok(cut.below)
}

impl crate::issue::Broker {
    /// Prunes the ledger of a running broker.
    ///
    /// # Errors
    /// [`PruneError`].
    pub async fn prune(&self, wanted: Wanted<'_>) -> Result<Pruned, PruneError> {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let pruned = prune(&self.ledger, &self.store, wanted, now).await?;
        tracing::warn!(
            seq = pruned.seq,
            below = pruned.below,
            "the ledger was pruned"
        );
        Ok(pruned)
    }
}

/// Entries that must follow those that go: a start looks at the last ones byte for byte.
const LEAST: u64 = 1_024;
/// Entries whose rows go together: whoever wants to record something waits as long.
const PART: u64 = 4_096;
/// How long it rests for each part.
const REST: u32 = 2;
/// As many as one body names.
const MOST_KEPT: usize = 4_096;
/// Batches read at once.
const PAGE: i64 = 64;
