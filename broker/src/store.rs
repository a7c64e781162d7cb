//! The database: a SQLite file or a PostgreSQL server, its readers, and the rows that outcomes leave behind.
//!
//! Reads happen here, at any time, on read-only connections. Writes are [`Write`] values: plain
//! rows that the walk hands to the ledger, which alone applies them, in the transaction of their
//! entry. Nothing in here begins or commits a transaction.

pub(crate) mod copy;
pub(crate) mod cursors;
pub mod deferrals;
pub mod derived;
pub(crate) mod engine;
pub mod erase;
pub mod issuers;
pub mod lists;
pub mod look;
pub(crate) mod moved;
pub mod nodes;
pub mod notes;
pub mod notices;
pub(crate) mod pages;
pub mod passkeys;
pub mod people;
pub mod place;
pub mod policies;
pub mod prune;
pub mod requests;
pub mod retries;
pub mod sessions;
pub(crate) mod snapshot;
pub mod spent;
pub mod tasks;
pub mod trail;
pub mod votes;
pub(crate) mod wake;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::upkeep::migrate::Plan;
pub use derived::Derived;
pub use engine::postgres::{Server, ServerError};
pub use engine::{Db, Engine};
use engine::{Readers, Trouble, postgres, query, sqlite};
pub use issuers::FetchRow;
use moved::Moved;
pub use nodes::CloseRow;
pub use notices::NoticeRow;
use place::{Lock, PlaceError};
pub use policies::PolicyRow;
pub use requests::RequestRow;
pub use retries::{AnswerRow, RetryRow};
pub use sessions::SessionRow;
pub use spent::{Sort, SpentRow};
pub use tasks::{GrantRow, TaskRow};
pub use votes::VoteRow;

/// One change that goes with one entry. The ledger applies all writes of a batch as set
/// statements: guards first, effects after the chain was extended.
#[derive(Debug, Clone)]
pub enum Write {
    /// Guard: a node's mark of what it handed out still stands where it was thought to.
    Close(CloseRow),
    /// Guard: what lets whoever asked come back for the answer.
    Deferral(deferrals::Change),
    /// Effect: the task was refused something.
    Deny(String),
    /// Effect: tiles, index and the standing set, which anybody can make again from the entries.
    Derived(Box<Derived>),
    /// Guard: each of these bodies is there, and goes; what rows know of the same goes with them.
    Erase(Box<erase::EraseRow>),
    /// Effect: an issuer's key set, which is on record, was fetched.
    Fetched(FetchRow),
    /// Effect: a credential was granted under the task.
    Grant(GrantRow),
    /// Guard: the task's history is still the one that was judged (`outcomes` of its row).
    HistoryIs {
        /// The task's id, `task_…`.
        task: String,
        /// The version the decision read.
        outcomes: i64,
    },
    /// Effect: an answer that may be given again.
    Keep(AnswerRow),
    /// Guard: this identity, of a workload or a person, is not disabled.
    NotDisabled(String),
    /// Guard: neither this issuer nor everything is frozen.
    NotFrozen(String),
    /// Effect: notices to be sent, and what became of them.
    Notice(notices::Change),
    /// Effect: somebody looked at a request.
    Looked(votes::Look),
    /// Upsert: the task exists from now on; the entry says `opens` if it did not before.
    OpenTask(TaskRow),
    /// Guard: nobody parked the same ask meanwhile.
    Park(RequestRow),
    /// Guard: what people's logins, sessions and passkeys change.
    People(people::Change),
    /// Effect: the files of a policy set, by hash.
    PolicySet(PolicyRow),
    /// Effect: the log begins later from now on; the entry says where.
    Pruned,
    /// Guard: the first replay of this evidence; later ones are only counted.
    Replayed(String),
    /// Guard: the request stood and does not any more.
    RequestEnded(requests::Ending),
    /// Guard: the idempotency key was not used before.
    Retry(RetryRow),
    /// Guard: the evidence was not used before, or may be used again by its prover.
    Spend(SpentRow),
    /// Effect: a part of what was archived goes.
    Sweep(Box<prune::SweepRow>),
    /// Guard: the vote is this person's first of its sort, on a request that stands and had no other vote meanwhile.
    Vote(VoteRow),
    /// Guard: the request has just the votes that were judged (`votes` of its row), and still stands.
    VotesAre(votes::Judged),
}

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A SQLite file on a local disk.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(Server),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.shown().fmt(f),
        }
    }
}

/// Opens and reads the one database of this broker; a file is kept apart from everybody else.
#[derive(Debug, Clone)]
pub struct Store {
    location: Location,
    log: String,
    readers: Readers,
    /// Nobody else opens the file while this or a clone of it lives.
    _lock: Option<Arc<Lock>>,
}

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The engine, the network or the file system answered with an error.
    #[error("the database `{place}` failed")]
    Database {
        /// The file or server.
        place: String,
        /// What the engine said.
        source: sqlx::Error,
    },
    /// There is no such file.
    #[error("there is no database `{0}`")]
    Missing(PathBuf),
    /// A migration did not apply.
    #[error("the schema of `{place}` could not be brought up to date")]
    Migrate {
        /// The file or server.
        place: String,
        /// What the engine said.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// The ledger was moved to another database.
    #[error(
        "the ledger of `{place}` moved to `{to}`: set [store] url to that; this file is served no more"
    )]
    Moved {
        /// The file or server.
        place: String,
        /// Where it went.
        to: String,
    },
    /// A move was cut off, and nobody knows here whether all of it arrived.
    #[error(
        "a move of `{place}` to `{to}` was cut off: run `stintd migrate --to` with that server again to finish it, \
         or with `--cancel` to take it back"
    )]
    Moving {
        /// The file or server.
        place: String,
        /// Where it was going.
        to: String,
    },
    /// The schema is not this program's.
    #[error("`{place}` has schema {found}, this program needs {wanted}: {next}")]
    Schema {
        /// The server.
        place: String,
        /// The newest migration that was applied, 0 without one.
        found: i64,
        /// The newest there is.
        wanted: i64,
        /// What an operator can do.
        next: &'static str,
    },
    /// A setting that durability rests on is otherwise than it must be.
    #[error("`{place}`: `{name}` reads `{found}`, it must be `{wanted}`")]
    Setting {
        /// The file or server.
        place: String,
        /// The pragma or parameter.
        name: &'static str,
        /// What must be.
        wanted: &'static str,
        /// What is.
        found: String,
    },
    /// The file does not lie where a ledger may, or is another broker's.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The engine is too old.
    #[error("{engine} {found} is too old: at least {wanted}")]
    TooOld {
        /// Its name.
        engine: &'static str,
        /// Its version.
        found: String,
        /// From which version on it serves.
        wanted: &'static str,
    },
}

impl Error {
    /// Names the place in an engine's error.
    pub(crate) fn database(place: impl fmt::Display, source: sqlx::Error) -> Self {
        Self::Database {
            place: place.to_string(),
            source,
        }
    }
}

impl Store {
    /// Opens the database of `log` (a file is created and brought up to date, a server must have been), and gives the
    /// store with the writer's connection, on which every durability setting was read back (LEDGER.md §7).
    ///
    /// # Errors
    /// [`Error`] names the place and the setting or statement that failed.
    pub async fn open(location: &Location, log: &str) -> Result<(Self, Db), Error> {
        let lock = match location {
            Location::File(path) => {
                let lock = Lock::take(path)?;
                place::make(path)?;
                Some(Arc::new(lock))
            }
            Location::Server(_) => None,
        };
        let mut writer = connect(location).await?;
        match location {
            Location::File(_) => {
                upgrade(location, &mut writer).await?;
                // Whoever was killed right after an erasure left its bytes in the log.
                let scrubbed = snapshot::scrub(&mut writer).await;
                scrubbed.map_err(|source| Error::database(location, source))?;
            }
            Location::Server(_) => expect_schema(location, &mut writer).await?,
        }
        refuse_moved(location, &mut writer).await?;
        warn_of_standbys(location, &mut writer).await?;
        let readers = match location {
            Location::File(path) => Readers::Sqlite(sqlite::readers(path).await?),
            Location::Server(server) => Readers::Postgres(server.readers()),
        };
        let store = Self {
            location: location.clone(),
            log: log.to_owned(),
            readers,
            _lock: lock,
        };
        Ok((store, writer))
    }

    /// Another connection for writing, proven as the first was: where the first is lost.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn writer(&self) -> Result<Db, Error> {
        connect(&self.location).await
    }

    /// The log whose rows these are.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The same database, with the rows of another log: an epoch of this one.
    #[must_use]
    pub fn of(&self, log: &str) -> Self {
        let log = log.to_owned();
        Self {
            log,
            ..self.clone()
        }
    }

    /// The connections for reading.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Where the database is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which engine it is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.location.engine()
    }

    /// The server's own clock, in milliseconds; a file has none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn clock(&self) -> Result<Option<i64>, Error> {
        if self.engine() == Engine::Sqlite {
            return Ok(None);
        }
        query("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
            .fetch_one(self.readers())
            .await
            .and_then(|row| row.try_get(0))
            .map(Some)
            .map_err(|source| self.failed(source))
    }

    /// What the record says of the store: engine, version, what makes its commits durable, and on a server the timeline,
    /// another one of which is another history.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn storage(&self) -> Result<serde_json::Value, Error> {
        let sql = match self.engine() {
            Engine::Postgres => postgres::STORAGE,
            Engine::Sqlite => sqlite::STORAGE,
        };
        let row = query(sql).fetch_one(self.readers()).await;
        let text: String = row
            .and_then(|row| row.try_get(0))
            .map_err(|source| self.failed(source))?;
        serde_json::from_str(&text)
            .map_err(|source| self.failed(sqlx::Error::Decode(Box::new(source))))
    }

    /// The same for a write that is not the committer's. Its connection is another one, the file and its fate are not.
    pub(crate) fn unwritten(&self, source: sqlx::Error) -> Error {
        Trouble::heed(&source);
        self.failed(source)
    }

    /// Names the place in an engine's error.
    pub(crate) fn failed(&self, source: sqlx::Error) -> Error {
        Error::database(&self.location, source)
    }
}

impl Location {
    /// Which engine is there.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Self::File(_) => Engine::Sqlite,
            Self::Server(_) => Engine::Postgres,
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

/// Brings the schema at `location` up to date: what `stintd migrate` does, and every start on a file.
///
/// # Errors
/// [`Error::Migrate`]; [`Error`] as it is opened.
pub async fn migrate(location: &Location) -> Result<(), Error> {
    let _lock = location.file().map(Lock::take).transpose()?;
    let mut db = connect(location).await?;
    upgrade(location, &mut db).await?;
    db.close()
        .await
        .map_err(|source| Error::database(location, source))
}

/// A lost primary takes with it what no standby has confirmed: acknowledged entries, and with them every receipt.
async fn warn_of_standbys(location: &Location, db: &mut Db) -> Result<(), Error> {
    if db.engine() != Engine::Postgres {
        return Ok(());
    }
    let row = query("SELECT current_setting('synchronous_standby_names')")
        .fetch_one(db)
        .await;
    let standbys: String = row
        .and_then(|row| row.try_get(0))
        .map_err(|source| Error::database(location, source))?;
    if standbys.is_empty() {
        tracing::warn!(
            store = %location,
            "synchronous_standby_names is empty: a lost primary takes its last commits with it"
        );
    }
    Ok(())
}

/// One of two ledgers of one log would be a fork: what went elsewhere is not served here.
async fn refuse_moved(location: &Location, db: &mut Db) -> Result<(), Error> {
    let moved = moved::read(db).await;
    match moved.map_err(|source| Error::database(location, source))? {
        None => Ok(()),
        Some(Moved { place: to, done }) => {
            let place = location.to_string();
            Err(match done {
                true => Error::Moved { place, to },
                false => Error::Moving { place, to },
            })
        }
    }
}

/// The database as it lies there, up to date, whatever mark it bears; a file is kept apart from everybody else as long as
/// the lock lives. A file that is not there is not made.
pub(crate) async fn alone(location: &Location) -> Result<(Option<Lock>, Db), Error> {
    let lock = location.file().map(Lock::take).transpose()?;
    if let Some(path) = location.file().filter(|path| !path.exists()) {
        return Err(Error::Missing(path.to_owned()));
    }
    let mut db = connect(location).await?;
    match location {
        Location::File(_) => upgrade(location, &mut db).await?,
        Location::Server(_) => expect_schema(location, &mut db).await?,
    }
    Ok((lock, db))
}

/// A writer's connection.
pub(crate) async fn connect(location: &Location) -> Result<Db, Error> {
    Ok(match location {
        Location::File(path) => Db::Sqlite(Box::new(sqlite::writer(path).await?)),
        Location::Server(server) => Db::Postgres(Box::new(server.writer().await?)),
    })
}

pub(crate) async fn upgrade(location: &Location, db: &mut Db) -> Result<(), Error> {
    // A role that may not change a server's schema need not, once its owner has.
    if db.engine() == Engine::Postgres && expect_schema(location, db).await.is_ok() {
        return Ok(());
    }
    let done = match db {
        Db::Postgres(db) => postgres::MIGRATIONS.run(&mut **db).await,
        Db::Sqlite(db) => sqlite::MIGRATIONS.run(&mut **db).await,
    };
    done.map_err(|source| Error::Migrate {
        place: location.to_string(),
        source: Box::new(source),
    })
}

/// What is to be done to bring the schema up to date.
///
/// # Errors
/// [`Error::Schema`] where it is newer than this program.
pub(crate) async fn plan(location: &Location, db: &mut Db) -> Result<Plan, Error> {
    let known = schema(db).await;
    let (found, wanted) = known.map_err(|source| Error::database(location, source))?;
    if found > wanted {
        expect_schema(location, db).await?;
    }
    let migrations = match db.engine() {
        Engine::Postgres => &postgres::MIGRATIONS,
        Engine::Sqlite => &sqlite::MIGRATIONS,
    };
    let missing = migrations.iter().filter(|step| step.version > found);
    Ok(Plan {
        place: location.to_string(),
        found,
        wanted,
        steps: missing
            .map(|step| (step.version, step.description.to_string()))
            .collect(),
    })
}

/// Several brokers share a server: none of them changes the schema under the others by merely starting.
async fn expect_schema(location: &Location, db: &mut Db) -> Result<(), Error> {
    let (found, wanted) = schema(db)
        .await
        .map_err(|source| Error::database(location, source))?;
    let next = match found.cmp(&wanted) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => "run `stintd migrate`",
        std::cmp::Ordering::Greater => "install the version that migrated it",
    };
    Err(Error::Schema {
        place: location.to_string(),
        found,
        wanted,
        next,
    })
}

/// The newest migration that was applied, 0 without one, and the newest there is.
pub(crate) async fn schema(db: &mut Db) -> Result<(i64, i64), sqlx::Error> {
    let (migrations, exists) = match db.engine() {
        Engine::Postgres => (
            &postgres::MIGRATIONS,
            "SELECT CAST(count(*) AS BIGINT) FROM pg_tables WHERE tablename = '_sqlx_migrations'
               AND schemaname = ANY (current_schemas(false))",
        ),
        Engine::Sqlite => (
            &sqlite::MIGRATIONS,
            "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
        ),
    };
    let newest = migrations.iter().map(|migration| migration.version).max();
    let exists: i64 = query(exists).fetch_one(&mut *db).await?.try_get(0)?;
    let found = if exists == 0 {
        0
    } else {
        let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        query(sql).fetch_one(&mut *db).await?.try_get(0)?
    };
    Ok((found, newest.unwrap_or(0)))
}

/// Rows as one JSON text: the parameter of a set statement.
pub(crate) fn json<T: serde::Serialize>(rows: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|source| sqlx::Error::Encode(Box::new(source)))
}

/// Keys as one JSON text, each a row of one column.
pub(crate) fn keys<K: AsRef<str>>(keys: &[K]) -> Result<String, sqlx::Error> {
    json(&keys.iter().map(|key| [key.as_ref()]).collect::<Vec<_>>())
}
