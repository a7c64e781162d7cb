//! The same refusals at the token endpoint: RFC 6749 §5.2 with the members of our problem documents (PROTOCOLS.md §2,
//! §3.1).
//!
//! What a failure means is decided once, in the parent; here it gets OAuth's word, its status and its alphabet.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use stint_wire::oauth::{Deferred, OAuthError, TokenRefused};
use stint_wire::{Code, Problem};

use super::{CHALLENGE, Failure};
use crate::authenticate::Refused as Evidence;
use crate::issue::{Denied, Error, Fault, Refusal};
use crate::telemetry::trail;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refused {
    error: OAuthError,
    problem: Box<Problem>,
    deferred: Option<Box<Deferred>>,
}

/// How the ask was spelt: it decides which of OAuth's words names what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `authorization_details`.
    Details,
    /// `scope` and a target.
    Scope,
}

impl Refused {
    /// What the form itself gets wrong: nobody was authenticated, nothing is recorded.
    pub(crate) fn form(error: OAuthError, detail: impl Into<String>) -> Self {
        Self::of(error, Problem::new(Code::InvalidField, detail))
    }

    /// A form that cannot be read at all.
    pub(crate) fn malformed(code: Code, detail: &str) -> Self {
        Self::of(OAuthError::InvalidRequest, Problem::new(code, detail))
    }

    /// A DPoP proof that does not hold: one sentence for every way to fail.
    pub(crate) fn dpop() -> Self {
        Self::boxed(OAuthError::InvalidDpopProof, Failure::dpop().problem)
    }

    /// No outcome.
    pub(crate) fn unanswered(error: Error) -> Self {
        let word = match &error {
            Error::AlreadyDelivered | Error::RequestEnded => OAuthError::InvalidGrant,
            Error::Conflict => OAuthError::InvalidRequest,
            Error::ProofReplayed => OAuthError::InvalidDpopProof,
            Error::Refused(Evidence::Evidence { .. }) | Error::Replayed => {
                OAuthError::InvalidRequest
            }
            Error::Busy(_)
            | Error::Refused(Evidence::Busy(_) | Evidence::Unavailable { .. })
            | Error::TooMany(_)
            | Error::TooManyOpen(_)
            | Error::Unavailable(_)
            | Error::Unprepared(_)
            | Error::Unsigned(_) => OAuthError::TemporarilyUnavailable,
        };
        Self::boxed(word, Failure::from(error).problem)
    }

    /// No outcome, where the evidence authenticates the client and is not what is exchanged.
    pub(crate) fn unproven(error: Error) -> Self {
        let of_evidence = matches!(
            &error,
            Error::Refused(Evidence::Evidence { .. }) | Error::Replayed
        );
        let refused = Self::unanswered(error);
        match of_evidence {
            true => refused.called(OAuthError::InvalidClient),
            false => refused,
        }
    }

    /// The same by another of OAuth's words.
    pub(crate) fn called(self, error: OAuthError) -> Self {
        Self { error, ..self }
    }

    /// What comes of a deferred answer.
    pub(crate) fn with(error: OAuthError, problem: Problem) -> Self {
        Self::of(error, problem)
    }

    /// With the handle on an answer that comes later.
    pub(crate) fn deferred(self, deferred: Deferred) -> Self {
        Self {
            deferred: Some(Box::new(deferred)),
            ..self
        }
    }

    /// The outcome is a no, and on record.
    pub(crate) fn denied(denied: Denied, spelling: Spelling) -> Self {
        let error = match &denied.why {
            Refusal::Approval { .. } | Refusal::Human { .. } | Refusal::Policy { .. } => {
                spelling.whole()
            }
            Refusal::Form(fault) => spelling.of(fault),
        };
        let asks_people = matches!(denied.why, Refusal::Approval { .. });
        let mut problem = Failure::from(denied).problem;
        if let Some(next) = problem.next_action.as_mut().filter(|_| asks_people) {
            // The approval drafts hide this; whoever is authenticated is told (PROTOCOLS.md §3.1).
            next.url = Some("/v1/grants".to_owned());
        }
        Self::boxed(error, problem)
    }

    /// A retry of an ask that waits for people since it came by the JSON API.
    pub(crate) fn held(request: String, spelling: Spelling) -> Self {
        let detail = "people have to approve it: see `POST /v1/grants`";
        let mut problem = Problem::new(Code::ApprovalNeeded, detail);
        problem.request = Some(request);
        Self::of(spelling.whole(), problem)
    }

    /// A header that cannot be read.
    pub(crate) fn header(failure: Failure) -> Self {
        Self::boxed(OAuthError::InvalidRequest, failure.problem)
    }

    fn of(error: OAuthError, problem: Problem) -> Self {
        Self::boxed(error, Box::new(problem))
    }

    fn boxed(error: OAuthError, problem: Box<Problem>) -> Self {
        Self {
            error,
            problem,
            deferred: None,
        }
    }

    fn status(&self) -> u16 {
        match (self.error, self.problem.code) {
            (OAuthError::InvalidClient, _) => 401,
            (OAuthError::ServerError, _) => 500,
            (OAuthError::TemporarilyUnavailable, _) | (_, Code::TooLarge) => self.problem.status,
            (
                OAuthError::AccessDenied
                | OAuthError::AuthorizationPending
                | OAuthError::ExpiredToken
                | OAuthError::InvalidAuthorizationDetails
                | OAuthError::InvalidDpopProof
                | OAuthError::InvalidGrant
                | OAuthError::InvalidRequest
                | OAuthError::InvalidScope
                | OAuthError::InvalidTarget
                | OAuthError::SlowDown
                | OAuthError::UnsupportedGrantType,
                _,
            ) => 400,
        }
    }
}

impl Spelling {
    fn whole(self) -> OAuthError {
        match self {
            Self::Details => OAuthError::InvalidAuthorizationDetails,
            Self::Scope => OAuthError::InvalidScope,
        }
    }

    fn resources(self) -> OAuthError {
        match self {
            Self::Details => OAuthError::InvalidAuthorizationDetails,
            Self::Scope => OAuthError::InvalidTarget,
        }
    }

    fn of(self, fault: &Fault) -> OAuthError {
        match fault {
            Fault::Action(_) | Fault::TaskRequired | Fault::TooLarge => self.whole(),
            Fault::Field { name, .. } => match *name {
                "audience" => OAuthError::InvalidTarget,
                "client_id" => OAuthError::InvalidClient,
                "credential" => OAuthError::InvalidRequest,
                "resources" => self.resources(),
                _ => self.whole(),
            },
            Fault::Key(_) | Fault::Unsupported(_) => OAuthError::InvalidRequest,
            Fault::ResourceType(_) => self.resources(),
            Fault::Disabled | Fault::TaskOver => OAuthError::InvalidGrant,
        }
    }
}

/// What a handler of JSON would answer, in OAuth's words: of a walk that panicked, or a store that cannot be read.
impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let error = match failure.problem.retryable {
            true => OAuthError::TemporarilyUnavailable,
            false => OAuthError::ServerError,
        };
        Self::boxed(error, failure.problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = *self.problem;
        let code = problem.code;
        trail::code(code.as_str());
        let retry = problem.retry_after_s;
        let body = TokenRefused {
            error: self.error,
            error_description: legible(&problem.detail),
            code: problem.code,
            decision: problem.decision,
            request: problem.request,
            retryable: problem.retryable,
            retry_after_s: retry,
            next_action: problem.next_action,
            decision_receipt: problem.decision_receipt,
            deferred: self.deferred.map(|deferred| *deferred),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(seconds) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// RFC 6749 §5.2: visible ASCII and space, without `"` and `\`.
fn legible(detail: &str) -> String {
    let letter = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    detail.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::legible;

    #[test]
    fn a_description_keeps_to_oauths_alphabet() {
        assert_eq!(
            legible("deploy Environment::\"prod\\web\" in Zürich\n"),
            "deploy Environment::'prod/web' in Z?rich?"
        );
    }
}
