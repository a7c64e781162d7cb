//! Reading one entry with its body. Each reading is an entry itself, made before the body leaves.

use serde_json::{Map, json};
use stint_audit::kind::{Admin, AdminOp};
use stint_audit::{Digest, Entry};
use thiserror::Error;

use crate::issue::Broker;
use crate::ledger::{self, TileError};
use crate::store;
use crate::store::trail::signed;

/// Why an entry is not handed out.
#[derive(Debug, Error)]
pub enum ReadError {
    /// That it is read could not be recorded.
    #[error("that it is read could not be recorded")]
    Record(#[from] ledger::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The entry cannot be proven.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// What is stored is not what was recorded.
    #[error("the body of entry {0} is not the one that was recorded")]
    Body(u64),
}

impl Broker {
    /// Header and body of entry `seq`, exact bytes; no body if it was erased. `reader` reads it: `local:UID`, or a person.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_entry(
        &self,
        seq: u64,
        reader: &str,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), ReadError> {
        let found = self.ledger.prove(seq).await?;
        let bodies = self.store.bodies(signed(seq), signed(seq + 1)).await?;
        let body = bodies.into_iter().next().map(|(_, body)| body);
        if body
            .as_ref()
            .is_some_and(|body| Digest::of(body) != found.header.body)
        {
            return Err(ReadError::Body(seq));
        }
        if body.is_some() {
            self.ledger
                .record(self.reading(seq, reader), None, Vec::new())
                .await?;
        }
        Ok((found.proof.extra.unwrap_or_default(), body))
    }

    fn reading(&self, seq: u64, reader: &str) -> Entry {
        let actor = self.ledger.subject(reader);
        let mut body = Map::new();
        let who = json!({ "id": reader, "open": actor.open.to_string() });
        body.insert("actor".to_owned(), who);
        let read = Admin {
            n: None,
            of: Some(seq),
            op: AdminOp::BodyRead,
        };
        Entry {
            by: Some(actor.pseudonym),
            ..ledger::note(read, None, body)
        }
    }
}
