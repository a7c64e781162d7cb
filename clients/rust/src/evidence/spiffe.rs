//! The SPIFFE Workload API: a JWT-SVID for our audience, from the agent on this machine (SPIFFE Workload API §6.2.1).
//!
//! One unary call of two small messages does not need a gRPC stack: hyper speaks its HTTP/2, and the two fields we read
//! and write are spelt out here.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use stint_wire::Token;
use tokio::net::UnixStream;

use super::fetch::UNREADABLE;
use super::platform::Env;
use super::{Kind, Source, SourceError, file};

const PLATFORM: &str = "SPIFFE Workload API";
/// A local agent answers in milliseconds, or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Several SVIDs of the longest there are.
const MAX_ANSWER: usize = 256 * 1024;
/// gRPC's status for a workload that no registration entry matches.
const PERMISSION_DENIED: &str = "7";

/// The agent's socket.
#[derive(Debug, Clone)]
pub(super) struct Spiffe(PathBuf);

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("SPIFFE_ENDPOINT_SOCKET")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let remedy = "export SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/sockets/agent.sock".to_owned();
    let platform = PLATFORM;
    let endpoint = env.get("SPIFFE_ENDPOINT_SOCKET");
    let endpoint = endpoint.ok_or(SourceError::HalfSetUp { platform, remedy })?;
    // SPIFFE Workload Endpoint §4: `unix:` and an absolute path, with or without an empty authority.
    let path = endpoint.strip_prefix("unix:");
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path));
    match path.filter(|path| path.starts_with('/')) {
        Some(path) => Ok(Source(Kind::Spiffe(Spiffe(path.into())))),
        None => Err(failed(&format!(
            "SPIFFE_ENDPOINT_SOCKET is `{endpoint}`, not unix:///PATH"
        ))),
    }
}

impl Spiffe {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let called = tokio::time::timeout(TIMEOUT, self.call(audience)).await;
        let message = called.map_err(|_elapsed| failed("no answer within 10 s"))??;
        let svid = first_svid(&message).ok_or_else(|| failed(UNREADABLE))?;
        file::tidy(svid, "the agent's answer")
    }

    async fn call(&self, audience: &str) -> Result<Bytes, SourceError> {
        let socket = UnixStream::connect(&self.0).await;
        let socket = socket.map_err(|error| failed(&format!("{}: {error}", self.0.display())))?;
        let unreadable = |_: hyper::Error| failed(UNREADABLE);
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .map_err(unreadable)?;
        tokio::select! {
            answer = exchange(sender, audience) => answer,
            _ = connection => Err(failed("it closed the connection")),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{PLATFORM}, {}", self.0.display())
    }
}

fn failed(why: &str) -> SourceError {
    SourceError::NoAnswer {
        platform: PLATFORM,
        why: why.to_owned(),
    }
}

/// The message of a good answer.
async fn exchange(
    mut sender: SendRequest<Full<Bytes>>,
    audience: &str,
) -> Result<Bytes, SourceError> {
    let request = Request::post("http://localhost/SpiffeWorkloadAPI/FetchJWTSVID")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // SPIFFE Workload Endpoint §6.1: without it the agent must refuse.
        .header("workload.spiffe.io", "true")
        .body(Full::new(Bytes::from(framed(audience))))
        .map_err(|_http| failed("this audience cannot be asked for"))?;
    let answer = sender.send_request(request).await;
    let (head, body) = answer
        .map_err(|_hyper| failed(UNREADABLE))
        .map(Response::into_parts)?;
    judged(&head.headers)?;
    let body: Limited<Incoming> = Limited::new(body, MAX_ANSWER);
    let body = body.collect().await.map_err(|_body| failed(UNREADABLE))?;
    if let Some(trailers) = body.trailers() {
        judged(trailers)?;
    }
    Ok(body.to_bytes())
}

/// gRPC says how it went in the trailers, or in the head where nothing follows it.
fn judged(headers: &HeaderMap) -> Result<(), SourceError> {
    match headers.get("grpc-status").map(|status| status.to_str()) {
        None | Some(Ok("0")) => Ok(()),
        Some(Ok(PERMISSION_DENIED)) => Err(SourceError::HalfSetUp {
            platform: PLATFORM,
            remedy: "spire-server entry create -parentID AGENT_ID -spiffeID spiffe://DOMAIN/PATH -selector unix:uid:1000\n# with a selector that this process has".to_owned(),
        }),
        Some(status) => Err(failed(&format!("gRPC status {}", status.unwrap_or("?")))),
    }
}

/// `JWTSVIDRequest { repeated string audience = 1; }` in gRPC's frame: not compressed, four bytes of length.
fn framed(audience: &str) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = audience.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or_default());
    message.extend_from_slice(audience.as_bytes());
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), &message].concat()
}

/// `JWTSVIDResponse { repeated JWTSVID svids = 1; }`, `JWTSVID { string spiffe_id = 1; string svid = 2; }`: the first is
/// the workload's default identity.
fn first_svid(framed: &[u8]) -> Option<&str> {
    let (head, message) = framed.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let whole = head[0] == 0 && usize::try_from(length).is_ok_and(|length| length == message.len());
    let svid = whole.then(|| field(message, 1))??;
    std::str::from_utf8(field(svid, 2)?).ok()
}

/// The first length-delimited field of this number (protobuf wire type 2); other fields are passed over.
fn field(mut message: &[u8], number: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => drop(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                if tag >> 3 == number {
                    return Some(value);
                }
                message = rest;
            }
            _ => return None,
        }
    }
    None
}

/// At most ten bytes of seven bits, least first.
fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10_u32 {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{first_svid, framed};

    fn answer(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], length.as_slice(), message].concat()
    }

    #[test]
    fn asks_for_one_audience() {
        assert_eq!(framed("https://s"), b"\0\0\0\0\x0b\x0a\x09https://s");
        let long = framed(&"a".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn takes_the_first_svid_and_passes_over_what_it_does_not_know() {
        let one = b"\x0a\x0b\x18\x01\x0a\x03s:a\x12\x02x1";
        let two = b"\x0a\x0b\x18\x01\x0a\x03s:b\x12\x02x2";
        assert_eq!(
            first_svid(&answer(&[one.as_slice(), two].concat())),
            Some("x1")
        );
        assert_eq!(first_svid(&answer(one)), Some("x1"));
    }

    #[test]
    fn what_is_cut_or_no_message_is_nothing() {
        let whole = answer(b"\x0a\x09\x0a\x03s:a\x12\x02x1");
        for end in 0..whole.len() {
            assert_eq!(first_svid(&whole[..end]), None, "{end}");
        }
        for bad in [
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(),
            b"\x0a\x7f\x12",
            b"\x0b",
            b"\x0d\0\0\0\0",
        ] {
            assert_eq!(first_svid(&answer(bad)), None, "{bad:?}");
        }
    }
}
