//! What operators and integrators see: metrics, events, readiness, OpenAPI, the route sweep.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod deploy;
mod events;
mod lies;
mod metrics;
mod openapi;
mod sweep;
mod uniform;
