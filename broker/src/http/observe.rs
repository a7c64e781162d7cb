//! Around every door: the bound on an answer's time, the trail of the request, the id a failure is quoted by.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use stint_wire::{Code, Problem};

use super::peer::Peer;
use super::problem::Failure;
use super::requests;
use crate::issue::Broker;
use crate::telemetry::trace_context::TraceId;
use crate::telemetry::trail::{Came, Counted, Trail};

/// How a door is watched.
#[derive(Clone, Debug)]
struct Watch {
    counted: Counted,
    /// How long an answer may take; none on the operators' doors, where an export takes as long as it takes.
    limit: Option<Duration>,
}

/// Writes the one event of each request, counts it, and bounds its time if `limit` says so.
pub(crate) fn observed(router: Router, broker: &Broker, limit: Option<Duration>) -> Router {
    let counted = Counted {
        metrics: Arc::clone(&broker.metrics),
        noise: Arc::clone(&broker.noise),
    };
    router.layer(middleware::from_fn_with_state(
        Watch { counted, limit },
        observe,
    ))
}

async fn observe(State(watch): State<Watch>, request: Request, next: Next) -> Response {
    let came = came(&request);
    let waits = WAITS.contains(&&*came.route);
    let limit = watch.limit.map(|limit| match waits {
        true => limit.saturating_add(requests::LONGEST),
        false => limit,
    });
    let trail = Trail::begin(came, watch.counted);
    let answer = async {
        match limit {
            None => next.run(request).await,
            Some(limit) => match tokio::time::timeout(limit, next.run(request)).await {
                Ok(response) => response,
                Err(_) => late(),
            },
        }
    };
    let mut response = trail.serve(answer).await;
    trail.answered(response.status().as_u16());
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && let Ok(id) = HeaderValue::from_str(trail.id()) {
        response.headers_mut().insert(ID, id);
    }
    response
}

fn late() -> Response {
    let detail = "no answer in time; what was begun goes on, and is recorded";
    Failure::from(Problem::new(Code::Unavailable, detail)).into_response()
}

fn came(request: &Request) -> Came {
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str);
    let peer = request.extensions().get::<Peer>();
    Came {
        method: word(request.method()),
        route: route.into(),
        peer: peer.map(|peer| peer.address),
        trace: trace(request.headers()),
        quiet: PROBES.contains(&route),
    }
}

/// The methods of RFC 9110; a stranger's own is `other`.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "CONNECT" => "CONNECT",
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        "TRACE" => "TRACE",
        _ => "other",
    }
}

/// The one `traceparent`; several are as good as none.
fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let mut values = headers.get_all("traceparent").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceId::parse(value.to_str().ok()?),
        _ => None,
    }
}

/// Asked every few seconds by machines.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Asked to wait, and for how long.
const WAITS: [&str; 1] = ["/v1/requests/{id}"];

/// What to quote: the same id is in the log, with the cause.
const ID: &str = "x-request-id";
