//! Notices that are to be sent, and what became of them.
//!
//! What is to be said comes with the outcome that it is about, in its transaction. Who sends it takes a target's turn
//! first, by a small statement of its own as the ledger's followers do; all else goes through the ledger's door.

use std::collections::BTreeSet;

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// Something that is to be said to one target. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// NAME of `[notify.NAME]`.
    pub target: String,
    /// What is said of what: a second row of the same is none.
    pub id: String,
    /// What it is about.
    pub topic: Topic,
    /// Whose it is: a burst of one is one message.
    pub who: String,
    /// `req_…`, if it is about one.
    pub request: Option<String>,
    /// JSON: what is said, in no format yet.
    pub body: String,
    /// When to send it.
    pub due: i64,
    /// When it is too late.
    pub until: i64,
    /// How it went so far.
    pub so_far: SoFar,
}

/// How the sending went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoFar {
    /// How often it was tried in vain.
    pub tries: i64,
    /// The message it goes out with, once it was tried.
    pub parcel: Option<String>,
    /// Whom that message did not reach yet; none: everybody.
    pub rest: Option<Vec<String>>,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What an operator should see at once.
    Alarm,
    /// What a request came to.
    Decided,
    /// An ask that waits.
    Request,
}

impl Topic {
    const ALL: [Topic; 3] = [Topic::Alarm, Topic::Decided, Topic::Request];

    /// The word in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Topic::Alarm => "alarm",
            Topic::Decided => "decided",
            Topic::Request => "request",
        }
    }

    fn read(word: &str) -> Result<Topic, sqlx::Error> {
        let known = Topic::ALL.into_iter().find(|it| it.as_str() == word);
        known.ok_or_else(|| sqlx::Error::Decode(word.into()))
    }
}

/// What happens to notices.
#[derive(Debug, Clone)]
pub enum Change {
    /// These go out together from now on, as one message.
    Bind {
        /// NAME of the target.
        target: String,
        /// Their ids.
        ids: Vec<String>,
        /// The message's.
        parcel: String,
    },
    /// A request came to something: what waits to be said of it is not said any more, and this is.
    Decided {
        /// `req_…`.
        request: String,
        /// One for each target.
        rows: Vec<NoticeRow>,
        /// Whether those that were not told of the request need not hear its end either.
        quiet: bool,
    },
    /// A message did not arrive.
    Failed(Failed),
    /// There is nothing to be said any more.
    Gone {
        /// NAME of the target.
        target: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// Something is to be said.
    Say(Vec<NoticeRow>),
    /// A message arrived, and its notices go.
    Sent(Sent),
    /// A delivery that no notice stands behind went well, or not: why.
    Tried {
        /// NAME of the target.
        target: String,
        /// When.
        at: i64,
        /// What kept it.
        error: Option<String>,
    },
}

/// A message that did not arrive.
#[derive(Debug, Clone)]
pub struct Failed {
    /// NAME of the target.
    pub target: String,
    /// The message.
    pub parcel: String,
    /// When.
    pub at: i64,
    /// When to try again.
    pub due: i64,
    /// Whom it did not reach; none: everybody.
    pub rest: Option<Vec<String>>,
    /// What kept it.
    pub error: String,
}

/// A message that arrived.
#[derive(Debug, Clone)]
pub struct Sent {
    /// NAME of the target.
    pub target: String,
    /// The message.
    pub parcel: String,
    /// What it was about.
    pub topic: Topic,
    /// Whose it was; empty for a digest.
    pub who: String,
    /// When.
    pub at: i64,
    /// Of messages before, none counts any more.
    pub forget: i64,
}

/// A message that went to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// What it was about.
    pub topic: Topic,
    /// Whose it was; empty for a digest.
    pub who: String,
    /// When.
    pub at: i64,
}

/// How a target does. Times are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetRow {
    /// NAME of `[notify.NAME]`.
    pub target: String,
    /// The last delivery that arrived.
    pub sent: Option<i64>,
    /// The last that did not.
    pub failed: Option<i64>,
    /// What kept it.
    pub error: Option<String>,
    /// Notices that wait to be sent.
    pub waiting: i64,
}

/// Somebody who may be written to.
#[derive(Debug, Clone)]
pub struct Reader {
    /// SPIFFE ID of the user.
    pub id: String,
    /// Verified by the IdP.
    pub email: String,
    /// Groups of the newest login.
    pub groups: BTreeSet<String>,
}

impl Store {
    /// What is to be said to a target, what is due first in front.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn notices(&self, target: &str) -> Result<Vec<NoticeRow>, Error> {
        query(
            "SELECT target, id, topic, who, request, body, due, until, tries, parcel, rest FROM notice
             WHERE log = $1 AND target = $2 ORDER BY due, id LIMIT 1000",
        )
        .bind(self.log())
        .bind(target)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }

    /// What was said to a target after `since`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn notices_sent(&self, target: &str, since: i64) -> Result<Vec<Past>, Error> {
        let past = |row: &Row| {
            Ok(Past {
                topic: Topic::read(&row.try_get::<String>(0)?)?,
                who: row.try_get(1)?,
                at: row.try_get(2)?,
            })
        };
        query("SELECT topic, who, at FROM notice_sent WHERE log = $1 AND target = $2 AND at > $3")
            .bind(self.log())
            .bind(target)
            .bind(since)
            .fetch_all(self.readers())
            .await
            .and_then(|rows| rows.iter().map(past).collect())
            .map_err(|source| self.failed(source))
    }

    /// How each target does that was ever sent to, or has something waiting.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn notice_targets(&self) -> Result<Vec<TargetRow>, Error> {
        let target = |row: &Row| {
            Ok(TargetRow {
                target: row.try_get(0)?,
                sent: row.try_get(1)?,
                failed: row.try_get(2)?,
                error: row.try_get(3)?,
                waiting: row.try_get(4)?,
            })
        };
        query(
            "SELECT t.target, t.sent, t.failed, t.error,
               (SELECT count(*) FROM notice n WHERE n.log = t.log AND n.target = t.target)
             FROM notice_target t WHERE t.log = $1 ORDER BY t.target",
        )
        .bind(self.log())
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(target).collect())
        .map_err(|source| self.failed(source))
    }

    /// Everybody who can be written to, the last to sign in first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn readers_of_mail(&self) -> Result<Vec<Reader>, Error> {
        let reader = |row: &Row| {
            let groups: String = row.try_get(2)?;
            Ok(Reader {
                id: row.try_get(0)?,
                email: row.try_get(1)?,
                groups: parsed(&groups)?,
            })
        };
        query(
            "SELECT id, email, groups FROM person
             WHERE log = $1 AND email IS NOT NULL ORDER BY seen DESC LIMIT 5000",
        )
        .bind(self.log())
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(reader).collect())
        .map_err(|source| self.failed(source))
    }
}

/// A target's turn, as one replica sees it: a lease by the brokers' clocks.
#[derive(Debug)]
pub(crate) struct TargetTurn {
    store: Store,
    /// Opened when it is first needed, and again after an error.
    db: Option<Db>,
    target: String,
    holder: String,
}

impl TargetTurn {
    /// The turn of `target`; `holder` is this life of the replica.
    pub(crate) fn new(store: Store, target: String, holder: String) -> TargetTurn {
        TargetTurn {
            store,
            db: None,
            target,
            holder,
        }
    }

    /// Takes or keeps the turn until `until`, if it is ours or was over at `now`; whether it is ours.
    ///
    /// # Errors
    /// [`Error::Database`]; the turn may be ours.
    pub(crate) async fn take(&mut self, now: i64, until: i64) -> Result<bool, Error> {
        let took = query(
            "INSERT INTO notice_target (log, target, holder, held) VALUES ($1, $2, $3, $4)
             ON CONFLICT (log, target) DO UPDATE SET holder = excluded.holder, held = excluded.held
             WHERE notice_target.holder = excluded.holder OR notice_target.held < $5",
        )
        .bind(self.store.log())
        .bind(&self.target)
        .bind(&self.holder)
        .bind(until)
        .bind(now);
        Ok(self.told(took).await? == 1)
    }

    /// Gives the turn to whoever asks next.
    ///
    /// # Errors
    /// [`Error::Database`]; it then ends by itself.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        let left = query(
            "UPDATE notice_target SET held = 0 WHERE log = $1 AND target = $2 AND holder = $3",
        )
        .bind(self.store.log())
        .bind(&self.target)
        .bind(&self.holder);
        self.told(left).await.map(drop)
    }

    /// A connection that failed is not used again.
    async fn told(&mut self, query: super::engine::Query) -> Result<u64, Error> {
        let mut db = match self.db.take() {
            Some(db) => db,
            None => self.store.writer().await?,
        };
        let done = query.execute(&mut db).await;
        let rows = done.map_err(|source| self.store.unwritten(source))?;
        self.db = Some(db);
        Ok(rows)
    }
}

/// Applies a change.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<(), sqlx::Error> {
    match change {
        Change::Bind {
            target,
            ids,
            parcel,
        } => bind(db, log, (target, ids, parcel)).await,
        Change::Decided {
            request,
            rows,
            quiet,
        } => decided(db, log, (request, rows, *quiet)).await,
        Change::Failed(failed) => note_failure(db, log, failed).await,
        Change::Gone { target, ids } => gone(db, log, target, ids).await,
        Change::Say(rows) => say(db, log, rows).await,
        Change::Sent(sent) => note_arrival(db, log, sent).await,
        Change::Tried { target, at, error } => {
            tried(db, log, (target, *at, error.as_deref())).await
        }
    }
}

async fn say(db: &mut Db, log: &str, rows: &[NoticeRow]) -> Result<(), sqlx::Error> {
    for row in rows {
        query(
            "INSERT INTO notice (log, target, id, topic, who, request, body, due, until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .bind(log)
        .bind(&row.target)
        .bind(&row.id)
        .bind(row.topic.as_str())
        .bind(&row.who)
        .bind(row.request.as_deref())
        .bind(&row.body)
        .bind(row.due)
        .bind(row.until)
        .execute(db)
        .await?;
    }
    Ok(())
}

async fn decided(
    db: &mut Db,
    log: &str,
    (request, rows, quiet): (&str, &[NoticeRow], bool),
) -> Result<(), sqlx::Error> {
    let untold = query(
        "DELETE FROM notice WHERE log = $1 AND request = $2 AND topic = 'request' AND parcel = ''
         RETURNING target",
    );
    let untold = untold.bind(log).bind(request).fetch_all(&mut *db).await?;
    let untold = untold.iter().map(|row| row.try_get::<String>(0));
    let untold = untold.collect::<Result<BTreeSet<_>, _>>()?;
    let mut rows = rows.to_vec();
    rows.retain(|row| !quiet || !untold.contains(&row.target));
    say(db, log, &rows).await
}

async fn bind(
    db: &mut Db,
    log: &str,
    (target, ids, parcel): (&str, &[String], &str),
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE notice SET parcel = $1 WHERE log = $2 AND target = $3 AND parcel = ''
           AND id IN (SELECT value->>0 FROM json_each($4))",
    )
    .bind(parcel)
    .bind(log)
    .bind(target)
    .bind(super::keys(ids)?)
    .execute(db)
    .await
    .map(drop)
}

async fn gone(db: &mut Db, log: &str, target: &str, ids: &[String]) -> Result<(), sqlx::Error> {
    query(
        "DELETE FROM notice WHERE log = $1 AND target = $2 AND id IN (SELECT value->>0 FROM json_each($3))",
    )
    .bind(log)
    .bind(target)
    .bind(super::keys(ids)?)
    .execute(db)
    .await
    .map(drop)
}

async fn note_failure(db: &mut Db, log: &str, failed: &Failed) -> Result<(), sqlx::Error> {
    let rest = failed.rest.as_ref().map(super::json).transpose()?;
    query(
        "UPDATE notice SET tries = tries + 1, due = $1, rest = coalesce($2, rest), error = $3
         WHERE log = $4 AND target = $5 AND parcel = $6",
    )
    .bind(failed.due)
    .bind(rest.as_deref())
    .bind(&failed.error)
    .bind(log)
    .bind(&failed.target)
    .bind(&failed.parcel)
    .execute(&mut *db)
    .await?;
    tried(db, log, (&failed.target, failed.at, Some(&failed.error))).await
}

async fn note_arrival(db: &mut Db, log: &str, sent: &Sent) -> Result<(), sqlx::Error> {
    query("DELETE FROM notice WHERE log = $1 AND target = $2 AND parcel = $3")
        .bind(log)
        .bind(&sent.target)
        .bind(&sent.parcel)
        .execute(&mut *db)
        .await?;
    query("DELETE FROM notice_sent WHERE log = $1 AND target = $2 AND at < $3")
        .bind(log)
        .bind(&sent.target)
        .bind(sent.forget)
        .execute(&mut *db)
        .await?;
    query(
        "INSERT INTO notice_sent (log, target, parcel, topic, who, at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(&sent.target)
    .bind(&sent.parcel)
    .bind(sent.topic.as_str())
    .bind(&sent.who)
    .bind(sent.at)
    .execute(&mut *db)
    .await?;
    tried(db, log, (&sent.target, sent.at, None)).await
}

async fn tried(
    db: &mut Db,
    log: &str,
    (target, at, error): (&str, i64, Option<&str>),
) -> Result<(), sqlx::Error> {
    let (sent, failed) = match error {
        None => (Some(at), None),
        Some(_) => (None, Some(at)),
    };
    query(
        "INSERT INTO notice_target (log, target, sent, failed, error) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (log, target) DO UPDATE SET sent = coalesce(excluded.sent, notice_target.sent),
           failed = coalesce(excluded.failed, notice_target.failed),
           error = coalesce(excluded.error, notice_target.error)",
    )
    .bind(log)
    .bind(target)
    .bind(sent)
    .bind(failed)
    .bind(error)
    .execute(db)
    .await
    .map(drop)
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(json).map_err(|source| sqlx::Error::Decode(Box::new(source)))
}

fn read(row: &Row) -> Result<NoticeRow, sqlx::Error> {
    let parcel: String = row.try_get(9)?;
    let rest: Option<String> = row.try_get(10)?;
    Ok(NoticeRow {
        target: row.try_get(0)?,
        id: row.try_get(1)?,
        topic: Topic::read(&row.try_get::<String>(2)?)?,
        who: row.try_get(3)?,
        request: row.try_get(4)?,
        body: row.try_get(5)?,
        due: row.try_get(6)?,
        until: row.try_get(7)?,
        so_far: SoFar {
            tries: row.try_get(8)?,
            parcel: (!parcel.is_empty()).then_some(parcel),
            rest: rest.as_deref().map(parsed).transpose()?,
        },
    })
}
