//! One epoch of the log by its number: an earlier one stays readable (LEDGER.md §9).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use stint_audit::tile::{self, Tile};
use tokio_util::io::ReaderStream;

use super::peer::Operator;
use super::problem::{Failure, not_found};
use super::tiles;
use crate::ledger::Ledger;
use crate::serve::App;

/// `GET /v1/ledger/{n}/checkpoint`.
pub(super) async fn checkpoint(
    State(app): State<Arc<App>>,
    Path(epoch): Path<String>,
) -> Result<Response, Failure> {
    let Some(ledger) = of(&app, &epoch).await? else {
        return Ok(not_found().await.into_response());
    };
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, ledger.published().checkpoint.to_string()).into_response())
}

/// `GET /v1/ledger/{n}/tile/{L}/{N…}[.p/{W}]`.
pub(super) async fn hashes(
    State(app): State<Arc<App>>,
    Path((epoch, level, place)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let level = level
        .parse::<u8>()
        .ok()
        .filter(|it| it.to_string() == level);
    let tile = level.and_then(|level| Tile::parse(level, &place));
    let (Some(ledger), Some(tile)) = (of(&app, &epoch).await?, tile) else {
        return Ok(not_found().await.into_response());
    };
    match ledger.tile(&tile).await.map_err(tiles::failure)? {
        Some(hashes) => Ok(tiles::kept(&tile, tile::hash_bytes(&hashes))),
        None => Ok(not_found().await.into_response()),
    }
}

/// `GET /v1/ledger/{n}/bundle`, on the operator socket: the whole of that log. The export is an entry of the present one.
pub(super) async fn bundle(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Path(epoch): Path<String>,
) -> Result<Response, Failure> {
    let Some(ledger) = of(&app, &epoch).await? else {
        return Ok(not_found().await.into_response());
    };
    let name = format!(
        "attachment; filename=\"{}.stint\"",
        ledger.origin().replace('/', "-")
    );
    let broker = Arc::clone(&app.broker);
    let made = app.detached(async move { broker.export_epoch(&ledger, operator.uid).await });
    let file = made
        .await?
        .map_err(|error| Failure::operator(error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    Ok((headers, Body::from_stream(stream)).into_response())
}

async fn of(app: &App, epoch: &str) -> Result<Option<Ledger>, Failure> {
    let Some(epoch) = epoch
        .parse::<u64>()
        .ok()
        .filter(|it| it.to_string() == epoch)
    else {
        return Ok(None);
    };
    let found = app.broker.ledger.of_epoch(epoch).await;
    found.map_err(|error| Failure::operator(error.to_string()))
}
