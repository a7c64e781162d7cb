//! The log over HTTP: its signed head for anybody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::serve::App;

/// `GET /v1/ledger/checkpoint`: the newest note that a quorum of witnesses cosigned, or, without witnesses or while they
/// are silent, the newest (C2SP tlog-tiles).
pub(super) async fn checkpoint(State(app): State<Arc<App>>) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (CACHE_CONTROL.as_str(), "no-cache"),
    ];
    (
        headers,
        app.broker
            .ledger
            .shown(app.broker.clock.now())
            .checkpoint
            .to_string(),
    )
        .into_response()
}
