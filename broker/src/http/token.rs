//! `POST /oauth2/token`: the walk in the words of token exchange (RFC 8693), so that any OAuth client is a client of
//! ours (PROTOCOLS.md §3.1).
//!
//! It is the twin of `POST /v1/grants`: the same evidence and the same ask, so the same decision and the same bytes. It
//! never says who the caller is by anything but the subject token, and answers a Hold with a deferral code only to a
//! client that said that it takes one.

mod deferred;
mod exchange;
mod form;
mod parked;
mod revoke;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::PRAGMA;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use stint_ca::{Credential, Flavour};
use stint_policy::Binding;
use stint_wire::Token;
use stint_wire::oauth::{
    LedgerPlace, OAuthError, STINT_TASK, TOKEN_TYPE, TOKEN_TYPE_X509, TokenGranted, TokenType,
};

use super::evidence::peer_of;
use super::extract::{handshake, once, proof_for};
use super::grants::{answer, evenly, renewal};
use super::problem::oauth::Refused;
use crate::authenticate::{Evidence, dpop};
use crate::clock::Stopwatch;
use crate::ids::DecisionId;
use crate::issue::{Again, Broker, Granted, Outcome, Presented};
use crate::serve::App;

use exchange::{Exchange, GrantType};
use form::Form;
use parked::Parked;
pub(super) use revoke::revoke;

/// One exchange. The walk runs detached: a client that hangs up cuts nothing.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, extensions) = (request.headers().clone(), request.extensions().clone());
    let form = Form::of(request, &app).await?;
    // From when the evidence was read, however slowly it came (SECURITY.md §5).
    let watch = Stopwatch::start();
    match exchange::grant_type(&form)? {
        GrantType::Deferred => deferred::poll(&app, (&headers, &extensions), form, watch).await,
        GrantType::TokenExchange => exchanged(&app, (&headers, &extensions), form, watch).await,
    }
}

async fn exchanged(
    app: &Arc<App>,
    (headers, extensions): (&HeaderMap, &Extensions),
    form: Form,
    watch: Stopwatch,
) -> Result<Response, Refused> {
    let dpop = proof(headers, app)?;
    exchange::no_client_authentication(&form, headers)?;
    let Exchange {
        subject,
        ask,
        spelling,
        requested,
        receipt,
        deferred,
    } = Exchange::of(form)?;

    let proof = dpop
        .map(|dpop| dpop.proof)
        .or_else(|| handshake(extensions));
    let key = proof.map(|proof| proof.thumbprint);
    if deferred && key.is_none() {
        let detail = "a deferred answer is for the key that asked: send a DPoP proof";
        return Err(Refused::form(OAuthError::InvalidRequest, detail));
    }
    let evidence = Evidence::token(subject, proof).brought_by(peer_of(extensions));
    let presented = Presented {
        evidence,
        dpop,
        once: once(headers).map_err(Refused::header)?,
    };
    let parked = Parked {
        ask: ask.clone(),
        spelling,
        requested: requested.clone(),
        receipt,
    };
    let walk = Arc::clone(&app.broker);
    let outcome = app
        .detached(async move { walk.issue(&presented, &ask).await })
        .await?;
    let outcome = evenly(watch, outcome).await;
    let shown = Shown { requested, receipt };
    match outcome.map_err(Refused::unanswered)? {
        Outcome::Again(again) => Ok(given(&once_more(&app.broker, *again, &shown))),
        Outcome::Denied(denied) => Err(Refused::denied(denied, spelling)),
        Outcome::Granted(granted) => Ok(given(&view(&app.broker, *granted, &shown))),
        Outcome::Held(held) => match key.filter(|_| deferred) {
            Some(key) => deferred::open(app, held, (&parked, key)).await,
            // A retry of what came by the JSON API, or was to be deferred then.
            None => Err(Refused::held(held.request.id, spelling)),
        },
    }
}

/// `GET /oauth2/authorize`: verifiers insist on the member; there is no such flow.
pub(super) async fn authorize() -> Refused {
    let detail = "there is no authorization-code flow here: exchange a token at /oauth2/token";
    Refused::form(OAuthError::InvalidRequest, detail)
}

/// The proof beside the form: no token comes in a header, so there is none for it to name.
fn proof(headers: &HeaderMap, app: &App) -> Result<Option<dpop::Checked>, Refused> {
    proof_at(headers, app, "/oauth2/token")
}

fn proof_at(headers: &HeaderMap, app: &App, path: &str) -> Result<Option<dpop::Checked>, Refused> {
    let url = format!("{}{path}", app.broker.terms.url);
    let request = dpop::Request {
        method: "POST",
        url: &url,
        token: None,
    };
    let now = app.broker.clock.now();
    proof_for(headers, &request, now).map_err(|dpop::InvalidProof| Refused::dpop())
}

/// How the client wants the answer.
struct Shown {
    requested: Option<String>,
    receipt: bool,
}

/// 200 (RFC 8693 §2.2.1).
fn view(broker: &Broker, granted: Granted, shown: &Shown) -> TokenGranted {
    let Granted {
        credential,
        receipt,
        request: _,
    } = granted;
    let grant = credential.grant();
    let expires_in = life(broker, &credential);
    let (issued_token_type, token_type) = types(broker, &credential, shown.requested.as_deref());
    let proof = shown.receipt.then(|| receipt.proof_text());
    let view = TokenGranted {
        access_token: Token::new(String::new()),
        issued_token_type,
        token_type,
        expires_in,
        authorization_details: credential.authorization_details(expires_in),
        grant: grant.id().to_string(),
        task: grant.task_id().to_string(),
        decision: DecisionId::of(&grant.id().to_string()),
        ledger: place(receipt.seq(), receipt.leaf().to_string(), proof),
        shortened_by: grant.shortened_by().to_vec(),
        serial: None,
        spiffe_id: None,
        renew_after: None,
    };
    let renew = renewal(credential.not_before(), credential.not_after());
    match credential {
        Credential::Jwt { token, .. } => TokenGranted {
            access_token: Token::new(token),
            ..view
        },
        Credential::X509 {
            certificate_pem,
            chain_pem,
            serial,
            spiffe_id,
            ..
        } => TokenGranted {
            access_token: Token::new(format!("{certificate_pem}{}", chain_pem.concat())),
            serial: Some(serial),
            spiffe_id: Some(spiffe_id.to_string()),
            renew_after: Some(renew.rfc3339()),
            ..view
        },
    }
}

/// 200, with the certificate as it was given before.
fn once_more(broker: &Broker, again: Again, shown: &Shown) -> TokenGranted {
    let (from, until) = again.life();
    let expires_in = (until.as_secs() - broker.clock.now().as_secs()).max(0);
    TokenGranted {
        access_token: Token::new(format!("{}{}", again.certificate, again.chain.concat())),
        issued_token_type: TOKEN_TYPE_X509.to_owned(),
        token_type: TokenType::NotApplicable,
        expires_in,
        authorization_details: serde_json::json!([{
            "type": STINT_TASK,
            "action": again.action,
            "resources": again.resources,
            "task": { "id": again.task_name },
            "ttl_s": expires_in,
        }]),
        decision: DecisionId::of(&again.grant),
        grant: again.grant,
        task: again.task,
        ledger: place(
            again.seq,
            again.leaf,
            shown.receipt.then_some(again.receipt),
        ),
        shortened_by: again.shortened_by,
        serial: Some(again.serial),
        spiffe_id: Some(again.spiffe_id),
        renew_after: Some(renewal(from, until).rfc3339()),
    }
}

/// The leaf's hash, or the whole receipt in its place.
fn place(seq: u64, leaf: String, receipt: Option<String>) -> LedgerPlace {
    LedgerPlace {
        seq,
        leaf: receipt.is_none().then_some(leaf),
        receipt,
    }
}

/// RFC 6749 §5.1 wants the older header too.
fn given(view: &TokenGranted) -> Response {
    let mut response = answer(StatusCode::OK, view);
    let headers = response.headers_mut();
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Of a token what it says itself; of a certificate, which begins before it was made, what is left.
fn life(broker: &Broker, credential: &Credential) -> i64 {
    let until = credential.not_after().as_secs();
    match credential {
        Credential::Jwt { not_before, .. } => until - not_before.as_secs(),
        Credential::X509 { .. } => until - broker.clock.now().as_secs(),
    }
}

fn types(broker: &Broker, credential: &Credential, requested: Option<&str>) -> (String, TokenType) {
    let urn = |word: &str| format!("{TOKEN_TYPE}{word}");
    let audience = match credential {
        Credential::Jwt { audience, .. } => audience,
        Credential::X509 { .. } => {
            return (TOKEN_TYPE_X509.to_owned(), TokenType::NotApplicable);
        }
    };
    let flavour = broker.ca.flavour_of(audience);
    let use_of = match (flavour, credential.grant().bind()) {
        // RFC 8705 §3: what is bound to a certificate is sent as a bearer token, over that certificate's TLS.
        (Flavour::AccessToken, Binding::Bearer | Binding::Mtls) => TokenType::Bearer,
        (Flavour::AccessToken, Binding::Dpop | Binding::Key) => TokenType::Dpop,
        (Flavour::Federation | Flavour::JwtSvid, _) => TokenType::NotApplicable,
    };
    let asked = requested.map(exchange::bare);
    match (flavour, asked) {
        (Flavour::AccessToken, None | Some("access_token")) => (urn("access_token"), use_of),
        (Flavour::AccessToken | Flavour::Federation | Flavour::JwtSvid, _) => (urn("jwt"), use_of),
    }
}
