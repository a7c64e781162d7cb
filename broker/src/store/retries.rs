//! What a retry finds: idempotency keys, and the answers that are given again.

use std::collections::HashSet;

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// One idempotency key of one caller and task, and what the ask that brought it came to.
#[derive(Debug, Clone)]
pub struct RetryRow {
    /// SHA-256 over caller, task and key, in base64url.
    pub key: String,
    /// Hash of what another ask under the same key must be as well.
    pub same: String,
    /// `gr_…`, `req_…` or `dec_…`.
    pub outcome: String,
    /// Until when the key is remembered, in milliseconds.
    pub until: i64,
}

/// An answer that may be given again: a certificate or a refusal, never a token.
#[derive(Debug, Clone)]
pub struct AnswerRow {
    /// `gr_…` or `dec_…`.
    pub id: String,
    /// JSON, as the walk reads it back.
    pub body: String,
    /// Until when it is kept, in milliseconds.
    pub until: i64,
}

impl Store {
    /// What an idempotency key came to, if it was used.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn retry(&self, key: &str) -> Result<Option<RetryRow>, Error> {
        query("SELECT key, same, outcome, until FROM retry WHERE log = $1 AND key = $2")
            .bind(self.log())
            .bind(key)
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.as_ref().map(read).transpose())
            .map_err(|source| self.failed(source))
    }

    /// The answer that `id` may be given again, if it was kept.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn answer(&self, id: &str) -> Result<Option<String>, Error> {
        query("SELECT body FROM answer WHERE log = $1 AND id = $2")
            .bind(self.log())
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<RetryRow, sqlx::Error> {
    Ok(RetryRow {
        key: row.try_get(0)?,
        same: row.try_get(1)?,
        outcome: row.try_get(2)?,
        until: row.try_get(3)?,
    })
}

/// Takes the keys of `rows` (distinct); gives those that were free. One whose ask was held is free for the same ask:
/// what is held is found by the ask itself, and once people have voted it comes to something else.
pub(crate) async fn take(
    db: &mut Db,
    log: &str,
    rows: &[&RetryRow],
) -> Result<HashSet<String>, sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| (&row.key, &row.same, &row.outcome, row.until))
        .collect();
    let taken = query(
        "INSERT INTO retry (log, key, same, outcome, until)
         SELECT $1, value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($2) WHERE true
         ON CONFLICT (log, key) DO UPDATE SET outcome = excluded.outcome, until = excluded.until
         WHERE retry.same = excluded.same AND substr(retry.outcome, 1, 4) = 'req_'
         RETURNING key",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    taken.iter().map(|row| row.try_get(0)).collect()
}

/// Keeps `rows`; the first answer of an outcome stays.
pub(crate) async fn keep(db: &mut Db, log: &str, rows: &[&AnswerRow]) -> Result<(), sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| (&row.id, &row.body, row.until))
        .collect();
    query(
        "INSERT INTO answer (log, id, body, until)
         SELECT $1, value->>0, value->>1, CAST(value->>2 AS BIGINT) FROM json_each($2) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .execute(db)
    .await
    .map(drop)
}

/// Forgets keys and answers whose time is over.
pub(crate) async fn forget(db: &mut Db, log: &str, now: i64) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM retry WHERE log = $1 AND until < $2",
        "DELETE FROM answer WHERE log = $1 AND until < $2",
    ] {
        query(statement)
            .bind(log)
            .bind(now)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
