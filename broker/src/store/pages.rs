//! The chain read through one connection, page by page: for whoever checks a whole database, which need not be the one
//! that is served.

use super::engine::{Db, query};
use super::trail::BatchRow;
use super::{Error, Store};

/// A log that has begun in this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// Its origin, with `/n` for epoch n > 0.
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) size: u64,
    pub(crate) root: Vec<u8>,
    pub(crate) closed: bool,
}

impl Store {
    /// Size and text of the newest note of a log that has ended; nothing, if it has not, or there is none.
    pub(crate) async fn ended(&self, log: &str) -> Result<Option<(i64, String)>, Error> {
        let found = query(
            "SELECT n.size, n.note FROM ledger_head h JOIN ledger_note n ON n.log = h.log
             WHERE h.log = $1 AND h.closed = 1 ORDER BY n.size DESC LIMIT 1",
        )
        .bind(log)
        .fetch_optional(self.readers())
        .await;
        found
            .and_then(|row| {
                row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                    .transpose()
            })
            .map_err(|source| self.failed(source))
    }
}

/// All logs, by epoch.
pub(crate) async fn logs(db: &mut Db) -> Result<Vec<Log>, sqlx::Error> {
    let rows = query("SELECT log, epoch, size, root, closed FROM ledger_head ORDER BY epoch, log")
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Log {
                name: row.try_get(0)?,
                epoch: row.try_get::<i64>(1)?.unsigned_abs(),
                size: row.try_get::<i64>(2)?.unsigned_abs(),
                root: row.try_get(3)?,
                closed: row.try_get::<i64>(4)? != 0,
            })
        })
        .collect()
}

/// Up to `limit` batches from the one that begins at `from` on.
pub(crate) async fn batches(
    db: &mut Db,
    log: &str,
    from: i64,
    limit: i64,
) -> Result<Vec<BatchRow>, sqlx::Error> {
    let rows = query(
        "SELECT first_seq, hashes, headers, root FROM ledger_batch
         WHERE log = $1 AND first_seq >= $2 ORDER BY first_seq LIMIT $3",
    )
    .bind(log)
    .bind(from)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(BatchRow {
                first_seq: row.try_get(0)?,
                hashes: row.try_get(1)?,
                headers: row.try_get(2)?,
                root: row.try_get(3)?,
            })
        })
        .collect()
}

/// The bodies of `[from, to)` that are there, in order.
pub(crate) async fn bodies(
    db: &mut Db,
    log: &str,
    from: i64,
    to: i64,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let rows = query(
        "SELECT seq, body FROM ledger_body WHERE log = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
    )
    .bind(log)
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get::<i64>(0)?.unsigned_abs(), row.try_get(1)?)))
        .collect()
}

/// The newest kept note of a log.
pub(crate) async fn note(db: &mut Db, log: &str) -> Result<Option<String>, sqlx::Error> {
    query("SELECT note FROM ledger_note WHERE log = $1 ORDER BY size DESC LIMIT 1")
        .bind(log)
        .fetch_optional(db)
        .await?
        .map(|row| row.try_get(0))
        .transpose()
}

/// Keeps a note of a log that grows no more.
pub(crate) async fn keep_note(
    db: &mut Db,
    log: &str,
    size: i64,
    note: &str,
) -> Result<(), sqlx::Error> {
    query("INSERT INTO ledger_note (log, size, note, cosigs) VALUES ($1, $2, $3, '') ON CONFLICT DO NOTHING")
        .bind(log)
        .bind(size)
        .bind(note)
        .execute(db)
        .await
        .map(drop)
}

/// Closes a head for ever, under its new seal. `false`: it is not the head that was meant.
pub(crate) async fn close(
    db: &mut Db,
    log: &str,
    size: i64,
    mac: &[u8],
) -> Result<bool, sqlx::Error> {
    let closed = query(
        "UPDATE ledger_head SET closed = 1, mac = $3 WHERE log = $1 AND size = $2 AND closed = 0",
    )
    .bind(log)
    .bind(size)
    .bind(mac)
    .execute(db)
    .await?;
    Ok(closed == 1)
}

/// Lets the rows that are of no entry go on under the next log: what was spent stays spent, tasks stay open, callers stay
/// known. Requests, grants and policy sets are of the entries that made them, and stay with these.
pub(crate) async fn carry(db: &mut Db, from: &str, to: &str) -> Result<(), sqlx::Error> {
    for sql in CARRIED {
        query(*sql).bind(from).bind(to).execute(&mut *db).await?;
    }
    Ok(())
}

/// Requests of a log that is over wait for nobody any more.
pub(crate) async fn void_requests(db: &mut Db, log: &str) -> Result<u64, sqlx::Error> {
    query("UPDATE request SET state = 'cancelled' WHERE log = $1 AND state = 'pending'")
        .bind(log)
        .execute(db)
        .await
}

const CARRIED: &[&str] = &[
    "UPDATE spent SET log = $2 WHERE log = $1",
    "UPDATE caller SET log = $2 WHERE log = $1",
    "UPDATE task SET log = $2 WHERE log = $1",
    "UPDATE task_action SET log = $2 WHERE log = $1",
    "UPDATE task_label SET log = $2 WHERE log = $1",
];
