//! The whole API on one screen. A handler translates: wire to domain, one call, and back.

mod ballots;
mod epochs;
mod events;
pub(crate) mod evidence;
mod exports;
pub mod extract;
mod facts;
pub(crate) mod grants;
pub mod guard;
pub(crate) mod health;
mod ledger;
pub mod listen;
pub(crate) mod login;
mod me;
mod metadata;
mod metrics;
pub(crate) mod observe;
pub mod openapi;
pub(crate) mod operator;
pub mod peer;
pub(crate) mod problem;
mod proofs;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod session;
pub(crate) mod terminal;
mod tiles;
mod token;
mod upkeep;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;

use self::routes::Routes;
use crate::console;
use crate::serve::App;

/// What strangers and callers reach.
pub(crate) fn api() -> Routes {
    Routes::default()
        .get_and_post("/v1/grants", (console::lists::grants, grants::issue))
        .post("/v1/decisions", grants::judge)
        .post("/v1/whoami", facts::who_am_i)
        .get("/v1/trust", facts::trust)
        .get("/v1/trust/bundle", facts::bundle)
        .get("/v1/policy", facts::policy)
        .get("/v1/openapi.json", openapi::serve)
        .get("/v1/ledger/checkpoint", ledger::checkpoint)
        .get("/v1/ledger/proofs/{id}", proofs::own)
        .get("/v1/ledger/tile/{level}/{*place}", tiles::hashes)
        .get("/v1/ledger/{epoch}/checkpoint", epochs::checkpoint)
        .get("/v1/ledger/{epoch}/tile/{level}/{*place}", epochs::hashes)
        .get("/oauth2/authorize", token::authorize)
        .get("/oauth2/jwks", metadata::jwks)
        .post("/oauth2/token", token::token)
        .post("/oauth2/revoke", token::revoke)
        .get("/.well-known/openid-configuration", metadata::metadata)
        .get(
            "/.well-known/oauth-authorization-server",
            metadata::metadata,
        )
        .post("/v1/requests/{id}/ballot", ballots::ballot)
        .post("/v1/requests/{id}/votes", ballots::vote)
        .and(console::api())
        .and(me::routes())
        .and(requests::routes())
        .and(terminal::routes())
}

/// The API, and the same refusal for whatever is not of it.
pub fn public(app: Arc<App>) -> Router {
    api()
        .and(console::pages())
        .router()
        .fallback(console::not_found)
        .method_not_allowed_fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

/// What operators reach: the ops listener, and the socket of the same user.
pub(crate) fn ops_api() -> Routes {
    Routes::default()
        .get("/healthz", health::live)
        .get("/metrics", metrics::scrape)
        .get("/readyz", health::ready)
}

/// What only the operator socket has besides.
pub(crate) fn socket_api() -> Routes {
    Routes::default()
        .post("/v1/backup", upkeep::backup)
        .post("/v1/callers/disable", operator::disable)
        .post("/v1/callers/enable", operator::enable)
        .post("/v1/callers/reset-passkeys", operator::reset_passkeys)
        .post("/v1/freeze", operator::freeze)
        .post("/v1/issuers/accept", operator::accept)
        .post("/v1/ledger/erase", upkeep::erase)
        .post("/v1/ledger/prune", upkeep::prune)
        .get("/v1/ledger/bundle", exports::bundle)
        .get("/v1/ledger/checkpoint", ledger::checkpoint)
        .get("/v1/ledger/entries", tiles::headers)
        .get("/v1/ledger/entries/{seq}", tiles::entry)
        .get("/v1/ledger/events", events::follow)
        .get("/v1/ledger/proofs/{id}", proofs::any)
        .post("/v1/ledger/scrub", tiles::scrub)
        .get("/v1/ledger/tile/entries/{*place}", tiles::entries)
        .get("/v1/ledger/tile/{level}/{*place}", tiles::hashes)
        .get("/v1/ledger/{epoch}/bundle", epochs::bundle)
        .get("/v1/ledger/{epoch}/checkpoint", epochs::checkpoint)
        .get("/v1/ledger/{epoch}/tile/{level}/{*place}", epochs::hashes)
        .post("/v1/notify/test", operator::test_notice)
        .post("/v1/policy/reload", health::reload)
        .post("/v1/unfreeze", operator::unfreeze)
}

/// The ops listener.
pub fn ops(app: Arc<App>) -> Router {
    ops_api().router().with_state(app)
}

/// The operator socket.
pub fn socket(app: Arc<App>) -> Router {
    socket_api()
        .router()
        .with_state(Arc::clone(&app))
        .merge(ops(app))
}

/// Bodies of callers (SECURITY.md §4).
const MAX_BODY: usize = 64 * 1024;
