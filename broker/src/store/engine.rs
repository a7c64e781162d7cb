//! The two engines, SQLite and PostgreSQL, and one way to speak to either.
//!
//! A statement is written once for both wherever they agree, and they agree nearly everywhere: parameters are `$1`, sets
//! of rows go over as one JSON text and come apart by `json_each` (PostgreSQL learns that word in its first migration),
//! what is read out of JSON is `CAST` to its column's type, conflicts name their columns. Where they do not agree,
//! [`Sql::Each`] holds both spellings side by side.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use crate::telemetry;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Decode, Executor as _, Postgres, Row as _, Sqlite, Type};

/// One connection: the ledger's writer has one of its own.
#[derive(Debug)]
pub enum Db {
    /// To a server.
    Postgres(Box<PgConnection>),
    /// To the file.
    Sqlite(Box<SqliteConnection>),
}

/// Connections that only read, taken by whoever reads next.
#[derive(Debug, Clone)]
pub(crate) enum Readers {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL, for several brokers.
    Postgres,
    /// SQLite, for one.
    Sqlite,
}

impl Engine {
    /// As entries say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// What an engine is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sql {
    /// In words both understand.
    Both(&'static str),
    /// To each in its own.
    Each {
        postgres: &'static str,
        sqlite: &'static str,
    },
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self::Both(both)
    }
}

impl Sql {
    fn of(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Self::Both(both), _) => both,
            (Self::Each { postgres, .. }, Engine::Postgres) => postgres,
            (Self::Each { sqlite, .. }, Engine::Sqlite) => sqlite,
        }
    }
}

/// A parameter.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_owned()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

/// A statement with its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    sql: Sql,
    values: Vec<Value>,
}

/// A statement; its parameters follow by [`Query::bind`].
pub(crate) fn query(sql: impl Into<Sql>) -> Query {
    Query {
        sql: sql.into(),
        values: Vec::new(),
    }
}

/// Where a statement goes.
#[derive(Debug)]
pub(crate) enum Via<'c> {
    /// A connection of one's own.
    Db(&'c mut Db),
    /// The next that is free.
    Readers(&'c Readers),
}

impl Via<'_> {
    /// The same for one statement, and then for another.
    pub(crate) fn again(&mut self) -> Via<'_> {
        match self {
            Self::Db(db) => Via::Db(db),
            Self::Readers(readers) => Via::Readers(readers),
        }
    }
}

impl<'c> From<&'c mut Db> for Via<'c> {
    fn from(db: &'c mut Db) -> Self {
        Self::Db(db)
    }
}

impl<'c> From<&'c Readers> for Via<'c> {
    fn from(readers: &'c Readers) -> Self {
        Self::Readers(readers)
    }
}

/// The statement in one engine's own type.
macro_rules! spoken {
    ($query:expr, $engine:ident) => {{
        let Query { sql, values } = $query;
        let mut spoken = sqlx::query::<$engine>(sql.of(Engine::$engine));
        for value in values {
            spoken = match value {
                Value::Bytes(bytes) => spoken.bind(bytes),
                Value::Number(number) => spoken.bind(number),
                Value::Text(text) => spoken.bind(text),
            };
        }
        spoken
    }};
}

impl Query {
    /// The next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// All rows.
    pub(crate) async fn fetch_all<'c>(
        self,
        via: impl Into<Via<'c>>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match via.into() {
            Via::Db(Db::Postgres(db)) => {
                postgres_rows(spoken!(self, Postgres).fetch_all(&mut **db).await)
            }
            Via::Db(Db::Sqlite(db)) => {
                sqlite_rows(spoken!(self, Sqlite).fetch_all(&mut **db).await)
            }
            Via::Readers(Readers::Postgres(pool)) => {
                postgres_rows(spoken!(self, Postgres).fetch_all(pool).await)
            }
            Via::Readers(Readers::Sqlite(pool)) => {
                sqlite_rows(spoken!(self, Sqlite).fetch_all(pool).await)
            }
        }
    }

    /// The first row, if there is one. The statement is run to its end all the same: outside a transaction it commits
    /// there, and `sqlx` drops what SQLite says of that after the row that it was asked for.
    pub(crate) async fn fetch_optional<'c>(
        self,
        via: impl Into<Via<'c>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(via).await?.into_iter().next())
    }

    /// The one row there must be.
    pub(crate) async fn fetch_one<'c>(self, via: impl Into<Via<'c>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(via)
            .await?
            .ok_or(sqlx::Error::RowNotFound)
    }

    /// How many rows it changed.
    pub(crate) async fn execute(self, db: &mut Db) -> Result<u64, sqlx::Error> {
        match db {
            Db::Postgres(db) => {
                let done = spoken!(self, Postgres).execute(&mut **db).await?;
                Ok(done.rows_affected())
            }
            Db::Sqlite(db) => {
                let done = spoken!(self, Sqlite).execute(&mut **db).await?;
                Ok(done.rows_affected())
            }
        }
    }
}

fn postgres_rows(rows: Result<Vec<PgRow>, sqlx::Error>) -> Result<Vec<Row>, sqlx::Error> {
    Ok(rows?.into_iter().map(Row::Postgres).collect())
}

fn sqlite_rows(rows: Result<Vec<SqliteRow>, sqlx::Error>) -> Result<Vec<Row>, sqlx::Error> {
    Ok(rows?.into_iter().map(Row::Sqlite).collect())
}

/// A row of either.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value in column `at`, from 0: text, `i64`, bytes, or an `Option` of them.
    pub(crate) fn try_get<'r, T>(&'r self, at: usize) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Postgres> + Type<Postgres> + Decode<'r, Sqlite> + Type<Sqlite>,
    {
        match self {
            Self::Postgres(row) => row.try_get(at),
            Self::Sqlite(row) => row.try_get(at),
        }
    }
}

impl Db {
    /// Which engine this is a connection to.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Self::Postgres(_) => Engine::Postgres,
            Self::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// Begins a transaction that will write.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.tell(Sql::Each {
            postgres: postgres::BEGIN,
            sqlite: "BEGIN IMMEDIATE",
        })
        .await
    }

    /// Statements without parameters or rows, several at once.
    pub(crate) async fn tell(&mut self, sql: impl Into<Sql>) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(sql.into().of(self.engine()));
        match self {
            Self::Postgres(db) => db.execute(sql).await.map(drop),
            Self::Sqlite(db) => db.execute(sql).await.map(drop),
        }
    }

    /// Ends the connection in order.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(db) => db.close().await,
            Self::Sqlite(db) => db.close().await,
        }
    }
}

/// What an engine's error means for what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Input or output of a local file failed: after a failed fsync the page cache lies (SECURITY.md §2, rule 16).
    Io,
    /// No space.
    Full,
    /// Another transaction was in the way, and this one was undone: again.
    Raced,
    /// Whatever else: the connection is gone, the server is stopping, a statement took too long.
    Other,
}

impl Trouble {
    /// What the error of a write means. An I/O error of a file ends the process: after a failed fsync the page cache lies,
    /// so only a new start may believe the file.
    pub(crate) fn heed(source: &sqlx::Error) -> Self {
        let trouble = Self::of(source);
        if trouble == Self::Io {
            tracing::error!(%source, "input or output of the store failed; the process ends");
            telemetry::flush();
            std::process::abort();
        }
        trouble
    }

    /// Reads an error.
    pub(crate) fn of(source: &sqlx::Error) -> Self {
        let Some(code) = source.as_database_error().and_then(|error| error.code()) else {
            return Self::Other;
        };
        match &*code {
            // SQLSTATE: serialization_failure, deadlock_detected; disk_full.
            "40001" | "40P01" => Self::Raced,
            "53100" => Self::Full,
            // SQLSTATEs are five characters, SQLite's codes are shorter; extended ones keep the primary in the low byte.
            code if code.len() < 5 => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(10) => Self::Io,
                Ok(13) => Self::Full,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// What a server is asked for in one step, or nothing if it did not answer in time: then its connection is given up,
/// for nobody knows in the middle of what it is.
pub(crate) async fn patiently<T>(step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(postgres::PATIENCE, step).await.ok()
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::{Db, query};

    /// A deferred constraint is looked at by the commit, after the row was returned.
    #[tokio::test]
    async fn a_commit_that_fails_after_its_row_is_heard() {
        let memory = sqlx::SqliteConnection::connect(":memory:").await.unwrap();
        let mut db = Db::Sqlite(Box::new(memory));
        db.tell(
            "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )
        .await
        .unwrap();
        let child = query("INSERT INTO child (id) VALUES (7) RETURNING id");
        assert!(child.fetch_optional(&mut db).await.is_err());
        let rows = query("SELECT id FROM child").fetch_all(&mut db).await;
        assert!(rows.unwrap().is_empty());
    }
}
