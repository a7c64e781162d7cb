//! Why policy said so: the decision receipt of POLICY.md §5 as its reader sees it, and the dry run that carries one.
//!
//! The broker writes receipts from `stint_policy`'s own views; these types only read them, and read what they can:
//! a member that is missing is empty, a member that is new is ignored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Need, NextAction, Outcome};

/// The 200 of `POST /v1/decisions`: what would happen. Nothing did, and nothing was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRun {
    /// What the ask would become now.
    pub outcome: Outcome,
    /// Why, in the caller's view; [`DryRun::receipt`] reads it.
    #[cfg_attr(feature = "schema", schemars(with = "crate::DecisionReceipt"))]
    pub decision_receipt: Value,
}

impl DryRun {
    /// The receipt, if this version can read it.
    #[must_use]
    pub fn receipt(&self) -> Option<DecisionReceipt> {
        DecisionReceipt::deserialize(&self.decision_receipt).ok()
    }
}

/// The caller's view of a decision.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DecisionReceipt {
    /// What was decided.
    pub outcome: Option<Outcome>,
    /// `policy`, `policy_error`, `limit`, `human` or `delegation`; absent for a permit.
    pub why: Option<String>,
    /// The detail of `why`: `no_permit`, `forbidden`, `not_for_you`, `unknown_resource`, …
    pub detail: Option<String>,
    /// Content address of the policies.
    pub pol: Option<String>,
    /// Ids of the policies that decided.
    pub decided_by: Vec<String>,
    /// `@reason` of those that have one.
    pub reasons: Vec<Said>,
    /// The permit that came nearest.
    pub closest: Option<Closest>,
    /// In words, where nothing came near.
    pub note: Option<String>,
    /// Who would have to say yes.
    pub needs: Vec<Need>,
    /// Whether asking the same again can never help.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What would have to differ.
    pub next_action: Option<NextAction>,
    /// Who can change the policy, and how to reach them.
    pub owner: Option<Owner>,
    /// The policy's own advice.
    pub advice: Option<String>,
    /// The caller's own identity and verified claims, as the broker typed them.
    pub caller: Option<Value>,
}

/// What one policy says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Said {
    /// Its `@id`.
    pub policy: String,
    /// Its `@reason`.
    pub reason: String,
}

/// The permit most of whose conditions held; ties go by id.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Closest {
    /// Its `@id`.
    pub policy: String,
    /// Names of the conditions that held.
    pub holds: Vec<String>,
    /// Those that did not.
    pub fails: Vec<Failed>,
}

/// A condition that failed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Failed {
    /// The path it reads: `ref`, `credential.ttl_s`.
    pub name: String,
    /// The caller's own value there; absent: it has none.
    pub yours: Option<Value>,
}

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Owner {
    /// A group's name.
    pub group: Option<String>,
    /// How to reach it: `#releases`.
    pub contact: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::DecisionReceipt;
    use crate::NextKind;

    #[test]
    fn reads_the_receipt_of_the_policy_page() {
        let receipt: DecisionReceipt = serde_json::from_str(
            r##"{"outcome":"deny","why":"policy","pol":"KzvbaHIC","decided_by":["a"],"reasons":[{"policy":"a","reason":"r"}],
                "closest":{"policy":"deploy-prod-from-main","holds":["resource","repository_id"],
                "fails":[{"name":"ref","yours":"refs/heads/fix-12"}]},"final":true,"next_action":{"kind":"ask_owner"},
                "owner":{"group":"release","contact":"#releases"},"advice":"Merge first.","newer":{}}"##,
        )
        .unwrap();
        let closest = receipt.closest.unwrap();
        assert_eq!(closest.fails[0].yours, Some("refs/heads/fix-12".into()));
        assert_eq!(
            (
                receipt.decided_by[0].as_str(),
                receipt.reasons[0].reason.as_str()
            ),
            ("a", "r")
        );
        assert_eq!(receipt.next_action.unwrap().kind, NextKind::AskOwner);
        assert!(receipt.is_final);
    }
}
