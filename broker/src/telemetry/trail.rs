//! What one request came to: gathered while it is served, told once, when nobody works on it any more.
//!
//! A walk runs on when its caller has hung up or the answer was due (SECURITY.md §4), so neither the handler nor the
//! walk alone knows when a request is over. Both hold its [`Trail`]; the last to let go writes the one wide event and
//! counts it. Whatever is noted is a fact that the broker made or verified, never the text of a stranger; no token and
//! no part of one is in reach of this file.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stint_ca::Credential;
use tracing::Instrument as _;
use tracing::Span;

use super::metrics::Metrics;
use super::trace_context::TraceId;
use crate::authenticate::{Caller, Label, Refused};
use crate::clock::Stopwatch;
use crate::ids::{DecisionId, ErrorId};
use crate::issue::{Error, Outcome};
use crate::noise::Noise;
use crate::random;

tokio::task_local! {
    /// The request that this task works for.
    static TRAIL: Trail;
}

/// A request that is being served. Clones are the same request.
#[derive(Clone, Debug)]
pub(crate) struct Trail(Arc<Request>);

/// How a request came in.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) method: &'static str,
    /// As the router spells it; `none` where it knows none.
    pub(crate) route: Arc<str>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) trace: Option<TraceId>,
    /// Told at debug level: probes come every few seconds and say nothing (UX.md §10).
    pub(crate) quiet: bool,
}

#[derive(Debug)]
struct Request {
    id: String,
    came: Came,
    watch: Stopwatch,
    facts: Mutex<Facts>,
    counted: Counted,
}

/// Where what it came to is counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// For those who watch.
    pub(crate) metrics: Arc<Metrics>,
    /// For the ledger.
    pub(crate) noise: Arc<Noise>,
}

/// The parts of a walk that are timed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Evidence to caller.
    Authenticate,
    /// Query to decision.
    Decide,
    /// Grant to bytes.
    Prepare,
    /// Bytes to receipt.
    Record,
    /// Receipt to credential.
    Sign,
}

#[derive(Debug, Default)]
struct Facts {
    status: Option<u16>,
    code: Option<&'static str>,
    outcome: Option<&'static str>,
    decision: Option<String>,
    grant: Option<String>,
    request: Option<String>,
    task: Option<String>,
    kind: Option<&'static str>,
    issuer: Option<Arc<str>>,
    subject: Option<String>,
    refused: Option<&'static str>,
    /// There was no key to judge it with.
    unjudged: bool,
    /// The same ask had this outcome before: it is not counted again.
    repeated: bool,
    /// It is an entry of the ledger, so it is no noise.
    on_record: bool,
    steps: [Option<Duration>; 5],
}

impl Trail {
    /// Begins the trail of a request.
    pub(crate) fn begin(came: Came, counted: Counted) -> Trail {
        Trail(Arc::new(Request {
            id: ErrorId::from_bytes(random::bytes()).to_string(),
            came,
            watch: Stopwatch::start(),
            facts: Mutex::default(),
            counted,
        }))
    }

    /// `err_…`: what its caller may quote, and an operator finds in the log.
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    /// Serves it: whatever is noted meanwhile, in this task or in one that it carries on, is noted here.
    pub(crate) async fn serve<T>(&self, work: impl Future<Output = T>) -> T {
        let span = tracing::info_span!(
            "request",
            id = self.id(),
            trace_id = self.0.came.trace.as_ref().map(TraceId::as_str)
        );
        TRAIL.scope(self.clone(), work).instrument(span).await
    }

    /// It was answered.
    pub(crate) fn answered(&self, status: u16) {
        self.0.facts().status = Some(status);
    }
}

/// The id of the request that is being served here, or a new one.
pub(crate) fn id() -> String {
    let served = TRAIL.try_with(|trail| trail.id().to_owned());
    served.unwrap_or_else(|_| ErrorId::from_bytes(random::bytes()).to_string())
}

/// Work that goes on in a task of its own, for the same request.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let trail = TRAIL.try_with(Clone::clone).ok();
    let work = async move {
        match trail {
            Some(trail) => TRAIL.scope(trail, work).await,
            None => work.await,
        }
    };
    work.instrument(Span::current())
}

/// Judges evidence, and notes who it was or why not.
pub(crate) async fn authenticating(
    judging: impl Future<Output = Result<Caller, Refused>>,
) -> Result<Caller, Refused> {
    let result = timing(Step::Authenticate, judging).await;
    match &result {
        Ok(caller) => note(|facts| {
            facts.issuer = Some(caller.principal().issuer.as_str().into());
            facts.subject = Some(caller.principal().id.to_string());
        }),
        Err(refused) => refuse(refused),
    }
    result
}

/// Times a step that waits.
pub(crate) async fn timing<T>(step: Step, work: impl Future<Output = T>) -> T {
    let watch = Stopwatch::start();
    let done = work.await;
    took(step, watch.elapsed());
    done
}

/// Times a step that computes.
pub(crate) fn timed<T>(step: Step, work: impl FnOnce() -> T) -> T {
    let watch = Stopwatch::start();
    let done = work();
    took(step, watch.elapsed());
    done
}

/// The unit of work an ask belongs to.
pub(crate) fn task(id: &str) {
    note(|facts| facts.task = Some(id.to_owned()));
}

/// The code of a problem on its way out.
pub(crate) fn code(code: &'static str) {
    note(|facts| facts.code = Some(code));
}

/// A DPoP proof did not hold.
pub(crate) fn unproved() {
    note(|facts| facts.refused = Some(Label::Proof.as_str()));
}

/// What a walk came to.
pub(crate) fn came_to(result: &Result<Outcome, Error>) {
    match result {
        Ok(Outcome::Granted(granted)) => {
            let grant = granted.credential.grant();
            let (id, task) = (grant.id().to_string(), grant.task_id().to_string());
            let kind = match granted.credential {
                Credential::Jwt { .. } => "jwt",
                Credential::X509 { .. } => "x509",
            };
            note(|facts| {
                facts.decided("permit", DecisionId::of(&id));
                (facts.kind, facts.grant, facts.task) = (Some(kind), Some(id), Some(task));
            });
        }
        Ok(Outcome::Again(again)) => note(|facts| {
            facts.decided("permit", DecisionId::of(&again.grant));
            facts.repeated = true;
            facts.kind = Some("x509");
            facts.grant = Some(again.grant.clone());
            facts.task = Some(again.task.clone());
        }),
        Ok(Outcome::Held(held)) => note(|facts| {
            facts.decided("hold", DecisionId::of(&held.request.id));
            facts.request = Some(held.request.id.clone());
            facts.repeated = !held.created;
        }),
        Ok(Outcome::Denied(denied)) => note(|facts| facts.decided("deny", denied.decision.clone())),
        Err(error) => failed(error),
    }
}

/// The refusal is an entry of its own: the first replay of a token.
pub(crate) fn on_record() {
    note(|facts| facts.on_record = true);
}

/// A walk or dry run ended without an outcome.
pub(crate) fn failed(error: &Error) {
    match error {
        Error::Refused(refused) => refuse(refused),
        Error::Replayed => note(|facts| facts.refused = Some(Label::Replay.as_str())),
        Error::ProofReplayed => unproved(),
        Error::AlreadyDelivered
        | Error::Conflict
        | Error::RequestEnded
        | Error::Busy(_)
        | Error::TooMany(_)
        | Error::TooManyOpen(_)
        | Error::Unavailable(_)
        | Error::Unprepared(_)
        | Error::Unsigned(_) => {}
    }
}

fn refuse(refused: &Refused) {
    note(|facts| match refused {
        Refused::Evidence { label, issuer } => {
            facts.refused = Some(label.as_str());
            facts.issuer = issuer.clone();
        }
        Refused::Busy(_) => {}
        Refused::Unavailable { issuer } => {
            facts.unjudged = true;
            facts.issuer = Some(Arc::clone(issuer));
        }
    });
}

fn took(step: Step, time: Duration) {
    note(|facts| {
        // A walk that goes round again takes a step twice.
        if let Some(so_far) = facts.steps.get_mut(step as usize) {
            *so_far = Some(so_far.unwrap_or_default().saturating_add(time));
        }
    });
}

/// Outside of a request (tests and benches that call a walk by itself) there is nobody to tell.
fn note(what: impl FnOnce(&mut Facts)) {
    TRAIL
        .try_with(|trail| what(&mut trail.0.facts()))
        .unwrap_or_default();
}

impl Facts {
    fn decided(&mut self, outcome: &'static str, decision: String) {
        (self.outcome, self.decision) = (Some(outcome), Some(decision));
    }

    /// Why nothing of it is in the ledger but a number, in a closed word (LEDGER.md §5 *No entry*).
    fn noise(&self) -> Option<&'static str> {
        let limited = self.code.filter(|code| *code == "rate_limited");
        let unjudged = self.unjudged.then_some("unavailable");
        let reason = self.refused.or(unjudged).or(limited);
        reason.filter(|_| !self.on_record)
    }

    fn step(&self, step: Step) -> Option<u64> {
        let time = self.steps.get(step as usize).copied().flatten()?;
        u64::try_from(time.as_micros()).ok()
    }
}

impl Request {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, facts: &Facts, took: Duration) {
        let Counted { metrics, noise } = &self.counted;
        if let Some(status) = facts.status {
            let route = Arc::clone(&self.came.route);
            metrics.counted_request(route, status);
        }
        if let Some(reason) = facts.refused {
            metrics.counted_rejection(facts.issuer.clone(), reason);
        }
        if let Some(reason) = facts.noise() {
            noise.count(facts.issuer.as_deref(), reason, self.came.peer);
        }
        if facts.repeated {
            return;
        }
        if let (Some(outcome), Some(_)) = (facts.outcome, &facts.decision) {
            let issuer = facts.issuer.clone().unwrap_or_default();
            let [_, decide, ..] = facts.steps;
            let decide = decide.unwrap_or_default();
            metrics.counted_decision(outcome, issuer, decide);
        }
        if let Some(kind) = facts.kind {
            metrics.counted_grant(kind, took);
        }
    }

    fn tell(&self, facts: &Facts, took: Duration) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    id = self.id,
                    trace_id = self.came.trace.as_ref().map(TraceId::as_str),
                    method = self.came.method,
                    route = &*self.came.route,
                    peer = self.came.peer.map(tracing::field::display),
                    status = facts.status,
                    code = facts.code,
                    outcome = facts.outcome,
                    decision = facts.decision,
                    grant = facts.grant,
                    request = facts.request,
                    task = facts.task,
                    kind = facts.kind,
                    repeated = facts.repeated.then_some(true),
                    issuer = facts.issuer.as_deref(),
                    caller.subject = facts.subject,
                    refused = facts.refused,
                    micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    authenticate_micros = facts.step(Step::Authenticate),
                    decide_micros = facts.step(Step::Decide),
                    prepare_micros = facts.step(Step::Prepare),
                    record_micros = facts.step(Step::Record),
                    sign_micros = facts.step(Step::Sign),
                    "{}",
                    facts.message()
                )
            };
        }
        if self.came.quiet {
            event!(debug);
        } else {
            event!(info);
        }
    }
}

impl Facts {
    /// What happened, in a word that reads alone.
    fn message(&self) -> &'static str {
        match (self.outcome, self.refused, self.status) {
            (Some("permit"), ..) => "granted",
            (Some("hold"), ..) => "held",
            (Some(_), ..) => "denied",
            (None, Some(_), _) => "evidence rejected",
            (None, None, Some(_)) => "answered",
            (None, None, None) => "hung up",
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let took = self.watch.elapsed();
        let facts = std::mem::take(&mut *self.facts());
        self.count(&facts, took);
        self.tell(&facts, took);
    }
}
