//! All that a signature stands for: made from the request, the policies in force and what the approver chose, the same
//! way each time.

use serde_json::{Map, Value, json};
use stint_policy::Seconds;

use super::{Booth, Choice};
use crate::issue::Broker;

/// The facts of one vote. `shown` is the table on the page, row by row, as it reads.
pub(super) fn facts(
    broker: &Broker,
    booth: &Booth<'_>,
    (yes, lasts, note): (bool, Seconds, Option<&str>),
) -> Value {
    let row = booth.row;
    let mut facts = json!({
        "v": 1,
        "log": broker.ledger.origin(),
        "origin": broker.terms.url,
        "request": row.id,
        "digest": row.digest,
        "pol": booth.policy.hash().to_string(),
        "vote": if yes { "yes" } else { "no" },
        "expires": row.expires,
        "approver": booth.visitor.id.as_str(),
        "shown": row.card().shown(),
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let (Some(members), Some(value)) = (facts.as_object_mut(), value) {
            members.insert(name.to_owned(), value);
        }
    };
    put("lasts_s", yes.then(|| json!(lasts.as_u32())));
    put("note", note.map(|note| json!(note)));
    facts
}

/// What the approver chose, as the facts say it.
pub(super) fn said(facts: &Value) -> Option<Choice> {
    let facts: &Map<String, Value> = facts.as_object()?;
    let yes = match facts.get("vote")?.as_str()? {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let lasts = match facts.get("lasts_s") {
        None => None,
        Some(lasts) => Some(Seconds::new(u32::try_from(lasts.as_u64()?).ok()?)),
    };
    let note = match facts.get("note") {
        None => None,
        Some(note) => Some(note.as_str()?.to_owned()),
    };
    Some(Choice {
        yes,
        lasts,
        note,
        match_code: None,
    })
}
