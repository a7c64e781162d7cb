//! What each reader of a decision is shown, as JSON on the wire.

use serde::Serialize;
use serde_json::Value as Json;

/// A permit that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Its id.
    pub policy: String,
    /// Names of its conditions that hold.
    pub holds: Vec<String>,
    /// Those that fail.
    pub fails: Vec<Failed>,
}

/// A condition that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its name: the path it reads.
    pub name: String,
    /// The caller's own value there, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yours: Option<Json>,
}

/// The caller's view: a JSON object on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerView {
    /// `permit`, `hold`, `deny`.
    pub outcome: &'static str,
    /// LEDGER.md's `denied.why`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// What exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// The policy set, base64url.
    pub pol: String,
    /// Ids of the policies that decided.
    pub decided_by: Vec<String>,
    /// `@reason` of those, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Said>,
    /// The closest permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closest: Option<Missed>,
    /// In words, where there is no closest permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whom a Hold waits for; groups only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NeedView>,
    /// Whether the same ask will never be answered otherwise by waiting.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What would have to differ.
    pub next_action: NextAction,
    /// Whom to ask; operators where nobody is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerContact>,
    /// What to do instead, in the owner's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Its id.
    pub policy: String,
    /// Its `@reason`.
    pub reason: String,
}

/// So many people of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeedView {
    /// The gate's id.
    pub policy: String,
    /// `Group::"sre"`.
    pub approvers: Vec<String>,
    /// How many.
    pub quorum: u8,
}

/// One word for what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextAction {
    /// `ask_owner`, `fix_request`, `none`, `wait`.
    pub kind: &'static str,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnerContact {
    /// A group's name.
    pub group: String,
    /// How to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// The owner's view: the caller's, and what lies behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnerView {
    /// What the caller sees.
    #[serde(flatten)]
    pub caller: CallerView,
    /// Policies that decided, and the closest, with file, line and every condition as written.
    pub policies: Vec<PolicyView>,
    /// Per request, in order (the caller's, then the subject's): what held and what fired while nobody had voted.
    pub requests: Vec<Json>,
    /// The exact input.
    pub query: Json,
    /// The engine's own words, where something could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One policy for its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Its first line.
    pub line: usize,
    /// Its conditions as written.
    pub conditions: Vec<String>,
}
