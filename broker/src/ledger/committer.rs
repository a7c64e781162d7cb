//! The loop that writes: one task, one connection, one transaction a batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use stint_audit::chain::{ExtendError, MAX_BATCH};
use stint_audit::{Batch, Digest, Entry, Head, Receipt, What};
use tokio::sync::{mpsc, oneshot, watch};

use super::batching::take_batch;
use super::rows::{Effects, Guards};
use super::{Error, Frozen, Job, Lost, Published, Sealing, State, Unit, is_full, is_io};
use crate::clock::{Clock, Stopwatch};
use crate::store::{Write, retries, spent, trail};
use crate::telemetry;
use crate::telemetry::metrics::Metrics;

/// Owns the writer's connection and the head. Whoever opened the ledger runs it.
#[derive(Debug)]
pub struct Committer {
    pub(super) db: SqliteConnection,
    pub(super) head: Head,
    pub(super) pol: Option<Digest>,
    pub(super) node: String,
    pub(super) sealing: Sealing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) published: watch::Sender<Published>,
    pub(super) state: watch::Sender<State>,
    pub(super) frozen: watch::Sender<Frozen>,
    /// Units whose guard key was in the batch before, and those that nobody waits for.
    pub(super) waiting: VecDeque<Job>,
    /// Outcomes since the WAL was last moved into the database.
    pub(super) unmoved: usize,
    pub(super) metrics: Arc<Metrics>,
}

/// What a transaction came to, before COMMIT.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and nearly always the large one"
)]
enum Attempt {
    /// The head in the store is not ours.
    Forked,
    /// Guards failed: these units, by place in the batch. Nothing may stay.
    Lost(Vec<(usize, Lost)>),
    /// All is written, none of it durable yet.
    Written(Written),
}

/// A transaction that waits for its COMMIT.
struct Written {
    /// `None`: rows alone, no entry.
    batch: Option<Batch>,
    /// Which units have an entry, by place.
    recorded: Vec<bool>,
    /// The policy set in force after it.
    pol: Option<Digest>,
    /// What is frozen after it, if that changed.
    frozen: Option<Frozen>,
}

impl Committer {
    /// Commits until every [`super::Ledger`] is dropped, then checkpoints the WAL and returns.
    pub async fn run(mut self) {
        let mut chores = tokio::time::interval(CHORES);
        loop {
            if self.can_wait() {
                tokio::select! {
                    job = self.queue.recv() => match job {
                        Some(job) => self.waiting.push_back(job),
                        None => break,
                    },
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
        if let Err(source) = self.statement("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::warn!(state = ?trouble(&source), "the write-ahead log was left for the next start");
        }
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
        while !jobs.is_empty() {
            match self.attempt(&mut jobs).await {
                Ok(Attempt::Lost(lost)) => {
                    self.roll_back().await;
                    jobs = answer_lost(jobs, &lost);
                }
                Ok(Attempt::Written(written)) => return self.finish(written, jobs, watch).await,
                Ok(Attempt::Forked) => {
                    self.roll_back().await;
                    return self.refuse(jobs, self.diverged());
                }
                Err(Failure::Form(form)) => {
                    // Bodies were tried before they queued, and headers have no callers' text:
                    // this is a bug, and nobody's fault who waits.
                    self.roll_back().await;
                    tracing::error!(%form, "an entry did not fit the ledger's form");
                    return answer_all(jobs, || Err(Error::Unwritable));
                }
                Err(Failure::Engine(source)) => {
                    self.roll_back().await;
                    return self.refuse(jobs, trouble(&source));
                }
            }
        }
    }

    /// Steps 1 to 5 of LEDGER.md §7, inside one transaction that is left open.
    async fn attempt(&mut self, jobs: &mut [Job]) -> Result<Attempt, Failure> {
        self.statement("BEGIN IMMEDIATE").await?;
        let guards = Guards::of(jobs);
        let mut lost = self.policy_changed(jobs);
        lost.extend(self.frozen_meanwhile(jobs));
        let news = guards
            .hold(&mut self.db, self.head.log(), &mut lost)
            .await?;
        if !lost.is_empty() {
            return Ok(Attempt::Lost(lost));
        }
        let pol = jobs
            .iter()
            .rev()
            .find_map(|job| takes_force(&job.unit))
            .or(self.pol);
        let recorded: Vec<_> = jobs.iter().map(|job| job.unit.entry.is_some()).collect();
        let (entries, seqs) = news.entries(jobs, self.head.size());
        Effects::of(jobs, &seqs)
            .apply(&mut self.db, self.head.log())
            .await?;
        if entries.is_empty() {
            return Ok(Attempt::Written(Written {
                batch: None,
                recorded,
                pol,
                frozen: None,
            }));
        }
        let frozen = self.frozen_after(&entries);
        let batch = self
            .head
            .extend(&self.node, millis(&*self.clock), entries)?;
        let mac = batch.head().mac(&self.sealing.mac);
        let moved =
            trail::extend(&mut self.db, &self.head, &batch, &self.node, mac.as_bytes()).await?;
        let written = Written {
            batch: Some(batch),
            recorded,
            pol,
            frozen,
        };
        Ok(if moved {
            Attempt::Written(written)
        } else {
            Attempt::Forked
        })
    }

    /// COMMIT, and what follows from it: head, checkpoint, receipts, answers.
    async fn finish(&mut self, written: Written, jobs: Vec<Job>, watch: Stopwatch) {
        let Written {
            batch,
            recorded,
            pol,
            frozen,
        } = written;
        if let Err(source) = self.statement("COMMIT").await {
            // A failed COMMIT is an unknown outcome: read the store, then answer.
            let state = trouble(&source);
            self.roll_back().await;
            if !self.is_there(batch.as_ref()).await {
                return self.refuse(jobs, state);
            }
        }
        // From here on the batch is durable, and receipts may exist.
        self.pol = pol;
        if let Some(frozen) = frozen {
            self.frozen.send_replace(frozen);
        }
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
        self.head = durable.head;
        let checkpoint = durable.checkpoint.into();
        self.published.send_replace(Published {
            size: self.head.size(),
            checkpoint,
        });
        self.say(State::Open);
        durable.receipts
    }

    /// Whether this very batch is in the store: by first seq *and* root, never by size alone.
    async fn is_there(&mut self, batch: Option<&Batch>) -> bool {
        let Some(batch) = batch else { return false };
        let first = trail::signed(batch.first_seq());
        let found = trail::root_of_batch(&mut self.db, self.head.log(), first).await;
        matches!(found, Ok(Some(root)) if root == batch.head().root().as_bytes())
    }

    /// Units that were decided under a set that is not in force at their place.
    fn policy_changed(&self, jobs: &[Job]) -> Vec<(usize, Lost)> {
        let mut in_force = self.pol;
        let mut lost = Vec::new();
        for (place, job) in jobs.iter().enumerate() {
            if job.unit.pol.is_some()
                && takes_force(&job.unit).is_none()
                && job.unit.pol != in_force
            {
                lost.push((place, Lost::Policy));
            }
            in_force = takes_force(&job.unit).or(in_force);
        }
        lost
    }

    /// Units whose issuer is frozen at their place: by the log, or by an entry before them in this very batch.
    fn frozen_meanwhile(&self, jobs: &[Job]) -> Vec<(usize, Lost)> {
        let mut frozen = self.frozen.borrow().clone();
        let mut lost = Vec::new();
        for (seq, (place, job)) in (self.head.size()..).zip(jobs.iter().enumerate()) {
            let covers =
                |write: &Write| matches!(write, Write::NotFrozen(issuer) if frozen.covers(issuer));
            if job.unit.writes.iter().any(covers) {
                lost.push((place, Lost::Frozen));
            }
            // Units without an entry take no seq, so this one is too high; it is a name here, and as unique.
            if let Some(entry) = &job.unit.entry {
                frozen.follow(seq, entry);
            }
        }
        lost
    }

    /// What is frozen when `entries` are in the log; nothing if none of them says anything about it.
    fn frozen_after(&self, entries: &[Entry]) -> Option<Frozen> {
        let about = |entry: &Entry| matches!(entry.what, What::Frozen(_) | What::Unfrozen(_));
        if !entries.iter().any(about) {
            return None;
        }
        let mut frozen = self.frozen.borrow().clone();
        for (seq, entry) in (self.head.size()..).zip(entries) {
            frozen.follow(seq, entry);
        }
        Some(frozen)
    }

    /// Between commits: forgets old evidence, moves the WAL into the database, and finds out
    /// whether a log that could not be written can be again.
    async fn chores(&mut self) {
        self.unmoved = 0;
        match self.housekeep().await {
            Ok(true) => self.say(State::Open),
            Ok(false) => self.say(self.diverged()),
            Err(source) => {
                self.roll_back().await;
                let state = trouble(&source);
                tracing::warn!(
                    ?state,
                    "housekeeping of the store failed; it is tried again"
                );
                self.say(state);
            }
        }
    }

    /// Whether the stored head is ours. The deletion is a write: it fails where a commit would.
    async fn housekeep(&mut self) -> Result<bool, sqlx::Error> {
        let now = self.clock.now().as_millis();
        let log = self.head.log().to_owned();
        self.statement("BEGIN IMMEDIATE").await?;
        let stored = trail::head(&mut self.db, &log).await?;
        spent::forget(&mut self.db, &log, now).await?;
        retries::forget(&mut self.db, &log, now).await?;
        self.statement("COMMIT").await?;
        self.statement("PRAGMA wal_checkpoint(PASSIVE)").await?;
        let root = stored.map(|stored| stored.root);
        Ok(root.is_none_or(|root| root == self.head.root().as_bytes()))
    }

    fn diverged(&self) -> State {
        let size = self.head.size();
        State::Diverged(format!(
            "the stored head is not head {size} of this process"
        ))
    }

    async fn roll_back(&mut self) {
        if let Err(source) = self.statement("ROLLBACK").await {
            // The engine has rolled back by itself: that is what most failures of COMMIT do.
            tracing::debug!(%source, "nothing to roll back");
        }
    }

    async fn statement(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut self.db).await.map(drop)
    }

    fn refuse(&self, jobs: Vec<Job>, state: State) {
        tracing::error!(code = state.code(), detail = ?state, "nothing can be recorded");
        self.say(state);
        answer_all(jobs, || Err(Error::Unwritable));
    }

    fn say(&self, state: State) {
        self.state.send_if_modified(|known| {
            let news = *known != state;
            *known = state;
            news
        });
    }
}

/// Why a transaction could not be written.
enum Failure {
    Engine(sqlx::Error),
    Form(String),
}

impl From<ExtendError> for Failure {
    fn from(form: ExtendError) -> Self {
        Self::Form(form.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(source: sqlx::Error) -> Self {
        Self::Engine(source)
    }
}

/// The set that this unit puts in force, if it does.
fn takes_force(unit: &Unit) -> Option<Digest> {
    let entry = unit.entry.as_ref()?;
    match &entry.what {
        What::PolicyLoaded(loaded) if loaded.ok => entry.pol,
        _ => None,
    }
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

/// The state a failing engine puts the log into. An I/O error ends the process: after a failed
/// fsync the page cache lies (SECURITY.md §2, rule 16), so only a new start may believe the file.
fn trouble(source: &sqlx::Error) -> State {
    if is_io(source) {
        tracing::error!(%source, "input or output of the store failed; the process ends");
        telemetry::flush();
        std::process::abort();
    }
    if is_full(source) {
        State::Full(source.to_string())
    } else {
        State::Unknown(source.to_string())
    }
}

/// The commit's own time: the ledger counts from 1970, a clock before it counts as 1970.
fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().as_millis()).unwrap_or(0)
}

/// Outcomes after which the WAL is moved, about 16 MiB of it (LEDGER.md §7).
const MOVE_AFTER: usize = 4_096;

/// Between two rounds of housekeeping while nothing is asked.
const CHORES: Duration = Duration::from_secs(10);
