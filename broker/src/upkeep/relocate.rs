//! A SQLite ledger moves to a PostgreSQL server (UX.md §1.2).
//!
//! The old file is marked before a row goes over, and nobody serves a marked file: whatever is cut off where, there is
//! never a second ledger of one name. All rows go over in one transaction, and are hashed again on the other side before
//! it commits.

use stint_audit::Digest;
use thiserror::Error;

use crate::config::{Config, SecretError};
use crate::keyring::Folder;
use crate::ledger::epoch;
use crate::ledger::keys::{self, LogKeysError};
use crate::ledger::whole::{Whole, WholeError, whole};
use crate::store::copy::{self, CopyError, Progress};
use crate::store::snapshot;
use crate::store::{self, Db, Location, Server, moved};
use crate::upkeep::backup;
use crate::upkeep::hand;

/// What a move came to, or would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The log in use.
    pub log: String,
    /// Its entries.
    pub size: u64,
    /// Its root, on both sides.
    pub root: Digest,
    /// Bodies that went over.
    pub bodies: u64,
    /// Bodies that were erased before.
    pub erased: u64,
    /// Rows of all tables; 0 where nothing was copied.
    pub rows: u64,
    /// The server.
    pub to: String,
}

/// Why nothing moved.
#[derive(Debug, Error)]
pub enum MoveError {
    /// Rows did not go over.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The copy on the server is not what was copied.
    #[error("the ledger on `{0}` is not the one that was copied; nothing was kept there")]
    Differs(String),
    /// Another move was begun.
    #[error("a move to `{0}` was begun: finish it there, or `--cancel` it")]
    Elsewhere(String),
    /// The engine failed.
    #[error("the database failed")]
    Engine(#[from] sqlx::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] LogKeysError),
    /// It went before.
    #[error("the ledger moved to `{0}` already: set [store] url to that")]
    Moved(String),
    /// There is nothing to cancel.
    #[error("no move was begun")]
    NoMove,
    /// The config has a server already.
    #[error("[store] url is a server already: `--to` moves a SQLite file")]
    NoFile,
    /// A log is not whole.
    #[error("the ledger is not whole, so it is not moved: {0}")]
    NotWhole(#[from] WholeError),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A database does not open.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is something on the server.
    #[error("`{0}` is not empty: name an empty database, nothing is overwritten")]
    Taken(String),
}

/// Moves the ledger that `config` describes to `server`; `now` in milliseconds.
///
/// # Errors
/// [`MoveError`].
pub async fn relocate(
    config: &Config,
    server: &Server,
    now: i64,
    progress: Progress<'_>,
) -> Result<Move, MoveError> {
    let to = server.shown();
    let mut source = Source::open(config).await?;
    let marked = moved::read(&mut source.db).await?;
    match &marked {
        Some(mark) if mark.done => return Err(MoveError::Moved(mark.place.clone())),
        Some(mark) if mark.place != to => return Err(MoveError::Elsewhere(mark.place.clone())),
        Some(_) | None => {}
    }
    let here = Box::pin(source.whole()).await?;
    let target = Location::Server(server.clone());
    store::migrate(&target).await?;
    let mut there = Db::Postgres(Box::new(server.writer().await?));
    snapshot::reserve(&mut there).await?;
    let rows = match (copy::taken(&mut there).await?, &marked) {
        (None, _) => {
            moved::begin(&mut source.db, &to, now).await?;
            copy::copy(&mut source.db, &mut there, progress).await?
        }
        // The server committed, and this process died before it could say so here.
        (Some(_), Some(_)) => 0,
        (Some(_), None) => return Err(MoveError::Taken(to)),
    };
    let found = whole(&mut there, &source.log, Some(&source.mac), &[]).await?;
    backup::check_others(&mut there, &source.log, Some(&source.mac)).await?;
    if found != here {
        drop(there.tell("ROLLBACK").await);
        return Err(MoveError::Differs(to));
    }
    there.tell("COMMIT").await?;
    moved::done(&mut source.db, now).await?;
    there.close().await?;
    let log = source.log.clone();
    source.close().await?;
    Ok(described(log, &here, rows, to))
}

/// What [`relocate`] would do; nothing is written anywhere.
///
/// # Errors
/// [`MoveError`].
pub async fn rehearse(config: &Config, server: &Server) -> Result<Move, MoveError> {
    let mut source = Source::open(config).await?;
    if let Some(mark) = moved::read(&mut source.db).await?.filter(|mark| mark.done) {
        return Err(MoveError::Moved(mark.place));
    }
    let here = Box::pin(source.whole()).await?;
    let mut there = Db::Postgres(Box::new(server.writer().await?));
    let (schema, _) = store::schema(&mut there).await?;
    if schema > 0 && copy::taken(&mut there).await?.is_some() {
        return Err(MoveError::Taken(server.shown()));
    }
    there.close().await?;
    let log = source.log.clone();
    source.close().await?;
    Ok(described(log, &here, 0, server.shown()))
}

/// Lets the file be served again after a move that was cut off: only if the server surely holds nothing.
///
/// # Errors
/// [`MoveError::Taken`] if it holds something.
pub async fn cancel(config: &Config, server: &Server) -> Result<(), MoveError> {
    let mut source = Source::open(config).await?;
    let mark = moved::read(&mut source.db)
        .await?
        .ok_or(MoveError::NoMove)?;
    if mark.done {
        return Err(MoveError::Moved(mark.place));
    }
    if mark.place != server.shown() {
        return Err(MoveError::Elsewhere(mark.place));
    }
    let mut there = Db::Postgres(Box::new(server.writer().await?));
    let (schema, _) = store::schema(&mut there).await?;
    if schema > 0 {
        // Waits for a backend that may still be writing what this process no longer sees.
        snapshot::reserve(&mut there).await?;
        if copy::taken(&mut there).await?.is_some() {
            return Err(MoveError::Taken(server.shown()));
        }
    }
    moved::cancel(&mut source.db).await?;
    there.close().await?;
    source.close().await
}

fn described(log: String, whole: &Whole, rows: u64, to: String) -> Move {
    Move {
        log,
        size: whole.head.size(),
        root: *whole.head.root(),
        bodies: whole.bodies,
        erased: whole.erased,
        rows,
        to,
    }
}

/// The file, kept apart from everybody else.
struct Source {
    db: Db,
    log: String,
    mac: zeroize::Zeroizing<[u8; 32]>,
    _lock: Option<store::place::Lock>,
}

impl Source {
    async fn open(config: &Config) -> Result<Self, MoveError> {
        let location = config.store.location()?;
        if location.file().is_none() {
            return Err(MoveError::NoFile);
        }
        let passphrase = hand::passphrase(config)?;
        let folder = Folder {
            dir: &config.keys.dir,
            passphrase: passphrase.as_ref(),
        };
        let (lock, mut db) = store::alone(&location).await?;
        let current = epoch::current(&mut db, &config.ledger.origin).await?;
        let keys = keys::open(&folder, &config.ledger.origin, current.epoch)?;
        Ok(Self {
            db,
            log: current.log,
            mac: keys.mac,
            _lock: lock,
        })
    }

    async fn whole(&mut self) -> Result<Whole, MoveError> {
        let found = whole(&mut self.db, &self.log, Some(&self.mac), &[]).await?;
        backup::check_others(&mut self.db, &self.log, Some(&self.mac)).await?;
        Ok(found)
    }

    async fn close(self) -> Result<(), MoveError> {
        Ok(self.db.close().await?)
    }
}
