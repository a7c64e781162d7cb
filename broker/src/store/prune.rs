//! Entries that go because they are in an archive (LEDGER.md §12).

use super::engine::{Db, Via, query};
use super::trail::signed;

/// One part of what goes: whatever lies in `[from, to)`, but for what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRow {
    /// The first entry of the part.
    pub from: u64,
    /// One past its last.
    pub to: u64,
    /// Where the log begins from now on.
    pub below: u64,
    /// Entries that stay.
    pub kept: Vec<u64>,
    /// Tiles of level 0 that stay.
    pub tiles: Vec<u64>,
}

/// The entry that is said to have cut the log last.
pub(crate) async fn entry(via: Via<'_>, log: &str) -> Result<Option<u64>, sqlx::Error> {
    query("SELECT seq FROM ledger_cursor WHERE log = $1 AND name = 'pruned'")
        .bind(log)
        .fetch_optional(via)
        .await?
        .map(|row| Ok(row.try_get::<i64>(0)?.unsigned_abs()))
        .transpose()
}

/// Says that entry `seq` cut the log.
pub(crate) async fn cut(db: &mut Db, log: &str, seq: u64) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO ledger_cursor (log, name, seq, owner, until) VALUES ($1, 'pruned', $2, '', 0)
         ON CONFLICT (log, name) DO UPDATE SET seq = excluded.seq",
    )
    .bind(log)
    .bind(signed(seq))
    .execute(db)
    .await
    .map(drop)
}

/// How far each follower has come, by name.
pub(crate) async fn places(via: Via<'_>, log: &str) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let rows = query("SELECT name, seq FROM ledger_cursor WHERE log = $1 ORDER BY name")
        .bind(log)
        .fetch_all(via)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<i64>(1)?.unsigned_abs())))
        .collect()
}

/// Takes one part away. Batches that hold what stays, or that reach over the cut, stay whole.
pub(crate) async fn sweep(db: &mut Db, log: &str, row: &SweepRow) -> Result<(), sqlx::Error> {
    let kept = numbers(&row.kept)?;
    for sql in [
        "DELETE FROM ledger_body WHERE log = $1 AND seq >= $2 AND seq < $3
           AND seq NOT IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($4))",
        "DELETE FROM ledger_index WHERE log = $1 AND seq >= $2 AND seq < $3
           AND seq NOT IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($4))",
        "DELETE FROM granted WHERE log = $1 AND seq >= $2 AND seq < $3
           AND seq NOT IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($4))",
    ] {
        let deleted = query(sql).bind(log).bind(signed(row.from));
        let deleted = deleted.bind(signed(row.to)).bind(kept.clone());
        deleted.execute(&mut *db).await?;
    }
    let batches = query(
        "DELETE FROM ledger_batch WHERE log = $1 AND first_seq >= $2 AND first_seq < $3 AND first_seq + n <= $4
           AND NOT EXISTS (SELECT 1 FROM json_each($5) WHERE CAST(value->>0 AS BIGINT) >= first_seq
                             AND CAST(value->>0 AS BIGINT) < first_seq + n)",
    );
    let batches = batches
        .bind(log)
        .bind(signed(row.from))
        .bind(signed(row.to));
    let batches = batches.bind(signed(row.below)).bind(kept);
    batches.execute(&mut *db).await?;
    let tiles = query(
        "DELETE FROM ledger_tile WHERE log = $1 AND level = 0 AND idx >= $2 AND idx < $3
           AND idx NOT IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($4))",
    );
    let tiles = tiles.bind(log).bind(signed(row.from / 256));
    let tiles = tiles.bind(signed(row.to / 256)).bind(numbers(&row.tiles)?);
    tiles.execute(&mut *db).await?;
    query(
        "DELETE FROM ledger_note WHERE log = $1 AND size > $2 AND size <= $3
           AND size < (SELECT max(size) FROM ledger_note WHERE log = $1)",
    )
    .bind(log)
    .bind(signed(row.from))
    .bind(signed(row.to))
    .execute(db)
    .await
    .map(drop)
}

/// Numbers as one JSON text, each a row of one column.
fn numbers(numbers: &[u64]) -> Result<String, sqlx::Error> {
    super::json(&numbers.iter().map(|number| [number]).collect::<Vec<_>>())
}
