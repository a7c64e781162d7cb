//! What a connection is told where no handler can: on the head it sent, or on what it does as a whole.

use stint_wire::{Code, NextKind, Problem};

use super::{Failure, next};
use crate::http::listen::HeadFault;

/// The whole answer to a head that is not let through; the connection closes after it.
pub(crate) fn head(fault: HeadFault) -> Vec<u8> {
    let (problem, reason) = match fault {
        HeadFault::Late => (
            Problem::new(
                Code::RequestTimeout,
                "the request's head did not arrive in time",
            ),
            "Request Timeout",
        ),
        HeadFault::Malformed => (
            Problem::new(Code::Malformed, "the request's head has no one meaning"),
            "Bad Request",
        ),
        HeadFault::TooLarge => (too_many_headers(), "Request Header Fields Too Large"),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        problem.status,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

fn too_many_headers() -> Problem {
    Problem::new(
        Code::HeadersTooLarge,
        "a request's head is at most 16 KiB and 64 fields",
    )
}

/// More fields than a head may have, where HTTP/2 let them through.
pub(crate) fn headers() -> Failure {
    too_many_headers().into()
}

/// A body that did not arrive in time.
pub(crate) fn body() -> Failure {
    Problem::new(
        Code::RequestTimeout,
        "the request's body did not arrive in time",
    )
    .into()
}

/// A host that is not ours, or none, or more than one.
pub(crate) fn host() -> Failure {
    Problem::new(
        Code::WrongHost,
        "this listener does not answer under that host",
    )
    .into()
}

/// What a trusted proxy says of its client cannot be read.
pub(crate) fn forwarded() -> Failure {
    Problem::new(
        Code::Malformed,
        "the proxy's word on its client cannot be read",
    )
    .into()
}

/// Too much evidence that does not hold came from there.
pub(crate) fn failed_too_often(seconds: u32) -> Failure {
    let detail = format!("too much evidence that does not hold; more is looked at in {seconds} s");
    let mut problem = Problem::new(Code::RateLimited, detail);
    problem.retry_after_s = Some(seconds);
    problem.next_action = Some(next(NextKind::Retry));
    problem.into()
}
