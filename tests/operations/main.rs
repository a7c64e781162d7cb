//! What operators and integrators see: metrics, events, readiness, OpenAPI, the route sweep.
