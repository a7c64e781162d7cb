//! Notices that are to be sent, and what became of them.

use super::engine::Db;

/// What happens to notices.
#[derive(Debug, Clone)]
pub enum Change {}

/// Applies a change.
pub(crate) async fn apply(_db: &mut Db, _log: &str, change: &Change) -> Result<(), sqlx::Error> {
    match *change {}
}
