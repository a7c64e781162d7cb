//! Bodies that are deleted, and what domain rows know of the same people (LEDGER.md §12).

use super::engine::{Db, query};

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
        // The row itself stays: a task that is over must not begin again.
        (
            "UPDATE task SET name = '', initiator = NULL
             WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))",
            &row.tasks,
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
    Ok(true)
}
