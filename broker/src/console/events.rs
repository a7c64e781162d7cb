//! `GET /v1/events`: that something changed, as server-sent events. They name what sort of thing changed and nothing of it:
//! pages are read again for that, by whoever may.
//!
//! One loop a process looks at the head and says to all streams what was added to it; what was missed meanwhile is made up
//! for at the start of a stream, by its `Last-Event-ID`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use stint_wire::{Code, Problem};
use tokio::sync::{broadcast, watch};
use tokio::time::Interval;

use crate::clock::Stopwatch;
use crate::http::listen::phase::Phase;
use crate::http::problem::Failure;
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store;

/// Streams that are open, and what they are told.
#[derive(Debug)]
pub(crate) struct Streams {
    open: Mutex<HashMap<String, usize>>,
    changes: broadcast::Sender<Change>,
}

/// What was added up to entry `seq`.
#[derive(Debug, Clone)]
struct Change {
    seq: u64,
    topics: Arc<BTreeSet<&'static str>>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            open: Mutex::default(),
            changes: broadcast::Sender::new(BACKLOG),
        }
    }
}

/// One stream's place among those that are open; it is free again when this goes.
struct Seat {
    app: Arc<App>,
    session: String,
}

impl Seat {
    fn take(app: &Arc<App>, session: &str) -> Option<Seat> {
        let mut open = app
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= IN_ALL {
            return None;
        }
        let mine = open.entry(session.to_owned()).or_default();
        if *mine >= PER_SESSION {
            return None;
        }
        *mine += 1;
        Some(Seat {
            app: Arc::clone(app),
            session: session.to_owned(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self
            .app
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.session) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                open.remove(&self.session);
            }
        }
    }
}

/// One stream.
struct Stream {
    seat: Seat,
    changes: broadcast::Receiver<Change>,
    phase: watch::Receiver<Phase>,
    /// The topics this reader is told of.
    told: &'static [&'static str],
    /// Up to which entry it was told.
    at: u64,
    /// Said at once.
    first: Option<Bytes>,
    beat: Interval,
    age: Stopwatch,
}

/// `GET /v1/events`
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Extension(phase): Extension<watch::Receiver<Phase>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Some(seat) = Seat::take(&app, &visitor.session) else {
        let mut problem = Problem::new(
            Code::RateLimited,
            "too many streams are open: four a session",
        );
        problem.retry_after_s = Some(RETRY_S);
        return Err(problem.into());
    };
    let changes = app.streams.changes.subscribe();
    let size = app.broker.ledger.published().size;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last
        .and_then(|id| id.parse::<u64>().ok())
        .filter(|seq| *seq <= size);
    let told = if visitor.reads_all() {
        EVERYTHING
    } else {
        THEIRS
    };
    let mut first = format!("retry: {}\n\n", RETRY_S * 1_000);
    match last {
        Some(last) if last < size => {
            let missed = missed(&app, (last, size)).await;
            let missed = missed.map_err(|_error| {
                Problem::new(Code::Unavailable, "the broker cannot say what changed")
            })?;
            first.push_str(&event(size, &missed, told).unwrap_or_default());
        }
        Some(_) => {}
        None => first.push_str(&format!("id: {size}\n: you are here\n\n")),
    }
    let stream = Stream {
        seat,
        changes,
        phase,
        told,
        at: size,
        first: Some(first.into()),
        beat: tokio::time::interval(HEARTBEAT),
        age: Stopwatch::start(),
    };
    let events = futures_util::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), stream))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Stream {
    /// What comes next; none when the stream is over: the process ends, or the reader has to show again who is there. No
    /// bytes keep the connection from being taken for stuck.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.age.elapsed() >= LONGEST {
            return None;
        }
        let mut phase = self.phase.clone();
        tokio::select! {
            _ = phase.wait_for(|now| *now >= Phase::Draining) => None,
            _ = self.beat.tick() => Some(Bytes::from_static(b": still here\n\n")),
            change = self.changes.recv() => match change {
                Ok(change) => Some(self.tell(change.seq, &change.topics)),
                // Who did not keep up reads everything again.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let size = self.seat.app.broker.ledger.published().size;
                    Some(self.tell(size, &EVERYTHING.iter().copied().collect()))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
            () = tokio::time::sleep(QUIET) => Some(Bytes::new()),
        }
    }

    fn tell(&mut self, seq: u64, topics: &BTreeSet<&'static str>) -> Bytes {
        if seq <= self.at && seq != 0 {
            return Bytes::new();
        }
        self.at = seq;
        event(seq, topics, self.told).unwrap_or_default().into()
    }
}

/// One event, of what this reader is told of.
fn event(seq: u64, topics: &BTreeSet<&'static str>, told: &[&str]) -> Option<String> {
    let mine: Vec<&str> = topics
        .iter()
        .copied()
        .filter(|topic| told.contains(topic))
        .collect();
    let data = json!({ "changed": mine });
    (!mine.is_empty()).then(|| format!("id: {seq}\nevent: changed\ndata: {data}\n\n"))
}

/// What changed with the entries of `[from, to)`.
async fn missed(app: &App, (from, to): (u64, u64)) -> Result<BTreeSet<&'static str>, store::Error> {
    if to.saturating_sub(from) > MADE_UP {
        return Ok(EVERYTHING.iter().copied().collect());
    }
    let kinds = app.broker.store.kinds_between(from, to).await?;
    let topics = kinds.iter().flat_map(|kind| topics(kind)).copied();
    Ok(topics.chain(["ledger"]).collect())
}

/// The words a kind of entry is told by.
fn topics(kind: &str) -> &'static [&'static str] {
    match kind {
        "granted" => &["callers", "grants"],
        "denied" => &["callers", "denials"],
        "requested" => &["callers", "requests"],
        "voted" | "request_closed" => &["requests"],
        "revoked" | "sign_failed" | "task_opened" | "task_closed" => &["grants"],
        "policy_loaded" => &["policy"],
        "frozen" | "config_loaded" => &["health", "trust"],
        "key_added" | "key_retired" => &["trust"],
        _ => &[],
    }
}

impl App {
    /// Tells all streams what was added to the log, as soon as lists show it: the index is a moment behind the commit.
    pub(crate) async fn tell_of_changes(self: Arc<Self>) {
        let ledger = &self.broker.ledger;
        let mut published = ledger.watch_published();
        let mut at = ledger.published().size;
        loop {
            if published.changed().await.is_err() {
                return;
            }
            // A burst is one change; and the index has its time.
            tokio::time::sleep(BURST).await;
            let size = published.borrow_and_update().size;
            if size <= at || self.streams.changes.receiver_count() == 0 {
                at = size;
                continue;
            }
            for _ in 0..WAITS {
                match self.broker.store.derived().await {
                    Ok(derived) if derived >= size => break,
                    Ok(_) | Err(_) => tokio::time::sleep(BURST).await,
                }
            }
            match missed(&self, (at, size)).await {
                Ok(topics) => {
                    let topics = Arc::new(topics);
                    // Nobody may be listening any more.
                    drop(self.streams.changes.send(Change { seq: size, topics }));
                }
                Err(error) => tracing::debug!(%error, "what changed cannot be read"),
            }
            at = size;
        }
    }
}

/// All that is told of.
const EVERYTHING: &[&str] = &[
    "callers", "denials", "grants", "health", "ledger", "policy", "requests", "trust",
];
/// What everybody who is signed in is told of.
const THEIRS: &[&str] = &["denials", "grants", "policy", "requests"];
/// Streams at once (SECURITY.md §4).
const PER_SESSION: usize = 4;
const IN_ALL: usize = 512;
/// Changes a stream may be behind before it is told that everything changed.
const BACKLOG: usize = 64;
/// Entries whose kinds are looked up for who comes back.
const MADE_UP: u64 = 10_000;
/// After how long a browser comes back, in seconds.
const RETRY_S: u32 = 3;
/// A reader who went away is noticed by then.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A stream is opened anew so often, and with it the session is looked at.
const LONGEST: Duration = Duration::from_secs(600);
/// Below the shortest time after which a connection on which nothing moves is taken for stuck.
const QUIET: Duration = Duration::from_millis(500);
const BURST: Duration = Duration::from_millis(250);
/// How often the index is waited for.
const WAITS: usize = 12;
