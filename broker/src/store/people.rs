//! People: the newest login of each, their sessions, their passkeys, and which accounts elsewhere are theirs.

use super::engine::Db;

/// What a login, a session or a passkey changes.
#[derive(Debug, Clone)]
pub enum Change {}

impl Change {
    /// What must not be changed twice in one batch.
    pub(crate) fn key(&self) -> String {
        match *self {}
    }
}

/// Applies a change; `false` if what it rests on is not so any more.
pub(crate) async fn apply(_db: &mut Db, _log: &str, change: &Change) -> Result<bool, sqlx::Error> {
    match *change {}
}
