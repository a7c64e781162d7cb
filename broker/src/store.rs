//! The database: one file, its readers, and the rows that outcomes leave behind.
//!
//! Reads happen here, at any time, on read-only connections. Writes are [`Write`] values: plain
//! rows that the walk hands to the ledger, which alone applies them, in the transaction of their
//! entry. Nothing in here begins or commits a transaction.

pub mod issuers;
pub mod look;
pub mod place;
pub mod policies;
pub mod requests;
pub mod retries;
pub mod spent;
pub mod tasks;
pub mod trail;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Row};
use thiserror::Error;

pub use issuers::FetchRow;
use place::{Lock, PlaceError};
pub use policies::PolicyRow;
pub use requests::RequestRow;
pub use retries::{AnswerRow, RetryRow};
pub use spent::{Sort, SpentRow};
pub use tasks::{GrantRow, TaskRow};

/// One change that goes with one entry. The ledger applies all writes of a batch as set
/// statements: guards first, effects after the chain was extended.
#[derive(Debug, Clone)]
pub enum Write {
    /// Effect: the task was refused something.
    Deny(String),
    /// Effect: an issuer's key set, which is on record, was fetched.
    Fetched(FetchRow),
    /// Effect: a credential was granted under the task.
    Grant(GrantRow),
    /// Guard: the task's history is still the one that was judged (`outcomes` of its row).
    HistoryIs {
        /// The task's id, `task_…`.
        task: String,
        /// The version the decision read.
        outcomes: i64,
    },
    /// Effect: an answer that may be given again.
    Keep(AnswerRow),
    /// Guard: neither this issuer nor everything is frozen.
    NotFrozen(String),
    /// Upsert: the task exists from now on; the entry says `opens` if it did not before.
    OpenTask(TaskRow),
    /// Guard: nobody parked the same ask meanwhile.
    Park(RequestRow),
    /// Effect: the files of a policy set, by hash.
    PolicySet(PolicyRow),
    /// Guard: the first replay of this evidence; later ones are only counted.
    Replayed(String),
    /// Guard: the request was pending and is not any more.
    RequestExpired(String),
    /// Guard: the idempotency key was not used before.
    Retry(RetryRow),
    /// Guard: the evidence was not used before, or may be used again by its prover.
    Spend(SpentRow),
}

/// Opens, reads and keeps apart from everybody else the one database of this broker.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    log: String,
    readers: SqlitePool,
    /// Nobody else opens the file while this or a clone of it lives.
    _lock: Arc<Lock>,
}

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The engine or the file system answered with an error.
    #[error("the database `{path}` failed")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        source: sqlx::Error,
    },
    /// A migration did not apply.
    #[error("the schema of `{path}` could not be brought up to date")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// A setting that durability rests on reads back otherwise than it was set.
    #[error("`{path}`: pragma `{name}` reads `{found}`, it must be `{wanted}`")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The pragma.
        name: &'static str,
        /// What must be.
        wanted: &'static str,
        /// What is.
        found: String,
    },
    /// The file does not lie where a ledger may, or is another broker's.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The linked SQLite can corrupt a WAL database (3.7.0 to 3.51.2).
    #[error(
        "SQLite {0} is linked, at least 3.51.3 is needed: older ones can corrupt a WAL database"
    )]
    TooOld(String),
}

impl Store {
    /// Opens `path` (creating it if it is absent), migrates it, and gives the store with its one
    /// writer connection, on which every durability setting was set and read back (LEDGER.md §7).
    ///
    /// # Errors
    /// [`Error`] names the file and the setting or statement that failed.
    pub async fn open(path: &Path, log: &str) -> Result<(Self, SqliteConnection), Error> {
        let failed = |source| Error::Database {
            path: path.to_owned(),
            source,
        };
        let lock = Arc::new(Lock::take(path)?);
        place::make(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            // The committer checkpoints between commits (`Ledger`), never inside one.
            .pragma("wal_autocheckpoint", "0")
            .pragma("secure_delete", "ON")
            .pragma("mmap_size", "0")
            .pragma("cache_size", "-16384");
        let mut writer = SqliteConnection::connect_with(&options)
            .await
            .map_err(failed)?;
        read_back(path, &mut writer).await?;
        sqlx::migrate!("../migrations/sqlite")
            .run(&mut writer)
            .await
            .map_err(|source| Error::Migrate {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_millis(2_000))
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(failed)?;
        let store = Self {
            path: path.to_owned(),
            log: log.to_owned(),
            readers,
            _lock: lock,
        };
        Ok((store, writer))
    }

    /// The log whose rows these are.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The connections for reading.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names the file in an engine's error.
    pub(crate) fn failed(&self, source: sqlx::Error) -> Error {
        Error::Database {
            path: self.path.clone(),
            source,
        }
    }
}

/// Rows as one JSON text: the parameter of a set statement.
pub(crate) fn json<T: serde::Serialize>(rows: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|source| sqlx::Error::Encode(Box::new(source)))
}

/// Reads back what was set: a setting that was silently ignored loses commits on power loss.
async fn read_back(path: &Path, writer: &mut SqliteConnection) -> Result<(), Error> {
    let failed = |source| Error::Database {
        path: path.to_owned(),
        source,
    };
    let version: String = sqlx::query("SELECT sqlite_version()")
        .fetch_one(&mut *writer)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    if number(&version) < OLDEST {
        return Err(Error::TooOld(version));
    }
    for (name, statement, wanted) in SETTINGS {
        let row = sqlx::query(*statement)
            .fetch_one(&mut *writer)
            .await
            .map_err(failed)?;
        let found = row
            .try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))
            .map_err(failed)?;
        if found != *wanted {
            let path = path.to_owned();
            return Err(Error::Setting {
                path,
                name,
                wanted,
                found,
            });
        }
    }
    Ok(())
}

/// `3.51.3` as 3051003, the form of `sqlite3_libversion_number`; unreadable parts count as 0.
pub(crate) fn number(version: &str) -> u64 {
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    next() * 1_000_000 + next() * 1_000 + next()
}

/// WAL-reset corruption is fixed from 3.51.3 on (SECURITY.md §3).
pub(crate) const OLDEST: u64 = 3_051_003;

/// Reading connections: more than cores only wait for each other.
const READERS: u32 = 4;

const SETTINGS: &[(&str, &str, &str)] = &[
    ("journal_mode", "PRAGMA journal_mode", "wal"),
    ("synchronous", "PRAGMA synchronous", "2"),
    ("fullfsync", "PRAGMA fullfsync", "1"),
    ("checkpoint_fullfsync", "PRAGMA checkpoint_fullfsync", "1"),
    ("wal_autocheckpoint", "PRAGMA wal_autocheckpoint", "0"),
    ("secure_delete", "PRAGMA secure_delete", "1"),
    ("mmap_size", "PRAGMA mmap_size", "0"),
];

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn reads_versions() {
        assert_eq!(number("3.51.3"), 3_051_003);
        assert_eq!(number("3.51.2"), 3_051_002);
        assert_eq!(number("x"), 0);
    }
}
