//! What the broker says about its reader and about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use stint_policy::Attributes;
use stint_wire as wire;

use super::extract::Bearer;
use super::grants::{answer, evenly};
use super::problem::Failure;
use crate::clock::Stopwatch;
use crate::issue::Error;
use crate::serve::App;
use crate::telemetry::trail;

/// `POST /v1/whoami`: the caller as the evidence makes it. Spends nothing.
pub(super) async fn who_am_i(
    State(app): State<Arc<App>>,
    Bearer(presented): Bearer,
) -> Result<Response, Failure> {
    let watch = Stopwatch::start();
    let now = app.broker.clock.now();
    let judging = app.broker.roster.authenticate(&presented.evidence, now);
    let caller = trail::authenticating(judging).await;
    let mut caller = evenly(watch, caller.map_err(Error::from)).await?;
    let policy = app.broker.policies.in_force();
    caller.adopt_owner(&policy);
    let principal = caller.principal();
    let admitted = app.broker.limits.dry_run(&principal.id, now);
    admitted.map_err(Error::from)?;
    let owner = principal.owner.clone();
    let owner = owner.or_else(|| policy.owner_of(&principal.id));
    let claims = &principal.claims;
    let platform = claims
        .platform
        .iter()
        .map(|(name, record)| (name.clone(), values(record)));
    let view = wire::WhoAmI {
        spiffe_id: principal.id.to_string(),
        kind: principal.kind.as_str().to_owned(),
        issuer: principal.issuer.clone(),
        preset: principal.preset.clone(),
        claims: wire::ClaimsView {
            origin: values(&claims.origin),
            platform: platform.collect(),
            extra: values(&claims.extra),
        },
        task: caller.task().map(|task| wire::TaskView {
            id: app.broker.tasks.id(&task.name).to_string(),
            name: task.name.clone(),
        }),
        owner,
        evidence: wire::EvidenceView {
            iat: caller.seen().issued.as_secs(),
            exp: caller.seen().expires.as_secs(),
        },
        time: now.rfc3339(),
    };
    Ok(answer(StatusCode::OK, &view))
}

fn values(record: &Attributes) -> BTreeMap<String, Value> {
    let members = record.iter();
    members
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect()
}

/// `GET /v1/trust`: what to pin, and what evidence must be made for.
pub(super) async fn trust(State(app): State<Arc<App>>) -> Response {
    let broker = &app.broker;
    let seconds = |life: stint_policy::Seconds| life.as_u32();
    let view = wire::Trust {
        url: broker.terms.url.clone(),
        trust_domain: broker.ca.trust_domain().to_owned(),
        audience: broker.terms.url.clone(),
        root_fingerprint: broker.ca.root_fingerprint(),
        root_pem: broker.ca.trust_bundle_pem().to_owned(),
        ledger: wire::LedgerTrust {
            origin: broker.ledger.origin().to_owned(),
            vkey: broker.ledger.vkey().to_owned(),
        },
        jwks_uri: format!("{}/oauth2/jwks", broker.terms.url),
        lifetimes: wire::Lifetimes {
            default_ttl_s: seconds(broker.terms.default_ttl),
            max_ttl_s: seconds(broker.terms.max_ttl),
            jwt_max_ttl_s: seconds(broker.terms.jwt_max_ttl),
        },
        arc: broker.ca.extension_oid(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    public(&view)
}

/// `GET /v1/trust/bundle`: the roots, PEM.
pub(super) async fn bundle(State(app): State<Arc<App>>) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), "application/x-pem-file"),
        (CACHE_CONTROL.as_str(), PUBLIC),
    ];
    (headers, app.broker.ca.trust_bundle_pem().to_owned()).into_response()
}

/// `GET /v1/policy`: which set decides.
pub(super) async fn policy(State(app): State<Arc<App>>) -> Response {
    let set = app.broker.policies.in_force();
    answer(
        StatusCode::OK,
        &json!({ "policy_version": set.hash().to_string(), "serial": set.serial() }),
    )
}

/// What anybody may keep for five minutes.
pub(super) fn public<T: serde::Serialize>(body: &T) -> Response {
    let mut response = answer(StatusCode::OK, body);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, axum::http::HeaderValue::from_static(PUBLIC));
    response
}

const PUBLIC: &str = "public, max-age=300";
