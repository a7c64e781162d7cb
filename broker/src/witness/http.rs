//! The protocol of C2SP tlog-witness over HTTP: `add-checkpoint`, and the monitoring `checkpoint`. Its statuses are the
//! protocol's and its bodies plain text, so they are made here and not in `http/problem.rs`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use sqlx::sqlite::SqlitePool;
use stint_audit::witness::{AddCheckpoint, Refusal, SIZE_TYPE, origin_hash, size_text};

use super::keeper::{Door, Unanswered};
use super::{Logs, store};
use crate::http::peer::Peer;
use crate::limits::TooMany;
use crate::limits::peers::{PeerKey, PeerRate};

/// What the handlers share.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) logs: Logs,
    pub(super) door: Door,
    pub(super) readers: SqlitePool,
}

/// All routes. One prefix for submission and monitoring.
pub(super) fn router(served: Arc<Served>, rate: Arc<PeerRate>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin_hash}/checkpoint", get(checkpoint))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(rate, metered))
        .with_state(served)
}

/// A peer that asks too much waits.
async fn metered(State(rate): State<Arc<PeerRate>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    match rate.take(peer.map_or(PeerKey::LOCAL, PeerKey::of)) {
        Ok(()) => next.run(request).await,
        Err(TooMany(seconds)) => {
            let wait = [(RETRY_AFTER, seconds.to_string())];
            (
                wait,
                plain(StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            )
                .into_response()
        }
    }
}

/// `POST /add-checkpoint`.
async fn add_checkpoint(
    State(served): State<Arc<Served>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(body) = body else {
        return plain(StatusCode::BAD_REQUEST, "more than 64 KiB, or cut off");
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return plain(StatusCode::BAD_REQUEST, "not UTF-8");
    };
    let request: AddCheckpoint = match text.parse() {
        Ok(request) => request,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // Beyond what a column holds, and what any proof of 63 lines could be of.
    if request.checkpoint.size > i64::MAX.unsigned_abs() {
        return plain(StatusCode::BAD_REQUEST, "a size of 2^63 or more");
    }
    let Some(log) = served.logs.get(&origin_hash(&request.checkpoint.origin)) else {
        return plain(StatusCode::NOT_FOUND, "this log is not served");
    };
    match request.note.verify(&log.keys) {
        Ok(signers) if !signers.is_empty() => {}
        Ok(_) => return plain(StatusCode::FORBIDDEN, "no known key of the log signed it"),
        Err(error) => return plain(StatusCode::FORBIDDEN, &error.to_string()),
    }
    match served.door.submit(request, &log.keys).await {
        Ok(Ok(lines)) => plain_text(StatusCode::OK, lines),
        Ok(Err(refusal)) => refused(refusal),
        Err(error @ Unanswered::Full) => plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error @ Unanswered::Gone) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Old => plain(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Refusal::Stale(size) => {
            let kind = [(CONTENT_TYPE, SIZE_TYPE)];
            (StatusCode::CONFLICT, kind, size_text(size)).into_response()
        }
        Refusal::Inconsistent(why) => plain(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

/// `GET /HEX(SHA-256(origin))/checkpoint`: what is held, with the log's signatures and our cosignature.
async fn checkpoint(State(served): State<Arc<Served>>, Path(hash): Path<String>) -> Response {
    let Some(log) = served.logs.get(&hash) else {
        return plain(StatusCode::NOT_FOUND, "this log is not served");
    };
    match store::published(&served.readers, &log.origin).await {
        Ok(Some(row)) => plain_text(StatusCode::OK, format!("{}{}\n", row.note, row.cosignature)),
        Ok(None) => plain(StatusCode::NOT_FOUND, "nothing was cosigned of this log"),
        Err(error) => {
            tracing::error!(%error, "what is held cannot be read");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the database failed")
        }
    }
}

/// One line that says why.
fn plain(status: StatusCode, why: &str) -> Response {
    plain_text(status, format!("{why}\n"))
}

fn plain_text(status: StatusCode, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (status, headers, text).into_response()
}

/// 63 proof lines and 16 ML-DSA-44 signatures are 56 KiB.
const MAX_BODY: usize = 64 * 1024;
