//! Connections by hand: what no client library would send.

use std::time::Duration;

use rustls::pki_types::ServerName;
use stint_tests::TestBroker;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A request that anybody may make.
pub(crate) const TRUST: &str = "GET /v1/policy HTTP/1.1\r\nHost: localhost:8640\r\n\r\n";

/// One answer, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Said {
    /// Its problem's code.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }

    /// Whether it says that it is the last.
    pub(crate) fn closes(&self) -> bool {
        self.head
            .to_ascii_lowercase()
            .contains("\r\nconnection: close\r\n")
    }
}

/// A connection of its own.
pub(crate) async fn connect(broker: &TestBroker) -> TcpStream {
    TcpStream::connect(broker.address()).await.unwrap()
}

/// The same from another address of this machine: another peer.
pub(crate) async fn connect_from(broker: &TestBroker, last: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, last], 0).into())?;
    socket.connect(broker.address()).await
}

/// A connection with TLS that offers `alpn`.
pub(crate) async fn secured(
    broker: &TestBroker,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    secured_from(broker, 1, alpn).await
}

/// The same from another address of this machine.
pub(crate) async fn secured_from(
    broker: &TestBroker,
    last: u8,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = broker.pki().connect(alpn, None);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connect_from(broker, last).await?;
    TlsConnector::from(config).connect(name, stream).await
}

/// Reads one answer with a length; none if the connection ended before it began.
pub(crate) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Said> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse().unwrap()
    });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Said {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: String::from_utf8(body).unwrap(),
        head,
    })
}

/// Sends `bytes` and reads one answer.
pub(crate) async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> Option<Said> {
    // Whoever is refused may find the connection closed before all was said.
    drop(stream.write_all(bytes).await);
    answer(stream).await
}

/// Whether the other side closes, and says nothing before.
pub(crate) async fn closes<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

/// Every limit of these tests is a second or two.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
