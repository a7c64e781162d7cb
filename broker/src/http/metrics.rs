//! `GET /metrics`: OpenMetrics text, on the operators' doors alone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::health;
use super::problem::Failure;
use crate::serve::App;
use crate::telemetry;

/// Reads what is read at a scrape, all of it from memory but for one count over an index, and says everything.
pub(super) async fn scrape(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let broker = &app.broker;
    let (metrics, now) = (&broker.metrics, broker.clock.now());
    let levels = &metrics.levels;
    match broker.store.pending_requests().await {
        Ok(pending) => drop(levels.requests_pending.set(pending)),
        // The last known number stays; `stint_ready` says what is wrong with the store.
        Err(error) => tracing::warn!(%error, "pending requests cannot be counted"),
    }
    let (entries, queue) = (broker.ledger.published().size, broker.ledger.waiting());
    levels
        .ledger_entries
        .set(i64::try_from(entries).unwrap_or(i64::MAX));
    levels
        .ledger_queue
        .set(i64::try_from(queue).unwrap_or(i64::MAX));
    if let Some(age) = metrics.checkpoint_age(now) {
        levels.checkpoint_age(age);
    }
    if let Some(age) = metrics.scrub_age(now) {
        levels.scrub_age(age);
    }
    if let Some(since) = broker.ledger.seen().since {
        let age = now.as_millis().saturating_sub(since.as_millis()).max(0);
        levels
            .witness_quorum_age(std::time::Duration::from_millis(age.unsigned_abs()).as_secs_f64());
    }
    for issuer in broker.roster.health(now) {
        if let Some(age) = issuer.age_s {
            levels.keys_age(&issuer.issuer, age);
        }
    }
    for sink in app.sinks.each() {
        levels.sink_lag(sink.name(), health::lag(&app, sink));
    }
    let frozen = broker.ledger.frozen().targets().count();
    levels.frozen.set(i64::try_from(frozen).unwrap_or(i64::MAX));
    let (root, issuing) = broker.ca.not_after();
    levels.not_after("root", root);
    levels.not_after("issuing", issuing);
    for check in health::checks(&app) {
        let name = check.get("check").and_then(Value::as_str);
        let passes = check.get("ok").is_some_and(|ok| *ok == true);
        levels.ready(name.unwrap_or_default(), i64::from(passes));
    }
    metrics.counted_dropped_lines(telemetry::dropped_lines());
    let text = metrics
        .text()
        .map_err(|error| Failure::operator(error.to_string()))?;
    let headers = [(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")];
    Ok((headers, text).into_response())
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
