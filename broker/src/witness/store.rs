//! The witness's database: the one place of its SQL. Settings are those of the ledger's own, read back; a commit that
//! returned is on disk (LEDGER.md §7).

use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Executor as _, Row as _};
use stint_audit::Digest;
use stint_audit::witness::Held;

use super::WitnessError;
use crate::store::Error;
use crate::store::engine::sqlite;
use crate::store::place::{self, Lock};

/// The open database, under this process alone.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    writer: SqliteConnection,
    readers: SqlitePool,
    /// Commits since the journal was last folded into the file.
    unfolded: u32,
    _lock: Lock,
}

/// What is held of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) held: Held,
    /// The checkpoint with its log's signatures.
    pub(super) note: String,
    /// The line that was answered, without LF.
    pub(super) cosignature: String,
    /// Its time, seconds since 1970 UTC.
    pub(super) time: u64,
}

/// A checkpoint that its log signed and that was not cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The log.
    pub origin: String,
    /// What it shows.
    pub kind: Kind,
    /// The tree it was of.
    pub refused: Held,
    /// The refused checkpoint with its log's signatures.
    pub note: String,
    /// What was held then, signed by the same log; empty if nothing was.
    pub held: String,
    /// When it came, seconds since 1970 UTC.
    pub time: u64,
}

/// What evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The log signed two trees that cannot be one: the two notes alone show it.
    Fork,
    /// No true proof came with it. Anybody can send a good checkpoint with a bad proof: it shows nothing by itself.
    Unproven,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Unproven => "unproven",
        }
    }
}

/// Makes the database of a new witness.
pub(super) async fn create(path: &Path) -> Result<(), Error> {
    place::check(path)?;
    let _lock = Lock::take(path)?;
    place::make(path)?;
    let mut writer = sqlite::writer(path).await?;
    migrate(path, &mut writer).await?;
    let closed = writer.close().await;
    closed.map_err(|source| Error::database(path.display(), source))
}

async fn migrate(path: &Path, writer: &mut SqliteConnection) -> Result<(), Error> {
    let done = MIGRATIONS.run(writer).await;
    done.map_err(|source| Error::Migrate {
        place: path.display().to_string(),
        source: Box::new(source),
    })
}

impl Database {
    /// Opens what [`create`] made.
    pub(super) async fn open(path: &Path) -> Result<Self, WitnessError> {
        if !path.exists() {
            return Err(WitnessError::Absent(path.to_owned()));
        }
        place::check(path).map_err(Error::from)?;
        let lock = Lock::take(path).map_err(Error::from)?;
        let mut writer = sqlite::writer(path).await?;
        migrate(path, &mut writer).await?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            readers: sqlite::readers(path).await?,
            unfolded: 0,
            _lock: lock,
        })
    }

    /// Connections that only read.
    pub(super) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Names the file in an engine's error.
    pub(super) fn failed(&self, source: sqlx::Error) -> Error {
        Error::database(self.path.display(), source)
    }

    /// Begins a transaction; nobody else writes.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.writer.execute("BEGIN IMMEDIATE").await.map(drop)
    }

    /// Ends it. When this returns, all of it is on disk.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.writer.execute("COMMIT").await?;
        self.unfolded += 1;
        if self.unfolded >= FOLD_EVERY {
            self.unfolded = 0;
            self.fold().await?;
        }
        Ok(())
    }

    async fn fold(&mut self) -> Result<(), sqlx::Error> {
        let folded = self.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").await;
        folded.map(drop)
    }

    /// Folds the journal and closes.
    pub(super) async fn close(mut self) -> Result<(), sqlx::Error> {
        self.readers.close().await;
        self.writer
            .execute("PRAGMA wal_checkpoint(TRUNCATE)")
            .await?;
        self.writer.close().await
    }

    /// What is held of a log, as this transaction sees it.
    pub(super) async fn held(&mut self, origin: &str) -> Result<Option<LogRow>, sqlx::Error> {
        let row = sqlx::query(HELD).bind(origin);
        let row = row.fetch_optional(&mut self.writer).await?;
        row.map(|row| log_row(&row)).transpose()
    }

    /// Holds `row` of a log from now on.
    pub(super) async fn hold(&mut self, origin: &str, row: &LogRow) -> Result<(), sqlx::Error> {
        let done = sqlx::query(
            "INSERT INTO witness_log (origin, size, root, note, cosignature, time)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root,
               note = excluded.note, cosignature = excluded.cosignature, time = excluded.time",
        )
        .bind(origin)
        .bind(signed(row.held.size)?)
        .bind(row.held.root.as_bytes().as_slice())
        .bind(&row.note)
        .bind(&row.cosignature)
        .bind(signed(row.time)?)
        .execute(&mut self.writer)
        .await;
        done.map(drop)
    }

    /// Keeps evidence, [`KEPT`] a log and kind: of forks the first ones, for one is enough; of what is merely unproven
    /// the last ones. Gives whether it is new.
    pub(super) async fn keep(&mut self, evidence: &Evidence) -> Result<bool, sqlx::Error> {
        let kind = evidence.kind.word();
        let room = match evidence.kind {
            Kind::Fork => KEPT,
            Kind::Unproven => i64::MAX,
        };
        let inserted = sqlx::query(
            "INSERT INTO witness_evidence (origin, kind, size, root, note, held, time)
             SELECT $1, $2, $3, $4, $5, $6, $7
             WHERE (SELECT count(*) FROM witness_evidence WHERE origin = $1 AND kind = $2) < $8
             ON CONFLICT (origin, kind, size, root) DO NOTHING",
        )
        .bind(&evidence.origin)
        .bind(kind)
        .bind(signed(evidence.refused.size)?)
        .bind(evidence.refused.root.as_bytes().as_slice())
        .bind(&evidence.note)
        .bind(&evidence.held)
        .bind(signed(evidence.time)?)
        .bind(room)
        .execute(&mut self.writer)
        .await?;
        sqlx::query(
            "DELETE FROM witness_evidence WHERE origin = $1 AND kind = $2 AND id NOT IN (
               SELECT id FROM witness_evidence WHERE origin = $1 AND kind = $2 ORDER BY id DESC LIMIT $3)",
        )
        .bind(&evidence.origin)
        .bind(kind)
        .bind(KEPT)
        .execute(&mut self.writer)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }
}

/// What is held of a log, as the last commit left it.
pub(super) async fn published(
    readers: &SqlitePool,
    origin: &str,
) -> Result<Option<LogRow>, sqlx::Error> {
    let row = sqlx::query(HELD)
        .bind(origin)
        .fetch_optional(readers)
        .await?;
    row.map(|row| log_row(&row)).transpose()
}

/// All evidence, oldest first.
pub(super) async fn evidence(path: &Path) -> Result<Vec<Evidence>, Error> {
    let failed = |source| Error::database(path.display(), source);
    let readers = sqlite::readers(path).await?;
    let rows = sqlx::query(
        "SELECT origin, kind, size, root, note, held, time FROM witness_evidence ORDER BY id",
    )
    .fetch_all(&readers)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(evidence_row)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

const HELD: &str = "SELECT size, root, note, cosignature, time FROM witness_log WHERE origin = $1";

fn log_row(row: &SqliteRow) -> Result<LogRow, sqlx::Error> {
    Ok(LogRow {
        held: held(row, 0)?,
        note: row.try_get(2)?,
        cosignature: row.try_get(3)?,
        time: row.try_get::<i64, _>(4)?.unsigned_abs(),
    })
}

fn evidence_row(row: &SqliteRow) -> Result<Evidence, sqlx::Error> {
    Ok(Evidence {
        origin: row.try_get(0)?,
        kind: match row.try_get::<&str, _>(1)? {
            "fork" => Kind::Fork,
            _ => Kind::Unproven,
        },
        refused: held(row, 2)?,
        note: row.try_get(4)?,
        held: row.try_get(5)?,
        time: row.try_get::<i64, _>(6)?.unsigned_abs(),
    })
}

/// Size and root in columns `at` and the next.
fn held(row: &SqliteRow, at: usize) -> Result<Held, sqlx::Error> {
    let root: &[u8] = row.try_get(at + 1)?;
    let root = <[u8; 32]>::try_from(root);
    let root = root.map_err(|source| sqlx::Error::Decode(Box::new(source)))?;
    Ok(Held {
        size: row.try_get::<i64, _>(at)?.unsigned_abs(),
        root: Digest::from_bytes(root),
    })
}

/// As a column holds it. Whoever asks has refused what is 2^63 or more.
fn signed(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|source| sqlx::Error::Encode(Box::new(source)))
}

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/witness");

/// Evidence kept, a log and kind.
const KEPT: i64 = 64;
/// Commits between two foldings: some megabytes of journal.
const FOLD_EVERY: u32 = 512;
