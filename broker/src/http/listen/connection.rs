//! One connection, from its handshake to its last answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

use super::Bounds;
use super::gate::Gate;
use super::head::{MAX_FIELDS, MAX_HEAD};
use super::link::{Arrival, Link, Other, Visit};
use super::phase::{Phase, reached};
use crate::clock::Stopwatch;
use crate::http::MAX_BODY;

/// What a connection is served with.
#[derive(Clone, Debug)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) bounds: Arc<Bounds>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// HTTP/1 until it ends.
pub(super) async fn http1<S>(stream: S, link: Arc<Link>, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bounds = &serving.bounds;
    let gate = Gate::new(stream, Arc::clone(&link), Arc::clone(bounds));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // The gate is earlier. It makes hyper look for a head when an answer has left, too.
            .header_read_timeout(bounds.head + bounds.idle + bounds.write)
            .max_buf_size(2 * MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .serve_connection(TokioIo::new(gate), Door::new(&link, &serving))
    );
    // Idle ones are the gate's.
    let idle = std::future::pending();
    let leave = http1::Connection::graceful_shutdown;
    drive(connection.as_mut(), leave, (&link, idle), &serving).await;
}

/// HTTP/2 until it ends.
pub(super) async fn http2<S>(stream: S, link: Arc<Link>, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bounds = &serving.bounds;
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_LIST)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(stream), Door::new(&link, &serving))
    );
    let idle = link.idle(bounds);
    let leave = http2::Connection::graceful_shutdown;
    drive(connection.as_mut(), leave, (&link, idle), &serving).await;
}

/// Until it ends, or is to end: then `leave` tells hyper, and what is open may end.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    leave: fn(Pin<&mut C>),
    (link, idle): (&Link, impl Future<Output = ()>),
    serving: &Serving,
) {
    let (bounds, mut phase) = (&serving.bounds, serving.phase.clone());
    let mut stuck = pin!(link.stuck(bounds));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stuck.as_mut() => return tracing::debug!("a connection was stuck"),
        () = reached(&mut phase, Phase::Draining) => None,
        () = link.left() => None,
        () = idle => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            link.leave();
            leave(connection.as_mut());
            tokio::select! {
                ended = connection => ended,
                () = stuck => return tracing::debug!("a connection was stuck"),
                // Whoever asked for nothing is owed no farewell longer than this.
                () = parted(link, bounds) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Ends when no request is open any more and the farewell had its time.
async fn parted(link: &Link, bounds: &Bounds) {
    tokio::time::sleep(bounds.write).await;
    let brief = Bounds {
        head: bounds.write,
        idle: bounds.write,
        ..bounds.clone()
    };
    link.idle(&brief).await;
}

/// The router, and what a request is told of its connection.
#[derive(Debug)]
struct Door {
    router: TowerToHyperService<Router>,
    link: Arc<Link>,
    body: Duration,
    /// Room for bodies that are on their way, in KiB.
    room: Arc<Semaphore>,
}

impl Door {
    fn new(link: &Arc<Link>, serving: &Serving) -> Door {
        Door {
            router: TowerToHyperService::new(serving.router.clone()),
            link: Arc::clone(link),
            body: serving.bounds.body,
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }
}

impl Service<axum::http::Request<Incoming>> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: axum::http::Request<Incoming>) -> Self::Future {
        let mut visit = self.link.visit();
        let link = Arc::clone(&self.link);
        let (version, late) = (request.version(), Late::default());
        let whole = Whole(Arc::clone(&link), visit.arrival());
        let (router, limit) = (self.router.clone(), self.body);
        let room = Arc::clone(&self.room).acquire_many_owned(kib(request.body()));
        Box::pin(async move {
            // Nobody closes it.
            let room = room.await.ok();
            let arrives = |body| arriving(body, (whole, room), (limit, &late));
            let mut request = request.map(arrives);
            let extensions = request.extensions_mut();
            extensions.insert(late.clone());
            extensions.insert(Arc::clone(&link));
            match link.other() {
                Other::Peer(peer) => drop(extensions.insert(peer.clone())),
                Other::Operator(operator) => drop(extensions.insert(*operator)),
            }
            let mut response = router.call(request).await?;
            visit.answers();
            if version < Version::HTTP_2 && link.is_ending() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Body::new(Leaving { body, visit })))
        })
    }
}

/// How much room a body may need: what it says, or the most that is taken.
fn kib(body: &Incoming) -> u32 {
    let most = MAX_BODY as u64;
    let bytes = body.size_hint().upper().map_or(most, |said| said.min(most));
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(64)
}

/// Whether a body came too late; a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late(Arc<AtomicBool>);

impl Late {
    /// Whether it did.
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's body, which has its time to arrive.
fn arriving(
    body: Incoming,
    (whole, room): (Whole, Option<OwnedSemaphorePermit>),
    (limit, late): (Duration, &Late),
) -> Body {
    if body.is_end_stream() {
        whole.is_so();
        return Body::empty();
    }
    Body::new(Arriving {
        body,
        whole,
        room,
        since: Stopwatch::start(),
        limit,
        late: late.clone(),
        timer: None,
    })
}

/// Whom to tell that a request is here as a whole.
struct Whole(Arc<Link>, Arrival);

impl Whole {
    fn is_so(&self) {
        self.0.arrived(&self.1);
    }
}

struct Arriving {
    body: Incoming,
    whole: Whole,
    /// Given back when all of it is here.
    room: Option<OwnedSemaphorePermit>,
    since: Stopwatch,
    limit: Duration,
    late: Late,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Arriving {
    type Data = axum::body::Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if frame.is_none() || self.body.is_end_stream() {
                self.whole.is_so();
                self.room = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.limit.saturating_sub(self.since.elapsed());
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
        ready!(timer.as_mut().poll(context));
        self.late.0.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body came too late".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which keeps the request open until it was handed over.
struct Leaving {
    body: Body,
    visit: Visit,
}

impl HttpBody for Leaving {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.visit.moves();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// HTTP/2 (SECURITY.md §4). hyper's and h2's caps on resets stay as they are: 20 that wait to be accepted, 1,024 that we
/// sent; then GOAWAY.
const STREAMS: u32 = 64;
const HEADER_LIST: u32 = 16 * 1024;
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// A body of the largest size, and four of them.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// KiB of bodies that may be half here at once on a connection, so that 64 streams do not hold 64 bodies: four of the
/// largest, twenty and more as callers send them. Others wait for their turn, as their streams do by HTTP/2's own window.
const ROOM: usize = 256;
/// Of an answer, per stream.
const SEND_BUFFER: usize = 64 * 1024;
