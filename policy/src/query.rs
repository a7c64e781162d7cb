//! What is asked of a policy set: plain values, each already verified by whoever put it here (POLICY.md §2). Nothing in
//! this file knows Cedar, and nothing decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json};

use crate::id::TaskId;
use crate::spiffe::SpiffeId;
use crate::time::{Seconds, Timestamp};
use crate::uid::{ActionId, Resources};

/// One question to a policy set: may `caller` (and `subject`) do `action` on all of `resources`, now, for `task`?
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The walk's one reading of the clock.
    pub now: Timestamp,
    /// Who asks.
    pub caller: &'a Principal,
    /// On whose behalf: a person or a parent agent, at the far end of a delegation. Both are asked about.
    pub subject: Option<&'a Principal>,
    /// Who stands in the verified chain, the caller excepted; at most 4, else the answer is a Deny.
    pub actors: &'a [Principal],
    /// How the subject's consent was shown; wanted exactly where there is a `subject`.
    pub consent: Option<Consent>,
    /// Whether the subject token's own key was proved with this request.
    pub subject_bound: bool,
    /// Persons whose votes do not count: initiator, subject, and whoever answers for caller and actors.
    pub own: &'a BTreeSet<PersonId>,
    /// The unit of work.
    pub task: &'a Task,
    /// What the whole tree of that task was granted so far.
    pub history: &'a History,
    /// What is to be done.
    pub action: &'a ActionId,
    /// To what; all must be permitted.
    pub resources: &'a Resources,
    /// The action's parameters, where it has some.
    pub input: Option<&'a Input>,
    /// The credential that is wanted.
    pub want: &'a Want,
    /// Bounds on its life that were known before policy.
    pub ceilings: &'a [Ceiling],
    /// What a vote must be signed over.
    pub digest: AskDigest,
    /// All votes cast on this ask, in any order.
    pub votes: &'a [Vote],
}

/// A verified identity with the claims it was verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The only name that decides.
    pub id: SpiffeId,
    /// What it is.
    pub kind: Kind,
    /// The name of its `[issuer.NAME]`, never a URL.
    pub issuer: String,
    /// The preset of that issuer: `github-actions`.
    pub preset: String,
    /// What its evidence says.
    pub claims: Claims,
    /// Groups its login gave it; those of `entities.json` come on top.
    pub groups: BTreeSet<String>,
    /// The inventory's owner, a group's name. It replaces the one of `entities.json`.
    pub owner: Option<String>,
    /// The SPIFFE ID of the person who answers for it, from the inventory; it replaces the one of `entities.json`.
    pub person: Option<String>,
    /// Selectors of attestors: `kind:name:value`.
    pub attested: BTreeSet<String>,
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Chooses its own next step.
    Agent,
    /// A person.
    User,
    /// Runs what somebody wrote.
    Workload,
}

impl Kind {
    /// `Agent`, `User`, `Workload`: the name of the entity type, and the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Agent => "Agent",
            Kind::User => "User",
            Kind::Workload => "Workload",
        }
    }

    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Kind::Agent => "Stint::Agent",
            Kind::User => "Stint::User",
            Kind::Workload => "Stint::Workload",
        }
    }
}

/// Verified claims, typed as the schema types them; what is absent is unknown, never false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `context.origin`: the same words for every platform.
    pub origin: Attributes,
    /// The member of the context named after the platform (`github`), with the platform's own claim names.
    pub platform: Option<(String, Attributes)>,
    /// `context.extra`: what the operator mapped.
    pub extra: Attributes,
}

/// Members of one Cedar record, by name: `repository_id`.
pub type Attributes = BTreeMap<String, Value>;

/// One typed claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A text.
    String(String),
    /// A set of texts.
    Strings(BTreeSet<String>),
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Bool(value) => value.serialize(serializer),
            Value::Long(value) => value.serialize(serializer),
            Value::String(value) => value.serialize(serializer),
            Value::Strings(values) => values.serialize(serializer),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Long(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::String(value)
    }
}

impl From<BTreeSet<String>> for Value {
    fn from(value: BTreeSet<String>) -> Value {
        Value::Strings(value)
    }
}

/// One unit of work, as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// `context.task.id`: `<issuer>:<path>` where evidence names it, else the id.
    pub name: String,
    /// Who opened it.
    pub source: TaskSource,
    /// 0 for a root; a child's is its parent's and one.
    pub depth: u32,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ends, if it has an end; `context.task.left_s` is absent otherwise.
    pub deadline: Option<Timestamp>,
    /// Its parent's name.
    pub parent: Option<String>,
    /// The SPIFFE ID of the person who started it, if the starting account is linked to a person.
    pub initiator: Option<String>,
}

/// How a task came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskSource {
    /// Opened through the API.
    Api,
    /// Named by verified evidence.
    Evidence,
    /// Opened by a person.
    Person,
}

impl TaskSource {
    /// `api`, `evidence`, `person`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TaskSource::Api => "api",
            TaskSource::Evidence => "evidence",
            TaskSource::Person => "person",
        }
    }
}

/// What a task tree was granted and refused so far: a fold of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many grants.
    pub grants: u64,
    /// How many denials.
    pub denials: u64,
    /// Names of actions ever granted.
    pub actions: BTreeSet<String>,
    /// Names of actions with a grant that still lives.
    pub live: BTreeSet<String>,
    /// Labels of every resource ever granted.
    pub labels: BTreeSet<String>,
}

/// How a subject agreed to be acted for (IDENTITY.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consent {
    /// The subject token's `may_act` names the actor.
    MayAct,
    /// A permit on `Stint::Action::"delegate"`; `decide` asks for it.
    Policy,
    /// A task opened by that person for that agent.
    Task,
}

impl Consent {
    /// `may_act`, `policy`, `task`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Consent::MayAct => "may_act",
            Consent::Policy => "policy",
            Consent::Task => "task",
        }
    }
}

/// The credential an ask is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// What is to be minted.
    pub kind: CredentialKind,
    /// The profile's name.
    pub profile: String,
    /// The proof of possession that came with the ask.
    pub bind: Binding,
    /// A JWT's audience.
    pub audience: Option<String>,
    /// Its life as asked, or the default.
    pub ttl: Seconds,
}

/// What a grant becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A JSON Web Token.
    Jwt,
    /// Nothing: only an answer is wanted.
    None,
    /// A certificate.
    X509,
}

impl CredentialKind {
    /// `jwt`, `none`, `x509`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CredentialKind::Jwt => "jwt",
            CredentialKind::None => "none",
            CredentialKind::X509 => "x509",
        }
    }
}

/// How a credential is tied to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Not at all: who holds it can use it.
    Bearer,
    /// By a DPoP proof.
    Dpop,
    /// By the key of a CSR.
    Key,
    /// By a client certificate.
    Mtls,
}

impl Binding {
    /// `bearer`, `dpop`, `key`, `mtls`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Binding::Bearer => "bearer",
            Binding::Dpop => "dpop",
            Binding::Key => "key",
            Binding::Mtls => "mtls",
        }
    }
}

/// A bound on a credential's life that was known before policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// What the caller is told when it shortened the life: `task`, `evidence`, `profile`, `issuing_ca`.
    pub name: String,
    /// The bound.
    pub not_after: Timestamp,
}

/// An action's parameters, as they came: a JSON object. A policy set checks it against the action's own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input(Map<String, Json>);

impl Input {
    /// Wraps the members.
    #[must_use]
    pub fn new(members: Map<String, Json>) -> Input {
        Input(members)
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &Map<String, Json> {
        &self.0
    }
}

/// SHA-256 over the ask (POLICY.md §3.4); what a vote is signed over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskDigest(pub [u8; 32]);

impl fmt::Debug for AskDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One approver's verified yes or no to one ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The person, not the account: one person fills one seat.
    pub person: PersonId,
    /// The account, a `User` enabled now.
    pub user: SpiffeId,
    /// Groups the login that cast the vote gave; those of `entities.json` come on top.
    pub groups: BTreeSet<GroupName>,
    /// Yes or no.
    pub yes: bool,
    /// When it was cast.
    pub at: Timestamp,
    /// How long the approver lets an approval last, from the vote that completes it.
    pub lasts: Seconds,
    /// What was signed.
    pub digest: AskDigest,
    /// Whether an earlier grant used it up.
    pub spent: bool,
}

macro_rules! name_type {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as it is known elsewhere.
            #[must_use]
            pub fn new(name: impl Into<String>) -> $name {
                $name(name.into())
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

name_type! {
    /// A group's name: `sre`, the id of a `Stint::Group`.
    GroupName
    /// A person behind any number of accounts.
    PersonId
}
