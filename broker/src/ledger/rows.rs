//! The rows of a batch: guards, which decide whether a unit happens, and effects, which follow.
//!
//! Both are set statements, eight or so a batch however many units it has, in one fixed order of
//! tables (LEDGER.md §7). Nothing here begins or commits.

use std::collections::HashSet;

use stint_audit::{Entry, Sealed, What};

use super::{Job, Lost, Unit};
use crate::store::prune::{self, SweepRow};
use crate::store::{
    AnswerRow, CloseRow, Db, FetchRow, GrantRow, PolicyRow, RequestRow, RetryRow, Sort, SpentRow,
    TaskRow, VoteRow, Write, deferrals,
    derived::{self, Derived},
    erase::{self, EraseRow},
    issuers, nodes, notices, people, policies,
    requests::{self, Ending},
    retries, spent, tasks,
    votes::{self, Judged, Look},
};

/// The rows that decide whether a unit happens, by table, with the unit's place in the batch.
#[derive(Default)]
pub(super) struct Guards<'a> {
    spend: Vec<(usize, &'a SpentRow)>,
    replayed: Vec<(usize, &'a str)>,
    open: Vec<(&'a TaskRow, bool)>,
    close: Vec<(usize, &'a CloseRow)>,
    erase: Vec<(usize, &'a EraseRow)>,
    park: Vec<(usize, &'a RequestRow)>,
    end: Vec<(usize, &'a Ending)>,
    voted: Vec<(usize, Voted<'a>)>,
    people: Vec<(usize, &'a people::Change)>,
    retry: Vec<(usize, &'a RetryRow)>,
    deferrals: Vec<(usize, &'a deferrals::Change)>,
}

/// A vote, or votes that a decision rests on.
enum Voted<'a> {
    Cast(&'a VoteRow),
    Judged(&'a Judged),
}

/// What the guards found to be new.
pub(super) struct News {
    tasks: HashSet<String>,
    callers: HashSet<String>,
}

impl<'a> Guards<'a> {
    pub(super) fn of(jobs: &'a [Job]) -> Guards<'a> {
        let mut guards = Self::default();
        for (place, job) in jobs.iter().enumerate() {
            for write in &job.unit.writes {
                match write {
                    Write::Close(row) => guards.close.push((place, row)),
                    Write::Deferral(change) => guards.deferrals.push((place, change)),
                    Write::Erase(row) => guards.erase.push((place, row)),
                    Write::OpenTask(row) => guards.open.push((row, begins(&job.unit))),
                    Write::Park(row) => guards.park.push((place, row)),
                    Write::People(change) => guards.people.push((place, change)),
                    Write::Replayed(key) => guards.replayed.push((place, key)),
                    Write::RequestEnded(ending) => guards.end.push((place, ending)),
                    Write::Retry(row) => guards.retry.push((place, row)),
                    Write::Spend(row) => guards.spend.push((place, row)),
                    Write::Vote(row) => guards.voted.push((place, Voted::Cast(row))),
                    Write::VotesAre(judged) => guards.voted.push((place, Voted::Judged(judged))),
                    // `NotDisabled` and `NotFrozen` are the committer's own: it folds entries, not rows. `HistoryIs` reads only, so it
                    // comes last: see [`hold_histories`].
                    Write::Deny(_)
                    | Write::Derived(_)
                    | Write::HistoryIs { .. }
                    | Write::Fetched(_)
                    | Write::Grant(_)
                    | Write::Keep(_)
                    | Write::Looked(_)
                    | Write::NotDisabled(_)
                    | Write::NotFrozen(_)
                    | Write::Notice(_)
                    | Write::PolicySet(_)
                    | Write::Pruned
                    | Write::Sweep(_) => {}
                }
            }
        }
        guards
    }

    /// Applies them in fixed order of tables; adds the places of those that did not hold.
    pub(super) async fn hold(
        self,
        db: &mut Db,
        log: &str,
        lost: &mut Vec<(usize, Lost)>,
    ) -> Result<News, sqlx::Error> {
        self.hold_evidence(db, log, lost).await?;
        for (place, row) in &self.close {
            if !nodes::close(db, log, row).await? {
                lost.push((*place, Lost::Node));
            }
        }
        if !self.park.is_empty() {
            let rows: Vec<_> = self.park.iter().map(|(_, row)| *row).collect();
            let parked = requests::park(db, log, &rows).await?;
            lost.extend(missing(
                self.park.iter().map(|(at, row)| (*at, &*row.id)),
                &parked,
                Lost::Parked,
            ));
        }
        if !self.end.is_empty() {
            let endings: Vec<_> = self.end.iter().map(|(_, ending)| *ending).collect();
            let ended = requests::end(db, log, &endings).await?;
            let asked = self.end.iter().map(|(at, it)| (*at, &*it.request));
            lost.extend(missing(asked, &ended, Lost::Pending));
        }
        self.hold_votes(db, log, lost).await?;
        for (place, row) in &self.erase {
            if !erase::erase(db, log, row).await? {
                lost.push((*place, Lost::Erased));
            }
        }
        if self.open.is_empty() {
            return Ok(News {
                tasks: HashSet::new(),
                callers: HashSet::new(),
            });
        }
        let tasks = tasks::open(db, log, &self.open).await?;
        let callers = tasks::meet(db, log, &self.open).await?;
        Ok(News { tasks, callers })
    }

    async fn hold_votes(
        &self,
        db: &mut Db,
        log: &str,
        lost: &mut Vec<(usize, Lost)>,
    ) -> Result<(), sqlx::Error> {
        for (place, voted) in &self.voted {
            let holds = match voted {
                Voted::Cast(row) => votes::cast(db, log, row).await?,
                Voted::Judged(judged) => votes::hold(db, log, judged).await?,
            };
            if !holds {
                lost.push((*place, Lost::Voted));
            }
        }
        for (place, change) in &self.people {
            if !people::apply(db, log, change).await? {
                lost.push((*place, Lost::Person));
            }
        }
        for (place, change) in &self.deferrals {
            if !deferrals::apply(db, log, change).await? {
                lost.push((*place, Lost::Deferred));
            }
        }
        Ok(())
    }

    async fn hold_evidence(
        &self,
        db: &mut Db,
        log: &str,
        lost: &mut Vec<(usize, Lost)>,
    ) -> Result<(), sqlx::Error> {
        if !self.spend.is_empty() {
            let rows: Vec<_> = self.spend.iter().map(|(_, row)| *row).collect();
            let new = spent::spend(db, log, &rows).await?;
            let used: Vec<_> = self
                .spend
                .iter()
                .filter(|(_, row)| !new.contains(&row.key))
                .collect();
            if !used.is_empty() {
                let keys: Vec<_> = used.iter().map(|(_, row)| &*row.key).collect();
                let first = spent::first_uses(db, log, &keys).await?;
                let again =
                    |row: &SpentRow| first.get(&row.key).is_some_and(|use_| use_.is_again(row));
                lost.extend(
                    used.iter()
                        .filter(|(_, row)| !again(row))
                        .map(|(at, row)| (*at, used_up(row))),
                );
            }
        }
        if !self.replayed.is_empty() {
            let keys: Vec<_> = self.replayed.iter().map(|(_, key)| *key).collect();
            let first = spent::replayed(db, log, &keys).await?;
            lost.extend(missing(self.replayed.iter().copied(), &first, Lost::Spent));
        }
        if !self.retry.is_empty() {
            let rows: Vec<_> = self.retry.iter().map(|(_, row)| *row).collect();
            let taken = retries::take(db, log, &rows).await?;
            lost.extend(missing(
                self.retry.iter().map(|(at, row)| (*at, &*row.key)),
                &taken,
                Lost::Repeated,
            ));
        }
        Ok(())
    }
}

/// The guards that only read: whether the history that was judged is still the task's. They come behind the head's lock,
/// where it is taken, for a read before it would be of the past.
pub(super) async fn hold_histories(
    db: &mut Db,
    log: &str,
    jobs: &[Job],
    lost: &mut Vec<(usize, Lost)>,
) -> Result<(), sqlx::Error> {
    let mut judged = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        for write in &job.unit.writes {
            if let Write::HistoryIs { task, outcomes } = write {
                judged.push((place, &**task, *outcomes));
            }
        }
    }
    if judged.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = judged.iter().map(|(_, task, _)| *task).collect();
    let standing = tasks::standing(db, log, &ids).await?;
    for (place, task, outcomes) in judged {
        if standing.get(task).copied().unwrap_or(0) != outcomes {
            lost.push((place, Lost::History));
        }
    }
    Ok(())
}

fn used_up(row: &SpentRow) -> Lost {
    match row.sort {
        Sort::Proof => Lost::Proof,
        Sort::Token => Lost::Spent,
    }
}

/// Places whose key did not come back.
fn missing<'a>(
    asked: impl Iterator<Item = (usize, &'a str)>,
    came: &HashSet<String>,
    lost: Lost,
) -> Vec<(usize, Lost)> {
    asked
        .filter(|(_, key)| !came.contains(*key))
        .map(|(place, _)| (place, lost))
        .collect()
}

impl News {
    /// Marks what the entries of `jobs` open, and says which seq each unit gets.
    pub(super) fn mark(mut self, jobs: &mut [Job], first: u64) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(jobs.len());
        let mut seq = first;
        for job in jobs {
            seqs.push(seq);
            let Some(Sealed { entry, .. }) = &mut job.unit.entry else {
                continue;
            };
            for write in &job.unit.writes {
                if let Write::OpenTask(row) = write {
                    mark(entry, row, &mut self);
                }
            }
            seq += 1;
        }
        seqs
    }
}

/// The first ask of a task opens it; the first outcome of a caller says so (LEDGER.md §5, O).
fn mark(entry: &mut Entry, row: &TaskRow, news: &mut News) {
    match &mut entry.what {
        What::Denied(denied) => denied.first = news.callers.remove(&row.caller.0),
        What::Granted(granted) => {
            granted.opens = news.tasks.remove(&row.id);
            granted.first = news.callers.remove(&row.caller.0);
        }
        What::Requested(requested) => {
            requested.opens = news.tasks.remove(&row.id);
            requested.first = news.callers.remove(&row.caller.0);
        }
        _ => {}
    }
}

/// The rows that follow from units that happen.
#[derive(Default)]
pub(super) struct Effects<'a> {
    grants: Vec<(&'a GrantRow, u64)>,
    answers: Vec<&'a AnswerRow>,
    denials: Vec<&'a str>,
    policies: Vec<(&'a PolicyRow, u64)>,
    fetches: Vec<&'a FetchRow>,
    derived: Vec<&'a Derived>,
    notices: Vec<&'a notices::Change>,
    looks: Vec<&'a Look>,
    cut: Option<u64>,
    sweeps: Vec<&'a SweepRow>,
}

impl<'a> Effects<'a> {
    pub(super) fn of(jobs: &'a [Job], seqs: &[u64]) -> Effects<'a> {
        let mut effects = Self::default();
        for (job, &seq) in jobs.iter().zip(seqs) {
            for write in &job.unit.writes {
                match write {
                    Write::Deny(task) => effects.denials.push(task),
                    Write::Derived(rows) => effects.derived.push(rows),
                    Write::Fetched(row) => effects.fetches.push(row),
                    Write::Grant(row) => effects.grants.push((row, seq)),
                    Write::Keep(row) => effects.answers.push(row),
                    Write::Looked(look) => effects.looks.push(look),
                    Write::Notice(change) => effects.notices.push(change),
                    Write::PolicySet(row) => effects.policies.push((row, seq)),
                    Write::Pruned => effects.cut = Some(seq),
                    Write::Sweep(row) => effects.sweeps.push(row),
                    Write::Close(_)
                    | Write::Deferral(_)
                    | Write::HistoryIs { .. }
                    | Write::Erase(_)
                    | Write::NotDisabled(_)
                    | Write::NotFrozen(_)
                    | Write::OpenTask(_)
                    | Write::Park(_)
                    | Write::People(_)
                    | Write::Replayed(_)
                    | Write::RequestEnded(_)
                    | Write::Retry(_)
                    | Write::Spend(_)
                    | Write::Vote(_)
                    | Write::VotesAre(_) => {}
                }
            }
        }
        effects
    }

    pub(super) async fn apply(self, db: &mut Db, log: &str) -> Result<(), sqlx::Error> {
        if !self.grants.is_empty() {
            tasks::grant(db, log, &self.grants).await?;
        }
        if !self.denials.is_empty() {
            tasks::deny(db, log, &self.denials).await?;
        }
        if !self.answers.is_empty() {
            retries::keep(db, log, &self.answers).await?;
        }
        for set in self.policies {
            policies::keep(db, log, set).await?;
        }
        for rows in self.derived {
            derived::keep(db, log, rows).await?;
        }
        for look in self.looks {
            votes::look(db, log, look).await?;
        }
        if let Some(seq) = self.cut {
            prune::cut(db, log, seq).await?;
        }
        for row in self.sweeps {
            prune::sweep(db, log, row).await?;
        }
        for change in self.notices {
            notices::apply(db, log, change).await?;
        }
        if !self.fetches.is_empty() {
            issuers::fetched(db, log, &self.fetches).await?;
        }
        Ok(())
    }
}

/// Whether a unit is more than a refusal: the first such one opens its task.
fn begins(unit: &Unit) -> bool {
    let what = unit.entry.as_ref().map(|sealed| &sealed.entry.what);
    matches!(what, Some(What::Granted(_) | What::Requested(_)))
}
