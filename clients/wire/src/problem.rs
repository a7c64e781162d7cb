//! Every failure of the JSON API: RFC 9457 problem details with Stint's members, under a closed list of codes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DecisionReceipt, NextAction};

/// A problem document, `application/problem+json` (RFC 9457 §3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// `/problems/CODE`, a page of the console.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status, again.
    pub status: u16,
    /// What a program reads.
    pub code: Code,
    /// The code in words, the same each time.
    pub title: String,
    /// This case in one sentence; no secrets, no inner causes.
    pub detail: String,
    /// `dec_…` of a recorded decision: what to quote. Other failures have the `X-Request-Id` of their answer, `err_…`.
    #[serde(default)]
    pub decision: Option<String>,
    /// `req_…` where a request is concerned.
    #[serde(default)]
    pub request: Option<String>,
    /// Whether the same ask may succeed later as it is.
    pub retryable: bool,
    /// When to try again, in seconds.
    #[serde(default)]
    pub retry_after_s: Option<u32>,
    /// What to do now.
    #[serde(default)]
    pub next_action: Option<NextAction>,
    /// Why policy said so, in the reader's view; [`Problem::receipt`] reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::DecisionReceipt>"))]
    pub decision_receipt: Option<Value>,
}

impl Problem {
    /// A problem with all that its code settles; the rest is empty.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{}", code.as_str()),
            status: code.status(),
            code,
            title: code.title().to_owned(),
            detail: detail.into(),
            decision: None,
            request: None,
            retryable: code.retryable(),
            retry_after_s: None,
            next_action: None,
            decision_receipt: None,
        }
    }

    /// The decision receipt, if there is one this version can read.
    #[must_use]
    pub fn receipt(&self) -> Option<DecisionReceipt> {
        self.decision_receipt
            .as_ref()
            .and_then(|value| DecisionReceipt::deserialize(value).ok())
    }
}

/// One row per code: the wire word, the status, the title. The only list of them.
macro_rules! codes {
    ($($variant:ident $word:literal $status:literal $title:literal)+) => {
        /// What a program may act on. Stable; each has a page at `/problems/CODE` (UX.md §4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $word)] $variant,)+
        }

        impl Code {
            /// Every code, by status and then as UX.md §4 lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The HTTP status it goes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The title, the same in every case.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    Malformed "malformed" 400 "The request cannot be read"
    InvalidField "invalid_field" 400 "A member has a value that is not allowed"
    UnknownAction "unknown_action" 400 "No such action in the schema"
    UnknownResourceType "unknown_resource_type" 400 "No such resource type in the schema"
    UnsupportedCredential "unsupported_credential" 400 "This credential is not offered"
    BadCsr "bad_csr" 400 "The certificate request or key is not usable"
    EvidenceRejected "evidence_rejected" 400 "The evidence was not accepted"
    TaskRequired "task_required" 400 "The evidence names no task"
    LoginRequired "login_required" 401 "Evidence or a login is required"
    InvalidDpopProof "invalid_dpop_proof" 401 "The DPoP proof was not accepted"
    ProofRequired "proof_required" 401 "A proof of possession is required"
    StepUpRequired "step_up_required" 401 "A fresh login is required"
    PasskeyRequired "passkey_required" 403 "A passkey is required"
    Denied "denied" 403 "Denied by policy"
    ApprovalNeeded "approval_needed" 403 "People have to approve it first"
    DeniedByHuman "denied_by_human" 403 "Denied by a human"
    Frozen "frozen" 403 "Grants are frozen"
    CallerDisabled "caller_disabled" 403 "This caller is disabled"
    NotEligible "not_eligible" 403 "Not eligible to vote"
    RoleRequired "role_required" 403 "A role is required"
    NotFound "not_found" 404 "Not found"
    RequestTimeout "request_timeout" 408 "The request did not arrive in time"
    IdempotencyConflict "idempotency_conflict" 409 "The idempotency key belongs to another ask"
    StateConflict "state_conflict" 409 "The state has moved meanwhile"
    AlreadyDecided "already_decided" 409 "Already decided"
    FactsChanged "facts_changed" 409 "The facts have changed"
    TaskClosed "task_closed" 409 "The task is closed"
    RequestExpired "request_expired" 410 "The request has ended unanswered"
    AlreadyDelivered "already_delivered" 410 "Already delivered, and not kept"
    TooLarge "too_large" 413 "Too large"
    UnsupportedMediaType "unsupported_media_type" 415 "Unsupported media type"
    WrongHost "wrong_host" 421 "Not this host"
    RateLimited "rate_limited" 429 "Too many asks"
    TooManyOpen "too_many_open" 429 "Too many open requests"
    HeadersTooLarge "headers_too_large" 431 "The head is too large"
    Internal "internal" 500 "A fault on our side"
    Unavailable "unavailable" 503 "The broker cannot grant now"
}

impl Code {
    /// Whether the very same ask may succeed later. Only what is no decision at all (UX.md §4).
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Problem};

    #[test]
    fn every_code_is_spelt_once_and_reads_back() {
        for code in Code::ALL {
            let json = format!("\"{}\"", code.as_str());
            assert_eq!(serde_json::to_string(code).unwrap(), json);
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
            assert!((400..=599).contains(&code.status()));
        }
    }

    #[test]
    fn is_rfc_9457_with_our_members() {
        let problem = Problem::new(
            Code::Unavailable,
            "the broker cannot grant now; not your doing",
        );
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"/problems/unavailable","status":503,"code":"unavailable","title":"The broker cannot grant now","detail":"the broker cannot grant now; not your doing","decision":null,"request":null,"retryable":true,"retry_after_s":null,"next_action":null}"#
        );
    }

    #[test]
    fn an_unreadable_receipt_does_not_lose_the_problem() {
        let json = r#"{"type":"/problems/denied","status":403,"code":"denied","title":"t","detail":"d","retryable":false,"decision_receipt":[1]}"#;
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!((problem.code, problem.receipt()), (Code::Denied, None));
    }
}
