//! One connection, as its requests and its deadlines see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::Bounds;
use super::crowd::Seat;
use crate::clock::Stopwatch;
use crate::http::peer::{Operator, Peer};

/// Who is on the other end.
#[derive(Clone, Debug)]
pub(super) enum Other {
    /// Of a TCP connection.
    Peer(Peer),
    /// Of the operator's socket.
    Operator(Operator),
}

/// What is known of a connection; a request extension of everything that came by TCP.
#[derive(Debug)]
pub(crate) struct Link {
    other: Other,
    accepted: Stopwatch,
    seat: Seat,
    leaving: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer has not left yet, and how many of them are being written.
    open: u32,
    answering: u32,
    /// Requests that are here as a whole and whose handler is not done: while there are any, the connection keeps its
    /// place.
    busy: u32,
    /// Whether there was a request at all.
    asked: bool,
    /// Since anything moved.
    moved: Stopwatch,
    /// An answer was handed over and may not be on the wire.
    unflushed: bool,
    leaves: bool,
    /// The request that is here is the last one.
    last: bool,
    /// Evidence that did not hold, and whether some did.
    failures: u32,
    trusted: bool,
    /// Who reads the next head, and waits for the end of an answer.
    reader: Option<Waker>,
}

impl Link {
    pub(super) fn new(other: Other, seat: Seat, accepted: Stopwatch) -> Arc<Link> {
        Arc::new(Link {
            other,
            accepted,
            seat,
            leaving: Notify::new(),
            state: Mutex::new(State {
                open: 0,
                answering: 0,
                busy: 0,
                asked: false,
                moved: accepted,
                unflushed: false,
                leaves: false,
                last: false,
                failures: 0,
                trusted: false,
                reader: None,
            }),
        })
    }

    pub(super) fn other(&self) -> &Other {
        &self.other
    }

    /// A request has come, at least its head.
    pub(super) fn visit(self: &Arc<Self>) -> Visit {
        let mut state = self.lock();
        state.open += 1;
        state.asked = true;
        state.moved = Stopwatch::start();
        Visit {
            link: Arc::clone(self),
            answering: false,
            arrival: Arrival::default(),
        }
    }

    /// All of the request is here: the connection is not cut for another any more, until it was answered.
    pub(super) fn arrived(&self, arrival: &Arrival) {
        let mut state = self.lock();
        if !arrival.told() {
            state.busy += 1;
            self.seat.works();
        }
    }

    /// Nothing is worked on for this request any more. One that is half here beside it does not count: who never ends
    /// its bodies would keep its place for ever.
    fn is_done(&self, state: &mut State, arrival: &Arrival) {
        state.busy -= u32::from(arrival.told());
        if state.busy == 0 {
            self.seat.waits();
        }
    }

    /// The connection ends with the requests that are open.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.leaves = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        drop(state);
        self.leaving.notify_one();
    }

    /// No further head is read.
    pub(super) fn last(&self) {
        self.lock().last = true;
    }

    /// Whether the next answer is the last.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.lock();
        state.leaves || state.last
    }

    /// Waits for [`Self::leave`].
    pub(super) async fn left(&self) {
        self.leaving.notified().await;
    }

    /// Waits until its place is needed.
    pub(super) async fn cut(&self) {
        self.seat.cut().await;
    }

    /// Counts evidence that did not hold; how often that was.
    pub(crate) fn failed(&self) -> u32 {
        let mut state = self.lock();
        state.failures += 1;
        state.failures
    }

    /// How often evidence did not hold.
    pub(crate) fn failures(&self) -> u32 {
        self.lock().failures
    }

    /// It brought evidence that holds.
    pub(crate) fn trust(&self) {
        self.lock().trusted = true;
    }

    /// Whether it ever did.
    pub(crate) fn is_trusted(&self) -> bool {
        self.lock().trusted
    }

    /// How long the next head may still take to begin; none while an answer is on its way, in whole or in part.
    /// `reader` is woken when that changes.
    pub(super) fn head_due(&self, bounds: &Bounds, reader: &Waker) -> Option<Duration> {
        let mut state = self.lock();
        state.reader = Some(reader.clone());
        if state.open > 0 || state.unflushed {
            return None;
        }
        let (limit, since) = match state.asked {
            true => (bounds.idle, state.moved),
            false => (bounds.head, self.accepted),
        };
        let limit = if state.leaves {
            limit.min(PARTING)
        } else {
            limit
        };
        Some(limit.saturating_sub(since.elapsed()))
    }

    /// What was written is on its way.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        state.unflushed = false;
        if state.open == 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
    }

    /// Ends when no request is open and none has come for too long.
    pub(super) async fn idle(&self, bounds: &Bounds) {
        loop {
            let left = self.lock().idle_for(bounds);
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => return,
            }
        }
    }

    /// Ends when requests are open and nothing has moved for too long.
    pub(super) async fn stuck(&self, bounds: &Bounds) {
        loop {
            let left = self.lock().stuck_for(bounds);
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => return,
            }
        }
    }

    /// Whether there ever was a request.
    pub(super) fn was_asked(&self) -> bool {
        self.lock().asked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is left until it is idle; none if it is.
    fn idle_for(&self, bounds: &Bounds) -> Option<Duration> {
        match self {
            State { open: 0, asked, .. } => {
                let limit = if *asked { bounds.idle } else { bounds.head };
                left(limit, self.moved)
            }
            _ => Some(bounds.idle),
        }
    }

    /// What is left until it is stuck; none if it is.
    fn stuck_for(&self, bounds: &Bounds) -> Option<Duration> {
        match self.open {
            0 => Some(bounds.write),
            // The handler's own limit comes first, and it covers the body's.
            open if self.answering < open => left(bounds.answer + bounds.write, self.moved),
            _ => left(bounds.write, self.moved),
        }
    }
}

fn left(limit: Duration, since: Stopwatch) -> Option<Duration> {
    limit
        .checked_sub(since.elapsed())
        .filter(|left| !left.is_zero())
}

/// How long a connection that is to end waits for a head that may be on its way.
const PARTING: Duration = Duration::from_millis(500);

/// Whether all of a request is here, told by its body to its visit. Under the lock of the link.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival(Arc<AtomicBool>);

impl Arrival {
    /// Whether that was said before; it is from now on.
    fn told(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
}

/// A request, from its head until its answer was handed over.
#[derive(Debug)]
pub(super) struct Visit {
    link: Arc<Link>,
    answering: bool,
    arrival: Arrival,
}

impl Visit {
    /// For the request's body.
    pub(super) fn arrival(&self) -> Arrival {
        self.arrival.clone()
    }

    /// The handler is done.
    pub(super) fn answers(&mut self) {
        if !self.answering {
            self.answering = true;
            let mut state = self.link.lock();
            state.answering += 1;
            state.moved = Stopwatch::start();
            self.link.is_done(&mut state, &self.arrival);
        }
    }

    /// A part of the answer was taken.
    pub(super) fn moves(&self) {
        self.link.lock().moved = Stopwatch::start();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.open -= 1;
        state.moved = Stopwatch::start();
        state.unflushed = true;
        if self.answering {
            state.answering -= 1;
        } else {
            self.link.is_done(&mut state, &self.arrival);
        }
    }
}
