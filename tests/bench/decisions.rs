//! `PolicySet::decide` alone, on sets of three sizes: it should not matter how many policies are there.

use std::collections::BTreeSet;

use stint_broker::clock::Stopwatch;
use stint_policy::{
    ActionId, AskDigest, Binding, CredentialKind, Decision, GrantId, History, PersonId, PolicySet,
    Principal, Query, Resources, Seconds, Task, TaskId, TaskSource, Timestamp, Want,
};

use crate::broker;
use crate::report::Report;

/// What a query borrows: a job of acme/web that deploys to staging, with every claim that its token has.
#[derive(Debug)]
pub(crate) struct Question {
    caller: Principal,
    own: BTreeSet<PersonId>,
    task: Task,
    history: History,
    action: ActionId,
    resources: Resources,
    want: Want,
}

impl Question {
    pub(crate) fn of(caller: Principal) -> Question {
        Question {
            caller,
            own: BTreeSet::new(),
            task: Task {
                id: TaskId::from_bytes([7; 16]),
                name: "github:456789/322".to_owned(),
                source: TaskSource::Evidence,
                depth: 0,
                opened: NOW,
                deadline: None,
                parent: None,
                initiator: None,
            },
            history: History::default(),
            action: ActionId::parse("deploy").unwrap(),
            resources: Resources::parse(["Environment::\"staging/web\""]).unwrap(),
            want: Want {
                kind: CredentialKind::X509,
                profile: "default".to_owned(),
                bind: Binding::Key,
                audience: None,
                ttl: Seconds::new(600),
            },
        }
    }

    /// One decision.
    pub(crate) fn must_be_granted(&self, set: &PolicySet) {
        let decision = set.decide(&self.query(), GrantId::from_bytes([3; 16]));
        assert!(matches!(decision, Decision::Permit(_)), "{decision:?}");
    }

    fn query(&self) -> Query<'_> {
        Query {
            now: NOW,
            caller: &self.caller,
            subject: None,
            actors: &[],
            consent: None,
            subject_bound: false,
            own: &self.own,
            task: &self.task,
            history: &self.history,
            action: &self.action,
            resources: &self.resources,
            input: None,
            want: &self.want,
            ceilings: &[],
            digest: AskDigest([1; 32]),
            votes: &[],
        }
    }
}

pub(crate) fn set(policies: usize) -> PolicySet {
    PolicySet::from_files(broker::policies(policies)).unwrap()
}

pub(crate) fn measure(report: &mut Report, caller: &Principal, scale: usize) {
    let mut medians = Vec::new();
    for size in [10, 100, 1_000] {
        let (p50, p99) = times(&set(size), caller, 20_000 / scale);
        let name = format!("{size} policies");
        report.figure(&name, "p50 µs", p50);
        report.figure(&name, "p99 µs", p99);
        medians.push(p50);
    }
    report.figure(
        "flatness",
        "1,000 policies over 10, p50",
        medians[2] / medians[0],
    );
}

/// Median and 99th percentile of one decision, microseconds.
fn times(set: &PolicySet, caller: &Principal, times: usize) -> (f64, f64) {
    let question = Question::of(caller.clone());
    let mut took: Vec<f64> = (0..times + times / 10)
        .map(|_| {
            let watch = Stopwatch::start();
            question.must_be_granted(set);
            watch.elapsed().as_secs_f64() * 1e6
        })
        .skip(times / 10)
        .collect();
    took.sort_by(f64::total_cmp);
    (took[times / 2], took[times * 99 / 100])
}

/// 2027-03-01T10:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_803_895_200);
