//! Asks that wait for people.

use std::collections::HashSet;

use serde_json::Value;
use stint_policy::{Seconds, SpiffeId};

use super::engine::{Db, Query, Row, query};
use super::{Error, Store};

/// An ask on hold, durable. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct RequestRow {
    /// `req_…`.
    pub id: String,
    /// Digest of the ask, base64url: the same ask finds the same request.
    pub digest: String,
    /// `task_…`.
    pub task: String,
    /// SPIFFE ID.
    pub caller: String,
    /// Three digits that only the asker is shown.
    pub match_code: String,
    /// JSON: who must approve.
    pub needs: String,
    /// JSON: the canonical ask, and its reason.
    pub ask: String,
    /// When it was parked.
    pub opened: i64,
    /// When it ends undecided.
    pub expires: i64,
    /// The policy set that asked for people.
    pub pol: String,
    /// SPIFFE IDs of those who may not vote on it; with the person the starting account is linked to by now.
    pub own: Vec<String>,
    /// The account that started the run, and the issuer that says so; empty if none does.
    pub starter: (String, String),
    /// JSON: the question to policy as it was recorded.
    pub question: String,
    /// JSON: what approvers are shown ([`crate::approve::Card`]).
    pub card: String,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a request stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What it came to.
    pub state: State,
    /// How many votes were cast on it.
    pub votes: i64,
    /// When its approval ends.
    pub until: Option<i64>,
    /// When it was decided or ended.
    pub ended: Option<i64>,
    /// Whether a grant used its approval up.
    pub spent: bool,
}

/// What a request came to (PROTOCOLS.md §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The votes are in.
    Approved,
    /// Whoever asked took it back, or nobody can decide it any more.
    Cancelled,
    /// Somebody said no.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// It waits.
    Pending,
}

impl State {
    const ALL: [State; 5] = [
        State::Approved,
        State::Cancelled,
        State::Denied,
        State::Expired,
        State::Pending,
    ];

    /// The word in tables and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Approved => "approved",
            State::Cancelled => "cancelled",
            State::Denied => "denied",
            State::Expired => "expired",
            State::Pending => "pending",
        }
    }
}

impl Standing {
    /// Of a request that is new.
    pub const NEW: Standing = Standing {
        state: State::Pending,
        votes: 0,
        until: None,
        ended: None,
        spent: false,
    };
}

/// A request that ends without having been decided.
#[derive(Debug, Clone)]
pub struct Ending {
    /// `req_…`.
    pub request: String,
    /// What it comes to.
    pub state: State,
    /// When, in milliseconds.
    pub at: i64,
}

/// One quorum of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Need {
    /// The policy that asks.
    pub policy: String,
    /// The group whose members may vote.
    pub approvers: String,
    /// How many of them.
    pub quorum: u32,
}

impl RequestRow {
    /// Who must approve. Written by the walk alone, so it reads back.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        serde_json::from_str(&self.needs).unwrap_or_default()
    }

    /// Whether it is this person's own: they may not decide it.
    #[must_use]
    pub fn is_own(&self, person: &SpiffeId) -> bool {
        self.own.iter().any(|own| own == person.as_str())
    }

    /// The life that was asked for.
    #[must_use]
    pub fn asked_ttl(&self) -> Seconds {
        let ask: Value = serde_json::from_str(&self.ask).unwrap_or_default();
        let ttl = ask.pointer("/ask/ttl_s").and_then(Value::as_u64);
        Seconds::new(ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0))
    }

    /// Whether it can still come to a grant: it waits, or its approval lasts.
    #[must_use]
    pub fn stands(&self, now: i64) -> bool {
        let standing = &self.standing;
        match standing.state {
            State::Pending => self.expires > now,
            State::Approved => !standing.spent && standing.until.is_some_and(|end| end > now),
            State::Cancelled | State::Denied | State::Expired => false,
        }
    }

    /// What approvers are shown. Written by the walk alone, so it reads back.
    #[must_use]
    pub fn card(&self) -> crate::approve::Card {
        serde_json::from_str(&self.card).unwrap_or_default()
    }
}

/// What is read of a request, in the order of [`read`]: with the person its starting account is linked to by now.
macro_rules! columns {
    () => {
        "id, digest, task, caller, match_code, needs, ask, opened, expires, pol, own, question, card,
         state, votes, until, ended, spent, issuer, starter,
         (SELECT person FROM person_link l
          WHERE l.log = request.log AND l.issuer = request.issuer AND l.account = request.starter)"
    };
}
pub(super) use columns;

/// The rows of requests that meet a condition.
macro_rules! requests {
    ($condition:literal) => {
        query(concat!(
            "SELECT ",
            columns!(),
            " FROM request WHERE log = $1 AND ",
            $condition
        ))
    };
}

impl Store {
    /// The open request for an ask, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_request(&self, digest: &str) -> Result<Option<RequestRow>, Error> {
        let found = requests!("digest = $2 AND state = 'pending'").bind(self.log());
        self.one(found.bind(digest)).await
    }

    /// The request that still has a say in an ask at `now`: it waits, its approval lasts, or it was refused after
    /// `cooled`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn standing_request(
        &self,
        digest: &str,
        now: i64,
        cooled: i64,
    ) -> Result<Option<RequestRow>, Error> {
        let found = requests!(
            "digest = $2 AND (state = 'pending' AND expires > $3
               OR state = 'approved' AND until > $3 AND spent = 0 OR state = 'denied' AND ended > $4)
             ORDER BY opened DESC LIMIT 1"
        );
        let found = found.bind(self.log()).bind(digest).bind(now).bind(cooled);
        self.one(found).await
    }

    /// The request `id`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn request(&self, id: &str) -> Result<Option<RequestRow>, Error> {
        self.one(requests!("id = $2").bind(self.log()).bind(id))
            .await
    }

    /// How many requests are open: a count over the index of those alone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pending_requests(&self) -> Result<i64, Error> {
        query("SELECT count(*) FROM request WHERE log = $1 AND state = 'pending'")
            .bind(self.log())
            .fetch_one(self.readers())
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|source| self.failed(source))
    }

    /// The request `id`, if it is still open.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pending_request(&self, id: &str) -> Result<Option<RequestRow>, Error> {
        let found = requests!("id = $2 AND state = 'pending'");
        self.one(found.bind(self.log()).bind(id)).await
    }

    /// All open requests, the one that ends first in front; `limit` at most.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_requests(&self, now: i64, limit: i64) -> Result<Vec<RequestRow>, Error> {
        let found = requests!("state = 'pending' AND expires > $2 ORDER BY expires LIMIT $3");
        self.some(found.bind(self.log()).bind(now).bind(limit))
            .await
    }

    /// Open requests, the one that ends first in front, behind the one with this end and id; `limit` at most.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_after(
        &self,
        now: i64,
        (expires, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<RequestRow>, Error> {
        let found = requests!(
            "state = 'pending' AND expires > $2 AND (expires > $3 OR expires = $3 AND id > $4)
             ORDER BY expires, id LIMIT $5"
        );
        let found = found.bind(self.log()).bind(now).bind(expires).bind(id);
        self.some(found.bind(limit)).await
    }

    /// Requests that do not wait any more, the newest ask first; `limit` at most.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn ended_requests(&self, limit: i64) -> Result<Vec<RequestRow>, Error> {
        let found = requests!("state <> 'pending' ORDER BY opened DESC, id LIMIT $2");
        self.some(found.bind(self.log()).bind(limit)).await
    }

    /// Up to 100 open requests whose time is over at `now`, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overdue_requests(&self, now: i64) -> Result<Vec<RequestRow>, Error> {
        let found = requests!("state = 'pending' AND expires <= $2 ORDER BY expires LIMIT 100");
        self.some(found.bind(self.log()).bind(now)).await
    }

    /// The canonical asks of this caller's requests since `since`, and how many of them are open at `now`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn asked_before(
        &self,
        caller: &str,
        (since, now): (i64, i64),
    ) -> Result<(Vec<String>, usize), Error> {
        let rows = query(
            "SELECT ask, state, expires FROM request
             WHERE log = $1 AND caller = $2 AND (opened > $3 OR state = 'pending')
             ORDER BY opened DESC LIMIT 1000",
        )
        .bind(self.log())
        .bind(caller)
        .bind(since)
        .fetch_all(self.readers())
        .await
        .map_err(|source| self.failed(source))?;
        let (mut asks, mut open) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            let read = || {
                Ok((
                    row.try_get(0)?,
                    row.try_get::<String>(1)?,
                    row.try_get::<i64>(2)?,
                ))
            };
            let (ask, state, expires) = read().map_err(|source| self.failed(source))?;
            asks.push(ask);
            open += usize::from(state == State::Pending.as_str() && expires > now);
        }
        Ok((asks, open))
    }

    async fn one(&self, query: Query) -> Result<Option<RequestRow>, Error> {
        let row = query.fetch_optional(self.readers()).await;
        row.and_then(|row| row.as_ref().map(read).transpose())
            .map_err(|source| self.failed(source))
    }

    async fn some(&self, query: Query) -> Result<Vec<RequestRow>, Error> {
        let rows = query.fetch_all(self.readers()).await;
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|source| self.failed(source))
    }
}

pub(super) fn read(row: &Row) -> Result<RequestRow, sqlx::Error> {
    let undecodable = |source| sqlx::Error::Decode(Box::new(source));
    let state: String = row.try_get(13)?;
    let known = State::ALL.into_iter().find(|it| it.as_str() == state);
    let mut own: Vec<String> =
        serde_json::from_str(&row.try_get::<String>(10)?).map_err(undecodable)?;
    own.extend(row.try_get::<Option<String>>(20)?);
    Ok(RequestRow {
        starter: (row.try_get(18)?, row.try_get(19)?),
        id: row.try_get(0)?,
        digest: row.try_get(1)?,
        task: row.try_get(2)?,
        caller: row.try_get(3)?,
        match_code: row.try_get(4)?,
        needs: row.try_get(5)?,
        ask: row.try_get(6)?,
        opened: row.try_get(7)?,
        expires: row.try_get(8)?,
        pol: row.try_get(9)?,
        own,
        question: row.try_get(11)?,
        card: row.try_get(12)?,
        standing: Standing {
            state: known.ok_or_else(|| sqlx::Error::Decode(state.into()))?,
            votes: row.try_get(14)?,
            until: row.try_get(15)?,
            ended: row.try_get(16)?,
            spent: row.try_get::<i64>(17)? != 0,
        },
    })
}

/// Parks `rows`; gives the ids that were parked: another open request for the same ask wins.
pub(crate) async fn park(
    db: &mut Db,
    log: &str,
    rows: &[&RequestRow],
) -> Result<HashSet<String>, sqlx::Error> {
    let mut values = Vec::with_capacity(rows.len());
    for row in rows {
        values.push((
            (&row.id, &row.digest, &row.task, &row.caller),
            (
                &row.match_code,
                &row.needs,
                &row.ask,
                row.opened,
                row.expires,
            ),
            (&row.pol, super::json(&row.own)?, &row.question, &row.card),
            &row.starter,
        ));
    }
    let parked = query(
        "INSERT INTO request
           (log, id, digest, task, caller, state, match_code, needs, ask, opened, expires, pol, own, question, card,
            issuer, starter)
         SELECT $1, value->0->>0, value->0->>1, value->0->>2, value->0->>3, 'pending', value->1->>0, value->1->>1,
                value->1->>2, CAST(value->1->>3 AS BIGINT), CAST(value->1->>4 AS BIGINT), value->2->>0, value->2->>1,
                value->2->>2, value->2->>3, value->3->>0, value->3->>1
         FROM json_each($2) WHERE true ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    parked.iter().map(|row| row.try_get(0)).collect()
}

/// Ends those that stand: what waits by anything, what is approved by being taken back. Gives the ids that were ended.
pub(crate) async fn end(
    db: &mut Db,
    log: &str,
    endings: &[&Ending],
) -> Result<HashSet<String>, sqlx::Error> {
    let values = endings
        .iter()
        .map(|it| (&it.request, it.state.as_str(), it.at));
    let values: Vec<_> = values.collect();
    let rows = query(
        "UPDATE request SET state = value->>1, ended = CAST(value->>2 AS BIGINT) FROM json_each($2)
         WHERE request.log = $1 AND request.id = value->>0
           AND (state = 'pending' OR state = 'approved' AND value->>1 = 'cancelled')
         RETURNING request.id",
    )
    .bind(log)
    .bind(super::json(&values)?)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Up to `limit` requests that are pending, by id.
pub(crate) async fn pending(
    db: &mut Db,
    log: &str,
    limit: usize,
) -> Result<Vec<RequestRow>, sqlx::Error> {
    let rows = requests!("state = 'pending' ORDER BY id LIMIT $2")
        .bind(log)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// Ends those of `ids` that are pending, for nobody can decide them any more.
pub(crate) async fn void(db: &mut Db, log: &str, ids: &[&str]) -> Result<u64, sqlx::Error> {
    query(
        "UPDATE request SET state = 'cancelled'
         WHERE log = $1 AND id IN (SELECT value->>0 FROM json_each($2)) AND state = 'pending'",
    )
    .bind(log)
    .bind(super::keys(ids)?)
    .execute(db)
    .await
}
