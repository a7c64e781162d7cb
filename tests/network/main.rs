//! The listener: TLS, limits, floods and drain.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod bodies;
mod connections;
mod drain;
mod floods;
mod heads;
mod hosts;
mod http2;
mod proxies;
mod tls;
mod wire;
