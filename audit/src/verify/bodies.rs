//! The disclosed half of a bundle: bodies against their headers, identities against their pseudonyms, and
//! entries outside the range against the checkpoint.

use std::collections::{BTreeMap, HashMap};
use std::str;

use serde_json::{Map, Value};

use super::lines::Lines;
use super::passkeys::Fact;
use super::report::Check;
use super::{lines, small};
use crate::Digest;
use crate::bundle::{BODIES, BundleSource, OPENINGS, RECEIPTS};
use crate::canonical::{self, MAX_BODY};
use crate::checkpoint::{Checkpoint, decimal};
use crate::entry::{Body, Header};
use crate::kind::{Recovery, What};
use crate::receipt::{Proof, ProofError};
use crate::subject::opened;

/// Most `receipts/` of one bundle; about 200 bytes of each are held in memory.
const MAX_RECEIPTS: usize = 65_536;

/// Most bytes of all `receipts/`: twice what [`MAX_RECEIPTS`] of the usual 2 KB take.
const MAX_RECEIPT_BYTES: u64 = 1 << 28;

/// Most identities held to one pseudonym each: 64 MiB of them.
const MAX_IDENTITIES: usize = 7 << 16; // fills 2^19 buckets

/// Longest line of `bodies.tsv`: 20 digits, a tab, a body.
const MAX_BODY_LINE: usize = MAX_BODY + 21;

/// Longest line of `openings.tsv`: two digests, two tabs, an id.
const MAX_OPENING_LINE: usize = 4_096;

/// Entries outside the range, each proven under the bundle's checkpoint: what their bodies are held to.
#[derive(Default)]
pub(super) struct Outside {
    commitments: BTreeMap<u64, Commitment>,
    /// What those before the range say of people, in order.
    pub(super) facts: BTreeMap<u64, Fact>,
}

impl Outside {
    /// Reads and proves `receipts/SEQ.tlog-proof`, each header once to `note`; a false one is a fault of the root. The
    /// range begins at `from`.
    pub(super) fn read(
        source: &dyn BundleSource,
        (checkpoint, from): (&Checkpoint, u64),
        root: &mut Check,
        mut note: impl FnMut(&Header),
    ) -> Self {
        let names = source.names();
        let names = names.iter().filter(|name| name.starts_with(RECEIPTS));
        let mut outside = Self::default();
        let mut length = 0;
        for (n, name) in names.enumerate() {
            if n == MAX_RECEIPTS || length > MAX_RECEIPT_BYTES {
                let text = format!(
                    "more than {MAX_RECEIPTS} receipts, or {MAX_RECEIPT_BYTES} bytes of them"
                );
                root.fail(None, text);
                break;
            }
            let proven = small(source, name).and_then(|text| {
                length += crate::tree::count(text.as_bytes());
                prove(&text, checkpoint).map_err(|error| format!("{name}: {error}"))
            });
            match proven {
                Ok(header) => {
                    note(&header);
                    outside
                        .commitments
                        .insert(header.seq, Commitment::of(&header));
                    if let Some(fact) = Fact::of(&header).filter(|_| header.seq < from) {
                        outside.facts.insert(header.seq, fact);
                    }
                }
                Err(text) => root.fail(None, text),
            }
        }
        outside
    }
}

fn prove(text: &str, checkpoint: &Checkpoint) -> Result<Header, ProofError> {
    let (header, _) = text.parse::<Proof>()?.under(checkpoint)?;
    Ok(header)
}

/// The members of a body.
type Members = Map<String, Value>;

/// How the body of an entry was found.
pub(super) enum Here {
    /// Not at all.
    Absent,
    /// It is not the one its header commits to, or its header cannot be read.
    False,
    /// As it was committed to.
    Open(Members),
}

/// What a header says about its body: a fixed size, whatever the header's.
#[derive(Clone, Copy)]
struct Commitment {
    seq: u64,
    body: Digest,
    subj: Option<Digest>,
    by: Option<Digest>,
    behalf: Option<Digest>,
    is_decision: bool,
    /// Of which entry of the log before it this one is the record (LEDGER.md §5, `recovery`).
    old: Option<u64>,
}

impl Commitment {
    const fn of(header: &Header) -> Self {
        let old = match &header.what {
            What::Recovery(Recovery::Entry { old }) => Some(*old),
            _ => None,
        };
        Self {
            old,
            seq: header.seq,
            body: header.body,
            subj: header.subj,
            by: header.by,
            behalf: header.behalf,
            is_decision: header.what.is_decision(),
        }
    }
}

/// The bodies of a bundle, read beside its headers.
pub(super) struct Bodies<'a> {
    lines: Option<Lines<'a>>,
    next: Option<(u64, Vec<u8>)>,
    last: Option<u64>,
    outside: Outside,
    identities: Identities,
    /// How many were checked.
    pub(super) opened: u64,
}

impl<'a> Bodies<'a> {
    pub(super) fn open(source: &'a dyn BundleSource, outside: Outside, bytes: &mut Check) -> Self {
        let mut identities = Identities::default();
        identities.read(source, bytes);
        let mut bodies = Self {
            lines: lines(source, BODIES, MAX_BODY_LINE, bytes),
            next: None,
            last: None,
            outside,
            identities,
            opened: 0,
        };
        bodies.advance(bytes);
        bodies
    }

    /// The body of entry `seq`, which is checked against `header` if that could be read.
    pub(super) fn at(&mut self, seq: u64, header: Option<&Header>, bytes: &mut Check) -> Here {
        self.until(Some(seq), bytes);
        let Some((_, body)) = self.next.take_if(|(next, _)| *next == seq) else {
            return Here::Absent;
        };
        let open = header.and_then(|header| self.check(&Commitment::of(header), &body, bytes));
        self.advance(bytes);
        open.map_or(Here::False, Here::Open)
    }

    /// The body of entry `seq`, which is outside the range and before what was asked for since.
    pub(super) fn before(&mut self, seq: u64, bytes: &mut Check) -> Option<Members> {
        self.until(Some(seq), bytes);
        let (_, body) = self.next.take_if(|(next, _)| *next == seq)?;
        let commitment = self.outside.commitments.get(&seq).copied();
        let open = commitment.and_then(|commitment| self.check(&commitment, &body, bytes));
        self.advance(bytes);
        open
    }

    /// The bodies behind the range.
    pub(super) fn finish(&mut self, bytes: &mut Check) {
        self.until(None, bytes);
        if self.identities.full {
            let text = format!("more than {MAX_IDENTITIES} identities: not all are told apart");
            bytes.doubt(None, text);
        }
    }

    /// Bodies before `seq`, or all that are left, that no header of the range asked for: of entries outside it.
    fn until(&mut self, seq: Option<u64>, bytes: &mut Check) {
        let before = |next: u64| seq.is_none_or(|seq| next < seq);
        while let Some((at, body)) = self.next.take_if(|(next, _)| before(*next)) {
            match self.outside.commitments.get(&at).copied() {
                Some(commitment) => drop(self.check(&commitment, &body, bytes)),
                None => bytes.fail(Some(at), format!("body {at} belongs to no entry here")),
            }
            self.advance(bytes);
        }
    }

    fn check(
        &mut self,
        commitment: &Commitment,
        body: &[u8],
        bytes: &mut Check,
    ) -> Option<Members> {
        let seq = commitment.seq;
        match self.identities.check(commitment, body) {
            Ok(what) => {
                self.opened += 1;
                Some(what)
            }
            Err(text) => {
                bytes.fail(Some(seq), format!("the body of entry {seq} {text}"));
                None
            }
        }
    }

    fn advance(&mut self, bytes: &mut Check) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        self.next = match lines.next() {
            Ok(line) => line.and_then(|line| {
                let parsed = split(line);
                if parsed.is_none() {
                    bytes.fail(None, format!("{BODIES} has a line that is no seq and body"));
                }
                parsed
            }),
            Err(text) => {
                bytes.fail(None, format!("{BODIES} {text}"));
                None
            }
        };
        let now = self.next.as_ref().map(|(seq, _)| *seq);
        if let (Some(last), Some(now)) = (self.last, now)
            && now <= last
        {
            bytes.fail(Some(now), format!("body {now} stands behind body {last}"));
            self.next = None;
        }
        if self.next.is_none() {
            self.lines = None;
        }
        self.last = now.or(self.last);
    }
}

fn split(line: &[u8]) -> Option<(u64, Vec<u8>)> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let (seq, body) = line.split_at_checked(tab)?;
    let seq = decimal(str::from_utf8(seq).ok()?)?;
    Some((seq, body.get(1..)?.to_vec()))
}

/// Whether a body has the header of entry `old` of another log, and its body, if any, is the one that header commits to.
/// Whose pseudonyms are in there is that log's affair.
fn brought_back(old: u64, what: &Members) -> Result<(), String> {
    let header = what.get("header").and_then(Value::as_str);
    let header = header.and_then(|text| canonical::lint_header(text.as_bytes()).ok());
    let header = header.filter(|header| header.get("seq").and_then(Value::as_u64) == Some(old));
    let header = header.ok_or_else(|| format!("does not hold the header of entry {old}"))?;
    let Some(body) = what.get("body") else {
        return Ok(());
    };
    let hash = body
        .as_str()
        .map(|body| Digest::of(body.as_bytes()).to_string());
    match hash.as_deref() == header.get("body").and_then(Value::as_str) && hash.is_some() {
        true => Ok(()),
        false => Err(format!("holds another body than that of entry {old}")),
    }
}

/// The pseudonym each opened identity goes by; 64 bytes for each, whatever its length.
#[derive(Default)]
struct Identities {
    known: HashMap<Digest, Digest>,
    /// Whether an identity was left out, because there were [`MAX_IDENTITIES`].
    full: bool,
}

impl Identities {
    /// Reads `openings.tsv`.
    fn read(&mut self, source: &dyn BundleSource, bytes: &mut Check) {
        let Some(mut lines) = lines(source, OPENINGS, MAX_OPENING_LINE, bytes) else {
            return;
        };
        loop {
            match lines.next() {
                Ok(None) => return,
                Ok(Some(line)) => {
                    if let Err(text) = self.opening(line) {
                        bytes.fail(None, format!("{OPENINGS}: {text}"));
                    }
                }
                Err(text) => {
                    bytes.fail(None, format!("{OPENINGS} {text}"));
                    return;
                }
            }
        }
    }

    fn opening(&mut self, line: &[u8]) -> Result<(), String> {
        let line = str::from_utf8(line).unwrap_or_default();
        let parts: Vec<_> = line.split('\t').collect();
        let [subj, id, open] = parts.as_slice() else {
            return Err("a line is not pseudonym, id and opening".to_owned());
        };
        let (Ok(subj), Ok(open)) = (subj.parse::<Digest>(), open.parse()) else {
            return Err("a line is not pseudonym, id and opening".to_owned());
        };
        if opened(&open, id) != subj {
            return Err(format!("{id:?} does not open {subj}"));
        }
        self.note(id, subj)
    }

    /// One identity has one pseudonym, or a filter would hide entries.
    fn note(&mut self, id: &str, pseudonym: Digest) -> Result<(), String> {
        let key = Digest::of(id.as_bytes());
        match self.known.get(&key) {
            Some(known) if *known != pseudonym => {
                return Err(format!("gives {id:?} a second pseudonym"));
            }
            Some(_) => {}
            None if self.known.len() < MAX_IDENTITIES => {
                self.known.insert(key, pseudonym);
            }
            None => self.full = true,
        }
        Ok(())
    }

    /// Holds a body to its header: hash, form, openings. The rest of its sentence on error.
    fn check(&mut self, commitment: &Commitment, bytes: &[u8]) -> Result<Members, String> {
        if Digest::of(bytes) != commitment.body {
            return Err("is not the one its header commits to".to_owned());
        }
        let body = Body::parse(bytes).map_err(|error| format!("is malformed: {error}"))?;
        self.open(commitment, &body.what)?;
        if let Some(old) = commitment.old {
            brought_back(old, &body.what)?;
        }
        Ok(body.what)
    }

    /// Only members that are ours are openings: claims and queries hold foreign text in any shape.
    fn open(&mut self, commitment: &Commitment, what: &Map<String, Value>) -> Result<(), String> {
        let member = |name: &str| what.get(name);
        let first = |name: &str| member(name)?.as_array()?.first();
        let holder = member("caller").or_else(|| member("person"));
        let actor = member("approver").or_else(|| member("actor"));
        for (who, carried, name) in [
            (holder, commitment.subj, "subj"),
            (actor, commitment.by, "by"),
            (first("chain"), commitment.behalf, "behalf"),
        ] {
            let pseudonym = who.map(|who| self.identity(who)).transpose()?.flatten();
            if pseudonym.is_some() && pseudonym != carried {
                return Err(format!("opens another {name} than its header carries"));
            }
            if name == "subj" && commitment.is_decision && pseudonym.is_none() {
                return Err("does not open its caller".to_owned());
            }
        }
        let lists = ["chain", "actors"].into_iter().filter_map(member);
        let others = lists.filter_map(Value::as_array).flatten();
        for who in others.chain(member("initiator")) {
            self.identity(who)?;
        }
        Ok(())
    }

    /// The pseudonym that an `{id, open, …}` opens; `None` if it is no opening.
    fn identity(&mut self, who: &Value) -> Result<Option<Digest>, String> {
        let text = |name: &str| who.get(name).and_then(Value::as_str);
        let (Some(id), Some(open)) = (text("id"), text("open")) else {
            return Ok(None);
        };
        let Ok(open) = open.parse() else {
            return Err(format!("has an opening of {id:?} that is no digest"));
        };
        let pseudonym = opened(&open, id);
        self.note(id, pseudonym)?;
        Ok(Some(pseudonym))
    }
}
