//! Its connections: TLS that holds, or does not.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Lie, Shared};

/// Handshakes in tasks of their own: one that never ends holds up no other.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    ready: mpsc::Sender<TlsStream<TcpStream>>,
) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let lie = *shared.lie.lock().unwrap();
        let ready = ready.clone();
        open.spawn(async move { shake(stream, lie, ready).await });
    }
}

async fn shake(mut stream: TcpStream, lie: Lie, ready: mpsc::Sender<TlsStream<TcpStream>>) {
    let certificate = match lie {
        Lie::SilentTcp => std::future::pending().await,
        Lie::Closes => return,
        Lie::PlainHttp => {
            // All that was said is read first: closing on unread bytes would be a reset, another fault.
            let mut hello = [0; 4096];
            drop(stream.read(&mut hello).await);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{}").await);
            return;
        }
        Lie::OtherName => &OTHER_NAME,
        Lie::OtherAuthority => &OTHER_AUTHORITY,
        Lie::EndedCertificate => &ENDED,
        _ => &HONEST,
    };
    if let Ok(stream) = certificate.accept(stream).await {
        drop(ready.send(stream).await);
    }
}

static HONEST: LazyLock<TlsAcceptor> = LazyLock::new(|| acceptor("127.0.0.1", &AUTHORITY, 2100));
static OTHER_NAME: LazyLock<TlsAcceptor> =
    LazyLock::new(|| acceptor("idp.example", &AUTHORITY, 2100));
static OTHER_AUTHORITY: LazyLock<TlsAcceptor> =
    LazyLock::new(|| acceptor("127.0.0.1", &OTHER, 2100));
static ENDED: LazyLock<TlsAcceptor> = LazyLock::new(|| acceptor("127.0.0.1", &AUTHORITY, 2021));

/// TLS under a certificate for `name` that ends with the first day of a year.
fn acceptor(name: &str, authority: &CertifiedIssuer<'static, KeyPair>, ends: i32) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(ends, 1, 1));
    let der = params.signed_by(&key, authority).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The authority that tests name in `ca_file`, and one that nobody names.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(authority);
static OTHER: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(authority);

/// The authority that tests name, PEM.
pub(super) fn authority_pem() -> String {
    AUTHORITY.pem()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Connections whose handshake is over.
pub(super) struct Streams {
    pub(super) streams: mpsc::Receiver<TlsStream<TcpStream>>,
    pub(super) address: SocketAddr,
}

impl Listener for Streams {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(stream) => (stream, self.address),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
