//! Grants as lists show them: by the index, newest first, or by their end, while they live.

use super::{After, MOST};
use crate::store::engine::{Row, query};
use crate::store::trail::signed;
use crate::store::{Error, Store};

/// Whose grants are wanted.
#[derive(Debug, Clone)]
pub enum Of {
    /// Everybody's.
    All,
    /// Of callers with these pseudonyms.
    Callers(Vec<String>),
    /// Of this task.
    Task(String),
}

/// A grant, as a list shows it. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantLine {
    /// `gr_…`.
    pub id: String,
    /// `task_…`.
    pub task: String,
    /// SPIFFE ID.
    pub caller: String,
    /// `x509` or `jwt`.
    pub kind: String,
    /// Serial or `jti`.
    pub unique: String,
    /// Its entry.
    pub seq: u64,
    /// End of its life.
    pub until: i64,
    /// The bare action; empty for grants of versions that did not keep it.
    pub action: String,
    /// When it was recorded, as soon as the index knows.
    pub at: Option<i64>,
}

/// Columns of a grant whose entry is `i` in the index.
macro_rules! grants {
    ($from:literal) => {
        concat!(
            "SELECT g.id, g.task, g.caller, g.kind, g.unique_id, g.seq, g.until, g.action, i.ts FROM ",
            $from
        )
    };
}

impl Store {
    /// Grants of `of` with an entry in `[from, to)`, newest first. `action`: of this alone, unless it is empty.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list_grants(
        &self,
        of: &Of,
        (from, to): (u64, u64),
        action: &str,
        limit: i64,
    ) -> Result<Vec<GrantLine>, Error> {
        let asked = match of {
            Of::All => query(grants!(
                "ledger_index i JOIN granted g ON g.log = i.log AND g.id = i.id
                 WHERE i.log = $1 AND i.kind = 'granted' AND i.seq >= $2 AND i.seq < $3
                   AND ($4 = '' OR g.action = $4) ORDER BY i.seq DESC LIMIT $5"
            )),
            Of::Callers(_) => query(grants!(
                "ledger_index i JOIN granted g ON g.log = i.log AND g.id = i.id
                 WHERE i.log = $1 AND i.kind = 'granted' AND i.seq >= $2 AND i.seq < $3
                   AND ($4 = '' OR g.action = $4)
                   AND i.subj IN (SELECT value->>0 FROM json_each($6)) ORDER BY i.seq DESC LIMIT $5"
            )),
            Of::Task(_) => query(grants!(
                "ledger_index i JOIN granted g ON g.log = i.log AND g.id = i.id
                 WHERE i.log = $1 AND i.kind = 'granted' AND i.seq >= $2 AND i.seq < $3
                   AND ($4 = '' OR g.action = $4) AND i.task_id = $6 ORDER BY i.seq DESC LIMIT $5"
            )),
        };
        let asked = asked
            .bind(self.log())
            .bind(signed(from))
            .bind(signed(to))
            .bind(action)
            .bind(limit.min(MOST));
        let asked = match of {
            Of::All => asked,
            Of::Callers(subjects) => asked.bind(self.keys(subjects)?),
            Of::Task(task) => asked.bind(task),
        };
        self.grants(asked.fetch_all(self.readers()).await)
    }

    /// Grants that live at `now`, the one that ends first in front, after the one that ends at `after.at`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn live_grants(
        &self,
        now: i64,
        after: &After,
        limit: i64,
    ) -> Result<Vec<GrantLine>, Error> {
        let rows = query(grants!(
            "granted g LEFT JOIN ledger_index i ON i.log = g.log AND i.seq = g.seq
             WHERE g.log = $1 AND g.until > $2 AND (g.until > $3 OR g.until = $3 AND g.id > $4)
             ORDER BY g.until, g.id LIMIT $5"
        ))
        .bind(self.log())
        .bind(now)
        .bind(after.at)
        .bind(&after.id)
        .bind(limit.min(MOST))
        .fetch_all(self.readers())
        .await;
        self.grants(rows)
    }

    /// One grant.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn grant_line(&self, id: &str) -> Result<Option<GrantLine>, Error> {
        let rows = query(grants!(
            "granted g LEFT JOIN ledger_index i ON i.log = g.log AND i.seq = g.seq
             WHERE g.log = $1 AND g.id = $2"
        ))
        .bind(self.log())
        .bind(id)
        .fetch_all(self.readers())
        .await;
        Ok(self.grants(rows)?.pop())
    }

    fn grants(&self, rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<GrantLine>, Error> {
        rows.and_then(|rows| rows.iter().map(grant).collect())
            .map_err(|source| self.failed(source))
    }
}

fn grant(row: &Row) -> Result<GrantLine, sqlx::Error> {
    Ok(GrantLine {
        id: row.try_get(0)?,
        task: row.try_get(1)?,
        caller: row.try_get(2)?,
        kind: row.try_get(3)?,
        unique: row.try_get(4)?,
        seq: row.try_get::<i64>(5)?.unsigned_abs(),
        until: row.try_get(6)?,
        action: row.try_get(7)?,
        at: row.try_get(8)?,
    })
}
