//! The gate in front of HTTP/1: hyper is handed whole heads of one meaning, one request at a time.
//!
//! It keeps the times and sizes of heads, since hyper's own timer closes without a word and hyper settles ambiguous
//! framing in silence. It counts a body's bytes, so that it knows where the next head begins; it reads nothing of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Bounds;
use super::head::{self, Framing, HeadFault, MAX_HEAD};
use super::link::Link;
use crate::clock::Stopwatch;
use crate::http::problem::connection;

/// A stream whose reader sees whole heads only.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    link: Arc<Link>,
    bounds: Arc<Bounds>,
    /// Read and not yet let through.
    buffer: Vec<u8>,
    /// Nothing more comes.
    ended: bool,
    state: State,
    /// Since the first byte of a head.
    begun: Option<Stopwatch>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What may still be read and thrown away before the connection closes.
    lingering: usize,
}

#[derive(Debug)]
enum State {
    /// Waits for a head; so many bytes of it were looked at.
    Head(usize),
    /// Lets so many bytes through: a head and its body.
    Through(u64),
    /// Lets everything through: the last request.
    Open,
    /// Says why not, beginning with this byte of it.
    Refuse(Vec<u8>, usize),
    /// Has said it, and waits a little for the client to have read it.
    Linger,
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(super) fn new(stream: S, link: Arc<Link>, bounds: Arc<Bounds>) -> Gate<S> {
        Gate {
            stream,
            link,
            bounds,
            buffer: Vec::new(),
            ended: false,
            state: State::Head(0),
            begun: None,
            timer: None,
            lingering: LINGER_BYTES,
        }
    }

    /// Reads what there is behind what was read.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
        self.buffer.extend_from_slice(chunk.filled());
        self.ended |= chunk.filled().is_empty();
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// Waits for a head; ready when the state has changed, or nothing will come.
    fn poll_head(&mut self, context: &mut Context<'_>, known: usize) -> Poll<io::Result<()>> {
        let mut known = known;
        loop {
            let due = self.link.head_due(&self.bounds, context.waker());
            if due.is_some() {
                known = known.min(self.skip_empty_lines());
                match self.judge(known) {
                    Ok(None) => known = self.buffer.len(),
                    Ok(Some(state)) => return self.turn(state),
                    Err(fault) => return self.turn(refuse(fault)),
                }
                self.state = State::Head(known);
            }
            let full = self.buffer.len() >= MAX_HEAD;
            if self.ended || full {
                // While an answer is on its way, the rest can wait: its end wakes us.
                return if due.is_some() {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            if self.poll_fill(context)?.is_pending() {
                return match due {
                    Some(due) => self.poll_due(context, due),
                    None => Poll::Pending,
                };
            }
        }
    }

    fn turn(&mut self, state: State) -> Poll<io::Result<()>> {
        (self.state, self.begun, self.timer) = (state, None, None);
        Poll::Ready(Ok(()))
    }

    /// The state that the buffered head leads to, if it is whole.
    fn judge(&self, known: usize) -> Result<Option<State>, HeadFault> {
        let Some(length) = head::end(&self.buffer, known)? else {
            return match self.buffer.len() {
                MAX_HEAD.. => Err(HeadFault::TooLarge),
                _ => Ok(None),
            };
        };
        if length > MAX_HEAD {
            return Err(HeadFault::TooLarge);
        }
        let head = self.buffer.get(..length).unwrap_or_default();
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        Ok(Some(match head::framing(head)? {
            Framing::Length(body) => State::Through(length.saturating_add(body)),
            Framing::Chunked => {
                self.link.last();
                State::Open
            }
        }))
    }

    /// Before a head there may be empty lines (RFC 9112 §2.2). How much of the head was looked at before: nothing, if
    /// there were any.
    fn skip_empty_lines(&mut self) -> usize {
        let mut skipped = 0;
        while self
            .buffer
            .get(skipped..)
            .is_some_and(|rest| rest.starts_with(b"\r\n"))
        {
            skipped += 2;
        }
        self.buffer.drain(..skipped);
        if skipped == 0 { usize::MAX } else { 0 }
    }

    /// Nothing came: is it too late?
    fn poll_due(&mut self, context: &mut Context<'_>, due: Duration) -> Poll<io::Result<()>> {
        let mut due = due;
        if !self.buffer.is_empty() {
            let first = self.begun.is_none();
            let begun = *self.begun.get_or_insert_with(Stopwatch::start);
            let of_head = self.bounds.head.saturating_sub(begun.elapsed());
            due = if self.link.was_asked() {
                of_head
            } else {
                due.min(of_head)
            };
            if first {
                self.timer = None;
            }
        }
        if due.is_zero() {
            return self.turn(match self.buffer.is_empty() {
                true => State::Over,
                false => refuse(HeadFault::Late),
            });
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(due)));
        ready!(timer.as_mut().poll(context));
        // It was set for the request before: look again, with a new one.
        self.timer = None;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the refusal, and closes our side.
    fn poll_refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let State::Refuse(answer, written) = &mut self.state {
            let rest = answer.get(*written..).unwrap_or_default();
            if rest.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(context))?;
                ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                return self.turn(State::Linger);
            }
            *written += ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Throws away what still comes: closing on it would reset the connection, and with it what the client has not
    /// read yet.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.buffer.clear();
        while self.lingering > 0 && !self.ended {
            match self.poll_fill(context) {
                Poll::Ready(Ok(read)) => self.lingering = self.lingering.saturating_sub(read),
                Poll::Ready(Err(_)) => break,
                Poll::Pending => {
                    let timer = self
                        .timer
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    ready!(timer.as_mut().poll(context));
                    break;
                }
            }
            self.buffer.clear();
        }
        self.state = State::Over;
        Poll::Ready(())
    }

    /// Lets through what was read, `most` bytes of it.
    fn pass(&mut self, into: &mut ReadBuf<'_>, most: u64) -> u64 {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = most.min(into.remaining()).min(self.buffer.len());
        into.put_slice(self.buffer.get(..count).unwrap_or_default());
        self.buffer.drain(..count);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Head(known) => {
                    ready!(self.poll_head(context, known))?;
                    if matches!(self.state, State::Head(_)) {
                        return Poll::Ready(Ok(())); // the end
                    }
                }
                State::Through(0) => self.state = State::Head(0),
                State::Through(left) => {
                    if self.buffer.is_empty() && !self.ended {
                        ready!(self.poll_fill(context))?;
                    }
                    let passed = self.pass(into, left);
                    self.state = State::Through(left - passed);
                    return Poll::Ready(Ok(()));
                }
                State::Open if self.buffer.is_empty() => {
                    return Pin::new(&mut self.stream).poll_read(context, into);
                }
                State::Open => {
                    self.pass(into, u64::MAX);
                    return Poll::Ready(Ok(()));
                }
                State::Refuse(..) => ready!(self.poll_refuse(context))?,
                State::Linger => ready!(self.poll_linger(context)),
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.link.flushed();
        Poll::Ready(Ok(()))
    }

    /// A request that was answered before all of it was read leaves bytes behind.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Over => return Poll::Ready(Ok(())),
            State::Linger => {}
            State::Head(_) | State::Through(_) | State::Open | State::Refuse(..) => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                let is_read = matches!(self.state, State::Head(_)) && self.buffer.is_empty();
                self.timer = None;
                self.state = if is_read { State::Over } else { State::Linger };
                if is_read {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        ready!(self.poll_linger(context));
        Poll::Ready(Ok(()))
    }
}

fn refuse(fault: HeadFault) -> State {
    State::Refuse(connection::head(fault), 0)
}

/// Read at once: a head with a token in it, seldom two of these.
const CHUNK: usize = 4096;
/// How long and how much is thrown away before a connection closes: a body of the largest size, four times.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
