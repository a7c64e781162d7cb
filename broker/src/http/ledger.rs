//! The log over HTTP: its signed head for anybody, bundles for the operator.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use stint_wire::{Code, Problem};
use tokio_util::io::ReaderStream;

use super::problem::Failure;
use crate::ledger::{ExportError, Range};
use crate::serve::App;

/// `GET /v1/ledger/checkpoint`: the newest signed note (C2SP tlog-tiles).
pub(super) async fn checkpoint(State(app): State<Arc<App>>) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (CACHE_CONTROL.as_str(), "no-cache"),
    ];
    (
        headers,
        app.broker.ledger.published().checkpoint.to_string(),
    )
        .into_response()
}

/// `GET /v1/ledger/bundle?from=SEQ&to=SEQ`: headers, bodies and proofs of a range, as one file.
/// The export is an entry itself.
pub(super) async fn bundle(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Failure> {
    let range = range(request.uri().query().unwrap_or_default())?;
    let file = app
        .broker
        .export(range)
        .await
        .map_err(|error| match error {
            ExportError::Range { .. } => Problem::new(Code::InvalidField, error.to_string()).into(),
            ExportError::Ledger(_) | ExportError::Store(_) | ExportError::Write(_) => {
                Failure::operator(error.to_string())
            }
        })?;
    let origin = app.broker.ledger.origin().replace('/', "-");
    let name = format!("attachment; filename=\"{origin}.stint\"");
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    Ok((headers, Body::from_stream(stream)).into_response())
}

fn range(query: &str) -> Result<Range, Failure> {
    let mut range = Range::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "from" => &mut range.from,
            "to" => &mut range.to,
            _ => return Err(Problem::new(Code::InvalidField, "say `from` and `to` alone").into()),
        };
        let Ok(number) = value.parse() else {
            let detail = format!("`{name}` is the number of an entry");
            return Err(Problem::new(Code::InvalidField, detail).into());
        };
        *place = Some(number);
    }
    Ok(range)
}
