//! Evidence that was used (IDENTITY.md §2.3).

use std::collections::{HashMap, HashSet};

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// One use of one token.
#[derive(Debug, Clone)]
pub struct SpentRow {
    /// Token or proof.
    pub sort: Sort,
    /// SHA-256 over entry name and token id, in base64url.
    pub key: String,
    /// Thumbprint of the key this use proved, where the platform lets a token be used again by it.
    pub proof: Option<String>,
    /// The task it spoke for.
    pub task: String,
    /// Until when the row is kept: `exp` + leeway + 60 s, in milliseconds.
    pub until: i64,
    /// Hash of what came with it: a retry brings the same again.
    pub same: String,
    /// `gr_…`, `req_…` or `dec_…`: what this use came to.
    pub outcome: String,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A DPoP proof.
    Proof,
    /// The evidence itself.
    Token,
}

/// Who used a token first.
#[derive(Debug, Clone)]
pub struct FirstUse {
    /// The proof the first use brought, if uses may repeat.
    pub proof: Option<String>,
    /// Its task.
    pub task: String,
    /// Hash of what came with it.
    pub same: Option<String>,
    /// What it came to.
    pub outcome: Option<String>,
}

impl FirstUse {
    /// Whether `row` is the first user again: same key proved, same task named.
    #[must_use]
    pub fn is_again(&self, row: &SpentRow) -> bool {
        self.proof.is_some() && self.proof == row.proof && self.task == row.task
    }
}

impl Store {
    /// Who used this token before, if anybody: for dry runs, which spend nothing.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn first_use(&self, key: &str) -> Result<Option<FirstUse>, Error> {
        query("SELECT proof, task, same, outcome FROM spent WHERE log = $1 AND key = $2")
            .bind(self.log())
            .bind(key)
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.as_ref().map(read).transpose())
            .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<FirstUse, sqlx::Error> {
    Ok(FirstUse {
        proof: row.try_get(0)?,
        task: row.try_get(1)?,
        same: row.try_get(2)?,
        outcome: row.try_get(3)?,
    })
}

/// Spends `rows` (distinct keys); gives the keys that were new.
pub(crate) async fn spend(
    db: &mut Db,
    log: &str,
    rows: &[&SpentRow],
) -> Result<HashSet<String>, sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                &row.key,
                &row.proof,
                &row.task,
                row.until,
                &row.same,
                &row.outcome,
            )
        })
        .collect();
    let new = query(
        "INSERT INTO spent (log, key, proof, task, until, same, outcome)
         SELECT $1, value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT), value->>4, value->>5
         FROM json_each($2) WHERE true
         ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    new.iter().map(|row| row.try_get(0)).collect()
}

/// The first uses of `keys`.
pub(crate) async fn first_uses(
    db: &mut Db,
    log: &str,
    keys: &[&str],
) -> Result<HashMap<String, FirstUse>, sqlx::Error> {
    let rows = query(
        "SELECT proof, task, same, outcome, key FROM spent
         WHERE log = $1 AND key IN (SELECT value->>0 FROM json_each($2))",
    )
    .bind(log)
    .bind(super::keys(keys)?)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(4)?, read(row)?)))
        .collect()
}

/// Marks `keys` as replayed; gives those for which this was the first time.
pub(crate) async fn replayed(
    db: &mut Db,
    log: &str,
    keys: &[&str],
) -> Result<HashSet<String>, sqlx::Error> {
    let rows = query(
        "UPDATE spent SET replayed = 1
         WHERE log = $1 AND key IN (SELECT value->>0 FROM json_each($2)) AND replayed = 0
         RETURNING key",
    )
    .bind(log)
    .bind(super::keys(keys)?)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Forgets what could not pass for fresh any more.
pub(crate) async fn forget(db: &mut Db, log: &str, now: i64) -> Result<(), sqlx::Error> {
    query("DELETE FROM spent WHERE log = $1 AND until < $2")
        .bind(log)
        .bind(now)
        .execute(db)
        .await
        .map(drop)
}
