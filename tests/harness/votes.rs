//! People in a ledger, without a broker: the entries of a passkey, a request, its votes and the grant that rests on them,
//! as LEDGER.md §5 has them. Facts can be bent before they are signed, and entries after.
//!
//! ```text
//! let votes = Votes::new("stint.example/ledger", [7; 32], policy);
//! let dana = votes.person("dana", Passkey::new(RP, ORIGIN));
//! let drafts = [votes.enrol(&dana), votes.request(9, &[("sre", 1)]), votes.ballot(&dana, 3, 9, "yes").sign(), …];
//! ```

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_audit::passkey::{Assertion, Key, challenge};
use stint_audit::{Digest, Pseudonyms};

use super::passkey::Passkey;

/// The host of [`ORIGIN`].
pub const RP: &str = "stint.example";
/// Where people vote.
pub const ORIGIN: &str = "https://stint.example";
/// Who asks.
pub const CALLER: &str = "spiffe://stint.example/ci/asks";
/// How long each approval lasts, seconds.
pub const LASTS: u64 = 900;

/// An entry, but for its place in a log.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its kind.
    pub kind: &'static str,
    /// The prefix of its id.
    pub prefix: &'static str,
    /// Members of the header beside the kind's own.
    pub people: [(&'static str, Option<Digest>); 3],
    /// The kind's own.
    pub what: Value,
    /// What its body says.
    pub body: Value,
}

/// A person with a passkey.
#[derive(Debug)]
pub struct Person {
    /// SPIFFE ID.
    pub id: String,
    /// Groups of the login.
    pub groups: Vec<String>,
    /// Signs for them.
    pub passkey: Passkey,
}

/// Who writes the log.
#[derive(Debug)]
pub struct Votes {
    log: String,
    pseudonyms: Pseudonyms,
    pol: Digest,
}

/// A vote that is not signed yet. Every member may be bent.
#[derive(Debug)]
pub struct Ballot<'p> {
    /// Whose it is.
    pub person: &'p Person,
    /// What the header says.
    pub what: Value,
    /// What is signed.
    pub facts: Value,
    /// 32 bytes.
    pub nonce: [u8; 32],
    /// The seq that added the passkey.
    pub key_seq: u64,
    people: [(&'static str, Option<Digest>); 3],
    open: Digest,
}

/// `prefix` and `n` in 26 digits.
#[must_use]
pub fn id(prefix: &str, n: u64) -> String {
    format!("{prefix}{n:026}")
}

impl Votes {
    /// Into log `log`, whose pseudonyms are of `key`, under policy set `pol`.
    #[must_use]
    pub fn new(log: &str, key: [u8; 32], pol: Digest) -> Self {
        Self {
            log: log.to_owned(),
            pseudonyms: Pseudonyms::new(key, log),
            pol,
        }
    }

    /// `name` of group `sre`.
    #[must_use]
    pub fn person(&self, name: &str, passkey: Passkey) -> Person {
        Person {
            id: format!("spiffe://{RP}/user/{name}"),
            groups: vec!["sre".to_owned()],
            passkey,
        }
    }

    /// `key_added`.
    #[must_use]
    pub fn enrol(&self, person: &Person) -> Draft {
        let subject = self.pseudonyms.subject(&person.id);
        let jwk = person.passkey.jwk();
        let key = Key::from_jwk(&jwk).unwrap().thumbprint();
        let credential = BASE64URL_NOPAD.encode(person.passkey.credential());
        Draft {
            kind: "key_added",
            prefix: "ent_",
            people: [
                ("subj", Some(subject.pseudonym)),
                ("by", None),
                ("pol", None),
            ],
            what: json!({"use": "passkey", "key": key}),
            body: json!({"public": jwk, "credential": credential, "rp": RP, "origin": ORIGIN, "label": "phone",
                "aaguid": "00000000000000000000000000000000",
                "person": {"id": person.id, "open": subject.open, "name": "Dana"}}),
        }
    }

    /// `key_retired`, of the passkey that entry `of` added.
    #[must_use]
    pub fn retire(&self, person: &Person, of: u64) -> Draft {
        let added = self.enrol(person);
        let mut what = added.what;
        what["of"] = json!(of);
        what["why"] = json!("lost");
        Draft {
            kind: "key_retired",
            what,
            ..added
        }
    }

    /// `requested`, with the id of number `n`, by [`CALLER`].
    #[must_use]
    pub fn request(&self, n: u64, needs: &[(&str, u64)]) -> Draft {
        let (pseudonym, caller) = self.caller();
        let quorum: Vec<u64> = needs.iter().map(|(_, votes)| *votes).collect();
        let need = |(group, votes): &(&str, u64)| json!({"policy": format!("ask-{group}"), "approvers": group, "quorum": votes});
        let needs: Vec<Value> = needs.iter().map(need).collect();
        Draft {
            kind: "requested",
            prefix: "req_",
            people: [
                ("subj", Some(pseudonym)),
                ("by", None),
                ("pol", Some(self.pol)),
            ],
            what: json!({"expires": 9_000_000, "quorum": quorum, "task": id("task_", n)}),
            body: json!({"at": n, "caller": caller, "digest": ask(n), "needs": needs, "policies": ["ask"],
                "query": {"context": {"task": {"initiator": {"__entity": {"type": "User",
                    "id": format!("spiffe://{RP}/user/initiator")}}}}}}),
        }
    }

    /// The ballot of `person`, whose passkey entry `key_seq` added, on request `n`.
    #[must_use]
    pub fn ballot<'p>(&self, person: &'p Person, key_seq: u64, n: u64, vote: &str) -> Ballot<'p> {
        let subject = self.pseudonyms.subject(&person.id);
        let (asks, _) = self.caller();
        let mut facts = json!({"v": 1, "log": self.log, "origin": ORIGIN, "request": id("req_", n), "digest": ask(n),
            "pol": self.pol, "vote": vote, "expires": 9_000_000, "approver": person.id,
            "shown": [["Lets", "acme/web deploy to production web for 15 min. Nothing else."], ["Unusual", "first time"]]});
        if vote == "yes" {
            facts["lasts_s"] = json!(LASTS);
        } else {
            facts["note"] = json!("not on a Friday");
        }
        Ballot {
            person,
            what: json!({"request": id("req_", n), "vote": vote, "until": 9_000_000}),
            facts,
            nonce: [9; 32],
            key_seq,
            people: [
                ("subj", Some(asks)),
                ("by", Some(subject.pseudonym)),
                ("pol", Some(self.pol)),
            ],
            open: subject.open,
        }
    }

    /// `granted`, number `n`, under request `request`, on these votes.
    #[must_use]
    pub fn grant(&self, n: u64, request: u64, votes: &[u64], exp: u64) -> Draft {
        let (pseudonym, caller) = self.caller();
        Draft {
            kind: "granted",
            prefix: "gr_",
            people: [
                ("subj", Some(pseudonym)),
                ("by", None),
                ("pol", Some(self.pol)),
            ],
            what: json!({"cred": "jwt", "exp": exp, "request": id("req_", request), "task": id("task_", request),
                "tbs": Digest::of(&n.to_be_bytes()), "votes": votes.len()}),
            body: json!({"at": n, "caller": caller, "digest": ask(request), "votes": votes, "query": {}}),
        }
    }

    fn caller(&self) -> (Digest, Value) {
        let subject = self.pseudonyms.subject(CALLER);
        let who = json!({"id": CALLER, "kind": "Workload", "open": subject.open});
        (subject.pseudonym, who)
    }
}

/// The digest of the ask behind request `n`.
fn ask(n: u64) -> Digest {
    Digest::of(format!("ask {n}").as_bytes())
}

impl Ballot<'_> {
    /// What a passkey is to sign.
    #[must_use]
    pub fn challenge(&self) -> Digest {
        challenge(&self.nonce, &self.facts).unwrap()
    }

    /// `voted`, signed over its facts.
    #[must_use]
    pub fn sign(&self) -> Draft {
        self.with(&self.person.passkey.sign(self.challenge().as_bytes()))
    }

    /// `voted`, with whatever assertion.
    #[must_use]
    pub fn with(&self, assertion: &Assertion) -> Draft {
        let person = self.person;
        let approver =
            json!({"id": person.id, "open": self.open, "kind": "User", "groups": person.groups});
        let mut body = json!({"approver": approver, "nonce": BASE64URL_NOPAD.encode(&self.nonce), "facts": self.facts,
            "assertion": serde_json::to_value(assertion).unwrap(), "key_seq": self.key_seq});
        if let Some(note) = self.facts.get("note") {
            body["note"] = note.clone();
        }
        Draft {
            kind: "voted",
            prefix: "vote_",
            people: self.people,
            what: self.what.clone(),
            body,
        }
    }
}
