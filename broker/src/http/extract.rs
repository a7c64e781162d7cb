//! What handlers take: extractors whose rejections are problem documents.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;
use stint_wire::{Code, Problem};

use super::problem::Failure;
use crate::authenticate::{Evidence, dpop};
use crate::config::Secret;
use crate::issue::Presented;
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

/// The evidence of a request: one token, and a DPoP proof if one came along.
#[derive(Debug)]
pub struct Bearer(pub Presented);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let token = bearer(&parts.headers)?;
        let dpop = match one(&parts.headers, &DPOP) {
            Err(()) => return Err(Failure::dpop()),
            Ok(None) => None,
            Ok(Some(proof)) => {
                let url = format!("{}{}", app.broker.terms.url, parts.uri.path());
                let now = app.broker.clock.now();
                let request = dpop::Request {
                    method: parts.method.as_str(),
                    url: &url,
                    token: Some(token),
                };
                Some(
                    dpop::check(proof, &request, now)
                        .map_err(|dpop::InvalidProof| Failure::dpop())?,
                )
            }
        };
        let proof = dpop.map(|dpop| dpop.proof);
        let evidence = Evidence {
            token: Secret::new(token.to_owned()),
            proof,
        };
        Ok(Self(Presented { evidence, dpop }))
    }
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
