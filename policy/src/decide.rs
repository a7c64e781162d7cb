//! The decision (POLICY.md §3): total, pure, and the only place where a Grant is made.
//!
//! It runs in three passes. In the first nobody has voted; what is permitted then is permitted. In the second everybody
//! has, which shows whether votes can help at all. In the third those have who really did. Whatever cannot be evaluated
//! is a Deny, even where another policy denied already.

mod grant;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;

use crate::annotation::Strictest;
use crate::decision::{Decision, Detail, Limits, Need, Quorum, Reasons, Verdict, Why};
use crate::engine::Fault;
use crate::heard::Heard;
use crate::hearing::{Dismissed, Hearing};
use crate::id::GrantId;
use crate::query::{GroupName, Kind, PersonId, Query, Vote};
use crate::quorum::{self, Ballot, Filled};
use crate::rule::{GROUP, Gate, Rule};
use crate::set::PolicySet;
use crate::time::{Seconds, Timestamp};
use crate::uid::Uid;

pub use grant::Grant;

impl PolicySet {
    /// As [`Heard::decide`], of an ask that is opened for this alone.
    #[must_use]
    pub fn decide(&self, query: &Query<'_>, id: GrantId) -> Decision {
        self.hear(query).decide(id)
    }

    /// The same answer without a Grant: for dry runs, tests and replays.
    #[must_use]
    pub fn judge(&self, query: &Query<'_>) -> Verdict {
        self.hear(query).judge()
    }
}

impl Heard<'_, '_> {
    /// Answers the ask; a Permit carries a [`Grant`] with this id. Pure and total: the same query and set give the same
    /// answer, and whatever cannot be evaluated is a Deny.
    #[must_use]
    pub fn decide(&self, id: GrantId) -> Decision {
        match (&self.opened, self.judge()) {
            (_, Verdict::Deny(reasons)) => Decision::Deny(reasons),
            (_, Verdict::Hold(quorum)) => Decision::Hold(quorum),
            (Ok(opened), Verdict::Permit(limits)) => {
                let names = (&opened.action, &opened.resources);
                Decision::Permit(Grant::new(
                    id,
                    &self.query,
                    names,
                    (self.set.hash(), limits),
                ))
            }
            // What was not opened is never permitted; were it, this is the answer.
            (Err(dismissed), Verdict::Permit(_)) => Decision::Deny(dismissed.reasons.clone()),
        }
    }

    pub(crate) fn judge(&self) -> Verdict {
        match &self.opened {
            Ok(hearing) => judged(hearing, &self.query).verdict,
            Err(dismissed) => Verdict::Deny(dismissed.reasons.clone()),
        }
    }
}

/// A verdict and what led to it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// Per request the permits that hold, and the forbids that fire while nobody has voted.
    pub(crate) permits: Vec<Vec<usize>>,
    pub(crate) forbids: Vec<Vec<usize>>,
    pub(crate) fault: Option<Fault>,
}

/// The three passes.
pub(crate) fn judged(hearing: &Hearing<'_, '_>, query: &Query<'_>) -> Judged {
    let mut judged = Judged {
        verdict: Verdict::Deny(Reasons::bare(Why::PolicyError, Detail::Evaluation)),
        permits: Vec::new(),
        forbids: Vec::new(),
        fault: None,
    };
    let reads_history = hearing.reads_history();
    let verdict = first(hearing, query, &mut judged).and_then(|permits| {
        match gates(hearing, &judged.forbids) {
            gates if gates.is_empty() => permits
                .within(query, &Filled::default(), &[])
                .map(Verdict::Permit),
            gates => voted(hearing, query, &permits, &gates),
        }
    });
    judged.verdict = match verdict {
        Ok(Verdict::Permit(limits)) => Verdict::Permit(Limits {
            reads_history,
            labels: hearing.labels(),
            ..limits
        }),
        Ok(Verdict::Hold(quorum)) => Verdict::Hold(Quorum {
            reads_history,
            ..quorum
        }),
        Ok(Verdict::Deny(reasons)) => Verdict::Deny(Reasons {
            reads_history,
            ..reasons
        }),
        Err(dismissed) => {
            judged.fault = dismissed.fault;
            Verdict::Deny(Reasons {
                reads_history,
                ..dismissed.reasons
            })
        }
    };
    judged
}

/// Pass 1: nobody has voted. What it lets through is permitted, but for gates.
fn first<'e>(
    hearing: &Hearing<'e, '_>,
    query: &Query<'_>,
    judged: &mut Judged,
) -> Result<Permits<'e>, Dismissed> {
    let rules = &hearing.engine.rules;
    for part in &hearing.parts {
        judged.forbids.push(
            part.case
                .satisfied(&part.request, &part.forbids)
                .map_err(evaluation)?,
        );
        let mut permits = part
            .case
            .satisfied(&part.request, &part.permits)
            .map_err(evaluation)?;
        let expired = |rule: &Rule| rule.annotations.expires.is_some_and(|end| query.now >= end);
        permits.retain(|place| rules.get(*place).is_some_and(|rule| !expired(rule)));
        judged.permits.push(permits);
    }
    let fired = judged
        .forbids
        .iter()
        .flatten()
        .filter_map(|place| rules.get(*place));
    let hard: BTreeSet<String> = fired
        .filter(|rule| rule.gate.is_none())
        .map(|rule| rule.id.clone())
        .collect();
    if !hard.is_empty() {
        return Err(denied(Why::Policy, Detail::Forbidden, hard));
    }
    let bare = hearing
        .parts
        .iter()
        .zip(&judged.permits)
        .find(|(_, permits)| permits.is_empty());
    match bare {
        Some((part, _)) if part.is_consent => {
            return Err(denied(Why::Delegation, Detail::Consent, BTreeSet::new()));
        }
        Some(_) => return Err(denied(Why::Policy, Detail::NoPermit, BTreeSet::new())),
        None => {}
    }
    let permits = judged.permits.iter().flatten().collect::<BTreeSet<_>>();
    let permits = Permits(
        permits
            .into_iter()
            .filter_map(|place| rules.get(*place))
            .collect(),
    );
    permits.within(query, &Filled::default(), &[])?;
    Ok(permits)
}

/// All permits that decide, over all requests.
#[derive(Debug)]
struct Permits<'e>(Vec<&'e Rule>);

impl Permits<'_> {
    fn ids(&self) -> BTreeSet<String> {
        self.0.iter().map(|rule| rule.id.clone()).collect()
    }

    /// The strictest of their limits, the approval and the ceilings; a Deny where the ask does not fit.
    fn within(
        &self,
        query: &Query<'_>,
        approval: &Filled,
        gates: &[Fired<'_>],
    ) -> Result<Limits, Dismissed> {
        let mut strictest = Strictest::default();
        self.0
            .iter()
            .for_each(|rule| strictest.add(&rule.id, &rule.annotations));
        strictest
            .admit(query.want)
            .map_err(|detail| denied(Why::Limit, detail, self.ids()))?;
        let asked = query.now.plus(query.want.ttl);
        let permits = strictest
            .max_ttl
            .iter()
            .map(|(id, ttl)| (format!("max_ttl:{id}"), query.now.plus(*ttl)));
        let approval_end = approval.until.map(|until| ("approval".to_owned(), until));
        let ceilings = query
            .ceilings
            .iter()
            .map(|ceiling| (ceiling.name.clone(), ceiling.not_after));
        let below: Vec<(String, Timestamp)> = permits
            .chain(approval_end)
            .chain(ceilings)
            .filter(|(_, end)| *end < asked)
            .collect();
        let not_after = below.iter().map(|(_, end)| *end).min().unwrap_or(asked);
        if not_after < query.now.plus(SHORTEST) {
            return Err(denied(Why::Limit, Detail::Life, self.ids()));
        }
        Ok(Limits {
            not_after,
            shortened_by: below.into_iter().map(|(name, _)| name).collect(),
            policies: self.ids().into_iter().collect(),
            approved_by: approval.persons.clone(),
            approved_until: approval.until,
            single_use: gates.iter().any(|gate| gate.rule.annotations.single_use),
            reads_history: false,
            labels: BTreeSet::new(),
        })
    }
}

/// A gate that fired for one request, and the group it asks there.
#[derive(Clone, Debug)]
struct Fired<'e> {
    part: usize,
    rule: &'e Rule,
    gate: &'e Gate,
    group: Option<String>,
}

fn gates<'e>(hearing: &Hearing<'e, '_>, forbids: &[Vec<usize>]) -> Vec<Fired<'e>> {
    let rules = &hearing.engine.rules;
    let mut fired = Vec::new();
    for (part, (places, heard)) in forbids.iter().zip(&hearing.parts).enumerate() {
        for rule in places.iter().filter_map(|place| rules.get(*place)) {
            if let Some(gate) = &rule.gate {
                fired.push(Fired {
                    part,
                    rule,
                    gate,
                    group: heard.case.approvers(gate),
                });
            }
        }
    }
    fired
}

/// Passes 2 and 3.
fn voted(
    hearing: &Hearing<'_, '_>,
    query: &Query<'_>,
    permits: &Permits<'_>,
    gates: &[Fired<'_>],
) -> Result<Verdict, Dismissed> {
    let ids = || {
        gates
            .iter()
            .map(|gate| gate.rule.id.clone())
            .collect::<BTreeSet<_>>()
    };
    let mut seats: BTreeMap<&str, u8> = BTreeMap::new();
    for gate in gates {
        let group = gate
            .group
            .as_deref()
            .ok_or_else(|| denied(Why::PolicyError, Detail::GateStuck, ids()))?;
        let most = seats.entry(group).or_default();
        *most = gate.gate.votes.max(*most);
    }
    if !open_with(hearing, gates, |_, _| true)?
        || seats.values().map(|n| usize::from(*n)).sum::<usize>() > MOST_SEATS
    {
        return Err(denied(Why::PolicyError, Detail::GateStuck, ids()));
    }
    let roll = Roll::call(hearing, query, seats.keys().copied());
    if roll.refused {
        return Err(denied(Why::Human, Detail::VotedNo, ids()));
    }
    let approval_ttl = gates
        .iter()
        .filter_map(|gate| gate.rule.annotations.approval_ttl)
        .min();
    let counts: Vec<u8> = seats.values().copied().collect();
    let filled = quorum::fill(&counts, &roll.ballots, approval_ttl, query.now);
    let said_yes = |group: &str, votes: u8| {
        let place = seats.keys().position(|known| *known == group);
        let people: BTreeSet<&PersonId> = roll
            .ballots
            .iter()
            .filter(|ballot| place.is_some_and(|place| ballot.groups.contains(&place)))
            .map(|ballot| &ballot.person)
            .collect();
        people.len() >= usize::from(votes)
    };
    if filled.until.is_some() && open_with(hearing, gates, said_yes)? {
        return permits.within(query, &filled, gates).map(Verdict::Permit);
    }
    let need = |gate: &Fired<'_>| {
        let approvers = GroupName::new(gate.group.clone()?);
        Some(Need {
            policy: gate.rule.id.clone(),
            approvers,
            votes: NonZeroU8::new(gate.gate.votes)?,
        })
    };
    let needs: BTreeSet<Need> = gates.iter().filter_map(need).collect();
    Ok(Verdict::Hold(Quorum {
        needs: needs.into_iter().collect(),
        have: u8::try_from(filled.persons.len()).unwrap_or(u8::MAX),
        policies: ids().into_iter().collect(),
        request_ttl: gates
            .iter()
            .filter_map(|gate| gate.rule.annotations.request_ttl)
            .min(),
        approval_ttl,
        single_use: gates.iter().any(|gate| gate.rule.annotations.single_use),
        separation: query.task.initiator.is_some(),
        reads_history: false,
    }))
}

/// Whether no forbid fires any more once the gates have those seats that `filled` says.
fn open_with(
    hearing: &Hearing<'_, '_>,
    gates: &[Fired<'_>],
    filled: impl Fn(&str, u8) -> bool,
) -> Result<bool, Dismissed> {
    for (number, part) in hearing.parts.iter().enumerate() {
        let here = gates.iter().filter(|gate| gate.part == number);
        let seats = here.filter_map(|gate| Some((gate.group.clone()?, gate.gate.votes)));
        let approvals: BTreeSet<(String, u8)> = seats
            .filter(|(group, votes)| filled(group, *votes))
            .collect();
        let approvals: Vec<(String, u8)> = approvals.into_iter().collect();
        let request = hearing.request(part, &approvals).map_err(evaluation)?;
        if !part
            .case
            .satisfied(&request, &part.forbids)
            .map_err(evaluation)?
            .is_empty()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Votes that count: on this very ask, unspent, by somebody of a group that is asked and not by the asker's own people.
#[derive(Debug)]
struct Roll {
    ballots: Vec<Ballot>,
    refused: bool,
}

impl Roll {
    fn call<'g>(
        hearing: &Hearing<'_, '_>,
        query: &Query<'_>,
        groups: impl Iterator<Item = &'g str>,
    ) -> Roll {
        let groups: Vec<Option<Uid>> = groups.map(|group| Uid::new(GROUP, group)).collect();
        let mut roll = Roll {
            ballots: Vec::new(),
            refused: false,
        };
        for vote in query.votes {
            let counts = vote.digest == query.digest && !vote.spent && vote.at <= query.now;
            if !counts || query.own.contains(&vote.person) {
                continue;
            }
            let sits_for = seats_of(hearing, vote, &groups);
            match (sits_for.is_empty(), vote.yes) {
                (true, _) => {}
                (false, false) => roll.refused = true,
                (false, true) => roll.ballots.push(Ballot {
                    person: vote.person.clone(),
                    groups: sits_for,
                    at: vote.at,
                    lasts: vote.lasts.min(query.want.ttl),
                }),
            }
        }
        roll
    }
}

/// Places of the groups that this voter is in.
fn seats_of(hearing: &Hearing<'_, '_>, vote: &Vote, groups: &[Option<Uid>]) -> Vec<usize> {
    let Some(user) = Uid::new(Kind::User.type_name(), vote.user.as_str()) else {
        return Vec::new();
    };
    let login: Vec<Uid> = vote
        .groups
        .iter()
        .filter_map(|group| Uid::new(GROUP, group.as_str()))
        .collect();
    let is_in = |group: &Option<Uid>| {
        group
            .as_ref()
            .is_some_and(|group| hearing.engine.store.is_member(&user, &login, group))
    };
    groups
        .iter()
        .enumerate()
        .filter(|(_, group)| is_in(group))
        .map(|(place, _)| place)
        .collect()
}

fn denied(why: Why, detail: Detail, policies: BTreeSet<String>) -> Dismissed {
    let policies = policies.into_iter().collect();
    Dismissed {
        reasons: Reasons {
            policies,
            ..Reasons::bare(why, detail)
        },
        fault: None,
    }
}

fn evaluation(fault: Fault) -> Dismissed {
    let policies = fault.policy.clone().into_iter().collect();
    Dismissed {
        fault: Some(fault),
        ..denied(Why::PolicyError, Detail::Evaluation, policies)
    }
}

/// POLICY.md §3.3: with less left nothing useful can be done, and clocks differ.
const SHORTEST: Seconds = Seconds::new(30);

/// POLICY.md §3.2.
const MOST_SEATS: usize = 64;
