//! A receiver of syslog over TCP or TLS, which closes when its sender has.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stint_tests::tls::Pki;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What it does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Reads to the end, stores, closes.
    Takes,
    /// Cuts the connection after some bytes.
    Cuts,
    /// Reads to the end, and never closes.
    Hangs,
}

#[derive(Debug, Clone)]
struct Seen(Arc<Mutex<(Mood, Vec<String>, usize)>>);

/// A receiver over real TCP.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Seen,
    _server: JoinSet<()>,
}

impl Receiver {
    /// With the certificate of `pki`, if there is one.
    pub(crate) async fn start(pki: Option<&Pki>) -> Receiver {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Seen(Arc::new(Mutex::new((Mood::Takes, Vec::new(), 0))));
        let acceptor = pki.map(acceptor);
        let (state, mut server) = (seen.clone(), JoinSet::new());
        server.spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                state.0.lock().unwrap().2 += 1;
                // One after the other: a sender has one connection.
                match &acceptor {
                    None => state.take(stream).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            state.take(stream).await;
                        }
                    }
                }
            }
        });
        Receiver {
            address,
            seen,
            _server: server,
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.0.lock().unwrap().0 = mood;
    }

    /// Connections that came.
    pub(crate) fn came(&self) -> usize {
        self.seen.0.lock().unwrap().2
    }

    /// Messages that were stored, a line each.
    pub(crate) fn text(&self) -> String {
        let messages = self.seen.0.lock().unwrap().1.clone();
        messages.into_iter().map(|message| message + "\n").collect()
    }
}

impl Seen {
    async fn take<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) {
        let mood = self.0.lock().unwrap().0;
        let mut bytes = Vec::new();
        if mood == Mood::Cuts {
            let mut some = [0; 100];
            drop(stream.read(&mut some).await);
            return;
        }
        if stream.read_to_end(&mut bytes).await.is_err() {
            return;
        }
        if mood == Mood::Hangs {
            // The sender gives up first.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            return;
        }
        self.0.lock().unwrap().1.extend(messages(&bytes));
        drop(stream.shutdown().await);
    }
}

/// RFC 6587 §3.4.1: `LENGTH SP MESSAGE`, one after the other.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = String::from_utf8(bytes[..space].to_vec())
            .unwrap()
            .parse()
            .unwrap();
        let (message, rest) = bytes[space + 1..].split_at(length);
        messages.push(String::from_utf8(message.to_vec()).unwrap());
        bytes = rest;
    }
    messages
}

fn acceptor(pki: &Pki) -> TlsAcceptor {
    let cert = CertificateDer::from_pem_file(pki.cert()).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.key()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
