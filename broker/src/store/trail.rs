//! The chain's own tables: head, batches, bodies. Written by the ledger alone.

use stint_audit::{Batch, Digest, Head};

use super::engine::{Db, Row, Sql, Via, query};
use super::{Error, Store};

/// The head row as it lies there: untrusted until `Head::restore` and the mac agree.
#[derive(Debug, Clone)]
pub struct HeadRow {
    /// 0, 1, 2 …
    pub epoch: i64,
    /// Entries so far.
    pub size: i64,
    /// Hash of the last leaf, 32 bytes.
    pub last_leaf: Vec<u8>,
    /// Root, 32 bytes.
    pub root: Vec<u8>,
    /// Roots of the perfect subtrees, largest first, 32 bytes each.
    pub frontier: Vec<u8>,
    /// Time of the last entry, in milliseconds.
    pub last_ts: i64,
    /// Whether an `epoch` entry closed the log.
    pub closed: bool,
    /// HMAC over the head (LEDGER.md §7).
    pub mac: Vec<u8>,
}

/// One stored batch: the bytes that were hashed.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Seq of its first entry.
    pub first_seq: i64,
    /// Leaf hashes, 32 bytes each.
    pub hashes: Vec<u8>,
    /// Headers, u16be length and bytes each.
    pub headers: Vec<u8>,
    /// Root after it.
    pub root: Vec<u8>,
}

impl BatchRow {
    /// Its leaf hashes, in order.
    pub fn leaves(&self) -> impl Iterator<Item = Digest> {
        self.hashes
            .as_chunks::<32>()
            .0
            .iter()
            .map(|hash| Digest::from_bytes(*hash))
    }

    /// Whether there is one hash for each header and nothing else: a header behind the hashes would be read by some and
    /// hashed by nobody.
    #[must_use]
    pub fn is_even(&self) -> bool {
        let lengths = self
            .entries()
            .map(|(_, header)| header.len().saturating_add(2));
        let (count, bytes) = lengths.fold((0_usize, 0_usize), |(count, sum), length| {
            (count.saturating_add(1), sum.saturating_add(length))
        });
        count.saturating_mul(32) == self.hashes.len() && bytes == self.headers.len()
    }

    /// Its entries: seq and header bytes.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.headers.as_slice();
        let headers = std::iter::from_fn(move || {
            let (length, after) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
            let (header, after) = after.split_at_checked(length)?;
            rest = after;
            Some(header)
        });
        (self.first_seq.unsigned_abs()..).zip(headers)
    }
}

impl Store {
    /// Batches that hold entries of `[from, to)`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn batches(&self, from: i64, to: i64, limit: i64) -> Result<Vec<BatchRow>, Error> {
        batches(self.readers(), self.log(), (from, to), limit)
            .await
            .map_err(|source| self.failed(source))
    }

    /// Bodies of `[from, to)` in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn bodies(&self, from: i64, to: i64) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        bodies(self.readers(), self.log(), (from, to))
            .await
            .map_err(|source| self.failed(source))
    }
}

/// As [`Store::batches`], on any connection.
pub(crate) async fn batches<'c>(
    via: impl Into<Via<'c>>,
    log: &str,
    (from, to): (i64, i64),
    limit: i64,
) -> Result<Vec<BatchRow>, sqlx::Error> {
    let rows = query(
        "SELECT first_seq, hashes, headers, root FROM ledger_batch
         WHERE log = $1 AND first_seq >= (SELECT coalesce(max(first_seq), 0) FROM ledger_batch
                                          WHERE log = $1 AND first_seq <= $2)
           AND first_seq < $3
         ORDER BY first_seq LIMIT $4",
    )
    .bind(log)
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(via)
    .await?;
    rows.iter().map(batch).collect()
}

/// As [`Store::bodies`], on any connection.
pub(crate) async fn bodies<'c>(
    via: impl Into<Via<'c>>,
    log: &str,
    (from, to): (i64, i64),
) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let rows = query(
        "SELECT seq, body FROM ledger_body
         WHERE log = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
    )
    .bind(log)
    .bind(from)
    .bind(to)
    .fetch_all(via)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

fn batch(row: &Row) -> Result<BatchRow, sqlx::Error> {
    Ok(BatchRow {
        first_seq: row.try_get(0)?,
        hashes: row.try_get(1)?,
        headers: row.try_get(2)?,
        root: row.try_get(3)?,
    })
}

/// Whether whoever reads the head is to be the next to move it. A file has one writer, who always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    None,
    Taken,
}

/// The head row, if the log has begun.
pub(crate) async fn head(
    db: &mut Db,
    log: &str,
    lock: Lock,
) -> Result<Option<HeadRow>, sqlx::Error> {
    const READ: &str = "SELECT epoch, size, last_leaf, root, frontier, last_ts, closed, mac
         FROM ledger_head WHERE log = $1";
    let sql = match lock {
        Lock::None => Sql::Both(READ),
        Lock::Taken => Sql::Each {
            postgres: "SELECT epoch, size, last_leaf, root, frontier, last_ts, closed, mac
                       FROM ledger_head WHERE log = $1 FOR UPDATE",
            sqlite: READ,
        },
    };
    let row = query(sql).bind(log).fetch_optional(db).await?;
    row.map(|row| {
        Ok(HeadRow {
            epoch: row.try_get(0)?,
            size: row.try_get(1)?,
            last_leaf: row.try_get(2)?,
            root: row.try_get(3)?,
            frontier: row.try_get(4)?,
            last_ts: row.try_get(5)?,
            closed: row.try_get::<i64>(6)? != 0,
            mac: row.try_get(7)?,
        })
    })
    .transpose()
}

/// The root stored with the batch that begins at `first_seq`, if it is there.
pub(crate) async fn root_of_batch(
    db: &mut Db,
    log: &str,
    first_seq: i64,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    query("SELECT root FROM ledger_batch WHERE log = $1 AND first_seq = $2")
        .bind(log)
        .bind(first_seq)
        .fetch_optional(db)
        .await?
        .map(|row| row.try_get(0))
        .transpose()
}

/// Moves the head from `before` to the batch's own, if it still is `before`, and stores headers
/// and bodies. `false`: the head is another one; nothing was written.
pub(crate) async fn extend(
    db: &mut Db,
    before: &Head,
    batch: &Batch,
    node: &str,
    mac: &[u8],
) -> Result<bool, sqlx::Error> {
    let after = batch.head();
    let frontier: Vec<u8> = after
        .frontier()
        .nodes()
        .iter()
        .flat_map(|node| *node.as_bytes())
        .collect();
    let moved = if before.size() == 0 {
        query(
            "INSERT INTO ledger_head
               (log, epoch, size, last_leaf, root, frontier, last_ts, closed, mac)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
    } else {
        query(
            "UPDATE ledger_head SET epoch = $2, size = $3, last_leaf = $4, root = $5, frontier = $6,
               last_ts = $7, closed = $8, mac = $9
             WHERE log = $1 AND size = $10 AND root = $11 AND closed = 0",
        )
    };
    let moved = moved
        .bind(after.log())
        .bind(signed(after.epoch()))
        .bind(signed(after.size()))
        .bind(after.last_leaf().as_bytes().as_slice())
        .bind(after.root().as_bytes().as_slice())
        .bind(frontier)
        .bind(signed(after.last_ts()))
        .bind(i64::from(after.closed()))
        .bind(mac);
    let moved = if before.size() == 0 {
        moved
    } else {
        moved
            .bind(signed(before.size()))
            .bind(before.root().as_bytes().as_slice())
    };
    if moved.execute(&mut *db).await? != 1 {
        return Ok(false);
    }
    insert_batch(db, before, batch, node).await?;
    insert_bodies(db, batch).await?;
    Ok(true)
}

async fn insert_batch(
    db: &mut Db,
    before: &Head,
    batch: &Batch,
    node: &str,
) -> Result<(), sqlx::Error> {
    let mut hashes = Vec::with_capacity(batch.len() * 32);
    for hash in batch.hashes() {
        hashes.extend_from_slice(hash.as_bytes());
    }
    let mut headers = Vec::new();
    for header in batch.headers() {
        // INVARIANT: a header is at most 4,096 bytes (LEDGER.md §2), so its length fits.
        headers.extend_from_slice(
            &u16::try_from(header.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        headers.extend_from_slice(header);
    }
    query(Sql::Each {
        // The other brokers are woken by the COMMIT ([`super::wake`]).
        postgres:
            "INSERT INTO ledger_batch (log, first_seq, n, ts, node, prev, root, hashes, headers)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING pg_notify('stint_head', $5)",
        sqlite:
            "INSERT INTO ledger_batch (log, first_seq, n, ts, node, prev, root, hashes, headers)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    })
    .bind(before.log())
    .bind(signed(batch.first_seq()))
    .bind(signed(u64::try_from(batch.len()).unwrap_or(u64::MAX)))
    .bind(signed(batch.head().last_ts()))
    .bind(node)
    .bind(before.last_leaf().as_bytes().as_slice())
    .bind(batch.head().root().as_bytes().as_slice())
    .bind(hashes)
    .bind(headers)
    .execute(db)
    .await
    .map(drop)
}

/// All bodies go over as one blob, cut in the database: no escaping, one statement.
async fn insert_bodies(db: &mut Db, batch: &Batch) -> Result<(), sqlx::Error> {
    let mut blob = Vec::new();
    let mut cuts = Vec::with_capacity(batch.len());
    for (seq, body) in (batch.first_seq()..).zip(batch.bodies()) {
        cuts.push((seq, blob.len() + 1, body.len()));
        blob.extend_from_slice(body);
    }
    query(
        "INSERT INTO ledger_body (log, seq, enc, body)
         SELECT $1, CAST(value->>0 AS BIGINT), 0,
                substr($2, CAST(value->>1 AS INTEGER), CAST(value->>2 AS INTEGER))
         FROM json_each($3)",
    )
    .bind(batch.head().log())
    .bind(blob)
    .bind(super::json(&cuts)?)
    .execute(db)
    .await
    .map(drop)
}

/// Sizes and times are far below 2⁵³ (LEDGER.md §2), the database's integers are signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
