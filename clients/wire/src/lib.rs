//! The words of Stint's JSON API, as types: what a client sends, what the broker answers.
//!
//! This crate promises that both ends spell every member alike (UX.md §4). It has no logic, no IO and no clock, and
//! it imports nothing of ours. Two habits run through it:
//!
//! - **Requests are strict**: an unknown or duplicate member is refused, because a member that is silently dropped
//!   would widen or narrow a grant behind its author's back.
//! - **Answers are lenient**: a client ignores members it does not know, so that a newer broker may add some.
//!
//! Times are RFC 3339 with `Z`; members that end in `_s` are whole seconds. Secrets travel as [`Token`], whose `Debug`
//! shows nothing.

mod answer;
mod ask;
mod decision;
pub mod drafts;
mod facts;
mod list;
pub mod oauth;
mod operator;
mod people;
mod problem;
mod request;
mod token;
mod vote;

pub use answer::{
    Credential, Granted, Held, LedgerProof, Need, NextAction, NextKind, Outcome, RequestState,
};
pub use ask::{Ask, CredentialAsk, CredentialKind};
pub use decision::{Closest, DecisionReceipt, DryRun, Failed, Owner, Said};
pub use facts::{ClaimsView, EvidenceView, LedgerTrust, Lifetimes, TaskView, Trust, WhoAmI};
pub use list::{CallerList, CallerSeen, GrantList, GrantSeen, TaskList, TaskSeen};
pub use operator::{
    Accept, BackedUp, Backup, Done, Erase, Freeze, Gone, NoticeTest, NoticeTested, Prune, Pruned,
    Scrubbed, Whom,
};
pub use people::{
    CredentialId, EnrolPasskey, GoTo, LetIn, Me, OpenSession, Passkey, PasskeyEnrolled,
    PasskeyOptions, PasskeyUser, RelyingParty, Session, SessionOpened,
};
pub use problem::{Code, Problem};
pub use request::{RefusedView, RequestList, RequestView, SeenView, VoteView};
pub use token::Token;
pub use vote::{Ballot, BallotAsk, PasskeyId, Place, SignedBy, SignedVote, Vote, VoteCast};
