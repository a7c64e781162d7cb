//! What people said to an ask on hold. A row without its entry counts nothing: both come in one transaction.

use std::collections::BTreeSet;

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// One vote. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct VoteRow {
    /// `vote_…`.
    pub id: String,
    /// `req_…`.
    pub request: String,
    /// Digest of the ask, base64url.
    pub digest: String,
    /// SPIFFE ID of the user.
    pub person: String,
    /// Groups of the login that cast it.
    pub groups: BTreeSet<String>,
    /// Whether it is a yes.
    pub yes: bool,
    /// When it was cast.
    pub at: i64,
    /// How long an approval may last on it, in seconds.
    pub lasts: u32,
    /// The approver's own words; a no has its reason here.
    pub note: Option<String>,
    /// What it makes of its request.
    pub turn: Turn,
}

/// What a vote makes of its request.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// How many votes were judged with it: the guard.
    pub seen: i64,
    /// `approved` or `denied`, if it decides.
    pub state: Option<&'static str>,
    /// Of what it approves: the end.
    pub until: Option<i64>,
}

/// The votes a decision was made on: the guard of what came of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// `req_…`.
    pub request: String,
    /// How many there were.
    pub votes: i64,
    /// Whether the grant uses them up.
    pub spends: bool,
}

impl Store {
    /// All votes on a request, as they were cast.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn votes(&self, request: &str) -> Result<Vec<VoteRow>, Error> {
        query(
            "SELECT id, request, digest, person, groups, vote, at, lasts, note FROM vote
             WHERE log = $1 AND request = $2 ORDER BY at, id",
        )
        .bind(self.log())
        .bind(request)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<VoteRow, sqlx::Error> {
    let groups: String = row.try_get(4)?;
    let undecodable = |source| sqlx::Error::Decode(Box::new(source));
    let lasts: i64 = row.try_get(7)?;
    Ok(VoteRow {
        id: row.try_get(0)?,
        request: row.try_get(1)?,
        digest: row.try_get(2)?,
        person: row.try_get(3)?,
        groups: serde_json::from_str(&groups).map_err(undecodable)?,
        yes: row.try_get::<String>(5)? == "yes",
        at: row.try_get(6)?,
        lasts: u32::try_from(lasts).unwrap_or(0),
        note: row.try_get(8)?,
        turn: Turn::default(),
    })
}

/// Casts a vote; `false` if its request does not stand any more, had another vote meanwhile, or has this one.
pub(crate) async fn cast(db: &mut Db, log: &str, row: &VoteRow) -> Result<bool, sqlx::Error> {
    let moved = query(
        "UPDATE request SET votes = votes + 1, state = coalesce($5, state), until = coalesce($6, until),
           ended = CASE WHEN $5 IS NULL THEN ended ELSE $4 END
         WHERE log = $1 AND id = $2 AND votes = $3 AND spent = 0
           AND (state = 'pending' AND expires > $4 OR state = 'approved' AND until > $4)",
    )
    .bind(log)
    .bind(&*row.request)
    .bind(row.turn.seen)
    .bind(row.at)
    .bind(row.turn.state)
    .bind(row.turn.until)
    .execute(db)
    .await?;
    let cast = query(
        "INSERT INTO vote (log, id, request, digest, person, groups, vote, at, lasts, note)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(&*row.id)
    .bind(&*row.request)
    .bind(&*row.digest)
    .bind(&*row.person)
    .bind(super::json(&row.groups)?)
    .bind(if row.yes { "yes" } else { "no" })
    .bind(row.at)
    .bind(i64::from(row.lasts))
    .bind(row.note.as_deref())
    .execute(db)
    .await?;
    Ok(moved == 1 && cast == 1)
}

/// Whether a request has just the votes that were judged. An update, for on a server a read before the head's lock would
/// be of the past.
pub(crate) async fn hold(db: &mut Db, log: &str, judged: &Judged) -> Result<bool, sqlx::Error> {
    let held = query(
        "UPDATE request SET spent = CASE WHEN $4 = 1 THEN 1 ELSE spent END
         WHERE log = $1 AND id = $2 AND votes = $3 AND spent = 0 AND state = 'approved'",
    )
    .bind(log)
    .bind(&*judged.request)
    .bind(judged.votes)
    .bind(i64::from(judged.spends))
    .execute(db)
    .await?;
    Ok(held == 1)
}

/// Somebody looked at a request; or typed another match code.
#[derive(Debug, Clone)]
pub struct Look {
    /// `req_…`.
    pub request: String,
    /// SPIFFE ID of the user.
    pub person: String,
    /// When, in milliseconds.
    pub at: i64,
    /// Whether the match code was another.
    pub wrong: bool,
}

/// Somebody who looked at a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// SPIFFE ID of the user.
    pub person: String,
    /// What they are called.
    pub name: String,
    /// When they looked first, in milliseconds.
    pub at: i64,
}

impl Store {
    /// How often this person mistyped the match code.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn wrong_codes(&self, request: &str, person: &str) -> Result<i64, Error> {
        let found =
            query("SELECT wrong FROM request_seen WHERE log = $1 AND request = $2 AND person = $3");
        let row = found.bind(self.log()).bind(request).bind(person);
        let row = row.fetch_optional(self.readers()).await;
        row.and_then(|row| row.map_or(Ok(0), |row| row.try_get(0)))
            .map_err(|source| self.failed(source))
    }

    /// Who has looked at a request, in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn seen_by(&self, request: &str) -> Result<Vec<Seen>, Error> {
        let read = |row: &Row| {
            Ok(Seen {
                person: row.try_get(0)?,
                name: row.try_get(1)?,
                at: row.try_get(2)?,
            })
        };
        query(
            "SELECT s.person, coalesce(p.name, s.person), s.at FROM request_seen s
             LEFT JOIN person p ON p.log = s.log AND p.id = s.person
             WHERE s.log = $1 AND s.request = $2 ORDER BY s.at, s.person",
        )
        .bind(self.log())
        .bind(request)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }
}

/// Notes that somebody looked; the first time counts.
pub(crate) async fn look(db: &mut Db, log: &str, look: &Look) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO request_seen (log, request, person, at, wrong) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (log, request, person) DO UPDATE SET wrong = request_seen.wrong + excluded.wrong",
    )
    .bind(log)
    .bind(&*look.request)
    .bind(&*look.person)
    .bind(look.at)
    .bind(i64::from(look.wrong))
    .execute(db)
    .await
    .map(drop)
}
