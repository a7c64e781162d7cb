//! Policy sets by hash: every entry names one, and a replay needs its files.

use super::engine::{Db, query};
use super::{Error, Store};

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

impl Store {
    /// The files of the set `pol`, if it is kept: a JSON object of path to text.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn kept_policy(&self, pol: &str) -> Result<Option<String>, Error> {
        query("SELECT files FROM policy_set WHERE log = $1 AND pol = $2")
            .bind(self.log())
            .bind(pol)
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|source| self.failed(source))
    }
}

/// Serial of a set, and the seq of the newest entry that put it in force, as its row says.
pub(crate) async fn of(
    db: &mut Db,
    log: &str,
    pol: &str,
) -> Result<Option<(i64, i64)>, sqlx::Error> {
    query("SELECT serial, seq FROM policy_set WHERE log = $1 AND pol = $2")
        .bind(log)
        .bind(pol)
        .fetch_optional(db)
        .await?
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}

/// Keeps the files of a set that takes force with the entry `seq`.
pub(crate) async fn keep(
    db: &mut Db,
    log: &str,
    set: (&PolicyRow, u64),
) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO policy_set (log, pol, serial, seq, files) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (log, pol) DO UPDATE SET seq = excluded.seq",
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
