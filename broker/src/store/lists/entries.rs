//! Entries of the index as lists show them, callers by what they were last heard of, and what they use.

use std::collections::BTreeMap;

use super::MOST;
use crate::store::engine::{Row, query};
use crate::store::trail::signed;
use crate::store::{Error, Store};

/// A caller of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerLine {
    /// SPIFFE ID.
    pub id: String,
    /// `Workload`, `Agent`, `User`.
    pub kind: String,
    /// NAME of `[issuer.NAME]`.
    pub issuer: String,
    /// First seen, in milliseconds.
    pub first: i64,
}

/// When a caller was last heard of, in milliseconds, by what it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// A grant.
    pub granted: Option<i64>,
    /// A refusal.
    pub denied: Option<i64>,
    /// An ask on hold.
    pub requested: Option<i64>,
}

impl LastSeen {
    /// Whatever came last.
    #[must_use]
    pub fn any(&self) -> Option<i64> {
        [self.granted, self.denied, self.requested]
            .into_iter()
            .flatten()
            .max()
    }
}

/// What a caller used of what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The bare action.
    pub action: String,
    /// Grants of it, among the newest [`COUNTED`].
    pub grants: i64,
    /// The newest, in milliseconds.
    pub last: i64,
}

/// Grants of one caller that are looked through for what it uses.
pub const COUNTED: i64 = 10_000;

/// An entry, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLine {
    /// Its place.
    pub seq: u64,
    /// Its time, in milliseconds.
    pub ts: i64,
    /// What it is.
    pub kind: String,
    /// `gr_…`, `dec_…`, `ent_…`.
    pub id: String,
    /// `task_…`.
    pub task: Option<String>,
}

/// Which entries are wanted. Absent: any.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// About these pseudonyms; nothing for anybody.
    pub subjects: Option<Vec<String>>,
    /// Of this task.
    pub task: Option<String>,
}

impl Store {
    /// Callers by id, after `after`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list_callers(
        &self,
        (issuer, after): (Option<&str>, &str),
        limit: i64,
    ) -> Result<Vec<CallerLine>, Error> {
        let rows = query(
            "SELECT id, kind, issuer, first FROM caller
             WHERE log = $1 AND id > $2 AND issuer = coalesce($3, issuer) ORDER BY id LIMIT $4",
        )
        .bind(self.log())
        .bind(after)
        .bind(issuer)
        .bind(limit.min(MOST))
        .fetch_all(self.readers())
        .await;
        self.callers(rows)
    }

    /// Those of `ids` that are known.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn callers_of(&self, ids: &[String]) -> Result<Vec<CallerLine>, Error> {
        let rows = query(
            "SELECT id, kind, issuer, first FROM caller
             WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2)) ORDER BY id LIMIT $3",
        )
        .bind(self.log())
        .bind(self.keys(ids)?)
        .bind(MOST)
        .fetch_all(self.readers())
        .await;
        self.callers(rows)
    }

    /// When each of these pseudonyms was last heard of, in their order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn last_seen(&self, subjects: &[String]) -> Result<Vec<LastSeen>, Error> {
        let rows = query(
            "SELECT value->>0,
               (SELECT max(i.seq) FROM ledger_index i WHERE i.log = $1 AND i.subj = value->>0 AND i.kind = 'granted'),
               (SELECT max(i.seq) FROM ledger_index i WHERE i.log = $1 AND i.subj = value->>0 AND i.kind = 'denied'),
               (SELECT max(i.seq) FROM ledger_index i WHERE i.log = $1 AND i.subj = value->>0 AND i.kind = 'requested')
             FROM json_each($2)",
        )
        .bind(self.log())
        .bind(self.keys(subjects)?)
        .fetch_all(self.readers())
        .await
        .map_err(|source| self.failed(source))?;
        let mut newest = BTreeMap::new();
        for row in &rows {
            let read = || {
                let seqs: [Option<i64>; 3] = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
                Ok((row.try_get::<String>(0)?, seqs))
            };
            let (subject, seqs) = read().map_err(|source| self.failed(source))?;
            newest.insert(subject, seqs);
        }
        let seqs: Vec<i64> = newest.values().flatten().flatten().copied().collect();
        let times = self.times(&seqs).await?;
        let at = |seq: Option<i64>| seq.and_then(|seq| times.get(&seq).copied());
        let seen = |subject: &String| {
            let [granted, denied, requested] = newest.get(subject).copied().unwrap_or_default();
            LastSeen {
                granted: at(granted),
                denied: at(denied),
                requested: at(requested),
            }
        };
        Ok(subjects.iter().map(seen).collect())
    }

    /// What a caller uses, by action.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn used(&self, subject: &str) -> Result<Vec<Used>, Error> {
        let rows = query(
            "SELECT u.action, count(*), max(u.ts) FROM
               (SELECT g.action, i.ts FROM ledger_index i JOIN granted g ON g.log = i.log AND g.id = i.id
                WHERE i.log = $1 AND i.subj = $2 AND i.kind = 'granted' ORDER BY i.seq DESC LIMIT $3) u
             GROUP BY u.action ORDER BY u.action",
        )
        .bind(self.log())
        .bind(subject)
        .bind(COUNTED)
        .fetch_all(self.readers())
        .await;
        let used = |row: &Row| {
            Ok(Used {
                action: row.try_get(0)?,
                grants: row.try_get(1)?,
                last: row.try_get(2)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(used).collect())
            .map_err(|source| self.failed(source))
    }

    /// Entries before `before` that fit, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list_entries(
        &self,
        filter: &EntryFilter,
        before: u64,
        limit: i64,
    ) -> Result<Vec<EntryLine>, Error> {
        let asked = match (&filter.subjects, &filter.task) {
            (Some(subjects), _) => query(
                "SELECT seq, ts, kind, id, task_id FROM ledger_index WHERE log = $1 AND seq < $2
                   AND kind = coalesce($3, kind) AND subj IN (SELECT value->>0 FROM json_each($5))
                 ORDER BY seq DESC LIMIT $4",
            )
            .bind(self.log())
            .bind(signed(before))
            .bind(filter.kind.as_deref())
            .bind(limit.min(MOST))
            .bind(self.keys(subjects)?),
            (None, Some(task)) => query(
                "SELECT seq, ts, kind, id, task_id FROM ledger_index WHERE log = $1 AND seq < $2
                   AND kind = coalesce($3, kind) AND task_id = $5 ORDER BY seq DESC LIMIT $4",
            )
            .bind(self.log())
            .bind(signed(before))
            .bind(filter.kind.as_deref())
            .bind(limit.min(MOST))
            .bind(task),
            (None, None) => match &filter.kind {
                Some(kind) => query(
                    "SELECT seq, ts, kind, id, task_id FROM ledger_index WHERE log = $1 AND seq < $2 AND kind = $3
                     ORDER BY seq DESC LIMIT $4",
                )
                .bind(self.log())
                .bind(signed(before))
                .bind(kind)
                .bind(limit.min(MOST)),
                None => query(
                    "SELECT seq, ts, kind, id, task_id FROM ledger_index WHERE log = $1 AND seq < $2
                     ORDER BY seq DESC LIMIT $3",
                )
                .bind(self.log())
                .bind(signed(before))
                .bind(limit.min(MOST)),
            },
        };
        let rows = asked.fetch_all(self.readers()).await;
        let line = |row: &Row| {
            Ok(EntryLine {
                seq: row.try_get::<i64>(0)?.unsigned_abs(),
                ts: row.try_get(1)?,
                kind: row.try_get(2)?,
                id: row.try_get(3)?,
                task: row.try_get(4)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(line).collect())
            .map_err(|source| self.failed(source))
    }

    /// Kinds of the entries in `[from, to)`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn kinds_between(&self, from: u64, to: u64) -> Result<Vec<String>, Error> {
        let rows = query(
            "SELECT DISTINCT kind FROM ledger_index WHERE log = $1 AND seq >= $2 AND seq < $3",
        )
        .bind(self.log())
        .bind(signed(from))
        .bind(signed(to))
        .fetch_all(self.readers())
        .await;
        rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
            .map_err(|source| self.failed(source))
    }

    async fn times(&self, seqs: &[i64]) -> Result<BTreeMap<i64, i64>, Error> {
        let keys: Vec<[i64; 1]> = seqs.iter().map(|seq| [*seq]).collect();
        let keys = crate::store::json(&keys).map_err(|source| self.failed(source))?;
        let rows = query(
            "SELECT seq, ts FROM ledger_index
             WHERE log = $1 AND seq IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($2))",
        )
        .bind(self.log())
        .bind(keys)
        .fetch_all(self.readers())
        .await;
        let time = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.and_then(|rows| rows.iter().map(time).collect())
            .map_err(|source| self.failed(source))
    }

    fn callers(&self, rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<CallerLine>, Error> {
        let caller = |row: &Row| {
            Ok(CallerLine {
                id: row.try_get(0)?,
                kind: row.try_get(1)?,
                issuer: row.try_get(2)?,
                first: row.try_get(3)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(caller).collect())
            .map_err(|source| self.failed(source))
    }
}
