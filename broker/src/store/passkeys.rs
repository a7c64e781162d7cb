//! The public keys by which people sign.

use super::engine::{Db, Row, query};
use super::{Error, Store};

/// One passkey. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct PasskeyRow {
    /// As the authenticator named it, base64url.
    pub credential: String,
    /// SPIFFE ID of the user.
    pub person: String,
    /// RFC 7638 thumbprint of the key, base64url: what its entry says.
    pub key: String,
    /// JSON: the public key as a JWK.
    pub jwk: String,
    /// What its owner calls it.
    pub label: String,
    /// The newest signature counter.
    pub count: i64,
    /// When it was enrolled.
    pub added: i64,
    /// When it signed last.
    pub used: Option<i64>,
    /// `ent_…`: its `key_added`.
    pub entry: String,
    /// Since when it counts no more.
    pub retired: Option<i64>,
}

/// What happens to a passkey.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is there from now on.
    Enrol(PasskeyRow),
    /// It counts no more.
    Retire {
        /// Which.
        credential: String,
        /// Since when.
        at: i64,
    },
    /// It signed, with a counter that is not behind the one before.
    Signed {
        /// Which.
        credential: String,
        /// The counter it signed.
        count: i64,
        /// When.
        at: i64,
    },
}

impl Change {
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Enrol(row) => row.credential.clone(),
            Self::Retire { credential, .. } | Self::Signed { credential, .. } => credential.clone(),
        }
    }
}

impl Store {
    /// The passkeys of a person, the oldest first; with those that were retired.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn passkeys(&self, person: &str) -> Result<Vec<PasskeyRow>, Error> {
        query(
            "SELECT credential, person, key, jwk, label, count, added, used, entry, retired FROM passkey
             WHERE log = $1 AND person = $2 ORDER BY added, credential",
        )
        .bind(self.log())
        .bind(person)
        .fetch_all(self.readers())
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(|source| self.failed(source))
    }
}

fn read(row: &Row) -> Result<PasskeyRow, sqlx::Error> {
    Ok(PasskeyRow {
        credential: row.try_get(0)?,
        person: row.try_get(1)?,
        key: row.try_get(2)?,
        jwk: row.try_get(3)?,
        label: row.try_get(4)?,
        count: row.try_get(5)?,
        added: row.try_get(6)?,
        used: row.try_get(7)?,
        entry: row.try_get(8)?,
        retired: row.try_get(9)?,
    })
}

/// Applies a change; `false` if there is such a passkey already, or none that counts.
pub(crate) async fn apply(db: &mut Db, log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    let done = match change {
        Change::Enrol(row) => query(
            "INSERT INTO passkey (log, credential, person, key, jwk, label, count, added, entry)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .bind(log)
        .bind(&*row.credential)
        .bind(&*row.person)
        .bind(&*row.key)
        .bind(&*row.jwk)
        .bind(&*row.label)
        .bind(row.count)
        .bind(row.added)
        .bind(&*row.entry),
        Change::Retire { credential, at } => query(
            "UPDATE passkey SET retired = $3
             WHERE log = $1 AND credential = $2 AND retired IS NULL",
        )
        .bind(log)
        .bind(&**credential)
        .bind(*at),
        // A counter that never counts is the rule among synced passkeys (WebAuthn §6.1.1).
        Change::Signed {
            credential,
            count,
            at,
        } => query(
            "UPDATE passkey SET count = $3, used = $4
             WHERE log = $1 AND credential = $2 AND retired IS NULL AND (count < $3 OR count = 0 AND $3 = 0)",
        )
        .bind(log)
        .bind(&**credential)
        .bind(*count)
        .bind(*at),
    };
    Ok(done.execute(db).await? == 1)
}
