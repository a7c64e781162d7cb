//! What handlers take: extractors whose rejections are problem documents.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use stint_policy::Timestamp;
use stint_wire::{Code, Problem};

use super::evidence::peer_of;
use super::peer::Peer;
use super::problem::Failure;
use crate::authenticate::{Evidence, Proof, dpop};
use crate::config::Secret;
use crate::issue::{IdempotencyKey, Presented};
use crate::serve::App;
use crate::strict::{self, Limits};

/// A strict JSON body: no unknown member, no duplicate, nothing behind it.
#[derive(Debug)]
pub struct Strict<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Strict<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        if !is_json(request.headers()) {
            let detail = "send `Content-Type: application/json` and no content encoding";
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
        }
        let body = Bytes::from_request(request, app)
            .await
            .map_err(|rejection| {
                let detail = "the body is larger than 64 KiB";
                match rejection.status().as_u16() {
                    413 => Failure::from(Problem::new(Code::TooLarge, detail)),
                    _ => Problem::new(Code::Malformed, "the body did not arrive whole").into(),
                }
            })?;
        strict::read(&body, Limits::WIRE)
            .map(Self)
            .map_err(|error| {
                Problem::new(
                    Code::Malformed,
                    format!("the body is not the documented JSON: {error}"),
                )
                .into()
            })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") && !headers.contains_key("content-encoding")
}

/// The evidence of a request: one token, or without `Authorization` the client certificate of its connection. Beside
/// either a DPoP proof may come along; beside a token the connection's certificate proves its key too (RFC 8705).
#[derive(Debug)]
pub struct Bearer(pub Presented);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        // With both, the token is the evidence, and the certificate proves a key.
        let shown = match certificates(&parts.extensions) {
            Some(chain) if !parts.headers.contains_key(AUTHORIZATION) => Shown::Certificates(chain),
            _ => Shown::Token(bearer(&parts.headers)?),
        };
        let token = match shown {
            Shown::Certificates(_) => None,
            Shown::Token(token) => Some(token),
        };
        let url = format!("{}{}", app.broker.terms.url, parts.uri.path());
        let request = dpop::Request {
            method: parts.method.as_str(),
            url: &url,
            token,
        };
        let dpop = proof_for(&parts.headers, &request, app.broker.clock.now())
            .map_err(|dpop::InvalidProof| Failure::dpop())?;
        let proof = dpop.map(|dpop| dpop.proof);
        let evidence = match shown {
            Shown::Certificates(chain) => Evidence::certificate(Arc::clone(chain), proof),
            Shown::Token(token) => {
                let proof = proof.or_else(|| handshake(&parts.extensions));
                Evidence::token(Secret::new(token.to_owned()), proof)
            }
        };
        let once = None;
        Ok(Self(Presented {
            evidence: evidence.brought_by(peer_of(&parts.extensions)),
            dpop,
            once,
        }))
    }
}

/// What a request shows as evidence.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Certificates(&'a Arc<[CertificateDer<'static>]>),
    Token(&'a str),
}

/// The client certificates of the connection, if it has any, leaf first.
pub(super) fn certificates(extensions: &Extensions) -> Option<&Arc<[CertificateDer<'static>]>> {
    let peer = extensions.get::<Peer>()?;
    (!peer.certificates.is_empty()).then_some(&peer.certificates)
}

/// Whether the connection has a client certificate.
pub(super) fn certified(extensions: &Extensions) -> bool {
    certificates(extensions).is_some()
}

/// The key that the connection's handshake proved, if one did.
pub(super) fn handshake(extensions: &Extensions) -> Option<Proof> {
    Proof::of_handshake(certificates(extensions)?.first()?)
}

/// The `Idempotency-Key` of a request, if it has one (UX.md §4).
#[derive(Debug)]
pub struct Once(pub Option<IdempotencyKey>);

impl FromRequestParts<Arc<App>> for Once {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        once(&parts.headers).map(Self)
    }
}

/// The one `Idempotency-Key`.
///
/// # Errors
/// A 400 problem for several, or one that is not 1 to 255 characters of visible ASCII.
pub(super) fn once(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Failure> {
    let wrong = || {
        let detail = "`Idempotency-Key` is one header of 1 to 255 characters of visible ASCII";
        Failure::from(Problem::new(Code::InvalidField, detail))
    };
    match one(headers, &IDEMPOTENCY_KEY) {
        Err(()) => Err(wrong()),
        Ok(None) => Ok(None),
        Ok(Some(key)) => IdempotencyKey::parse(key).map(Some).ok_or_else(wrong),
    }
}

/// The one proof of a request, if one came along; it must be for this very request.
pub(super) fn proof_for(
    headers: &HeaderMap,
    request: &dpop::Request<'_>,
    now: Timestamp,
) -> Result<Option<dpop::Checked>, dpop::InvalidProof> {
    let proof = one(headers, &DPOP).map_err(|()| dpop::InvalidProof)?;
    proof
        .map(|proof| dpop::check(proof, request, now))
        .transpose()
}

/// The token of `Authorization: Bearer` or `DPoP`.
fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let none = "send the evidence as `Authorization: Bearer TOKEN`";
    let Ok(Some(header)) = one(headers, &AUTHORIZATION) else {
        return Err(Failure::login(none));
    };
    match header.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop") =>
        {
            Ok(token.trim())
        }
        _ => Err(Failure::login(none)),
    }
}

/// The only header of this name; `Err` if there are several or one is no text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).or(Err(())),
        (Some(_), Some(_)) => Err(()),
    }
}

static DPOP: HeaderName = HeaderName::from_static("dpop");
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
