//! A database as it lies there, looked at while no broker has it: nothing is written, migrated or believed.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use super::{Error, place};

/// What there is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// `wal`, or commits are not what they should be.
    pub journal: String,
    /// The newest migration that was applied, and the newest this program has.
    pub schema: (i64, i64),
    /// Entries of the log, and the time of the last one in milliseconds; nothing if it has not begun.
    pub head: Option<(i64, i64)>,
    /// The linked engine.
    pub engine: String,
}

/// Looks at the log `log` in the database at `path`.
///
/// # Errors
/// [`place::PlaceError::Busy`] while a broker has it; else as the engine says.
pub async fn look(path: &Path, log: &str) -> Result<Look, Error> {
    let failed = |source| Error::Database {
        path: path.to_owned(),
        source,
    };
    let _lock = place::Lock::take(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true);
    let mut db = SqliteConnection::connect_with(&options)
        .await
        .map_err(failed)?;
    let seen = see(&mut db, log).await.map_err(failed);
    if let Err(source) = db.close().await {
        tracing::debug!(%source, "the look ended badly");
    }
    seen
}

async fn see(db: &mut SqliteConnection, log: &str) -> Result<Look, sqlx::Error> {
    let journal = sqlx::query("PRAGMA journal_mode")
        .fetch_one(&mut *db)
        .await?;
    let engine = sqlx::query("SELECT sqlite_version()")
        .fetch_one(&mut *db)
        .await?;
    let applied = sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *db)
        .await?;
    let head = sqlx::query("SELECT size, last_ts FROM ledger_head WHERE log = $1")
        .bind(log)
        .fetch_optional(&mut *db)
        .await?;
    let known = sqlx::migrate!("../migrations/sqlite");
    let newest = known.iter().map(|migration| migration.version).max();
    Ok(Look {
        journal: journal.try_get(0)?,
        schema: (applied.try_get(0)?, newest.unwrap_or(0)),
        head: head
            .map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)))
            .transpose()?,
        engine: engine.try_get(0)?,
    })
}
