//! `ledger_note`: checkpoints as they were published, with what witnesses put beneath them (LEDGER.md §7, §9, §10).
//! Derived rows, written one by one on a connection of their own, never inside a commit of the ledger.

use super::engine::{Row, query};
use super::trail::signed;
use super::{Db, Error, Store};

/// A published checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteRow {
    /// Entries.
    pub size: u64,
    /// The note that the log signed.
    pub note: String,
    /// Lines of witnesses, LF after each.
    pub cosigs: String,
}

impl Store {
    /// The newest checkpoints, newest first, `count` at most.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn notes(&self, count: i64) -> Result<Vec<NoteRow>, Error> {
        query(
            "SELECT size, note, cosigs FROM ledger_note WHERE log = $1 ORDER BY size DESC LIMIT $2",
        )
        .bind(self.log())
        .bind(count)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(row).collect())
        .map_err(|source| self.failed(source))
    }
}

impl Store {
    /// Entries in the store now, whoever wrote them.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn stored_size(&self) -> Result<u64, Error> {
        query("SELECT size FROM ledger_head WHERE log = $1")
            .bind(self.log())
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.map(|row| row.try_get::<i64>(0)).transpose())
            .map(|size| size.unwrap_or(0).unsigned_abs())
            .map_err(|source| self.failed(source))
    }
}

fn row(row: &Row) -> Result<NoteRow, sqlx::Error> {
    Ok(NoteRow {
        size: row.try_get::<i64>(0)?.unsigned_abs(),
        note: row.try_get(1)?,
        cosigs: row.try_get(2)?,
    })
}

/// Writes them.
#[derive(Debug)]
pub(crate) struct Notes {
    store: Store,
    /// Opened when it is first needed, and again after an error.
    db: Option<Db>,
    /// Since old ones were last forgotten.
    written: u32,
}

impl Notes {
    pub(crate) const fn new(store: Store) -> Self {
        Self {
            store,
            db: None,
            written: 0,
        }
    }

    /// Keeps a checkpoint, in place of the one of its size.
    ///
    /// # Errors
    /// [`Error::Database`]; it may have been kept.
    pub(crate) async fn put(&mut self, row: &NoteRow) -> Result<(), Error> {
        let kept = query(
            "INSERT INTO ledger_note (log, size, note, cosigs) VALUES ($1, $2, $3, $4)
             ON CONFLICT (log, size) DO UPDATE SET note = excluded.note, cosigs = excluded.cosigs",
        )
        .bind(self.store.log())
        .bind(signed(row.size))
        .bind(&row.note)
        .bind(&row.cosigs);
        self.execute(kept).await?;
        self.written += 1;
        if self.written >= FORGET_EVERY {
            self.written = 0;
            self.forget().await?;
        }
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), Error> {
        let old = query(
            "DELETE FROM ledger_note WHERE log = $1 AND size < (SELECT min(size) FROM (
               SELECT size FROM ledger_note WHERE log = $1 ORDER BY size DESC LIMIT $2) AS newest)",
        )
        .bind(self.store.log())
        .bind(KEPT);
        self.execute(old).await
    }

    async fn execute(&mut self, query: super::engine::Query) -> Result<(), Error> {
        if self.db.is_none() {
            self.db = Some(self.store.writer().await?);
        }
        let Some(db) = &mut self.db else {
            return Err(self.store.failed(sqlx::Error::WorkerCrashed));
        };
        let done = query.execute(db).await;
        done.map(drop).map_err(|source| {
            // A connection that failed is not used again.
            self.db = None;
            self.store.unwritten(source)
        })
    }
}

/// Any of them can be made again from the entries but for its cosignatures, which the newest have too.
const KEPT: i64 = 1_024;
/// Checkpoints written between two times that old ones are forgotten.
const FORGET_EVERY: u32 = 256;
