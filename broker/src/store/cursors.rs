//! `ledger_cursor`: how far somebody who follows the log has come, and who has the turn (LEDGER.md §7, §9).
//!
//! Derived rows, moved by small statements of their own on a connection of their own, never inside a commit of the
//! ledger. A turn is a lease by the brokers' clocks, and a wrong clock costs nothing but repetition: the place moves only
//! from where its mover began ([`Cursor::advance`]), so two who hold one turn send entries twice, and nobody skips one.

use super::engine::query;
use super::{Db, Error, Store};

/// One follower's place in the log, as one replica sees it.
#[derive(Debug)]
pub(crate) struct Cursor {
    store: Store,
    /// Opened when it is first needed, and again after an error.
    db: Option<Db>,
    name: String,
    owner: String,
}

/// Whose turn it is, and the seq of the entry to be handled next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Ours(u64),
    Theirs(u64),
}

impl Cursor {
    /// The place of `name`; `owner` is the replica, one name for all its lives.
    pub(crate) fn new(store: Store, name: String, owner: String) -> Cursor {
        Cursor {
            store,
            db: None,
            name,
            owner,
        }
    }

    /// Takes or keeps the turn until `until`, if it is ours or was over at `now`, in milliseconds. A place that nobody
    /// has named yet is entry 0.
    ///
    /// # Errors
    /// [`Error::Database`]; the turn may be ours.
    pub(crate) async fn take(&mut self, now: i64, until: i64) -> Result<Turn, Error> {
        let took = query(
            "INSERT INTO ledger_cursor (log, name, seq, owner, until) VALUES ($1, $2, 0, $3, $4)
             ON CONFLICT (log, name) DO UPDATE SET owner = excluded.owner, until = excluded.until
             WHERE ledger_cursor.owner = excluded.owner OR ledger_cursor.until < $5
             RETURNING seq",
        )
        .bind(self.store.log())
        .bind(&self.name)
        .bind(&self.owner)
        .bind(until)
        .bind(now);
        let db = self.db().await?;
        let took = took.fetch_optional(db).await;
        if let Some(row) = self.done(took)? {
            let seq: i64 = row.try_get(0).map_err(|source| self.store.failed(source))?;
            return Ok(Turn::Ours(seq.unsigned_abs()));
        }
        let theirs = query("SELECT seq FROM ledger_cursor WHERE log = $1 AND name = $2")
            .bind(self.store.log())
            .bind(&self.name)
            .fetch_one(self.store.readers())
            .await
            .and_then(|row| row.try_get::<i64>(0));
        Ok(Turn::Theirs(self.done(theirs)?.unsigned_abs()))
    }

    /// Moves the place from `from` to `to`, if it still is `from` and the turn is ours. `false`: it is not.
    ///
    /// # Errors
    /// [`Error::Database`]; it may have moved.
    pub(crate) async fn advance(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let moved = query(
            "UPDATE ledger_cursor SET seq = $1
             WHERE log = $2 AND name = $3 AND owner = $4 AND seq = $5",
        )
        .bind(super::trail::signed(to))
        .bind(self.store.log())
        .bind(&self.name)
        .bind(&self.owner)
        .bind(super::trail::signed(from));
        let db = self.db().await?;
        let moved = moved.execute(db).await;
        Ok(self.done(moved)? == 1)
    }

    /// Gives the turn to whoever asks next.
    ///
    /// # Errors
    /// [`Error::Database`]; it then ends by itself.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        let left = query(
            "UPDATE ledger_cursor SET owner = '', until = 0 WHERE log = $1 AND name = $2 AND owner = $3",
        )
        .bind(self.store.log())
        .bind(&self.name)
        .bind(&self.owner);
        let db = self.db().await?;
        let left = left.execute(db).await;
        self.done(left).map(drop)
    }

    async fn db(&mut self) -> Result<&mut Db, Error> {
        if self.db.is_none() {
            self.db = Some(self.store.writer().await?);
        }
        self.db
            .as_mut()
            .ok_or_else(|| self.store.failed(sqlx::Error::WorkerCrashed))
    }

    /// A connection that failed is not used again.
    fn done<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, Error> {
        done.map_err(|source| {
            self.db = None;
            self.store.unwritten(source)
        })
    }
}
