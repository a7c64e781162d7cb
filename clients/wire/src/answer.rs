//! What an ask becomes: 201 [`Granted`], 202 [`Held`]; a refusal is a [`crate::Problem`].

use serde::{Deserialize, Serialize};

use crate::Token;

/// The three outcomes of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Policy says no.
    Deny,
    /// Policy asks for people first.
    Hold,
    /// Policy says yes.
    Permit,
}

/// 201: a credential, recorded before it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Granted {
    /// Always [`Outcome::Permit`].
    pub outcome: Outcome,
    /// `gr_…`.
    pub grant: String,
    /// `task_…`.
    pub task: String,
    /// `dec_…`.
    pub decision: String,
    /// The request people approved (`req_…`), if one was.
    pub request: Option<String>,
    /// The credential itself.
    pub credential: Credential,
    /// Valid from; backdated by at most a minute.
    pub not_before: String,
    /// Valid until.
    pub expires_at: String,
    /// When a fresh walk for the same is due: two thirds of the life.
    pub renew_after: String,
    /// When the approval ends, if people gave one.
    pub approval_ends_at: Option<String>,
    /// What made the life shorter than asked, in words: `policy deploy-prod`.
    #[serde(default)]
    pub shortened_by: Vec<String>,
    /// The trust domain's roots, PEM.
    pub trust_bundle: String,
    /// The content address of the policies that decided.
    pub policy_version: String,
    /// Where this grant is in the ledger, and the proof.
    pub ledger: LedgerProof,
}

/// What was minted. A private key is never in it: the caller made its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Credential {
    /// An access token.
    Jwt {
        /// Compact JWS.
        token: Token,
        /// Its one audience.
        audience: String,
        /// 128 random bits of its own; tells nothing of the grant.
        jti: String,
    },
    /// A certificate.
    X509 {
        /// The leaf, PEM.
        certificate: String,
        /// The CAs between leaf and root, PEM each, leaf's issuer first.
        chain: Vec<String>,
        /// Lower-case hex.
        serial: String,
        /// The one URI SAN.
        spiffe_id: String,
    },
}

/// A place in the ledger with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerProof {
    /// Index of the entry, from 0.
    pub seq: u64,
    /// A C2SP `tlog-proof`, the receipt.
    pub receipt: String,
}

/// 202: parked until people have voted. The same ask again finds the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Held {
    /// Always [`Outcome::Hold`].
    pub outcome: Outcome,
    /// `req_…`.
    pub request: String,
    /// Whether this ask opened it; `false`: it was open already, and nobody was told again.
    pub created: bool,
    /// `dec_…`.
    pub decision: String,
    /// Where it stands.
    pub state: RequestState,
    /// When it ends unanswered.
    pub expires_at: String,
    /// Three digits for the approver to type; absent where `[approval] match_code = "off"`.
    pub match_code: Option<String>,
    /// Who has to say yes. All of them.
    pub needs: Vec<Need>,
    /// The approver's page. It carries no authority of its own.
    pub approve_url: String,
    /// When to look again, in seconds.
    pub retry_after_s: u32,
    /// What to do now.
    pub next_action: NextAction,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// The votes are in; ask again with fresh evidence.
    Approved,
    /// Taken back by its caller, or its task ended.
    Cancelled,
    /// A human said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Open.
    Pending,
}

/// One quorum of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Need {
    /// The policy that asks for it.
    pub policy: String,
    /// The groups whose members may vote, as Cedar uids: `Group::"sre"`.
    pub approvers: Vec<String>,
    /// How many must say yes.
    pub quorum: u32,
    /// How many have.
    #[serde(default)]
    pub have: u32,
}

/// The next step for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NextAction {
    /// Which sort of step.
    pub kind: NextKind,
    /// A command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A page to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The sorts of next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NextKind {
    /// The owner of the policy can help.
    AskOwner,
    /// The ask itself has to change.
    FixRequest,
    /// It is approved: the same again with a fresh token of the same run.
    FreshEvidence,
    /// Log in, or bring evidence.
    Login,
    /// Nothing helps, not in this task.
    None,
    /// The same again, later.
    Retry,
    /// Somebody or some time has to come.
    Wait,
}

#[cfg(test)]
mod tests {
    use super::{Credential, Granted, Held, NextKind, RequestState};

    #[test]
    fn reads_the_documented_201_and_ignores_what_is_newer() {
        let granted: Granted = serde_json::from_str(
            r#"{"outcome":"permit","grant":"gr_1","task":"task_1","decision":"dec_1","request":null,
                "credential":{"kind":"x509","certificate":"PEM","chain":["PEM"],"serial":"5a91","spiffe_id":"spiffe://a/b","new":1},
                "not_before":"2026-07-01T00:00:00Z","expires_at":"2026-07-01T00:15:00Z","renew_after":"2026-07-01T00:10:00Z",
                "approval_ends_at":null,"shortened_by":["policy deploy-prod"],"trust_bundle":"PEM","policy_version":"sha256:x",
                "ledger":{"seq":18044,"receipt":"text"},"newer":true}"#,
        )
        .unwrap();
        assert!(
            matches!(granted.credential, Credential::X509 { ref serial, .. } if serial == "5a91")
        );
    }

    #[test]
    fn reads_the_documented_202() {
        let held: Held = serde_json::from_str(
            r#"{"outcome":"hold","request":"req_1","created":true,"decision":"dec_1","state":"pending",
                "expires_at":"2026-07-01T00:00:00Z","match_code":"471","needs":[{"policy":"prod-needs-sre",
                "approvers":["Group::\"sre\""],"quorum":1,"have":0}],"approve_url":"https://s/a/req_1",
                "retry_after_s":3,"next_action":{"kind":"wait"}}"#,
        )
        .unwrap();
        assert_eq!(
            (held.state, held.next_action.kind),
            (RequestState::Pending, NextKind::Wait)
        );
    }
}
