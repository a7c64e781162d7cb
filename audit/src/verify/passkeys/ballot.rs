//! One vote: who cast it, over what, and whether a passkey of that person signed it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::seats::Seats;
use super::{Fact, Id, Known, Passkeys, doubt, lie, pseudonym};
use crate::Digest;
use crate::kind::Vote;
use crate::passkey::{Assertion, Expected, challenge, check, host};
use crate::record;
use crate::verify::replay::{Found, key};

/// What is wrong, as the rest of a sentence on the entry; or what cannot be told.
pub(super) enum Fault {
    False(String),
    Unknown(String),
}

impl Passkeys<'_> {
    /// Checks a vote. A signature that holds can leave something open all the same: what it is.
    pub(super) fn ballot(
        &self,
        fact: &Fact,
        (id, vote): (Id, Vote),
        body: Found<'_>,
    ) -> Result<Option<String>, Fault> {
        let request = self.find(&id)?;
        let (Some(by), Some(pol)) = (fact.by, fact.pol) else {
            return lie("is a vote of nobody");
        };
        if fact.subj != request.subj {
            return lie("is a vote on what somebody else asked");
        }
        if [request.subj, request.behalf].contains(&Some(by)) || request.own.contains(&by) {
            return lie("is a vote of somebody who asked");
        }
        let Some(body) = body else {
            return doubt("its body is not here");
        };
        let seq = body.get("key_seq").and_then(Value::as_u64);
        let Some(seq) = seq.filter(|seq| *seq < fact.seq) else {
            return lie("names no passkey");
        };
        let Some(added) = self.keys.get(&seq) else {
            return match seq < self.from || self.full {
                true => doubt(format!("its passkey, entry {seq}, is not here")),
                false => lie(format!("is signed by no passkey: entry {seq} adds none")),
            };
        };
        if added.retired {
            return lie(format!(
                "is signed by a retired passkey, that of entry {seq}"
            ));
        }
        if added.subj != Some(by) {
            return lie("is signed by somebody else's passkey");
        }
        let enrolled = match &added.enrolled {
            Known::Here(enrolled) => enrolled,
            Known::Malformed => {
                return lie(format!(
                    "is signed by a passkey that entry {seq} does not show"
                ));
            }
            Known::Withheld => {
                return doubt(format!("its passkey, in the body of {seq}, is not here"));
            }
        };
        let signed = Signed::read(body).ok_or_else(malformed)?;
        signed.is_about(self.log, pol, vote).map_err(other)?;
        if key(signed.text("request").map_err(other)?) != id {
            return lie("is signed over another request");
        }
        if pseudonym(signed.approver) != Some(by) {
            return lie("does not open its approver");
        }
        let approver = signed.text("approver").map_err(other)?;
        if request.own.contains(&Digest::of(approver.as_bytes())) {
            return lie("is a vote of who started the task");
        }
        if let Known::Here(digest) = &request.digest
            && signed.text("digest").ok() != Some(digest.to_string().as_str())
        {
            return lie("is signed over another ask");
        }
        if matches!(request.digest, Known::Malformed) {
            return lie("is a vote on an ask without a digest");
        }
        signed.holds(enrolled)?;
        Ok(match &request.digest {
            Known::Withheld => Some(format!("what was asked, in the body of {}", request.seq)),
            _ if seq < self.from => Some(format!(
                "whether its passkey was retired before entry {}",
                self.from
            )),
            _ => None,
        })
    }
}

fn malformed() -> Fault {
    Fault::False("is a vote without nonce, facts and assertion".to_owned())
}

fn other(member: &'static str) -> Fault {
    Fault::False(format!("is signed over facts with another `{member}`"))
}

/// The body of a vote.
struct Signed<'b> {
    approver: &'b Value,
    nonce: [u8; 32],
    facts: &'b Value,
    assertion: Assertion,
    note: Option<&'b Value>,
}

impl<'b> Signed<'b> {
    fn read(body: &'b Map<String, Value>) -> Option<Self> {
        let nonce = BASE64URL_NOPAD.decode(body.get("nonce")?.as_str()?.as_bytes());
        Some(Self {
            approver: body.get("approver")?,
            nonce: nonce.ok()?.try_into().ok()?,
            facts: body.get("facts").filter(|facts| facts.is_object())?,
            assertion: record::one(body.get("assertion")?).ok()?,
            note: body.get("note"),
        })
    }

    fn text(&self, name: &'static str) -> Result<&'b str, &'static str> {
        self.facts.get(name).and_then(Value::as_str).ok_or(name)
    }

    /// The facts are of this log, this policy set and this vote, show something, and are the approver's own.
    fn is_about(&self, log: &str, pol: Digest, vote: Vote) -> Result<(), &'static str> {
        let same = |name, value: &str| match self.text(name)? == value {
            true => Ok(()),
            false => Err(name),
        };
        let count = |name: &str| self.facts.get(name).and_then(Value::as_u64);
        if count("v") != Some(1) {
            return Err("v");
        }
        same("log", log)?;
        same("pol", &pol.to_string())?;
        same("vote", vote.as_str())?;
        if count("lasts_s").is_some_and(|lasts| lasts > 0) != (vote == Vote::Yes) {
            return Err("lasts_s");
        }
        let shown = self.facts.get("shown").and_then(Value::as_array);
        if shown.is_none_or(Vec::is_empty) {
            return Err("shown");
        }
        let id = |name: &str| self.approver.get(name).and_then(Value::as_str);
        let approver = self.text("approver")?;
        if ![id("id"), id("spiffe")].contains(&Some(approver)) {
            return Err("approver");
        }
        let same = |note: &&Value| note.is_string() && self.facts.get("note") == Some(*note);
        if self.note.is_some_and(|note| !same(&note)) {
            return Err("note");
        }
        Ok(())
    }

    /// The passkey signed these facts, on a page of the origin they name.
    fn holds(&self, enrolled: &super::Enrolled) -> Result<(), Fault> {
        let origin = self.text("origin").map_err(other)?;
        let rp = host(origin).ok_or_else(|| other("origin"))?;
        if Digest::of(rp.as_bytes()) != enrolled.rp {
            return lie("is signed for another host than its passkey is of");
        }
        let credential = BASE64URL_NOPAD.encode(&self.assertion.credential);
        if Digest::of(credential.as_bytes()) != enrolled.credential {
            return lie("is signed by another credential than its passkey");
        }
        let Ok(challenge) = challenge(&self.nonce, self.facts) else {
            return Err(malformed());
        };
        let expected = Expected {
            rp,
            origin,
            challenge: challenge.as_bytes(),
        };
        match check(&self.assertion, &enrolled.key, &expected) {
            Ok(_count) => Ok(()),
            Err(error) => lie(format!("is not signed over its facts: {error}")),
        }
    }
}

/// Which seats a vote can fill, and how long it lasts: `None` if the vote does not say.
pub(super) fn said(body: &Map<String, Value>, seats: &Seats) -> Option<(u64, u64)> {
    let groups = body
        .get("approver")?
        .get("groups")
        .and_then(Value::as_array);
    let names = groups.into_iter().flatten().filter_map(Value::as_str);
    let lasts = body.get("facts")?.get("lasts_s").and_then(Value::as_u64);
    Some((seats.bits(names), lasts.unwrap_or(0)))
}
