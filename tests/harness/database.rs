//! The database file in the hands of somebody who may write it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// Runs `sql` on the file of a broker that is stopped, and merges the write-ahead log. Gives the rows it changed.
///
/// # Panics
/// When the engine refuses.
pub async fn tamper(file: &Path, sql: &str) -> u64 {
    let mut db = open(file).await;
    // An attack is any SQL a test thinks of.
    let sql = AssertSqlSafe(sql.to_owned());
    let done = sqlx::query(sql)
        .execute(&mut db)
        .await
        .unwrap()
        .rows_affected();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    done
}

/// The bytes in one cell.
///
/// # Panics
/// When there is no such cell.
pub async fn cell(file: &Path, sql: &'static str) -> Vec<u8> {
    let mut db = open(file).await;
    let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
    let bytes = row.try_get_unchecked(0).unwrap();
    db.close().await.unwrap();
    bytes
}

/// How many rows each table has that a walk writes: what noise must leave as it was. A certificate that is kept to be
/// given again is written after its answer, so it is not counted; its grant is.
///
/// # Panics
/// When the engine refuses.
pub async fn counts(file: &Path) -> Vec<i64> {
    let mut db = open(file).await;
    let mut counts = Vec::new();
    for sql in [
        "SELECT count(*) FROM ledger_batch",
        "SELECT count(*) FROM ledger_body",
        "SELECT count(*) FROM spent",
        "SELECT count(*) FROM caller",
        "SELECT count(*) FROM task",
        "SELECT count(*) FROM task_action",
        "SELECT count(*) FROM task_label",
        "SELECT count(*) FROM granted",
        "SELECT count(*) FROM request",
        "SELECT count(*) FROM retry",
        "SELECT count(*) FROM answer WHERE substr(id, 1, 3) <> 'gr_'",
        "SELECT count(*) FROM policy_set",
    ] {
        counts.push(sqlx::query(sql).fetch_one(&mut db).await.unwrap().get(0));
    }
    db.close().await.unwrap();
    counts
}

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file))
        .await
        .unwrap()
}
