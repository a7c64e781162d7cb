//! `passkeys`: what people were asked, what they signed, and what rests on it (LEDGER.md §11). A fold over requests,
//! passkeys and votes in seq order; whose group somebody sits for comes from bodies, as far as they are open.
//!
//! A range that begins later than the log hides what was before it. What came in from there by receipt is checked like
//! the rest, but that nothing else was there (a *no*, the end of a passkey) cannot be told, and the verdict says so.

mod ballot;
mod seats;

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::replay::{Found, Id, key};
use super::report::{Check, Name, Verdict};
use crate::Digest;
use crate::entry::Header;
use crate::kind::{KeyUse, Vote, What};
use crate::passkey::Key;
use crate::subject::opened;
use ballot::Fault;
use seats::{MOST_SEATS, Seats, Voter};

/// Most passkeys and most requests that are held at once, at most 1 KB each.
const MAX_HELD: usize = 1 << 15;

/// Most votes on one request: four for each seat there can be.
const MAX_VOTES: usize = 4 * MOST_SEATS;

/// Most votes in all, 96 bytes each.
const MAX_ALL_VOTES: usize = 1 << 17;

/// Most people of one ask who may not vote on it: policy takes chains of four.
const MAX_OWN: usize = 16;

/// What a header says about people: a fixed size, whatever the header's.
#[derive(Clone, Copy)]
pub(super) struct Fact {
    seq: u64,
    ts: u64,
    subj: Option<Digest>,
    by: Option<Digest>,
    behalf: Option<Digest>,
    pol: Option<Digest>,
    said: Said,
}

#[derive(Clone, Copy)]
enum Said {
    Added {
        key: Digest,
    },
    Closed {
        request: Id,
    },
    Granted {
        request: Id,
        exp: u64,
        votes: Option<u64>,
    },
    Requested {
        request: Id,
        most: u64,
    },
    Retired {
        of: u64,
    },
    Voted {
        request: Id,
        vote: Vote,
    },
}

impl Fact {
    /// `None` for a header that says nothing about requests and passkeys.
    pub(super) fn of(header: &Header) -> Option<Self> {
        let said = match &header.what {
            What::KeyAdded(it) if it.usage == KeyUse::Passkey => Said::Added { key: it.key },
            What::KeyRetired(it) if it.usage == KeyUse::Passkey => Said::Retired { of: it.of },
            What::RequestClosed(it) => Said::Closed {
                request: key(&it.request),
            },
            What::Granted(it) => Said::Granted {
                request: key(it.request.as_deref()?),
                exp: it.exp,
                votes: it.votes,
            },
            What::Requested(it) => Said::Requested {
                request: key(&header.id),
                most: it.quorum.iter().copied().max().unwrap_or(0),
            },
            What::Voted(it) => Said::Voted {
                request: key(&it.request),
                vote: it.vote,
            },
            _ => return None,
        };
        Some(Self {
            seq: header.seq,
            ts: header.ts,
            subj: header.subj,
            by: header.by,
            behalf: header.behalf,
            pol: header.pol,
            said,
        })
    }
}

/// A member of a body, which may be withheld, or there in no form of its own.
enum Known<T> {
    Here(T),
    Malformed,
    Withheld,
}

impl<T> Known<T> {
    fn of(body: Found<'_>, read: impl FnOnce(&Map<String, Value>) -> Option<T>) -> Self {
        body.map_or(Self::Withheld, |body| {
            read(body).map_or(Self::Malformed, Self::Here)
        })
    }
}

/// A passkey of a person.
struct Added {
    subj: Option<Digest>,
    retired: bool,
    enrolled: Known<Enrolled>,
}

struct Enrolled {
    key: Key,
    /// Hashes: what they are of can be as long as a body.
    credential: Digest,
    rp: Digest,
}

/// An ask on hold.
struct Request {
    seq: u64,
    subj: Option<Digest>,
    behalf: Option<Digest>,
    /// Who may not vote on it, as pseudonyms; the initiator as the hash of the id.
    own: Vec<Digest>,
    most: u64,
    digest: Known<Digest>,
    seats: Known<Seats>,
    closed: bool,
    votes: Vec<Cast>,
}

/// One vote, as far as it counts.
struct Cast {
    seq: u64,
    ts: u64,
    by: Digest,
    vote: Vote,
    /// The groups it can sit for, and how long it lasts in seconds.
    said: Option<(u64, u64)>,
}

/// What people said up to a place in the log.
pub(super) struct Passkeys<'a> {
    log: &'a str,
    from: u64,
    check: Check,
    /// The first of what cannot be told, and why.
    open: Option<(u64, String)>,
    keys: HashMap<u64, Added>,
    requests: HashMap<Id, Request>,
    held: usize,
    full: bool,
    votes: u64,
    signed: u64,
    grants: u64,
}

impl<'a> Passkeys<'a> {
    /// Of log `log`, before the entry `from`.
    pub(super) fn new(log: &'a str, from: u64) -> Self {
        Self {
            log,
            from,
            check: Check::default(),
            open: None,
            keys: HashMap::new(),
            requests: HashMap::new(),
            held: 0,
            full: false,
            votes: 0,
            signed: 0,
            grants: 0,
        }
    }

    /// Folds one entry; `body` if it is here and is the one its header commits to.
    pub(super) fn follow(&mut self, fact: &Fact, body: Found<'_>) {
        match fact.said {
            Said::Added { key } => self.added(fact, key, body),
            Said::Retired { of } => {
                if let Some(added) = self.keys.get_mut(&of) {
                    added.retired = true;
                }
            }
            Said::Requested { request, most } => self.requested(fact, (request, most), body),
            Said::Closed { request } => {
                if let Some(request) = self.requests.get_mut(&request) {
                    request.closed = true;
                }
            }
            Said::Voted { request, vote } => self.voted(fact, (request, vote), body),
            Said::Granted { .. } => {
                self.grants += 1;
                if let Err(fault) = self.granted(fact, body) {
                    self.fault(fact.seq, fault);
                }
            }
        }
    }

    fn fault(&mut self, seq: u64, fault: Fault) {
        match fault {
            Fault::False(text) => self.check.fail(Some(seq), format!("entry {seq} {text}")),
            Fault::Unknown(text) => drop(self.open.get_or_insert((seq, text))),
        }
    }

    fn added(&mut self, fact: &Fact, thumbprint: Digest, body: Found<'_>) {
        if self.keys.len() >= MAX_HELD {
            self.full = true;
            return;
        }
        let enrolled = Known::of(body, |body| {
            let text = |name: &str| body.get(name)?.as_str();
            let key = Key::from_jwk(body.get("public")?).ok()?;
            (key.thumbprint() == thumbprint).then_some(Enrolled {
                key,
                credential: Digest::of(text("credential")?.as_bytes()),
                rp: Digest::of(text("rp")?.as_bytes()),
            })
        });
        let added = Added {
            subj: fact.subj,
            retired: false,
            enrolled,
        };
        self.keys.insert(fact.seq, added);
    }

    fn requested(&mut self, fact: &Fact, (id, most): (Id, u64), body: Found<'_>) {
        if self.requests.contains_key(&id) {
            let text = "parks a request that was parked before".to_owned();
            return self.fault(fact.seq, Fault::False(text));
        }
        if self.requests.len() >= MAX_HELD {
            self.full = true;
            return;
        }
        let own = body.map(own).unwrap_or_default();
        self.full |= own.len() > MAX_OWN;
        let request = Request {
            seq: fact.seq,
            subj: fact.subj,
            behalf: fact.behalf,
            own: own.into_iter().take(MAX_OWN).collect(),
            most,
            digest: Known::of(body, |body| body.get("digest")?.as_str()?.parse().ok()),
            seats: Known::of(body, |body| Seats::read(body.get("needs")?)),
            closed: false,
            votes: Vec::new(),
        };
        self.requests.insert(id, request);
    }

    fn voted(&mut self, fact: &Fact, (id, vote): (Id, Vote), body: Found<'_>) {
        self.votes += 1;
        let checked = self.ballot(fact, (id, vote), body);
        match checked {
            Ok(None) => self.signed += 1,
            Ok(Some(unknown)) => {
                self.signed += 1;
                self.fault(fact.seq, Fault::Unknown(unknown));
            }
            Err(fault) => self.fault(fact.seq, fault),
        }
        let (Some(request), Some(by)) = (self.requests.get_mut(&id), fact.by) else {
            return;
        };
        if request.votes.len() >= MAX_VOTES || self.held >= MAX_ALL_VOTES {
            self.full = true;
            return;
        }
        let said = match &request.seats {
            Known::Here(seats) => body.and_then(|body| ballot::said(body, seats)),
            Known::Malformed | Known::Withheld => None,
        };
        self.held += 1;
        request.votes.push(Cast {
            seq: fact.seq,
            ts: fact.ts,
            by,
            vote,
            said,
        });
    }

    /// A grant under a request: enough of those who may said yes, nobody no, and for as long.
    fn granted(&self, fact: &Fact, body: Found<'_>) -> Result<(), Fault> {
        let Said::Granted {
            request: id,
            exp,
            votes,
        } = fact.said
        else {
            return Ok(());
        };
        let request = self.find(&id)?;
        if (fact.subj, fact.behalf) != (request.subj, request.behalf) {
            return lie("is a grant to somebody else than who asked people");
        }
        if request.closed {
            return lie("is a grant under a request that was closed before");
        }
        if let Some(no) = request.votes.iter().find(|it| it.vote == Vote::No) {
            let no = no.seq;
            return lie(format!("is a grant in spite of the no of entry {no}"));
        }
        let voters = self.voters(request, body, votes)?;
        let needed = match &request.seats {
            Known::Here(seats) => seats.count(),
            Known::Withheld => usize::try_from(request.most).unwrap_or(usize::MAX),
            Known::Malformed => {
                return lie("is a grant under a request that says of nobody's votes");
            }
        };
        if voters.len() < needed {
            let n = voters.len();
            return lie(format!("is a grant on {n} votes where {needed} are needed"));
        }
        let Known::Here(seats) = &request.seats else {
            return doubt(format!("what entry {} needs is not here", request.seq));
        };
        let said: Option<Vec<Voter>> = voters.iter().map(|it| it.said.map(Voter::from)).collect();
        let Some(said) = said else {
            return doubt("the bodies of its votes are not all here");
        };
        let last = voters.iter().map(|it| it.ts).max().unwrap_or(0);
        let longest = seats.longest(&said).saturating_mul(1_000);
        if exp > last.saturating_add(longest) {
            return lie("is a grant of more time than its votes give");
        }
        if !seats.filled(&said) {
            return doubt(
                "whether its voters sit for the groups asked is said by the policy set's entities, not by their logins",
            );
        }
        if request.seq < self.from {
            let from = self.from;
            return doubt(format!("whether somebody said no before entry {from}"));
        }
        Ok(())
    }

    /// The request, if it was parked in sight.
    fn find(&self, id: &Id) -> Result<&Request, Fault> {
        self.requests.get(id).ok_or_else(|| {
            if self.from == 0 && !self.full {
                Fault::False("names a request that was never parked".to_owned())
            } else {
                Fault::Unknown("its request is not here".to_owned())
            }
        })
    }

    /// Who said yes, each person once: those of the votes it lists, or of all.
    fn voters<'r>(
        &self,
        request: &'r Request,
        body: Found<'_>,
        count: Option<u64>,
    ) -> Result<Vec<&'r Cast>, Fault> {
        let list = body.map(|body| body.get("votes").and_then(Value::as_array));
        let mut voters: Vec<&Cast> = match list {
            None => request.votes.iter().collect(),
            Some(None) => return lie("is a grant that lists no votes"),
            Some(Some(list)) => {
                if count != Some(crate::tree::count(list)) {
                    return lie("is a grant that lists another number of votes than it counts");
                }
                let mut listed = Vec::new();
                for seq in list {
                    let seq = seq.as_u64();
                    match request.votes.iter().find(|it| seq == Some(it.seq)) {
                        Some(cast) => listed.push(cast),
                        None if seq.is_some_and(|seq| seq < self.from) || self.full => {
                            return doubt("a vote it lists is not here");
                        }
                        None => return lie("is a grant on a vote that its request does not have"),
                    }
                }
                listed
            }
        };
        voters.sort_by_key(|it| (it.by, it.seq));
        voters.dedup_by_key(|it| it.by);
        Ok(voters)
    }

    pub(super) fn verdict(&self) -> Verdict {
        let mut check = self.check.clone();
        let text = format!(
            "{} of {} votes are signed over their facts",
            self.signed, self.votes
        );
        if let Some((seq, why)) = &self.open {
            check.doubt(Some(*seq), format!("{text}; entry {seq}: {why}"));
        }
        if self.full {
            let text = "more passkeys, requests and votes than can be told apart".to_owned();
            check.doubt(None, text);
        }
        let text = match (self.votes, self.grants) {
            (0, 0) => "no grant in the range rests on votes".to_owned(),
            _ => text,
        };
        check.verdict(Name::Passkeys, text)
    }
}

/// Those behind the ask: the chain of whom it acts for, and the initiator of its task.
fn own(body: &Map<String, Value>) -> Vec<Digest> {
    let chain = body.get("chain").and_then(Value::as_array);
    let chain = chain.into_iter().flatten().filter_map(pseudonym);
    let initiator = body
        .get("query")
        .and_then(|query| query.pointer("/context/task/initiator/__entity/id"))
        .and_then(Value::as_str)
        .map(|id| Digest::of(id.as_bytes()));
    chain.chain(initiator).collect()
}

/// The pseudonym that an `{id, open, …}` opens.
fn pseudonym(who: &Value) -> Option<Digest> {
    let text = |name: &str| who.get(name)?.as_str();
    Some(opened(&text("open")?.parse().ok()?, text("id")?))
}

fn lie<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::False(text.into()))
}

fn doubt<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unknown(text.into()))
}

#[cfg(test)]
mod tests;
