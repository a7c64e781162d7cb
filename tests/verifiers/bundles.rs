//! Random bundles of random logs, and what their auditor brings.

use data_encoding::BASE64;
use serde_json::{Value, json};
use stint_audit::bundle::Files;
use stint_audit::cosign::WitnessKey;
use stint_audit::receipt::Proof;
use stint_audit::tree::{Frontier, Growth};
use stint_audit::trust::{Policy, Trust};
use stint_audit::verify::Options;
use stint_audit::{Checkpoint, Digest, LogKey, Pseudonyms};

use crate::dice::Dice;
use crate::logs::{ORIGIN, Writer, Written};

/// A bundle and what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) files: Files,
    pub(crate) keys: Vec<String>,
    pub(crate) policy: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) now: u64,
    pub(crate) max_age: Option<u64>,
    pub(crate) credential: Option<Digest>,
    pub(crate) all: bool,
}

impl Case {
    pub(crate) fn random(dice: &mut Dice) -> Case {
        let n = 2 + dice.below(24);
        let key = log_key(1);
        let next = log_key(2);
        let (log, handed) = Writer::write(dice, n, &next);
        Maker {
            dice,
            n,
            growth: growth(&log),
            log,
            key,
            next,
            handed,
        }
        .case()
    }

    pub(crate) fn trust(&self) -> Trust {
        let policy = self.policy.as_ref();
        Trust {
            policy: policy.map(|text| Policy::parse(text.as_bytes()).unwrap()),
            ..Trust::from_keys(&self.keys.join("\n")).unwrap()
        }
    }

    pub(crate) fn options(&self) -> Options {
        let since = self.since.as_ref();
        Options {
            now: self.now,
            since: since.map(|text| Checkpoint::parse(text).unwrap()),
            max_age: self.max_age,
            credential: self.credential,
            all: self.all,
        }
    }

    /// The line that `checker.mjs` takes.
    pub(crate) fn line(&self) -> String {
        let files = self.files.iter();
        let files: serde_json::Map<String, Value> = files
            .map(|(name, bytes)| (name.clone(), BASE64.encode(bytes).into()))
            .collect();
        json!({"files": files, "keys": self.keys, "policy": self.policy, "since": self.since, "now": self.now,
            "max_age": self.max_age, "credential": self.credential, "all": self.all})
        .to_string()
    }
}

/// The key of the log: the first, or the one it hands over to.
pub(crate) fn log_key(n: u8) -> LogKey {
    LogKey::from_seed(&[n; 32], ORIGIN).unwrap()
}

fn growth(log: &[Written]) -> Growth {
    let leaves: Vec<_> = log.iter().map(|it| it.leaf).collect();
    Growth::new(&Frontier::default(), &leaves)
}

struct Maker<'d> {
    dice: &'d mut Dice,
    n: u64,
    log: Vec<Written>,
    growth: Growth,
    key: LogKey,
    next: LogKey,
    handed: Option<u64>,
}

impl Maker<'_> {
    fn case(mut self) -> Case {
        let (from, to) = self.range();
        let mut files = Files::new();
        let policy = self.policy();
        let handover = self.handed.filter(|_| self.dice.once_in(2));
        let checkpoint = self.checkpoint(handover, policy.as_ref());
        self.proof(&mut files, from, to);
        self.entries(&mut files, from, to);
        self.openings(&mut files);
        if let Some(seq) = handover {
            self.handover(&mut files, seq);
        }
        files.insert("manifest.json".into(), self.manifest(from, to));
        files.insert("checkpoint".into(), checkpoint.into_bytes());
        Case {
            files,
            keys: self.keys(),
            policy,
            since: self.since(),
            now: 1_795_305_700_000,
            max_age: self.dice.once_in(3).then(|| self.dice.below(200_000)),
            credential: self.credential(),
            all: self.dice.once_in(4),
        }
    }

    fn range(&mut self) -> (u64, u64) {
        if self.dice.once_in(2) {
            return (0, self.n);
        }
        let from = self.dice.below(self.n + 1);
        (from, from + self.dice.below(self.n - from + 1))
    }

    fn keys(&mut self) -> Vec<String> {
        let other = LogKey::from_seed(&[9; 32], "other.example/ledger").unwrap();
        match self.dice.below(12) {
            0 => vec![],
            1 => vec![other.vkey()],
            2 => vec![self.next.vkey(), self.key.vkey()],
            3 => vec![log_key(3).vkey()],
            4 => vec![self.key.vkey(), self.key.vkey(), other.vkey()],
            _ => vec![self.key.vkey()],
        }
    }

    fn since(&mut self) -> Option<String> {
        if !self.dice.once_in(3) {
            return None;
        }
        let size = self.dice.below(self.n + 3);
        let root = self.root_at(size).filter(|_| !self.dice.once_in(5));
        let origin = if self.dice.once_in(12) {
            "other"
        } else {
            ORIGIN
        };
        let root = root.unwrap_or_else(|| Digest::of(b"fork"));
        Some(format!(
            "{origin}\n{size}\n{}\n",
            BASE64.encode(root.as_bytes())
        ))
    }

    fn root_at(&self, size: u64) -> Option<Digest> {
        Some(self.growth.frontier(size)?.root())
    }

    fn credential(&mut self) -> Option<Digest> {
        match self.dice.below(5) {
            0 => self.log.iter().find_map(|it| it.tbs),
            1 if self.dice.once_in(3) => Some(Digest::of(b"never granted")),
            _ => None,
        }
    }

    fn policy(&mut self) -> Option<String> {
        if !self.dice.once_in(3) {
            return None;
        }
        let quorum = *self.dice.pick(&["w1", "g", "none", "h"]);
        let rule = *self.dice.pick(&["any", "all", "2"]);
        let witnesses: String = (1..=3)
            .map(|n| format!("witness w{n} {}\n", witness(n).public()))
            .collect();
        Some(format!(
            "{witnesses}group g {rule} w1 w2\ngroup h all g w3\nquorum {quorum}\n"
        ))
    }

    /// Signed by the log's key, or after a handover by the next; cosigned by some.
    fn checkpoint(&mut self, handover: Option<u64>, policy: Option<&String>) -> String {
        let text = Checkpoint {
            origin: ORIGIN.into(),
            size: self.n,
            root: self.root_at(self.n).unwrap(),
        }
        .text();
        let mut note = if handover.is_some() {
            self.next.sign(&text)
        } else {
            self.key.sign(&text)
        };
        for n in 1..=3 {
            if policy.is_some() && self.dice.once_in(2) {
                let time = 1_795_305_500 + self.dice.below(400);
                let line = witness(n).cosign(&text, time).unwrap();
                note.push_str(&format!("{line}\n"));
            }
        }
        note
    }

    fn proof(&mut self, files: &mut Files, from: u64, to: u64) {
        let mut since = serde_json::Map::new();
        for size in 1..=self.n {
            if self.dice.once_in(4) {
                since.insert(size.to_string(), json!(self.growth.consistency(size)));
            }
        }
        let right = if to == 0 {
            Some(vec![])
        } else {
            self.growth.consistency(to)
        };
        let mut proof =
            json!({"left": self.growth.frontier(from).unwrap().nodes(), "right": right.unwrap()});
        if !since.is_empty() {
            proof["since"] = Value::Object(since);
        }
        files.insert("proof.json".into(), proof.to_string().into_bytes());
    }

    fn entries(&mut self, files: &mut Files, from: u64, to: u64) {
        let mut headers = Vec::new();
        let mut bodies = Vec::new();
        let withhold = self.dice.below(4);
        for (seq, entry) in (0..).zip(&self.log) {
            let inside = (from..to).contains(&seq);
            if inside {
                headers.extend_from_slice(&entry.header);
                headers.push(b'\n');
            } else if self.dice.once_in(3) {
                let proof = receipt(&self.growth, seq, entry);
                files.insert(format!("receipts/{seq}.tlog-proof"), proof.into_bytes());
            } else {
                continue;
            }
            if withhold != 1 || self.dice.once_in(2) {
                bodies.extend_from_slice(format!("{seq}\t").as_bytes());
                bodies.extend_from_slice(&entry.body);
                bodies.push(b'\n');
            }
        }
        files.insert("headers.jsonl".into(), headers);
        files.insert("bodies.tsv".into(), bodies);
    }

    fn openings(&mut self, files: &mut Files) {
        if !self.dice.once_in(3) {
            return;
        }
        let mut text = String::new();
        for n in 0..self.dice.below(4) {
            let id = format!("spiffe://stint.example/ci/{n}");
            let log = if self.dice.once_in(8) {
                "other"
            } else {
                ORIGIN
            };
            let subject = Pseudonyms::new([7; 32], log).subject(&id);
            text.push_str(&format!("{}\t{id}\t{}\n", subject.pseudonym, subject.open));
        }
        files.insert("openings.tsv".into(), text.into_bytes());
    }

    /// The overlap's checkpoint, signed by both keys, with the entry that added the new one.
    fn handover(&mut self, files: &mut Files, seq: u64) {
        let size = seq + 1 + self.dice.below(self.n - seq);
        let there = usize::try_from(size).unwrap();
        let growth = growth(&self.log[..there]);
        let text = Checkpoint {
            origin: ORIGIN.into(),
            size,
            root: growth.frontier(size).unwrap().root(),
        }
        .text();
        let mut note = self.key.sign(&text);
        if !self.dice.once_in(6) {
            let other = self.next.sign(&text);
            note.push_str(&format!("{}\n", other.lines().last().unwrap()));
        }
        let proof = Proof {
            checkpoint: note,
            extra: Some(self.log[usize::try_from(seq).unwrap()].header.clone()),
            index: seq,
            path: growth.inclusion(seq).unwrap(),
        };
        files.insert(
            format!("handover/{seq}.tlog-proof"),
            proof.to_string().into_bytes(),
        );
    }

    fn manifest(&mut self, from: u64, to: u64) -> Vec<u8> {
        let mut manifest = json!({"v": 1, "log": ORIGIN, "epoch": 0, "from": from, "to": to, "size": self.n,
            "made_at": 1_795_305_700_000_u64, "files": [{"name": "x", "length": 3, "hash": Digest::of(b"x")}]});
        let subject = Pseudonyms::new([7; 32], ORIGIN).subject("spiffe://stint.example/ci/1");
        let promise = match self.dice.below(5) {
            0 => json!(null),
            1 => json!({}),
            2 => json!({"kinds": ["granted", "voted", "decided"]}),
            3 => json!({"who": [subject.pseudonym]}),
            _ => json!({"kinds": ["granted", "login"], "who": [subject.pseudonym], "later": 1}),
        };
        if !self.dice.once_in(4) {
            manifest["promise"] = promise;
        }
        manifest.to_string().into_bytes()
    }
}

fn receipt(growth: &Growth, seq: u64, entry: &Written) -> String {
    let proof = Proof {
        checkpoint: "unread\n\n".into(),
        extra: Some(entry.header.clone()),
        index: seq,
        path: growth.inclusion(seq).unwrap(),
    };
    proof.to_string()
}

/// One of three witnesses.
pub(crate) fn witness(n: u8) -> WitnessKey {
    WitnessKey::from_seed(&[100 + n; 32], &format!("witness{n}.example")).unwrap()
}
