//! `stint login`: the page where somebody lets a terminal in, and the door where it gets its session.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stint_wire as wire;
use stint_wire::{Code, Problem, Token};

use super::extract::{Strict, proof_for};
use super::grants::answer;
use super::login::{self, Query};
use super::peer::Peer;
use super::problem::Failure;
use super::routes::Routes;
use super::session::{Acting, SignedIn};
use crate::authenticate::dpop;
use crate::console::layout::{self, Shell, Trouble};
use crate::people::{LoginError, Whence};
use crate::serve::App;
use crate::telemetry::trail;

/// What terminals and the page say to the API.
pub(super) fn routes() -> Routes {
    Routes::default()
        .post("/v1/cli/codes", code)
        .post("/v1/sessions", open)
        .post("/v1/sessions/end", end)
}

/// The page.
pub(crate) fn pages() -> Routes {
    Routes::default().get("/cli/authorize", page)
}

#[derive(Template)]
#[template(path = "terminal.html")]
struct Page {
    shell: Shell,
    name: String,
    port: u16,
    challenge: String,
    key: String,
    state: String,
}

/// `GET /cli/authorize?port=&challenge=&key=&state=`: a terminal on this machine asks to be let in.
async fn page(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    request: Request,
) -> Result<Response, Trouble> {
    let query = Query::of(&request);
    let one = |name: &str| query.one(name).unwrap_or_default();
    let port = one("port").parse().unwrap_or(0);
    let wanted = wire::LetIn {
        port,
        challenge: one("challenge"),
        key: one("key"),
        state: query.one("state"),
    };
    judge(&wanted)?;
    layout::page(&Page {
        shell: Shell::new(&app, Some(&visitor), "Let a terminal in"),
        name: visitor.name,
        port,
        challenge: wanted.challenge,
        key: wanted.key,
        state: wanted.state.unwrap_or_default(),
    })
}

/// Whoever is signed in said yes.
async fn code(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    headers: HeaderMap,
    Strict(body): Strict<wire::LetIn>,
) -> Result<Response, Failure> {
    judge(&body)?;
    let people = app
        .broker
        .people
        .as_ref()
        .ok_or_else(Failure::unavailable)?;
    // A terminal lets no other one in.
    if headers.contains_key(AUTHORIZATION) {
        let detail = "a terminal is let in by somebody at a browser";
        return Err(Problem::new(Code::NotEligible, detail).into());
    }
    let bound = (body.challenge.as_str(), body.key.as_str());
    let code = people.code(&visitor, bound, app.broker.clock.now());
    let code = code.ok_or_else(Failure::unavailable)?;
    let state = body.state.map_or_else(String::new, |state| {
        format!("&state={}", utf8_percent_encode(&state, NON_ALPHANUMERIC))
    });
    let redirect = format!("http://127.0.0.1:{}/?code={code}{state}", body.port);
    Ok(answer(StatusCode::CREATED, &wire::GoTo { redirect }))
}

/// The terminal redeems its code. Every way not to is one answer.
async fn open(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let whence = Whence {
        peer: request.extensions().get::<Peer>().map(|peer| peer.address),
        agent: login::agent(request.headers()),
        had: None,
    };
    let proof = proved(request.headers(), &app)?;
    let Strict(body) =
        <Strict<wire::OpenSession> as axum::extract::FromRequest<Arc<App>>>::from_request(
            request, &app,
        )
        .await?;
    let broker = Arc::clone(&app.broker);
    let opening = app.detached(async move {
        broker
            .let_in((&body.code, &body.verifier), &proof, whence)
            .await
    });
    match opening.await? {
        Ok(opened) => {
            let view = wire::SessionOpened {
                token: Token::new(opened.secret),
                token_type: "DPoP".to_owned(),
                expires_at: opened.ends.rfc3339(),
                person: opened.visitor.id.to_string(),
                name: opened.visitor.name,
            };
            Ok(answer(StatusCode::CREATED, &view))
        }
        Err(error @ LoginError::Away(_)) => {
            tracing::warn!(%error, id = trail::id(), "no terminal can be let in");
            Err(Failure::unavailable())
        }
        Err(error) => {
            tracing::info!(%error, id = trail::id(), "a terminal was not let in");
            let detail = "the code does not count here: it counts once, for two minutes, with the key it was made for";
            Err(Problem::new(Code::EvidenceRejected, detail).into())
        }
    }
}

/// `stint logout`: the session that asks is over.
async fn end(State(app): State<Arc<App>>, Acting(visitor): Acting) -> Result<Response, Failure> {
    login::end(&app, &visitor, &visitor.session).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The terminal's key.
fn proved(headers: &HeaderMap, app: &App) -> Result<dpop::Checked, Failure> {
    let url = format!("{}/v1/sessions", app.broker.terms.url);
    let request = dpop::Request {
        method: "POST",
        url: &url,
        token: None,
    };
    let proof = proof_for(headers, &request, app.broker.clock.now());
    proof.ok().flatten().ok_or_else(Failure::dpop)
}

/// Whether a terminal asked for what one may.
fn judge(wanted: &wire::LetIn) -> Result<(), Failure> {
    let hash = |text: &str| {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
        bytes.is_ok_and(|bytes| bytes.len() == 32)
    };
    let state = wanted.state.as_deref().unwrap_or_default();
    let plain = state.len() <= 256 && state.bytes().all(|byte| byte.is_ascii_graphic());
    match wanted.port >= 1024 && hash(&wanted.challenge) && hash(&wanted.key) && plain {
        true => Ok(()),
        false => {
            let detail = "this is no address that `stint login` opens: run it again";
            Err(Problem::new(Code::InvalidField, detail).into())
        }
    }
}
