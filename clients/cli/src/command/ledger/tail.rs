//! `stint ledger tail`: the log as it grows. Each line is checked before it is passed on: its seq is the next, its header
//! hashes to the leaf it names and links to the one before, its body is the one it commits to, and the signed head
//! that comes each minute is over no more than was sent. From entry 0 on the head's root is computed as well.

use serde::Deserialize;
use serde_json::Value;
use stint_audit::canonical::{canonical, lint_header};
use stint_audit::note::VerifierKey;
use stint_audit::tree::{Frontier, leaf_hash};
use stint_audit::{Checkpoint, Digest, Header};

use super::socket;
use crate::args::Tail;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::pins::Pins;
use crate::settings::{self, Settings};

/// Longest line, bytes: a header, a body, and what stands around them.
const MAX_LINE: usize = 128 * 1024;

/// Passes on what holds, line by line, until the broker ends the stream.
///
/// # Errors
/// Exit 8 for the first line that does not hold, 7 if the broker is gone: `tail` again from the seq it names.
pub(super) async fn tail(
    args: &Tail,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let bodies = (!args.bodies.is_empty()).then(|| args.bodies.join(","));
    let parameters = [("from", Some(args.from.to_string())), ("bodies", bodies)];
    let mut answer = socket::get(
        &args.socket.socket,
        "/v1/ledger/events",
        &parameters,
        settings,
    )
    .await?;
    let pins = Pins::load(settings::trust_file()?)?;
    let mut follower = Follower::new(args.from);
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let chunk = match answer.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(ended(&follower, "the broker ended the stream")),
            Err(error) => {
                let cause = crate::words::root_cause(&error);
                return Err(ended(&follower, &format!("the stream broke off{cause}")));
            }
        };
        rest.extend_from_slice(&chunk);
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=at).collect();
            let keys = |log: &str| Ok(pins.trust(log, args.key.as_deref())?.keys);
            match follower.line(line.trim_ascii_end(), keys)? {
                Ok(Unchecked(None)) => {}
                Ok(Unchecked(Some(text))) => output.talk("unchecked", text),
                Err(fault) => return Err(Failure::new(Exit::Failed, fault)),
            }
            output.data(&line)?;
        }
        if rest.len() > MAX_LINE {
            return Err(Failure::new(
                Exit::Failed,
                "a line is longer than any entry",
            ));
        }
    }
}

fn ended(follower: &Follower, why: &str) -> Failure {
    let next = format!("stint ledger tail --from {}", follower.next);
    Failure::new(Exit::Unreachable, why).next(next)
}

/// Where the stream is.
struct Follower {
    next: u64,
    leaf: Option<Digest>,
    log: Option<String>,
    /// Of a stream from the first entry on.
    tree: Option<Frontier>,
    told: bool,
}

/// What of a line could not be checked, once.
#[derive(Debug, PartialEq, Eq)]
struct Unchecked(Option<String>);

/// A line of the stream.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Entry {
        seq: u64,
        leaf: Digest,
        header: Value,
        body: Option<Value>,
    },
    Heartbeat {
        heartbeat: Heartbeat,
    },
}

/// The signed head.
#[derive(Deserialize)]
struct Heartbeat {
    log: String,
    next: u64,
    checkpoint: String,
}

type Judgement = Result<Unchecked, String>;

impl Follower {
    fn new(from: u64) -> Self {
        Self {
            next: from,
            leaf: None,
            log: None,
            tree: (from == 0).then(Frontier::default),
            told: false,
        }
    }

    /// Checks one line. The inner error is what does not hold; `keys` are those pinned for a log.
    fn line(
        &mut self,
        line: &[u8],
        keys: impl Fn(&str) -> Result<Vec<VerifierKey>, Failure>,
    ) -> Result<Judgement, Failure> {
        let next = self.next;
        let Ok(line) = serde_json::from_slice(line) else {
            return Ok(Err(format!(
                "a line is no event, entry {next} in its place"
            )));
        };
        Ok(match line {
            Line::Entry {
                seq,
                leaf,
                header,
                body,
            } => self.entry(seq, leaf, (&header, body.as_ref())),
            Line::Heartbeat { heartbeat } => {
                let keys = keys(&heartbeat.log)?;
                self.heartbeat(&heartbeat, &keys)
            }
        })
    }

    fn entry(&mut self, seq: u64, leaf: Digest, parts: (&Value, Option<&Value>)) -> Judgement {
        let (header, body) = parts;
        let next = self.next;
        if seq != next {
            return Err(format!(
                "entry {next} is missing: entry {seq} is in its place"
            ));
        }
        let bad = |what: &str| format!("entry {seq} {what}");
        // A header has one spelling, so the parsed one gives its bytes back.
        let bytes = canonical(header).map_err(|_null| bad("has no canonical header"))?;
        let value = lint_header(&bytes).map_err(|error| bad(&format!("is malformed: {error}")))?;
        let member = |name: &str| value.get(name).and_then(Value::as_str);
        if leaf_hash(&bytes) != leaf || value.get("seq").and_then(Value::as_u64) != Some(seq) {
            return Err(bad("does not hash to its leaf"));
        }
        let prev = member("prev").and_then(|prev| prev.parse().ok());
        let before = self.leaf.or((seq == 0).then_some(Digest::ZERO));
        if before.is_some() && prev != before {
            return Err(bad("does not link to the entry before"));
        }
        if self
            .log
            .as_deref()
            .is_some_and(|log| Some(log) != member("log"))
        {
            return Err(bad("is of another log"));
        }
        self.log = member("log").map(str::to_owned);
        if let Some(body) = body {
            let bytes = canonical(body).map_err(|_null| bad("has no canonical body"))?;
            let committed = Header::parse(&bytes_of(&value)).map(|header| header.body);
            if committed.is_ok_and(|committed| committed != Digest::of(&bytes)) {
                return Err(bad("has a body that is not the one its header commits to"));
            }
        }
        if let Some(tree) = &mut self.tree {
            tree.push(leaf);
        }
        self.leaf = Some(leaf);
        self.next += 1;
        Ok(Unchecked(None))
    }

    fn heartbeat(&mut self, beat: &Heartbeat, keys: &[VerifierKey]) -> Judgement {
        let next = self.next;
        if beat.next != next {
            let sent = beat.next;
            return Err(format!(
                "entries {next} to {sent} were said to be sent and are missing"
            ));
        }
        let (checkpoint, note) = Checkpoint::parse_note(&beat.checkpoint)
            .map_err(|error| format!("the signed head is unreadable: {error}"))?;
        let Checkpoint { origin, size, root } = &checkpoint;
        if *origin != beat.log || self.log.as_ref().is_some_and(|log| log != origin) {
            return Err(format!("the signed head is of another log: {origin:?}"));
        }
        if *size < next {
            return Err(format!(
                "the signed head is of {size} entries, {next} were sent"
            ));
        }
        let signed = note.verify(keys).map_err(|error| error.to_string())?;
        let tree = self.tree.as_ref().filter(|tree| tree.size() == *size);
        if tree.is_some_and(|tree| tree.root() != *root) {
            return Err(format!(
                "the entries do not lead to the signed head of {size}"
            ));
        }
        if !signed.is_empty() || std::mem::replace(&mut self.told, true) {
            return Ok(Unchecked(None));
        }
        let text = format!("no pinned key of {origin} signed the head: give one with --key");
        Ok(Unchecked(Some(text)))
    }
}

/// The bytes of a linted value.
fn bytes_of(value: &Value) -> Vec<u8> {
    canonical(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
