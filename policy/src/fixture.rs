//! For tests: an ask that owns what a query borrows, and the sample set to put it to.

use std::collections::BTreeSet;

use crate::id::TaskId;
use crate::query::{
    AskDigest, Binding, Ceiling, Claims, Consent, CredentialKind, GroupName, History, Input, Kind,
    PersonId, Principal, Query, Task, TaskSource, Vote, Want,
};
use crate::set::{Files, PolicySet, sample};
use crate::spiffe::SpiffeId;
use crate::time::{Seconds, Timestamp};
use crate::uid::{ActionId, Resources};

/// 2027-03-01T10:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_803_895_200);

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) now: Timestamp,
    pub(crate) caller: Principal,
    pub(crate) subject: Option<Principal>,
    pub(crate) actors: Vec<Principal>,
    pub(crate) consent: Option<Consent>,
    pub(crate) own: BTreeSet<PersonId>,
    pub(crate) task: Task,
    pub(crate) history: History,
    pub(crate) action: ActionId,
    pub(crate) resources: Resources,
    pub(crate) input: Option<Input>,
    pub(crate) want: Want,
    pub(crate) ceilings: Vec<Ceiling>,
    pub(crate) votes: Vec<Vote>,
}

impl Ask {
    /// acme/web on main asks for ten minutes of x509.
    pub(crate) fn new(action: &str, resource: &str) -> Ask {
        Ask {
            now: NOW,
            caller: web("refs/heads/main"),
            subject: None,
            actors: Vec::new(),
            consent: None,
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
            action: ActionId::parse(action).unwrap(),
            resources: Resources::parse([resource]).unwrap(),
            input: None,
            want: Want {
                kind: CredentialKind::X509,
                profile: "default".to_owned(),
                bind: Binding::Key,
                audience: None,
                ttl: Seconds::new(600),
            },
            ceilings: Vec::new(),
            votes: Vec::new(),
        }
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            now: self.now,
            caller: &self.caller,
            subject: self.subject.as_ref(),
            actors: &self.actors,
            consent: self.consent,
            subject_bound: false,
            own: &self.own,
            task: &self.task,
            history: &self.history,
            action: &self.action,
            resources: &self.resources,
            input: self.input.as_ref(),
            want: &self.want,
            ceilings: &self.ceilings,
            digest: AskDigest([1; 32]),
            votes: &self.votes,
        }
    }
}

/// The sample's workload, from a job on this ref.
pub(crate) fn web(git_ref: &str) -> Principal {
    let claims = [
        ("repository_id", "456789"),
        ("repository_owner_id", "123456"),
        ("run_id", "322"),
        ("ref", git_ref),
    ];
    let claims = claims
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let claims = Claims {
        platform: Some(("github".to_owned(), claims)),
        ..Claims::default()
    };
    Principal {
        issuer: "github".to_owned(),
        preset: "github-actions".to_owned(),
        claims,
        ..principal(Kind::Workload, "github/123456/456789")
    }
}

pub(crate) fn principal(kind: Kind, path: &str) -> Principal {
    Principal {
        id: SpiffeId::parse(&format!("spiffe://acme.dev/{path}")).unwrap(),
        kind,
        issuer: "stint".to_owned(),
        preset: "task".to_owned(),
        claims: Claims::default(),
        groups: BTreeSet::new(),
        owner: None,
        person: None,
        attested: BTreeSet::new(),
    }
}

/// A yes of a member of `sre`, for an hour.
pub(crate) fn yes(person: &str) -> Vote {
    Vote {
        person: PersonId::new(person),
        user: SpiffeId::parse(&format!("spiffe://acme.dev/user/{person}")).unwrap(),
        groups: [GroupName::new("sre")].into(),
        yes: true,
        at: NOW,
        lasts: Seconds::new(3600),
        digest: AskDigest([1; 32]),
        spent: false,
    }
}

pub(crate) fn sample_set() -> PolicySet {
    PolicySet::from_files(sample()).unwrap_or_else(|error| panic!("{error}"))
}

/// The sample without its tests, with one file put in or replaced.
pub(crate) fn sample_with(path: &str, text: &str) -> Files {
    let kept = sample();
    let kept = kept.iter().filter(|(path, _)| !path.starts_with("tests/"));
    let mut files: Files = kept.collect();
    files.insert(path, text);
    files
}
