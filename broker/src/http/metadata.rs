//! What verifiers and clients find by themselves: RFC 8414 and OIDC discovery, one document, and the keys (RFC 7517).
//! Only what is there is listed (PROTOCOLS.md §3.10).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use stint_wire::drafts::{
    DEFERRED_SUPPORTED, GRANT_TYPE_DEFERRED, REVOCABLE_TYPES, TOKEN_TYPE_DEFERRAL,
};
use stint_wire::oauth::{STINT_TASK, TOKEN_EXCHANGE};

use super::facts::public;
use crate::serve::App;

/// `GET /oauth2/jwks`: every key that signs.
pub(super) async fn jwks(State(app): State<Arc<App>>) -> Response {
    public(&app.broker.ca.jwks())
}

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
pub(super) async fn metadata(State(app): State<Arc<App>>) -> Response {
    let url = &app.broker.terms.url;
    public(&json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/oauth2/authorize"),
        "token_endpoint": format!("{url}/oauth2/token"),
        "jwks_uri": format!("{url}/oauth2/jwks"),
        "revocation_endpoint": format!("{url}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": ["none"],
        REVOCABLE_TYPES: [TOKEN_TYPE_DEFERRAL],
        DEFERRED_SUPPORTED: true,
        "grant_types_supported": [TOKEN_EXCHANGE, GRANT_TYPE_DEFERRED],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["none"],
        "id_token_signing_alg_values_supported": app.broker.ca.jwt_algorithms(),
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "authorization_details_types_supported": [STINT_TASK],
    }))
}
