//! The walk: evidence and an ask go in; a credential, a parked request or a refusal comes out, and
//! each of the three is one entry in the ledger before anybody hears of it.
//!
//! Every front door translates its words into [`Presented`] and [`Ask`], calls [`Broker::issue`],
//! and translates the [`Outcome`] back. There is no HTTP and no SQL in here, and no other road to
//! a credential anywhere: a `Grant` comes from `policy::decide` alone, and the CA signs nothing
//! without the `Receipt` of an entry over the very bytes it signs.
#![warn(clippy::wildcard_enum_match_arm)]

mod ask;
mod entry;
mod outcome;

use std::sync::Arc;

use serde_json::Value;
use stint_ca::{Authority, PrepareError, Whose};
use stint_policy::{
    Decision, DecisionReceipt, Grant, GrantId, PolicySet, Quorum, Reasons, Timestamp, Why,
};

use crate::authenticate::{Caller, Evidence, Refused, Roster, dpop};
use crate::clock::Clock;
use crate::ids::DecisionId;
use crate::ledger::{self, Ledger, Lost};
use crate::limits::{CallerLimits, TooMany};
use crate::policies::Policies;
use crate::random;
use crate::store::{RequestRow, SpentRow, Store, Write};
use crate::task::Tasks;

pub use ask::{Ask, CredentialAsk, Fault, KeyText, KindAsked};
pub use outcome::{Denied, Granted, Held, Judged, Outcome, Refusal};

use entry::Facts;

/// Everything a walk needs, built once.
#[derive(Debug)]
pub struct Broker {
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Who may be believed.
    pub roster: Roster,
    /// What is in force.
    pub policies: Policies,
    /// Which unit of work an ask belongs to.
    pub tasks: Tasks,
    /// Where outcomes leave their rows.
    pub store: Store,
    /// Where outcomes are recorded.
    pub ledger: Ledger,
    /// Who signs.
    pub ca: Authority,
    /// How much one caller may ask for.
    pub limits: CallerLimits,
    /// Bounds the operator set.
    pub terms: Terms,
}

/// What the operator's config says about every ask.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The broker's URL, `iss` of its tokens.
    pub url: String,
    /// Life of a credential whose ask names none.
    pub default_ttl: stint_policy::Seconds,
    /// Longest life of any credential.
    pub max_ttl: stint_policy::Seconds,
    /// Longest life of a JWT.
    pub jwt_max_ttl: stint_policy::Seconds,
    /// How long an ask waits for people.
    pub request_ttl: stint_policy::Seconds,
    /// Whether callers see the owner's view of a decision.
    pub reveal: bool,
}

/// Why a walk ended without an outcome. Nothing was minted; nothing but a first replay was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The evidence does not hold, for whatever reason: one answer for all.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was used before.
    #[error("the evidence was used before")]
    Replayed,
    /// The DPoP proof was used before.
    #[error("the DPoP proof was used before")]
    ProofReplayed,
    /// The caller asks too often. Its evidence was not spent.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The ledger or the store cannot take the outcome: nothing happened.
    #[error("the outcome cannot be recorded")]
    Unavailable(#[source] ledger::Error),
    /// The CA cannot prepare it, and the caller is not to blame. Nothing was recorded.
    #[error("the credential cannot be prepared")]
    Unprepared(#[source] PrepareError),
    /// Recorded, but not signed: the entry is followed by one that says so.
    #[error("the signer failed")]
    Unsigned(#[source] stint_ca::SignError),
}

/// What came through a door: evidence, and a DPoP proof that was judged by itself.
#[derive(Debug)]
pub struct Presented {
    /// Who is asking.
    pub evidence: Evidence,
    /// A proof is spent like the token beside it.
    pub dpop: Option<dpop::Checked>,
}

/// What a walk has found out before it asks policy.
struct Case<'a> {
    now: Timestamp,
    caller: &'a Caller,
    dpop: Option<dpop::Checked>,
    ask: &'a Ask,
}

impl Case<'_> {
    /// The key that this request proved: the CSR's as well as DPoP's.
    fn proof(&self) -> Option<[u8; 32]> {
        let certified = || self.ask.key().ok().flatten().map(|key| key.thumbprint());
        self.caller.proof().or_else(certified)
    }
}

impl Broker {
    /// One walk, from evidence to credential. When a guard was lost meanwhile (another policy set,
    /// another outcome of the task) it goes round again, three times at most.
    ///
    /// # Errors
    /// [`Error`]: no outcome. A refusal by policy is an [`Outcome`], not an error.
    pub async fn issue(&self, presented: &Presented, ask: &Ask) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let mut caller = self.roster.authenticate(&presented.evidence, now).await?;
        caller.adopt_owner(&self.policies.in_force());
        self.limits.ask(&caller.principal().id, now)?;
        let case = Case {
            now,
            caller: &caller,
            dpop: presented.dpop,
            ask,
        };
        for _ in 0..ROUNDS {
            match self.walk(&case).await {
                Err(Stop::Lost(Lost::Proof)) => return Err(Error::ProofReplayed),
                Err(Stop::Lost(Lost::Spent)) => match self.replayed(&case).await {
                    Err(Stop::Lost(_)) => self.policies.settled().await,
                    Err(stop @ (Stop::Error(_) | Stop::TooLarge)) => return Err(stop.into_error()),
                    Ok(()) => return Err(Error::Replayed),
                },
                Err(Stop::Lost(Lost::Policy)) => self.policies.settled().await,
                Err(Stop::Lost(Lost::History | Lost::Parked | Lost::Pending)) => {}
                Err(stop @ (Stop::Error(_) | Stop::TooLarge)) => return Err(stop.into_error()),
                Ok(outcome) => return Ok(outcome),
            }
        }
        Err(Error::Unavailable(ledger::Error::Lost(Lost::History)))
    }

    /// The story of a grant.
    async fn walk(&self, case: &Case<'_>) -> Result<Outcome, Stop> {
        let policy = self.policies.in_force();
        let read = self.read(case, &policy).await?;
        let (asked, task) = match read.and_then(|(asked, task)| Ok((asked.with_key()?, task))) {
            Ok(read) => read,
            Err(fault) => return self.refuse_form(case, &policy, fault).await,
        };
        let ceilings = self.ceilings(case, &asked, &task);
        let query = asked.query(&task, &ceilings, case);
        let heard = policy.hear(&query);
        let facts = Facts {
            case,
            policy: &policy,
            task: &task,
            asked: &asked,
            query: &query,
            heard: &heard,
        };

        let outcome = match heard.decide(GrantId::from_bytes(random::bytes())) {
            Decision::Deny(reasons) => self.refuse(&facts, reasons).await,
            Decision::Hold(quorum) => self.hold(&facts, quorum).await,
            Decision::Permit(grant) => self.mint(&facts, grant).await,
        };
        match outcome {
            Err(Stop::TooLarge) => self.refuse_form(case, &policy, Fault::TooLarge).await,
            outcome => outcome,
        }
    }

    /// Prepare, record, sign: in this order and no other (inv. 1).
    async fn mint(&self, facts: &Facts<'_>, grant: Grant) -> Result<Outcome, Stop> {
        let order = facts.asked.order();
        let unsigned = match self.ca.prepare(grant, order, facts.case.now) {
            Ok(unsigned) => unsigned,
            Err(refused) if refused.whose() == Whose::Caller => {
                return self.refuse_key(facts, refused).await;
            }
            Err(fault) => return Err(Stop::Error(Error::Unprepared(fault))),
        };
        let entry = facts.granted(&self.ledger, &unsigned);
        let writes = facts.grant_writes(&unsigned);
        let receipt = self.ledger.record(entry, Some(facts.pol()), writes).await?; // durable from here on
        match self.ca.sign(unsigned, &receipt, self.clock.now()) {
            Ok(credential) => Ok(Outcome::Granted(Box::new(Granted {
                credential,
                receipt,
            }))),
            Err(error) => Err(self.sign_failed(facts, &receipt, error).await),
        }
    }

    /// Parks the ask until people have voted, or finds it parked.
    async fn hold(&self, facts: &Facts<'_>, quorum: Quorum) -> Result<Outcome, Stop> {
        let digest = facts.asked.digest_text();
        let open = self.store.open_request(&digest).await.map_err(unreadable)?;
        if let Some(row) = open {
            if row.expires > facts.case.now.as_millis() {
                self.ledger.settle(facts.spend()).await?;
                return Ok(Outcome::Held(Held {
                    request: row,
                    created: false,
                }));
            }
            self.expire(&row).await?;
        }
        let row = facts.park(&quorum, &self.terms);
        let mut writes = facts.writes();
        writes.extend(quorum.reads_history().then(|| facts.same_history()));
        writes.push(Write::Park(row.clone()));
        let entry = facts.requested(&self.ledger, &quorum, &row);
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(Outcome::Held(Held {
            request: row,
            created: true,
        }))
    }

    /// Policy said no: recorded, then explained.
    async fn refuse(&self, facts: &Facts<'_>, reasons: Reasons) -> Result<Outcome, Stop> {
        let mut writes = facts.writes();
        writes.extend(reasons.reads_history().then(|| facts.same_history()));
        writes.push(Write::Deny(facts.task.id()));
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
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        let why = Refusal::Policy {
            asked: facts.asked.in_words(),
            receipt: self.view(facts.case, &explained),
            proof_required: reasons.proof_required(),
        };
        Ok(self.denied(facts.case, id, why))
    }

    /// The key to be certified asks for more than the grant gives.
    async fn refuse_key(&self, facts: &Facts<'_>, why: PrepareError) -> Result<Outcome, Stop> {
        let fault = Fault::from(why);
        let mut writes = facts.writes();
        writes.push(Write::Deny(facts.task.id()));
        let (id, entry) = facts.denied_key(&self.ledger, &fault);
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(self.denied(facts.case, id, Refusal::Form(fault)))
    }

    /// The ask cannot be read; its caller is known, so this is an entry too.
    async fn refuse_form(
        &self,
        case: &Case<'_>,
        policy: &PolicySet,
        fault: Fault,
    ) -> Result<Outcome, Stop> {
        let task = entry::task_of(case, &self.tasks);
        let proof = case.proof();
        let spend = entry::spend(case, task.as_deref().unwrap_or_default(), proof);
        let (id, entry) = entry::unreadable(case, &self.ledger, policy, (&fault, task));
        self.ledger
            .record(entry, Some(entry::pol(policy)), spend)
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
    async fn replayed(&self, case: &Case<'_>) -> Result<(), Stop> {
        let policy = self.policies.in_force();
        let entry = entry::replayed(case, &self.ledger, &policy);
        let first = vec![Write::Replayed(entry::replay_key(case))];
        let pol = Some(entry::pol(&policy));
        match self.ledger.record(entry, pol, first).await {
            Err(ledger::Error::Lost(Lost::Spent)) => tracing::debug!("evidence was replayed again"),
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let caller = &case.caller.principal().id;
                tracing::warn!(caller.subject = %caller, "evidence was replayed");
            }
        }
        Ok(())
    }

    /// Says in the ledger that a recorded grant released no credential.
    async fn sign_failed(
        &self,
        facts: &Facts<'_>,
        receipt: &stint_audit::Receipt,
        error: stint_ca::SignError,
    ) -> Stop {
        tracing::error!(%error, grant = receipt.header().id, "a recorded grant was not signed");
        let entry = facts.sign_failed(&self.ledger, receipt, &error);
        if let Err(error) = self.ledger.record(entry, None, Vec::new()).await {
            tracing::error!(%error, "nor could that be recorded");
        }
        Stop::Error(Error::Unsigned(error))
    }
}

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
        let mut caller = self.roster.authenticate(&presented.evidence, now).await?;
        caller.adopt_owner(&self.policies.in_force());
        self.limits.dry_run(&caller.principal().id, now)?;
        let case = Case {
            now,
            caller: &caller,
            dpop: presented.dpop,
            ask,
        };
        let named = entry::task_of(&case, &self.tasks).unwrap_or_default();
        self.unspent(entry::spent_token(&case, &named, case.proof()))
            .await?;
        let policy = self.policies.in_force();
        let (asked, task) = match self.read(&case, &policy).await.map_err(Stop::into_error)? {
            Ok(read) => read,
            Err(fault) => return Ok(Err(fault)),
        };
        let ceilings = self.ceilings(&case, &asked, &task);
        let explained = policy.explain(&asked.query(&task, &ceilings, &case));
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
    fn view(&self, case: &Case<'_>, explained: &DecisionReceipt) -> Value {
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

    /// Ends a request that nobody decided: the one thing that time alone writes.
    ///
    /// # Errors
    /// As the ledger's.
    pub async fn expire(&self, row: &RequestRow) -> Result<(), ledger::Error> {
        let entry = entry::expired(&self.ledger, row);
        let writes = vec![Write::RequestExpired(row.id.clone())];
        match self.ledger.record(entry, None, writes).await {
            Ok(_) | Err(ledger::Error::Lost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Why a walk did not come to an outcome.
enum Stop {
    Error(Error),
    Lost(Lost),
    /// The entry would be larger than the ledger takes: the ask is, then.
    TooLarge,
}

impl Stop {
    fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Lost(lost) => Error::Unavailable(ledger::Error::Lost(lost)),
            Self::TooLarge => Error::Unavailable(ledger::Error::Unwritable),
        }
    }
}

/// A store that cannot be read stops the walk like a ledger that cannot be written.
fn unreadable(error: crate::store::Error) -> Stop {
    tracing::error!(%error, "the store cannot be read");
    Stop::Error(Error::Unavailable(ledger::Error::Unwritable))
}

impl From<ledger::Error> for Stop {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Lost(lost) => Self::Lost(lost),
            ledger::Error::Form(_) => Self::TooLarge,
            ledger::Error::Overloaded(_) | ledger::Error::Unwritable => {
                Self::Error(Error::Unavailable(error))
            }
        }
    }
}

/// How often a lost guard sends the walk round (POLICY.md §2).
const ROUNDS: usize = 3;
