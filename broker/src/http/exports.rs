//! `GET /v1/ledger/bundle` on the operator socket: a range as a bundle or as rows, or one entry with its proof.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use stint_audit::kind::KINDS;
use stint_wire::{Code, Problem};
use tokio_util::io::ReaderStream;

use super::peer::Operator;
use super::problem::Failure;
use super::tiles::failure;
use crate::export::{Place, Rows, Wanted};
use crate::ledger::{ExportError, TileError};
use crate::serve::App;
use crate::sinks::format::{CSV_HEAD, Format};

/// `from` and `to` (a seq or a time), `kinds`, `since`, `open`, `format`; or `id` alone. Every export is an entry first.
pub(super) async fn bundle(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let mut words = words(query.as_deref().unwrap_or_default())?;
    let (broker, uid) = (Arc::clone(&app.broker), operator.uid);
    let origin = broker.ledger.origin().replace('/', "-");
    if let Some(id) = words.remove("id") {
        nothing_else(&words)?;
        let proved = app.detached(async move { broker.prove(uid, &id).await });
        let (id, file) = proved.await?.map_err(told)?;
        return Ok(zip(file, &id));
    }
    let format = words.remove("format").unwrap_or_default();
    let wanted = wanted(&mut words)?;
    nothing_else(&words)?;
    if let Some((format, kind, end)) = rows_as(&format)? {
        let rows = app.detached(async move { broker.rows(uid, wanted, (format, end)).await });
        let rows = rows.await?.map_err(told)?;
        let name = format!("{origin}.{end}");
        return Ok((attached(kind, &name), pages(rows, format)).into_response());
    }
    let file = app.detached(async move { broker.export(uid, wanted).await });
    Ok(zip(file.await?.map_err(told)?, &origin))
}

fn zip(file: std::fs::File, name: &str) -> Response {
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    let headers = attached("application/zip", &format!("{name}.stint"));
    (headers, Body::from_stream(stream)).into_response()
}

fn attached(kind: &str, name: &str) -> [(axum::http::HeaderName, String); 2] {
    let name = format!("attachment; filename=\"{name}\"");
    [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, name)]
}

/// The rows as they are read. What cannot be read ends the answer in its middle, and whoever asked keeps none of it.
fn pages(rows: Rows, format: Format) -> Body {
    let head = match format {
        Format::Csv => Some(Bytes::from(format!("{CSV_HEAD}\n"))),
        Format::CloudEvents | Format::Jsonl | Format::Ocsf => None,
    };
    let pages = futures_util::stream::unfold((head, rows), |(head, mut rows)| async move {
        if let Some(head) = head {
            return Some((Ok(head), (None, rows)));
        }
        let page = rows.page().await.transpose()?;
        Some((page.map(Bytes::from), (None, rows)))
    });
    Body::from_stream(pages)
}

/// The format of rows, its media type, and how a file of it is called; none for a bundle.
fn rows_as(word: &str) -> Result<Option<(Format, &'static str, &'static str)>, Failure> {
    Ok(match word {
        "" | "bundle" => None,
        "csv" => Some((Format::Csv, "text/csv; charset=utf-8", "csv")),
        "jsonl" => Some((Format::Jsonl, "application/x-ndjson", "jsonl")),
        "ocsf" => Some((Format::Ocsf, "application/x-ndjson", "ocsf.jsonl")),
        _ => return Err(invalid("`format` is bundle, csv, jsonl or ocsf")),
    })
}

/// Parameters by name, each once at most.
fn words(query: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut words = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8();
        let value = value.map_err(|_bytes| invalid("a parameter is not UTF-8"))?;
        if words.insert(name.to_owned(), value.into_owned()).is_some() {
            return Err(invalid("say each parameter once"));
        }
    }
    Ok(words)
}

fn wanted(words: &mut BTreeMap<String, String>) -> Result<Wanted, Failure> {
    let mut place = |name| -> Result<Option<Place>, Failure> {
        words.remove(name).map(|text| parse(&text)).transpose()
    };
    let (from, to) = (place("from")?, place("to")?);
    let kinds = words.remove("kinds").map(|kinds| match kinds.as_str() {
        "none" => Ok(Default::default()),
        kinds => list(kinds, |kind| match KINDS.contains(&kind) {
            true => Ok(kind.to_owned()),
            false => Err(invalid("`kinds` are kinds of entries, or `none`")),
        }),
    });
    let since = words.remove("since").unwrap_or_default();
    let since = list::<_, Vec<u64>>(&since, |size| {
        size.parse()
            .map_err(|_number| invalid("`since` are sizes of checkpoints"))
    })?;
    if since.len() > MOST_SINCE {
        return Err(invalid("`since` are at most 64 sizes"));
    }
    let opened = words.remove("open").unwrap_or_default();
    let opened = list(&opened, |id| {
        match id.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(id.to_owned()),
            false => Err(invalid(
                "`open` are identities: spiffe://…, person:…, local:…",
            )),
        }
    })?;
    Ok(Wanted {
        from,
        to,
        kinds: kinds.transpose()?,
        since,
        opened,
    })
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error: T::Err| invalid(&error.to_string()))
}

/// Words with commas between them.
fn list<T, C: FromIterator<T>>(
    text: &str,
    item: impl Fn(&str) -> Result<T, Failure>,
) -> Result<C, Failure> {
    let items = text.split(',').filter(|word| !word.is_empty());
    items.map(item).collect()
}

fn nothing_else(words: &BTreeMap<String, String>) -> Result<(), Failure> {
    match words.keys().next() {
        None => Ok(()),
        Some(name) => Err(invalid(&format!("`{name}` is no parameter here"))),
    }
}

fn told(error: ExportError) -> Failure {
    match error {
        ExportError::Range { .. } => invalid(&error.to_string()),
        ExportError::Unknown(_) => Problem::new(Code::NotFound, error.to_string()).into(),
        ExportError::Tiles(error @ TileError::Pruned { .. }) => failure(error),
        ExportError::Ledger(_)
        | ExportError::Store(_)
        | ExportError::Tiles(_)
        | ExportError::Write(_) => Failure::operator(error.to_string()),
    }
}

fn invalid(detail: &str) -> Failure {
    Problem::new(Code::InvalidField, detail).into()
}

/// Checkpoints that one bundle is tied to.
const MOST_SINCE: usize = 64;
