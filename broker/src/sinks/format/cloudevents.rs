//! CloudEvents 1.0 in structured JSON, with its extension `sequence`.
//!
//! `source` and `id` name an event once and for all, as the spec wants it: the log and the leaf hash. A receiver that
//! drops what it has seen needs nothing else to make at least once into once.

use serde_json::{Value, json};
use stint_audit::Digest;
use stint_policy::Timestamp;

use super::{HEARTBEAT, Heartbeat, Read, jsonl, member, open};

pub(super) fn entry(read: &Read<'_>) -> Vec<u8> {
    let header = &read.header;
    let mut outside = outside(&header.log, read.kind(), (header.seq, read.at()));
    put(&mut outside, "id", json!(read.leaf));
    put(&mut outside, "subject", json!(header.id));
    with(&outside, &jsonl::entry(read))
}

/// A heartbeat is an occurrence of its own each time: its id is the hash of its data, which has the time.
pub(super) fn heartbeat(beat: &Heartbeat) -> Vec<u8> {
    let data = jsonl::heartbeat(beat);
    let mut outside = outside(&beat.log, HEARTBEAT, (beat.next, beat.at));
    put(&mut outside, "id", json!(Digest::of(&data)));
    with(&outside, &data)
}

fn outside(log: &str, kind: &str, (seq, at): (u64, Timestamp)) -> Value {
    json!({
        "specversion": "1.0",
        "source": log,
        "type": format!("dev.stint.ledger.{kind}"),
        "time": at.rfc3339(),
        // 20 digits hold any u64: it sorts as text.
        "sequence": format!("{seq:020}"),
        "datacontenttype": "application/json",
    })
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn with(outside: &Value, data: &[u8]) -> Vec<u8> {
    let mut line = open(outside);
    member(&mut line, "data", data);
    line.push(b'}');
    line
}
