//! Why, in words (POLICY.md §5): the closest permit, what of it held and what failed, whom to ask, what would have to
//! differ. Made from the same query and set as the decision, never while granting.

mod view;

use serde_json::{Value as Json, json};

use crate::context::Term;
use crate::decide::{Judged, judged};
use crate::decision::{Detail, Verdict, Why};
use crate::engine::condition::{Condition, PLATFORMS};
use crate::hearing::{Hearing, Part};
use crate::query::Query;
use crate::rule::Rule;
use crate::set::PolicySet;

pub use view::{
    CallerView, Failed, Missed, NeedView, NextAction, OwnerContact, OwnerView, PolicyView, Said,
};

/// A decision, explained; each reader has a view of it.
#[derive(Clone, Debug)]
pub struct DecisionReceipt {
    verdict: Verdict,
    missed: Option<Missed>,
    caller: CallerView,
    owner: OwnerView,
}

impl DecisionReceipt {
    /// The decision itself.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The closest permit, where none holds.
    #[must_use]
    pub fn missed(&self) -> Option<&Missed> {
        self.missed.as_ref()
    }

    /// What the caller may see: its own claims and the names of policies and conditions. Never expected values,
    /// attributes of resources, other callers or names of approvers.
    #[must_use]
    pub fn for_caller(&self) -> &CallerView {
        &self.caller
    }

    /// What the policy's owner may see: all of it.
    #[must_use]
    pub fn for_owner(&self) -> &OwnerView {
        &self.owner
    }
}

impl PolicySet {
    /// Explains what [`judge`](PolicySet::judge) answers.
    #[must_use]
    pub fn explain(&self, query: &Query<'_>) -> DecisionReceipt {
        let (heard, judged) = match Hearing::open(self.engine(), query) {
            Ok(heard) => {
                let judged = judged(&heard, query);
                (Some(heard), judged)
            }
            Err(dismissed) => {
                let verdict = Verdict::Deny(dismissed.reasons);
                (
                    None,
                    Judged {
                        verdict,
                        permits: Vec::new(),
                        forbids: Vec::new(),
                        fault: dismissed.fault,
                    },
                )
            }
        };
        let closest = heard
            .as_ref()
            .and_then(|heard| closest(heard, query, &judged));
        let missed = closest.as_ref().map(|closest| closest.missed.clone());
        let caller = self.caller_view(query, &judged.verdict, closest.as_ref());
        DecisionReceipt {
            owner: self.owner_view(query, heard.as_ref(), &judged, &caller),
            verdict: judged.verdict,
            missed,
            caller,
        }
    }

    fn caller_view(
        &self,
        query: &Query<'_>,
        verdict: &Verdict,
        closest: Option<&Closest<'_>>,
    ) -> CallerView {
        let rules = &self.engine().rules;
        let deciding: Vec<usize> = verdict
            .policies()
            .iter()
            .filter_map(|id| rules.iter().position(|rule| rule.id == *id))
            .collect();
        let decided: Vec<&Rule> = deciding
            .iter()
            .filter_map(|place| rules.get(*place))
            .collect();
        let asked = decided
            .first()
            .copied()
            .or(closest.map(|closest| closest.rule));
        let is_permit = matches!(verdict, Verdict::Permit(_));
        let (why, detail) = match verdict {
            Verdict::Deny(reasons) => (Some(reasons.why().as_str()), Some(reasons.detail())),
            Verdict::Hold(_) | Verdict::Permit(_) => (None, None),
        };
        let reason = |rule: &&Rule| {
            Some(Said {
                policy: rule.id.clone(),
                reason: rule.annotations.reason.clone()?,
            })
        };
        CallerView {
            outcome: verdict.as_str(),
            why,
            detail: detail.map(Detail::as_str),
            pol: self.hash().to_string(),
            decided_by: verdict.policies().to_vec(),
            reasons: decided.iter().filter_map(reason).collect(),
            closest: closest.map(|closest| closest.missed.clone()),
            note: note(query, detail, closest),
            needs: needs(verdict),
            is_final: matches!(verdict, Verdict::Deny(_)),
            next_action: NextAction {
                kind: self.next_action(verdict, &deciding, closest),
            },
            owner: asked
                .and_then(owner)
                .or_else(|| self.resource_owner(query))
                .filter(|_| !is_permit),
            advice: asked
                .filter(|_| !is_permit)
                .and_then(|rule| rule.annotations.advice.clone()),
        }
    }

    fn resource_owner(&self, query: &Query<'_>) -> Option<OwnerContact> {
        let mut listed = query.resources.iter().filter_map(|resource| {
            let resource = self.resolve_resource(resource)?;
            Some(
                self.engine()
                    .store
                    .get(resource.uid())?
                    .links
                    .get("owner")?
                    .id()
                    .to_owned(),
            )
        });
        listed.next().map(|group| OwnerContact {
            group,
            contact: None,
        })
    }

    /// What would have to differ, by what the failing conditions or the firing forbids read; the first that fits.
    fn next_action(
        &self,
        verdict: &Verdict,
        deciding: &[usize],
        closest: Option<&Closest<'_>>,
    ) -> &'static str {
        let reasons = match verdict {
            Verdict::Permit(_) => return "none",
            Verdict::Hold(_) => return "wait",
            Verdict::Deny(reasons) => reasons,
        };
        match (reasons.why(), reasons.detail()) {
            (Why::Human, _) => "none",
            (Why::Limit, _) | (Why::Policy, Detail::Input | Detail::Undeclared) => "fix_request",
            (Why::Policy, Detail::NoPermit) => closest.map_or("ask_owner", |closest| {
                helps(closest.failing.iter().copied())
            }),
            (Why::Policy, Detail::Forbidden) => {
                let conditions = deciding
                    .iter()
                    .filter_map(|place| self.engine().conditions.get(*place))
                    .flatten();
                let in_a_clause = |condition: &&Condition| {
                    !matches!(condition.name.as_str(), "principal" | "resource")
                };
                helps(conditions.filter(in_a_clause))
            }
            (Why::Delegation | Why::Policy | Why::PolicyError, _) => "ask_owner",
        }
    }

    fn owner_view(
        &self,
        query: &Query<'_>,
        heard: Option<&Hearing<'_, '_>>,
        judged: &Judged,
        caller: &CallerView,
    ) -> OwnerView {
        let engine = self.engine();
        let told = caller
            .decided_by
            .iter()
            .chain(caller.closest.iter().map(|missed| &missed.policy));
        let view = |id: &String| {
            let place = engine.rules.iter().position(|rule| rule.id == *id)?;
            let (rule, conditions) = (engine.rules.get(place)?, engine.conditions.get(place)?);
            Some(PolicyView {
                id: id.clone(),
                file: rule.place.file.clone(),
                line: rule.place.line,
                conditions: conditions
                    .iter()
                    .map(|condition| condition.text.clone())
                    .collect(),
            })
        };
        let ids = |places: Option<&Vec<usize>>| -> Vec<&str> {
            let rules = places
                .into_iter()
                .flatten()
                .filter_map(|place| engine.rules.get(*place));
            rules.map(|rule| rule.id.as_str()).collect()
        };
        let parts = heard.map_or(0, |heard| heard.parts.len());
        let request = |part| json!({"permits": ids(judged.permits.get(part)), "forbids": ids(judged.forbids.get(part))});
        OwnerView {
            caller: caller.clone(),
            policies: told.filter_map(view).collect(),
            requests: (0..parts).map(request).collect(),
            query: self.record(query),
            error: judged.fault.as_ref().map(|fault| fault.text.clone()),
        }
    }
}

/// The permit of which most holds.
struct Closest<'e> {
    rule: &'e Rule,
    missed: Missed,
    failing: Vec<&'e Condition>,
}

fn closest<'e>(heard: &Hearing<'e, '_>, query: &Query<'_>, judged: &Judged) -> Option<Closest<'e>> {
    let without = judged.permits.iter().position(Vec::is_empty)?;
    let part = heard.parts.get(without)?;
    let tried = part
        .case
        .permits_of_action()
        .into_iter()
        .filter_map(|place| tried(heard, query, part, place));
    tried.min_by_key(|closest| {
        (
            std::cmp::Reverse(closest.missed.holds.len()),
            closest.rule.id.clone(),
        )
    })
}

fn tried<'e>(
    heard: &Hearing<'e, '_>,
    query: &Query<'_>,
    part: &Part<'_>,
    place: usize,
) -> Option<Closest<'e>> {
    let rule = heard.engine.rules.get(place)?;
    let conditions = heard.engine.conditions.get(place)?.iter();
    let (holding, failing): (Vec<_>, Vec<_>) =
        conditions.partition(|condition| part.case.holds(&part.request, condition));
    let expired = rule.annotations.expires.filter(|end| query.now >= *end);
    let fails = failing.iter().map(|condition| Failed {
        name: condition.name.clone(),
        yours: own_value(&heard.context, condition),
    });
    let expired = expired.map(|_| Failed {
        name: "expires".to_owned(),
        yours: None,
    });
    Some(Closest {
        rule,
        missed: Missed {
            policy: rule.id.clone(),
            holds: holding
                .iter()
                .map(|condition| condition.name.clone())
                .collect(),
            fails: fails.chain(expired).collect(),
        },
        failing,
    })
}

/// The value the caller came with, where a condition reads its claims, task, credential or history.
fn own_value(context: &Term<'_>, condition: &Condition) -> Option<Json> {
    let path = condition.reads.first()?;
    let (var, members) = path.split_first()?;
    let member = members.first()?;
    (var == "context" && member != "approvals").then(|| context.at(members).map(Term::plain))?
}

fn helps<'a>(conditions: impl Iterator<Item = &'a Condition>) -> &'static str {
    let reads: Vec<&[String]> = conditions
        .flat_map(|condition| condition.reads.iter().map(Vec::as_slice))
        .collect();
    let any = |members: &[&str]| {
        reads.iter().any(|path| {
            path.get(1)
                .is_some_and(|member| members.contains(&member.as_str()))
        })
    };
    let about = |var: &str| {
        reads
            .iter()
            .any(|path| path.first().is_some_and(|first| first == var))
    };
    let claims = [
        "origin",
        "extra",
        "caller",
        "attested",
        "delegation",
        "task",
    ];
    match () {
        () if reads.is_empty()
            || about("principal")
            || any(&PLATFORMS)
            || any(&claims)
            || about("resource") =>
        {
            "ask_owner"
        }
        () if any(&["history"]) => "none",
        () if any(&["credential", "input"]) => "fix_request",
        () if any(&["now"]) => "wait",
        () => "ask_owner",
    }
}

fn note(
    query: &Query<'_>,
    detail: Option<Detail>,
    closest: Option<&Closest<'_>>,
) -> Option<String> {
    let action = query.action.name();
    match detail? {
        Detail::NoPermit if closest.is_none() => Some(format!(
            "no policy permits `{action}` on such a resource for such a caller"
        )),
        Detail::NotForYou => Some(format!(
            "`{action}` is not for a {} or not for such a resource",
            query.caller.kind.as_str()
        )),
        Detail::Undeclared => Some("this action or a resource's type does not exist".to_owned()),
        Detail::UnknownResource => {
            Some("a resource is not listed; look at its spelling".to_owned())
        }
        Detail::ProofRequired => {
            Some("the credential must be bound to a key, and no such proof came".to_owned())
        }
        _ => None,
    }
}

fn needs(verdict: &Verdict) -> Vec<NeedView> {
    let Verdict::Hold(quorum) = verdict else {
        return Vec::new();
    };
    let view = |need: &crate::decision::Need| NeedView {
        policy: need.policy.clone(),
        approvers: vec![format!("Group::\"{}\"", need.approvers)],
        quorum: need.votes.get(),
    };
    quorum.needs().iter().map(view).collect()
}

fn owner(rule: &Rule) -> Option<OwnerContact> {
    Some(OwnerContact {
        group: rule.annotations.owner.clone()?,
        contact: rule.annotations.contact.clone(),
    })
}
