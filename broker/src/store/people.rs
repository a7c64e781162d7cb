//! People: the newest login of each, their sessions, their passkeys, and which accounts elsewhere are theirs.

use super::engine::{Db, Row, query};
use super::sessions::{self, SessionRow};
use super::{Error, Store, passkeys};

/// What a login, a session or a passkey changes.
#[derive(Debug, Clone)]
pub enum Change {
    /// Somebody cannot vote until a time, in milliseconds.
    Bar(String, i64),
    /// Somebody signed in.
    Login(Box<Login>),
    /// A passkey comes, signs or goes.
    Passkey(passkeys::Change),
    /// A session is used or ends.
    Session(sessions::Change),
}

/// One login: the person as the provider knows them now, and the session that begins.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who.
    pub person: PersonRow,
    /// What begins.
    pub session: SessionRow,
    /// Which accounts are theirs, by the login: issuer of evidence and account.
    pub links: Vec<(String, String)>,
    /// The session that this one takes the place of.
    pub ends: Option<String>,
}

impl Change {
    /// What must not be changed twice in one batch.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Bar(person, _) => person.clone(),
            Self::Login(login) => login.person.id.clone(),
            Self::Passkey(change) => change.key(),
            Self::Session(change) => change.key(),
        }
    }
}

/// A person as the newest login left them. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct PersonRow {
    /// SPIFFE ID of the user.
    pub id: String,
    /// For display.
    pub name: String,
    /// Verified by the IdP; for notices.
    pub email: Option<String>,
    /// JSON: groups of that login.
    pub groups: String,
    /// The newest login.
    pub seen: i64,
    /// Until when they cannot vote: passkeys were reset.
    pub barred: Option<i64>,
}

impl Store {
    /// A person, if they ever signed in.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn person(&self, id: &str) -> Result<Option<PersonRow>, Error> {
        let found = query(
            "SELECT id, name, email, groups, seen, barred FROM person
             WHERE log = $1 AND id = $2",
        );
        let row = found.bind(self.log()).bind(id);
        let row = row.fetch_optional(self.readers()).await;
        row.and_then(|row| row.map(|row| read(&row, 0)).transpose())
            .map_err(|source| self.failed(source))
    }

    /// Whose an account at an issuer of evidence is, by the links of people's logins.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn person_of(&self, issuer: &str, account: &str) -> Result<Option<String>, Error> {
        let found =
            query("SELECT person FROM person_link WHERE log = $1 AND issuer = $2 AND account = $3");
        let row = found.bind(self.log()).bind(issuer).bind(account);
        let row = row.fetch_optional(self.readers()).await;
        row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|source| self.failed(source))
    }
}

/// The columns of a person, from the one at `at` on.
pub(super) fn read(row: &Row, at: usize) -> Result<PersonRow, sqlx::Error> {
    Ok(PersonRow {
        id: row.try_get(at)?,
        name: row.try_get(at + 1)?,
        email: row.try_get(at + 2)?,
        groups: row.try_get(at + 3)?,
        seen: row.try_get(at + 4)?,
        barred: row.try_get(at + 5)?,
    })
}

/// Applies a change; `false` if what it rests on is not so any more.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    match change {
        Change::Bar(person, until) => {
            let barred = query("UPDATE person SET barred = $3 WHERE log = $1 AND id = $2");
            let barred = barred.bind(log).bind(&**person).bind(*until);
            Ok(barred.execute(db).await? == 1)
        }
        Change::Login(login) => sign_in(db, log, login).await,
        Change::Passkey(change) => passkeys::apply(db, log, change).await,
        Change::Session(change) => sessions::apply(db, log, change).await,
    }
}

/// `false` if an account is somebody else's.
async fn sign_in(db: &mut Db, log: &str, login: &Login) -> Result<bool, sqlx::Error> {
    let person = &login.person;
    query(
        "INSERT INTO person (log, id, name, email, groups, seen) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (log, id) DO UPDATE SET name = excluded.name, email = excluded.email,
           groups = excluded.groups, seen = excluded.seen",
    )
    .bind(log)
    .bind(&*person.id)
    .bind(&*person.name)
    .bind(person.email.as_deref())
    .bind(&*person.groups)
    .bind(person.seen)
    .execute(&mut *db)
    .await?;
    for (issuer, account) in &login.links {
        let theirs = query(
            "INSERT INTO person_link (log, issuer, account, person) VALUES ($1, $2, $3, $4)
             ON CONFLICT (log, issuer, account) DO UPDATE SET person = excluded.person
             WHERE person_link.person = excluded.person",
        )
        .bind(log)
        .bind(&**issuer)
        .bind(&**account)
        .bind(&*person.id)
        .execute(&mut *db)
        .await?;
        if theirs != 1 {
            return Ok(false);
        }
    }
    if let Some(hash) = &login.ends {
        query("DELETE FROM session WHERE log = $1 AND hash = $2")
            .bind(log)
            .bind(&**hash)
            .execute(&mut *db)
            .await?;
    }
    sessions::open(db, log, &login.session).await
}
