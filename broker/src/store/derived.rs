//! What is derived from the entries and can be made again from them: tiles, index, notes, the standing set (LEDGER.md §7).
//! Nothing here is an outcome, and nothing is believed: what is found by these rows is proven before it counts.

use super::engine::{Db, Row, Via, query};
use super::trail::signed;
use super::{Error, Store};

/// What is derived from entries up to `to`: one small unit of rows.
#[derive(Debug, Clone, Default)]
pub struct Derived {
    /// Full tiles: level, index, 8,192 bytes. Never written over.
    pub tiles: Vec<(u8, u64, Vec<u8>)>,
    /// Rows of the index. They say what the headers say, whatever was there.
    pub index: Vec<IndexRow>,
    /// Up to which entry all of this is there now.
    pub to: Option<u64>,
    /// The entries that bind as of this size, ascending decimals joined by LF.
    pub standing: Option<(u64, String)>,
}

/// What one entry is found by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IndexRow {
    /// Its place.
    pub seq: u64,
    /// Its time, in milliseconds.
    pub ts: u64,
    /// What it is.
    pub kind: String,
    /// `gr_…`, `dec_…`, `ent_…`.
    pub id: String,
    /// Pseudonym of whom it is about.
    pub subj: Option<String>,
    /// Pseudonym of who acted.
    pub actor: Option<String>,
    /// Pseudonym of whom the caller acts for.
    pub behalf: Option<String>,
    /// `task_…`.
    pub task_id: Option<String>,
    /// `req_…`.
    pub request_id: Option<String>,
    /// `gr_…`, of an entry about a grant.
    pub grant_id: Option<String>,
    /// Hash of the bytes that were signed.
    pub tbs: Option<String>,
}

/// Tiles of one level, by index.
type Tiles = Vec<(u64, Vec<u8>)>;

impl Store {
    /// The full tiles of `level` with an index in `[from, to)`, as they lie there.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn tiles(&self, level: u8, from: u64, to: u64) -> Result<Tiles, Error> {
        tiles(self.readers(), self.log(), level, (from, to))
            .await
            .map_err(|source| self.failed(source))
    }

    /// Up to which entry tiles and index are said to be there.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn derived(&self) -> Result<u64, Error> {
        query("SELECT seq FROM ledger_cursor WHERE log = $1 AND name = 'derived'")
            .bind(self.log())
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.map(|row| row.try_get::<i64>(0)).transpose())
            .map(|seq| seq.unwrap_or(0).unsigned_abs())
            .map_err(|source| self.failed(source))
    }

    /// Whether a batch begins with an entry of `[from, to)`: the log was of that size once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn was_of_size(&self, from: u64, to: u64) -> Result<bool, Error> {
        query(
            "SELECT first_seq FROM ledger_batch
             WHERE log = $1 AND first_seq >= $2 AND first_seq < $3 LIMIT 1",
        )
        .bind(self.log())
        .bind(signed(from))
        .bind(signed(to))
        .fetch_optional(self.readers())
        .await
        .map(|row| row.is_some())
        .map_err(|source| self.failed(source))
    }

    /// The index of `[from, to)`, in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn index(&self, from: u64, to: u64) -> Result<Vec<IndexRow>, Error> {
        query(
            "SELECT seq, ts, kind, id, subj, actor, behalf, task_id, request_id, grant_id, tbs
             FROM ledger_index WHERE log = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
        )
        .bind(self.log())
        .bind(signed(from))
        .bind(signed(to))
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(index_row).collect())
        .map_err(|source| self.failed(source))
    }

    /// Where entries are said to be whose id begins with `prefix`: two at most, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn seqs_of_id(&self, prefix: &str) -> Result<Vec<u64>, Error> {
        let found = query(
            "SELECT seq FROM ledger_index WHERE log = $1 AND id >= $2 AND id < $3
             ORDER BY id LIMIT 2",
        );
        let found = found
            .bind(self.log())
            .bind(prefix)
            .bind(format!("{prefix}~"));
        self.seqs(found.fetch_all(self.readers()).await)
    }

    /// The same among entries about `subj`, a pseudonym.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn seqs_of_own_id(&self, prefix: &str, subj: &str) -> Result<Vec<u64>, Error> {
        let found = query(
            "SELECT seq FROM ledger_index WHERE log = $1 AND id >= $2 AND id < $3 AND subj = $4
             ORDER BY id LIMIT 2",
        );
        let found = found.bind(self.log()).bind(prefix);
        let found = found.bind(format!("{prefix}~")).bind(subj);
        self.seqs(found.fetch_all(self.readers()).await)
    }

    /// Where the grant of this serial or `jti`, or of this hash of the signed bytes, is said to be.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn seqs_of_credential(&self, unique: &str) -> Result<Vec<u64>, Error> {
        let found = query(
            "SELECT seq FROM granted WHERE log = $1 AND unique_id = $2
             UNION SELECT seq FROM ledger_index WHERE log = $1 AND tbs = $2",
        );
        let found = found.bind(self.log()).bind(unique);
        self.seqs(found.fetch_all(self.readers()).await)
    }

    /// The newest entry that is said to be an anchor.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn newest_anchor(&self) -> Result<Option<u64>, Error> {
        let found = query(
            "SELECT seq FROM ledger_index WHERE log = $1 AND kind = 'anchor'
             ORDER BY seq DESC LIMIT 1",
        );
        let found = found.bind(self.log());
        let seqs = self.seqs(found.fetch_all(self.readers()).await)?;
        Ok(seqs.first().copied())
    }

    /// Which entries are said to bind as of `size`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn standing(&self, size: u64) -> Result<Option<String>, Error> {
        query("SELECT seqs FROM ledger_standing WHERE log = $1 AND size = $2")
            .bind(self.log())
            .bind(signed(size))
            .fetch_optional(self.readers())
            .await
            .and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|source| self.failed(source))
    }

    /// Notes of sizes in `(from, to]`: size, note.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn notes_between(&self, from: u64, to: u64) -> Result<Vec<(u64, String)>, Error> {
        query(
            "SELECT size, note FROM ledger_note WHERE log = $1 AND size > $2 AND size <= $3
             ORDER BY size",
        )
        .bind(self.log())
        .bind(signed(from))
        .bind(signed(to))
        .fetch_all(self.readers())
        .await
        .and_then(|rows| {
            let note = |row: &Row| Ok((row.try_get::<i64>(0)?.unsigned_abs(), row.try_get(1)?));
            rows.iter().map(note).collect()
        })
        .map_err(|source| self.failed(source))
    }

    fn seqs(&self, rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<u64>, Error> {
        let seq = |row: &Row| Ok(row.try_get::<i64>(0)?.unsigned_abs());
        rows.and_then(|rows| rows.iter().map(seq).collect())
            .map_err(|source| self.failed(source))
    }
}

/// As [`Store::tiles`], on any connection.
pub(crate) async fn tiles<'c>(
    via: impl Into<Via<'c>>,
    log: &str,
    level: u8,
    (from, to): (u64, u64),
) -> Result<Tiles, sqlx::Error> {
    let rows = query(
        "SELECT idx, tile FROM ledger_tile
         WHERE log = $1 AND level = $2 AND idx >= $3 AND idx < $4 ORDER BY idx",
    )
    .bind(log)
    .bind(i64::from(level))
    .bind(signed(from))
    .bind(signed(to))
    .fetch_all(via)
    .await?;
    let tile = |row: &Row| Ok((row.try_get::<i64>(0)?.unsigned_abs(), row.try_get(1)?));
    rows.iter().map(tile).collect()
}

fn index_row(row: &Row) -> Result<IndexRow, sqlx::Error> {
    Ok(IndexRow {
        seq: row.try_get::<i64>(0)?.unsigned_abs(),
        ts: row.try_get::<i64>(1)?.unsigned_abs(),
        kind: row.try_get(2)?,
        id: row.try_get(3)?,
        subj: row.try_get(4)?,
        actor: row.try_get(5)?,
        behalf: row.try_get(6)?,
        task_id: row.try_get(7)?,
        request_id: row.try_get(8)?,
        grant_id: row.try_get(9)?,
        tbs: row.try_get(10)?,
    })
}

/// Writes what was derived. A tile that is there already stays as it is.
pub(crate) async fn keep(db: &mut Db, log: &str, rows: &Derived) -> Result<(), sqlx::Error> {
    if !rows.tiles.is_empty() {
        insert_tiles(db, log, &rows.tiles).await?;
    }
    if !rows.index.is_empty() {
        upsert_index(db, log, &rows.index).await?;
    }
    if let Some((size, seqs)) = &rows.standing {
        stand(db, log, *size, seqs).await?;
    }
    if let Some(to) = rows.to {
        move_cursor(db, log, to).await?;
    }
    Ok(())
}

/// All tiles go over as one blob, cut in the database.
async fn insert_tiles(
    db: &mut Db,
    log: &str,
    tiles: &[(u8, u64, Vec<u8>)],
) -> Result<(), sqlx::Error> {
    let (mut blob, mut cuts) = (Vec::new(), Vec::with_capacity(tiles.len()));
    for (level, index, bytes) in tiles {
        cuts.push((level, index, blob.len() + 1, bytes.len()));
        blob.extend_from_slice(bytes);
    }
    query(
        "INSERT INTO ledger_tile (log, level, idx, tile)
         SELECT $1, CAST(value->>0 AS BIGINT), CAST(value->>1 AS BIGINT),
                substr($2, CAST(value->>2 AS INTEGER), CAST(value->>3 AS INTEGER))
         FROM json_each($3) WHERE true ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(blob)
    .bind(super::json(&cuts)?)
    .execute(db)
    .await
    .map(drop)
}

async fn upsert_index(db: &mut Db, log: &str, rows: &[IndexRow]) -> Result<(), sqlx::Error> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            let about = (&row.subj, &row.actor, &row.behalf);
            let named = (&row.task_id, &row.request_id, &row.grant_id, &row.tbs);
            (
                row.seq, row.ts, &row.kind, &row.id, about.0, about.1, about.2, named.0, named.1,
                named.2, named.3,
            )
        })
        .collect();
    query(
        "INSERT INTO ledger_index (log, seq, ts, kind, id, subj, actor, behalf,
                                   task_id, request_id, grant_id, tbs)
         SELECT $1, CAST(value->>0 AS BIGINT), CAST(value->>1 AS BIGINT), value->>2, value->>3,
                value->>4, value->>5, value->>6, value->>7, value->>8, value->>9, value->>10
         FROM json_each($2) WHERE true
         ON CONFLICT (log, seq) DO UPDATE SET ts = excluded.ts, kind = excluded.kind,
           id = excluded.id, subj = excluded.subj, actor = excluded.actor,
           behalf = excluded.behalf, task_id = excluded.task_id,
           request_id = excluded.request_id, grant_id = excluded.grant_id, tbs = excluded.tbs",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .execute(db)
    .await
    .map(drop)
}

/// Keeps the newest few: a start needs the one of the newest anchor.
async fn stand(db: &mut Db, log: &str, size: u64, seqs: &str) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO ledger_standing (log, size, seqs) VALUES ($1, $2, $3)
         ON CONFLICT (log, size) DO UPDATE SET seqs = excluded.seqs",
    )
    .bind(log)
    .bind(signed(size))
    .bind(seqs)
    .execute(&mut *db)
    .await?;
    query(
        "DELETE FROM ledger_standing WHERE log = $1 AND size NOT IN
           (SELECT size FROM ledger_standing WHERE log = $1 ORDER BY size DESC LIMIT 8)",
    )
    .bind(log)
    .execute(db)
    .await
    .map(drop)
}

async fn move_cursor(db: &mut Db, log: &str, to: u64) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO ledger_cursor (log, name, seq, owner, until) VALUES ($1, 'derived', $2, '', 0)
         ON CONFLICT (log, name) DO UPDATE SET seq = excluded.seq",
    )
    .bind(log)
    .bind(signed(to))
    .execute(db)
    .await
    .map(drop)
}
