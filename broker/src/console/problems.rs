//! What went wrong, as a page; and a page for each code a program may be told (UX.md §4).

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use stint_wire::{Code, Problem};

use super::layout::{self, Shell, Trouble};
use crate::http::problem;
use crate::serve::App;

#[derive(Template)]
#[template(path = "trouble.html")]
struct Told {
    shell: Shell,
    problem: Problem,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Explained {
    shell: Shell,
    code: Code,
    text: &'static Text,
    others: Vec<Code>,
}

/// What a code means to whoever reads it.
struct Text {
    what: &'static str,
    side: &'static str,
    next: &'static str,
}

/// `GET /problems/{code}`
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path(word): Path<String>,
) -> Result<Response, Trouble> {
    let known = Code::ALL.iter().find(|code| code.as_str() == word);
    let code = *known.ok_or_else(Trouble::not_found)?;
    let shell = Shell::new(&app, None, code.title());
    let shell = shell.same(
        "stint help exit-codes",
        format!("GET /problems/{}", code.as_str()),
    );
    let same_status = |other: &&Code| other.status() == code.status() && **other != code;
    layout::page(&Explained {
        shell,
        code,
        text: text(code),
        others: Code::ALL.iter().filter(same_status).copied().collect(),
    })
}

/// A refusal as a page.
pub(super) fn show(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let shell = Shell::bare(None, &problem.title);
    let code = problem.code;
    let mut response = match layout::page_as(status, &Told { shell, problem }) {
        Ok(page) => page,
        Err(Trouble(problem)) => problem::Failure::from(*problem).into_response(),
    };
    response.extensions_mut().insert(code);
    response
}

/// Whatever is nowhere: a page for whoever reads pages, a problem document for everybody else.
pub(crate) async fn not_found(request: Request) -> Response {
    let is_api = ["/v1/", "/oauth2/", "/.well-known/"]
        .iter()
        .any(|start| request.uri().path().starts_with(start));
    match !is_api && reads_pages(request.headers()) {
        true => Trouble::not_found().into_response(),
        false => problem::not_found().await.into_response(),
    }
}

fn reads_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    accept.is_some_and(|it| it.contains("text/html"))
}

/// What happened, whose side it is on, what to do next.
fn text(code: Code) -> &'static Text {
    macro_rules! told {
        ($what:literal, $side:literal, $next:literal) => {
            &Text {
                what: $what,
                side: $side,
                next: $next,
            }
        };
    }
    match code {
        Code::Malformed => told!(
            "The bytes of the request have no single meaning: broken JSON, an unknown or doubled member, or headers that contradict each other.",
            "The caller’s.",
            "Compare what was sent with the API description at /v1/openapi.json."
        ),
        Code::InvalidField => told!(
            "The request could be read, but one of its members has a value that is not allowed. The detail names it.",
            "The caller’s.",
            "Mend that member and send it again."
        ),
        Code::UnknownAction => told!(
            "The policies know no action of this name.",
            "The caller’s.",
            "See the catalogue for what can be asked."
        ),
        Code::UnknownResourceType => told!(
            "The policies know no resource of this type.",
            "The caller’s.",
            "See the catalogue for what can be asked."
        ),
        Code::UnsupportedCredential => told!(
            "This broker does not issue this kind of credential.",
            "The caller’s.",
            "Ask for x509 or jwt."
        ),
        Code::BadCsr => told!(
            "The certificate request, or the key in it, cannot be used: not strict DER, a signature that does not hold, or a kind of key that is not taken.",
            "The caller’s.",
            "Make a new key of P-256, P-384 or Ed25519 and a new request."
        ),
        Code::EvidenceRejected => told!(
            "The token or certificate that says who is asking was not accepted. The answer is the same whatever was wrong with it, so that nobody can probe.",
            "The caller’s.",
            "Run stint whoami beside the job: it judges the token it holds, check by check. An operator finds the reason under the request’s id."
        ),
        Code::TaskRequired => told!(
            "The evidence does not say for which unit of work it asks, and the request names none.",
            "The caller’s.",
            "Open a task with stint task open and name it with --task."
        ),
        Code::LoginRequired => told!(
            "Nobody said who is asking.",
            "The caller’s.",
            "Send evidence, or sign in."
        ),
        Code::InvalidDpopProof => told!(
            "The proof of possession does not hold for this very request: another method, another address, an old time, or it was used before.",
            "The caller’s.",
            "Make a fresh proof for each request, and check the clock."
        ),
        Code::ProofRequired => told!(
            "Policy wants a credential that is bound to a key, and the request proves none.",
            "The caller’s.",
            "Send a DPoP proof. The stint command always does."
        ),
        Code::StepUpRequired => told!(
            "This needs a login that is only minutes old.",
            "The reader’s.",
            "Sign in again, then do it within five minutes."
        ),
        Code::PasskeyRequired => told!(
            "A vote is signed by a passkey, and this person has none here.",
            "The reader’s.",
            "Add one on your own page, /me, and vote again."
        ),
        Code::Denied => told!(
            "Policy says no. Asking again does not help while the policies and the facts stay as they are.",
            "Nobody’s: it is a decision.",
            "The receipt names the closest policy, what held, what failed and whom to ask. Quote the decision’s id."
        ),
        Code::ApprovalNeeded => told!(
            "People have to approve this, and this door cannot wait for them.",
            "Nobody’s: it is a decision.",
            "Ask by stint run or POST /v1/grants, which wait."
        ),
        Code::DeniedByHuman => told!(
            "Somebody who may decide said no, and gave a reason.",
            "Nobody’s: it is a decision.",
            "Read the reason. The same ask gets the same answer for a while without waking anybody."
        ),
        Code::Frozen => told!(
            "An operator has stopped grants, for one issuer or for all.",
            "The operators’.",
            "Wait until it is lifted; the banner of every page says so."
        ),
        Code::CallerDisabled => told!(
            "An operator has disabled this caller.",
            "The operators’.",
            "Ask them; the entry in the ledger names the reason."
        ),
        Code::NotEligible => told!(
            "You may not vote on this request: you are not of the group that decides, or you had a part in it.",
            "The reader’s.",
            "The page of the request says which, and who can decide."
        ),
        Code::RoleRequired => told!(
            "This needs a role that you do not have. Roles come from the config and your groups; no screen grants one.",
            "The reader’s.",
            "Ask an operator which group carries the role."
        ),
        Code::NotFound => told!(
            "There is nothing under this name, or it is not yours to see. Both are answered alike.",
            "The reader’s.",
            "Check the id; any id works in full or by stint show."
        ),
        Code::RequestTimeout => told!(
            "The request did not arrive whole in time.",
            "The network’s, or the caller’s.",
            "Send it again."
        ),
        Code::IdempotencyConflict => told!(
            "The same idempotency key came with another ask before.",
            "The caller’s.",
            "Take a new key for a new ask."
        ),
        Code::StateConflict => told!(
            "Things moved on between looking and acting.",
            "Nobody’s.",
            "Look again, then decide."
        ),
        Code::AlreadyDecided => told!(
            "The request was decided meanwhile.",
            "Nobody’s.",
            "Its page says by whom."
        ),
        Code::FactsChanged => told!(
            "What would be signed is not what the request says now.",
            "Nobody’s.",
            "Load the page again and read it anew."
        ),
        Code::TaskClosed => told!(
            "The task has ended, and its grants with it.",
            "The caller’s.",
            "Open a new task."
        ),
        Code::RequestExpired => told!("Nobody decided in time.", "Nobody’s.", "Ask again."),
        Code::AlreadyDelivered => told!(
            "It was granted and delivered before. Tokens are not kept, so it cannot be given again.",
            "The caller’s.",
            "Ask anew."
        ),
        Code::TooLarge => told!(
            "The body is larger than this door takes.",
            "The caller’s.",
            "Ask for less at once."
        ),
        Code::UnsupportedMediaType => told!(
            "The body is not of the kind this door reads.",
            "The caller’s.",
            "Send Content-Type: application/json and no content encoding."
        ),
        Code::WrongHost => told!(
            "The broker does not answer under this host name.",
            "The caller’s, or the proxy’s.",
            "Use the address in STINT_URL exactly."
        ),
        Code::RateLimited => told!(
            "Too many asks in a short time.",
            "The caller’s.",
            "Wait as long as Retry-After says. The stint command does."
        ),
        Code::TooManyOpen => told!(
            "Too many requests of one initiator wait for people already.",
            "The caller’s.",
            "Cancel those that are no longer needed, or wait for an answer."
        ),
        Code::HeadersTooLarge => told!(
            "The head of the request is larger than 16 KiB, or has more than 64 fields.",
            "The caller’s.",
            "Send fewer or shorter headers."
        ),
        Code::Internal => told!(
            "A fault on our side.",
            "Ours.",
            "Give an operator the id: the same id is in the log, with the cause."
        ),
        Code::Unavailable => told!(
            "The broker cannot grant now.",
            "Ours.",
            "Try again in a moment; the banner of every page says what is wrong."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_in_whole_sentences() {
        for code in Code::ALL {
            let Text { what, side, next } = text(*code);
            for sentence in [what, side, next] {
                assert!(sentence.ends_with('.'), "{}: {sentence}", code.as_str());
            }
        }
    }
}
