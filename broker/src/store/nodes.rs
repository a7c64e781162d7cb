//! The replicas of a log: how far each has handed out what it granted, and whether it lives.

use super::engine::{Db, Row, Via, query};
use super::trail::signed;
use super::{Error, Store};

/// One replica, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// This life of it; empty when it ended in order.
    pub instance: String,
    /// All its grants before this seq were handed out or closed.
    pub released: i64,
    /// When it was last heard of, by its own clock.
    pub seen: i64,
}

/// One step of closing a node's grants: its mark moves from `was` to `now`, if nobody moved it.
#[derive(Debug, Clone)]
pub struct CloseRow {
    /// Whose.
    pub node: String,
    /// Which life of it.
    pub instance: String,
    /// Where the mark was.
    pub was: i64,
    /// Where it is from now on.
    pub now: i64,
}

/// All replicas that ever wrote.
pub(crate) async fn all(via: impl Into<Via<'_>>, log: &str) -> Result<Vec<NodeRow>, sqlx::Error> {
    let rows = query(
        "SELECT node, instance, released, seen FROM ledger_node WHERE log = $1 ORDER BY node",
    )
    .bind(log)
    .fetch_all(via)
    .await?;
    rows.iter().map(read).collect()
}

impl Store {
    /// The replicas that ever wrote this log.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, Error> {
        all(self.readers(), self.log())
            .await
            .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<NodeRow, sqlx::Error> {
    Ok(NodeRow {
        node: row.try_get(0)?,
        instance: row.try_get(1)?,
        released: row.try_get(2)?,
        seen: row.try_get(3)?,
    })
}

/// Takes a name for a new life, if its last one (`was`) still has it. `false`: somebody else took it.
pub(crate) async fn claim(
    db: &mut Db,
    log: &str,
    was: Option<&NodeRow>,
    now: &NodeRow,
) -> Result<bool, sqlx::Error> {
    let claimed = query(
        "INSERT INTO ledger_node (log, node, instance, released, seen) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (log, node) DO UPDATE
           SET instance = excluded.instance, released = excluded.released, seen = excluded.seen
           WHERE ledger_node.instance = $6",
    )
    .bind(log)
    .bind(&now.node)
    .bind(&now.instance)
    .bind(now.released)
    .bind(now.seen)
    .bind(was.map_or("", |was| &was.instance))
    .execute(db)
    .await?;
    Ok(claimed == 1)
}

/// Says that this life goes on, and how far it came; also after others took it for dead. `false`: the name is another's
/// now.
pub(crate) async fn beat(db: &mut Db, log: &str, now: &NodeRow) -> Result<bool, sqlx::Error> {
    let beaten = query(
        "UPDATE ledger_node SET instance = $3, released = $4, seen = $5
         WHERE log = $1 AND node = $2 AND (instance = $3 OR instance = '')",
    )
    .bind(log)
    .bind(&now.node)
    .bind(&now.instance)
    .bind(now.released)
    .bind(now.seen)
    .execute(db)
    .await?;
    Ok(beaten == 1)
}

/// Moves one mark; `true` if it stood where it was thought to.
pub(crate) async fn close(db: &mut Db, log: &str, row: &CloseRow) -> Result<bool, sqlx::Error> {
    let closed = query(
        "UPDATE ledger_node SET released = $5
         WHERE log = $1 AND node = $2 AND instance = $3 AND released = $4",
    )
    .bind(log)
    .bind(&row.node)
    .bind(&row.instance)
    .bind(row.was)
    .bind(row.now)
    .execute(db)
    .await?;
    Ok(closed == 1)
}

/// A row as a life of `node` begins.
pub(crate) fn begun(node: &str, instance: &str, released: u64, now: i64) -> NodeRow {
    NodeRow {
        node: node.to_owned(),
        instance: instance.to_owned(),
        released: signed(released),
        seen: now,
    }
}

/// The end of a life in order.
pub(crate) async fn end(db: &mut Db, log: &str, last: &NodeRow) -> Result<bool, sqlx::Error> {
    let ended = query(
        "UPDATE ledger_node SET instance = '', released = $4, seen = $5
         WHERE log = $1 AND node = $2 AND instance = $3",
    )
    .bind(log)
    .bind(&last.node)
    .bind(&last.instance)
    .bind(last.released)
    .bind(last.seen)
    .execute(db)
    .await?;
    Ok(ended == 1)
}

/// The end of a silent life, unless it was heard of meanwhile.
pub(crate) async fn end_silent(
    db: &mut Db,
    log: &str,
    last: &NodeRow,
) -> Result<bool, sqlx::Error> {
    let ended = query(
        "UPDATE ledger_node SET instance = ''
         WHERE log = $1 AND node = $2 AND instance = $3 AND seen = $4",
    )
    .bind(log)
    .bind(&last.node)
    .bind(&last.instance)
    .bind(last.seen)
    .execute(db)
    .await?;
    Ok(ended == 1)
}
