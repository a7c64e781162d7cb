//! The log as C2SP tlog-tiles: hashes for anybody, entries for the operator.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use stint_audit::tile::{self, Tile, WIDTH};
use stint_wire::{Code, Problem};

use super::peer::Operator;
use super::problem::{Failure, not_found};
use crate::ledger::{Finding, TileError};
use crate::serve::App;
use crate::sinks::format::{Format, Source};
use crate::upkeep::read::ReadError;

/// `GET /v1/ledger/tile/{L}/{N…}[.p/{W}]`: the hashes of a tile. A partial one is there if the ledger was published when
/// it was exactly that wide.
pub(super) async fn hashes(
    State(app): State<Arc<App>>,
    Path((level, place)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let level = level
        .parse::<u8>()
        .ok()
        .filter(|it| it.to_string() == level);
    let Some(tile) = level.and_then(|level| Tile::parse(level, &place)) else {
        return Ok(not_found().await.into_response());
    };
    match app.broker.ledger.tile(&tile).await.map_err(failure)? {
        Some(hashes) => Ok(kept(&tile, tile::hash_bytes(&hashes))),
        None => Ok(not_found().await.into_response()),
    }
}

/// `GET /v1/ledger/tile/entries/{N…}[.p/{W}]`: the headers under a tile of level 0, each behind its length.
pub(super) async fn entries(
    State(app): State<Arc<App>>,
    Path(place): Path<String>,
) -> Result<Response, Failure> {
    let Some(tile) = Tile::parse(0, &place) else {
        return Ok(not_found().await.into_response());
    };
    let found = app.broker.ledger.entries_of(&tile).await.map_err(failure)?;
    let Some(headers) = found else {
        return Ok(not_found().await.into_response());
    };
    let bundle = tile::entry_bytes(&headers);
    let bundle = bundle.map_err(|error| Failure::operator(error.to_string()))?;
    Ok(kept(&tile, bundle))
}

/// `GET /v1/ledger/entries?from=SEQ&to=SEQ`: headers, their exact bytes, one a line; at most [`PAGE`] of them.
pub(super) async fn headers(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let ledger = &app.broker.ledger;
    let size = ledger.published().size;
    let (from, to) = range(query.as_deref().unwrap_or_default())?;
    let (from, to) = (from.unwrap_or(ledger.floor()), to.unwrap_or(size));
    if from >= to || to > size {
        let detail = format!("entries {from} to {to} are no range of a ledger of {size} entries");
        return Err(Problem::new(Code::InvalidField, detail).into());
    }
    let headers = ledger
        .headers(from, to.min(from + PAGE))
        .await
        .map_err(failure)?;
    let mut lines = Vec::new();
    for header in headers {
        lines.extend_from_slice(&header);
        lines.push(b'\n');
    }
    Ok(([(CONTENT_TYPE, NDJSON), (CACHE_CONTROL, "no-store")], lines).into_response())
}

/// `GET /v1/ledger/entries/{seq}`: one entry with its body, as an event is. That it was read is an entry itself, made
/// before it leaves.
pub(super) async fn entry(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Path(seq): Path<String>,
) -> Result<Response, Failure> {
    let seq = seq.parse::<u64>().ok().filter(|it| it.to_string() == seq);
    let size = app.broker.ledger.published().size;
    let Some(seq) = seq.filter(|seq| *seq < size) else {
        return Ok(not_found().await.into_response());
    };
    let broker = Arc::clone(&app.broker);
    let reader = format!("local:{}", operator.uid);
    let read = app.detached(async move { broker.read_entry(seq, &reader).await });
    let (header, body) = read.await?.map_err(|error| match error {
        ReadError::Tile(error @ TileError::Pruned { .. }) => failure(error),
        error => Failure::operator(error.to_string()),
    })?;
    let source = Source {
        header: &header,
        body: body.as_deref(),
    };
    let event = Format::Jsonl.event(source);
    let mut line = event
        .map_err(|error| Failure::operator(error.to_string()))?
        .line;
    line.push(b'\n');
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, line).into_response())
}

/// `POST /v1/ledger/scrub`: reads the whole ledger, and says how it is.
pub(super) async fn scrub(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let broker = Arc::clone(&app.broker);
    let seen = app
        .detached(async move { broker.ledger.scrub().await })
        .await?;
    let seen = seen.map_err(|finding| match finding {
        Finding::Diverged(why) => Failure::operator(format!("the ledger is diverged: {why}")),
        Finding::Store(error) => Failure::operator(error.to_string()),
        Finding::Ledger(error) => Failure::operator(error.to_string()),
    })?;
    let view = stint_wire::Scrubbed {
        entries: seen.entries,
        bodies: seen.bodies,
        erased: seen.erased,
        mended: seen.mended,
    };
    Ok(super::grants::answer(axum::http::StatusCode::OK, &view))
}

/// A tile or bundle. A full one never changes; a partial one will be replaced by a wider one, and may go then.
pub(super) fn kept(tile: &Tile, bytes: Vec<u8>) -> Response {
    let cache = match tile.width {
        WIDTH => "public, max-age=31536000, immutable",
        _ => "public, max-age=300",
    };
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, cache),
    ];
    (headers, bytes).into_response()
}

/// What a caller reads of a proof that cannot be made: nothing but when to come again.
pub(super) fn failure(error: TileError) -> Failure {
    if let TileError::Pruned { .. } = error {
        return Problem::new(Code::NotFound, error.to_string()).into();
    }
    tracing::warn!(%error, "a tile or proof could not be made");
    let mut problem = Problem::new(Code::Unavailable, "the ledger cannot be read just now");
    problem.retry_after_s = Some(1);
    problem.into()
}

fn range(query: &str) -> Result<(Option<u64>, Option<u64>), Failure> {
    let mut range = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "from" => &mut range.0,
            "to" => &mut range.1,
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

const NDJSON: &str = "application/x-ndjson";
/// Headers of one answer; whoever wants more asks from where it ended.
const PAGE: u64 = 4_096;
