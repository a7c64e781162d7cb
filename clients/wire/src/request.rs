//! A request as its readers see it: whoever asked, people who may decide it, auditors.

use serde::{Deserialize, Serialize};

use crate::{Need, NextAction, RequestState};

/// The 200 of `GET /v1/requests/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestView {
    /// `req_…`.
    pub request: String,
    /// `dec_…` of the decision that asked for people.
    pub decision: String,
    /// Where it stands.
    pub state: RequestState,
    /// `Action::"deploy"`.
    pub action: String,
    /// Canonical uids.
    pub resources: Vec<String>,
    /// SPIFFE ID of whoever asked.
    pub caller: String,
    /// `task_…`.
    pub task: String,
    /// The asker's own words.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was opened.
    pub opened_at: String,
    /// When it ends unanswered.
    pub expires_at: String,
    /// When the approval ends, where there is one.
    #[serde(default)]
    pub until: Option<String>,
    /// When it was decided or ended.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// Who has to say yes. All of them.
    pub needs: Vec<Need>,
    /// What was said, in order.
    #[serde(default)]
    pub votes: Vec<VoteView>,
    /// Who has looked at it, in order.
    #[serde(default)]
    pub seen_by: Vec<SeenView>,
    /// Whose no it was, and why.
    #[serde(default)]
    pub refused: Option<RefusedView>,
    /// Three digits for the approver to type; only whoever asked is shown them.
    #[serde(default)]
    pub match_code: Option<String>,
    /// The approver's page. It carries no authority of its own.
    pub approve_url: String,
    /// When to look again, in seconds; while it is open.
    #[serde(default)]
    pub retry_after_s: Option<u32>,
    /// Whether this reader can decide it; absent for whoever asked.
    #[serde(default)]
    pub can_decide: Option<bool>,
    /// Why this reader cannot.
    #[serde(default)]
    pub cannot_because: Option<String>,
    /// What to do now.
    pub next_action: NextAction,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VoteView {
    /// `vote_…`: its entry in the ledger.
    pub vote: String,
    /// What they are called.
    pub by: String,
    /// Whether it is a yes.
    pub yes: bool,
    /// When.
    pub at: String,
    /// Of a yes: how long the approval may last on it, in seconds.
    #[serde(default)]
    pub lasts_s: Option<u32>,
}

/// Somebody who looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeenView {
    /// What they are called.
    pub name: String,
    /// When they looked first.
    pub at: String,
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusedView {
    /// Whose.
    pub by: String,
    /// Why, in their own words.
    pub reason: Option<String>,
}

/// The 200 of `GET /v1/requests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestList {
    /// What this reader may see, the one that ends first in front.
    pub requests: Vec<RequestView>,
    /// Where the next page begins: `after=` of the next call. Absent: this is the last one.
    #[serde(default)]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::RequestView;
    use crate::RequestState;

    #[test]
    fn what_is_not_said_is_empty_and_what_is_newer_is_ignored() {
        let view: RequestView = serde_json::from_str(
            r#"{"request":"req_1","decision":"dec_1","state":"denied","action":"Action::\"deploy\"",
                "resources":["Environment::\"prod/web\""],"caller":"spiffe://a/b","task":"task_1",
                "opened_at":"2026-07-01T00:00:00Z","expires_at":"2026-07-01T01:00:00Z","needs":[],
                "refused":{"by":"Dana","reason":"not now"},"approve_url":"https://s/a/req_1",
                "next_action":{"kind":"none"},"newer":1}"#,
        )
        .unwrap();
        assert_eq!(view.state, RequestState::Denied);
        assert!(view.votes.is_empty() && view.match_code.is_none());
    }
}
