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
mod judge;
mod outcome;
mod refuse;
mod retry;
mod rows;
mod said;
mod stop;

use std::sync::Arc;

use stint_ca::{Authority, Whose};
use stint_policy::{Decision, Grant, GrantId, Quorum, SpiffeId, Timestamp};

use crate::approve::Nonces;
use crate::authenticate::{Caller, Evidence, Roster, dpop};
use crate::clock::Clock;
use crate::ledger::{self, Ledger, Lost};
use crate::limits::CallerLimits;
use crate::limits::turns::Turns;
use crate::noise::Noise;
use crate::notify::Notifier;
use crate::people::People;
use crate::policies::Policies;
use crate::random;
use crate::store::requests::{Ending, State};
use crate::store::{RequestRow, Sort, Store, Write};
use crate::task::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trail::{self, Step};

pub use ask::{Ask, CredentialAsk, Fault, KeyText, KindAsked};
pub use outcome::{Again, Denied, Granted, Held, Judged, Outcome, Refusal};
pub use retry::{Deliveries, IdempotencyKey};
pub use stop::Error;

use entry::Facts;
pub(crate) use entry::pol;
use said::Said;
use stop::{Stop, frozen_meanwhile, unreadable};

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
    /// Asks that are worked on at once, each caller's in turn.
    pub walks: Turns<SpiffeId>,
    /// Bounds the operator set.
    pub terms: Terms,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What was refused, for the ledger's roll-ups.
    pub noise: Arc<Noise>,
    /// Who logs in, if anybody can.
    pub people: Option<People>,
    /// Who is told that an ask waits.
    pub notifier: Notifier,
    /// Grants that are on their way.
    pub deliveries: Deliveries,
    /// What makes a ballot ours.
    pub nonces: Nonces,
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
    /// How many asks of one caller may wait at once.
    pub open_per_caller: usize,
    /// How long the same ask is answered by a no that a person said.
    pub deny_cooldown: stint_policy::Seconds,
    /// Whether approvers type the digits that only the asker is shown.
    pub match_code: bool,
    /// Whether callers see the owner's view of a decision.
    pub reveal: bool,
}

/// What came through a door: evidence, and a DPoP proof that was judged by itself.
#[derive(Debug)]
pub struct Presented {
    /// Who is asking.
    pub evidence: Evidence,
    /// A proof is spent like the token beside it.
    pub dpop: Option<dpop::Checked>,
    /// The caller's word for this one attempt.
    pub once: Option<IdempotencyKey>,
}

/// What a walk has found out before it asks policy.
struct Case<'a> {
    now: Timestamp,
    caller: &'a Caller,
    dpop: Option<dpop::Checked>,
    once: Option<&'a IdempotencyKey>,
    ask: &'a Ask,
}

impl Case<'_> {
    /// The key that this request proved: the CSR's as well as DPoP's.
    fn proof(&self) -> Option<[u8; 32]> {
        let proved = self.caller.proof();
        let key = || self.ask.key(proved).ok().flatten();
        proved.or_else(|| key().map(|key| key.thumbprint()))
    }
}

impl Broker {
    /// One walk, from evidence to credential. When a guard was lost meanwhile (another policy set,
    /// another outcome of the task) it goes round again, three times at most.
    ///
    /// # Errors
    /// [`Error`]: no outcome. A refusal by policy is an [`Outcome`], not an error.
    pub async fn issue(&self, presented: &Presented, ask: &Ask) -> Result<Outcome, Error> {
        let outcome = self.outcome(presented, ask).await;
        trail::came_to(&outcome);
        outcome
    }

    async fn outcome(&self, presented: &Presented, ask: &Ask) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let judging = self.roster.authenticate(&presented.evidence, now);
        let mut caller = trail::authenticating(judging).await?;
        caller.adopt_owner(&self.policies.in_force());
        self.limits.ask(&caller.principal().id, now)?;
        let _turn = self.walks.take(&caller.principal().id).await?;
        let case = Case {
            now,
            caller: &caller,
            dpop: presented.dpop,
            once: presented.once.as_ref(),
            ask,
        };
        for _ in 0..ROUNDS {
            let walked = match self.walk(&case).await {
                Err(Stop::Lost(Lost::Proof)) => self.used_before(&case, Sort::Proof).await,
                Err(Stop::Lost(Lost::Spent)) => self.used_before(&case, Sort::Token).await,
                walked => walked,
            };
            match walked {
                Ok(outcome) => return Ok(outcome),
                Err(Stop::Lost(Lost::Policy | Lost::Proof | Lost::Spent)) => {
                    self.policies.settled(&self.ledger).await;
                }
                Err(Stop::Lost(Lost::Frozen)) => return Err(frozen_meanwhile(&caller)),
                Err(Stop::Lost(
                    Lost::Deferred
                    | Lost::Disabled
                    | Lost::Erased
                    | Lost::History
                    | Lost::Node
                    | Lost::Parked
                    | Lost::Pending
                    | Lost::Person
                    | Lost::Repeated
                    | Lost::Voted,
                )) => {}
                Err(stop @ (Stop::Error(_) | Stop::TooLarge)) => return Err(stop.into_error()),
            }
        }
        Err(Error::Unavailable(ledger::Error::Lost(Lost::History)))
    }

    /// The story of a grant.
    async fn walk(&self, case: &Case<'_>) -> Result<Outcome, Stop> {
        let policy = self.policies.in_force();
        if self.ledger.disables(case.caller.principal().id.as_str()) {
            return self.refuse_form(case, &policy, Fault::Disabled).await;
        }
        let read = self.understood(case, &policy).await?;
        if let Some(first) = self
            .repeated(case, read.as_ref().map(|(asked, _)| asked))
            .await?
        {
            return Ok(first);
        }
        let (asked, task) = match read {
            Ok(read) => read,
            Err(fault) => return self.refuse_form(case, &policy, fault).await,
        };
        let ceilings = self.ceilings(case, &asked, &task);
        let own = asked.own(&task, case);
        trail::task(&task.id());
        let query = asked.query((&task, &ceilings), case, (&own, &[]));
        let heard = trail::timed(Step::Decide, || policy.hear(&query));
        let decision = heard.decide(GrantId::from_bytes(random::bytes()));
        let said = match &decision {
            Decision::Hold(_) => self.said(&asked, case.now).await?,
            // No vote turns a yes or a no of policy into anything else (POLICY.md §3.5).
            Decision::Deny(_) | Decision::Permit(_) => Said::default(),
        };
        let facts = Facts {
            case,
            policy: &policy,
            task: &task,
            asked: &asked,
            query: &query,
            heard: &heard,
            said: &said,
        };
        if said.votes.is_empty() {
            return self.come_to(&facts, decision).await;
        }
        let query = asked.query((&task, &ceilings), case, (&own, &said.votes));
        let heard = trail::timed(Step::Decide, || policy.hear(&query));
        let decision = heard.decide(GrantId::from_bytes(random::bytes()));
        let facts = Facts {
            query: &query,
            heard: &heard,
            ..facts
        };
        self.come_to(&facts, decision).await
    }

    /// What follows from a decision.
    async fn come_to(&self, facts: &Facts<'_>, decision: Decision) -> Result<Outcome, Stop> {
        let outcome = match decision {
            Decision::Deny(reasons) => self.refuse(facts, reasons).await,
            Decision::Hold(quorum) if !facts.case.ask.may_hold => {
                self.turn_away(facts, quorum).await
            }
            Decision::Hold(quorum) => self.hold(facts, quorum).await,
            Decision::Permit(grant) => self.mint(facts, grant).await,
        };
        match outcome {
            Err(Stop::TooLarge) => {
                self.refuse_form(facts.case, facts.policy, Fault::TooLarge)
                    .await
            }
            outcome => outcome,
        }
    }

    /// Prepare, record, sign: in this order and no other (inv. 1).
    async fn mint(&self, facts: &Facts<'_>, grant: Grant) -> Result<Outcome, Stop> {
        let order = facts.asked.order(facts.case.caller, &self.ca);
        let prepared = trail::timed(Step::Prepare, || {
            self.ca.prepare(grant, order, facts.case.now)
        });
        let unsigned = match prepared {
            Ok(unsigned) => unsigned,
            Err(refused) if refused.whose() == Whose::Caller => {
                return self.refuse_key(facts, refused).await;
            }
            Err(fault) => return Err(Stop::Error(Error::Unprepared(fault))),
        };
        let votes = self.vote_seqs(facts).await?;
        let entry = facts.granted(&self.ledger, &unsigned, &votes);
        let writes = facts.grant_writes(&unsigned);
        let delivery = self.deliveries.begin(unsigned.grant().id().to_string());
        let receipt = self.ledger.record(entry, Some(facts.pol()), writes).await?; // durable from here on
        let signed = trail::timed(Step::Sign, || {
            self.ca.sign(unsigned, &receipt, self.clock.now())
        });
        let credential = match signed {
            Ok(credential) => credential,
            Err(error) => return Err(self.sign_failed(facts, &receipt, error).await),
        };
        self.keep(facts, &credential, &receipt).await;
        self.ledger.released(&receipt);
        drop(delivery);
        Ok(Outcome::Granted(Box::new(Granted {
            credential,
            receipt,
            request: facts.said.request().map(|request| request.id.clone()),
        })))
    }

    /// Parks the ask until people have voted, or finds it parked.
    async fn hold(&self, facts: &Facts<'_>, quorum: Quorum) -> Result<Outcome, Stop> {
        if let Some(row) = facts.said.request() {
            let ends = row
                .standing
                .until
                .map_or(row.expires, |end| end.max(row.expires));
            let ends = Timestamp::from_millis(ends);
            self.ledger.settle(facts.spend(&row.id, ends)).await?;
            return Ok(Outcome::Held(Held {
                request: row.clone(),
                created: false,
                have: quorum.have(),
            }));
        }
        let digest = facts.asked.digest_text();
        let open = self.store.open_request(&digest).await.map_err(unreadable)?;
        match open {
            // Somebody parked the same ask since this walk looked for it.
            Some(row) if row.stands(facts.case.now.as_millis()) => {
                return Err(Stop::Lost(Lost::Parked));
            }
            Some(overdue) => self.expire(&overdue).await?,
            None => {}
        }
        let before = self.asked_before(facts.case).await?;
        let row = facts.park(&quorum, &self.terms, &before);
        let mut writes = facts.writes(&row.id, Timestamp::from_millis(row.expires));
        writes.extend(quorum.reads_history().then(|| facts.same_history()));
        writes.push(Write::Park(row.clone()));
        writes.extend(self.notifier.parked(&row));
        let entry = facts.requested(&self.ledger, &quorum, &row);
        self.ledger.record(entry, Some(facts.pol()), writes).await?;
        Ok(Outcome::Held(Held {
            request: row,
            created: true,
            have: 0,
        }))
    }

    /// Ends a request that nobody decided: the one thing that time alone writes.
    ///
    /// # Errors
    /// As the ledger's.
    pub async fn expire(&self, row: &RequestRow) -> Result<(), ledger::Error> {
        let entry = entry::expired(&self.ledger, row);
        let ending = Ending {
            request: row.id.clone(),
            state: State::Expired,
            at: self.clock.now().as_millis(),
        };
        let mut writes = vec![Write::RequestEnded(ending)];
        writes.extend(self.notifier.decided(row, State::Expired.as_str(), None));
        match self.ledger.record(entry, None, writes).await {
            Ok(_) | Err(ledger::Error::Lost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// How often a lost guard sends the walk round (POLICY.md §2).
const ROUNDS: usize = 3;
