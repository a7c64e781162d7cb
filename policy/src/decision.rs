//! What a policy set answers: plain values, each of which names the policies that decided. The one that matters,
//! [`Grant`](crate::Grant), lies with its only maker in `decide/`.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU8;

use data_encoding::BASE64URL_NOPAD;

use crate::decide::Grant;
use crate::query::{GroupName, PersonId};
use crate::time::{Seconds, Timestamp};

/// The answer to one ask.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per ask, moved once or twice: cheaper than a box"
)]
pub enum Decision {
    /// No, and why.
    Deny(Reasons),
    /// Not before these people said yes.
    Hold(Quorum),
    /// Yes: one credential may be minted.
    Permit(Grant),
}

/// The same answer without the right to mint anything: dry runs, tests, replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No, and why.
    Deny(Reasons),
    /// Not before these people said yes.
    Hold(Quorum),
    /// Yes, within these limits.
    Permit(Limits),
}

impl Verdict {
    /// `deny`, `hold`, `permit`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verdict::Deny(_) => "deny",
            Verdict::Hold(_) => "hold",
            Verdict::Permit(_) => "permit",
        }
    }

    /// Ids of the policies that decided, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        match self {
            Verdict::Deny(reasons) => &reasons.policies,
            Verdict::Hold(quorum) => &quorum.policies,
            Verdict::Permit(limits) => &limits.policies,
        }
    }
}

/// What a permission is bounded by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) not_after: Timestamp,
    pub(crate) shortened_by: Vec<String>,
    pub(crate) policies: Vec<String>,
    pub(crate) approved_by: Vec<PersonId>,
    pub(crate) approved_until: Option<Timestamp>,
    pub(crate) single_use: bool,
    pub(crate) reads_history: bool,
    pub(crate) labels: BTreeSet<String>,
}

impl Limits {
    /// The end of the credential's life.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Names of the bounds that lie below what was asked: `max_ttl:ID` of a permit, `approval`, a ceiling's name.
    #[must_use]
    pub fn shortened_by(&self) -> &[String] {
        &self.shortened_by
    }

    /// Ids of the permits that decided, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The persons whose yes fills the seats, sorted; empty where nobody had to be asked.
    #[must_use]
    pub fn approved_by(&self) -> &[PersonId] {
        &self.approved_by
    }

    /// When that approval ends, where somebody had to be asked.
    #[must_use]
    pub fn approved_until(&self) -> Option<Timestamp> {
        self.approved_until
    }

    /// Whether granting spends those votes.
    #[must_use]
    pub fn single_use(&self) -> bool {
        self.single_use
    }

    /// Whether a policy that was asked reads `context.history`: such a decision commits only if the task tree's
    /// history has not changed since.
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.reads_history
    }

    /// `labels` of all granted resources.
    #[must_use]
    pub fn labels(&self) -> &BTreeSet<String> {
        &self.labels
    }
}

/// Whom to ask for a yes, and who said it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    pub(crate) needs: Vec<Need>,
    pub(crate) have: u8,
    pub(crate) policies: Vec<String>,
    pub(crate) request_ttl: Option<Seconds>,
    pub(crate) approval_ttl: Option<Seconds>,
    pub(crate) single_use: bool,
    pub(crate) separation: bool,
    pub(crate) reads_history: bool,
}

impl Quorum {
    /// All to be met; never empty, sorted by policy and group.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// How many seats are filled, each by its own person.
    #[must_use]
    pub fn have(&self) -> u8 {
        self.have
    }

    /// Ids of the gates, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The least `@request_ttl`: how long the request may wait.
    #[must_use]
    pub fn request_ttl(&self) -> Option<Seconds> {
        self.request_ttl
    }

    /// The least `@approval_ttl`: how long an approval may last.
    #[must_use]
    pub fn approval_ttl(&self) -> Option<Seconds> {
        self.approval_ttl
    }

    /// Whether the first grant spends the votes.
    #[must_use]
    pub fn single_use(&self) -> bool {
        self.single_use
    }

    /// Whether it can be proven that no voter started the task: its initiator is a known person.
    #[must_use]
    pub fn separation(&self) -> bool {
        self.separation
    }

    /// As [`Limits::reads_history`].
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.reads_history
    }
}

/// So many people of one group, for one gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The gate's id.
    pub policy: String,
    /// The group.
    pub approvers: GroupName,
    /// How many of its people, 1 to 16.
    pub votes: NonZeroU8,
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons {
    pub(crate) why: Why,
    pub(crate) detail: Detail,
    pub(crate) policies: Vec<String>,
    pub(crate) reads_history: bool,
}

impl Reasons {
    pub(crate) fn bare(why: Why, detail: Detail) -> Reasons {
        Reasons {
            why,
            detail,
            policies: Vec::new(),
            reads_history: false,
        }
    }

    /// The word of LEDGER.md's `denied.why`.
    #[must_use]
    pub fn why(&self) -> Why {
        self.why
    }

    /// What exactly, for the body and the receipt.
    #[must_use]
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Ids of the policies that decided, sorted: forbids that fired, permits whose limits the ask fails.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Whether only a proof of possession is missing.
    #[must_use]
    pub fn proof_required(&self) -> bool {
        self.detail == Detail::ProofRequired
    }

    /// As [`Limits::reads_history`].
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.reads_history
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word on the wire and in the ledger.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Which kind of no it is.
    Why {
        /// The subject did not agree, or the chain is not one.
        Delegation = "delegation",
        /// An approver said no.
        Human = "human",
        /// What is allowed does not cover what was asked.
        Limit = "limit",
        /// Policy says no.
        Policy = "policy",
        /// Policy could not be evaluated, which is a no with an alarm.
        PolicyError = "policy_error",
    }
}

words! {
    /// What exactly is amiss.
    Detail {
        /// More than four actors, somebody twice, or a subject without consent.
        Chain = "chain",
        /// No permit lets the subject be acted for.
        Consent = "consent",
        /// The action or a resource type does not exist in this set.
        Undeclared = "undeclared",
        /// An evaluation failed.
        Evaluation = "evaluation",
        /// A forbid fired that no vote lifts.
        Forbidden = "forbidden",
        /// A forbid still fires although everybody approved.
        GateStuck = "gate_stuck",
        /// The input does not fit the action's type.
        Input = "input",
        /// The permits leave no kind of credential, or not this one.
        Kind = "kind",
        /// Less than 30 seconds of life are left.
        Life = "life",
        /// No permit allows it.
        NoPermit = "no_permit",
        /// The action is not for such a caller, or not for such a resource.
        NotForYou = "not_for_you",
        /// A credential of this kind must be bound by another proof than the one that came.
        ProofRequired = "proof_required",
        /// A resource that is not listed.
        UnknownResource = "unknown_resource",
        /// An eligible approver said no.
        VotedNo = "voted_no",
    }
}

/// The content address of a policy set: SHA-256 as LEDGER.md §3 makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyHash([u8; 32]);

impl PolicyHash {
    /// Wraps a hash that was made elsewhere, say read from a ledger.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> PolicyHash {
        PolicyHash(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// base64url without padding, 43 characters.
impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
