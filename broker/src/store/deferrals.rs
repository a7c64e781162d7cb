//! What lets whoever asked come back for the answer: the keys that asked, and the deferral codes of the token endpoint.

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// One deferral code. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct DeferralRow {
    /// SHA-256 of the code, base64url.
    pub hash: String,
    /// `req_…`.
    pub request: String,
    /// SPIFFE ID of whoever asked.
    pub client: String,
    /// Thumbprint of the key that asked, base64url.
    pub key: String,
    /// JSON: the ask as its form said it.
    pub form: String,
    /// The newest poll.
    pub asked: i64,
    /// How many seconds must be between two polls.
    pub pace: i64,
    /// How many came sooner.
    pub hasty: i64,
    /// As long as it is good.
    pub until: i64,
    /// What became of it.
    pub state: CodeState,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeState {
    /// Taken back.
    Cancelled,
    /// Good.
    Open,
    /// Its answer was fetched.
    Spent,
}

/// What happens to them.
#[derive(Debug, Clone)]
pub enum Change {
    /// A key asked: it may watch the request until then.
    Asked {
        /// `req_…`.
        request: String,
        /// Thumbprint, base64url.
        key: String,
        /// In milliseconds.
        until: i64,
    },
    /// A code was taken back. Lost, if it was not open.
    Cancel {
        /// Which.
        hash: String,
    },
    /// A code is handed out.
    Open(DeferralRow),
    /// A code was shown, in time or too soon.
    Polled {
        /// Which.
        hash: String,
        /// When.
        at: i64,
        /// How many seconds must be between two polls from now on.
        pace: i64,
        /// How many came sooner.
        hasty: i64,
    },
    /// A code's answer is being made. Lost, if it was not open.
    Redeem {
        /// Which.
        hash: String,
    },
    /// There was no answer after all.
    Reopen {
        /// Which.
        hash: String,
    },
    /// The answer was given: no other code of the request is good.
    SpendOthers {
        /// `req_…`.
        request: String,
    },
}

impl Change {
    /// What must not be changed twice in one batch.
    pub(crate) fn claim(&self) -> String {
        match self {
            Self::Asked { request, key, .. } => format!("{request} {key}"),
            Self::Open(row) => row.hash.clone(),
            Self::Cancel { hash }
            | Self::Polled { hash, .. }
            | Self::Redeem { hash }
            | Self::Reopen { hash } => hash.clone(),
            Self::SpendOthers { request } => request.clone(),
        }
    }
}

impl CodeState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Open => "open",
            Self::Spent => "spent",
        }
    }
}

impl Store {
    /// The code with this hash, if it is known.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn deferral(&self, hash: &str) -> Result<Option<DeferralRow>, Error> {
        query(
            "SELECT hash, request, client, key, form, asked, pace, hasty, until, state FROM deferral
             WHERE log = $1 AND hash = $2",
        )
        .bind(self.log())
        .bind(hash)
        .fetch_optional(self.readers())
        .await
        .and_then(|row| row.as_ref().map(read).transpose())
        .map_err(|source| self.failed(source))
    }

    /// Whether this key asked for this request.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn asked_by_key(&self, request: &str, key: &str) -> Result<bool, Error> {
        query("SELECT 1 FROM request_key WHERE log = $1 AND request = $2 AND key = $3")
            .bind(self.log())
            .bind(request)
            .bind(key)
            .fetch_optional(self.readers())
            .await
            .map(|row| row.is_some())
            .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<DeferralRow, sqlx::Error> {
    let state: String = row.try_get(9)?;
    let known = [CodeState::Cancelled, CodeState::Open, CodeState::Spent];
    let known = known.into_iter().find(|it| it.as_str() == state);
    Ok(DeferralRow {
        hash: row.try_get(0)?,
        request: row.try_get(1)?,
        client: row.try_get(2)?,
        key: row.try_get(3)?,
        form: row.try_get(4)?,
        asked: row.try_get(5)?,
        pace: row.try_get(6)?,
        hasty: row.try_get(7)?,
        until: row.try_get(8)?,
        state: known.ok_or_else(|| sqlx::Error::Decode(state.into()))?,
    })
}

/// Applies a change; `false` if a code was to be used up that is not open.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    match change {
        Change::Asked {
            request,
            key,
            until,
        } => {
            query(
                "INSERT INTO request_key (log, request, key, until) VALUES ($1, $2, $3, $4)
                 ON CONFLICT DO NOTHING",
            )
            .bind(log)
            .bind(&**request)
            .bind(&**key)
            .bind(*until)
            .execute(db)
            .await?;
        }
        Change::Cancel { hash } => {
            return turn(db, log, hash, (CodeState::Open, CodeState::Cancelled)).await;
        }
        Change::Open(row) => open(db, log, row).await?,
        Change::Polled {
            hash,
            at,
            pace,
            hasty,
        } => {
            query("UPDATE deferral SET asked = $3, pace = $4, hasty = $5 WHERE log = $1 AND hash = $2")
                .bind(log)
                .bind(&**hash)
                .bind(*at)
                .bind(*pace)
                .bind(*hasty)
                .execute(db)
                .await?;
        }
        Change::Redeem { hash } => {
            return turn(db, log, hash, (CodeState::Open, CodeState::Spent)).await;
        }
        Change::Reopen { hash } => {
            return turn(db, log, hash, (CodeState::Spent, CodeState::Open)).await;
        }
        Change::SpendOthers { request } => {
            query(
                "UPDATE deferral SET state = 'spent' WHERE log = $1 AND request = $2 AND state = 'open'",
            )
            .bind(log)
            .bind(&**request)
            .execute(db)
            .await?;
        }
    }
    Ok(true)
}

async fn turn(
    db: &mut Db,
    log: &str,
    hash: &str,
    (from, to): (CodeState, CodeState),
) -> Result<bool, sqlx::Error> {
    let turned =
        query("UPDATE deferral SET state = $4 WHERE log = $1 AND hash = $2 AND state = $3")
            .bind(log)
            .bind(hash)
            .bind(from.as_str())
            .bind(to.as_str())
            .execute(db)
            .await?;
    Ok(turned == 1)
}

async fn open(db: &mut Db, log: &str, row: &DeferralRow) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO deferral (log, hash, request, client, key, form, asked, pace, hasty, until, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(log)
    .bind(&*row.hash)
    .bind(&*row.request)
    .bind(&*row.client)
    .bind(&*row.key)
    .bind(&*row.form)
    .bind(row.asked)
    .bind(row.pace)
    .bind(row.hasty)
    .bind(row.until)
    .bind(row.state.as_str())
    .execute(db)
    .await
    .map(drop)
}

/// Forgets what ended a day ago: until then whoever comes late hears that it is over, and not that it never was.
pub(crate) async fn forget(db: &mut Db, log: &str, now: i64) -> Result<(), sqlx::Error> {
    for sql in [
        "DELETE FROM deferral WHERE log = $1 AND until < $2",
        "DELETE FROM request_key WHERE log = $1 AND until < $2",
    ] {
        query(sql)
            .bind(log)
            .bind(now.saturating_sub(DAY))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// In milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;
