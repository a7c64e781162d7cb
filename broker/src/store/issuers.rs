//! When issuers' key sets were last fetched: how old the set on record is after a restart.

use super::engine::{Db, query};
use super::{Error, Store};

/// One fetch of a set that is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRow {
    /// `NAME` of `[issuer.NAME]`.
    pub issuer: String,
    /// What names the set, base64url.
    pub key: String,
    /// Milliseconds.
    pub fetched: i64,
}

impl Store {
    /// The newest fetch of each issuer. Untrusted until an entry names the same set.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn fetches(&self) -> Result<Vec<FetchRow>, Error> {
        query("SELECT issuer, key, fetched FROM issuer_keys WHERE log = $1 ORDER BY issuer")
            .bind(self.log())
            .fetch_all(self.readers())
            .await
            .and_then(|rows| {
                rows.iter()
                    .map(|row| {
                        Ok(FetchRow {
                            issuer: row.try_get(0)?,
                            key: row.try_get(1)?,
                            fetched: row.try_get(2)?,
                        })
                    })
                    .collect()
            })
            .map_err(|source| self.failed(source))
    }
}

/// Remembers fetches, the last of each issuer.
pub(crate) async fn fetched(db: &mut Db, log: &str, rows: &[&FetchRow]) -> Result<(), sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| (&row.issuer, &row.key, row.fetched))
        .collect();
    query(
        "INSERT INTO issuer_keys (log, issuer, key, fetched)
         SELECT $1, value->>0, value->>1, CAST(value->>2 AS BIGINT) FROM json_each($2) WHERE true
         ON CONFLICT (log, issuer) DO UPDATE SET key = excluded.key, fetched = excluded.fetched",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .execute(db)
    .await
    .map(drop)
}
