//! The listeners: from a connection to requests, with every wait and every amount bounded (SECURITY.md §4).
//!
//! axum's own `serve` and hyper-util's `auto` have no limits that hold (SECURITY.md §3), so the loop is ours: ALPN chooses
//! between hyper's HTTP/1 and HTTP/2, both with timers, and in front of HTTP/1 stands a gate that lets no head through
//! but whole and unambiguous ones. What a request may be is judged behind, in `guard`.

mod accept;
mod connection;
mod crowd;
mod gate;
mod head;
mod link;
mod patient;
pub mod phase;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use self::phase::Phase;
use self::tls::Tls;
use crate::config::{self, Cidr};

pub(crate) use self::connection::Late;
pub(crate) use self::head::{HeadFault, MAX_FIELDS};
pub(crate) use self::link::Link;

/// One listener.
#[derive(Debug)]
pub struct Listener {
    /// What it serves.
    pub router: Router,
    /// TLS of our own; without it, requests come in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Proxies: they have no limit per peer, for they speak for many.
    pub trusted: Arc<[Cidr]>,
    /// How much it takes on.
    pub bounds: Bounds,
    /// Whether the process serves, drains or ends.
    pub phase: watch::Receiver<Phase>,
}

/// How much one listener takes on, and for how long.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Of one peer.
    pub per_peer: usize,
    /// TLS handshakes at once.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// From the connection to its first head, and from any head's first byte to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From a head to the end of its body.
    pub body: Duration,
    /// How long a client may take nothing of an answer.
    pub write: Duration,
    /// How long a handler may take.
    pub answer: Duration,
    /// How long open requests may take to end when the process stops.
    pub grace: Duration,
}

impl Bounds {
    /// The operator's.
    #[must_use]
    pub fn new(limits: &config::Limits, server: &config::Server) -> Bounds {
        let time = |time: stint_policy::Seconds| Duration::from_secs(time.as_u32().into());
        Bounds::of(
            limits,
            time(server.request_timeout),
            time(server.shutdown_grace),
        )
    }

    /// Those of `limits`, with so long for an answer, and so long for what is open at the end.
    #[must_use]
    pub fn of(limits: &config::Limits, answer: Duration, grace: Duration) -> Bounds {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let time = |time: stint_policy::Seconds| Duration::from_secs(time.as_u32().into());
        Bounds {
            connections: count(limits.connections).min(descriptors()),
            per_peer: count(limits.connections_per_peer),
            handshakes: count(limits.handshakes),
            handshake: time(limits.handshake_timeout),
            head: time(limits.head_timeout),
            idle: time(limits.idle_timeout),
            body: time(limits.body_timeout),
            write: time(limits.write_timeout),
            answer,
            grace,
        }
    }

    /// For the doors of operators, who are few: out of the share that [`descriptors`] leaves.
    #[must_use]
    pub fn for_operators(&self) -> Bounds {
        Bounds {
            connections: OPERATORS,
            per_peer: OPERATORS,
            // What they have made, an export for one, takes as long as it takes.
            answer: OPERATORS_WAIT,
            ..self.clone()
        }
    }
}

impl Listener {
    /// Serves on TCP until told to stop, then drains.
    pub async fn tcp(self, socket: TcpListener) {
        accept::tcp(self, socket).await;
    }

    /// Serves on the operator's socket to peers of our own user and to root.
    pub async fn unix(self, socket: UnixListener) {
        accept::unix(self, socket).await;
    }
}

/// Connections for which there are file descriptors, when the ledger, issuers and operators have theirs. What the
/// system allows at most is what we take.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |most| {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        most.saturating_sub(RESERVED).max(FEWEST)
    })
}

/// Descriptors that are not for callers (SECURITY.md §4).
const RESERVED: usize = 256;
/// With fewer there is nothing to serve; the listener then meets the system's limit, and waits there.
const FEWEST: usize = 16;
/// Connections at each door of operators, and how long their requests may take.
const OPERATORS: usize = 64;
const OPERATORS_WAIT: Duration = Duration::from_secs(3600);
