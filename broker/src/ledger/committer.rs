//! The loop that writes: one task, one connection, one transaction a batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use stint_audit::chain::MAX_BATCH;
use stint_audit::{Batch, Digest, Head, Receipt, What};
use tokio::sync::{mpsc, oneshot, watch};

use super::batching::take_batch;
use super::release::{Node, Outstanding};
use super::steady::Steady;
use super::transaction::{Attempt, Failure, Written};
use super::{Error, Frozen, Job, Lost, Published, Sealing, State};
use crate::clock::{Clock, Stopwatch};
use crate::store::engine::{Trouble, patiently};
use crate::store::wake::Wake;
use crate::store::{Db, Engine, Store};
use crate::telemetry::metrics::Metrics;

/// Owns the writer's connection and the head. Whoever opened the ledger runs it.
#[derive(Debug)]
pub struct Committer {
    pub(super) store: Store,
    /// Nothing while the connection is lost.
    pub(super) db: Option<Db>,
    pub(super) head: Head,
    pub(super) node: Node,
    pub(super) sealing: Sealing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) steady: Steady,
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) wake: Wake,
    pub(super) says: Says,
    /// Units whose guard key was in the batch before, and those that nobody waits for.
    pub(super) waiting: VecDeque<Job>,
    /// Outcomes since the WAL was last moved into the database.
    pub(super) unmoved: usize,
    /// Commits that take the head's lock first: until that many were won in a row (LEDGER.md §7).
    pub(super) cautious: u32,
    /// Grants that were recorded and are not known to have been handed out.
    pub(super) outstanding: Arc<Outstanding>,
    /// Free bytes that must be left where a file lies.
    pub(super) reserve: u64,
    pub(super) metrics: Arc<Metrics>,
}

/// What the committer tells the rest of the broker: each holds the newest value.
#[derive(Debug)]
pub(super) struct Says {
    pub(super) published: watch::Sender<Published>,
    pub(super) state: watch::Sender<State>,
    pub(super) frozen: watch::Sender<Frozen>,
    pub(super) policy: watch::Sender<Option<Digest>>,
}

impl Committer {
    /// Commits until every [`super::Ledger`] is dropped, then checkpoints the WAL and returns.
    pub async fn run(mut self) {
        let mut chores = tokio::time::interval(CHORES);
        let mut follow = tokio::time::interval(FOLLOW);
        follow.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.can_wait() {
                tokio::select! {
                    job = self.queue.recv() => match job {
                        Some(job) => self.waiting.push_back(job),
                        None => break,
                    },
                    () = self.wake.woken() => {
                        self.metrics.counted_wake();
                        self.look_around().await;
                        continue;
                    }
                    _ = follow.tick() => {
                        self.look_around().await;
                        continue;
                    }
                    _ = chores.tick() => {
                        self.commit_all().await;
                        self.chores().await;
                        continue;
                    }
                }
            }
            while self.waiting.len() < 2 * MAX_BATCH
                && let Ok(job) = self.queue.try_recv()
            {
                self.waiting.push_back(job);
            }
            if self.can_wait() {
                continue;
            }
            let jobs = take_batch(&mut self.waiting);
            self.unmoved += jobs.len();
            self.commit(jobs).await;
            if self.unmoved >= MOVE_AFTER {
                self.chores().await;
            }
        }
        self.commit_all().await;
        self.leave().await;
    }

    /// Whether nobody waits for what is queued: it goes with the next unit that somebody does, or with the chores, so
    /// that it costs no commit of its own.
    fn can_wait(&self) -> bool {
        self.waiting.len() < MAX_BATCH && self.waiting.iter().all(|job| job.answer.is_closed())
    }

    async fn commit_all(&mut self) {
        while !self.waiting.is_empty() {
            let jobs = take_batch(&mut self.waiting);
            self.commit(jobs).await;
        }
    }

    /// Commits `jobs` as one batch, less those whose guards fail, and answers all of them.
    pub(super) async fn commit(&mut self, mut jobs: Vec<Job>) {
        let watch = Stopwatch::start();
        if let Some(state) = self.no_room() {
            return self.refuse(jobs, Some(state));
        }
        if !self.steady.now(&*self.clock).believed {
            jobs = refuse_grants(jobs);
        }
        let (mut raced, mut again) = (0, self.store.engine() == Engine::Postgres);
        while !jobs.is_empty() {
            if self.db.is_none() && !self.reconnect().await {
                return self.refuse(jobs, None);
            }
            match self.attempt(&mut jobs).await {
                Ok(Attempt::Written(written)) => return self.finish(written, jobs, watch).await,
                Ok(Attempt::Lost(lost)) => {
                    self.roll_back().await;
                    jobs = answer_lost(jobs, &lost);
                }
                Ok(Attempt::Raced) => {
                    self.roll_back().await;
                    self.cautious = CAUTIOUS;
                    raced += 1;
                }
                Err(Failure::Engine(source))
                    if Trouble::of(&source) == Trouble::Raced && raced < RACES =>
                {
                    self.roll_back().await;
                    self.cautious = CAUTIOUS;
                    raced += 1;
                }
                // COMMIT was not sent: on a new connection it may be tried once more.
                Err(Failure::Engine(_) | Failure::Late) if std::mem::take(&mut again) => {
                    self.let_go().await;
                }
                Err(Failure::Engine(source)) => {
                    let state = trouble(&source);
                    self.let_go().await;
                    return self.refuse(jobs, Some(state));
                }
                Err(Failure::Diverged(why)) => {
                    self.roll_back().await;
                    return self.refuse(jobs, Some(State::Diverged(why)));
                }
                Err(Failure::Late) => {
                    let why = "the database did not answer".to_owned();
                    return self.refuse(jobs, Some(State::Unknown(why)));
                }
                Err(Failure::Closed(why)) => {
                    self.roll_back().await;
                    return self.refuse(jobs, Some(State::Closed(why)));
                }
                Err(Failure::Form(form)) => {
                    // Bodies were tried before they queued, and headers have no callers' text:
                    // this is a bug, and nobody's fault who waits.
                    self.roll_back().await;
                    tracing::error!(%form, "an entry did not fit the ledger's form");
                    return answer_all(jobs, || Err(Error::Unwritable));
                }
            }
        }
    }

    /// COMMIT, and what follows from it: head, checkpoint, receipts, answers.
    async fn finish(&mut self, written: Written, jobs: Vec<Job>, watch: Stopwatch) {
        let Written {
            batch,
            recorded,
            standing,
        } = written;
        if let Err(state) = self.seal(batch.as_ref()).await {
            return self.refuse(jobs, Some(state));
        }
        // From here on the batch is durable, and receipts may exist.
        self.cautious = self.cautious.saturating_sub(1);
        self.stand(standing);
        let receipts = batch.map(|batch| self.publish(batch)).unwrap_or_default();
        if !receipts.is_empty() {
            let now = self.clock.now();
            self.metrics
                .counted_commit(receipts.len(), watch.elapsed(), now);
        }
        let mut receipts = receipts.into_iter();
        let mut recorded = recorded.into_iter();
        answer_all(jobs, || {
            Ok(recorded
                .next()
                .filter(|has| *has)
                .and_then(|_| receipts.next()))
        });
    }

    /// The head moves, and is signed.
    fn publish(&mut self, batch: Batch) -> Vec<Receipt> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place, right after COMMIT"
        )]
        let durable = batch.durable(&self.sealing.log_key);
        self.outstanding.recorded(&durable.receipts);
        self.move_to(durable.head, durable.checkpoint);
        durable.receipts
    }

    /// Another head is the last one seen.
    pub(super) fn move_to(&mut self, head: Head, checkpoint: String) {
        self.head = head;
        self.says.published.send_replace(Published {
            size: self.head.size(),
            checkpoint: checkpoint.into(),
            last_ts: self.head.last_ts(),
        });
        self.say(self.well());
    }

    /// How a log stands whose store is well.
    pub(super) fn well(&self) -> State {
        match self.head.closed() {
            true => State::Closed("an `epoch` entry ended it".to_owned()),
            false => State::Open,
        }
    }

    /// One step on the connection. A server that does not answer in time loses it: nobody knows in the middle of what
    /// it is, and only a new one may be used.
    pub(super) async fn on_db<T, E: From<sqlx::Error>>(
        &mut self,
        step: impl AsyncFnOnce(&mut Db) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut db = self.db.take().ok_or(sqlx::Error::PoolClosed)?;
        let done = match db.engine() {
            Engine::Sqlite => Some(step(&mut db).await),
            Engine::Postgres => patiently(step(&mut db)).await,
        };
        let done = done.ok_or(sqlx::Error::PoolTimedOut)?;
        self.db = Some(db);
        done
    }

    pub(super) async fn roll_back(&mut self) {
        let done = self.on_db(async |db| db.tell("ROLLBACK").await).await;
        if let Err(source) = done {
            // The engine has rolled back by itself: that is what most failures of COMMIT do.
            tracing::debug!(%source, "nothing to roll back");
        }
    }

    /// After an error that says nothing of the connection: a file's is kept, a server's is made anew.
    async fn let_go(&mut self) {
        match self.store.engine() {
            Engine::Sqlite => self.roll_back().await,
            Engine::Postgres => self.db = None,
        }
    }

    /// Answers everybody that nothing was recorded. Without a `state`, the one that was said stands.
    fn refuse(&self, jobs: Vec<Job>, state: Option<State>) {
        if let Some(state) = state {
            tracing::error!(code = state.code(), detail = ?state, "nothing can be recorded");
            self.say(state);
        }
        answer_all(jobs, || Err(Error::Unwritable));
    }

    pub(super) fn say(&self, state: State) {
        self.says.state.send_if_modified(|known| {
            // An operator must act: nothing that happens by itself makes it good again.
            let stays = matches!(known, State::Diverged(_));
            let news = *known != state && !stays;
            if news {
                *known = state;
            }
            news
        });
    }
}

/// Without the grants: the times in them are of a clock that was just set.
fn refuse_grants(jobs: Vec<Job>) -> Vec<Job> {
    let grants = |job: &Job| {
        let what = job.unit.entry.as_ref().map(|sealed| &sealed.entry.what);
        matches!(what, Some(What::Granted(_)))
    };
    let (grants, others) = jobs.into_iter().partition(grants);
    answer_all(grants, || Err(Error::Unwritable));
    others
}

fn answer_lost(jobs: Vec<Job>, lost: &[(usize, Lost)]) -> Vec<Job> {
    let mut left = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.into_iter().enumerate() {
        match lost.iter().find(|(at, _)| *at == place) {
            Some((_, why)) => answer(job.answer, Err(Error::Lost(*why))),
            None => left.push(job),
        }
    }
    left
}

fn answer_all(jobs: Vec<Job>, mut what: impl FnMut() -> Result<Option<Receipt>, Error>) {
    for job in jobs {
        answer(job.answer, what());
    }
}

fn answer(
    to: oneshot::Sender<Result<Option<Receipt>, Error>>,
    what: Result<Option<Receipt>, Error>,
) {
    if to.send(what).is_err() {
        // The walk is gone (shutdown): the outcome stands in the ledger all the same.
        tracing::debug!("nobody waited for an outcome");
    }
}

/// The state a failing engine puts the log into, if the process goes on.
pub(super) fn trouble(source: &sqlx::Error) -> State {
    match Trouble::heed(source) {
        Trouble::Full => State::Full(source.to_string()),
        Trouble::Io | Trouble::Raced | Trouble::Other => State::Unknown(source.to_string()),
    }
}

/// Outcomes after which the WAL is moved, about 16 MiB of it (LEDGER.md §7).
const MOVE_AFTER: usize = 4_096;

/// Between two rounds of housekeeping while nothing is asked.
const CHORES: Duration = Duration::from_secs(10);

/// Between two looks at what other replicas wrote (LEDGER.md §8).
const FOLLOW: Duration = Duration::from_millis(250);

/// Commits under the head's lock after a lost race (LEDGER.md §7).
const CAUTIOUS: u32 = 16;

/// Lost races after which those who wait are told to come back.
const RACES: u32 = 32;
