//! The broker's database in the hands of somebody who may write it: a file, or a database of a server.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, Sqlite};
use stint_broker::store::Engine;

use crate::postgres::Spot;

/// Where a broker's database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A SQLite file.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Spot),
}

/// The engine under test, by `STINT_TEST_STORE`: `sqlite`, or `postgres`.
///
/// # Panics
/// When it says something else.
#[must_use]
pub fn engine() -> Engine {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the whole run is told, not how a broker is"
    )]
    let wanted = std::env::var("STINT_TEST_STORE");
    match wanted.as_deref() {
        Err(_) | Ok("" | "sqlite") => Engine::Sqlite,
        Ok("postgres") => Engine::Postgres,
        Ok(other) => panic!("STINT_TEST_STORE is sqlite or postgres, not {other}"),
    }
}

/// Whether the run is on `engine`. A test that is about one engine alone returns where it is not, and says so; `reason`
/// is for whoever reads the run.
#[must_use]
pub fn only_on(wanted: Engine, reason: &str) -> bool {
    use std::io::Write as _;

    let runs = engine() == wanted;
    if !runs {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        // Not by `println!`, which only failing tests are heard with.
        drop(writeln!(
            std::io::stderr(),
            "left out  {test}: on {} only: {reason}",
            wanted.word()
        ));
    }
    runs
}

impl Database {
    /// Which engine has it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Self::File(_) => Engine::Sqlite,
            Self::Server(_) => Engine::Postgres,
        }
    }

    /// The database on the server.
    ///
    /// # Panics
    /// When it is a file.
    #[must_use]
    pub fn spot(&self) -> &Spot {
        match self {
            Self::Server(spot) => spot,
            Self::File(path) => panic!("{} is a file", path.display()),
        }
    }

    /// Keeps what a stopped broker left, under `name`.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub async fn save(&self, name: &str) {
        match self {
            Self::File(path) => {
                std::fs::copy(path, kept(path, name)).unwrap();
            }
            Self::Server(spot) => spot.copy_to(name).await,
        }
    }

    /// Makes the database of a stopped broker what was kept under `name`.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub async fn restore(&self, name: &str) {
        match self {
            Self::File(path) => {
                for journal in ["-wal", "-shm"] {
                    let mut path = path.clone().into_os_string();
                    path.push(journal);
                    drop(std::fs::remove_file(path));
                }
                std::fs::copy(kept(path, name), path).unwrap();
            }
            Self::Server(spot) => spot.copy_from(name).await,
        }
    }

    /// What a stopped broker would find had somebody put a new disk there: a server's database has its schema, a file is
    /// gone.
    ///
    /// # Panics
    /// When it cannot be taken away.
    pub async fn empty(&self) {
        match self {
            Self::File(path) => drop(std::fs::remove_file(path)),
            Self::Server(spot) => spot.empty().await,
        }
    }

    /// Every value of every row, as bytes among others: what a thief of the disk would read.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn bytes(&self) -> Vec<u8> {
        match self {
            // It lies in the broker's folder, which is read as a whole.
            Self::File(_) => Vec::new(),
            Self::Server(spot) => everything(spot).await,
        }
    }
}

/// The SQLite file, for tests that are about the file.
impl AsRef<Path> for Database {
    fn as_ref(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Server(spot) => panic!("{} is no file: only_on(Engine::Sqlite)", spot.name),
        }
    }
}

fn kept(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(format!("{name}.db"))
}

/// Runs `sql`, and merges a write-ahead log. Gives the rows it changed. Both engines understand `x'00'` and
/// `zeroblob(n)` here.
///
/// # Panics
/// When the engine refuses.
pub async fn tamper(database: &Database, sql: &str) -> u64 {
    let file = match database {
        Database::File(file) => file,
        Database::Server(spot) => return spot.tell(&spoken(sql)).await,
    };
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

/// `x'…'`, which PostgreSQL takes for bits, as bytes.
fn spoken(sql: &str) -> String {
    let mut spoken = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find("x'") {
        let (before, bits) = rest.split_at(at);
        spoken.push_str(before);
        // A word in quotes may end so, or be an x: bits begin after a space or a sign.
        if !before.ends_with([' ', '(', ',', '=']) {
            spoken.push_str("x'");
            rest = bits.get(2..).unwrap();
            continue;
        }
        let (hex, after) = bits.get(2..).unwrap().split_once('\'').unwrap();
        spoken.push_str(&format!("'\\x{hex}'::bytea"));
        rest = after;
    }
    spoken + rest
}

/// The bytes in one cell.
///
/// # Panics
/// When there is no such cell.
pub async fn cell(database: &Database, sql: &'static str) -> Vec<u8> {
    match database {
        Database::File(file) => {
            let mut db = open(file).await;
            let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
            let bytes = row.try_get_unchecked(0).unwrap();
            db.close().await.unwrap();
            bytes
        }
        Database::Server(spot) => {
            let mut db = spot.connect().await;
            let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
            let bytes = row.try_get_unchecked(0).unwrap();
            db.close().await.unwrap();
            bytes
        }
    }
}

/// The number in one cell: a count.
///
/// # Panics
/// When there is no such cell.
pub async fn number(database: &Database, sql: &'static str) -> i64 {
    match database {
        Database::File(file) => {
            let mut db = open(file).await;
            let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
            db.close().await.unwrap();
            row.get(0)
        }
        Database::Server(spot) => {
            let mut db = spot.connect().await;
            let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
            db.close().await.unwrap();
            row.get(0)
        }
    }
}

/// How many rows each table has that a walk writes: what noise must leave as it was. A certificate that is kept to be
/// given again is written after its answer, so it is not counted; its grant is.
///
/// # Panics
/// When the engine refuses.
pub async fn counts(database: &Database) -> Vec<i64> {
    let mut counts = Vec::new();
    match database {
        Database::File(file) => {
            let mut db = open(file).await;
            for sql in COUNTS {
                let row = sqlx::query::<Sqlite>(*sql)
                    .fetch_one(&mut db)
                    .await
                    .unwrap();
                counts.push(row.get(0));
            }
            db.close().await.unwrap();
        }
        Database::Server(spot) => {
            let mut db = spot.connect().await;
            for sql in COUNTS {
                counts.push(sqlx::query(*sql).fetch_one(&mut db).await.unwrap().get(0));
            }
            db.close().await.unwrap();
        }
    }
    counts
}

async fn everything(spot: &Spot) -> Vec<u8> {
    let mut db = spot.connect().await;
    // Bytes as what they are wherever they are ASCII, as secrets in texts are.
    db.execute("SET bytea_output = 'escape'").await.unwrap();
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    let tables = sqlx::query(tables).fetch_all(&mut db).await.unwrap();
    let mut bytes = Vec::new();
    for table in tables {
        let rows = format!("SELECT t::text FROM {} t", table.get::<&str, _>(0));
        for row in sqlx::query(AssertSqlSafe(rows))
            .fetch_all(&mut db)
            .await
            .unwrap()
        {
            bytes.extend_from_slice(row.get::<&str, _>(0).as_bytes());
            bytes.push(b'\n');
        }
    }
    db.close().await.unwrap();
    bytes
}

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file))
        .await
        .unwrap()
}

const COUNTS: &[&str] = &[
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
];
