//! What decides: Cedar policies over plain, verified values (POLICY.md).
//!
//! A [`PolicySet`] is built from a directory or from bytes, whole or not at all; it then answers any number of
//! [`Query`]s. Answers are pure and total: no clock, no IO, no async, no panic, and whatever cannot be evaluated is a
//! [`Decision::Deny`]. [`PolicySet::decide`] is the only maker of a [`Grant`].
//!
//! Reading order: `query` and `decision` are values in and out, `decide` is the algorithm over a `hearing`, `engine` is
//! Cedar, `load` builds sets, `lint` and `check` refuse bad ones, `explain` says why, `replay` asks again.

mod annotation;
mod ballot;
mod catalogue;
mod check;
mod claims;
mod context;
mod decide;
mod decision;
mod engine;
mod explain;
#[cfg(test)]
mod fixture;
mod heard;
mod hearing;
pub mod id;
mod lint;
mod load;
mod query;
mod quorum;
mod replay;
mod rule;
mod set;
mod spiffe;
mod time;
mod uid;

pub use catalogue::{ApprovalOffer, ForbidOffer, Offer, PermitOffer, ResourceOffer};
pub use check::{CaseResult, Drafted, TestReport};
pub use claims::{ExtraType, Yields};
pub use decide::Grant;
pub use decision::{Decision, Detail, Limits, Need, PolicyHash, Quorum, Reasons, Verdict, Why};
pub use explain::{
    CallerView, DecisionReceipt, Failed, Missed, NeedView, NextAction, OwnerContact, OwnerView,
    PolicyView, Said,
};
pub use heard::Heard;
pub use id::{GrantId, TaskId};
pub use lint::Finding;
pub use load::LoadError;
pub use query::{
    AskDigest, Attributes, Binding, Ceiling, Claims, Consent, CredentialKind, GroupName, History,
    Input, Kind, PersonId, Principal, Query, Task, TaskSource, Value, Vote, Want,
};
pub use replay::{Recorded, ReplayError};
pub use set::{Files, PolicyPlace, PolicySet, sample, schema};
pub use spiffe::{SpiffeId, SpiffeIdError};
pub use time::{Seconds, TimeError, Timestamp};
pub use uid::{ActionId, Resource, Resources, UidError};
