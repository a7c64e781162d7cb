//! Approval, through the front door: what people sign, what it makes of an ask, and everything that makes nothing of it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails on the spot"
)]

mod booth;
mod life;
mod refused;
mod separation;
mod shut_out;
mod votes;
