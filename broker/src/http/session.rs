//! Who is signed in: the extractors of pages and of the API that people use.
//!
//! - [`SignedIn`] reads. Without a session a page goes to the login and the API answers 401.
//! - [`Acting`] changes something: besides, the request must come from our own page, as JSON.
//! - [`Maybe`] is for what strangers may see too.
//!
//! A browser shows a cookie. A terminal shows `Authorization: DPoP`, and proves the key its session is bound to.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use stint_audit::Digest;
use stint_wire::{Code, Problem};

use super::extract::proof_for;
use super::problem::Failure;
use crate::authenticate::dpop;
use crate::ledger::{Error as LedgerError, Lost};
use crate::people::{Freshness, TERMINAL, Visitor};
use crate::serve::App;
use crate::store::{Sort, SpentRow, Write};

/// Somebody who is signed in.
#[derive(Debug)]
pub(crate) struct SignedIn(pub(crate) Visitor);

/// Somebody who is signed in and changes something.
#[derive(Debug)]
pub(crate) struct Acting(pub(crate) Visitor);

/// Whoever it is.
#[derive(Debug)]
pub(crate) struct Maybe(pub(crate) Option<Visitor>);

impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        match visitor(parts, app).await {
            Ok(Some((visitor, _))) => Ok(Self(visitor)),
            Ok(None) => Err(sign_in_first(parts)),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

impl FromRequestParts<Arc<App>> for Acting {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let found = visitor(parts, app).await;
        let (visitor, by) = match found.map_err(IntoResponse::into_response)? {
            Some(found) => found,
            None => return Err(sign_in_first(parts)),
        };
        if by == By::Cookie {
            ours(&parts.headers, &app.broker.terms.url).map_err(IntoResponse::into_response)?;
        }
        Ok(Self(visitor))
    }
}

impl FromRequestParts<Arc<App>> for Maybe {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let found = visitor(parts, app).await;
        let found = found.map_err(IntoResponse::into_response)?;
        Ok(Self(found.map(|(visitor, _)| visitor)))
    }
}

/// What showed the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Cookie,
    Terminal,
}

async fn visitor(parts: &Parts, app: &Arc<App>) -> Result<Option<(Visitor, By)>, Failure> {
    let Some(people) = &app.broker.people else {
        return Ok(None);
    };
    let now = app.broker.clock.now();
    let (secret, by) = match terminal(&parts.headers) {
        Some(secret) => (secret, By::Terminal),
        None => match cookie(&parts.headers, people.cookies.session) {
            Some(secret) => (secret, By::Cookie),
            None => return Ok(None),
        },
    };
    let proof = match by {
        By::Cookie => None,
        By::Terminal => Some(proved(parts, app, secret)?),
    };
    let key = proof.map(|proof| Digest::from_bytes(proof.proof.thumbprint).to_string());
    let found = app.broker.visitor(secret, key.as_deref(), now).await;
    let found = found.map_err(|error| {
        tracing::error!(%error, "a session could not be read");
        Failure::unavailable()
    })?;
    if let (Some(proof), Some(visitor)) = (proof, &found) {
        spend(app, &proof, visitor).await?;
    }
    Ok(found.map(|visitor| (visitor, by)))
}

/// The key that a terminal's request proves.
fn proved(parts: &Parts, app: &App, secret: &str) -> Result<dpop::Checked, Failure> {
    let url = format!("{}{}", app.broker.terms.url, parts.uri.path());
    let request = dpop::Request {
        method: parts.method.as_str(),
        url: &url,
        token: Some(secret),
    };
    let proof = proof_for(&parts.headers, &request, app.broker.clock.now());
    proof.ok().flatten().ok_or_else(Failure::dpop)
}

/// A proof counts once.
pub(super) async fn spend(
    app: &App,
    proof: &dpop::Checked,
    visitor: &Visitor,
) -> Result<(), Failure> {
    let row = proof_row(proof, visitor.id.as_str());
    match app.broker.ledger.settle(vec![Write::Spend(row)]).await {
        Ok(()) => Ok(()),
        Err(LedgerError::Lost(Lost::Proof)) => Err(Failure::dpop()),
        Err(error) => {
            tracing::warn!(%error, "a proof could not be spent");
            Err(Failure::unavailable())
        }
    }
}

/// The row of a proof that is used up.
pub(super) fn proof_row(proof: &dpop::Checked, person: &str) -> SpentRow {
    SpentRow {
        sort: Sort::Proof,
        key: Digest::from_bytes(proof.key).to_string(),
        proof: None,
        task: String::new(),
        until: proof.until.as_millis(),
        same: String::new(),
        outcome: person.to_owned(),
    }
}

/// Whether a request comes with a session, good or not.
pub(super) fn shown(headers: &HeaderMap, app: &App) -> bool {
    let of_browser = |people: &crate::people::People| {
        cookie(headers, people.cookies.session).is_some() && !headers.contains_key(AUTHORIZATION)
    };
    terminal(headers).is_some() || app.broker.people.as_ref().is_some_and(of_browser)
}

/// The secret of a terminal's session: no evidence of any issuer begins like one.
fn terminal(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (one, None) = (all.next()?, all.next()) else {
        return None;
    };
    let (scheme, secret) = one.to_str().ok()?.split_once(' ')?;
    let is_ours = scheme.eq_ignore_ascii_case("dpop") && secret.starts_with(TERMINAL);
    is_ours.then_some(secret)
}

/// The one cookie of this name; of two twins none, for nobody knows which is ours.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok());
    let mut pairs = pairs
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name);
    match (pairs.next(), pairs.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// Whether a change comes from a page of ours: a browser says so, and no other page can make it say so.
fn ours(headers: &HeaderMap, url: &str) -> Result<(), Failure> {
    let is = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).iter();
        matches!((values.next(), values.next()), (Some(value), None) if value == wanted)
    };
    // Older browsers do not send the second; all send the first with a POST.
    let site = !headers.contains_key(SITE) || is(SITE, "same-origin");
    if !is(ORIGIN.as_str(), url) || !site {
        let detail = "a change comes from this broker's own pages, or from `stint`";
        return Err(Problem::new(Code::NotEligible, detail).into());
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let detail = "send `Content-Type: application/json`";
            Err(Problem::new(Code::UnsupportedMediaType, detail).into())
        }
    }
}

/// A page goes to the login and comes back; the API says what is missing.
fn sign_in_first(parts: &Parts) -> Response {
    if parts.uri.path().starts_with("/v1/") {
        return Failure::login("sign in first, with a browser or with `stint login`")
            .into_response();
    }
    let here = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    see(&login_at(here, Freshness::Any))
}

/// Where the login begins that ends at `return_to`.
pub(super) fn login_at(return_to: &str, fresh: Freshness) -> String {
    let path = utf8_percent_encode(return_to, IN_QUERY);
    let fresh = match fresh {
        Freshness::Any => "",
        Freshness::Fresh => "&fresh=1",
    };
    format!("/login?return_to={path}{fresh}")
}

/// 303: go there with a GET.
pub(super) fn see(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let value = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, value);
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert("cache-control", never);
    response
}

const SITE: &str = "sec-fetch-site";

/// What stands for itself in a query's value.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
