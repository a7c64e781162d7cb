//! The generator: keep-alive connections, requests that were written beforehand, as little work as an answer allows.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use stint_broker::clock::Stopwatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::cpu;

/// Where requests go, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The peer to come from: 127.0.0.0/8 has many.
    pub(crate) from: IpAddr,
    /// Without it, in the clear.
    pub(crate) tls: Option<TlsConnector>,
}

impl Target {
    /// A connection, its handshake done.
    pub(crate) async fn connect(&self) -> Box<dyn Stream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(tls.connect(name, stream).await.unwrap())
            }
        }
    }
}

/// A connection, in the clear or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    took: Duration,
    /// Sorted, microseconds.
    latencies: Vec<f64>,
    /// Tree sizes of the receipts' checkpoints: one a commit.
    commits: BTreeSet<u64>,
    broker_us: f64,
    load_us: f64,
    /// Bytes of one request and one answer.
    pub(crate) sample: (Arc<[u8]>, Vec<u8>),
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.took.as_secs_f64()
    }

    /// Microseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let place = (self.count() * percent / 100.0) as usize;
        self.latencies[place.min(self.latencies.len() - 1)]
    }

    /// Mean entries a commit.
    pub(crate) fn batch(&self) -> f64 {
        self.count() / (self.commits.len().max(1) as f64)
    }

    /// Microseconds of processor time per answer, in all threads of the server.
    pub(crate) fn broker_us(&self) -> f64 {
        self.broker_us / self.count()
    }

    /// Microseconds of processor time per answer, in the generator.
    pub(crate) fn load_us(&self) -> f64 {
        self.load_us / self.count()
    }

    fn count(&self) -> f64 {
        self.latencies.len() as f64
    }
}

/// A runtime whose threads `cpu` can tell apart.
pub(crate) fn runtime(name: &str, workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name(name)
        // A thread that ends takes its processor time along.
        .thread_keep_alive(Duration::from_secs(3600))
        .enable_all()
        .build()
        .unwrap()
}

/// Sends `requests`, whole HTTP/1.1 texts, over `connections`, for as long as [`LIMIT`]; each must be answered by
/// `status`.
pub(crate) fn run(to: &Target, requests: Vec<Arc<[u8]>>, connections: usize, status: u16) -> Run {
    let generator = runtime("load", 1);
    let first = Arc::clone(&requests[0]);
    let requests: Arc<[Arc<[u8]>]> = requests.into();
    let server = ["broker", "sqlx"];
    let before = cpu::of_threads(&server);
    let (took, done) = generator.block_on(async {
        let mut lanes = JoinSet::new();
        let watch = Stopwatch::start();
        for lane in 0..connections {
            let (requests, to) = (Arc::clone(&requests), to.clone());
            lanes.spawn(async move {
                let mine = requests.iter().skip(lane).step_by(connections);
                Lane::open(&to).await.all(mine, status).await
            });
        }
        let done = lanes.join_all().await;
        (watch.elapsed(), done)
    });
    let broker_us = cpu::of_threads(&server) - before;
    let load_us = cpu::of_threads(&["load"]);

    let mut latencies = Vec::with_capacity(requests.len());
    let mut commits = BTreeSet::new();
    let mut answer = Vec::new();
    for lane in done.into_iter().filter(|lane| !lane.last.is_empty()) {
        latencies.extend(lane.latencies);
        commits.extend(lane.commits);
        answer = lane.last;
    }
    assert!(!latencies.is_empty(), "nobody was answered");
    latencies.sort_by(f64::total_cmp);
    Run {
        took,
        latencies,
        commits,
        broker_us,
        load_us,
        sample: (first, answer),
    }
}

/// One connection.
struct Lane {
    stream: Box<dyn Stream>,
    latencies: Vec<f64>,
    commits: Vec<u64>,
    last: Vec<u8>,
}

impl Lane {
    async fn open(to: &Target) -> Lane {
        Lane {
            stream: to.connect().await,
            latencies: Vec::new(),
            commits: Vec::new(),
            last: Vec::with_capacity(16 * 1024),
        }
    }

    async fn all(mut self, requests: impl Iterator<Item = &Arc<[u8]>>, status: u16) -> Lane {
        let began = Stopwatch::start();
        for request in requests {
            if began.elapsed() > LIMIT {
                break;
            }
            let watch = Stopwatch::start();
            self.stream.write_all(request).await.unwrap();
            self.answer().await;
            self.latencies.push(watch.elapsed().as_secs_f64() * 1e6);
            let text = std::str::from_utf8(&self.last).unwrap();
            let answered = text.get(9..12).and_then(|digits| digits.parse().ok());
            assert_eq!(answered, Some(status), "{text}");
            self.commits.extend(tree_size(text));
        }
        self
    }

    /// Reads one answer with a `Content-Length` into `last`.
    async fn answer(&mut self) {
        self.last.clear();
        let mut whole = None;
        while whole.is_none_or(|length| self.last.len() < length) {
            let read = self.stream.read_buf(&mut self.last).await.unwrap();
            assert_ne!(read, 0, "the server hung up");
            whole = whole.or_else(|| length(&self.last));
        }
    }
}

/// Bytes of the answer, head and body, once its head is there.
pub(crate) fn length(answer: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(answer).ok()?;
    let end = text.find("\r\n\r\n")?;
    let body = text.get(..end)?.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>())
    })?;
    Some(end + 4 + body.ok()?)
}

/// The size in a receipt's checkpoint, as it lies in a JSON string.
fn tree_size(answer: &str) -> Option<u64> {
    let (_, after) = answer.split_once(concat!("bench.stint/ledger", r"\n"))?;
    after.split('\\').next()?.parse().ok()
}

/// A slow disk makes a run shorter, not longer.
const LIMIT: Duration = Duration::from_secs(15);
