//! The whole API on one screen. A handler translates: wire to domain, one call, and back.

pub mod extract;
mod facts;
pub(crate) mod grants;
mod health;
mod ledger;
pub mod listen;
pub mod peer;
pub(crate) mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::serve::App;

/// What strangers and callers reach.
pub fn public(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/grants", post(grants::issue))
        .route("/v1/decisions", post(grants::judge))
        .route("/v1/whoami", post(facts::who_am_i))
        .route("/v1/trust", get(facts::trust))
        .route("/v1/trust/bundle", get(facts::bundle))
        .route("/v1/policy", get(facts::policy))
        .route("/a/{request}", get(facts::votes_come_later))
        .route("/v1/ledger/checkpoint", get(ledger::checkpoint))
        .route("/oauth2/jwks", get(facts::jwks))
        .route("/.well-known/openid-configuration", get(facts::metadata))
        .route(
            "/.well-known/oauth-authorization-server",
            get(facts::metadata),
        )
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

/// What operators reach: the ops listener, and the socket of the same user.
pub fn ops(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(app)
}

/// What only the operator socket has besides.
pub fn socket(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/ledger/bundle", get(ledger::bundle))
        .route("/v1/policy/reload", post(health::reload))
        .with_state(Arc::clone(&app))
        .merge(ops(app))
}

/// Bodies of callers (SECURITY.md §4).
const MAX_BODY: usize = 64 * 1024;
