//! The dry run: what a walk would come to.

use serde_json::Value;
use stint_policy::DecisionReceipt;

use super::stop::{Error, Stop, unreadable};
use super::{Ask, Broker, Case, Fault, Judged, Presented, entry, rows};
use crate::store::SpentRow;
use crate::telemetry::trail::{self, Step};

impl Broker {
    /// What [`Self::issue`] would come to now. Nothing is recorded, parked or minted; spent
    /// evidence is refused and none is spent.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub async fn judge(
        &self,
        presented: &Presented,
        ask: &Ask,
    ) -> Result<Result<Judged, Fault>, Error> {
        let now = self.clock.now();
        let judging = self.roster.authenticate(&presented.evidence, now);
        let mut caller = trail::authenticating(judging).await?;
        caller.adopt_owner(&self.policies.in_force());
        self.limits.dry_run(&caller.principal().id, now)?;
        let _turn = self.walks.take(&caller.principal().id).await?;
        let case = Case {
            now,
            caller: &caller,
            dpop: presented.dpop,
            once: None,
            ask,
        };
        let named = entry::task_of(&case, &self.tasks).unwrap_or_default();
        if let Some(token) = rows::spent_token(&case, &named, case.proof()) {
            self.unspent(token).await?;
        }
        if self.ledger.disables(caller.principal().id.as_str()) {
            return Ok(Err(Fault::Disabled));
        }
        let policy = self.policies.in_force();
        let (asked, task) = match self.read(&case, &policy).await.map_err(Stop::into_error)? {
            Ok(read) => read,
            Err(fault) => return Ok(Err(fault)),
        };
        let ceilings = self.ceilings(&case, &asked, &task);
        let own = asked.own(&task, &case);
        let said = self.said(&asked, now).await.map_err(Stop::into_error)?;
        let query = asked.query((&task, &ceilings), &case, (&own, &said.votes));
        let explained = trail::timed(Step::Decide, || policy.explain(&query));
        Ok(Ok(Judged {
            outcome: explained.verdict().as_str(),
            receipt: self.view(&case, &explained),
        }))
    }

    /// Whether the token could still be spent, by this caller and for this task.
    async fn unspent(&self, token: SpentRow) -> Result<(), Error> {
        let first = self
            .store
            .first_use(&token.key)
            .await
            .map_err(unreadable)
            .map_err(Stop::into_error)?;
        if first.is_none_or(|first| first.is_again(&token)) {
            Ok(())
        } else {
            Err(Error::Replayed)
        }
    }

    /// The receipt as this caller may see it, under its own verified claims (POLICY.md §5).
    pub(super) fn view(&self, case: &Case<'_>, explained: &DecisionReceipt) -> Value {
        let view = if self.terms.reveal {
            serde_json::to_value(explained.for_owner())
        } else {
            serde_json::to_value(explained.for_caller())
        };
        let mut view = view.unwrap_or_default();
        if let Some(members) = view.as_object_mut() {
            members.insert("caller".to_owned(), entry::seen_as(case.caller.principal()));
        }
        view
    }
}
