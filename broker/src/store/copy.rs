//! All rows of one database into another, whatever tables the schema has: a move to a server, a backup of one.
//!
//! Tables and columns are read from the database itself, so that a table that a later version adds is not forgotten. Rows
//! go over one by one and are never held all at once. The caller begins and commits.

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgCopyIn};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;

use super::engine::{Db, Sql, query};

/// A table, with its columns in order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    name: String,
    columns: Vec<(String, Sort)>,
}

/// What a column holds: the three types that our schema has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Bytes,
    Number,
    Text,
}

/// One value.
enum Cell {
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
    Text(Option<String>),
}

/// Why rows did not go over.
#[derive(Debug, Error)]
pub enum CopyError {
    /// An engine failed.
    #[error("the copy failed")]
    Engine(#[from] sqlx::Error),
    /// The two schemas differ.
    #[error("the tables of the two databases differ: `{0}`")]
    Schema(String),
    /// There are rows where none may be.
    #[error("table `{0}` of the target is not empty")]
    Taken(String),
    /// A row was lost on the way.
    #[error("{there} rows of table `{table}` arrived of {here}")]
    Lost {
        /// The table.
        table: String,
        /// Rows that were read.
        here: u64,
        /// Rows that are there.
        there: u64,
    },
}

/// Hears how many rows of which table went over.
pub(crate) type Progress<'p> = &'p mut (dyn FnMut(&str, u64) + Send);

/// The tables of our schema, without those that speak of this one database.
pub(crate) async fn tables(db: &mut Db) -> Result<Vec<Table>, CopyError> {
    let rows = query(Sql::Each {
        postgres: "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name::text NOT IN ('_sqlx_migrations', 'moved')",
        sqlite: "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT IN ('_sqlx_migrations', 'moved') AND substr(m.name, 1, 7) <> 'sqlite_'",
    })
    .fetch_all(db)
    .await?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let sort = match row.try_get::<String>(2)?.as_str() {
            "TEXT" | "text" => Sort::Text,
            "INTEGER" | "bigint" => Sort::Number,
            "BLOB" | "bytea" => Sort::Bytes,
            _ => return Err(CopyError::Schema(format!("{table}.{column}"))),
        };
        columns.push((table, column, sort));
    }
    columns.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut tables: Vec<Table> = Vec::new();
    for (table, column, sort) in columns {
        match tables.last_mut().filter(|known| known.name == table) {
            Some(known) => known.columns.push((column, sort)),
            None => tables.push(Table {
                name: table,
                columns: vec![(column, sort)],
            }),
        }
    }
    Ok(tables)
}

/// The first table that holds a row, if any does.
pub(crate) async fn taken(db: &mut Db) -> Result<Option<String>, CopyError> {
    for table in tables(db).await? {
        if count(db, &table).await? > 0 {
            return Ok(Some(table.name));
        }
    }
    Ok(None)
}

/// Every row of `from` into the empty `to`, each counted on both sides. Gives how many went over.
pub(crate) async fn copy(
    from: &mut Db,
    to: &mut Db,
    progress: Progress<'_>,
) -> Result<u64, CopyError> {
    let (ours, theirs) = (tables(from).await?, tables(to).await?);
    if let Some(odd) = ours.iter().zip(&theirs).find(|(a, b)| a != b) {
        return Err(CopyError::Schema(odd.0.name.clone()));
    }
    if ours.len() != theirs.len() {
        return Err(CopyError::Schema(format!(
            "{} and {}",
            ours.len(),
            theirs.len()
        )));
    }
    if let Some(table) = taken(to).await? {
        return Err(CopyError::Taken(table));
    }
    let mut all = 0;
    for table in &ours {
        let here = Box::pin(copy_table(from, to, table, progress)).await?;
        let there = count(to, table).await?;
        if here != there {
            let table = table.name.clone();
            return Err(CopyError::Lost { table, here, there });
        }
        all += here;
    }
    Ok(all)
}

async fn count(db: &mut Db, table: &Table) -> Result<u64, CopyError> {
    // The name is the schema's own.
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM \"{}\"", table.name));
    let count: i64 = match db {
        Db::Postgres(db) => sqlx::query(sql).fetch_one(&mut **db).await?.try_get(0)?,
        Db::Sqlite(db) => sqlx::query(sql).fetch_one(&mut **db).await?.try_get(0)?,
    };
    Ok(count.unsigned_abs())
}

/// Reads row by row from one engine's stream.
macro_rules! pump {
    ($from:expr, $table:expr, $sink:expr, $progress:expr) => {{
        let sql = AssertSqlSafe($table.select());
        let mut rows = sqlx::query(sql).fetch(&mut **$from);
        let mut n = 0;
        while let Some(row) = rows.try_next().await? {
            let mut cells = Vec::with_capacity($table.columns.len());
            for (at, (_, sort)) in $table.columns.iter().enumerate() {
                cells.push(match sort {
                    Sort::Bytes => Cell::Bytes(row.try_get(at)?),
                    Sort::Number => Cell::Number(row.try_get(at)?),
                    Sort::Text => Cell::Text(row.try_get(at)?),
                });
            }
            $sink.put(cells).await?;
            n += 1;
            if n % TELL_EVERY == 0 {
                $progress(&$table.name, n);
            }
        }
        n
    }};
}

async fn copy_table(
    from: &mut Db,
    to: &mut Db,
    table: &Table,
    progress: Progress<'_>,
) -> Result<u64, CopyError> {
    let mut sink = Sink::of(to, table).await?;
    let n = match from {
        Db::Postgres(from) => pump!(from, table, sink, progress),
        Db::Sqlite(from) => pump!(from, table, sink, progress),
    };
    sink.finish().await?;
    Ok(n)
}

impl Table {
    fn list(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| format!("\"{name}\""));
        names.collect::<Vec<_>>().join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.list(), self.name)
    }

    fn insert(&self) -> String {
        let places: Vec<_> = (1..=self.columns.len())
            .map(|at| format!("${at}"))
            .collect();
        let (name, list) = (&self.name, self.list());
        format!(
            "INSERT INTO \"{name}\" ({list}) VALUES ({})",
            places.join(", ")
        )
    }

    fn copy_in(&self) -> String {
        format!(
            "COPY \"{}\" ({}) FROM STDIN (FORMAT binary)",
            self.name,
            self.list()
        )
    }
}

/// Where the rows of one table go.
enum Sink<'t> {
    /// PostgreSQL's own bulk form: a header, tuples, a trailer.
    Postgres {
        copy: PgCopyIn<&'t mut PgConnection>,
        buffer: Vec<u8>,
    },
    Sqlite {
        db: &'t mut SqliteConnection,
        insert: String,
    },
}

impl<'t> Sink<'t> {
    async fn of(to: &'t mut Db, table: &Table) -> Result<Self, sqlx::Error> {
        Ok(match to {
            Db::Postgres(db) => Self::Postgres {
                copy: db.copy_in_raw(&table.copy_in()).await?,
                buffer: HEADER.to_vec(),
            },
            Db::Sqlite(db) => Self::Sqlite {
                db,
                insert: table.insert(),
            },
        })
    }

    async fn put(&mut self, cells: Vec<Cell>) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres { copy, buffer } => {
                tuple(buffer, &cells);
                if buffer.len() >= BUFFER {
                    copy.send(std::mem::take(buffer)).await?;
                }
                Ok(())
            }
            Self::Sqlite { db, insert } => {
                let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
                for cell in cells {
                    query = match cell {
                        Cell::Bytes(it) => query.bind(it),
                        Cell::Number(it) => query.bind(it),
                        Cell::Text(it) => query.bind(it),
                    };
                }
                query.execute(&mut **db).await.map(drop)
            }
        }
    }

    async fn finish(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres {
                mut copy,
                mut buffer,
            } => {
                buffer.extend_from_slice(&TRAILER);
                copy.send(buffer).await?;
                copy.finish().await.map(drop)
            }
            Self::Sqlite { .. } => Ok(()),
        }
    }
}

/// A row in the binary form of COPY: the number of fields, each its length and its bytes; -1 for NULL.
fn tuple(buffer: &mut Vec<u8>, cells: &[Cell]) {
    let field = |buffer: &mut Vec<u8>, bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            // INVARIANT: what a column holds is far below 2 GiB, or it could not have been stored.
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            buffer.extend_from_slice(&length.to_be_bytes());
            buffer.extend_from_slice(bytes);
        }
        None => buffer.extend_from_slice(&(-1_i32).to_be_bytes()),
    };
    let fields = i16::try_from(cells.len()).unwrap_or(i16::MAX);
    buffer.extend_from_slice(&fields.to_be_bytes());
    for cell in cells {
        match cell {
            Cell::Bytes(bytes) => field(buffer, bytes.as_deref()),
            Cell::Number(number) => field(
                buffer,
                number
                    .map(i64::to_be_bytes)
                    .as_ref()
                    .map(<[u8; 8]>::as_slice),
            ),
            Cell::Text(text) => field(buffer, text.as_ref().map(String::as_bytes)),
        }
    }
}

/// Signature, flags and length of the extension (PostgreSQL, "COPY", binary format).
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A field count of -1.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// What goes over at once.
const BUFFER: usize = 256 * 1024;
/// Rows between two words about progress.
const TELL_EVERY: u64 = 50_000;
