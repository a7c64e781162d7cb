//! Random logs: entries of every kind, of the form LEDGER.md §5 gives them, with bodies and openings. Whatever `bend` then
//! does to a header or a body is hashed, linked and signed as if the log's own operator had written it.

use serde_json::{Map, Value, json};
use stint_audit::canonical::canonical;
use stint_audit::tree::leaf_hash;
use stint_audit::{Digest, LogKey, Pseudonyms};

use stint_tests::passkey::Passkey;
use stint_tests::votes::{self, Draft, Person, Votes};

use crate::bend;
use crate::dice::Dice;

pub(crate) const ORIGIN: &str = "stint.example/ledger";

/// An entry as it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) leaf: Digest,
    /// What it says of a grant: its `tbs`.
    pub(crate) tbs: Option<Digest>,
}

/// A log in the making: who is in it, and what binds.
pub(crate) struct Writer<'d> {
    dice: &'d mut Dice,
    pseudonyms: Pseudonyms,
    pol: Digest,
    ts: u64,
    tasks: Vec<String>,
    requests: Vec<String>,
    people: Vec<Person>,
    /// The seqs that added passkeys, and whose they are.
    keys: Vec<(u64, usize)>,
    /// Asks on hold, each with the seqs of the yes it got.
    held: Vec<(u64, Vec<u64>)>,
    /// What is still to come of a story with people, the last first.
    story: Vec<Step>,
    grants: Vec<(u64, String)>,
    /// The key that the log hands over to, and the seq that says so.
    pub(crate) handed: Option<u64>,
    written: Vec<Written>,
}

/// A step of a story with people.
#[derive(Clone, Copy)]
enum Step {
    Ask,
    Enrol,
    Grant,
    Retire,
    Vote,
}

impl Writer<'_> {
    /// A log of `n` entries; once in a while one is bent.
    pub(crate) fn write(dice: &mut Dice, n: u64, next: &LogKey) -> (Vec<Written>, Option<u64>) {
        let mut writer = Writer {
            pseudonyms: Pseudonyms::new([7; 32], ORIGIN),
            pol: Digest::of(b"policy 0"),
            ts: 1_795_305_600_000,
            tasks: Vec::new(),
            requests: Vec::new(),
            people: people(),
            keys: Vec::new(),
            held: Vec::new(),
            story: story(dice),
            grants: Vec::new(),
            handed: None,
            written: Vec::new(),
            dice,
        };
        let bent = writer.dice.once_in(3).then(|| writer.dice.below(n));
        for seq in 0..n {
            writer.entry(seq, next, bent);
        }
        (writer.written, writer.handed)
    }

    fn entry(&mut self, seq: u64, next: &LogKey, bent: Option<u64>) {
        let bent = bent == Some(seq);
        let (mut header, mut what) = self.draft(seq, next);
        if !self.dice.once_in(4) {
            self.ts += self.dice.below(3_000);
        }
        let prev = self.written.last().map_or(Digest::ZERO, |it| it.leaf);
        if bent && self.dice.once_in(2) {
            bend::value(self.dice, &mut what);
        }
        let mut body = json!({"salt": "AwMDAwMDAwMDAwMDAwMDAw", "what": what});
        if bent && self.dice.once_in(6) {
            bend::value(self.dice, &mut body);
        }
        let mut body = bytes(&body);
        if bent && self.dice.once_in(4) {
            body = bend::twin(self.dice, &body);
        }
        let tbs = header
            .get("what")
            .and_then(|what| what.get("tbs")?.as_str()?.parse().ok());
        for (name, value) in [
            ("body", json!(Digest::of(&body))),
            ("log", json!(ORIGIN)),
            ("node", json!("a-1")),
            ("prev", json!(prev)),
            ("seq", json!(seq)),
            ("ts", json!(self.ts)),
            ("v", json!(1)),
        ] {
            header.insert(name.into(), value);
        }
        let mut header = Value::Object(header);
        if bent && self.dice.once_in(2) {
            bend::value(self.dice, &mut header);
        }
        let mut header = bytes(&header);
        if bent && self.dice.once_in(4) {
            header = bend::twin(self.dice, &header);
        }
        let leaf = leaf_hash(&header);
        self.written.push(Written {
            header,
            body,
            leaf,
            tbs,
        });
    }

    /// Header and body of one entry, without what every entry has.
    fn draft(&mut self, seq: u64, next: &LogKey) -> (Map<String, Value>, Value) {
        if seq == 0 {
            let mut what = json!({"epoch": 0, "hash": "rfc6962-sha256", "nonce": Digest::of(b"n"), "vkey": next.vkey()});
            if self.dice.once_in(4) {
                what["prior"] = json!({"log": "old", "root": Digest::of(b"r"), "size": 9});
            }
            return (
                header("genesis", "ent_", seq, what),
                json!({"software": "0.1.0"}),
            );
        }
        if seq == 1 {
            return self.policy(seq, None);
        }
        if !self.story.is_empty() && !self.dice.once_in(6) {
            let step = self.story.pop().unwrap_or(Step::Ask);
            return self.step(step, seq);
        }
        match self.dice.below(24) {
            0..=6 => self.granted(seq),
            7 => self.denied(seq),
            8 => self.requested(seq),
            9 if self.dice.once_in(6) => self.voted(seq),
            10 => self.closing(seq),
            11 => self.task(seq),
            12 => self.withdrawn(seq),
            13 => self.kill(seq),
            14 => {
                let was = self.pol;
                self.pol = Digest::of(&seq.to_be_bytes());
                let was = self.dice.once_in(2).then_some(was);
                self.policy(seq, was)
            }
            15 => self.key(seq, next),
            16 => self.erased(seq),
            17 => self.person(seq),
            _ => self.plain(seq),
        }
    }

    fn granted(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, caller) = self.who();
        let task = self.a_task(seq);
        let mut what = json!({"cred": self.dice.pick(&["x509", "jwt"]), "exp": self.ts + 900_000, "task": task,
            "tbs": Digest::of(&seq.to_le_bytes())});
        if self.dice.once_in(3) {
            what["opens"] = json!(true);
        }
        if self.dice.once_in(6) {
            what["parent"] = json!(self.a_task(seq + 1));
        }
        if let Some(request) = self.requests.last().filter(|_| self.dice.once_in(40)) {
            what["request"] = json!(request);
            what["votes"] = json!(1);
        }
        let mut header = header("granted", "gr_", seq, what);
        self.grants.push((seq, id("gr_", seq)));
        let mut body = self.decision(&caller);
        if self.dice.once_in(5) {
            let (first, who) = self.who();
            header.insert("behalf".into(), json!(first));
            body["chain"] = json!([who]);
        }
        header.insert("subj".into(), json!(subject));
        header.insert("pol".into(), json!(self.a_pol()));
        (header, body)
    }

    /// People and their passkeys, asks on hold, votes and what is granted on them.
    fn step(&mut self, step: Step, seq: u64) -> (Map<String, Value>, Value) {
        let votes = Votes::new(ORIGIN, [7; 32], self.a_pol());
        let person = self.dice.index(self.people.len());
        let (key, whose) = self.keys.last().copied().unwrap_or((1, person));
        let draft = match step {
            Step::Enrol => {
                self.keys.insert(0, (seq, person));
                votes.enrol(&self.people[person])
            }
            Step::Retire => votes.retire(&self.people[whose], key),
            Step::Ask => {
                self.held.push((seq, Vec::new()));
                let needs = *self.dice.pick(&[
                    [("sre", 1)].as_slice(),
                    &[("sre", 2)],
                    &[("security", 1), ("sre", 1)],
                    &[("nobody", 1)],
                ]);
                votes.request(seq, needs)
            }
            Step::Vote => self.vote(&votes, seq),
            Step::Grant => {
                let (request, mut yes) = self.held.last().cloned().unwrap_or((2, vec![]));
                if self.dice.once_in(16) {
                    yes.push(self.dice.below(seq));
                }
                let end = *self.dice.pick(&[0, 200_000, 900_000, 900_000, 5_000_000]);
                self.grants.push((seq, id("gr_", seq)));
                votes.grant(seq, request, &yes, self.ts + end)
            }
        };
        written(draft, seq)
    }

    /// The next of those who enrolled votes on the last ask, well or badly.
    fn vote(&mut self, votes: &Votes, seq: u64) -> Draft {
        let (key, whose) = self.keys.pop().unwrap_or((1, 0));
        self.keys.insert(0, (key, whose));
        let (request, yes) = self
            .held
            .last_mut()
            .map_or((2, None), |(n, yes)| (*n, Some(yes)));
        let vote = if self.dice.once_in(8) { "no" } else { "yes" };
        if let Some(yes) = yes.filter(|_| vote == "yes") {
            yes.push(seq);
        }
        let person = &self.people[whose];
        let mut ballot = votes.ballot(person, key, request, vote);
        let bent = self.dice.below(36);
        match bent {
            0 => bend::value(self.dice, &mut ballot.facts),
            1 => ballot.key_seq = self.dice.below(seq + 1),
            2 => ballot.facts["note"] = json!("seen"),
            3 => ballot.facts["lasts_s"] = json!(100),
            _ => {}
        }
        // Facts that were bent out of any canonical form are signed as if they were empty.
        let challenge = stint_audit::passkey::challenge(&ballot.nonce, &ballot.facts);
        let challenge = challenge.unwrap_or(Digest::ZERO);
        let mut client = person
            .passkey
            .client_data("webauthn.get", challenge.as_bytes());
        let mut data = person.passkey.authenticator_data(0);
        match bent {
            4 => bend::value(self.dice, &mut client),
            // Nothing, to a language where 0 and "" are nearly false.
            11 => {
                let framed = [
                    json!(0),
                    json!(""),
                    json!("0"),
                    json!(true),
                    json!([]),
                    json!(null),
                ];
                client["crossOrigin"] = self.dice.pick(&framed).clone();
            }
            5 => {
                let at = self.dice.index(data.len());
                data[at] ^= 1 << self.dice.below(8);
            }
            6 => {
                data[32] |= 0x80;
                let at = self.dice.index(6);
                data.extend_from_slice(&b"\xa1\x61a\x81\xf5\xa0"[at..]);
            }
            _ => {}
        }
        let client = client.to_string().into_bytes();
        let client = if bent == 7 {
            bend::twin(self.dice, &client)
        } else {
            client
        };
        let mut assertion = person.passkey.seal(data, client);
        match bent {
            8 => {
                let at = self.dice.index(assertion.signature.len());
                assertion.signature[at] ^= 1 << self.dice.below(8);
            }
            9 => {
                assertion.client_data.push(b' ');
            }
            _ => {}
        }
        let mut draft = ballot.with(&assertion);
        if bent == 10 {
            bend::value(self.dice, &mut draft.body);
        }
        draft
    }

    fn denied(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, caller) = self.who();
        let why = self.dice.pick(&[
            "policy", "human", "replayed", "frozen", "limit", "key", "form",
        ]);
        let mut header = header("denied", "dec_", seq, json!({"why": why}));
        header.insert("subj".into(), json!(subject));
        header.insert("pol".into(), json!(self.a_pol()));
        (header, self.decision(&caller))
    }

    fn requested(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, caller) = self.who();
        let what = json!({"expires": self.ts + 60_000, "quorum": [1, 2], "task": self.a_task(seq), "first": true});
        let mut header = header("requested", "req_", seq, what);
        self.requests.push(id("req_", seq));
        header.insert("subj".into(), json!(subject));
        header.insert("pol".into(), json!(self.a_pol()));
        (header, self.decision(&caller))
    }

    fn voted(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let ((subject, _), (by, approver)) = (self.who(), self.who());
        let request = self
            .requests
            .last()
            .cloned()
            .unwrap_or_else(|| id("req_", seq));
        let what = json!({"request": request, "vote": "yes", "until": self.ts});
        let mut header = header("voted", "vote_", seq, what);
        header.insert("subj".into(), json!(subject));
        header.insert("by".into(), json!(by));
        header.insert("pol".into(), json!(self.a_pol()));
        (
            header,
            json!({"approver": approver, "nonce": "AA", "key_seq": 3}),
        )
    }

    fn closing(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, _) = self.who();
        let (kind, what) = if self.dice.once_in(2) {
            let task = self.a_task(seq);
            (
                "task_closed",
                json!({"revokes": 1, "task": task, "until": self.ts, "why": "ended"}),
            )
        } else {
            let request = self
                .requests
                .last()
                .cloned()
                .unwrap_or_else(|| id("req_", seq));
            (
                "request_closed",
                json!({"request": request, "until": self.ts, "why": "void"}),
            )
        };
        let mut header = header(kind, "ent_", seq, what);
        header.insert("subj".into(), json!(subject));
        (header, json!({"reason": "done → \u{1f642}\n"}))
    }

    fn task(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, caller) = self.who();
        let mut what = json!({"deadline": self.ts, "task": id("task_", seq)});
        if self.dice.once_in(2) {
            what["parent"] = json!(self.a_task(seq));
        }
        self.tasks.push(id("task_", seq));
        let mut header = header("task_opened", "task_", seq, what);
        header.insert("subj".into(), json!(subject));
        let (_, initiator) = self.who();
        (
            header,
            json!({"caller": caller, "initiator": initiator, "source": "api"}),
        )
    }

    fn withdrawn(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, _) = self.who();
        let (of, grant) = self
            .grants
            .last()
            .cloned()
            .unwrap_or_else(|| (1, id("gr_", seq)));
        let (kind, what) = if self.dice.once_in(2) {
            (
                "sign_failed",
                json!({"grant": grant, "of": of, "why": "timeout"}),
            )
        } else {
            let why = "keyCompromise";
            (
                "revoked",
                json!({"cred": "jwt", "grant": grant, "of": of, "until": self.ts, "why": why}),
            )
        };
        let mut header = header(kind, "ent_", seq, what);
        header.insert("subj".into(), json!(subject));
        (header, json!({"serial": "5a01"}))
    }

    /// Freezes, disabled callers, and the end of either: some by headers alone, some by what bodies say.
    fn kill(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let ((subject, caller), (by, actor)) = (self.who(), self.who());
        let of = self.dice.below(seq);
        let scope = *self.dice.pick(&["all", "issuer", "action"]);
        let target = if scope == "issuer" {
            "github"
        } else {
            "Action::\"deploy\""
        };
        let body = json!({"actor": actor, "reason": "drill", "target": target});
        let (kind, what, body) = match self.dice.below(4) {
            0 => ("frozen", json!({"revokes": 0, "scope": scope}), body),
            1 => ("unfrozen", json!({"of": of, "scope": scope}), body),
            2 => (
                "caller_disabled",
                json!({"revokes": 2}),
                json!({"caller": caller, "actor": actor}),
            ),
            _ => (
                "admin",
                json!({"op": "caller_enabled", "of": of}),
                json!({"actor": actor}),
            ),
        };
        let mut header = header(kind, "ent_", seq, what);
        header.insert("by".into(), json!(by));
        if kind == "caller_disabled" {
            header.insert("subj".into(), json!(subject));
        }
        (header, body)
    }

    fn policy(&mut self, seq: u64, was: Option<Digest>) -> (Map<String, Value>, Value) {
        let mut what = json!({"ok": true});
        if let Some(was) = was {
            what["was"] = json!(was);
        }
        let mut header = header("policy_loaded", "ent_", seq, what);
        header.insert("pol".into(), json!(self.pol));
        (
            header,
            json!({"files": {"a.cedar": Digest::of(b"a")}, "tests": 3}),
        )
    }

    fn key(&mut self, seq: u64, next: &LogKey) -> (Map<String, Value>, Value) {
        if self.handed.is_none() && self.dice.once_in(2) {
            self.handed = Some(seq);
            let what = json!({"key": Digest::of(b"k"), "use": "log", "vkey": next.vkey(), "not_after": self.ts});
            return (
                header("key_added", "ent_", seq, what),
                json!({"label": "next"}),
            );
        }
        let what = json!({"key": Digest::of(b"k"), "of": 1, "use": "issuer", "why": "rotated"});
        (
            header("key_retired", "ent_", seq, what),
            json!({"removed": []}),
        )
    }

    fn erased(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let from = self.dice.below(seq);
        let to = from + 1 + self.dice.below(seq - from);
        let what = json!({"basis": "request", "n": to - from, "ranges": [[from, to]]});
        (
            header("erased", "ent_", seq, what),
            json!({"ticket": "T-1"}),
        )
    }

    fn person(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let (subject, person) = self.who();
        let what = json!({"via": "console", "roles": ["auditor"]});
        let mut header = header("login", "ent_", seq, what);
        header.insert("subj".into(), json!(subject));
        (
            header,
            json!({"person": person, "session": Digest::of(b"s"), "agent": "Mozilla/5.0 \\ \"x\""}),
        )
    }

    fn plain(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let hash = Digest::of(&seq.to_be_bytes());
        let (kind, what) = match self.dice.below(6) {
            0 => (
                "rollup",
                json!({"n": 3, "since": self.ts - 60_000, "until": self.ts}),
            ),
            1 => (
                "anchor",
                json!({"cosigs": 0, "note": hash, "root": hash, "size": seq, "standing": hash}),
            ),
            2 => (
                "config_loaded",
                json!({"cause": "start", "config": hash, "software": "0.1.0"}),
            ),
            3 if self.dice.once_in(2) => return self.brought_back(seq),
            3 => {
                let prior = json!({"log": "old", "root": hash, "size": 9});
                (
                    "recovery",
                    json!({"form": "begin", "prior": prior, "seen": 9, "why": "disk"}),
                )
            }
            4 => ("decided", json!({"anything": {"at": ["all"]}})),
            _ => ("admin", json!({"op": "exported", "n": 4})),
        };
        (
            header(kind, "ent_", seq, what),
            json!({"reasons": {"rate": 3}, "text": "naïve \u{feff}語"}),
        )
    }

    /// An entry of a log before this one; seldom another than the header says.
    fn brought_back(&mut self, seq: u64) -> (Map<String, Value>, Value) {
        let body = "{\"salt\":\"näive\"}";
        let told = if self.dice.once_in(40) { 8 } else { 9 };
        let old = format!(
            "{{\"body\":\"{}\",\"seq\":{told}}}",
            Digest::of(body.as_bytes())
        );
        let mut what = json!({"header": old, "source": "bundle"});
        if self.dice.once_in(2) {
            what["body"] = if self.dice.once_in(40) {
                json!("{}")
            } else {
                json!(body)
            };
        }
        let header = header("recovery", "ent_", seq, json!({"form": "entry", "old": 9}));
        (header, what)
    }

    /// The decision block of a body.
    fn decision(&mut self, caller: &Value) -> Value {
        let action = self.dice.pick(&["Action::\"deploy\"", "Action::\"read\""]);
        let query = json!({"action": action, "context": {"ttl": 900, "open": "foreign", "id": "x"}, "entities": []});
        json!({"at": self.ts, "caller": caller, "digest": Digest::of(b"ask"), "policies": ["deploy"], "query": query})
    }

    /// One of six callers: his pseudonym, and the `who` of a body.
    fn who(&mut self) -> (Digest, Value) {
        let id = format!("spiffe://stint.example/ci/{}", self.dice.below(6));
        let subject = self.pseudonyms.subject(&id);
        let issuer = self.dice.pick(&["github", "gitlab"]);
        let who = json!({"id": id, "issuer": issuer, "kind": "Workload", "open": subject.open});
        (subject.pseudonym, who)
    }

    fn a_task(&mut self, seq: u64) -> String {
        if self.tasks.is_empty() || self.dice.once_in(4) {
            self.tasks.push(id("task_", seq));
        }
        self.dice.pick(&self.tasks).clone()
    }

    /// The set in force, or, seldom, another.
    fn a_pol(&mut self) -> Digest {
        if self.dice.once_in(40) {
            Digest::of(b"foreign")
        } else {
            self.pol
        }
    }
}

/// Three people, one for each algorithm; a fourth is of no group that is asked for.
fn people() -> Vec<Person> {
    let votes = Votes::new(ORIGIN, [7; 32], Digest::ZERO);
    let (rp, origin) = (votes::RP, votes::ORIGIN);
    let mut people = vec![
        votes.person("dana", Passkey::seeded(1, rp, origin)),
        votes.person("lee", Passkey::new(rp, origin)),
        votes.person("kim", Passkey::rs256(rp, origin)),
        votes.person("sam", Passkey::seeded(2, rp, origin)),
    ];
    people[1].groups.push("security".into());
    people[3].groups.clear();
    people
}

/// Half of the logs have one.
fn story(dice: &mut Dice) -> Vec<Step> {
    use Step::{Ask, Enrol, Grant, Retire, Vote};
    let stories = [
        [].as_slice(),
        &[],
        &[Enrol, Ask, Vote, Grant],
        &[Enrol, Enrol, Ask, Vote, Vote, Grant, Grant],
        &[Enrol, Ask, Vote, Grant, Retire, Ask, Vote, Grant],
        &[
            Enrol, Enrol, Enrol, Ask, Vote, Vote, Grant, Ask, Vote, Grant,
        ],
    ];
    dice.pick(&stories).iter().rev().copied().collect()
}

fn written(draft: Draft, seq: u64) -> (Map<String, Value>, Value) {
    let mut header = header(draft.kind, draft.prefix, seq, draft.what);
    for (name, digest) in draft.people {
        if let Some(digest) = digest {
            header.insert(name.into(), json!(digest));
        }
    }
    (header, draft.body)
}

fn header(kind: &str, prefix: &str, seq: u64, what: Value) -> Map<String, Value> {
    let header = json!({"id": id(prefix, seq), "kind": kind, "what": what});
    header.as_object().unwrap().clone()
}

fn id(prefix: &str, n: u64) -> String {
    format!("{prefix}{n:026}")
}

/// The canonical bytes, where the value has any; else the best JSON can do.
fn bytes(value: &Value) -> Vec<u8> {
    canonical(value).unwrap_or_else(|_| serde_json::to_vec(value).unwrap())
}
