//! The match from error to HTTP: RFC 9457 documents, one place, no default arm.
#![warn(clippy::wildcard_enum_match_arm)]

pub(crate) mod connection;
pub(crate) mod oauth;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use stint_wire::{Code, NextAction, NextKind, Problem};

use crate::authenticate::Refused;
use crate::issue::{Denied, Error, Fault, Refusal};
use crate::ledger;
use crate::limits::TooMany;
use crate::telemetry::trail;

/// A problem on its way out.
#[derive(Debug)]
pub struct Failure {
    problem: Box<Problem>,
    challenge: Option<&'static str>,
}

impl Failure {
    /// Nobody said who is asking.
    pub fn login(detail: &str) -> Self {
        let challenge = Some(CHALLENGE);
        let mut problem = Problem::new(Code::LoginRequired, detail);
        problem.next_action = Some(next(NextKind::Login));
        Self {
            problem: Box::new(problem),
            challenge,
        }
    }

    /// A DPoP proof that does not hold: one sentence for every way to fail.
    pub fn dpop() -> Self {
        trail::unproved();
        let problem = Problem::new(
            Code::InvalidDpopProof,
            "the DPoP proof does not hold for this request",
        );
        Self {
            problem: Box::new(problem),
            challenge: Some(DPOP_CHALLENGE),
        }
    }

    /// What it says, for those who say it otherwise.
    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }

    /// An inner fault outside the walk: it was logged where it happened.
    pub fn unavailable() -> Self {
        let mut problem = Problem::new(
            Code::Unavailable,
            "the broker cannot do it now; not your doing",
        );
        problem.retry_after_s = Some(RETRY_S);
        problem.next_action = Some(next(NextKind::Retry));
        problem.into()
    }

    /// A login that is not fresh enough; a fresh one begins at `url`.
    pub fn step_up(detail: &str, url: String) -> Self {
        let mut problem = Problem::new(Code::StepUpRequired, detail);
        problem.next_action = Some(NextAction {
            kind: NextKind::Login,
            command: None,
            url: Some(url),
        });
        Self {
            problem: Box::new(problem),
            challenge: Some(STEP_UP),
        }
    }

    /// An operator's action on the socket that did not succeed: the cause is theirs to read.
    pub fn operator(detail: String) -> Self {
        Problem::new(Code::StateConflict, detail).into()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            challenge: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy(_) | Error::Refused(Refused::Busy(_) | Refused::Unavailable { .. }) => {
                unavailable(&error)
            }
            Error::Refused(Refused::Evidence { .. }) | Error::Replayed => {
                let detail = "the evidence was not accepted; check its audience, issuer and age, \
                              and that it was not used before";
                Problem::new(Code::EvidenceRejected, detail).into()
            }
            Error::AlreadyDelivered => {
                let detail = "it was granted and delivered before, and is not kept: ask anew";
                Problem::new(Code::AlreadyDelivered, detail).into()
            }
            Error::Conflict => {
                let detail = "this `Idempotency-Key` came with another ask before: take a new one";
                Problem::new(Code::IdempotencyConflict, detail).into()
            }
            Error::TooManyOpen(_) => {
                let mut problem = Problem::new(Code::TooManyOpen, error.to_string());
                problem.next_action = Some(next(NextKind::Wait));
                problem.into()
            }
            Error::RequestEnded => {
                let detail = "the request of this ask has ended: ask anew";
                Problem::new(Code::RequestExpired, detail).into()
            }
            Error::ProofReplayed => Self::dpop(),
            Error::TooMany(TooMany(seconds)) => {
                let mut problem = Problem::new(Code::RateLimited, error.to_string());
                problem.retry_after_s = Some(seconds);
                problem.next_action = Some(next(NextKind::Retry));
                problem.into()
            }
            Error::Unavailable(_) | Error::Unprepared(_) | Error::Unsigned(_) => {
                unavailable(&error)
            }
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let (mut problem, receipt) = match denied.why {
            Refusal::Form(fault) => (Problem::new(code(&fault), fault.to_string()), None),
            Refusal::Approval { asked, receipt } => {
                let detail = format!("people have to approve it before this caller may {asked}");
                (Problem::new(Code::ApprovalNeeded, detail), Some(receipt))
            }
            Refusal::Policy {
                receipt,
                proof_required: true,
                ..
            } => {
                let detail = "policy wants a credential bound to a key: send a DPoP proof";
                (Problem::new(Code::ProofRequired, detail), Some(receipt))
            }
            Refusal::Human {
                asked,
                request,
                by,
                reason,
                receipt,
            } => {
                let detail = format!("{by} refused to let this caller {asked}: {reason}");
                let mut problem = Problem::new(Code::DeniedByHuman, detail);
                problem.request = Some(request);
                (problem, Some(receipt))
            }
            Refusal::Policy { asked, receipt, .. } => {
                let detail = format!("no policy lets this caller {asked}");
                (Problem::new(Code::Denied, detail), Some(receipt))
            }
        };
        problem.next_action = receipt
            .as_ref()
            .and_then(|receipt| serde_json::from_value(receipt.get("next_action")?.clone()).ok())
            .or(Some(next(NextKind::FixRequest)));
        problem.decision = Some(denied.decision);
        problem.decision_receipt = receipt;
        problem.into()
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let mut problem = Problem::new(code(&fault), fault.to_string());
        problem.next_action = Some(next(NextKind::FixRequest));
        problem.into()
    }
}

fn code(fault: &Fault) -> Code {
    match fault {
        Fault::Action(_) => Code::UnknownAction,
        Fault::Disabled => Code::CallerDisabled,
        Fault::Field { .. } => Code::InvalidField,
        Fault::Key(_) => Code::BadCsr,
        Fault::ResourceType(_) => Code::UnknownResourceType,
        Fault::TaskOver => Code::TaskClosed,
        Fault::TaskRequired => Code::TaskRequired,
        Fault::TooLarge => Code::InvalidField,
        Fault::Unsupported(_) => Code::UnsupportedCredential,
    }
}

/// What could not be recorded, of something that is no ask for a credential.
pub(crate) fn unrecorded(error: ledger::Error) -> Failure {
    unavailable(&Error::Unavailable(error))
}

/// Any inner fault looks the same to callers; operators find the cause under the id. What strangers
/// can bring about, or what a full queue says a thousand times a second, is not an alarm each time.
fn unavailable(error: &Error) -> Failure {
    let id = trail::id();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match error {
        Error::Busy(_) | Error::Refused(_) | Error::Unavailable(ledger::Error::Overloaded(_)) => {
            tracing::debug!(%error, cause, id, "an ask could not be answered");
        }
        Error::AlreadyDelivered
        | Error::Conflict
        | Error::ProofReplayed
        | Error::Replayed
        | Error::RequestEnded
        | Error::TooMany(_)
        | Error::TooManyOpen(_)
        | Error::Unavailable(_)
        | Error::Unprepared(_)
        | Error::Unsigned(_) => {
            tracing::error!(%error, cause, id, "an ask could not be answered");
        }
    }
    let detail = format!("the broker cannot grant now; not your doing ({id})");
    let mut problem = Problem::new(Code::Unavailable, detail);
    problem.retry_after_s = Some(RETRY_S);
    problem.next_action = Some(next(NextKind::Retry));
    problem.into()
}

fn next(kind: NextKind) -> NextAction {
    NextAction {
        kind,
        command: None,
        url: None,
    }
}

/// Not there, and not yours: the same 404.
pub(crate) async fn not_found() -> Failure {
    Problem::new(
        Code::NotFound,
        "there is nothing here under this name and method",
    )
    .into()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        trail::code(self.problem.code.as_str());
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(self.problem.code);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.problem.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

const CHALLENGE: &str = r#"DPoP algs="ES256 EdDSA", Bearer"#;
/// RFC 9470.
const STEP_UP: &str = r#"DPoP error="insufficient_user_authentication", algs="ES256 EdDSA""#;
const DPOP_CHALLENGE: &str = r#"DPoP error="invalid_dpop_proof", algs="ES256 EdDSA""#;

/// A commit takes milliseconds; a store that is down takes longer to come back.
const RETRY_S: u32 = 2;
