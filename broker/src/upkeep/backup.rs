//! A consistent copy of the database with the signed head it holds, and what it takes to trust one (LEDGER.md §12).
//!
//! A backup is a folder: `stint.db`, whichever engine the ledger lives in; `checkpoint`, a signed note over what the copy
//! holds; and `backup.json`, written last, so that a folder with it is a whole one. Keys and config are not in it: whoever
//! had both could sign what never happened.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use stint_audit::{Checkpoint, Digest};
use thiserror::Error;

use crate::durable;
use crate::issue::Broker;
use crate::ledger::whole::{Whole, WholeError, whole};
use crate::ledger::{self, Ledger};
use crate::store::copy::Progress;
use crate::store::snapshot::{self, SnapshotError};
use crate::store::{self, Db, Location, pages};
use crate::upkeep::hand::{Hand, HandError};

/// `backup.json`. Claims; what counts is checked again when it is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub v: u32,
    /// The log in use.
    pub log: String,
    /// Entries of it in the copy.
    pub size: u64,
    /// Its root there.
    pub root: Digest,
    /// When the copy was made, in milliseconds.
    pub made_at: u64,
    /// Which software made it.
    pub software: String,
    /// Which engine it is a copy of.
    pub engine: String,
    /// SHA-256 of `stint.db`, for the rows that no entry speaks of.
    pub database: Digest,
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The copy does not hold what the log published.
    #[error(
        "the copy does not hold the head that was published: the ledger in the store is not the one that was signed"
    )]
    Diverged,
    /// The folder holds something.
    #[error("`{0}` is not empty: nothing was written; name a new folder")]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("`{path}` cannot be written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The copy was written, and is not whole.
    #[error("what was copied is not whole, so it is no backup: {0}")]
    NotWhole(#[from] WholeError),
    /// The folder must be named from the root.
    #[error("`{0}` must be an absolute path: the broker has a working folder of its own")]
    Relative(PathBuf),
    /// It could not be recorded.
    #[error("the backup could not be recorded, and so was not made")]
    Record(#[from] ledger::Error),
    /// The copy was not written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The files of a backup.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) database: PathBuf,
    pub(crate) checkpoint: PathBuf,
    pub(crate) manifest: PathBuf,
}

impl Files {
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            database: dir.join("stint.db"),
            checkpoint: dir.join("checkpoint"),
            manifest: dir.join("backup.json"),
        }
    }
}

impl Broker {
    /// Copies the database of this running broker into the new folder `dir`. The backup is an entry, which is in it.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup(&self, dir: &Path) -> Result<Manifest, BackupError> {
        if !dir.is_absolute() {
            return Err(BackupError::Relative(dir.to_owned()));
        }
        refuse_taken(dir)?;
        let published = record(&self.ledger, dir).await?;
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let what = What {
            location: self.store.location(),
            log: self.ledger.origin(),
            mac: None,
            now,
        };
        Box::pin(what.take(dir, Note::Of(published), &mut |_, _| {})).await
    }
}

/// Records that everything the ledger holds is handed out, and gives a note that covers the entry.
pub(crate) async fn record(ledger: &Ledger, dir: &Path) -> Result<String, ledger::Error> {
    let exported = stint_audit::kind::Admin {
        n: None,
        of: None,
        op: stint_audit::kind::AdminOp::Exported,
    };
    let mut body = serde_json::Map::new();
    body.insert(
        "target".to_owned(),
        serde_json::json!(format!("backup {}", dir.display())),
    );
    let entry = ledger::note(exported, None, body);
    ledger.record(entry, None, Vec::new()).await?;
    Ok(ledger.published().checkpoint.to_string())
}

/// The signed note that goes with a copy.
pub(crate) enum Note {
    /// One that was published before the copy was made: the copy holds its entries, perhaps more.
    Of(String),
}

/// What is to be copied.
pub(crate) struct What<'a> {
    pub(crate) location: &'a Location,
    pub(crate) log: &'a str,
    pub(crate) mac: Option<&'a [u8; 32]>,
    pub(crate) now: u64,
}

impl What<'_> {
    /// Copies, hashes the copy again, and only then says that it is one.
    pub(crate) async fn take(
        &self,
        dir: &Path,
        Note::Of(note): Note,
        progress: Progress<'_>,
    ) -> Result<Manifest, BackupError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BackupError::File { path, source }
        };
        refuse_taken(dir)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(failed(dir))?;
        let files = Files::of(dir);
        snapshot::snapshot(self.location, &files.database, progress).await?;
        let found = self.check(&files, &note).await?;
        let database = hash(&files.database).map_err(failed(&files.database))?;
        let manifest = Manifest {
            v: 1,
            log: self.log.to_owned(),
            size: found.head.size(),
            root: *found.head.root(),
            made_at: self.now,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            engine: self.location.engine().word().to_owned(),
            database,
        };
        durable::create(&files.checkpoint, 0o600, note.as_bytes())
            .map_err(failed(&files.checkpoint))?;
        let json = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        durable::create(&files.manifest, 0o600, &json).map_err(failed(&files.manifest))?;
        if let Some(above) = dir.parent() {
            File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(failed(above))?;
        }
        Ok(manifest)
    }

    /// Every log of the copy, hashed again; the one in use against the note.
    async fn check(&self, files: &Files, note: &str) -> Result<Whole, BackupError> {
        let (noted, _) = Checkpoint::parse_note(note).map_err(|_note| BackupError::Diverged)?;
        let mut copy = snapshot::open(&files.database).await?;
        let found = whole(&mut copy, self.log, self.mac, &[noted.size]).await?;
        check_others(&mut copy, self.log, self.mac).await?;
        let closing = copy.close().await;
        closing.map_err(|source| store::Error::database(files.database.display(), source))?;
        match found.roots.get(&noted.size) == Some(&noted.root) && noted.origin == self.log {
            true => Ok(found),
            false => Err(BackupError::Diverged),
        }
    }
}

/// Hashes the logs of earlier epochs again.
pub(crate) async fn check_others(
    db: &mut Db,
    log: &str,
    mac: Option<&[u8; 32]>,
) -> Result<(), WholeError> {
    for other in pages::logs(db).await? {
        if other.name != log {
            whole(db, &other.name, mac, &[]).await?;
        }
    }
    Ok(())
}

fn refuse_taken(dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) || dir.is_file() {
        true => Err(BackupError::Exists(dir.to_owned())),
        false => Ok(()),
    }
}

/// SHA-256 of a file, read once.
pub(crate) fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        context.update(buffer.get(..n).unwrap_or_default());
    }
    let hash = context.finish();
    <[u8; 32]>::try_from(hash.as_ref())
        .map(Digest::from_bytes)
        .map_err(io::Error::other)
}

/// The same while no broker runs: the ledger is opened as it would be served, and the copy's head is held against its seal.
///
/// # Errors
/// [`OfflineError`].
pub async fn offline(
    config: &crate::config::Config,
    clock: std::sync::Arc<dyn crate::clock::Clock>,
    dir: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, OfflineError> {
    refuse_taken(dir)?;
    let now = u64::try_from(clock.now().as_millis()).unwrap_or(0);
    let hand = Box::pin(Hand::open(config, clock)).await?;
    let recorded = record(&hand.ledger, dir).await;
    let log = hand.ledger.origin().to_owned();
    let location = hand.store.location().clone();
    let made = match recorded {
        Ok(note) => {
            let what = What {
                location: &location,
                log: &log,
                mac: None,
                now,
            };
            Box::pin(what.take(dir, Note::Of(note), progress)).await
        }
        Err(error) => Err(error.into()),
    };
    hand.close().await;
    Ok(made?)
}

/// Why there is no backup of a ledger that nobody serves.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// As of a running one.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The ledger does not open.
    #[error(transparent)]
    Hand(#[from] HandError),
}

impl Broker {
    /// All of one epoch as a bundle, under the note that was kept of it. The export is an entry of the present log.
    ///
    /// # Errors
    /// [`ledger::ExportError`]; an export that cannot be recorded does not happen.
    pub async fn export_epoch(&self, of: &Ledger, uid: u32) -> Result<File, ledger::ExportError> {
        let exported = stint_audit::kind::Admin {
            n: None,
            of: None,
            op: stint_audit::kind::AdminOp::Exported,
        };
        let mut body = serde_json::Map::new();
        body.insert("target".to_owned(), serde_json::json!(of.origin()));
        let actor = format!("local:{uid}");
        let entry = crate::upkeep::hand::acted(&self.ledger, exported.into(), &actor, body);
        self.ledger.record(entry, None, Vec::new()).await?;
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let order = ledger::Order {
            from: of.floor(),
            ..ledger::Order::default()
        };
        of.bundle(order, now).await
    }
}
