//! The words of `POST /oauth2/token`: RFC 8693 on RFC 6749, with `authorization_details` (RFC 9396) of type `stint_task`
//! (PROTOCOLS.md §3.1, §3.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Code, Need, NextAction, Token};

/// The one grant type.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 7523 §2.2: what a `client_assertion` is.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What token types of RFC 8693 §3 begin with; its bare words are taken too.
pub const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// A certificate. Private: the `stint` URN namespace is not registered.
pub const TOKEN_TYPE_X509: &str = "urn:stint:token-type:x509";
/// The type of our authorization details.
pub const STINT_TASK: &str = "stint_task";

/// One element of `authorization_details`, strict: an unknown or duplicate member is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StintTask {
    /// Always `stint_task`.
    #[serde(rename = "type")]
    pub kind: DetailType,
    /// `deploy` or `Action::"deploy"`.
    pub action: String,
    /// 1 to 64 Cedar uids, `Environment::"prod/web"` or `Environment::prod/web`; all must be permitted.
    pub resources: Vec<String>,
    /// The unit of work, where the evidence names none; refused if it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The action's own input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Map<String, Value>>,
    /// The caller's own words, at most 500 characters. No policy reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Life wanted, in seconds, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// The one type of authorization details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DetailType {
    /// An action on resources, for a task.
    #[serde(rename = "stint_task")]
    StintTask,
}

/// A task, as details name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TaskRef {
    /// Its id (`task_…`) or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The task it is part of; not offered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it ends; not offered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// 200: a credential, recorded before it was signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenGranted {
    /// A compact JWS, or PEM: the leaf, then its issuing CA.
    pub access_token: Token,
    /// What that is, as a URN of RFC 8693 §3, or `urn:stint:token-type:x509`.
    pub issued_token_type: String,
    /// How it is used.
    pub token_type: TokenType,
    /// Life left, in seconds.
    pub expires_in: i64,
    /// What was granted, in canonical form and without the reason.
    pub authorization_details: Value,
    /// `gr_…`.
    pub grant: String,
    /// `task_…`.
    pub task: String,
    /// `dec_…`.
    pub decision: String,
    /// Where this grant is in the ledger.
    pub ledger: LedgerPlace,
    /// What made the life shorter than asked, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened_by: Vec<String>,
    /// Of a certificate, in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Of a certificate, its one URI SAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Of a certificate: when a fresh one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_after: Option<String>,
}

/// RFC 8693 §2.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TokenType {
    /// An access token that is good by itself.
    Bearer,
    /// An access token that is good with proofs of its key.
    #[serde(rename = "DPoP")]
    Dpop,
    /// No access token.
    #[serde(rename = "N_A")]
    NotApplicable,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerPlace {
    /// Its index, from 0.
    pub seq: u64,
    /// Its RFC 6962 leaf hash; absent where the receipt is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// A C2SP `tlog-proof`, where the request said `ledger=receipt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// Every refusal of the token endpoint: RFC 6749 §5.2, with the members of our problem documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenRefused {
    /// What any OAuth client reads.
    pub error: OAuthError,
    /// This case in one sentence, visible ASCII without `"` and `\`.
    pub error_description: String,
    /// What a program of ours reads.
    pub code: Code,
    /// `dec_…` of a recorded decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// `req_…` where a request is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Whether the same ask may succeed later as it is.
    pub retryable: bool,
    /// When to try again, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// What to do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_action: Option<NextAction>,
    /// Why policy said so, in the reader's view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_receipt: Option<Value>,
    /// Of an answer that comes later: how to ask for it.
    #[serde(flatten)]
    pub deferred: Option<Deferred>,
}

/// A deferred answer: people are asked first, and this is the handle on what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deferred {
    /// The handle. Good with the key that asked, and with no other.
    pub deferral_code: Token,
    /// How long it is good, in seconds.
    pub expires_in: i64,
    /// How long to wait between two polls, in seconds.
    pub interval: u32,
    /// Where a person goes, https only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction_uri: Option<String>,
    /// Three digits for the approver to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_code: Option<String>,
    /// Who has to say yes. All of them.
    pub needs: Vec<Need>,
    /// The approver's page.
    pub approve_url: String,
}

/// The error codes of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OAuthError {
    /// RFC 8628 §3.5: refused by people, taken back, or policy says no by now.
    AccessDenied,
    /// RFC 8628 §3.5: people have not answered yet.
    AuthorizationPending,
    /// RFC 8628 §3.5: nobody answered in time, or nobody came for the answer.
    ExpiredToken,
    /// RFC 9396 §5: what was asked cannot be, or is denied.
    InvalidAuthorizationDetails,
    /// RFC 6749 §5.2: client authentication failed, or is of a sort that is not offered.
    InvalidClient,
    /// RFC 9449 §5.
    InvalidDpopProof,
    /// RFC 6749 §5.2: the task is over, or the credential was delivered before.
    InvalidGrant,
    /// RFC 6749 §5.2; of evidence that does not hold too (RFC 8693 §2.2.2).
    InvalidRequest,
    /// RFC 6749 §5.2: the short form's action.
    InvalidScope,
    /// RFC 8693 §2.2.2: the audience or resource.
    InvalidTarget,
    /// A bug of ours.
    ServerError,
    /// RFC 8628 §3.5: pending, and 5 s more between two polls from now on.
    SlowDown,
    /// Later it may succeed.
    TemporarilyUnavailable,
    /// RFC 6749 §5.2.
    UnsupportedGrantType,
}

#[cfg(test)]
mod tests {
    use super::{OAuthError, StintTask, TokenType};

    fn refusal(json: &str) -> String {
        serde_json::from_str::<StintTask>(json)
            .expect_err(json)
            .to_string()
    }

    #[test]
    fn details_are_strict() {
        const WHOLE: &str = r#"{"type":"stint_task","action":"deploy","resources":["Environment::\"prod/web\""],
            "task":{"id":"github:74/1"},"reason":"v2","ttl_s":900}"#;
        let task: StintTask = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(task.ttl_s, Some(900));
        let changed = |from, to| refusal(&WHOLE.replace(from, to));
        assert!(changed("stint_task", "payment").contains("unknown variant `payment`"));
        assert!(changed("\"ttl_s\"", "\"ttl\"").contains("unknown field `ttl`"));
        assert!(changed("\"id\"", "\"name\"").contains("unknown field `name`"));
        assert!(changed("\"reason\"", "\"action\"").contains("duplicate field `action`"));
        assert!(changed("900", "\"900\"").contains("invalid type"));
        assert!(changed("900", "0.5").contains("invalid type"));
    }

    #[test]
    fn words_are_those_of_the_standards() {
        let word = |error| serde_json::to_string(&error).unwrap();
        assert_eq!(
            word(OAuthError::InvalidAuthorizationDetails),
            r#""invalid_authorization_details""#
        );
        assert_eq!(
            word(OAuthError::InvalidDpopProof),
            r#""invalid_dpop_proof""#
        );
        let kind = |kind| serde_json::to_string(&kind).unwrap();
        assert_eq!(kind(TokenType::Dpop), r#""DPoP""#);
        assert_eq!(kind(TokenType::NotApplicable), r#""N_A""#);
        assert_eq!(kind(TokenType::Bearer), r#""Bearer""#);
    }
}
