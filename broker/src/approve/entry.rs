//! What the ledger will say of a vote, and of a request that was taken back (LEDGER.md §5).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use stint_audit::Entry;
use stint_audit::kind::{self, RequestEnd};

use super::{Booth, Signed};
use crate::ids::{EntryId, VoteId};
use crate::issue::{Broker, pol};
use crate::ledger::salted;
use crate::people::Visitor;
use crate::random;
use crate::store::{RequestRow, VoteRow};

pub(super) fn new_id() -> String {
    VoteId::from_bytes(random::bytes()).to_string()
}

/// `voted`.
pub(super) fn voted(
    broker: &Broker,
    booth: &Booth<'_>,
    (vote, signed, key_seq): (&VoteRow, &Signed, u64),
) -> Entry {
    let approver = broker.ledger.subject(booth.visitor.id.as_str());
    let mut who = named(broker, booth.visitor);
    if let Some(who) = who.as_object_mut() {
        who.insert("groups".to_owned(), json!(booth.visitor.groups));
    }
    let mut body = Map::new();
    body.insert("approver".to_owned(), who);
    body.insert(
        "nonce".to_owned(),
        json!(BASE64URL_NOPAD.encode(&signed.nonce)),
    );
    body.insert("facts".to_owned(), signed.facts.clone());
    body.insert("assertion".to_owned(), json!(signed.assertion));
    body.insert("key_seq".to_owned(), json!(key_seq));
    if let Some(note) = &vote.note {
        body.insert("note".to_owned(), json!(note));
    }
    let until = vote.turn.until.unwrap_or(0).max(booth.row.expires);
    let what = kind::Voted {
        closes: !vote.yes,
        request: vote.request.clone(),
        until: until.unsigned_abs(),
        vote: if vote.yes {
            kind::Vote::Yes
        } else {
            kind::Vote::No
        },
    };
    Entry {
        id: vote.id.clone(),
        subj: Some(broker.ledger.subject(&booth.row.caller).pseudonym),
        by: Some(approver.pseudonym),
        behalf: None,
        pol: Some(pol(booth.policy)),
        what: what.into(),
        body: salted(body),
    }
}

/// `request_closed`: whoever asked took it back, or `by` did.
pub(super) fn cancelled(broker: &Broker, row: &RequestRow, by: Option<&Visitor>) -> Entry {
    let mut body = Map::new();
    if let Some(visitor) = by {
        body.insert("actor".to_owned(), named(broker, visitor));
    }
    Entry {
        id: EntryId::from_bytes(random::bytes()).to_string(),
        subj: Some(broker.ledger.subject(&row.caller).pseudonym),
        by: by.map(|visitor| broker.ledger.subject(visitor.id.as_str()).pseudonym),
        behalf: None,
        pol: None,
        what: kind::RequestClosed {
            request: row.id.clone(),
            until: row.expires.unsigned_abs(),
            why: RequestEnd::Cancelled,
        }
        .into(),
        body: salted(body),
    }
}

/// A person, and what opens their pseudonym.
pub(crate) fn named(broker: &Broker, visitor: &Visitor) -> Value {
    json!({
        "id": visitor.id.as_str(),
        "open": broker.ledger.subject(visitor.id.as_str()).open.to_string(),
        "kind": "User",
        "name": visitor.name,
    })
}
