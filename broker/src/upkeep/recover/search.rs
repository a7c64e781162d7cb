//! What is found in files that others kept, and what of it the lost log's own signature covers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use stint_audit::bundle::{BODIES, BundleSource, HEADERS, MANIFEST, Manifest};
use stint_audit::canonical::canonical;
use stint_audit::kind::PriorLog;
use stint_audit::note::VerifierKey;
use stint_audit::receipt::Proof;
use stint_audit::tree::leaf_hash;
use stint_audit::{Checkpoint, Digest, Head};

use crate::ledger::prune::archive;

/// An entry as somebody kept it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Exact bytes.
    pub(super) header: Vec<u8>,
    /// Exact bytes, if it was kept.
    pub(super) body: Option<Vec<u8>>,
    /// Where, for people.
    pub(super) source: String,
}

/// One after the other, over all files.
pub(super) struct Search {
    /// What is left of the log.
    left: Head,
    keys: Vec<VerifierKey>,
    /// What is proven, by seq; none that is left.
    pub(super) proven: BTreeMap<u64, Found>,
    /// What sinks were sent, and heads that were signed: the one leads to the other, or counts for nothing.
    events: BTreeMap<u64, Found>,
    roots: BTreeMap<u64, Digest>,
}

/// A line of a sink: an entry, or the signed head. CloudEvents have the same as `data`.
#[derive(Deserialize)]
struct Line {
    data: Option<Sent>,
    #[serde(flatten)]
    sent: Sent,
}

#[derive(Deserialize)]
struct Sent {
    header: Option<Value>,
    body: Option<Value>,
    heartbeat: Option<Beat>,
    checkpoint: Option<String>,
}

#[derive(Deserialize)]
struct Beat {
    checkpoint: String,
}

impl Search {
    /// For what came after `left`; `prior` is the head by which the log in use knows the old one.
    pub(super) fn new(left: Head, prior: &PriorLog, keys: Vec<VerifierKey>) -> Self {
        Self {
            left,
            keys,
            proven: BTreeMap::new(),
            events: BTreeMap::new(),
            roots: BTreeMap::from([(prior.size, prior.root)]),
        }
    }

    /// How many entries are left.
    pub(super) fn left(&self) -> u64 {
        self.left.size()
    }

    /// Reads a bundle, a receipt or a sink's lines. Gives the entry, if it is proven to be two different ones.
    pub(super) fn read(&mut self, path: &Path, now: u64) -> io::Result<Option<u64>> {
        let mut begins = Vec::new();
        File::open(path)?.take(MAGIC).read_to_end(&mut begins)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if begins.starts_with(b"PK") {
            self.bundle(path, &format!("bundle {name}"), now)
        } else if begins.starts_with(b"c2sp") {
            self.receipt(path, format!("receipt {name}"))
        } else {
            self.lines(path, &format!("events {name}")).map(|()| None)
        }
    }

    fn bundle(&mut self, path: &Path, source: &str, now: u64) -> io::Result<Option<u64>> {
        let vkeys: Vec<_> = self.keys.iter().map(ToString::to_string).collect();
        let bundle = archive::check(path, &vkeys, now)?;
        let missing = || io::Error::other("is no whole bundle");
        let manifest = bundle.open(MANIFEST)?.ok_or_else(missing)?;
        let manifest: Manifest = serde_json::from_reader(manifest)?;
        let mut bodies = BTreeMap::new();
        let tsv = bundle.open(BODIES)?.into_iter();
        for line in tsv.flat_map(|tsv| tsv.split(b'\n')) {
            let line = line?;
            let mut columns = line.splitn(2, |byte| *byte == b'\t');
            let seq = columns
                .next()
                .and_then(|seq| std::str::from_utf8(seq).ok()?.parse::<u64>().ok());
            if let (Some(seq), Some(body)) = (seq.filter(|it| *it >= self.left()), columns.next()) {
                bodies.insert(seq, body.to_vec());
            }
        }
        let headers = bundle.open(HEADERS)?.ok_or_else(missing)?.split(b'\n');
        for (seq, header) in (manifest.from..).zip(headers) {
            let found = Found {
                header: header?,
                body: bodies.remove(&seq),
                source: source.to_owned(),
            };
            if let fork @ Some(_) = self.keep(seq, found) {
                return Ok(fork);
            }
        }
        Ok(None)
    }

    fn receipt(&mut self, path: &Path, source: String) -> io::Result<Option<u64>> {
        let proof: Proof = std::fs::read_to_string(path)?
            .parse()
            .map_err(io::Error::other)?;
        let proven = proof.verify(&self.keys).map_err(io::Error::other)?;
        let found = Found {
            header: proof.extra.unwrap_or_default(),
            body: None,
            source,
        };
        Ok(self.keep(proven.header.seq, found))
    }

    /// Events are only put aside: that they are of the log, and which, is told by the heads that they lead to.
    fn lines(&mut self, path: &Path, source: &str) -> io::Result<()> {
        let wrong = |at: usize| {
            let text = format!(
                "has no event in line {}: bundles, receipts and JSON lines of a sink are read",
                at + 1
            );
            io::Error::other(text)
        };
        for (at, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let Ok(Line { data, sent }) = serde_json::from_slice(&line) else {
                return Err(wrong(at));
            };
            let sent = data.unwrap_or(sent);
            if let Some(note) = sent
                .heartbeat
                .map(|beat| beat.checkpoint)
                .or(sent.checkpoint)
            {
                self.head(&note);
                continue;
            }
            let header = sent.header.as_ref().ok_or_else(|| wrong(at))?;
            let seq = header.get("seq").and_then(Value::as_u64);
            let seq = seq.ok_or_else(|| wrong(at))?;
            // Any JSON library prints the very bytes again, if it sorts members and leaves spaces out.
            let bytes = |value: &Value| canonical(value).map_err(io::Error::other);
            let found = Found {
                header: bytes(header)?,
                body: sent.body.as_ref().map(bytes).transpose()?,
                source: source.to_owned(),
            };
            if seq >= self.left()
                && header.get("log").and_then(Value::as_str) == Some(self.left.log())
            {
                self.events.entry(seq).or_insert(found);
            }
        }
        Ok(())
    }

    /// A head of the lost log that its key signed; others are of no use here.
    fn head(&mut self, note: &str) {
        let Ok((checkpoint, note)) = Checkpoint::parse_note(note) else {
            return;
        };
        let signed = note
            .verify(&self.keys)
            .is_ok_and(|signers| !signers.is_empty());
        if signed && checkpoint.origin == self.left.log() {
            self.roots.entry(checkpoint.size).or_insert(checkpoint.root);
        }
    }

    /// Keeps what is proven, a body beside a bare header. Gives its seq if another entry of that number is proven too.
    fn keep(&mut self, seq: u64, found: Found) -> Option<u64> {
        if seq < self.left() {
            return None;
        }
        match self.proven.get_mut(&seq) {
            Some(known) if known.header != found.header => return Some(seq),
            Some(known) if known.body.is_none() => *known = found,
            Some(_) => {}
            None => drop(self.proven.insert(seq, found)),
        }
        None
    }

    /// Hashes what sinks were sent on from what is left, entry by entry, and keeps all that leads to a signed head. Gives how
    /// many lead to none.
    pub(super) fn prove_events(&mut self) -> u64 {
        let mut tree = self.left.frontier().clone();
        let mut pending = Vec::new();
        let events = std::mem::take(&mut self.events);
        let mut unproven = events
            .keys()
            .filter(|seq| !self.proven.contains_key(seq))
            .count();
        while let Some(found) = {
            let seq = tree.size();
            let known = self.proven.get(&seq).map(|it| &it.header);
            let event = events
                .get(&seq)
                .filter(|it| known.is_none_or(|known| *known == it.header));
            event.or_else(|| self.proven.get(&seq)).cloned()
        } {
            pending.push((tree.size(), found.clone()));
            tree.push(leaf_hash(&found.header));
            if self.roots.get(&tree.size()) == Some(&tree.root()) {
                for (seq, found) in pending.drain(..) {
                    unproven -= usize::from(!self.proven.contains_key(&seq));
                    let found = whole(found);
                    // What is proven already is the same entry: its header was taken for the tree.
                    let _same = self.keep(seq, found);
                }
            }
        }
        u64::try_from(unproven).unwrap_or(u64::MAX)
    }
}

/// A body counts if it is the one that the header commits to.
fn whole(mut found: Found) -> Found {
    let header: Option<Value> = serde_json::from_slice(&found.header).ok();
    let hash = header
        .as_ref()
        .and_then(|header| header.get("body")?.as_str());
    found.body = found
        .body
        .filter(|body| hash == Some(Digest::of(body).to_string().as_str()));
    found
}

/// As many bytes as tell what a file is.
const MAGIC: u64 = 4;
