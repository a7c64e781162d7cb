//! The rows that go with an outcome's entry, in its transaction (LEDGER.md §7): guards first, effects after.

use stint_audit::Digest;
use stint_ca::Unsigned;
use stint_policy::{Quorum, Timestamp};

use super::ask::Asked;
use super::entry::{Facts, needs};
use super::retry::{Mark, Same};
use super::{Case, Refusal, Terms};
use crate::approve::{Before, Card, Shown};
use crate::authenticate::Reuse;
use crate::ids::{DecisionId, RequestId};
use crate::random;
use crate::store::requests::Standing;
use crate::store::{GrantRow, RequestRow, Sort, SpentRow, Write};

impl Facts<'_> {
    /// The rows of a grant.
    pub(super) fn grant_writes(&self, unsigned: &Unsigned) -> Vec<Write> {
        let grant = unsigned.grant();
        let id = grant.id().to_string();
        let mut writes = self.writes(&id, unsigned.not_after());
        writes.extend(grant.reads_history().then(|| self.same_history()));
        writes.extend(self.said.guard(grant.limits()));
        writes.push(Write::Grant(GrantRow {
            id,
            task: self.task.id(),
            caller: grant.caller().to_string(),
            kind: grant.kind().as_str(),
            unique: unique(unsigned),
            action: grant.action().name().to_owned(),
            labels: grant.labels().clone(),
            until: unsigned.not_after().as_millis(),
        }));
        writes
    }

    /// The row of a parked ask.
    pub(super) fn park(&self, quorum: &Quorum, terms: &Terms, before: &Before) -> RequestRow {
        let ttl = quorum
            .request_ttl()
            .map_or(terms.request_ttl, |ttl| ttl.min(terms.request_ttl));
        let end = self.case.now.plus(ttl);
        let expires = self
            .task
            .task
            .deadline
            .map_or(end, |deadline| deadline.min(end));
        RequestRow {
            id: RequestId::from_bytes(random::bytes()).to_string(),
            digest: self.asked.digest.to_string(),
            task: self.task.id(),
            caller: self.case.caller.principal().id.to_string(),
            match_code: random::match_code(),
            needs: needs(quorum).to_string(),
            ask: self.asked.described(self.case.ask.reason.as_deref()),
            opened: self.case.now.as_millis(),
            expires: expires.as_millis(),
            pol: self.pol().to_string(),
            own: self.query.own.iter().map(ToString::to_string).collect(),
            starter: self.starter(),
            question: self.heard.record().to_string(),
            card: self.card(quorum, before),
            standing: Standing::NEW,
        }
    }

    /// The account that started the run, where the evidence says.
    fn starter(&self) -> (String, String) {
        let caller = self.case.caller;
        let account = caller.task().and_then(|task| task.initiator.clone());
        account.map_or_else(Default::default, |account| {
            (caller.principal().issuer.clone(), account)
        })
    }

    /// What approvers are shown, as JSON.
    fn card(&self, quorum: &Quorum, before: &Before) -> String {
        let caller = self.case.caller;
        let account = caller.task().and_then(|task| task.initiator.as_deref());
        let card = Card::of(&Shown {
            policy: self.policy,
            caller: caller.principal(),
            initiator: (account, self.task.task.initiator.is_some()),
            task: &self.task.task.name,
            action: &self.asked.action,
            resources: &self.asked.resources,
            input: self.asked.input.as_ref(),
            want: &self.asked.want,
            quorum,
            words: self.case.ask.reason.as_deref(),
            before,
        });
        serde_json::to_string(&card).unwrap_or_default()
    }

    /// The rows that every outcome of a read ask brings. `end`: of what it came to.
    pub(super) fn writes(&self, outcome: &str, end: Timestamp) -> Vec<Write> {
        let mut writes = self.spend(outcome, end);
        writes.extend(self.once(outcome, end));
        writes.push(Write::OpenTask(self.task.row(self.case.caller)));
        writes
    }

    /// The rows of a refusal that was decided.
    pub(super) fn refusal_writes(&self, id: &DecisionId, why: &Refusal) -> Vec<Write> {
        let id = id.to_string();
        let mut writes = self.writes(&id, self.case.now);
        writes.extend(self.keep_refusal(&id, why));
        writes.push(Write::Deny(self.task.id()));
        writes
    }

    /// For a decision that read the task's history: it must still be the same.
    pub(super) fn same_history(&self) -> Write {
        Write::HistoryIs {
            task: self.task.id(),
            outcomes: self.task.outcomes,
        }
    }

    /// The evidence is used up in the outcome's own transaction.
    pub(super) fn spend(&self, outcome: &str, end: Timestamp) -> Vec<Write> {
        let mark = Mark { outcome, end };
        let mut writes = spend(self.case, &self.task.id(), Some(self.asked), mark);
        // Not beside a refusal of what is disabled: that one is for such a caller.
        let caller = self.case.caller.principal().id.to_string();
        writes.push(Write::NotDisabled(caller));
        writes
    }

    /// So is its idempotency key.
    pub(super) fn once(&self, outcome: &str, end: Timestamp) -> Option<Write> {
        let mark = Mark { outcome, end };
        once(self.case, &self.task.id(), Some(self.asked), mark)
    }
}

/// Serial or `jti`: one of them is there.
fn unique(unsigned: &Unsigned) -> String {
    unsigned
        .serial_hex()
        .or_else(|| unsigned.jti().map(str::to_owned))
        .unwrap_or_default()
}

/// The rows of what is used up: the token, and the proof that came with it.
pub(super) fn spend(
    case: &Case<'_>,
    task: &str,
    asked: Option<&Asked>,
    mark: Mark<'_>,
) -> Vec<Write> {
    let same = Same::of(case, asked).whole.to_string();
    let row = |row: SpentRow| {
        Write::Spend(SpentRow {
            same: same.clone(),
            outcome: mark.outcome.to_owned(),
            ..row
        })
    };
    let mut writes = Vec::with_capacity(8); // of a grant
    writes.push(not_frozen(case));
    let proof = asked.map_or_else(|| case.proof(), |asked| asked.proof);
    writes.extend(spent_token(case, task, proof).map(row));
    writes.extend(case.dpop.map(|dpop| {
        row(SpentRow {
            sort: Sort::Proof,
            key: Digest::from_bytes(dpop.key).to_string(),
            proof: None,
            task: task.to_owned(),
            until: dpop.until.as_millis(),
            same: String::new(),
            outcome: String::new(),
        })
    }));
    writes
}

/// The caller's issuer may still bring callers when this is written.
pub(super) fn not_frozen(case: &Case<'_>) -> Write {
    Write::NotFrozen(case.caller.principal().issuer.clone())
}

/// The rows of a refusal of what could not be read.
pub(super) fn unread_writes(case: &Case<'_>, task: &str, id: &DecisionId) -> Vec<Write> {
    let id = id.to_string();
    let mark = Mark {
        outcome: &id,
        end: case.now,
    };
    let mut writes = spend(case, task, None, mark);
    writes.extend(once(case, task, None, mark));
    writes
}

/// The row of the idempotency key, if the ask has one.
pub(super) fn once(
    case: &Case<'_>,
    task: &str,
    asked: Option<&Asked>,
    mark: Mark<'_>,
) -> Option<Write> {
    case.once?;
    case.retry_row(task, &Same::of(case, asked), mark)
        .map(Write::Retry)
}

/// The row of the token, before it is known what it came to: bound to the key that was proved, where the same key may
/// bring it again. None of a handshake, which is new every time.
pub(super) fn spent_token(
    case: &Case<'_>,
    task: &str,
    proof: Option<[u8; 32]>,
) -> Option<SpentRow> {
    let replay = case.caller.replay()?;
    let proof = match replay.reuse {
        Reuse::Never => None,
        Reuse::SameKey => proof.map(|key| Digest::from_bytes(key).to_string()),
    };
    Some(SpentRow {
        sort: Sort::Token,
        key: Digest::from_bytes(replay.key).to_string(),
        proof,
        task: task.to_owned(),
        until: replay.until.as_millis(),
        same: String::new(),
        outcome: String::new(),
    })
}

/// The replay key as tables name it.
pub(super) fn replay_key(case: &Case<'_>) -> Option<String> {
    let replay = case.caller.replay()?;
    Some(Digest::from_bytes(replay.key).to_string())
}
