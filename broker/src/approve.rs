//! A human says yes or no: what approvers are shown, what they sign, and what it makes of the request (POLICY.md §3.2,
//! UX.md §7).

use serde::{Deserialize, Serialize};

/// What approvers are shown of an ask: made by the broker from the canonical ask and verified facts, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// What it lets happen, in one sentence.
    pub sentence: String,
    /// Everything else, in order: a label, and what it says. A label may come more than once.
    pub rows: Vec<(String, String)>,
    /// What is out of the ordinary, each a sentence.
    pub unusual: Vec<String>,
    /// The requester's own words, at most 500 characters. Never beside the facts, never in bold.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub words: Option<String>,
    /// Where the run can be looked at, if its platform says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<String>,
}
