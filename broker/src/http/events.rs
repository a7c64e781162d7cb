//! `GET /v1/ledger/events` on the operator socket: entries as they are committed, as JSON lines without an end.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use stint_audit::kind::KINDS;
use stint_wire::{Code, Problem};
use tokio::sync::watch;

use super::listen::phase::Phase;
use super::peer::Operator;
use super::problem::Failure;
use super::tiles::failure;
use crate::serve::App;
use crate::sinks::Tail;
use crate::sinks::feed::{Disclosed, Feed};
use crate::sinks::format::Format;

/// What is wanted: `from=SEQ` and `bodies=KIND,…`.
#[derive(Debug, Default)]
struct Wanted {
    from: Option<u64>,
    bodies: Vec<String>,
}

/// The stream from entry `from` on, with a signed head at once and every minute. With bodies, that they are read is an
/// entry itself, made before the first of them leaves.
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Extension(phase): Extension<watch::Receiver<Phase>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Wanted { from, bodies } = wanted(query.as_deref().unwrap_or_default())?;
    let broker = &app.broker;
    let from = from.unwrap_or(broker.ledger.floor());
    broker.ledger.has(from, from + 1).map_err(failure)?;
    let size = broker.ledger.published().size;
    if from > size {
        let detail = format!("the ledger has {size} entries, there is none before {from}");
        return Err(Problem::new(Code::InvalidField, detail).into());
    }
    let bodies = Disclosed::new(bodies);
    if !bodies.is_empty() {
        let (broker, bodies) = (Arc::clone(broker), bodies.clone());
        let noted = async move { broker.disclosing(operator.uid, from, &bodies).await };
        let noted = app.detached(noted).await?;
        noted.map_err(|error| Failure::operator(error.to_string()))?;
    }
    let feed = Feed::new(&broker.store, &broker.ledger, (Format::Jsonl, bodies));
    let tail = Tail::new(feed, from, Arc::clone(&broker.clock), phase);
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(tail.body())).into_response())
}

fn wanted(query: &str) -> Result<Wanted, Failure> {
    let invalid = |detail: String| Failure::from(Problem::new(Code::InvalidField, detail));
    let mut wanted = Wanted::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("from", seq) => {
                let seq = seq.parse();
                let wrong = |_| invalid("`from` is the number of an entry".to_owned());
                wanted.from = Some(seq.map_err(wrong)?);
            }
            ("bodies", kinds) => {
                wanted.bodies = kinds.split(',').map(str::to_owned).collect();
                let known = |kind: &String| kind == "*" || KINDS.contains(&kind.as_str());
                if !wanted.bodies.iter().all(known) {
                    return Err(invalid("`bodies` are kinds of entries, or *".to_owned()));
                }
            }
            _ => return Err(invalid("say `from` and `bodies` alone".to_owned())),
        }
    }
    Ok(wanted)
}
