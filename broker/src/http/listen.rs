//! The accept loop: plain HTTP/1 on TCP and on the operator's socket, with every wait bounded.
//!
//! hyper's header timer is silently inert without a timer (SECURITY.md §3), so each connection
//! gets one here. TLS is the proxy's in this version.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How much one listener takes on, and when it stops.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// How long open connections may take to end.
    pub grace: Duration,
    /// Turns to `true`, or closes, when it is time to stop.
    pub stop: watch::Receiver<bool>,
}

/// Serves `router` on TCP until told to stop, then drains.
pub async fn tcp(listener: TcpListener, router: Router, mut bounds: Bounds) {
    let mut open = Connections::new(&bounds);
    while let Some(permit) = open.admit(&mut bounds.stop).await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut bounds.stop) => break,
        };
        match accepted {
            Ok((stream, _peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection is served with delays");
                }
                open.serve(stream, router.clone(), bounds.stop.clone(), permit);
            }
            Err(error) => pause(&error).await,
        }
    }
    open.drain(bounds.grace).await;
}

/// Serves `router` on the operator's socket to peers of our own user and to root.
pub async fn unix(listener: UnixListener, router: Router, mut bounds: Bounds) {
    let mut open = Connections::new(&bounds);
    let own = rustix::process::geteuid().as_raw();
    while let Some(permit) = open.admit(&mut bounds.stop).await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut bounds.stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own || peer.uid() == 0 => {
                open.serve(stream, router.clone(), bounds.stop.clone(), permit);
            }
            Ok(peer) => tracing::warn!(
                uid = peer.uid(),
                "a stranger knocked at the operator socket"
            ),
            Err(error) => tracing::warn!(%error, "a peer of the operator socket cannot be named"),
        }
    }
    open.drain(bounds.grace).await;
}

struct Connections {
    tasks: JoinSet<()>,
    permits: Arc<Semaphore>,
}

impl Connections {
    fn new(bounds: &Bounds) -> Self {
        Self {
            tasks: JoinSet::new(),
            permits: Arc::new(Semaphore::new(bounds.connections)),
        }
    }

    /// Room for one more, or nothing when it is time to stop.
    async fn admit(
        &mut self,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<tokio::sync::OwnedSemaphorePermit> {
        while self.tasks.try_join_next().is_some() {}
        tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = stopped(stop) => None,
        }
    }

    fn serve<S>(
        &mut self,
        stream: S,
        router: Router,
        mut stop: watch::Receiver<bool>,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.tasks.spawn(async move {
            let mut connection = std::pin::pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .max_buf_size(MAX_HEAD)
                    .max_headers(MAX_HEADERS)
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            );
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }

    async fn drain(mut self, grace: Duration) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!(
                open = self.tasks.len(),
                "connections were cut at the end of the grace"
            );
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A closed channel is a process that is going down.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Out of descriptors or the like: wait for connections to end instead of spinning.
async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// From the first byte to the whole head; also how long an idle connection is kept (SECURITY.md §4).
const HEAD: Duration = Duration::from_secs(10);
/// Head and its headers (SECURITY.md §4).
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
