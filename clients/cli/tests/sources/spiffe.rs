//! The SPIFFE Workload API, played by another HTTP/2 stack's server side: its framing, its statuses, and a socket.

use std::convert::Infallible;
use std::path::Path;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

use crate::desk::Desk;
use crate::granted;

/// Answers every call on `socket` with `grpc-status` and, where it is 0, one SVID.
fn agent(socket: &Path, audience: &str, status: &'static str, svid: &str) {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (svid, expected) = (Bytes::from(message(svid)), Bytes::from(request(audience)));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = UnixListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = |asked| answer(asked, expected.clone(), status, svid.clone());
                let serving = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // The client goes as soon as it has its answer.
                drop(serving.await);
            }
        });
    });
}

async fn answer(
    asked: Request<Incoming>,
    expected: Bytes,
    status: &str,
    svid: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = asked.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let right = head.uri.path() == "/SpiffeWorkloadAPI/FetchJWTSVID"
        && header("content-type") == Some("application/grpc")
        && header("workload.spiffe.io") == Some("true")
        && body.collect().await.unwrap().to_bytes() == expected;
    // INVALID_ARGUMENT, as an agent has it for calls that it does not understand.
    let status = if right { status } else { "3" };
    let body = if status == "0" { svid } else { Bytes::new() };
    let answer = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status);
    Ok(answer.body(Full::new(body)).unwrap())
}

/// `JWTSVIDRequest` with one audience shorter than 128 bytes.
fn request(audience: &str) -> Vec<u8> {
    let length = u8::try_from(audience.len()).unwrap();
    framed(&[&[0x0a, length], audience.as_bytes()].concat())
}

/// `JWTSVIDResponse` with one SVID, by varints of two bytes: all of these are between 128 and 16383 long.
fn message(svid: &str) -> Vec<u8> {
    let field = |number: u8, value: &[u8]| {
        let length = value.len();
        let (low, high) = (
            u8::try_from(length & 0x7f | 0x80),
            u8::try_from(length >> 7),
        );
        [&[number << 3 | 2, low.unwrap(), high.unwrap()], value].concat()
    };
    let id = b"\x0a\x14spiffe://acme.dev/ci";
    framed(&field(
        1,
        &[id.as_slice(), &field(2, svid.as_bytes())].concat(),
    ))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

#[test]
fn asks_the_workload_api() {
    let desk = Desk::new();
    let socket = desk.path("agent.sock");
    agent(&socket, &desk.url, "0", &desk.token("github"));
    let endpoint = format!("unix://{}", socket.display());
    let from = format!("SPIFFE Workload API, {}", socket.display());
    granted(&desk, &[("SPIFFE_ENDPOINT_SOCKET", &endpoint)], &from);
}

#[test]
fn says_what_the_workload_api_lacks() {
    let desk = Desk::new();
    let said = |name: &str, status| {
        let socket = desk.path(name);
        agent(&socket, &desk.url, status, &"x".repeat(200));
        let endpoint = format!("unix:{}", socket.display());
        desk.run(&[("SPIFFE_ENDPOINT_SOCKET", &endpoint)])
    };
    let unregistered = said("unregistered", "7");
    assert_eq!(unregistered.code, 4);
    assert!(
        unregistered.err.contains("spire-server entry create"),
        "{}",
        unregistered.err
    );
    let broken = said("broken", "14");
    assert_eq!(
        broken.line("error"),
        "SPIFFE Workload API gave no token: gRPC status 14"
    );

    let nobody = desk.path("nobody").display().to_string();
    let absent = desk.run(&[("SPIFFE_ENDPOINT_SOCKET", &format!("unix:{nobody}"))]);
    assert_eq!(absent.code, 4);
    assert!(
        absent.line("error").contains("No such file"),
        "{}",
        absent.err
    );
}
