//! A no: recorded, then explained. And what else a walk records that hands nothing out.

use stint_ca::{PrepareError, SignError};
use stint_policy::{PolicySet, Quorum, Reasons, Why};

use super::entry::{self, Facts};
use super::stop::{Error, Stop, unreadable};
use super::{Broker, Case, Denied, Fault, Outcome, Refusal, rows};
use crate::ids::DecisionId;
use crate::ledger::{self, Lost};
use crate::store::Write;
use crate::telemetry::trail;

impl Broker {
    /// People would have to approve it, and this door cannot wait: recorded, explained, not parked.
    pub(super) async fn turn_away(
        &self,
        facts: &Facts<'_>,
        quorum: Quorum,
    ) -> Result<Outcome, Stop> {
        let explained = facts.policy.explain(facts.query);
        let (id, entry) = facts.turned_away(&self.ledger, &quorum);
        let why = Refusal::Approval {
            asked: facts.asked.in_words(),
            receipt: self.view(facts.case, &explained),
        };
        let mut writes = facts.refusal_writes(&id, &why);
        writes.extend(quorum.reads_history().then(|| facts.same_history()));
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(self.denied(facts.case, id, why))
    }

    /// Policy said no: recorded, then explained.
    pub(super) async fn refuse(
        &self,
        facts: &Facts<'_>,
        reasons: Reasons,
    ) -> Result<Outcome, Stop> {
        let explained = facts.policy.explain(facts.query);
        if reasons.why() == Why::PolicyError {
            let cause = explained.for_owner().error.as_deref();
            tracing::error!(
                cause,
                asked = facts.asked.in_words(),
                "policy could not be evaluated"
            );
        }
        let (id, entry) = facts.denied(&self.ledger, &reasons, &explained);
        let receipt = self.view(facts.case, &explained);
        let said_no = facts.said.refusal().filter(|_| reasons.why() == Why::Human);
        let why = match said_no {
            Some((request, no)) => Refusal::Human {
                asked: facts.asked.in_words(),
                request: request.id.clone(),
                by: self.name_of(&no.person).await?,
                reason: no.note.clone().unwrap_or_default(),
                receipt,
            },
            None => Refusal::Policy {
                asked: facts.asked.in_words(),
                receipt,
                proof_required: reasons.proof_required(),
            },
        };
        let mut writes = facts.refusal_writes(&id, &why);
        writes.extend(reasons.reads_history().then(|| facts.same_history()));
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(self.denied(facts.case, id, why))
    }

    /// What people call a person.
    async fn name_of(&self, person: &str) -> Result<String, Stop> {
        let known = self.store.person(person).await.map_err(unreadable)?;
        Ok(known.map_or_else(|| person.to_owned(), |known| known.name))
    }

    /// The key to be certified asks for more than the grant gives.
    pub(super) async fn refuse_key(
        &self,
        facts: &Facts<'_>,
        why: PrepareError,
    ) -> Result<Outcome, Stop> {
        let fault = Fault::from(why);
        let (id, entry) = facts.denied_key(&self.ledger, &fault);
        let why = Refusal::Form(fault);
        let writes = facts.refusal_writes(&id, &why);
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(self.denied(facts.case, id, why))
    }

    /// The ask cannot be read; its caller is known, so this is an entry too.
    pub(super) async fn refuse_form(
        &self,
        case: &Case<'_>,
        policy: &PolicySet,
        fault: Fault,
    ) -> Result<Outcome, Stop> {
        let task = entry::task_of(case, &self.tasks);
        let named = task.clone().unwrap_or_default();
        let (id, entry) = entry::unreadable(case, &self.ledger, policy, (&fault, task));
        let writes = rows::unread_writes(case, &named, &id);
        self.ledger
            .record(entry, Some(entry::pol(policy)), writes)
            .await?;
        Ok(self.denied(case, id, Refusal::Form(fault)))
    }

    fn denied(&self, case: &Case<'_>, id: DecisionId, why: Refusal) -> Outcome {
        self.limits.denied(&case.caller.principal().id, case.now);
        Outcome::Denied(Denied {
            decision: id.to_string(),
            why,
        })
    }

    /// The first replay of a token is an entry and an alarm; later ones are only counted.
    pub(super) async fn replayed(&self, case: &Case<'_>) -> Result<(), Stop> {
        let policy = self.policies.in_force();
        let entry = entry::replayed(case, &self.ledger, &policy);
        let first = rows::replay_key(case).map(Write::Replayed);
        let caller = case.caller.principal().id.to_string();
        let title = "A token came twice: somebody else may have it";
        let alarm = self.notifier.alarm("replay", title, &[("Who", &caller)]);
        let first = first.into_iter().chain(alarm).collect();
        let pol = Some(entry::pol(&policy));
        match self.ledger.record(entry, pol, first).await {
            Err(ledger::Error::Lost(Lost::Spent)) => tracing::debug!("evidence was replayed again"),
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let caller = &case.caller.principal().id;
                tracing::warn!(caller.subject = %caller, "evidence was replayed");
                trail::on_record();
            }
        }
        Ok(())
    }

    /// Says in the ledger that a recorded grant released no credential.
    pub(super) async fn sign_failed(
        &self,
        facts: &Facts<'_>,
        receipt: &stint_audit::Receipt,
        error: SignError,
    ) -> Stop {
        tracing::error!(%error, grant = receipt.header().id, "a recorded grant was not signed");
        let entry = facts.sign_failed(&self.ledger, receipt, &error);
        match self.ledger.record(entry, None, Vec::new()).await {
            Ok(_) => self.ledger.released(receipt),
            Err(error) => tracing::error!(%error, "nor could that be recorded"),
        }
        Stop::Error(Error::Unsigned(error))
    }
}
