//! People: the newest login of each, their sessions, their passkeys, and which accounts elsewhere are theirs.

use super::engine::{Db, query};
use super::{Error, Store, passkeys};

/// What a login, a session or a passkey changes.
#[derive(Debug, Clone)]
pub enum Change {
    /// A passkey comes, signs or goes.
    Passkey(passkeys::Change),
}

impl Change {
    /// What must not be changed twice in one batch.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Passkey(change) => change.key(),
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
    /// No vote counts before: passkeys were reset.
    pub barred: Option<i64>,
    /// Whether an operator shut them out.
    pub disabled: bool,
}

impl Store {
    /// A person, if they ever signed in.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn person(&self, id: &str) -> Result<Option<PersonRow>, Error> {
        let found = query(
            "SELECT id, name, email, groups, seen, barred, disabled FROM person
             WHERE log = $1 AND id = $2",
        );
        let row = found.bind(self.log()).bind(id);
        let row = row.fetch_optional(self.readers()).await;
        let read = |row: super::engine::Row| {
            Ok(PersonRow {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                email: row.try_get(2)?,
                groups: row.try_get(3)?,
                seen: row.try_get(4)?,
                barred: row.try_get(5)?,
                disabled: row.try_get::<i64>(6)? != 0,
            })
        };
        row.and_then(|row| row.map(read).transpose())
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

/// Applies a change; `false` if what it rests on is not so any more.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    match change {
        Change::Passkey(change) => passkeys::apply(db, log, change).await,
    }
}
