//! The one who remembers: every checkpoint that is to be cosigned passes here, one after the other.
//!
//! INVARIANT: the check against what is held, the cosignature and what is held from then on are one transaction, and
//! nothing is answered before it is on disk (tlog-witness: else two answers could roll one log back). Runs detached from
//! every client. Whatever queued while the last commit was in flight goes into the next.

use std::sync::Arc;

use stint_audit::Digest;
use stint_audit::cosign::WitnessKey;
use stint_audit::note::VerifierKey;
use stint_audit::witness::{AddCheckpoint, Held, Refusal};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::store::{Database, Evidence, Kind, LogRow};
use crate::clock::Clock;

/// Takes requests in turn, until nobody holds its [`Door`] any more.
#[derive(Debug)]
pub(super) struct Keeper {
    database: Database,
    key: WitnessKey,
    clock: Arc<dyn Clock>,
    queue: mpsc::Receiver<Job>,
}

/// Where requests go in.
#[derive(Debug, Clone)]
pub(super) struct Door(mpsc::Sender<Job>);

/// The keeper took no request, or died over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Unanswered {
    #[error("too many checkpoints wait")]
    Full,
    #[error("the database failed")]
    Gone,
}

/// What becomes of a checkpoint: its cosignature, or why there is none.
type Answer = Result<String, Refusal>;

#[derive(Debug)]
struct Job {
    request: AddCheckpoint,
    /// The checkpoint with the signatures that were checked, and no others.
    note: String,
    answer: oneshot::Sender<Answer>,
}

impl Door {
    /// Has a checkpoint judged, that the log of these `keys` is known to have signed.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(super) async fn submit(
        &self,
        request: AddCheckpoint,
        keys: &[VerifierKey],
    ) -> Result<Answer, Unanswered> {
        let lines = request.note.lines_of(keys).map(|line| format!("{line}\n"));
        let note = format!("{}\n{}", request.note.text(), lines.collect::<String>());
        let (answer, waiting) = oneshot::channel();
        let job = Job {
            request,
            note,
            answer,
        };
        self.0.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Closed(_) => Unanswered::Gone,
            mpsc::error::TrySendError::Full(_) => Unanswered::Full,
        })?;
        waiting.await.or(Err(Unanswered::Gone))
    }
}

impl Keeper {
    pub(super) fn new(database: Database, key: WitnessKey, clock: Arc<dyn Clock>) -> (Self, Door) {
        let (door, queue) = mpsc::channel(QUEUE);
        let keeper = Self {
            database,
            key,
            clock,
            queue,
        };
        (keeper, Door(door))
    }

    /// Runs until every door is gone.
    ///
    /// # Errors
    /// The database failed. Who waited was told nothing; what is on disk is for the next start to see.
    pub(super) async fn run(mut self) -> Result<(), ()> {
        let mut jobs = Vec::new();
        while self.queue.recv_many(&mut jobs, BATCH).await > 0 {
            let mut answers = Vec::with_capacity(jobs.len());
            if let Err(source) = self.batch(&jobs, &mut answers).await {
                let error = self.database.failed(source);
                tracing::error!(error = %told(&error), "the witness's database failed");
                return Err(());
            }
            for (job, answer) in jobs.drain(..).zip(answers) {
                // Who does not wait any more will ask again, and find the size.
                drop(job.answer.send(answer));
            }
        }
        let closed = self.database.close().await;
        closed.map_err(|error| tracing::error!(%error, "the witness's database was not closed"))
    }

    /// One transaction.
    async fn batch(&mut self, jobs: &[Job], answers: &mut Vec<Answer>) -> Result<(), sqlx::Error> {
        self.database.begin().await?;
        for job in jobs {
            answers.push(self.one(job).await?);
        }
        self.database.commit().await
    }

    async fn one(&mut self, job: &Job) -> Result<Answer, sqlx::Error> {
        let now = self.clock.now().as_millis().max(0).unsigned_abs() / 1_000;
        let checkpoint = &job.request.checkpoint;
        let known = self.database.held(&checkpoint.origin).await?;
        let held = known.as_ref().map(|row| &row.held);
        if let Err(refusal) = job.request.judge(held) {
            self.remember(job, refusal, known.as_ref(), now).await?;
            return Ok(Err(refusal));
        }
        let last = known.map_or(0, |row| row.time);
        if last > now {
            tracing::warn!(
                origin = checkpoint.origin,
                behind = last - now,
                "the clock was set back"
            );
        }
        // LEDGER.md §10: time never goes back.
        let time = now.max(last);
        let Some(line) = self.key.cosign(job.request.note.text(), time) else {
            return Err(sqlx::Error::Protocol("a time beyond 2^63".to_owned()));
        };
        let row = LogRow {
            held: tree(&job.request),
            note: job.note.clone(),
            cosignature: line.to_string(),
            time,
        };
        self.database.hold(&checkpoint.origin, &row).await?;
        tracing::debug!(
            origin = checkpoint.origin,
            size = checkpoint.size,
            "cosigned"
        );
        Ok(Ok(format!("{line}\n")))
    }

    /// Keeps what a log signed and should not have.
    async fn remember(
        &mut self,
        job: &Job,
        refusal: Refusal,
        known: Option<&LogRow>,
        now: u64,
    ) -> Result<(), sqlx::Error> {
        let Some(kind) = shows(&job.request, refusal, known) else {
            return Ok(());
        };
        let evidence = Evidence {
            origin: job.request.checkpoint.origin.clone(),
            kind,
            refused: tree(&job.request),
            note: job.note.clone(),
            held: known.map(|row| row.note.clone()).unwrap_or_default(),
            time: now,
        };
        if self.database.keep(&evidence).await? {
            let (origin, size) = (&evidence.origin, evidence.refused.size);
            match kind {
                Kind::Fork => tracing::error!(
                    origin,
                    size,
                    "a log forked: `stintd witness evidence` shows both"
                ),
                Kind::Unproven => {
                    tracing::warn!(origin, size, "a checkpoint came without a true proof")
                }
            }
        }
        Ok(())
    }
}

/// What a refused checkpoint shows of its log. A stale or early `old` alone shows nothing, but two roots of one size
/// do, whatever else was wrong with the request.
fn shows(request: &AddCheckpoint, refusal: Refusal, known: Option<&LogRow>) -> Option<Kind> {
    let tree = tree(request);
    let twin = known.is_some_and(|row| row.held.size == tree.size && row.held.root != tree.root);
    let no_tree = tree.size == 0 && tree.root != Digest::of(b"");
    match refusal {
        _ if twin || no_tree => Some(Kind::Fork),
        Refusal::Inconsistent(_) => Some(Kind::Unproven),
        Refusal::Old | Refusal::Stale(_) => None,
    }
}

fn tree(request: &AddCheckpoint) -> Held {
    Held {
        size: request.checkpoint.size,
        root: request.checkpoint.root,
    }
}

/// An error with its causes, on one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Checkpoints that may wait; a commit takes about a millisecond.
const QUEUE: usize = 1_024;
/// Checkpoints of one commit.
const BATCH: usize = 128;
