//! SQLite: one file, one writer, settings that survive a power cut.

use std::path::Path;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, migrate::Migrator};

use super::super::Error;

/// The schema.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// How the file is opened, by the writer and by the readers.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
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
        .pragma("cache_size", "-16384")
}

/// The one writer; every durability setting was set and read back.
pub(crate) async fn writer(path: &Path) -> Result<SqliteConnection, Error> {
    let connected = SqliteConnection::connect_with(&options(path)).await;
    let mut writer = connected.map_err(|source| Error::database(path.display(), source))?;
    read_back(path, &mut writer).await?;
    Ok(writer)
}

/// Connections that cannot write.
pub(crate) async fn readers(path: &Path) -> Result<SqlitePool, Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_millis(2_000))
        .connect_with(options(path).read_only(true).create_if_missing(false))
        .await
        .map_err(|source| Error::database(path.display(), source))
}

/// Reads back what was set: a setting that was silently ignored loses commits on power loss.
async fn read_back(path: &Path, writer: &mut SqliteConnection) -> Result<(), Error> {
    let failed = |source| Error::database(path.display(), source);
    let version: String = sqlx::query("SELECT sqlite_version()")
        .fetch_one(&mut *writer)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    if number(&version) < OLDEST {
        return Err(Error::TooOld {
            engine: "SQLite",
            found: version,
            wanted: "3.51.3, for older ones can corrupt a WAL database",
        });
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
            return Err(Error::Setting {
                place: path.display().to_string(),
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

/// What the record says of the file. The settings are the same on each: [`SETTINGS`].
pub(crate) const STORAGE: &str =
    "SELECT json_object('engine', 'sqlite', 'synchronous', 'full', 'version', sqlite_version())";

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
