//! The form of a test file, and from it queries.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;
use toml::{Table, Value as Toml};

use crate::engine::condition::PLATFORMS;
use crate::id::TaskId;
use crate::query::{
    AskDigest, Attributes, Binding, Claims, Consent, CredentialKind, GroupName, History, Input,
    Kind, PersonId, Principal, Query, Task, TaskSource, Value, Vote, Want,
};
use crate::set::PolicySet;
use crate::spiffe::SpiffeId;
use crate::time::{Seconds, Timestamp};
use crate::uid::{ActionId, Resources, Uid};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    now: Option<toml::value::Datetime>,
    #[serde(default)]
    person: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    caller: BTreeMap<String, Table>,
    #[serde(default)]
    case: BTreeMap<String, Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseSpec {
    caller: OneOrMany,
    #[serde(rename = "for")]
    on_behalf: Option<String>,
    consent: Option<String>,
    ask: AskSpec,
    #[serde(default)]
    task: TaskSpec,
    #[serde(default)]
    history: HistorySpec,
    #[serde(default)]
    votes: Vec<VoteSpec>,
    #[serde(default)]
    no: Vec<String>,
    now: Option<toml::value::Datetime>,
    expect: ExpectSpec,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskSpec {
    action: String,
    resources: Vec<String>,
    credential: Option<String>,
    ttl: Option<String>,
    bind: Option<String>,
    audience: Option<String>,
    profile: Option<String>,
    input: Option<Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TaskSpec {
    depth: u32,
    source: Option<String>,
    left_s: Option<u32>,
    initiator: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HistorySpec {
    grants: u64,
    denials: u64,
    actions: BTreeSet<String>,
    live: BTreeSet<String>,
    labels: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoteSpec {
    by: String,
    ttl: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerSpec {
    id: String,
    issuer: String,
    preset: String,
    kind: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    attested: BTreeSet<String>,
    #[serde(default)]
    origin: Table,
    #[serde(default)]
    extra: Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectSpec {
    outcome: Option<String>,
    why: Option<String>,
    by: Option<Vec<String>>,
    needs: Option<Vec<Table>>,
    have: Option<u8>,
    ttl: Option<String>,
    shortened_by: Option<Vec<String>>,
    closest: Option<String>,
    fails: Option<Vec<String>>,
    next: Option<String>,
}

/// What a case expects; what is absent is not compared.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) outcome: Option<String>,
    pub(super) why: Option<String>,
    pub(super) by: Option<Vec<String>>,
    pub(super) needs: Option<Json>,
    pub(super) have: Option<u8>,
    pub(super) ttl: Option<Seconds>,
    pub(super) shortened_by: Option<Vec<String>>,
    pub(super) closest: Option<String>,
    pub(super) fails: Option<Vec<String>>,
    pub(super) next: Option<String>,
}

/// A case for one caller: everything its query borrows.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) caller: String,
    pub(super) now: Timestamp,
    pub(super) expect: Expect,
    principal: Principal,
    subject: Option<(Principal, Consent)>,
    own: BTreeSet<PersonId>,
    task: Task,
    history: History,
    action: ActionId,
    resources: Resources,
    input: Option<Input>,
    want: Want,
    votes: Vec<Vote>,
}

impl Case {
    pub(super) fn with_query<T>(&self, ask: impl FnOnce(&Query<'_>) -> T) -> T {
        ask(&Query {
            now: self.now,
            caller: &self.principal,
            subject: self.subject.as_ref().map(|(subject, _)| subject),
            actors: &[],
            consent: self.subject.as_ref().map(|(_, consent)| *consent),
            subject_bound: false,
            own: &self.own,
            task: &self.task,
            history: &self.history,
            action: &self.action,
            resources: &self.resources,
            input: self.input.as_ref(),
            want: &self.want,
            ceilings: &[],
            digest: DIGEST,
            votes: &self.votes,
        })
    }
}

impl Suite {
    /// The file, or what is wrong with it and at which byte.
    pub(super) fn read(text: &str) -> Result<Suite, (usize, String)> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            (
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = &str> {
        self.case.keys().map(String::as_str)
    }

    /// Where a case's heading is; the start of the file if it is spelt in another way than it prints.
    pub(super) fn offset(&self, text: &str, name: &str) -> usize {
        let headings = [
            format!("[case.{name:?}]"),
            format!("[case.'{name}']"),
            format!("[case.{name}]"),
        ];
        headings
            .iter()
            .find_map(|heading| text.find(heading))
            .unwrap_or_default()
    }

    /// The case with all that it takes from others, and whom it names, as a file of its own.
    pub(super) fn alone(&self, name: &str) -> Option<String> {
        let case = resolved(&self.case, name, 0).ok()?;
        let named = |value: &Toml| value.as_str().map(str::to_owned);
        let callers = match case.get("caller")? {
            Toml::Array(names) => names.iter().filter_map(named).collect(),
            one => Vec::from_iter(named(one)),
        };
        let subject = case.get("for").and_then(named);
        let mut tables = Table::new();
        for caller in callers.into_iter().chain(subject) {
            if let Ok(table) = resolved(&self.caller, &caller, 0) {
                tables.insert(caller, Toml::Table(table));
            }
        }
        let mut file = Table::new();
        if let Some(now) = self.now {
            file.insert("now".to_owned(), Toml::Datetime(now));
        }
        if !self.person.is_empty() {
            let person = Toml::try_from(&self.person).ok()?;
            file.insert("person".to_owned(), person);
        }
        file.insert("caller".to_owned(), Toml::Table(tables));
        let case = Table::from_iter([(name.to_owned(), Toml::Table(case))]);
        file.insert("case".to_owned(), Toml::Table(case));
        toml::to_string(&file).ok()
    }

    /// One case per caller that it names.
    pub(super) fn case(&self, set: &PolicySet, name: &str) -> Result<Vec<Case>, String> {
        let table = resolved(&self.case, name, 0)?;
        let spec: CaseSpec = Toml::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let names = match &spec.caller {
            OneOrMany::One(name) => vec![name.clone()],
            OneOrMany::Many(names) => names.clone(),
        };
        names
            .into_iter()
            .map(|caller| self.build(set, &spec, caller))
            .collect()
    }

    fn build(&self, set: &PolicySet, spec: &CaseSpec, caller: String) -> Result<Case, String> {
        let now = moment(spec.now.as_ref().or(self.now.as_ref()).ok_or("no `now`")?)?;
        let principal = self.principal(set, &caller)?;
        let subject = spec
            .on_behalf
            .as_deref()
            .map(|name| self.subject(set, name, spec.consent.as_deref()));
        let subject = subject.transpose()?;
        let want = want(&spec.ask)?;
        let initiator = spec
            .task
            .initiator
            .as_deref()
            .map(|name| self.user(name))
            .transpose()?;
        let mut own: BTreeSet<PersonId> = spec.task.initiator.iter().map(PersonId::new).collect();
        let behind =
            std::iter::once(&principal).chain(subject.as_ref().map(|(subject, _)| subject));
        own.extend(behind.filter_map(|principal| self.person_behind(set, principal)));
        let votes = self.votes(spec, &want, now)?;
        Ok(Case {
            now,
            expect: expect(&spec.expect)?,
            own,
            task: Task {
                id: TaskId::from_bytes([0; 16]),
                name: "test:case".to_owned(),
                source: source(spec.task.source.as_deref())?,
                depth: spec.task.depth,
                opened: now,
                deadline: spec.task.left_s.map(|left| now.plus(Seconds::new(left))),
                parent: None,
                initiator: initiator.map(|user| user.as_str().to_owned()),
            },
            history: History {
                grants: spec.history.grants,
                denials: spec.history.denials,
                actions: spec.history.actions.clone(),
                live: spec.history.live.clone(),
                labels: spec.history.labels.clone(),
            },
            action: ActionId::parse(&spec.ask.action).map_err(|error| error.to_string())?,
            resources: Resources::parse(&spec.ask.resources).map_err(|error| error.to_string())?,
            input: spec.ask.input.as_ref().map(input).transpose()?,
            principal,
            subject,
            want,
            votes,
            caller,
        })
    }

    fn principal(&self, set: &PolicySet, name: &str) -> Result<Principal, String> {
        let mut table = resolved(&self.caller, name, 0)?;
        let platforms: Vec<(&str, Toml)> = PLATFORMS
            .iter()
            .filter_map(|platform| Some((*platform, table.remove(*platform)?)))
            .collect();
        let spec: CallerSpec = Toml::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| format!("caller `{name}`: {}", error.message()))?;
        let id = SpiffeId::parse(&spec.id).map_err(|error| format!("caller `{name}`: {error}"))?;
        let platform = match platforms.as_slice() {
            [] => None,
            [(platform, Toml::Table(claims))] => {
                Some(((*platform).to_owned(), attributes(claims)?))
            }
            [(platform, _)] => {
                return Err(format!(
                    "caller `{name}`: `{platform}` is a table of claims"
                ));
            }
            _ => return Err(format!("caller `{name}` comes from two platforms")),
        };
        Ok(Principal {
            kind: kind(set, &id, spec.kind.as_deref())?,
            id,
            issuer: spec.issuer,
            preset: spec.preset,
            claims: Claims {
                origin: attributes(&spec.origin)?,
                platform,
                extra: attributes(&spec.extra)?,
            },
            groups: spec.groups,
            owner: spec.owner.map(|owner| {
                crate::annotation::group(&owner)
                    .unwrap_or(&owner)
                    .to_owned()
            }),
            person: None,
            attested: spec.attested,
        })
    }

    fn subject(
        &self,
        set: &PolicySet,
        name: &str,
        consent: Option<&str>,
    ) -> Result<(Principal, Consent), String> {
        let consent = match consent {
            None | Some("may_act") => Consent::MayAct,
            Some("policy") => Consent::Policy,
            Some("task") => Consent::Task,
            Some(other) => return Err(format!("`{other}` is no consent: may_act, policy or task")),
        };
        if self.caller.contains_key(name) {
            return Ok((self.principal(set, name)?, consent));
        }
        let groups = self
            .person
            .get(name)
            .ok_or_else(|| format!("nobody is called `{name}`"))?;
        let person = Principal {
            id: self.user(name)?,
            kind: Kind::User,
            issuer: "people".to_owned(),
            preset: "people".to_owned(),
            claims: Claims::default(),
            groups: groups.clone(),
            owner: None,
            person: None,
            attested: BTreeSet::new(),
        };
        Ok((person, consent))
    }

    /// A person's account: a SPIFFE ID is itself, a short name lies in the trust domain `test`.
    fn user(&self, name: &str) -> Result<SpiffeId, String> {
        match (
            name.starts_with("spiffe://"),
            self.person.contains_key(name),
        ) {
            (true, _) => SpiffeId::parse(name).map_err(|error| error.to_string()),
            (false, true) => {
                SpiffeId::parse(&format!("{USERS}{name}")).map_err(|error| error.to_string())
            }
            (false, false) => Err(format!("nobody is called `{name}`")),
        }
    }

    /// Who may not vote because of this principal: itself, or the person of its entity.
    fn person_behind(&self, set: &PolicySet, principal: &Principal) -> Option<PersonId> {
        let account = match principal.kind {
            Kind::User => principal.id.as_str().to_owned(),
            Kind::Agent | Kind::Workload => {
                let uid = Uid::new(principal.kind.type_name(), principal.id.as_str())?;
                set.engine()
                    .store
                    .get(&uid)?
                    .links
                    .get("person")?
                    .id()
                    .to_owned()
            }
        };
        Some(PersonId::new(
            account.strip_prefix(USERS).unwrap_or(&account),
        ))
    }

    fn votes(&self, spec: &CaseSpec, want: &Want, now: Timestamp) -> Result<Vec<Vote>, String> {
        let vote = |name: &str, yes: bool, lasts: Seconds| {
            Ok(Vote {
                person: PersonId::new(name),
                user: self.user(name)?,
                groups: self
                    .person
                    .get(name)
                    .into_iter()
                    .flatten()
                    .map(GroupName::new)
                    .collect(),
                yes,
                at: now,
                lasts,
                digest: DIGEST,
                spent: false,
            })
        };
        let lasts = |vote: &VoteSpec| vote.ttl.as_deref().map_or(Ok(want.ttl), seconds);
        let yes = spec
            .votes
            .iter()
            .map(|cast| vote(&cast.by, true, lasts(cast)?));
        let no = spec.no.iter().map(|name| vote(name, false, want.ttl));
        yes.chain(no).collect()
    }
}

/// A table with what it is `like` put under it; tables within are merged, all else is replaced.
fn resolved(tables: &BTreeMap<String, Table>, name: &str, depth: usize) -> Result<Table, String> {
    let mut table = tables
        .get(name)
        .cloned()
        .ok_or_else(|| format!("there is no `{name}`"))?;
    match table.remove("like") {
        None => Ok(table),
        Some(Toml::String(_)) if depth > tables.len() => Err(format!("`{name}` is like itself")),
        Some(Toml::String(base)) => {
            let mut merged = resolved(tables, &base, depth + 1)?;
            // A case expects its own outcome, not its model's.
            if table.contains_key("expect") {
                merged.remove("expect");
            }
            merge(&mut merged, table);
            Ok(merged)
        }
        Some(_) => Err("`like` takes a name".to_owned()),
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Toml::Table(known)), Toml::Table(more)) => merge(known, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn attributes(table: &Table) -> Result<Attributes, String> {
    let value = |(name, value): (&String, &Toml)| {
        let value = match value {
            Toml::Boolean(value) => Value::Bool(*value),
            Toml::Integer(value) => Value::Long(*value),
            Toml::String(value) => Value::String(value.clone()),
            Toml::Array(values) => {
                let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
                Value::Strings(
                    texts
                        .collect::<Option<_>>()
                        .ok_or_else(|| format!("`{name}` holds texts"))?,
                )
            }
            Toml::Datetime(_) | Toml::Float(_) | Toml::Table(_) => {
                return Err(format!("no claim is like `{name}`"));
            }
        };
        Ok((name.clone(), value))
    };
    table.iter().map(value).collect()
}

fn kind(set: &PolicySet, id: &SpiffeId, said: Option<&str>) -> Result<Kind, String> {
    let listed = |kind: &Kind| {
        Uid::new(kind.type_name(), id.as_str())
            .is_some_and(|uid| set.engine().store.get(&uid).is_some())
    };
    if let Some(kind) = [Kind::Agent, Kind::User, Kind::Workload]
        .into_iter()
        .find(listed)
    {
        return Ok(kind);
    }
    match said.map(str::to_ascii_lowercase).as_deref() {
        None | Some("workload") => Ok(Kind::Workload),
        Some("agent") => Ok(Kind::Agent),
        Some("user") => Ok(Kind::User),
        Some(other) => Err(format!("`{other}` is no kind: workload, agent or user")),
    }
}

fn want(ask: &AskSpec) -> Result<Want, String> {
    let (kind, usual) = match ask.credential.as_deref() {
        None | Some("none") => (CredentialKind::None, Binding::Bearer),
        Some("jwt") => (CredentialKind::Jwt, Binding::Bearer),
        Some("x509") => (CredentialKind::X509, Binding::Key),
        Some(other) => return Err(format!("`{other}` is no credential: x509, jwt or none")),
    };
    let bind = match ask.bind.as_deref() {
        None => usual,
        Some("bearer") => Binding::Bearer,
        Some("dpop") => Binding::Dpop,
        Some("key") => Binding::Key,
        Some("mtls") => Binding::Mtls,
        Some(other) => {
            return Err(format!(
                "`{other}` is no binding: key, dpop, mtls or bearer"
            ));
        }
    };
    Ok(Want {
        kind,
        bind,
        profile: ask.profile.clone().unwrap_or_else(|| "default".to_owned()),
        audience: ask.audience.clone(),
        ttl: ask.ttl.as_deref().map_or(Ok(USUAL_TTL), seconds)?,
    })
}

fn expect(spec: &ExpectSpec) -> Result<Expect, String> {
    let needs = spec.needs.as_ref().map(serde_json::to_value).transpose();
    Ok(Expect {
        outcome: spec.outcome.clone(),
        why: spec.why.clone(),
        by: spec.by.clone(),
        needs: needs.map_err(|error| error.to_string())?,
        have: spec.have,
        ttl: spec.ttl.as_deref().map(seconds).transpose()?,
        shortened_by: spec.shortened_by.clone(),
        closest: spec.closest.clone(),
        fails: spec.fails.clone(),
        next: spec.next.clone(),
    })
}

fn input(table: &Table) -> Result<Input, String> {
    match serde_json::to_value(table) {
        Ok(Json::Object(members)) => Ok(Input::new(members)),
        Ok(_) => Err("`input` is a table".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn source(word: Option<&str>) -> Result<TaskSource, String> {
    match word {
        None | Some("evidence") => Ok(TaskSource::Evidence),
        Some("api") => Ok(TaskSource::Api),
        Some("person") => Ok(TaskSource::Person),
        Some(other) => Err(format!("`{other}` is no source: evidence, api or person")),
    }
}

fn moment(datetime: &toml::value::Datetime) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(&datetime.to_string()).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).map_err(|error| error.to_string())
}

/// Every vote of a test is on the test's own ask.
const DIGEST: AskDigest = AskDigest([0; 32]);

const USERS: &str = "spiffe://test/user/";

/// What a case gets that names no ttl; `[policy] default_ttl` has the same default.
const USUAL_TTL: Seconds = Seconds::new(900);
