//! Who is signed in, from which browser or terminal.

use super::engine::{Db, Row, query};
use super::people::PersonRow;
use super::{Error, Store};

/// One session. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// SHA-256 of its secret, base64url.
    pub hash: String,
    /// SPIFFE ID of the user.
    pub person: String,
    /// `console` or `cli`.
    pub via: String,
    /// Thumbprint of the key a terminal's session is bound to.
    pub key: Option<String>,
    /// JSON: groups of the login.
    pub groups: String,
    /// When the provider saw the person; 0 if it does not say.
    pub auth_at: i64,
    /// When it began.
    pub opened: i64,
    /// When it was used last, to the minute.
    pub used: i64,
    /// When it ends whatever happens.
    pub ends: i64,
    /// What the client says it is.
    pub agent: String,
}

/// What happens to a session.
#[derive(Debug, Clone)]
pub enum Change {
    /// It was used.
    Used {
        /// Which.
        hash: String,
        /// When.
        at: i64,
    },
    /// All of a person are over, or all there are.
    EndAll(Option<String>),
    /// It is over, at its owner's wish.
    End {
        /// Whose.
        person: String,
        /// Which.
        hash: String,
    },
}

impl Change {
    pub(crate) fn key(&self) -> String {
        match self {
            Self::EndAll(person) => person.clone().unwrap_or_default(),
            Self::Used { hash, .. } | Self::End { hash, .. } => hash.clone(),
        }
    }
}

impl Store {
    /// A session and whose it is, by its hash.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn session(&self, hash: &str) -> Result<Option<(SessionRow, PersonRow)>, Error> {
        let found = query(
            "SELECT s.hash, s.person, s.via, s.key, s.groups, s.auth_at, s.opened, s.used, s.ends, s.agent,
                    p.id, p.name, p.email, p.groups, p.seen, p.barred
             FROM session s JOIN person p ON p.log = s.log AND p.id = s.person
             WHERE s.log = $1 AND s.hash = $2",
        );
        let row = found.bind(self.log()).bind(hash);
        let row = row.fetch_optional(self.readers()).await;
        let read = |row: Row| Ok((read(&row)?, super::people::read(&row, 10)?));
        row.and_then(|row| row.map(read).transpose())
            .map_err(|source| self.failed(source))
    }

    /// The sessions of a person that are not over at `now`, the newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn sessions(&self, person: &str, now: i64) -> Result<Vec<SessionRow>, Error> {
        query(
            "SELECT hash, person, via, key, groups, auth_at, opened, used, ends, agent FROM session
             WHERE log = $1 AND person = $2 AND ends > $3 ORDER BY opened DESC, hash",
        )
        .bind(self.log())
        .bind(person)
        .bind(now)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<SessionRow, sqlx::Error> {
    Ok(SessionRow {
        hash: row.try_get(0)?,
        person: row.try_get(1)?,
        via: row.try_get(2)?,
        key: row.try_get(3)?,
        groups: row.try_get(4)?,
        auth_at: row.try_get(5)?,
        opened: row.try_get(6)?,
        used: row.try_get(7)?,
        ends: row.try_get(8)?,
        agent: row.try_get(9)?,
    })
}

/// Applies a change; `false` if there is no such session.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    let done = match change {
        Change::Used { hash, at } => {
            query("UPDATE session SET used = $3 WHERE log = $1 AND hash = $2 AND used < $3")
                .bind(log)
                .bind(&**hash)
                .bind(*at)
        }
        Change::EndAll(person) => {
            query("DELETE FROM session WHERE log = $1 AND person = coalesce($2, person)")
                .bind(log)
                .bind(person.as_deref())
                .execute(db)
                .await?;
            return Ok(true);
        }
        Change::End { person, hash } => {
            query("DELETE FROM session WHERE log = $1 AND hash = $2 AND person = $3")
                .bind(log)
                .bind(&**hash)
                .bind(&**person)
        }
    };
    Ok(done.execute(db).await? == 1)
}

/// A new session of a person; those of theirs that are over go.
pub(super) async fn open(db: &mut Db, log: &str, row: &SessionRow) -> Result<bool, sqlx::Error> {
    query("DELETE FROM session WHERE log = $1 AND person = $2 AND ends <= $3")
        .bind(log)
        .bind(&*row.person)
        .bind(row.opened)
        .execute(&mut *db)
        .await?;
    let opened = query(
        "INSERT INTO session (log, hash, person, via, key, groups, auth_at, opened, used, ends, agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(log)
    .bind(&*row.hash)
    .bind(&*row.person)
    .bind(&*row.via)
    .bind(row.key.as_deref())
    .bind(&*row.groups)
    .bind(row.auth_at)
    .bind(row.opened)
    .bind(row.used)
    .bind(row.ends)
    .bind(&*row.agent)
    .execute(db)
    .await?;
    Ok(opened == 1)
}
