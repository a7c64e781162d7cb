//! What must hold after every test, whatever it tests (SECURITY.md §6):
//!
//! - each serial and `jti` that left the broker has exactly one `granted` entry, of the place its answer named, over the
//!   hash of exactly the bytes that were signed; and no grant is there that nobody got (inv. 1, 3);
//! - the offline verifier passes from genesis, under the key pinned at the start, over every head seen (inv. 10);
//! - no planted secret is in the database, its write-ahead log or any other file, nor in any event (inv. 9).

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::Path;

use serde_json::Value;
use stint_audit::bundle::{BODIES, Files, HEADERS};
use stint_audit::trust::Trust;
use stint_audit::verify::{Options, Report};
use stint_audit::{Checkpoint, Digest};
use stint_wire::{Credential, Granted};

use crate::answer::Answer;
use crate::broker::TestBroker;
use crate::issuer;
use crate::log;

/// Whether every recorded grant reached its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As many as were recorded.
    All,
    /// A crash may have come between record and answer.
    Some,
}

/// What a test saw of its broker.
#[derive(Debug, Default)]
pub struct Seen {
    pub(crate) vkey: String,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) released: Vec<Released>,
    pub(crate) canaries: Vec<String>,
}

/// A credential that left the broker.
#[derive(Debug, Clone)]
pub struct Released {
    /// `gr_…`.
    pub grant: String,
    /// Its entry, as the answer said.
    pub seq: u64,
    /// Hash of the bytes that were signed.
    pub tbs: Digest,
    /// Serial or `jti`.
    pub unique: String,
    /// The signature: nothing at rest may hold a token.
    token: Option<String>,
}

/// An entry as it was exported.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its header.
    pub header: Value,
    /// Its body.
    pub body: Value,
}

/// A ledger that left the broker through the operator's socket.
#[derive(Debug)]
pub struct Export {
    /// The bundle's files.
    pub files: Files,
}

impl Released {
    pub(crate) fn of(answer: &Answer) -> Self {
        let Granted {
            grant,
            ledger,
            credential,
            ..
        } = answer.granted();
        let seq = ledger.seq;
        match credential {
            Credential::Jwt { token, jti, .. } => {
                let (input, signature) = token.expose().rsplit_once('.').unwrap();
                let tbs = Digest::of(input.as_bytes());
                Self {
                    grant,
                    seq,
                    tbs,
                    unique: jti,
                    token: Some(signature.to_owned()),
                }
            }
            Credential::X509 {
                certificate,
                serial,
                ..
            } => Self {
                grant,
                seq,
                tbs: tbs(&certificate),
                unique: serial,
                token: None,
            },
        }
    }
}

impl Released {
    /// Of a 200 of the token endpoint.
    pub(crate) fn of_token(answer: &Answer) -> Self {
        let granted = answer.exchanged();
        let (grant, seq) = (granted.grant, granted.ledger.seq);
        let issued = granted.access_token.expose();
        match granted.serial {
            None => {
                let (input, signature) = issued.rsplit_once('.').unwrap();
                let jti = &issuer::claims(issued)["jti"];
                Self {
                    grant,
                    seq,
                    tbs: Digest::of(input.as_bytes()),
                    unique: jti.as_str().unwrap().to_owned(),
                    token: Some(signature.to_owned()),
                }
            }
            Some(serial) => {
                let end = "-----END CERTIFICATE-----\n";
                let (leaf, _) = issued.split_once(end).unwrap();
                Self {
                    grant,
                    seq,
                    tbs: tbs(&format!("{leaf}{end}")),
                    unique: serial,
                    token: None,
                }
            }
        }
    }
}

impl Seen {
    /// Takes note of a credential; a certificate that is given again is the same one.
    pub(crate) fn took(&mut self, released: Option<Released>) {
        let again = |new: &Released| {
            let mut known = self.released.iter();
            known.any(|old| (&old.grant, old.tbs) == (&new.grant, new.tbs))
        };
        let new = released.filter(|released| !again(released));
        self.released.extend(new);
    }
}

/// SHA-256 of the bytes a certificate's issuer signed.
///
/// # Panics
/// If it is no certificate.
#[must_use]
pub fn tbs(pem: &str) -> Digest {
    let der = der(pem);
    let (rest, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(rest.is_empty(), "bytes behind the certificate");
    Digest::of(certificate.tbs_certificate.as_ref())
}

/// The DER in one PEM block.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
}

impl TestBroker {
    /// The whole ledger, by the operator's socket. The export is an entry itself.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn export(&self) -> Export {
        let answer = self.operator("GET", "/v1/ledger/bundle").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut zip = zip::ZipArchive::new(Cursor::new(answer.body)).unwrap();
        let mut files = Files::new();
        for place in 0..zip.len() {
            let mut file = zip.by_index(place).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            files.insert(file.name().unwrap().into_owned(), bytes);
        }
        Export { files }
    }

    /// The report of the offline verifier on an export, under what was pinned at the start.
    pub async fn verify_ledger(&self) -> (Export, Report) {
        let export = self.export().await;
        let seen = self.seen.lock().unwrap();
        let mut trust = Trust::from_keys(&seen.vkey).unwrap();
        trust.remembered = seen.checkpoints.last().cloned();
        let options = Options {
            now: self.now().as_millis().unsigned_abs(),
            since: seen.checkpoints.first().cloned(),
            ..Options::default()
        };
        drop(seen);
        let report = stint_audit::verify(&export.files, &trust, &options);
        (export, report)
    }

    /// Remembers the newest head: the ledger must extend it at the end of the test.
    pub async fn remember(&self) {
        let checkpoint = self.checkpoint().await;
        self.seen.lock().unwrap().checkpoints.push(checkpoint);
    }
}

impl Export {
    /// Every entry, in order.
    ///
    /// # Panics
    /// If the files are not what LEDGER.md §11 says.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let text = |name: &str| String::from_utf8(self.files[name].clone()).unwrap();
        let json = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let mut bodies: BTreeMap<u64, Value> = BTreeMap::new();
        for line in text(BODIES).lines() {
            let mut columns = line.split('\t');
            let seq = columns.next().unwrap().parse().unwrap();
            bodies.insert(seq, json(columns.next_back().unwrap()));
        }
        let entry = |line: &str| {
            let header = json(line);
            let body = bodies
                .get(&header["seq"].as_u64().unwrap())
                .cloned()
                .unwrap_or_default();
            Entry { header, body }
        };
        text(HEADERS).lines().map(entry).collect()
    }

    /// The entries of one kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Vec<Entry> {
        self.entries()
            .into_iter()
            .filter(|entry| entry.header["kind"] == kind)
            .collect()
    }
}

pub(crate) async fn check_ledger(broker: &TestBroker, delivery: Delivery) {
    let (export, report) = broker.verify_ledger().await;
    assert_eq!(
        report.exit, 0,
        "the exported ledger does not verify:\n{report}"
    );
    let granted = export.of("granted");
    let seen = broker.seen.lock().unwrap();
    for released in &seen.released {
        let tbs = released.tbs.to_string();
        let entries: Vec<_> = granted
            .iter()
            .filter(|entry| entry.header["what"]["tbs"] == *tbs)
            .collect();
        let [entry] = entries.as_slice() else {
            panic!("{} entries for {released:?}", entries.len());
        };
        assert_eq!(entry.header["id"], *released.grant);
        assert_eq!(entry.header["seq"], released.seq);
        let unique = [&entry.body["what"]["serial"], &entry.body["what"]["jti"]];
        assert!(
            unique.iter().any(|it| **it == *released.unique),
            "{unique:?} is not {released:?}"
        );
    }
    if delivery == Delivery::All {
        assert_eq!(granted.len(), seen.released.len(), "grants that nobody got");
    }
    assert!(granted.len() >= seen.released.len());
}

/// `stored`: what is in the database, where that is not in the folder.
pub(crate) fn check_secrets(planted: &[String], folder: &Path, stored: &[u8], log_from: usize) {
    let events = log::since(log_from);
    let stored = String::from_utf8_lossy(stored);
    for secret in planted {
        assert!(
            !events.contains(secret.as_str()),
            "a secret is in the log: {secret}"
        );
        assert!(
            !stored.contains(secret.as_str()),
            "a secret is in the database: {secret}"
        );
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            let kind = file.file_type().unwrap();
            if kind.is_dir() {
                folders.push(file.path());
            } else if kind.is_file() {
                // The database's own files come and go.
                let Ok(bytes) = std::fs::read(file.path()) else {
                    assert!(!file.path().exists(), "{:?} cannot be read", file.path());
                    continue;
                };
                let text = String::from_utf8_lossy(&bytes);
                for secret in planted {
                    assert!(
                        !text.contains(secret.as_str()),
                        "a secret is in {:?}: {secret}",
                        file.path()
                    );
                }
            }
        }
    }
}

impl Seen {
    /// Tokens that were handed out are secrets too.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let tokens = self
            .released
            .iter()
            .filter_map(|released| released.token.clone());
        self.canaries.iter().cloned().chain(tokens).collect()
    }
}
