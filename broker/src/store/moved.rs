//! The mark a store bears that was moved to another database.

use super::engine::{Db, query};

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The database it was copied to, as people read it.
    pub(crate) place: String,
    /// Whether it surely is there; else a move was cut off.
    pub(crate) done: bool,
}

/// The mark, if there is one.
pub(crate) async fn read(db: &mut Db) -> Result<Option<Moved>, sqlx::Error> {
    let row = query("SELECT place, state FROM moved")
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(Moved {
            place: row.try_get(0)?,
            done: row.try_get::<String>(1)? == DONE,
        })
    })
    .transpose()
}

/// Marks the store; from here on nobody serves it.
pub(crate) async fn begin(db: &mut Db, place: &str, now: i64) -> Result<(), sqlx::Error> {
    query("INSERT INTO moved (place, state, at) VALUES ($1, 'begun', $2) ON CONFLICT DO NOTHING")
        .bind(place)
        .bind(now)
        .execute(db)
        .await
        .map(drop)
}

/// The copy is there.
pub(crate) async fn done(db: &mut Db, now: i64) -> Result<(), sqlx::Error> {
    query("UPDATE moved SET state = $1, at = $2")
        .bind(DONE)
        .bind(now)
        .execute(db)
        .await
        .map(drop)
}

/// Takes the mark of a move away that came to nothing.
pub(crate) async fn cancel(db: &mut Db) -> Result<(), sqlx::Error> {
    query("DELETE FROM moved WHERE state = 'begun'")
        .execute(db)
        .await
        .map(drop)
}

const DONE: &str = "done";
