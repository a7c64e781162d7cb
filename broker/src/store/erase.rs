//! Bodies that are deleted, and what domain rows know of the same people (LEDGER.md §12).

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// What one `erased` entry takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EraseRow {
    /// Half-open ranges of seqs, ascending; every body in them is there.
    pub ranges: Vec<[u64; 2]>,
    /// Ids of those entries, by which rows are keyed.
    pub ids: Vec<String>,
    /// Tasks they name.
    pub tasks: Vec<String>,
    /// Callers to forget, by SPIFFE ID.
    pub callers: Vec<String>,
    /// Only tasks that were over then, in milliseconds, lose their names; `None`: all of them.
    pub over: Option<u64>,
}

impl EraseRow {
    /// How many bodies.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.ranges
            .iter()
            .map(|[from, to]| to.saturating_sub(*from))
            .sum()
    }
}

/// Deletes all of it. `false`: a body was not there any more, so nothing of this may stay.
pub(crate) async fn erase(db: &mut Db, log: &str, row: &EraseRow) -> Result<bool, sqlx::Error> {
    let mut gone = 0;
    for [from, to] in &row.ranges {
        gone += query("DELETE FROM ledger_body WHERE log = $1 AND seq >= $2 AND seq < $3")
            .bind(log)
            .bind(super::trail::signed(*from))
            .bind(super::trail::signed(*to))
            .execute(&mut *db)
            .await?;
    }
    if gone != row.n() {
        return Ok(false);
    }
    let keyed = [
        (
            "DELETE FROM granted WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))",
            &row.ids,
        ),
        (
            "DELETE FROM answer WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))",
            &row.ids,
        ),
        (
            "DELETE FROM request WHERE log = $1 AND state <> 'pending'
               AND id IN (SELECT value->>0 FROM json_each($2))",
            &row.ids,
        ),
        (
            "DELETE FROM caller WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))",
            &row.callers,
        ),
    ];
    for (sql, keys) in keyed {
        if !keys.is_empty() {
            query(sql)
                .bind(log)
                .bind(super::keys(keys)?)
                .execute(&mut *db)
                .await?;
        }
    }
    if !row.tasks.is_empty() {
        forget_tasks(db, log, row).await?;
    }
    Ok(true)
}

/// The row itself stays: a task that is over must not begin again.
async fn forget_tasks(db: &mut Db, log: &str, row: &EraseRow) -> Result<(), sqlx::Error> {
    query(
        "UPDATE task SET name = '', initiator = NULL
         WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))
           AND ($3 < 0 OR deadline < $3)",
    )
    .bind(log)
    .bind(super::keys(&row.tasks)?)
    .bind(row.over.map_or(-1, super::trail::signed))
    .execute(db)
    .await
    .map(drop)
}

impl Store {
    /// Entries of `kinds`, each with the time in milliseconds before which they are meant, that have a body and are from
    /// `from` on, by the index: at most `limit`, in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn bodies_before(
        &self,
        kinds: &[(&str, u64)],
        from: u64,
        limit: i64,
    ) -> Result<Vec<u64>, Error> {
        let found = async {
            let rows = query(
                "SELECT i.seq FROM ledger_index i
                   JOIN json_each($2) k ON i.kind = k.value->>0 AND i.ts < CAST(k.value->>1 AS BIGINT)
                 WHERE i.log = $1 AND i.seq >= $3
                   AND EXISTS (SELECT 1 FROM ledger_body b WHERE b.log = i.log AND b.seq = i.seq)
                 ORDER BY i.seq LIMIT $4",
            );
            let rows = rows.bind(self.log()).bind(super::json(&kinds)?);
            let rows = rows.bind(super::trail::signed(from)).bind(limit);
            let rows = rows.fetch_all(self.readers()).await?;
            let seq = |row: &Row| Ok(row.try_get::<i64>(0)?.unsigned_abs());
            rows.iter().map(seq).collect()
        };
        let found: Result<_, sqlx::Error> = found.await;
        found.map_err(|source| self.failed(source))
    }

    /// Entries of one kind that are not older than `since`, in milliseconds, by the index.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn seqs_since(&self, kind: &str, since: u64) -> Result<Vec<u64>, Error> {
        query("SELECT seq FROM ledger_index WHERE log = $1 AND kind = $2 AND ts >= $3 ORDER BY seq")
            .bind(self.log())
            .bind(kind)
            .bind(super::trail::signed(since))
            .fetch_all(self.readers())
            .await
            .and_then(|rows| {
                let seq = |row: &Row| Ok(row.try_get::<i64>(0)?.unsigned_abs());
                rows.iter().map(seq).collect()
            })
            .map_err(|source| self.failed(source))
    }
}
