//! Asks that wait for people.

use std::collections::HashSet;

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// An ask on hold, durable. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct RequestRow {
    /// `req_…`.
    pub id: String,
    /// Digest of the ask, base64url: the same ask finds the same request.
    pub digest: String,
    /// `task_…`.
    pub task: String,
    /// SPIFFE ID.
    pub caller: String,
    /// Three digits that only the asker is shown.
    pub match_code: String,
    /// JSON: who must approve.
    pub needs: String,
    /// JSON: the canonical ask, and its reason.
    pub ask: String,
    /// When it was parked.
    pub opened: i64,
    /// When it ends undecided.
    pub expires: i64,
}

/// One quorum of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Need {
    /// The policy that asks.
    pub policy: String,
    /// The group whose members may vote.
    pub approvers: String,
    /// How many of them.
    pub quorum: u32,
}

impl RequestRow {
    /// Who must approve. Written by the walk alone, so it reads back.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        serde_json::from_str(&self.needs).unwrap_or_default()
    }
}

impl Store {
    /// The open request for an ask, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_request(&self, digest: &str) -> Result<Option<RequestRow>, Error> {
        query(
            "SELECT id, digest, task, caller, match_code, needs, ask, opened, expires
             FROM request WHERE log = $1 AND digest = $2 AND state = 'pending'",
        )
        .bind(self.log())
        .bind(digest)
        .fetch_optional(self.readers())
        .await
        .and_then(|row| row.as_ref().map(read).transpose())
        .map_err(|source| self.failed(source))
    }

    /// How many requests are open: a count over the index of those alone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pending_requests(&self) -> Result<i64, Error> {
        query("SELECT count(*) FROM request WHERE log = $1 AND state = 'pending'")
            .bind(self.log())
            .fetch_one(self.readers())
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|source| self.failed(source))
    }

    /// The request `id`, if it is still open.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pending_request(&self, id: &str) -> Result<Option<RequestRow>, Error> {
        query(
            "SELECT id, digest, task, caller, match_code, needs, ask, opened, expires
             FROM request WHERE log = $1 AND id = $2 AND state = 'pending'",
        )
        .bind(self.log())
        .bind(id)
        .fetch_optional(self.readers())
        .await
        .and_then(|row| row.as_ref().map(read).transpose())
        .map_err(|source| self.failed(source))
    }

    /// Up to 100 open requests whose time is over at `now`, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overdue_requests(&self, now: i64) -> Result<Vec<RequestRow>, Error> {
        query(
            "SELECT id, digest, task, caller, match_code, needs, ask, opened, expires
             FROM request WHERE log = $1 AND state = 'pending' AND expires <= $2
             ORDER BY expires LIMIT 100",
        )
        .bind(self.log())
        .bind(now)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<RequestRow, sqlx::Error> {
    Ok(RequestRow {
        id: row.try_get(0)?,
        digest: row.try_get(1)?,
        task: row.try_get(2)?,
        caller: row.try_get(3)?,
        match_code: row.try_get(4)?,
        needs: row.try_get(5)?,
        ask: row.try_get(6)?,
        opened: row.try_get(7)?,
        expires: row.try_get(8)?,
    })
}

/// Parks `rows`; gives the ids that were parked: another open request for the same ask wins.
pub(crate) async fn park(
    db: &mut Db,
    log: &str,
    rows: &[&RequestRow],
) -> Result<HashSet<String>, sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                &row.id,
                &row.digest,
                &row.task,
                &row.caller,
                &row.match_code,
                &row.needs,
                &row.ask,
                row.opened,
                row.expires,
            )
        })
        .collect();
    let parked = query(
        "INSERT INTO request
           (log, id, digest, task, caller, state, match_code, needs, ask, opened, expires)
         SELECT $1, value->>0, value->>1, value->>2, value->>3, 'pending', value->>4, value->>5,
                value->>6, CAST(value->>7 AS BIGINT), CAST(value->>8 AS BIGINT)
         FROM json_each($2) WHERE true ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    parked.iter().map(|row| row.try_get(0)).collect()
}

/// Ends those of `ids` that are pending; gives the ids that were.
pub(crate) async fn expire(
    db: &mut Db,
    log: &str,
    ids: &[&str],
) -> Result<HashSet<String>, sqlx::Error> {
    let rows = query(
        "UPDATE request SET state = 'expired'
         WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2)) AND state = 'pending'
         RETURNING id",
    )
    .bind(log)
    .bind(super::keys(ids)?)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Up to `limit` requests that are pending, by id.
pub(crate) async fn pending(
    db: &mut Db,
    log: &str,
    limit: usize,
) -> Result<Vec<RequestRow>, sqlx::Error> {
    let rows = query(
        "SELECT id, digest, task, caller, match_code, needs, ask, opened, expires
         FROM request WHERE log = $1 AND state = 'pending' ORDER BY id LIMIT $2",
    )
    .bind(log)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// Ends those of `ids` that are pending, for nobody can decide them any more.
pub(crate) async fn void(db: &mut Db, log: &str, ids: &[&str]) -> Result<u64, sqlx::Error> {
    query(
        "UPDATE request SET state = 'cancelled'
         WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2)) AND state = 'pending'",
    )
    .bind(log)
    .bind(super::keys(ids)?)
    .execute(db)
    .await
}
