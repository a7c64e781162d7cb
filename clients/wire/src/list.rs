//! Lists for people and their programs: what was granted, in which work, to whom.

use serde::{Deserialize, Serialize};

use crate::Place;

/// The 200 of `GET /v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GrantList {
    /// The newest first; those that live alone: the next to end first.
    pub grants: Vec<GrantSeen>,
    /// `after` of the next page, if there may be one.
    #[serde(default)]
    pub next: Option<String>,
}

/// A grant, as its readers see it: never the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GrantSeen {
    /// `gr_…`.
    pub grant: String,
    /// `task_…`.
    pub task: String,
    /// SPIFFE ID.
    pub caller: String,
    /// The bare action; `null` where it was not kept.
    pub action: Option<String>,
    /// What was minted: `x509` or `jwt`.
    pub credential: String,
    /// What names it: a certificate's serial, a JWT's `jti`.
    pub serial_or_jti: String,
    /// When it was recorded; `null` for a moment after.
    pub granted_at: Option<String>,
    /// When it ends, or ended.
    pub expires_at: String,
    /// Where it stands in the ledger.
    pub ledger: Place,
}

/// The 200 of `GET /v1/tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskList {
    /// The newest first.
    pub tasks: Vec<TaskSeen>,
    /// `after` of the next page, if there may be one.
    #[serde(default)]
    pub next: Option<String>,
}

/// One unit of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskSeen {
    /// `task_…`.
    pub task: String,
    /// `ISSUER:…`, in the platform's own words.
    pub name: String,
    /// `evidence`, `api` or `person`.
    pub source: String,
    /// The account that started it, if the evidence says.
    pub initiator: Option<String>,
    /// The first ask.
    pub opened_at: String,
    /// When it is over, if that is known.
    pub ends_at: Option<String>,
    /// How much was granted in it.
    pub grants: u64,
    /// How often it was refused something.
    pub denials: u64,
}

/// The 200 of `GET /v1/callers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallerList {
    /// By name.
    pub callers: Vec<CallerSeen>,
    /// `after` of the next page, if there may be one.
    #[serde(default)]
    pub next: Option<String>,
}

/// Software, or an agent, that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallerSeen {
    /// SPIFFE ID.
    pub caller: String,
    /// `Workload`, `Agent` or `User`.
    pub kind: String,
    /// NAME of `[issuer.NAME]`, which vouches for it.
    pub issuer: String,
    /// The group it belongs to; `null` is a finding.
    pub owner: Option<String>,
    /// Its first ask.
    pub first_seen_at: String,
    /// The last time it was granted something.
    pub granted_at: Option<String>,
    /// The last time it was refused.
    pub denied_at: Option<String>,
    /// The last time it had to wait for people.
    pub held_at: Option<String>,
}
