//! The one pass over a bundle's headers: links, leaves, forms, and what later verdicts ask of them. Keeps the
//! frontier, the ranges without bodies and a few counts; never the headers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bodies::{Bodies, Here, Outside};
use super::passkeys::{Fact, Passkeys};
use super::ranges::Ranges;
use super::replay::Replay;
use super::report::{Check, Name, Verdict};
use super::{Decider, lines};
use crate::Digest;
use crate::bundle::{BundleSource, HEADERS, Manifest, Promise};
use crate::canonical::{self, MAX_HEADER};
use crate::checkpoint::Checkpoint;
use crate::entry::{FormError, Header};
use crate::kind::What;
use crate::tree::{Frontier, leaf_hash};

/// Most foreign kinds a report names.
const MAX_FOREIGN: usize = 8;

/// What is looked for on the way.
#[derive(Clone, Copy)]
pub(super) struct Quest<'a> {
    /// SHA-256 of the to-be-signed bytes of a credential.
    pub(super) credential: Option<Digest>,
    /// Who decides again.
    pub(super) decider: Option<&'a dyn Decider>,
}

/// The walk before it began.
pub(super) struct Walk<'a> {
    manifest: &'a Manifest,
    walked: Walked<'a>,
    /// Sizes the auditor remembers, whose roots are computed on the way.
    sizes: BTreeSet<u64>,
    /// The leaf before, where it is known.
    prev: Option<Digest>,
    /// The seq of an entry that does not link to the one before; the next link tells which of them is bad.
    broken: Option<u64>,
    ts: u64,
}

/// What the walk found.
pub(super) struct Walked<'a> {
    pub(super) chain: Check,
    pub(super) frontier: Frontier,
    /// Roots at the sizes that were asked for.
    pub(super) roots: BTreeMap<u64, Digest>,
    /// How many headers were read.
    pub(super) read: u64,
    pub(super) first_ts: Option<u64>,
    pub(super) last_ts: Option<u64>,
    pub(super) passkeys: Passkeys<'a>,
    pub(super) replay: Replay,
    bodies: u64,
    withheld: u64,
    missing: Ranges,
    erased: Ranges,
    foreign: BTreeSet<String>,
    grants: Vec<(u64, String)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(manifest: &'a Manifest, left: &Frontier, sizes: BTreeSet<u64>) -> Self {
        let from = manifest.from;
        let prev = match from {
            0 => Some(Digest::ZERO),
            _ if from % 2 == 1 => left.nodes().last().copied(),
            _ => None,
        };
        let walked = Walked {
            chain: Check::default(),
            frontier: left.clone(),
            roots: BTreeMap::new(),
            read: 0,
            first_ts: None,
            last_ts: None,
            passkeys: Passkeys::new(&manifest.log, from),
            replay: Replay::new(from),
            bodies: 0,
            withheld: 0,
            missing: Ranges::default(),
            erased: Ranges::default(),
            foreign: BTreeSet::new(),
            grants: Vec::new(),
        };
        Self {
            manifest,
            walked,
            sizes,
            prev,
            broken: None,
            ts: 0,
        }
    }

    /// Notes what a proven entry outside the range says about those within. One within speaks for itself.
    pub(super) fn outside(&mut self, header: &Header) {
        if let What::Erased(erased) = &header.what
            && !(self.manifest.from..self.manifest.to).contains(&header.seq)
        {
            erased
                .ranges
                .iter()
                .for_each(|it| self.walked.erased.add(*it));
        }
    }

    /// Reads headers and bodies side by side, to their ends.
    pub(super) fn run(
        mut self,
        source: &dyn BundleSource,
        mut outside: Outside,
        quest: Quest<'_>,
        bytes: &mut Check,
    ) -> Walked<'a> {
        let before = std::mem::take(&mut outside.facts);
        let mut bodies = Bodies::open(source, outside, bytes);
        let mut headers = lines(source, HEADERS, MAX_HEADER, bytes);
        for (seq, fact) in before {
            let body = bodies.before(seq, bytes);
            self.walked.passkeys.follow(&fact, body.as_ref());
        }
        self.root();
        for seq in self.manifest.from.. {
            let line = match headers.as_mut().map_or(Ok(None), |lines| lines.next()) {
                Ok(line) => line,
                Err(text) => {
                    bytes.fail(Some(seq), format!("{HEADERS} {text}, at entry {seq}"));
                    None
                }
            };
            let Some(line) = line else {
                self.ended(seq);
                break;
            };
            if seq >= self.manifest.to {
                let to = self.manifest.to;
                let text = format!("there is an entry behind the last, {to} in its place");
                self.walked.chain.fail(Some(seq), text);
                break;
            }
            let header = self.header(seq, line, bytes);
            let here = bodies.at(seq, header.as_ref(), bytes);
            let Some(header) = header else {
                continue;
            };
            self.walked.note(&header, quest.credential);
            let body = match &here {
                Here::Absent => {
                    self.withheld(&header);
                    None
                }
                Here::False => None,
                Here::Open(body) => Some(body),
            };
            if let Some(fact) = Fact::of(&header) {
                self.walked.passkeys.follow(&fact, body);
            }
            self.walked.replay.follow(&header, body, quest.decider);
        }
        if let Some(later) = self.broken {
            self.blame_later(later);
        }
        bodies.finish(bytes);
        self.walked.bodies = bodies.opened;
        self.walked
    }

    /// One header: its leaf, its links, its form. `None` if it has no form this version knows.
    fn header(&mut self, seq: u64, line: &[u8], bytes: &mut Check) -> Option<Header> {
        self.walked.read += 1;
        let leaf = leaf_hash(line);
        self.walked.frontier.push(leaf);
        self.root();
        let value = canonical::lint_header(line);
        self.link(seq, value.as_ref().ok());
        self.prev = Some(leaf);
        let parsed = value.map_err(FormError::from).and_then(Header::from_value);
        match parsed {
            Ok(header) => Some(header),
            Err(error @ FormError::Version(_)) => {
                bytes.doubt(Some(seq), format!("entry {seq}: {error}"));
                None
            }
            Err(error) => {
                bytes.fail(Some(seq), format!("entry {seq} is malformed: {error}"));
                None
            }
        }
    }

    fn root(&mut self) {
        let frontier = &self.walked.frontier;
        if self.sizes.contains(&frontier.size()) {
            self.walked.roots.insert(frontier.size(), frontier.root());
        }
    }

    /// Links hold whatever the version: seq, log, prev and ts are read from the bare value.
    fn link(&mut self, seq: u64, value: Option<&Value>) {
        let number = |name: &str| value?.get(name)?.as_u64();
        let text = |name: &str| value?.get(name)?.as_str();
        let prev = text("prev").and_then(|prev| prev.parse::<Digest>().ok());
        let sound = prev.is_some_and(|prev| self.prev.is_none_or(|leaf| leaf == prev));
        match self.broken.take() {
            Some(later) if sound => self.blame_earlier(later),
            Some(later) => self.blame_later(later),
            None => {}
        }
        let chain = &mut self.walked.chain;
        if value.is_none() {
            chain.fail(Some(seq), format!("entry {seq} cannot be read"));
        }
        match number("seq") {
            Some(found) if found == seq => {}
            Some(found) => {
                let text = format!("entry {seq} is not in its place: entry {found} is");
                chain.fail(Some(seq), text);
            }
            None => chain.fail(Some(seq), format!("entry {seq} has no seq")),
        }
        if text("log") != Some(self.manifest.log.as_str()) {
            chain.fail(Some(seq), format!("entry {seq} is not of this log"));
        }
        // Beside a broken link a fall says nothing of its own: either entry may hold the false time.
        if sound && number("ts").is_none_or(|ts| ts < self.ts) {
            chain.fail(Some(seq), format!("time falls at entry {seq}"));
        }
        self.ts = number("ts").unwrap_or(self.ts);
        self.walked.first_ts.get_or_insert(self.ts);
        self.walked.last_ts = Some(self.ts);
        if !sound && self.walked.chain.holds() {
            self.broken = Some(seq);
        }
    }

    /// Of a broken link the later entry is linked to soundly itself: the earlier one was changed.
    fn blame_earlier(&mut self, later: u64) {
        match later
            .checked_sub(1)
            .filter(|earlier| *earlier >= self.manifest.from)
        {
            Some(earlier) => {
                let text = format!("entry {earlier} is not the one entry {later} was linked to");
                self.walked.chain.fail(Some(earlier), text);
            }
            None => self.blame_later(later),
        }
    }

    /// Of a broken link nothing speaks for the later entry.
    fn blame_later(&mut self, later: u64) {
        let text = match later.checked_sub(1) {
            None => "entry 0 does not begin the log".to_owned(),
            Some(earlier) => format!("entry {later} does not link to entry {earlier}"),
        };
        self.walked.chain.fail(Some(later), text);
    }

    fn ended(&mut self, seq: u64) {
        let to = self.manifest.to;
        if seq < to {
            let text = format!("entry {seq} is missing: the headers end before it, not at {to}");
            self.walked.chain.fail(Some(seq), text);
        }
    }

    fn withheld(&mut self, header: &Header) {
        self.walked.withheld += 1;
        let promise = self.manifest.promise.as_ref();
        if promise.is_some_and(|promise| promise.covers(header)) {
            self.walked.missing.add([header.seq, header.seq + 1]);
        }
    }
}

impl Walked<'_> {
    fn note(&mut self, header: &Header, credential: Option<Digest>) {
        match &header.what {
            What::Granted(granted) if credential == Some(granted.tbs) && self.grants.len() < 2 => {
                self.grants.push((header.seq, header.id.clone()));
            }
            What::Erased(erased) => erased.ranges.iter().for_each(|it| self.erased.add(*it)),
            What::Foreign(_) if self.foreign.len() < MAX_FOREIGN => {
                self.foreign.insert(header.what.kind().to_owned());
            }
            _ => {}
        }
    }

    pub(super) fn bytes_text(&self, checkpoint: &Checkpoint) -> String {
        let mut text = format!(
            "{} headers have their form and {} bodies their salt and openings; they hash to what \
             checkpoint {} commits to",
            self.read, self.bodies, checkpoint.size
        );
        if !self.foreign.is_empty() {
            let kinds: Vec<_> = self.foreign.iter().map(String::as_str).collect();
            text.push_str("; kinds this version does not know: ");
            text.push_str(&kinds.join(", "));
        }
        text
    }

    /// Each promised body is here, or its `erased` entry is.
    pub(super) fn complete(&self, promise: Option<&Promise>) -> Verdict {
        let mut check = Check::default();
        let (erased, first) = self.missing.within(&self.erased);
        if let Some(seq) = first {
            let text = format!("the body of entry {seq} was promised and is not here");
            check.doubt(Some(seq), text);
        }
        if self.missing.is_full() {
            let text = "more promised bodies are missing than can be told apart".to_owned();
            check.doubt(None, text);
        }
        let withheld = self.withheld - erased;
        let text = match promise {
            Some(_) => "every promised body is here",
            None => "no body was promised",
        };
        let text = format!(
            "{text}; {} bodies are open, {withheld} withheld, {erased} erased",
            self.bodies
        );
        check.verdict(Name::Complete, text)
    }

    /// The credential's one grant.
    pub(super) fn credential(&self) -> Verdict {
        let mut check = Check::default();
        let mut text = String::new();
        match self.grants.as_slice() {
            [(seq, id)] => text = format!("granted by entry {seq}, {id}"),
            [] => check.fail(None, "no grant in the range is for this credential".into()),
            [_, (seq, _), ..] => {
                let text = "more than one grant is for this credential".to_owned();
                check.fail(Some(*seq), text);
            }
        }
        check.verdict(Name::Credential, text)
    }
}
