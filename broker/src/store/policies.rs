//! Policy sets by hash: every entry names one, and a replay needs its files.

use sqlx::{Row, SqliteConnection};

/// A set that takes force.
#[derive(Debug, Clone)]
pub struct PolicyRow {
    /// Its hash, base64url.
    pub pol: String,
    /// `serial` of its `policy.toml`, 0 without one.
    pub serial: u64,
    /// JSON object of path to text.
    pub files: String,
}

/// The set whose `policy_loaded` entry is the newest: its hash, serial and that entry's seq.
/// Untrusted until the entry says the same.
pub(crate) async fn newest(
    db: &mut SqliteConnection,
    log: &str,
) -> Result<Option<(String, i64, i64)>, sqlx::Error> {
    sqlx::query("SELECT pol, serial, seq FROM policy_set WHERE log = $1 ORDER BY seq DESC LIMIT 1")
        .bind(log)
        .fetch_optional(db)
        .await?
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .transpose()
}

/// Keeps the files of a set that takes force with the entry `seq`.
pub(crate) async fn keep(
    db: &mut SqliteConnection,
    log: &str,
    set: (&PolicyRow, u64),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO policy_set (log, pol, serial, seq, files) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO UPDATE SET seq = excluded.seq",
    )
    .bind(log)
    .bind(&set.0.pol)
    .bind(super::trail::signed(set.0.serial))
    .bind(super::trail::signed(set.1))
    .bind(&set.0.files)
    .execute(db)
    .await
    .map(drop)
}
