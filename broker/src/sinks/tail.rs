//! The same stream for one reader: `GET /v1/ledger/events`, a response without an end.
//!
//! Who reads slowly is read for slowly: the next page is read when the last was taken. Nothing is remembered of the
//! reader, who comes back with the seq it wants next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use serde_json::{Map, json};
use stint_audit::Entry;
use stint_audit::kind::{Admin, AdminOp};
use tokio::sync::watch;
use tokio::time::Interval;

use super::feed::{Disclosed, Feed, FeedError};
use crate::clock::Clock;
use crate::http::listen::phase::Phase;
use crate::issue::Broker;
use crate::ledger;

/// A reader's place.
pub(crate) struct Tail {
    feed: Feed,
    at: u64,
    clock: Arc<dyn Clock>,
    beat: Interval,
    phase: watch::Receiver<Phase>,
}

type Next = Pin<Box<dyn Future<Output = (Tail, Result<Option<Bytes>, FeedError>)> + Send>>;

/// The body of the response.
struct Stream(Option<Next>);

impl Tail {
    /// From entry `from` on, with a signed head at once and every minute.
    pub(crate) fn new(
        feed: Feed,
        from: u64,
        clock: Arc<dyn Clock>,
        phase: watch::Receiver<Phase>,
    ) -> Tail {
        Tail {
            feed,
            at: from,
            clock,
            beat: tokio::time::interval(HEARTBEAT),
            phase,
        }
    }

    /// As a response's body.
    pub(crate) fn body(self) -> impl Body<Data = Bytes, Error = FeedError> + Send + 'static {
        Stream(Some(Box::pin(self.next())))
    }

    /// What comes next; none at all when the process is to end. No bytes keep the connection from being taken for stuck.
    async fn next(mut self) -> (Tail, Result<Option<Bytes>, FeedError>) {
        let mut phase = self.phase.clone();
        let what = tokio::select! {
            _ = phase.wait_for(|now| *now >= Phase::Draining) => return (self, Ok(None)),
            _ = self.beat.tick() => What::Beat,
            beyond = self.feed.beyond(self.at) => match beyond {
                Ok(()) => What::More,
                Err(FeedError::Closed) => return (self, Ok(None)),
                Err(error) => return (self, Err(error)),
            },
            () = tokio::time::sleep(QUIET) => What::Nothing,
        };
        let events = match what {
            What::Beat => Ok(self
                .feed
                .heartbeat(self.at, self.clock.now())
                .into_iter()
                .collect()),
            What::More => self.feed.page(self.at, MOST).await,
            What::Nothing => Ok(Vec::new()),
        };
        match events {
            Ok(events) => {
                if matches!(what, What::More) {
                    self.at = self
                        .at
                        .saturating_add(u64::try_from(events.len()).unwrap_or(0));
                }
                let mut lines = Vec::new();
                for event in events {
                    lines.extend_from_slice(&event.line);
                    lines.push(b'\n');
                }
                (self, Ok(Some(lines.into())))
            }
            Err(error) => (self, Err(error)),
        }
    }
}

impl Broker {
    /// Records that an operator, `uid`, reads bodies of these kinds from entry `from` on: one entry a reader, before the
    /// first body leaves (LEDGER.md §5, `admin body_read`). Headers are read without a word: they name nobody.
    ///
    /// # Errors
    /// The ledger's; then nothing is to be read.
    pub(crate) async fn disclosing(
        &self,
        uid: u32,
        from: u64,
        kinds: &Disclosed,
    ) -> Result<(), ledger::Error> {
        let id = format!("local:{uid}");
        let actor = self.ledger.subject(&id);
        let mut body = Map::new();
        let who = json!({ "id": id, "open": actor.open.to_string() });
        body.insert("actor".to_owned(), who);
        body.insert("target".to_owned(), json!(kinds.to_string()));
        let read = Admin {
            n: None,
            of: Some(from),
            op: AdminOp::BodyRead,
        };
        let entry = Entry {
            by: Some(actor.pseudonym),
            ..ledger::note(read, None, body)
        };
        self.ledger.record(entry, None, Vec::new()).await.map(drop)
    }
}

enum What {
    Beat,
    More,
    Nothing,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = FeedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FeedError>>> {
        let Some(next) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let Poll::Ready((tail, came)) = next.as_mut().poll(context) else {
            return Poll::Pending;
        };
        match came {
            Ok(Some(bytes)) => {
                self.0 = Some(Box::pin(tail.next()));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Ok(None) => {
                self.0 = None;
                Poll::Ready(None)
            }
            Err(error) => {
                tracing::warn!(%error, "a reader of the ledger was left: entries cannot be read");
                self.0 = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// Between two signed heads (LEDGER.md §9).
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Below the shortest time after which a connection on which nothing moves is taken for stuck.
const QUIET: Duration = Duration::from_millis(500);
/// Entries of one page.
const MOST: usize = 512;
