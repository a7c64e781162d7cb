//! What the votes and voted grants of a range refer to: the request, the votes, and the passkeys they are signed by, as
//! far as they stand before it.

use std::collections::BTreeSet;

use serde_json::Value;
use stint_audit::{Body, Header, What};

use super::ExportError;
use crate::ledger::Ledger;

impl Ledger {
    /// Seqs before `from` that entries of `[from, to)` rest on. What the index does not find is left out, and the
    /// verifier says that it is not there.
    pub(super) async fn voted_before(
        &self,
        from: u64,
        to: u64,
    ) -> Result<BTreeSet<u64>, ExportError> {
        let mut wanted = BTreeSet::new();
        if from == 0 {
            return Ok(wanted);
        }
        let mut requests = BTreeSet::new();
        let mut votes = BTreeSet::new();
        for header in self.of_kind("granted", from, to).await? {
            if let Some(request) = request_of(&header) {
                requests.insert(request.to_owned());
                votes.extend(self.listed(header.seq).await?);
            }
        }
        for header in self.of_kind("voted", from, to).await? {
            requests.extend(request_of(&header).map(str::to_owned));
            votes.insert(header.seq);
        }
        for vote in &votes {
            let body = self.what_of(*vote).await?;
            wanted.extend(body.get("key_seq").and_then(Value::as_u64));
        }
        for request in requests {
            wanted.extend(self.store.seqs_of_id(&request).await?);
        }
        wanted.extend(votes);
        Ok(wanted.into_iter().filter(|seq| *seq < from).collect())
    }

    /// The votes that a grant lists.
    async fn listed(&self, grant: u64) -> Result<Vec<u64>, ExportError> {
        let body = self.what_of(grant).await?;
        let votes = body.get("votes").and_then(Value::as_array);
        Ok(votes
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect())
    }

    /// What the body of an entry says; nothing if it is gone.
    async fn what_of(&self, seq: u64) -> Result<Value, ExportError> {
        let bodies = self.bodies(seq, seq + 1).await?;
        let body = bodies.first().and_then(|(_, it)| Body::parse(it).ok());
        Ok(body.map_or(Value::Null, |body| Value::Object(body.what)))
    }
}

fn request_of(header: &Header) -> Option<&str> {
    match &header.what {
        What::Granted(it) => it.request.as_deref(),
        What::Voted(it) => Some(&it.request),
        _ => None,
    }
}
