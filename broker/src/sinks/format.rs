//! An entry as somebody else reads it: JSON lines, OCSF, CloudEvents, CSV (LEDGER.md §9).
//!
//! Pure: an entry's exact bytes in, one line out. The sinks, the live stream of the operator socket and the exports of
//! `stint ledger export --format` are all made here, so an event looks the same wherever it is read.
//!
//! Three promises hold for each format:
//! - **One event is one line, and moves no cursor.** Headers are printable ASCII. Bodies are canonical JSON, which escapes
//!   only what JSON must; the rest of what ends lines, steers terminals or turns text around (C1, DEL, U+2028, direction
//!   marks …) is escaped here, as `\u009b`. It is the same JSON, and its canonical form is what was hashed.
//! - **The leaf can be computed again from what is sent.** jsonl and CloudEvents carry the header's exact bytes as a JSON
//!   object, OCSF as a text. A header has integers and ASCII texts without escapes alone, so that any JSON library
//!   that sorts members and leaves out spaces prints those very bytes again, after whatever the event went through.
//! - **Nothing is left out.** There is no filter of kinds: a receiver proves by the count and the leaf hashes that it
//!   has everything, and it can drop what it does not want when it has counted it. Only bodies are chosen.

mod cloudevents;
mod csv;
mod jsonl;
mod ocsf;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use stint_audit::Digest;
use stint_policy::Timestamp;

use crate::telemetry::lines::is_illegal;

pub use csv::HEAD as CSV_HEAD;
pub use ocsf::VERSION as OCSF_VERSION;

/// How an event looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CloudEvents 1.0, structured JSON; `data` is what [`Format::Jsonl`] has.
    CloudEvents,
    /// One row of [`CSV_HEAD`], without the body. No heartbeats.
    Csv,
    /// `{"seq":…,"leaf":…,"header":{…},"body":{…}}`.
    Jsonl,
    /// OCSF of [`OCSF_VERSION`].
    Ocsf,
}

/// One entry as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The exact bytes that were hashed.
    pub header: &'a [u8],
    /// The exact bytes of the body, if it is to be disclosed and still there.
    pub body: Option<&'a [u8]>,
}

/// The signed head, as it is put between entries.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The log.
    pub log: Arc<str>,
    /// The seq of the entry that comes next: all before it were sent.
    pub next: u64,
    /// When.
    pub at: Timestamp,
    /// The signed note; its size is `next` where the stream is not behind.
    pub checkpoint: Arc<str>,
}

/// An event: one line of UTF-8 without its end, and what a transport says of it on the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The line.
    pub line: Vec<u8>,
    /// The kind of the entry, or `heartbeat`.
    pub kind: String,
    /// When it was committed; of a heartbeat: when it was made.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
}

/// How much an event matters to whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What happens all day.
    Info,
    /// Somebody was refused.
    Notice,
    /// Somebody was stopped, or something had to be taken back.
    Warning,
    /// The log itself had to be replaced.
    Critical,
}

/// An entry that was read, with its leaf hash.
struct Read<'a> {
    source: Source<'a>,
    header: Header,
    leaf: Digest,
}

/// What events say of a header. Its form was judged when it was written, its bytes are held by the leaf: here it is read
/// as it is, so that a kind of a later version is sent on as well.
#[derive(Debug, Deserialize)]
struct Header {
    log: String,
    seq: u64,
    prev: String,
    ts: u64,
    node: String,
    id: String,
    kind: String,
    subj: Option<String>,
    by: Option<String>,
    behalf: Option<String>,
    pol: Option<String>,
    what: Value,
}

impl Format {
    /// The event of an entry.
    ///
    /// # Errors
    /// The header is none: what is stored was damaged.
    pub fn event(self, source: Source<'_>) -> Result<Event, serde_json::Error> {
        let read = Read {
            leaf: leaf(source.header),
            source,
            header: serde_json::from_slice(source.header)?,
        };
        let line = match self {
            Self::CloudEvents => cloudevents::entry(&read),
            Self::Csv => csv::row(&read),
            Self::Jsonl => jsonl::entry(&read),
            Self::Ocsf => ocsf::entry(&read),
        };
        Ok(Event {
            line: calm(line),
            kind: read.kind().to_owned(),
            at: read.at(),
            severity: severity(read.kind()),
        })
    }

    /// The event of a heartbeat; none in CSV.
    #[must_use]
    pub fn heartbeat(self, beat: &Heartbeat) -> Option<Event> {
        let line = match self {
            Self::CloudEvents => cloudevents::heartbeat(beat),
            Self::Csv => return None,
            Self::Jsonl => jsonl::heartbeat(beat),
            Self::Ocsf => ocsf::heartbeat(beat),
        };
        Some(Event {
            line,
            kind: HEARTBEAT.to_owned(),
            at: beat.at,
            severity: Severity::Info,
        })
    }
}

impl Read<'_> {
    fn kind(&self) -> &str {
        &self.header.kind
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.header.ts).unwrap_or(i64::MAX))
    }

    /// A text of the header's `what`.
    fn fact(&self, name: &str) -> Option<&str> {
        self.header.what.get(name).and_then(Value::as_str)
    }
}

/// The leaf hash of RFC 6962: of a zero byte and the header.
#[must_use]
pub fn leaf(header: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(header.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(header);
    Digest::of(&bytes)
}

fn severity(kind: &str) -> Severity {
    match kind {
        "denied" | "rollup" => Severity::Notice,
        "caller_disabled" | "erased" | "frozen" | "revoked" | "sign_failed" => Severity::Warning,
        "recovery" => Severity::Critical,
        _ => Severity::Info,
    }
}

/// The same JSON, with what could end a line or steer a terminal escaped. Such characters stand in its texts alone.
fn calm(json: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&json);
    if !text.contains(is_illegal) {
        return json;
    }
    let mut calm = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        if !is_illegal(character) {
            calm.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            calm.push_str(&format!("\\u{unit:04x}"));
        }
    }
    calm.into_bytes()
}

/// Members of an object, ready for more: without its closing brace.
fn open(object: &Value) -> Vec<u8> {
    let mut line = object.to_string().into_bytes();
    line.pop();
    line
}

/// One more member with a value that is JSON already.
fn member(line: &mut Vec<u8>, name: &str, json: &[u8]) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    line.extend_from_slice(json);
}

const HEARTBEAT: &str = "heartbeat";

#[cfg(test)]
mod tests;
