//! Which units go into one batch: in order, and none in another's way.

use std::collections::{HashSet, VecDeque};

use stint_audit::chain::MAX_BATCH;

use super::Job;
use crate::store::Write;

/// The next batch: at most [`MAX_BATCH`] units that cannot get into each other's way; the rest
/// waits for the next one, in order.
pub(super) fn take_batch(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let mut held = HashSet::new();
    let mut batch = Vec::new();
    let mut later = VecDeque::new();
    while batch.len() < MAX_BATCH
        && let Some(job) = waiting.pop_front()
    {
        let claims: Vec<_> = job.unit.writes.iter().filter_map(Claim::of).collect();
        if claims.iter().any(|claim| claim.meets(&held)) {
            later.push_back(job);
        } else {
            held.extend(claims);
            batch.push(job);
        }
    }
    later.append(waiting);
    *waiting = later;
    batch
}

/// What a unit holds while its batch is made.
#[derive(PartialEq, Eq, Hash)]
enum Claim {
    /// Nobody else may touch this key in the same batch.
    Alone(String),
    /// The task gets another outcome.
    Changes(String),
    /// The task's history was read.
    Reads(String),
}

impl Claim {
    fn of(write: &Write) -> Option<Self> {
        Some(match write {
            Write::Deferral(change) => Self::Alone(change.claim()),
            Write::Deny(task) => Self::Changes(task.clone()),
            Write::Grant(row) => Self::Changes(row.task.clone()),
            Write::HistoryIs { task, .. } => Self::Reads(task.clone()),
            Write::Park(row) => Self::Alone(row.digest.clone()),
            Write::People(change) => Self::Alone(change.key()),
            Write::Replayed(key) => Self::Alone(key.clone()),
            Write::RequestEnded(ending) => Self::Alone(ending.request.clone()),
            Write::Vote(row) => Self::Alone(row.request.clone()),
            Write::VotesAre(judged) => Self::Alone(judged.request.clone()),
            Write::Retry(row) => Self::Alone(row.key.clone()),
            Write::Spend(row) => Self::Alone(row.key.clone()),
            Write::Close(row) => Self::Alone(row.node.clone()),
            Write::Fetched(_)
            | Write::Derived(_)
            | Write::Erase(_)
            | Write::Keep(_)
            | Write::Looked(_)
            | Write::NotDisabled(_)
            | Write::NotFrozen(_)
            | Write::Notice(_)
            | Write::OpenTask(_)
            | Write::PolicySet(_)
            | Write::Pruned
            | Write::Sweep(_) => return None,
        })
    }

    fn meets(&self, held: &HashSet<Self>) -> bool {
        match self {
            Self::Alone(_) => held.contains(self),
            Self::Changes(task) => held.contains(&Self::Reads(task.clone())),
            Self::Reads(task) => held.contains(self) || held.contains(&Self::Changes(task.clone())),
        }
    }
}
