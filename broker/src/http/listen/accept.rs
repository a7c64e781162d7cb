//! The loops that accept, and how they end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{self, Serving};
use super::crowd::{Caps, Crowd, Seat};
use super::link::{Link, Other};
use super::patient::Patient;
use super::phase::{Phase, reached};
use super::tls::{H2, Tls};
use super::{Bounds, Listener};
use crate::clock::Stopwatch;
use crate::http::peer::{Operator, Peer};
use crate::limits::peers::PeerKey;

/// Accepts until it is time to drain.
pub(super) async fn tcp(listener: Listener, socket: TcpListener) {
    let mut open = Open::new(&listener);
    let mut phase = listener.phase.clone();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, from)) => open.tcp(stream, from.ip(), &listener),
                Err(error) => open.full(&error).await,
            },
            () = reached(&mut phase, Phase::Draining) => break,
        }
    }
    // Whoever is in the queue already thinks to be connected.
    let next = || {
        poll_fn(|context| match socket.poll_accept(context) {
            Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        })
    };
    while let Some((stream, from)) = next().await {
        open.tcp(stream, from.ip(), &listener);
    }
    drop(socket);
    open.drain(listener).await;
}

/// The same for the operator's socket: our own user and root.
pub(super) async fn unix(listener: Listener, socket: UnixListener) {
    let mut open = Open::new(&listener);
    let mut phase = listener.phase.clone();
    let own = rustix::process::geteuid().as_raw();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = reached(&mut phase, Phase::Draining) => break,
        };
        match accepted.map(|(stream, _)| (stream.peer_cred(), stream)) {
            Ok((Ok(peer), stream)) if peer.uid() == own || peer.uid() == 0 => {
                open.unix(stream, Operator { uid: peer.uid() });
            }
            Ok((Ok(peer), _)) => tracing::warn!(
                uid = peer.uid(),
                "a stranger knocked at the operator socket"
            ),
            Ok((Err(error), _)) => {
                tracing::warn!(%error, "a peer of the operator socket cannot be named");
            }
            Err(error) => open.full(&error).await,
        }
    }
    open.drain(listener).await;
}

/// The connections of one listener.
struct Open {
    tasks: JoinSet<()>,
    crowd: Arc<Crowd>,
    serving: Serving,
}

impl Open {
    fn new(listener: &Listener) -> Open {
        let bounds = &listener.bounds;
        Open {
            tasks: JoinSet::new(),
            crowd: Crowd::new(Caps {
                connections: bounds.connections,
                per_peer: bounds.per_peer,
                handshakes: bounds.handshakes,
            }),
            serving: Serving {
                router: listener.router.clone(),
                bounds: Arc::new(bounds.clone()),
                phase: listener.phase.clone(),
            },
        }
    }

    fn tcp(&mut self, stream: TcpStream, from: std::net::IpAddr, listener: &Listener) {
        let accepted = Stopwatch::start();
        let address = from.to_canonical();
        let is_proxy = listener.trusted.iter().any(|proxy| proxy.holds(address));
        let key = (!is_proxy).then(|| PeerKey::of(address));
        let Some(seat) = self.seat(key) else {
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is served with delays");
        }
        let (tls, serving) = (listener.tls.clone(), self.serving.clone());
        self.tasks.spawn(async move {
            let stream = Patient::new(stream, serving.bounds.write);
            match tls {
                Some(tls) => secured(stream, &tls, (address, seat, accepted), serving).await,
                None => {
                    let peer = Peer {
                        address,
                        certificates: Arc::from([]),
                    };
                    let link = Link::new(Other::Peer(peer), seat, accepted);
                    tokio::select! {
                        () = connection::http1(stream, Arc::clone(&link), serving) => {}
                        () = link.cut() => tracing::debug!("a connection made room"),
                    }
                }
            }
        });
    }

    fn unix(&mut self, stream: UnixStream, operator: Operator) {
        let Some(seat) = self.seat(None) else {
            return;
        };
        let link = Link::new(Other::Operator(operator), seat, Stopwatch::start());
        let serving = self.serving.clone();
        self.tasks.spawn(async move {
            let stream = Patient::new(stream, serving.bounds.write);
            tokio::select! {
                () = connection::http1(stream, Arc::clone(&link), serving) => {}
                () = link.cut() => tracing::debug!("a connection made room"),
            }
        });
    }

    fn seat(&mut self, peer: Option<PeerKey>) -> Option<Seat> {
        while self.tasks.try_join_next().is_some() {}
        let seat = self.crowd.enter(peer);
        if seat.is_none() {
            tracing::debug!("a connection found no room");
        }
        seat
    }

    /// Out of descriptors or the like: one that waits makes room, and we wait a little instead of spinning.
    async fn full(&self, error: &std::io::Error) {
        tracing::warn!(%error, "a connection could not be accepted");
        self.crowd.evict_one();
        tokio::time::sleep(PAUSE).await;
    }

    async fn drain(mut self, mut listener: Listener) {
        let cut = tokio::select! {
            () = async { while self.tasks.join_next().await.is_some() {} } => return,
            () = tokio::time::sleep(listener.bounds.grace) => "at the end of the grace",
            () = reached(&mut listener.phase, Phase::Ending) => "at a second signal",
        };
        tracing::warn!(open = self.tasks.len(), "connections were cut {cut}");
        self.tasks.shutdown().await;
    }
}

/// The handshake, and then the protocol it chose.
async fn secured(
    stream: Patient<TcpStream>,
    tls: &Tls,
    (address, seat, accepted): (std::net::IpAddr, Seat, Stopwatch),
    serving: Serving,
) {
    seat.shakes_hands();
    let shaken = tokio::select! {
        shaken = shake(stream, tls, &serving.bounds) => shaken,
        () = seat.cut() => None,
    };
    seat.shook_hands();
    let Some(stream) = shaken else {
        return;
    };
    let (_, session) = stream.get_ref();
    let is_h2 = session.alpn_protocol() == Some(H2);
    let shown = session.peer_certificates().unwrap_or_default();
    let certificates = shown.iter().map(|it| it.clone().into_owned()).collect();
    let peer = Peer {
        address,
        certificates,
    };
    let link = Link::new(Other::Peer(peer), seat, accepted);
    let served = async {
        match is_h2 {
            true => connection::http2(stream, Arc::clone(&link), serving).await,
            false => connection::http1(stream, Arc::clone(&link), serving).await,
        }
    };
    tokio::select! {
        () = served => {}
        () = link.cut() => tracing::debug!("a connection made room"),
    }
}

async fn shake(
    stream: Patient<TcpStream>,
    tls: &Tls,
    bounds: &Bounds,
) -> Option<TlsStream<Patient<TcpStream>>> {
    let shaking = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(bounds.handshake, shaking).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);
