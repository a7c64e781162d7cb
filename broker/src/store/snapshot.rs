//! A copy of a whole database in one SQLite file, as of one moment, while others go on writing.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::copy::{self, CopyError, Progress};
use super::engine::{Db, Sql, query, sqlite};
use super::{Error, Location};
use crate::durable;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Rows did not go over.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A file could not be written.
    #[error("`{path}` cannot be written")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A database did not open.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Writes the database at `from` into the new file `to`, readable by its owner alone, on disk when this returns.
///
/// # Errors
/// [`SnapshotError`]; what was written stays for whoever made the folder to clear away.
pub(crate) async fn snapshot(
    from: &Location,
    to: &Path,
    progress: Progress<'_>,
) -> Result<(), SnapshotError> {
    let file = |source| SnapshotError::File {
        path: to.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(to).map_err(file)?;
    let failed = |source| Error::database(from, source);
    match from {
        Location::File(path) => {
            let mut db = look(path).await?;
            let vacuum = sqlx::query("VACUUM INTO $1").bind(to.display().to_string());
            vacuum.execute(&mut db).await.map_err(failed)?;
            db.close().await.map_err(failed)?;
        }
        Location::Server(server) => {
            let mut here = Db::Postgres(Box::new(server.connect().await?));
            let begun = here
                .tell("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await;
            begun.map_err(failed)?;
            let mut there = Db::Sqlite(Box::new(sqlite::writer(to).await?));
            super::upgrade(&Location::File(to.to_owned()), &mut there).await?;
            there.begin().await.map_err(CopyError::Engine)?;
            copy::copy(&mut here, &mut there, progress).await?;
            // One file in the end, without a log beside it.
            let end = "COMMIT; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE";
            there.tell(end).await.map_err(CopyError::Engine)?;
            there.close().await.map_err(CopyError::Engine)?;
            here.close().await.map_err(failed)?;
        }
    }
    durable::sync(to).map_err(file)
}

/// A database file that is only looked at.
pub(crate) async fn open(path: &Path) -> Result<Db, Error> {
    Ok(Db::Sqlite(Box::new(look(path).await?)))
}

async fn look(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .busy_timeout(std::time::Duration::from_secs(5));
    let opened = SqliteConnection::connect_with(&options).await;
    opened.map_err(|source| Error::database(path.display(), source))
}

/// A server's database that nobody else changes until the transaction ends, however long that takes.
pub(crate) async fn reserve(db: &mut Db) -> Result<(), sqlx::Error> {
    db.begin().await?;
    db.tell(Sql::Each {
        postgres:
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
            LOCK TABLE ledger_head IN ACCESS EXCLUSIVE MODE",
        sqlite: "SELECT 1",
    })
    .await
}

/// Gives the space of deleted rows back, and with it the bytes they had: SQLite writes them over as it deletes
/// (`secure_delete`), and its log is cut; PostgreSQL marks the space free.
pub(crate) async fn scrub(db: &mut Db) -> Result<(), sqlx::Error> {
    query(Sql::Each {
        postgres: "VACUUM ledger_body",
        sqlite: "PRAGMA wal_checkpoint(TRUNCATE)",
    })
    .fetch_all(db)
    .await
    .map(drop)
}
