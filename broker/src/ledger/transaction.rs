//! One batch inside one transaction: steps 1 to 5 of LEDGER.md §7, and COMMIT.

use stint_audit::chain::ExtendError;
use stint_audit::{Batch, Digest, What};

use super::committer::{Committer, trouble};
use super::follow::FollowFailure;
use super::rows::{Effects, Guards, hold_histories};
use super::{Frozen, Job, Lost, State, Unit};
use crate::store::engine::patiently;
use crate::store::{Db, Engine, Write, trail};

/// What a transaction came to, before COMMIT.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and nearly always the large one"
)]
pub(super) enum Attempt {
    /// Guards failed: these units, by place in the batch. Nothing may stay.
    Lost(Vec<(usize, Lost)>),
    /// Another replica extended the head first. Nothing may stay.
    Raced,
    /// All is written, none of it durable yet.
    Written(Written),
}

/// A transaction that waits for its COMMIT.
pub(super) struct Written {
    /// `None`: rows alone, no entry.
    pub(super) batch: Option<Batch>,
    /// Which units have an entry, by place.
    pub(super) recorded: Vec<bool>,
    /// What stands after it.
    pub(super) standing: Stands,
}

/// What the entries up to some head leave in force.
#[derive(Debug, Clone)]
pub(super) struct Stands {
    pub(super) pol: Option<Digest>,
    /// `None`: as it was.
    pub(super) frozen: Option<Frozen>,
}

/// Why a transaction could not be written.
pub(super) enum Failure {
    /// The log has ended.
    Closed(String),
    /// The store is not the one this process wrote.
    Diverged(String),
    Engine(sqlx::Error),
    Form(String),
    /// The server did not answer in time; the connection was given up before COMMIT was sent.
    Late,
}

impl Committer {
    /// Writes `jobs` into one transaction that is left open.
    pub(super) async fn attempt(&mut self, jobs: &mut [Job]) -> Result<Attempt, Failure> {
        // Taken out for as long: a connection that is given up in the middle of a word is never used again.
        let Some(mut db) = self.db.take() else {
            return Err(Failure::Late);
        };
        let written = match db.engine() {
            Engine::Sqlite => self.write(&mut db, jobs).await,
            Engine::Postgres => patiently(self.write(&mut db, jobs))
                .await
                .ok_or(Failure::Late)
                .flatten(),
        };
        if !matches!(written, Err(Failure::Late)) {
            self.db = Some(db);
        }
        written
    }

    async fn write(&mut self, db: &mut Db, jobs: &mut [Job]) -> Result<Attempt, Failure> {
        db.begin().await?;
        let mut lost = Vec::new();
        let log = self.head.log().to_owned();
        let news = Guards::of(jobs).hold(db, &log, &mut lost).await?;
        if self.cautious > 0 {
            self.catch_up(db, trail::Lock::Taken).await?;
        }
        lost.extend(self.policy_changed(jobs));
        lost.extend(self.frozen_meanwhile(jobs));
        hold_histories(db, &log, jobs, &mut lost).await?;
        if !lost.is_empty() {
            return Ok(Attempt::Lost(lost));
        }
        let recorded: Vec<_> = jobs.iter().map(|job| job.unit.entry.is_some()).collect();
        let seqs = news.mark(jobs, self.head.size());
        let standing = self.standing_after(jobs);
        Effects::of(jobs, &seqs).apply(db, &log).await?;
        let entries: Vec<_> = jobs
            .iter()
            .filter_map(|it| it.unit.entry.as_ref())
            .collect();
        if entries.is_empty() {
            return Ok(Attempt::Written(Written {
                batch: None,
                recorded,
                standing,
            }));
        }
        let now = self.steady.now(&*self.clock).millis;
        let batch = self.head.extend_sealed(&self.node.name, now, &entries)?;
        self.hold_node(db).await?;
        let mac = batch.head().mac(&self.sealing.mac);
        let moved = trail::extend(db, &self.head, &batch, &self.node.name, mac.as_bytes()).await?;
        match (moved, db.engine()) {
            (true, _) => Ok(Attempt::Written(Written {
                batch: Some(batch),
                recorded,
                standing,
            })),
            (false, Engine::Postgres) => Ok(Attempt::Raced),
            (false, Engine::Sqlite) => Err(Failure::Diverged(self.not_ours())),
        }
    }

    /// COMMIT. When it comes back, the batch is durable; when not, `Err` says that nothing of it is, as far as anybody
    /// can know.
    pub(super) async fn seal(&mut self, batch: Option<&Batch>) -> Result<(), State> {
        let Some(mut db) = self.db.take() else {
            return Err(State::Unknown("the connection is lost".to_owned()));
        };
        let committed = match db.engine() {
            Engine::Sqlite => Some(db.tell("COMMIT").await),
            Engine::Postgres => patiently(db.tell("COMMIT")).await,
        };
        let state = match committed {
            Some(Ok(())) => {
                self.db = Some(db);
                return Ok(());
            }
            Some(Err(source)) => trouble(&source),
            None => State::Unknown("COMMIT was not answered".to_owned()),
        };
        if db.engine() == Engine::Sqlite {
            self.db = Some(db);
            self.roll_back().await;
        }
        // A failed COMMIT is an unknown outcome: read the store, then answer.
        match self.is_there(batch).await {
            true => Ok(()),
            false => Err(state),
        }
    }

    /// Units that were decided under a set that is not in force at their place.
    fn policy_changed(&self, jobs: &[Job]) -> Vec<(usize, Lost)> {
        let mut in_force = *self.says.policy.borrow();
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

    /// Units whose issuer is frozen, or whose people or caller are disabled, at their place: by the log, or by an entry
    /// before them in this very batch.
    fn frozen_meanwhile(&self, jobs: &[Job]) -> Vec<(usize, Lost)> {
        let mut frozen = self.says.frozen.borrow().clone();
        let mut lost = Vec::new();
        for (seq, (place, job)) in (self.head.size()..).zip(jobs.iter().enumerate()) {
            let forbids = |write: &Write| match write {
                Write::NotFrozen(issuer) => frozen.covers(issuer).then_some(Lost::Frozen),
                Write::NotDisabled(id) => frozen.disables(id).then_some(Lost::Disabled),
                _ => None,
            };
            let forbidden = job.unit.writes.iter().find_map(forbids);
            lost.extend(forbidden.map(|why| (place, why)));
            // Units without an entry take no seq, so this one is too high; it is a name here, and as unique.
            if let Some(sealed) = &job.unit.entry {
                frozen.follow(seq, &sealed.entry.what, || Some(sealed.entry.body.clone()));
            }
        }
        lost
    }

    /// What stands when the entries of `jobs` are in the log.
    fn standing_after(&self, jobs: &[Job]) -> Stands {
        let taken = jobs.iter().rev().find_map(|job| takes_force(&job.unit));
        let entries = || jobs.iter().filter_map(|job| job.unit.entry.as_ref());
        let frozen = entries().any(|it| Frozen::hears(&it.entry.what)).then(|| {
            let mut frozen = self.says.frozen.borrow().clone();
            for (seq, sealed) in (self.head.size()..).zip(entries()) {
                frozen.follow(seq, &sealed.entry.what, || Some(sealed.entry.body.clone()));
            }
            frozen
        });
        Stands {
            pol: taken.or(*self.says.policy.borrow()),
            frozen,
        }
    }

    /// Says what stands from now on.
    pub(super) fn stand(&mut self, standing: Stands) {
        self.says.policy.send_if_modified(|pol| {
            let news = *pol != standing.pol;
            *pol = standing.pol;
            news
        });
        if let Some(frozen) = standing.frozen {
            self.says.frozen.send_replace(frozen);
        }
    }

    pub(super) fn not_ours(&self) -> String {
        let size = self.head.size();
        format!("the stored head is not head {size} of this process")
    }
}

/// The set that this unit puts in force, if it does.
fn takes_force(unit: &Unit) -> Option<Digest> {
    let entry = &unit.entry.as_ref()?.entry;
    match &entry.what {
        What::PolicyLoaded(loaded) if loaded.ok => entry.pol,
        _ => None,
    }
}

impl From<ExtendError> for Failure {
    fn from(form: ExtendError) -> Self {
        match form {
            ExtendError::Closed(_) => Self::Closed(form.to_string()),
            form => Self::Form(form.to_string()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(source: sqlx::Error) -> Self {
        Self::Engine(source)
    }
}

impl From<FollowFailure> for Failure {
    fn from(failure: FollowFailure) -> Self {
        match failure {
            FollowFailure::Diverged(why) => Self::Diverged(why),
            FollowFailure::Engine(source) => Self::Engine(source),
        }
    }
}
