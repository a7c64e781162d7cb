//! A human says yes or no: what approvers are shown, what they sign, and what it makes of the request (POLICY.md §3.2,
//! UX.md §7).
//!
//! A ballot is the facts, and a nonce of ours; a vote is a passkey's signature over both. The server believes neither
//! what the page showed nor what it sent back: it makes the facts again. What a vote decides is asked of policy, on the
//! question as it was recorded. Nothing is granted here: whoever asked walks again.

mod card;
mod eligible;
mod entry;
mod facts;
mod nonce;

use std::collections::BTreeSet;

use serde_json::Value;
use stint_audit::Digest;
use stint_audit::passkey::{self, Assertion, Expected};
use stint_policy::{
    AskDigest, GroupName, PersonId, PolicySet, Recorded, Seconds, SpiffeId, TaskId, Timestamp,
    Verdict, Vote, Why,
};
use subtle::ConstantTimeEq as _;

use crate::issue::{Broker, pol};
use crate::ledger::{self, Lost, Whose};
use crate::people::Visitor;
use crate::store::passkeys::{self, PasskeyRow};
use crate::store::requests::{Ending, State};
use crate::store::votes::{Look, Turn};
use crate::store::{RequestRow, VoteRow, Write, people};
use crate::telemetry::lines::is_illegal;

pub(crate) use card::Shown;
pub use card::{Before, Card};
pub use eligible::{Eligible, WhyNot};
pub use nonce::Nonces;

/// What an approver is about to say.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Yes or no.
    pub yes: bool,
    /// How long an approval may last on it; as long as it can, if it says nothing.
    pub lasts: Option<Seconds>,
    /// The approver's own words. A no needs some.
    pub note: Option<String>,
    /// The digits that only the asker was shown.
    pub match_code: Option<String>,
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub struct Ballot {
    /// All that the signature stands for.
    pub facts: Value,
    /// 32 bytes of ours, once and for a few minutes.
    pub nonce: [u8; 32],
    /// What the passkey signs.
    pub challenge: Digest,
    /// The passkeys that may.
    pub passkeys: Vec<String>,
    /// Until when it is taken.
    pub expires: Timestamp,
}

/// A ballot that came back signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// As they were shown.
    pub facts: Value,
    /// As it was given.
    pub nonce: [u8; 32],
    /// The passkey's answer.
    pub assertion: Assertion,
}

/// A vote that is on record.
#[derive(Debug, Clone)]
pub struct Cast {
    /// `vote_…`.
    pub id: String,
    /// What the request is now.
    pub state: State,
    /// When the approval ends, if there is one.
    pub until: Option<Timestamp>,
    /// Its entry.
    pub seq: u64,
}

/// Why there is no ballot, or no vote. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such request, or none of theirs: both read alike.
    #[error("there is no such request")]
    Unknown,
    /// They may not vote on it.
    #[error("{0}")]
    NotEligible(WhyNot),
    /// It has ended, or its approval has.
    #[error("the request is {}", .0.as_str())]
    Decided(State),
    /// Policy does not let it happen any more, whoever votes.
    #[error(
        "the policies in force deny it now, whoever approves: there is nothing left to vote on"
    )]
    Moot,
    /// What was said is not allowed.
    #[error("`{0}` {1}")]
    Field(&'static str, String),
    /// No passkey to sign with.
    #[error("you have no passkey yet: add one on your own page, `/me`")]
    NoPasskey,
    /// What was signed is not what is.
    #[error("what you signed is not what there is to decide any more: look again")]
    Changed,
    /// The signature is not one of theirs over this.
    #[error("the passkey's answer does not hold: {0}")]
    Unsigned(passkey::PasskeyError),
    /// The ledger or the store cannot take it.
    #[error("the vote cannot be recorded")]
    Unavailable(#[source] ledger::Error),
}

/// One request before one person, under the policies in force.
struct Booth<'a> {
    row: &'a RequestRow,
    visitor: &'a Visitor,
    policy: &'a PolicySet,
    votes: Vec<VoteRow>,
    now: Timestamp,
}

impl Broker {
    /// What `visitor` would sign to say `choice` on request `id`.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn ballot(
        &self,
        id: &str,
        visitor: &Visitor,
        choice: &Choice,
    ) -> Result<Ballot, Refused> {
        let now = self.clock.now();
        let row = self.request_to_vote(id).await?;
        let policy = self.policies.in_force();
        let booth = self.booth((&row, visitor), &policy, now).await?;
        booth.admit(choice)?;
        self.match_code(&booth, choice).await?;
        let lasts = booth.lasts(choice)?;
        let note = booth.note(choice)?;
        let passkeys = self.usable_passkeys(visitor).await?;
        let facts = facts::facts(self, &booth, (choice.yes, lasts, note.as_deref()));
        let nonce = self.nonces.draw(&row.id, visitor.id.as_str(), now);
        let challenge = passkey::challenge(&nonce, &facts).map_err(|_form| Refused::Changed)?;
        Ok(Ballot {
            facts,
            nonce,
            challenge,
            passkeys: passkeys.into_iter().map(|row| row.credential).collect(),
            expires: now.plus(nonce::LIFE),
        })
    }

    /// Records a vote: the request is found again, the facts are made again, the signature is checked, and policy says
    /// what comes of it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn vote(
        &self,
        id: &str,
        visitor: &Visitor,
        signed: &Signed,
    ) -> Result<Cast, Refused> {
        for _ in 0..ROUNDS {
            match self.cast(id, visitor, signed).await {
                Err(Refused::Unavailable(ledger::Error::Lost(
                    Lost::Voted | Lost::Policy | Lost::Person,
                ))) => self.policies.settled(&self.ledger).await,
                done => return done,
            }
        }
        Err(Refused::Unavailable(ledger::Error::Lost(Lost::Voted)))
    }

    /// The story of a vote.
    async fn cast(&self, id: &str, visitor: &Visitor, signed: &Signed) -> Result<Cast, Refused> {
        let now = self.clock.now();
        let row = self.request_to_vote(id).await?;
        if !self
            .nonces
            .is_ours(&signed.nonce, (&row.id, visitor.id.as_str()), now)
        {
            return Err(Refused::Changed);
        }
        let policy = self.policies.in_force();
        let booth = self.booth((&row, visitor), &policy, now).await?;
        let choice = facts::said(&signed.facts).ok_or(Refused::Changed)?;
        booth.admit(&choice)?;
        let lasts = booth.lasts(&choice)?;
        let note = booth.note(&choice)?;
        let facts = facts::facts(self, &booth, (choice.yes, lasts, note.as_deref()));
        if facts != signed.facts {
            return Err(Refused::Changed);
        }
        let (key, count) = self.check(visitor, signed).await?;
        let vote = VoteRow {
            id: entry::new_id(),
            request: row.id.clone(),
            digest: row.digest.clone(),
            person: visitor.id.to_string(),
            groups: visitor.groups.clone(),
            yes: choice.yes,
            at: now.as_millis(),
            lasts: lasts.as_u32(),
            note,
            turn: Turn::default(),
        };
        let turn = booth.turn(&vote)?;
        let vote = VoteRow { turn, ..vote };
        let found = self.ledger.find(&key.entry, Whose::Any).await;
        let key_seq = found.ok().flatten().map(|found| found.header.seq);
        let key_seq = key_seq.ok_or(Refused::Unavailable(ledger::Error::Unwritable))?;
        let entry = entry::voted(self, &booth, (&vote, signed, key_seq));
        let used = passkeys::Change::Signed {
            credential: key.credential,
            count: i64::from(count),
            at: now.as_millis(),
        };
        let state = vote.turn.state;
        let mut writes = vec![
            Write::NotDisabled(vote.person.clone()),
            Write::Vote(vote.clone()),
            Write::People(people::Change::Passkey(used)),
        ];
        if let Some(state) = state {
            writes.extend(self.notifier.decided(&row, state, Some(&visitor.name)));
        }
        let receipt = self
            .ledger
            .record(entry, Some(pol(&policy)), writes)
            .await
            .map_err(Refused::Unavailable)?;
        tracing::info!(
            request = row.id,
            vote = vote.id,
            came_to = state,
            "a vote was cast"
        );
        Ok(Cast {
            id: vote.id,
            state: match state {
                Some("approved") => State::Approved,
                Some(_) => State::Denied,
                None => row.standing.state,
            },
            until: vote.turn.until.map(Timestamp::from_millis),
            seq: receipt.seq(),
        })
    }

    /// Notes that somebody who may decide it has looked at it.
    pub fn looked(&self, row: &RequestRow, visitor: &Visitor) {
        self.ledger.enqueue(vec![Write::Looked(Look {
            request: row.id.clone(),
            person: visitor.id.to_string(),
            at: self.clock.now().as_millis(),
            wrong: false,
        })]);
    }

    /// Whoever asked takes it back, or an operator does: nobody can decide it any more, and what was approved is not.
    ///
    /// # Errors
    /// As the ledger's; [`ledger::Error::Lost`] if it does not stand any more.
    pub async fn cancel(
        &self,
        row: &RequestRow,
        by: Option<&Visitor>,
    ) -> Result<(), ledger::Error> {
        let entry = entry::cancelled(self, row, by);
        let ending = Ending {
            request: row.id.clone(),
            state: State::Cancelled,
            at: self.clock.now().as_millis(),
        };
        let mut writes = vec![Write::RequestEnded(ending)];
        let name = by.map(|visitor| visitor.name.as_str());
        writes.extend(self.notifier.decided(row, "cancelled", name));
        self.ledger.record(entry, None, writes).await.map(drop)
    }

    async fn request_to_vote(&self, id: &str) -> Result<RequestRow, Refused> {
        let found = self.store.request(id).await.map_err(unreadable)?;
        found.ok_or(Refused::Unknown)
    }

    async fn booth<'a>(
        &self,
        (row, visitor): (&'a RequestRow, &'a Visitor),
        policy: &'a PolicySet,
        now: Timestamp,
    ) -> Result<Booth<'a>, Refused> {
        Ok(Booth {
            row,
            visitor,
            policy,
            votes: self.votes_that_count(&row.id).await.map_err(unreadable)?,
            now,
        })
    }

    /// The digits, where the config wants them: three tries, and each is counted before it is judged.
    async fn match_code(&self, booth: &Booth<'_>, choice: &Choice) -> Result<(), Refused> {
        if !self.terms.match_code || !choice.yes {
            return Ok(());
        }
        let Some(typed) = &choice.match_code else {
            let text = "is missing: type the three digits that the requester sees".to_owned();
            return Err(Refused::Field("match_code", text));
        };
        let (row, person) = (booth.row, booth.visitor.id.as_str());
        let wrong = self.store.wrong_codes(&row.id, person).await;
        if wrong.map_err(unreadable)? >= TRIES {
            return Err(Refused::NotEligible(WhyNot::Mistyped));
        }
        if bool::from(typed.as_bytes().ct_eq(row.match_code.as_bytes())) {
            return Ok(());
        }
        let look = Look {
            request: row.id.clone(),
            person: person.to_owned(),
            at: booth.now.as_millis(),
            wrong: true,
        };
        let counted = self.ledger.settle(vec![Write::Looked(look)]).await;
        counted.map_err(Refused::Unavailable)?;
        let text = "is not what the requester sees: ask them, not the card".to_owned();
        Err(Refused::Field("match_code", text))
    }

    async fn usable_passkeys(&self, visitor: &Visitor) -> Result<Vec<PasskeyRow>, Refused> {
        let found = self.store.passkeys(visitor.id.as_str()).await;
        let mut found = found.map_err(unreadable)?;
        found.retain(|row| row.retired.is_none());
        match found.is_empty() {
            true => Err(Refused::NoPasskey),
            false => Ok(found),
        }
    }

    /// Whether the signature is by a passkey of this person, over these facts and this nonce, at this origin.
    async fn check(
        &self,
        visitor: &Visitor,
        signed: &Signed,
    ) -> Result<(PasskeyRow, u32), Refused> {
        use passkey::PasskeyError;
        let named = data_encoding::BASE64URL_NOPAD.encode(&signed.assertion.credential);
        let known = self.usable_passkeys(visitor).await?;
        let row = known.into_iter().find(|row| row.credential == named);
        let row = row.ok_or(Refused::Unsigned(PasskeyError::Credential))?;
        let jwk: Value = serde_json::from_str(&row.jwk).unwrap_or_default();
        let key = passkey::Key::from_jwk(&jwk).map_err(Refused::Unsigned)?;
        let challenge =
            passkey::challenge(&signed.nonce, &signed.facts).map_err(|_form| Refused::Changed)?;
        let expected = Expected {
            rp: passkey::host(&self.terms.url).unwrap_or_default(),
            origin: &self.terms.url,
            challenge: challenge.as_bytes(),
        };
        let count = passkey::check(&signed.assertion, &key, &expected);
        Ok((row, count.map_err(Refused::Unsigned)?))
    }
}

impl Booth<'_> {
    /// Whether it stands, and this person may say this.
    fn admit(&self, choice: &Choice) -> Result<(), Refused> {
        if !self.row.stands(self.now.as_millis()) {
            return Err(Refused::Decided(match self.row.standing.state {
                State::Pending => State::Expired,
                state => state,
            }));
        }
        if let Eligible::No(why) = Eligible::of(self.policy, self.row, self.visitor) {
            return Err(Refused::NotEligible(why));
        }
        let me = self.visitor.id.as_str();
        let said = self
            .votes
            .iter()
            .any(|vote| vote.person == me && vote.yes == choice.yes);
        match said {
            true => Err(Refused::NotEligible(WhyNot::Voted)),
            false => Ok(()),
        }
    }

    /// How long an approval may last on this vote: never longer than was asked for, or than policy lets it.
    fn lasts(&self, choice: &Choice) -> Result<Seconds, Refused> {
        let most = self.row.asked_ttl();
        match choice.lasts {
            None => Ok(most),
            Some(lasts) if !choice.yes || (SHORTEST <= lasts && lasts <= most) => Ok(lasts),
            Some(_) => {
                let text = format!(
                    "is 30 to {}: it can be shortened, not widened",
                    most.as_u32()
                );
                Err(Refused::Field("lasts_s", text))
            }
        }
    }

    /// The words, as they are kept; a no has some.
    fn note(&self, choice: &Choice) -> Result<Option<String>, Refused> {
        let note = choice.note.as_deref().map(str::trim).unwrap_or_default();
        let refuse = |text: &str| Err(Refused::Field("note", text.to_owned()));
        if note.is_empty() && !choice.yes {
            return refuse("is missing: say why, for the requester and for the record");
        }
        if note.chars().count() > MAX_NOTE {
            return refuse("is longer than 500 characters");
        }
        if note.contains(is_illegal) {
            return refuse("has characters that cannot be seen");
        }
        Ok((!note.is_empty()).then(|| note.to_owned()))
    }

    /// What this vote makes of the request, by the policies in force.
    fn turn(&self, vote: &VoteRow) -> Result<Turn, Refused> {
        let seen = self.row.standing.votes;
        if !vote.yes {
            return Ok(Turn {
                seen,
                state: Some(State::Denied.as_str()),
                until: None,
            });
        }
        let votes: Vec<Vote> = self
            .votes
            .iter()
            .chain([vote])
            .filter_map(as_cast)
            .collect();
        let state = match self.judge(&votes)? {
            Verdict::Permit(limits) => {
                return Ok(Turn {
                    seen,
                    state: Some(State::Approved.as_str()),
                    until: limits.approved_until().map(Timestamp::as_millis),
                });
            }
            Verdict::Hold(_) => None,
            Verdict::Deny(reasons) if reasons.why() == Why::Human => Some(State::Denied.as_str()),
            Verdict::Deny(_) => return Err(Refused::Moot),
        };
        Ok(Turn {
            seen,
            state,
            until: None,
        })
    }

    fn judge(&self, votes: &[Vote]) -> Result<Verdict, Refused> {
        let parked = recorded(self.row).ok_or(Refused::Moot)?;
        Ok(self.policy.judge_voted(&parked, votes, self.now))
    }
}

/// The question as it was recorded when the ask was parked.
fn recorded(row: &RequestRow) -> Option<Recorded> {
    let question: Value = serde_json::from_str(&row.question).ok()?;
    let task = row.task.parse::<TaskId>().ok()?;
    let digest: Digest = row.digest.parse().ok()?;
    let digest = AskDigest(*digest.as_bytes());
    Recorded::read(&question, task, digest).ok()
}

/// A vote as policy counts it.
pub(crate) fn as_cast(row: &VoteRow) -> Option<Vote> {
    let digest: Digest = row.digest.parse().ok()?;
    Some(Vote {
        person: PersonId::new(&*row.person),
        user: SpiffeId::parse(&row.person).ok()?,
        groups: groups(&row.groups),
        yes: row.yes,
        at: Timestamp::from_millis(row.at),
        lasts: Seconds::new(row.lasts),
        digest: AskDigest(*digest.as_bytes()),
        spent: false,
    })
}

fn groups(names: &BTreeSet<String>) -> BTreeSet<GroupName> {
    names.iter().map(GroupName::new).collect()
}

fn unreadable(error: crate::store::Error) -> Refused {
    tracing::error!(%error, "the store cannot be read");
    Refused::Unavailable(ledger::Error::Unwritable)
}

/// As often as a walk goes round (POLICY.md §2).
const ROUNDS: usize = 3;
/// How often a match code may be mistyped (UX.md §6).
pub(crate) const TRIES: i64 = 3;
/// As long as a reason (UX.md §4).
const MAX_NOTE: usize = 500;
/// POLICY.md §3.3: with less nothing useful can be done.
const SHORTEST: Seconds = Seconds::new(30);
