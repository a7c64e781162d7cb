//! Lists for people to read: requests, grants, tasks, callers. Each page is found by a key, never by an offset, and
//! holds at most [`MOST`] rows. Order and time of what was recorded come from the index, which is written a moment behind
//! the commit; nothing rests on them.

mod entries;
mod grants;

use super::engine::{Row, Sql, query};
use super::requests::{self, RequestRow};
use super::{Error, Store};

pub use entries::{COUNTED, CallerLine, EntryFilter, EntryLine, LastSeen, Used};
pub use grants::{GrantLine, Of};

/// Rows of one page, at most (SECURITY.md §4).
pub const MOST: i64 = 1_000;

/// Which requests are wanted. Absent: any.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// The word of a state.
    pub state: Option<String>,
    /// SPIFFE ID.
    pub caller: Option<String>,
    /// The action, as the ask names it: `Action::"deploy"`.
    pub action: Option<String>,
    /// `task_…`.
    pub task: Option<String>,
    /// Opened at this time or later, in milliseconds.
    pub from: Option<i64>,
    /// Opened before this time.
    pub to: Option<i64>,
}

/// The last row of the page before: its time and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Its time, in milliseconds.
    pub at: i64,
    /// Its id.
    pub id: String,
}

impl After {
    /// The key before everything, newest first.
    #[must_use]
    pub fn newest() -> After {
        After {
            at: i64::MAX,
            id: String::new(),
        }
    }
}

/// A task, as a list shows it. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLine {
    /// `task_…`.
    pub id: String,
    /// `<issuer>:<path>`.
    pub name: String,
    /// The word of `policy::TaskSource`.
    pub source: String,
    /// First ask.
    pub opened: i64,
    /// When it is over.
    pub deadline: Option<i64>,
    /// The account that started it.
    pub initiator: Option<String>,
    /// How many credentials were granted in it.
    pub grants: i64,
    /// How often it was refused something.
    pub denials: i64,
}

impl Store {
    /// Requests that fit, newest first, after `after`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list_requests(
        &self,
        filter: &RequestFilter,
        after: &After,
        limit: i64,
    ) -> Result<Vec<RequestRow>, Error> {
        let rows = query(Sql::Each {
            postgres: concat!(
                "SELECT ",
                requests::columns!(),
                " FROM request WHERE log = $1 AND state = coalesce($2, state) AND caller = coalesce($3, caller)
                   AND task = coalesce($4, task)
                   AND opened >= coalesce($5, opened) AND opened < coalesce($6, opened + 1)
                   AND (opened < $7 OR opened = $7 AND id < $8) AND ($9 = '' OR ",
                "CAST(ask AS json)->'ask'->>'action' = $9) ORDER BY opened DESC, id DESC LIMIT $10"
            ),
            sqlite: concat!(
                "SELECT ",
                requests::columns!(),
                " FROM request WHERE log = $1 AND state = coalesce($2, state) AND caller = coalesce($3, caller)
                   AND task = coalesce($4, task)
                   AND opened >= coalesce($5, opened) AND opened < coalesce($6, opened + 1)
                   AND (opened < $7 OR opened = $7 AND id < $8) AND ($9 = '' OR ",
                "ask->'ask'->>'action' = $9) ORDER BY opened DESC, id DESC LIMIT $10"
            ),
        })
        .bind(self.log())
        .bind(filter.state.as_deref())
        .bind(filter.caller.as_deref())
        .bind(filter.task.as_deref())
        .bind(filter.from)
        .bind(filter.to)
        .bind(after.at)
        .bind(&after.id)
        .bind(filter.action.as_deref().unwrap_or_default())
        .bind(limit.min(MOST))
        .fetch_all(self.readers())
        .await;
        rows.and_then(|rows| rows.iter().map(requests::read).collect())
            .map_err(|source| self.failed(source))
    }

    /// Tasks, newest first, after `after`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list_tasks(&self, after: &After, limit: i64) -> Result<Vec<TaskLine>, Error> {
        let rows = query(
            "SELECT id, name, source, opened, deadline, initiator, grants, denials FROM task
             WHERE log = $1 AND (opened < $2 OR opened = $2 AND id < $3) ORDER BY opened DESC, id DESC LIMIT $4",
        )
        .bind(self.log())
        .bind(after.at)
        .bind(&after.id)
        .bind(limit.min(MOST))
        .fetch_all(self.readers())
        .await;
        rows.and_then(|rows| rows.iter().map(task).collect())
            .map_err(|source| self.failed(source))
    }

    /// One task.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn task_line(&self, id: &str) -> Result<Option<TaskLine>, Error> {
        let row = query(
            "SELECT id, name, source, opened, deadline, initiator, grants, denials FROM task
             WHERE log = $1 AND id = $2",
        )
        .bind(self.log())
        .bind(id)
        .fetch_optional(self.readers())
        .await;
        row.and_then(|row| row.as_ref().map(task).transpose())
            .map_err(|source| self.failed(source))
    }

    /// Policy sets that were in force, the newest first: hash, serial, and the entry that put them there.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn policy_sets(&self, limit: i64) -> Result<Vec<(String, u64, u64)>, Error> {
        let rows = query(
            "SELECT pol, serial, seq FROM policy_set WHERE log = $1 ORDER BY seq DESC LIMIT $2",
        )
        .bind(self.log())
        .bind(limit.min(MOST))
        .fetch_all(self.readers())
        .await;
        let set = |row: &Row| {
            let number = |at| row.try_get::<i64>(at).map(i64::unsigned_abs);
            Ok((row.try_get(0)?, number(1)?, number(2)?))
        };
        rows.and_then(|rows| rows.iter().map(set).collect())
            .map_err(|source| self.failed(source))
    }

    /// Accounts at issuers of evidence that are this person's: issuer and account.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn accounts_of(&self, person: &str) -> Result<Vec<(String, String)>, Error> {
        let rows = query(
            "SELECT issuer, account FROM person_link WHERE log = $1 AND person = $2
             ORDER BY issuer, account",
        )
        .bind(self.log())
        .bind(person)
        .fetch_all(self.readers())
        .await;
        let link = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.and_then(|rows| rows.iter().map(link).collect())
            .map_err(|source| self.failed(source))
    }

    /// Keys as one parameter.
    fn keys(&self, keys: &[String]) -> Result<String, Error> {
        super::keys(keys).map_err(|source| self.failed(source))
    }
}

fn task(row: &Row) -> Result<TaskLine, sqlx::Error> {
    Ok(TaskLine {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        source: row.try_get(2)?,
        opened: row.try_get(3)?,
        deadline: row.try_get(4)?,
        initiator: row.try_get(5)?,
        grants: row.try_get(6)?,
        denials: row.try_get(7)?,
    })
}
