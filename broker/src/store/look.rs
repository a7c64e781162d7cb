//! A database as it is, looked at from outside: nothing is written, migrated or believed. A file is looked at while no
//! broker has it, a server at any time.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use super::engine::{Db, sqlite};
use super::{Error, Location, Server, place, query, schema};

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
    let failed = |source| Error::database(path.display(), source);
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

/// What there is to see of a server.
#[derive(Debug)]
pub(crate) struct ServerLook {
    /// Its version.
    pub(crate) version: String,
    /// `synchronous_commit`, as this role gets it.
    pub(crate) synchronous_commit: String,
    /// `synchronous_standby_names`; empty: a lost primary may take acknowledged commits with it.
    pub(crate) standbys: String,
    /// First 8 hex digits of the name of the write-ahead file, empty on a standby; another one is another history.
    pub(crate) timeline: String,
    /// Why it would be refused, if it would.
    pub(crate) refused: Option<Error>,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// What its clock shows, in milliseconds.
    pub(crate) now: i64,
    /// Whether the role may rewrite what was recorded.
    pub(crate) may_rewrite: bool,
    /// The newest migration that was applied, and the newest this program has.
    pub(crate) schema: (i64, i64),
    /// Entries of the log, and the time of the last one in milliseconds; nothing if it has not begun.
    pub(crate) head: Option<(i64, i64)>,
}

/// Looks at the log `log` on `server`.
///
/// # Errors
/// [`Error::Database`] where it cannot be reached, or does not let this role look.
pub(crate) async fn look_at_server(server: &Server, log: &str) -> Result<ServerLook, Error> {
    let location = Location::Server(server.clone());
    let failed = |source| Error::database(&location, source);
    let mut connection = server.connect().await?;
    let refused = server.check(&mut connection).await.err();
    let mut db = Db::Postgres(Box::new(connection));
    let here = query(HERE).fetch_one(&mut db).await.map_err(failed)?;
    let schema = schema(&mut db).await.map_err(failed)?;
    let (mut may_rewrite, mut head) = (false, None);
    if schema.0 > 0 {
        let rights = query(RIGHTS).fetch_one(&mut db).await.map_err(failed)?;
        may_rewrite = rights.try_get::<i64>(0).map_err(failed)? != 0;
        let row = query(
            "SELECT size, last_ts FROM ledger_head
             WHERE log = $1 OR log = $1 || '/' || CAST(epoch AS TEXT) ORDER BY epoch DESC LIMIT 1",
        )
        .bind(log);
        let row = row.fetch_optional(&mut db).await.map_err(failed)?;
        let row = row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        head = row.transpose().map_err(failed)?;
    }
    let text = |at: usize| here.try_get::<String>(at).map_err(failed);
    let (version, synchronous_commit, standbys, timeline) =
        (text(2)?, text(3)?, text(4)?, text(5)?);
    let (tls, now) = (
        here.try_get::<i64>(0).map_err(failed)?,
        here.try_get(1).map_err(failed)?,
    );
    if let Err(source) = db.close().await {
        tracing::debug!(%source, "the look ended badly");
    }
    Ok(ServerLook {
        version,
        synchronous_commit,
        standbys,
        timeline,
        refused,
        tls: tls != 0,
        now,
        may_rewrite,
        schema,
        head,
    })
}

const HERE: &str = "SELECT CAST(coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)::int AS BIGINT),
    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), split_part(current_setting('server_version'), ' ', 1),
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
    CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

const RIGHTS: &str = "SELECT CAST((has_table_privilege('ledger_batch', 'UPDATE') OR has_table_privilege('ledger_batch', 'DELETE')
    OR has_table_privilege('ledger_head', 'DELETE') OR has_schema_privilege('public', 'CREATE'))::int AS BIGINT)";

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
    let head = sqlx::query(
        "SELECT size, last_ts FROM ledger_head
             WHERE log = $1 OR log = $1 || '/' || CAST(epoch AS TEXT) ORDER BY epoch DESC LIMIT 1",
    )
    .bind(log)
    .fetch_optional(&mut *db)
    .await?;
    let known = &sqlite::MIGRATIONS;
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
