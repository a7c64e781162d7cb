//! Tasks, what was granted under them, and the callers who asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stint_policy::History;

use super::engine::{Db, Row, Sql, query};
use super::{Error, Store};

/// A task as it is opened. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// `task_…`.
    pub id: String,
    /// `<issuer>:<path>`, what policy and credentials say.
    pub name: String,
    /// The word of `policy::TaskSource`.
    pub source: &'static str,
    /// First ask.
    pub opened: i64,
    /// When it is over, if it is ever.
    pub deadline: Option<i64>,
    /// The account that started it, if the evidence says.
    pub initiator: Option<String>,
    /// Who asks in it: id, kind and issuer, for the inventory.
    pub caller: (String, &'static str, String),
}

/// A credential that was granted, without the credential.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// `gr_…`.
    pub id: String,
    /// `task_…`.
    pub task: String,
    /// SPIFFE ID.
    pub caller: String,
    /// `x509` or `jwt`.
    pub kind: &'static str,
    /// Serial or `jti`, unique in the log.
    pub unique: String,
    /// The action, in canonical form.
    pub action: String,
    /// Labels of the granted resources.
    pub labels: BTreeSet<String>,
    /// End of its life, in milliseconds.
    pub until: i64,
}

/// A task that was found, with what policy may read of its past.
#[derive(Debug, Clone)]
pub struct Found {
    /// First ask, in milliseconds.
    pub opened: i64,
    /// Deadline, in milliseconds.
    pub deadline: Option<i64>,
    /// Version of the history.
    pub outcomes: i64,
    /// The fold.
    pub history: History,
}

impl Store {
    /// The task `id` and its history at `now`, or nothing if no outcome opened it yet.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn task(&self, id: &str, now: i64) -> Result<Option<Found>, Error> {
        let row = query(Sql::Each {
            postgres: "SELECT opened, deadline, outcomes, grants, denials,
               (SELECT coalesce(json_agg(json_build_array(action, until)), '[]')::text FROM task_action a
                 WHERE a.log = t.log AND a.task = t.id),
               (SELECT coalesce(json_agg(label), '[]')::text FROM task_label l
                 WHERE l.log = t.log AND l.task = t.id)
             FROM task t WHERE log = $1 AND id = $2",
            sqlite: "SELECT opened, deadline, outcomes, grants, denials,
               (SELECT json_group_array(json_array(action, until)) FROM task_action a
                 WHERE a.log = t.log AND a.task = t.id),
               (SELECT json_group_array(label) FROM task_label l WHERE l.log = t.log AND l.task = t.id)
             FROM task t WHERE log = $1 AND id = $2",
        })
        .bind(self.log())
        .bind(id)
        .fetch_optional(self.readers())
        .await
        .map_err(|source| self.failed(source))?;
        row.map(|row| found(&row, now))
            .transpose()
            .map_err(|source| self.failed(source))
    }
}

fn found(row: &Row, now: i64) -> Result<Found, sqlx::Error> {
    let unreadable = |source: serde_json::Error| sqlx::Error::Decode(Box::new(source));
    let actions: Vec<(String, i64)> = serde_json::from_str(row.try_get(5)?).map_err(unreadable)?;
    let labels: BTreeSet<String> = serde_json::from_str(row.try_get(6)?).map_err(unreadable)?;
    let live = actions.iter().filter(|(_, until)| *until > now);
    let history = History {
        grants: row.try_get::<i64>(3)?.unsigned_abs(),
        denials: row.try_get::<i64>(4)?.unsigned_abs(),
        live: live.map(|(action, _)| action.clone()).collect(),
        actions: actions.iter().map(|(action, _)| action.clone()).collect(),
        labels,
    };
    Ok(Found {
        opened: row.try_get(0)?,
        deadline: row.try_get(1)?,
        outcomes: row.try_get(2)?,
        history,
    })
}

/// Takes the tasks of `rows` in, each with whether its outcome begins it (a refusal alone does
/// not); gives the ids of those that this batch began.
pub(crate) async fn open(
    db: &mut Db,
    log: &str,
    rows: &[(&TaskRow, bool)],
) -> Result<HashSet<String>, sqlx::Error> {
    // One row a task: an engine may refuse to change the same row twice in one statement.
    let mut distinct: BTreeMap<&str, (&TaskRow, bool)> = BTreeMap::new();
    for (row, begins) in rows {
        let known = distinct.entry(&row.id).or_insert((row, false));
        known.1 |= begins;
    }
    let values: Vec<_> = distinct
        .values()
        .map(|(row, begins)| {
            let begun = u8::from(*begins);
            (
                &row.id,
                &row.name,
                row.source,
                row.opened,
                row.deadline,
                &row.initiator,
                begun,
            )
        })
        .collect();
    let new = query(
        "INSERT INTO task (log, id, name, source, opened, deadline, initiator, begun)
         SELECT $1, value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT), value->>5,
                CAST(value->>6 AS BIGINT)
         FROM json_each($2) WHERE true
         ON CONFLICT (log, id) DO UPDATE SET begun = 1 WHERE excluded.begun = 1 AND task.begun = 0
         RETURNING id, begun",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    let begun = new
        .iter()
        .filter(|row| row.try_get::<i64>(1).unwrap_or(0) != 0);
    begun.map(|row| row.try_get(0)).collect()
}

/// Takes the callers of `rows` into the inventory; gives the ids that were new.
pub(crate) async fn meet(
    db: &mut Db,
    log: &str,
    rows: &[(&TaskRow, bool)],
) -> Result<HashSet<String>, sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|(row, _)| (&row.caller.0, row.caller.1, &row.caller.2, row.opened))
        .collect();
    let new = query(
        "INSERT INTO caller (log, id, kind, issuer, first)
         SELECT $1, value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($2) WHERE true
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    new.iter().map(|row| row.try_get(0)).collect()
}

/// How each of `ids` stands: (outcomes, grants).
pub(crate) async fn standing(
    db: &mut Db,
    log: &str,
    ids: &[&str],
) -> Result<HashMap<String, i64>, sqlx::Error> {
    let rows = query(
        "SELECT id, outcomes FROM task
         WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2))",
    )
    .bind(log)
    .bind(super::keys(ids)?)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Counts one denial for each of `ids`; an id may stand there twice.
pub(crate) async fn deny(db: &mut Db, log: &str, ids: &[&str]) -> Result<(), sqlx::Error> {
    query(
        "UPDATE task SET outcomes = outcomes + d.n, denials = denials + d.n
         FROM (SELECT value->>0 AS id, count(*) AS n FROM json_each($2) GROUP BY 1) d
         WHERE task.log = $1 AND task.id = d.id",
    )
    .bind(log)
    .bind(super::keys(ids)?)
    .execute(db)
    .await
    .map(drop)
}

/// Writes the grants (with their place in the ledger) and folds them into their tasks' history.
pub(crate) async fn grant(
    db: &mut Db,
    log: &str,
    rows: &[(&GrantRow, u64)],
) -> Result<(), sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|(row, seq)| {
            (
                &row.id,
                &row.task,
                &row.caller,
                row.kind,
                &row.unique,
                seq,
                row.until,
                &row.action,
            )
        })
        .collect();
    let values = super::json(&values)?;
    query(
        "INSERT INTO granted (log, id, task, caller, kind, unique_id, seq, until, action)
         SELECT $1, value->>0, value->>1, value->>2, value->>3, value->>4,
                CAST(value->>5 AS BIGINT), CAST(value->>6 AS BIGINT), value->>7
         FROM json_each($2)",
    )
    .bind(log)
    .bind(&values)
    .execute(&mut *db)
    .await?;
    query(
        "UPDATE task SET outcomes = outcomes + g.n, grants = grants + g.n
         FROM (SELECT value->>1 AS id, count(*) AS n FROM json_each($2) GROUP BY 1) g
         WHERE task.log = $1 AND task.id = g.id",
    )
    .bind(log)
    .bind(&values)
    .execute(&mut *db)
    .await?;
    query(
        "INSERT INTO task_action (log, task, action, until)
         SELECT $1, value->>1, value->>7, max(CAST(value->>6 AS BIGINT)) FROM json_each($2) GROUP BY 2, 3
         ON CONFLICT (log, task, action) DO UPDATE SET until =
           CASE WHEN task_action.until > excluded.until THEN task_action.until ELSE excluded.until END",
    )
    .bind(log)
    .bind(&values)
    .execute(&mut *db)
    .await?;
    let labels = |(row, _): &(&GrantRow, u64)| {
        let task = row.task.clone();
        let labels: Vec<_> = row.labels.iter().cloned().collect();
        labels.into_iter().map(move |label| (task.clone(), label))
    };
    let labels: Vec<_> = rows.iter().flat_map(labels).collect();
    if labels.is_empty() {
        return Ok(());
    }
    query(
        "INSERT INTO task_label (log, task, label)
         SELECT $1, value->>0, value->>1 FROM json_each($2) WHERE true ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(super::json(&labels)?)
    .execute(db)
    .await
    .map(drop)
}
