//! What an auditor is handed: plain files that verify without us (LEDGER.md §11).
//!
//! [`write`] produces the files, [`BundleSource`] hands them back; both stream, so a bundle may be larger than
//! memory. The container (a zip, a folder) is the caller's. Nothing in a manifest is evidence: it says where to
//! look, and all counts by hash against the root.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Error, ErrorKind, Write};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::entry::Header;
use crate::note::VerifierKey;
use crate::record;
use crate::tree::Growth;

/// What this is and how to check it by hand.
pub const README: &str = "README.txt";
/// Claims: range, filter, promise, files.
pub const MANIFEST: &str = "manifest.json";
/// The signed note.
pub const CHECKPOINT: &str = "checkpoint";
/// [`Proofs`].
pub const PROOF: &str = "proof.json";
/// Every header of the range, one a line, exact bytes.
pub const HEADERS: &str = "headers.jsonl";
/// `seq TAB body`, ascending, exact bytes.
pub const BODIES: &str = "bodies.tsv";
/// `pseudonym TAB id TAB open`, identities disclosed by name.
pub const OPENINGS: &str = "openings.tsv";
/// Folder of `SEQ.tlog-proof`: entries outside the range that it refers to.
pub const RECEIPTS: &str = "receipts/";
/// Folder of `SEQ.tlog-proof`: log keys that were handed over to, each under a checkpoint that both keys signed.
pub const HANDOVER: &str = "handover/";
/// Folder of `POL/PATH`: files of the policy sets that decided.
pub const POLICIES: &str = "policies/";
/// The JavaScript verifier, one page that needs no network.
pub const VERIFY_HTML: &str = "verify.html";
/// Verifier keys of the log, for convenience: a careful auditor uses his own copy.
pub const KEYS: &str = "trust/log.vkeys";

/// Where a bundle is read from.
pub trait BundleSource {
    /// Opens file `name` at its beginning; `None` if there is none.
    ///
    /// # Errors
    /// When the container cannot be read.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn BufRead + '_>>>;

    /// The names of all files.
    fn names(&self) -> Vec<String>;

    /// What was found to be wrong with the container while files were read, in words. Then nothing that was read
    /// from it counts: where it broke off depends on how it was read.
    fn fault(&self) -> Option<String> {
        None
    }
}

/// Where a bundle is written to: one file after the other.
pub trait BundleSink {
    /// Ends the file before and begins `name`, whose bytes go to what is returned.
    ///
    /// # Errors
    /// When the container cannot be written.
    fn start(&mut self, name: &str) -> io::Result<&mut dyn Write>;
}

/// A bundle in memory, by file name.
pub type Files = BTreeMap<String, Vec<u8>>;

impl BundleSource for Files {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        let file = self.get(name);
        Ok(file.map(|bytes| Box::new(bytes.as_slice()) as Box<dyn BufRead + '_>))
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

impl BundleSink for Files {
    fn start(&mut self, name: &str) -> io::Result<&mut dyn Write> {
        let file = self.entry(name.to_owned()).or_default();
        file.clear();
        Ok(file)
    }
}

/// `manifest.json`: claims about a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub v: u64,
    /// The origin of the log.
    pub log: String,
    /// Its epoch.
    pub epoch: u64,
    /// The first seq.
    pub from: u64,
    /// The seq after the last.
    pub to: u64,
    /// The size of the checkpoint.
    pub size: u64,
    /// When it was made, milliseconds.
    pub made_at: u64,
    /// How the bodies were chosen, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Which bodies are all here.
    #[serde(
        default,
        deserialize_with = "record::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    pub promise: Option<Promise>,
    /// Files with length and hash.
    #[serde(default, deserialize_with = "record::list")]
    pub files: Vec<FileClaim>,
}

/// Bodies that are all here: those of every entry in the range that fits both members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Promise {
    /// Of one of these kinds; absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeSet<String>>,
    /// With one of these pseudonyms as `subj`, `by` or `behalf`; absent: with any or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<BTreeSet<Digest>>,
}

impl Promise {
    /// Whether the body of `header` is promised.
    #[must_use]
    pub fn covers(&self, header: &Header) -> bool {
        let kind = header.what.kind();
        let people = [header.subj, header.by, header.behalf];
        let whose = |who: &BTreeSet<Digest>| people.iter().flatten().any(|it| who.contains(it));
        let kinds = self.kinds.as_ref();
        kinds.is_none_or(|kinds| kinds.contains(kind)) && self.who.as_ref().is_none_or(whose)
    }
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileClaim {
    /// Its name.
    pub name: String,
    /// Its length, bytes.
    pub length: u64,
    /// Its SHA-256.
    pub hash: Digest,
}

/// `proof.json`: what ties the range to the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    /// Frontier of size `from`, largest subtree first.
    pub left: Vec<Digest>,
    /// Consistency of `to` and the checkpoint's size; empty if they are equal or `to` is 0.
    pub right: Vec<Digest>,
    /// For sizes the auditor named: consistency of that size and the checkpoint's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub since: BTreeMap<u64, Vec<Digest>>,
}

impl Proofs {
    /// The proofs of range [`from`, `to`) under the tree `growth` has grown to, with those for the sizes in
    /// `since`. `None` unless `growth` began at or before all of them and reaches `to`.
    #[must_use]
    pub fn of(growth: &Growth, from: u64, to: u64, since: &[u64]) -> Option<Self> {
        let right = if to == 0 {
            Vec::new()
        } else {
            growth.consistency(to)?
        };
        let since = since.iter().filter(|size| **size > 0);
        Some(Self {
            left: growth.frontier(from)?.nodes().to_vec(),
            right,
            since: since
                .map(|size| Some((*size, growth.consistency(*size)?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// What goes into a bundle beside headers and bodies.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// Range, filter and promise; `v` and `files` are filled in by [`write`].
    pub manifest: Manifest,
    /// The signed note.
    pub checkpoint: &'a str,
    /// What ties the range to it.
    pub proofs: Proofs,
    /// `tlog-proof` texts of entries outside the range, by seq.
    pub receipts: &'a [(u64, String)],
    /// Identities disclosed by name: pseudonym, id, open.
    pub openings: &'a [(Digest, String, Digest)],
    /// Verifier keys of the log.
    pub keys: &'a [VerifierKey],
    /// Any other files, by name: `policies/POL/…`, `handover/…`, `trust/…`, `verify.html`.
    pub files: &'a [(String, Vec<u8>)],
}

/// Headers of a range, in order, exact bytes.
pub type Headers<'a> = &'a mut dyn Iterator<Item = io::Result<Vec<u8>>>;

/// Chosen bodies with their seqs, ascending, exact bytes.
pub type Bodies<'a> = &'a mut dyn Iterator<Item = io::Result<(u64, Vec<u8>)>>;

/// Writes a bundle to `sink`, the manifest last, and returns it.
///
/// # Errors
/// What the sink or the iterators report; [`ErrorKind::InvalidData`] if the headers are not as many as the
/// range is long.
pub fn write(
    sink: &mut dyn BundleSink,
    contents: Contents<'_>,
    headers: Headers<'_>,
    bodies: Bodies<'_>,
) -> io::Result<Manifest> {
    let mut manifest = contents.manifest;
    let mut out = Claiming {
        sink,
        claims: Vec::new(),
    };
    out.file(README, |w| w.write_all(readme(&manifest).as_bytes()))?;
    out.file(CHECKPOINT, |w| w.write_all(contents.checkpoint.as_bytes()))?;
    out.file(PROOF, |w| Ok(serde_json::to_writer(w, &contents.proofs)?))?;
    let mut n = 0;
    out.file(HEADERS, |w| {
        for header in headers {
            n += 1;
            w.write_all(&header?)?;
            w.write_all(b"\n")?;
        }
        Ok(())
    })?;
    if manifest.to.checked_sub(manifest.from) != Some(n) {
        let text = format!(
            "{n} headers for entries {} to {}",
            manifest.from, manifest.to
        );
        return Err(Error::new(ErrorKind::InvalidData, text));
    }
    out.file(BODIES, |w| {
        for body in bodies {
            let (seq, body) = body?;
            write!(w, "{seq}\t")?;
            w.write_all(&body)?;
            w.write_all(b"\n")?;
        }
        Ok(())
    })?;
    if !contents.openings.is_empty() {
        out.file(OPENINGS, |w| {
            let mut openings = contents.openings.iter();
            openings.try_for_each(|(subj, id, open)| writeln!(w, "{subj}\t{id}\t{open}"))
        })?;
    }
    for (seq, proof) in contents.receipts {
        let name = format!("{RECEIPTS}{seq}.tlog-proof");
        out.file(&name, |w| w.write_all(proof.as_bytes()))?;
    }
    out.file(KEYS, |w| {
        contents
            .keys
            .iter()
            .try_for_each(|key| writeln!(w, "{key}"))
    })?;
    for (name, bytes) in contents.files {
        out.file(name, |w| w.write_all(bytes))?;
    }
    manifest.v = 1;
    manifest.files = out.claims;
    serde_json::to_writer_pretty(out.sink.start(MANIFEST)?, &manifest)?;
    Ok(manifest)
}

/// A sink that notes length and hash of what passes.
struct Claiming<'a> {
    sink: &'a mut dyn BundleSink,
    claims: Vec<FileClaim>,
}

impl Claiming<'_> {
    fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = Hashing {
            inner: self.sink.start(name)?,
            context: Context::new(&SHA256),
            length: 0,
        };
        fill(&mut file)?;
        file.flush()?;
        self.claims.push(FileClaim {
            name: name.to_owned(),
            length: file.length,
            hash: Digest::from_ring(&file.context.finish()),
        });
        Ok(())
    }
}

struct Hashing<'a> {
    inner: &'a mut dyn Write,
    context: Context,
    length: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        let written = bytes.get(..n).unwrap_or(bytes);
        self.context.update(written);
        self.length += crate::tree::count(written);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn readme(manifest: &Manifest) -> String {
    let Manifest {
        log,
        from,
        to,
        size,
        ..
    } = manifest;
    format!(
        r#"Ledger bundle of {log}: entries from {from} up to, not including, {to}, under the checkpoint of size {size}.

Check it with your own copy of `stint` and a log key you got by another road than this file:

    stint ledger verify FILE --key VKEY

verify.html, if it is here, does the same in a browser, from disk and without a network; a careful auditor uses their
own copy of it. Give it the files of this folder, or the file they came in.

What is in it: headers.jsonl has every header of the range, one a line; each is a leaf of an RFC 6962 Merkle
tree and names the leaf before it. bodies.tsv has the bodies that were disclosed, `seq TAB body`; each hashes to
its header's `body`. checkpoint is a C2SP signed note over the tree's root; proof.json ties the two together.
receipts/ has C2SP tlog-proofs of entries outside the range that it refers to, policies/ the Cedar policies that
decided, by their content address, openings.tsv identities that were disclosed by name.
manifest.json and trust/ are claims and conveniences, not evidence.

By hand, with openssl and coreutils: the first command prints `prev` of line 2, the second `body` of the header
whose seq stands before the first body (each less the `=` at its end).

    (printf '\0'; sed -n 1p headers.jsonl | tr -d '\n') | openssl dgst -sha256 -binary | basenc --base64url
    sed -n 1p bodies.tsv | cut -f2- | tr -d '\n' | openssl dgst -sha256 -binary | basenc --base64url

The checkpoint and the receipts are readable by every C2SP tlog tool, the tree by every RFC 6962 one.
"#
    )
}

#[cfg(test)]
pub(crate) mod tests;
