//! In front of the doors that take evidence: whose is looked at at all, and what came of it.
//!
//! A door need not know of this: what it answers says whether the evidence held.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Extensions, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use stint_wire::Code;

use super::listen::Link;
use super::peer::{Forwarded, Peer};
use super::problem::connection;
use crate::limits::TooMany;
use crate::limits::evidence::FailedEvidence;
use crate::limits::peers::PeerKey;

/// `router`, whose POST routes and proofs take evidence, behind the limits on evidence that fails.
pub(crate) fn limited(router: Router, failed: Arc<FailedEvidence>) -> Router {
    router.layer(middleware::from_fn_with_state(failed, limit))
}

async fn limit(
    State(failed): State<Arc<FailedEvidence>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let takes_evidence =
        request.method() == Method::POST || LOOKS.iter().any(|look| path.starts_with(look));
    if !takes_evidence {
        return next.run(request).await;
    }
    let peer = peer_of(request.extensions());
    // A proxy's connection is nobody's own: there the client's address is all there is.
    let link = match request.extensions().get::<Forwarded>() {
        None => request.extensions().get::<Arc<Link>>().cloned(),
        Some(Forwarded) => None,
    };
    if let Some(link) = link
        .as_ref()
        .filter(|link| link.failures() >= PER_CONNECTION)
    {
        link.leave();
        return connection::failed_too_often(1).into_response();
    }
    let is_trusted = link.as_ref().is_some_and(|link| link.is_trusted());
    if let Err(TooMany(seconds)) = failed.look(peer)
        && !is_trusted
    {
        return connection::failed_too_often(seconds).into_response();
    }
    let response = next.run(request).await;
    match outcome(&response) {
        Outcome::Failed => {
            failed.charge(peer);
            if let Some(link) = link.filter(|link| link.failed() >= PER_CONNECTION) {
                link.leave();
            }
        }
        Outcome::Held => link.iter().for_each(|link| link.trust()),
        Outcome::Neither => {}
    }
    response
}

/// The peer of a request, as far as limits go.
pub(crate) fn peer_of(extensions: &Extensions) -> PeerKey {
    let peer = extensions.get::<Peer>();
    peer.map_or(PeerKey::LOCAL, |peer| PeerKey::of(peer.address))
}

enum Outcome {
    Failed,
    Held,
    Neither,
}

/// What an answer says of the evidence it is about. Every refusal carries its code as an extension.
fn outcome(response: &Response) -> Outcome {
    match response.extensions().get::<Code>() {
        Some(Code::EvidenceRejected | Code::InvalidDpopProof) => Outcome::Failed,
        Some(Code::Denied) => Outcome::Held,
        Some(_) => Outcome::Neither,
        None if response.status().is_success() => Outcome::Held,
        None => Outcome::Neither,
    }
}

/// The GETs that take evidence.
const LOOKS: [&str; 2] = ["/v1/ledger/proofs/", "/v1/requests"];

/// How often evidence may fail on one connection; then it closes (SECURITY.md §4).
const PER_CONNECTION: u32 = 10;
