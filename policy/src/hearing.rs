//! One ask, opened: its shape checked, its context built, one Cedar request per principal and resource. Judging and
//! explaining both begin here, so they speak of the same thing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::context::{self, Term};
use crate::decision::{Detail, Reasons, Why};
use crate::engine::{Case, Checked, Engine, Fault, Request, Subject};
use crate::query::{Consent, Kind, Query};
use crate::rule::Effect;
use crate::uid::{ActionId, Resource, Resources, Uid};

/// An ask on its way through the three passes.
#[derive(Debug)]
pub(crate) struct Hearing<'e, 'q> {
    pub(crate) engine: &'e Engine,
    pub(crate) action: ActionId,
    pub(crate) resources: Resources,
    pub(crate) context: Term<'q>,
    pub(crate) parts: Vec<Part<'e>>,
    checked: Checked,
    /// For `delegate`, whose context has no `input`.
    consent: Option<Checked>,
}

/// One request of it.
#[derive(Debug)]
pub(crate) struct Part<'e> {
    pub(crate) case: Case<'e>,
    pub(crate) is_consent: bool,
    /// In the context in which nobody has voted.
    pub(crate) request: Request,
    pub(crate) permits: Vec<usize>,
    pub(crate) forbids: Vec<usize>,
}

/// Why an ask was not heard.
#[derive(Debug)]
pub(crate) struct Dismissed {
    pub(crate) reasons: Reasons,
    pub(crate) fault: Option<Fault>,
}

impl From<Fault> for Dismissed {
    fn from(fault: Fault) -> Dismissed {
        Dismissed {
            reasons: Reasons::bare(Why::PolicyError, Detail::Evaluation),
            fault: Some(fault),
        }
    }
}

fn dismissed(why: Why, detail: Detail) -> Dismissed {
    Dismissed {
        reasons: Reasons::bare(why, detail),
        fault: None,
    }
}

impl<'e, 'q> Hearing<'e, 'q> {
    pub(crate) fn open(
        engine: &'e Engine,
        query: &Query<'q>,
    ) -> Result<Hearing<'e, 'q>, Dismissed> {
        check_chain(query)?;
        let undeclared = || dismissed(Why::Policy, Detail::Undeclared);
        let name = engine.resolve_action(query.action).ok_or_else(undeclared)?;
        let action = engine.action(&name).ok_or_else(undeclared)?;
        let resources = resources(engine, query)?;
        if engine.takes_input(&name) != query.input.is_some() {
            return Err(dismissed(Why::Policy, Detail::Input));
        }
        let mut members = context::context(query);
        let consent = match query.consent {
            Some(Consent::Policy) => Some(consent(engine, &Term::Record(members.clone()))?),
            Some(Consent::MayAct | Consent::Task) | None => None,
        };
        let input = query.input.map(|input| context::input(input.members()));
        if let Some(input) = input {
            members.push((
                "input",
                input.ok_or_else(|| dismissed(Why::Policy, Detail::Input))?,
            ));
        }
        let context = Term::Record(members);
        let checked = engine
            .check(&context, action)
            .map_err(|fault| match query.input {
                Some(_) => Dismissed {
                    fault: Some(fault),
                    ..dismissed(Why::Policy, Detail::Input)
                },
                None => Dismissed::from(fault),
            })?;
        let mut hearing = Hearing {
            engine,
            action: name,
            resources,
            context,
            parts: Vec::new(),
            checked,
            consent,
        };
        hearing.add_parts(query)?;
        Ok(hearing)
    }

    fn add_parts(&mut self, query: &Query<'q>) -> Result<(), Dismissed> {
        let unreadable = || dismissed(Why::PolicyError, Detail::Evaluation);
        let engine = self.engine;
        let principals = std::iter::once(query.caller).chain(query.subject);
        let principals =
            principals.map(|principal| Some((principal.kind, engine.principal(principal)?)));
        let principals = principals
            .collect::<Option<Vec<_>>>()
            .ok_or_else(unreadable)?;
        let mut others: Vec<Arc<Subject>> = principals
            .iter()
            .map(|(_, subject)| Arc::clone(subject))
            .collect();
        for actor in query.actors {
            others.push(engine.principal(actor).ok_or_else(unreadable)?);
        }
        if let Some(user) = query.task.initiator.as_deref() {
            let user = Uid::new(Kind::User.type_name(), user);
            let user = user.and_then(|user| engine.entity(&user));
            others.push(user.ok_or_else(unreadable)?);
        }
        let action = engine.action(&self.action).ok_or_else(unreadable)?;
        for (kind, principal) in &principals {
            for resource in &self.resources {
                let case = engine.case(action, (*kind, principal), resource.uid(), &others)?;
                let case = case.ok_or_else(|| dismissed(Why::Policy, Detail::NotForYou))?;
                let request = case.request(&self.checked, &[])?;
                self.parts.push(Part::new(case, request, &self.context));
            }
        }
        if let (Some(checked), Some((kind, subject))) = (&self.consent, principals.get(1)) {
            let refused = || dismissed(Why::Delegation, Detail::Consent);
            let action = delegate(engine).ok_or_else(refused)?;
            let agent = Uid::new(query.caller.kind.type_name(), query.caller.id.as_str())
                .ok_or_else(refused)?;
            let case = engine
                .case(action, (*kind, subject), &agent, &others)?
                .ok_or_else(refused)?;
            let request = case.request(checked, &[])?;
            self.parts.push(Part {
                is_consent: true,
                ..Part::new(case, request, &self.context)
            });
        }
        Ok(())
    }

    /// The request of one part with these approvals.
    pub(crate) fn request(
        &self,
        part: &Part<'_>,
        approvals: &[(String, u8)],
    ) -> Result<Request, Fault> {
        let consent = self.consent.as_ref().filter(|_| part.is_consent);
        part.case
            .request(consent.unwrap_or(&self.checked), approvals)
    }

    /// Whether a policy that was met reads `context.history`.
    pub(crate) fn reads_history(&self) -> bool {
        self.parts.iter().any(|part| {
            part.case.reads_history(&part.permits) || part.case.reads_history(&part.forbids)
        })
    }

    /// `labels` of all resources.
    pub(crate) fn labels(&self) -> BTreeSet<String> {
        let listed = self
            .resources
            .iter()
            .filter_map(|resource| self.engine.store.get(resource.uid()));
        listed
            .flat_map(|listed| listed.labels.iter().cloned())
            .collect()
    }
}

impl<'e> Part<'e> {
    fn new(case: Case<'e>, request: Request, context: &Term<'_>) -> Part<'e> {
        Part {
            permits: case.candidates(Effect::Permit, context),
            forbids: case.candidates(Effect::Forbid, context),
            is_consent: false,
            case,
            request,
        }
    }
}

/// At most four actors, nobody twice, consent and actors only where somebody is acted for, who is a person or an agent.
fn check_chain(query: &Query<'_>) -> Result<(), Dismissed> {
    let everybody = query
        .actors
        .iter()
        .chain(query.subject)
        .chain([query.caller]);
    let distinct: BTreeSet<_> = everybody.clone().map(|principal| &principal.id).collect();
    let once = distinct.len() == everybody.count();
    let agents = query.actors.iter().all(|actor| actor.kind == Kind::Agent);
    let whole = match query.subject {
        Some(subject) => query.consent.is_some() && subject.kind != Kind::Workload,
        None => query.consent.is_none() && query.actors.is_empty(),
    };
    match once && agents && whole && query.actors.len() <= LONGEST_CHAIN {
        true => Ok(()),
        false => Err(dismissed(Why::Delegation, Detail::Chain)),
    }
}

fn resources(engine: &Engine, query: &Query<'_>) -> Result<Resources, Dismissed> {
    let resolved = query
        .resources
        .iter()
        .map(|resource| engine.resolve_resource(resource));
    let resolved: Option<Vec<Resource>> = resolved.collect();
    let resolved = resolved.ok_or_else(|| dismissed(Why::Policy, Detail::Undeclared))?;
    if !resolved.iter().all(|resource| engine.is_known(resource)) {
        return Err(dismissed(Why::Policy, Detail::UnknownResource));
    }
    Resources::new(resolved)
        .ok()
        .ok_or_else(|| dismissed(Why::Policy, Detail::Undeclared))
}

fn consent(engine: &Engine, context: &Term<'_>) -> Result<Checked, Dismissed> {
    let action = delegate(engine).ok_or_else(|| dismissed(Why::Delegation, Detail::Consent))?;
    Ok(engine.check(context, action)?)
}

fn delegate(engine: &Engine) -> Option<&crate::engine::Action> {
    engine.action(&ActionId::parse("Stint::Action::delegate").ok()?)
}

/// IDENTITY.md §5.
const LONGEST_CHAIN: usize = 4;
