//! HTTP/2, as the handshake chooses it.

use std::time::Duration;

use axum::http::{Request, Response};
use h2::client::{Connection, SendRequest};
use stint_tests::TestBroker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use crate::wire::{PATIENCE, secured, secured_from};

type Client = SendRequest<axum::body::Bytes>;

/// A connection; what becomes of it is the task's result.
async fn connect(broker: &TestBroker) -> (Client, JoinHandle<Result<(), h2::Error>>) {
    connect_as(broker, 1).await
}

/// The same from another address of this machine.
async fn connect_as(broker: &TestBroker, last: u8) -> (Client, JoinHandle<Result<(), h2::Error>>) {
    let offered = ["h2", "http/1.1"];
    let stream = secured_from(broker, last, &offered).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (client, connection): (Client, Connection<TlsStream<TcpStream>>) =
        h2::client::handshake(stream).await.unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a connection runs beside its requests"
    )]
    let connection = tokio::spawn(connection);
    (client.ready().await.unwrap(), connection)
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("https://localhost:8640{path}"))
        .body(())
        .unwrap()
}

async fn get(
    client: &mut Client,
    request: Request<()>,
) -> Result<Response<h2::RecvStream>, h2::Error> {
    let (answer, _) = client.send_request(request, true)?;
    answer.await
}

async fn body(response: Response<h2::RecvStream>) -> String {
    let mut stream = response.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn is_spoken_to_whoever_offers_it() {
    let broker = TestBroker::with().tls().start().await;
    let (mut client, _) = connect(&broker).await;
    let answer = get(&mut client, request("/v1/policy")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(body(answer).await.contains("policy_version"));
    // The same names, the same refusals.
    let answer = get(&mut client, request("/v1/%2e/policy")).await.unwrap();
    assert_eq!(answer.status(), 404);
    let wrong = Request::get("https://evil.dev/v1/policy").body(()).unwrap();
    let answer = get(&mut client, wrong).await.unwrap();
    assert_eq!(answer.status(), 421);
    let mut two = request("/v1/policy");
    two.headers_mut()
        .insert("host", "evil.dev".parse().unwrap());
    assert_eq!(get(&mut client, two).await.unwrap().status(), 421);
    broker.finish().await;
}

#[tokio::test]
async fn sixty_four_streams_and_heads_of_16_kib() {
    let broker = TestBroker::with().tls().start().await;
    let (mut client, _) = connect(&broker).await;
    assert_eq!(
        get(&mut client, request("/v1/policy"))
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(client.current_max_send_streams(), 64);
    let mut long = request("/v1/policy");
    long.headers_mut()
        .insert("x", "a".repeat(20_000).parse().unwrap());
    let refused = get(&mut client, long).await;
    assert!(
        refused
            .as_ref()
            .map_or(true, |answer| answer.status() == 431),
        "{refused:?}"
    );
    let (mut client, _) = connect(&broker).await;
    let mut many = request("/v1/policy");
    for n in 0..65 {
        let name: axum::http::HeaderName = format!("x-{n}").parse().unwrap();
        many.headers_mut().insert(name, "y".parse().unwrap());
    }
    let answer = get(&mut client, many).await.unwrap();
    assert_eq!(answer.status(), 431);
    assert!(body(answer).await.contains("headers_too_large"));
    broker.finish().await;
}

/// One frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head.as_slice(), payload].concat()
}

/// HEADERS that end their stream, and RST_STREAM behind it: Rapid Reset (CVE-2023-44487).
fn asked_and_reset(stream: u32) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // `:method: GET`, `:scheme: https`, `:path` and `:authority` (RFC 7541 §6).
    let (path, authority) = (text("/v1/policy"), text("localhost:8640"));
    let block = [&[0x82, 0x87, 0x04], path.as_slice(), &[0x01], &authority].concat();
    let reset = 8_u32.to_be_bytes(); // CANCEL
    [frame(1, 0x5, stream, &block), frame(3, 0, stream, &reset)].concat()
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let broker = TestBroker::with().tls().start().await;
    let mut stream = secured(&broker, &["h2"]).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    flood.extend((0..200).flat_map(|n| asked_and_reset(2 * n + 1)));
    stream.write_all(&flood).await.unwrap();
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    drop(tokio::time::timeout(PATIENCE, ended).await.unwrap());
    // GOAWAY on stream 0, up to some stream, for ENHANCE_YOUR_CALM.
    let calm = 0xb_u32.to_be_bytes();
    let goaway = said
        .windows(17)
        .any(|it| it[3..9] == [7, 0, 0, 0, 0, 0] && it[13..] == calm);
    assert!(goaway, "{said:?}");
    // And nobody else noticed.
    let (mut other, _) = connect(&broker).await;
    let answer = get(&mut other, request("/v1/policy")).await.unwrap();
    assert_eq!(answer.status(), 200);
    broker.finish().await;
}

#[tokio::test]
async fn whoever_asks_for_nothing_is_told_to_go() {
    let broker = TestBroker::with()
        .tls()
        .set("limits", "head_timeout = \"1s\"")
        .set("limits", "idle_timeout = \"1s\"")
        .set("limits", "write_timeout = \"1s\"")
        .start()
        .await;
    // Not even a preface; one that dribbles; a whole one and no request; one request and no other.
    let mut silent = secured(&broker, &["h2"]).await.unwrap();
    let mut settings = Vec::new();
    let ended = silent.read_to_end(&mut settings);
    assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok());
    let (mut reader, mut writer) = tokio::io::split(secured(&broker, &["h2"]).await.unwrap());
    let dribble = async {
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(writer.write_all(&[*byte]).await);
        }
    };
    let ended = async {
        let mut bytes = Vec::new();
        drop(reader.read_to_end(&mut bytes).await);
    };
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = ended => {}, () = dribble => {} }
    });
    ended.await.unwrap();
    let (_client, connection) = connect(&broker).await;
    drop(tokio::time::timeout(PATIENCE, connection).await.unwrap());
    let (mut client, connection) = connect(&broker).await;
    assert_eq!(
        get(&mut client, request("/v1/policy"))
            .await
            .unwrap()
            .status(),
        200
    );
    let ended = tokio::time::timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    broker.finish().await;
}

#[tokio::test]
async fn evidence_that_keeps_failing_ends_the_connection() {
    let broker = TestBroker::with().tls().start().await;
    let (mut client, connection) = connect(&broker).await;
    let whoami = || {
        let request = Request::post("https://localhost:8640/v1/whoami");
        request
            .header("authorization", "Bearer x.x.x")
            .body(())
            .unwrap()
    };
    for n in 1..=10 {
        let answer = get(&mut client, whoami()).await.unwrap();
        assert_eq!(answer.status(), 400, "failure {n}");
    }
    let ended = tokio::time::timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    assert!(get(&mut client, whoami()).await.is_err());
    broker.finish().await;
}

#[tokio::test]
async fn a_body_that_dribbles_is_told_that_it_is_late() {
    let broker = TestBroker::with()
        .tls()
        .set("limits", "body_timeout = \"1s\"")
        .start()
        .await;
    let (mut client, _) = connect(&broker).await;
    let request = Request::post("https://localhost:8640/v1/grants")
        .header("authorization", "Bearer x")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data("{".into(), false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.status(), 408);
    assert!(body(answer).await.contains("request_timeout"));
    broker.finish().await;
}

/// A stream whose body never ends keeps its connection from being without any request; it must not keep its place.
#[tokio::test]
async fn a_body_that_never_ends_holds_no_place() {
    let broker = TestBroker::with()
        .tls()
        .set("limits", "connections_per_peer = 1")
        .start()
        .await;
    let (mut client, connection) = connect_as(&broker, 2).await;
    let request = Request::post("https://localhost:8640/v1/grants")
        .header("authorization", "Bearer x")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (_answer, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data("{".into(), false).unwrap();
    let whole = get(&mut client, self::request("/v1/policy")).await.unwrap();
    assert_eq!(whole.status(), 200);
    let (mut next, _) = connect_as(&broker, 2).await;
    let answer = get(&mut next, self::request("/v1/policy")).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(tokio::time::timeout(PATIENCE, connection).await.unwrap());
    broker.finish().await;
}

/// Many streams are not many bodies in memory: what has no room waits until another has arrived.
#[tokio::test]
async fn bodies_that_are_half_here_have_so_much_room_and_no_more() {
    let broker = TestBroker::with().tls().start().await;
    let (mut client, _) = connect(&broker).await;
    let mut post = || {
        let request = Request::post("https://localhost:8640/v1/grants")
            .header("authorization", "Bearer x.x.x")
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        client.send_request(request, false).unwrap()
    };
    let mut halves: Vec<_> = (0..4).map(|_| post()).collect();
    for (_, stream) in &mut halves {
        stream.send_data("{".into(), false).unwrap();
    }
    let (mut answer, mut stream) = post();
    stream.send_data("{}".into(), true).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), &mut answer).await;
    assert!(early.is_err(), "there was room for a fifth: {early:?}");
    let (first, mut rest) = halves.remove(0);
    rest.send_data("}".into(), true).unwrap();
    assert_eq!(first.await.unwrap().status(), 400);
    let late = tokio::time::timeout(PATIENCE, answer).await.unwrap();
    assert_eq!(late.unwrap().status(), 400);
    broker.finish().await;
}

#[tokio::test]
async fn a_drain_ends_what_is_open_and_says_goodbye() {
    let mut broker = TestBroker::with().tls().start().await;
    let (mut client, connection) = connect(&broker).await;
    let request = Request::post("https://localhost:8640/v1/grants")
        .header("authorization", "Bearer x.x.x")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    // Known to be there when the drain begins.
    assert_eq!(
        get(&mut client, self::request("/v1/policy"))
            .await
            .unwrap()
            .status(),
        200
    );
    let rest = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.send_data("{}".into(), true).unwrap();
        answer.await.unwrap().status()
    };
    let (status, ()) = tokio::join!(rest, broker.stop());
    assert_eq!(status, 400);
    let ended = tokio::time::timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    broker.restart().await.unwrap();
    broker.finish().await;
}
