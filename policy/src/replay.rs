//! A recorded ask, put together again: what the ledger kept of a decision ([`Heard::record`](crate::Heard::record)) is
//! read back into the values it was made of, heard by the set that decided, and must come out as the very same record.
//! Only then is it judged: a question that this set could not have been asked has no answer.

mod case;

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use crate::decision::Verdict;
use crate::explain::DecisionReceipt;
use crate::id::TaskId;
use crate::query::{
    AskDigest, Attributes, Binding, Ceiling, Claims, Consent, CredentialKind, GroupName, History,
    Input, Kind, PersonId, Principal, Query, Task, TaskSource, Value, Vote, Want,
};
use crate::rule::GROUP;
use crate::set::PolicySet;
use crate::spiffe::SpiffeId;
use crate::time::{Seconds, Timestamp};
use crate::uid::{ActionId, Resources};

/// A recorded ask, read back.
#[derive(Debug)]
pub struct Recorded {
    record: Json,
    now: Timestamp,
    caller: Principal,
    subject: Option<Principal>,
    actors: Vec<Principal>,
    consent: Option<Consent>,
    subject_bound: bool,
    own: BTreeSet<PersonId>,
    task: Task,
    history: History,
    action: ActionId,
    resources: Resources,
    input: Option<Input>,
    want: Want,
    ceilings: Vec<Ceiling>,
    digest: AskDigest,
    votes: Vec<Vote>,
}

/// Why a recorded ask could not be judged again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// It is not what [`Heard::record`](crate::Heard::record) writes: the member that is amiss.
    #[error("the question as recorded has no readable `{0}`")]
    Unreadable(&'static str),
    /// This set, asked the same, would have recorded something else: the first member that differs.
    #[error("the question as recorded is none that this policy set is asked: `{0}` differs")]
    Differs(String),
}

impl Recorded {
    /// Reads a record. `task` and `digest` stand beside it in the ledger; `digest` is what votes were signed over.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`].
    pub fn read(record: &Json, task: TaskId, digest: AskDigest) -> Result<Recorded, ReplayError> {
        let context = At(record).object("context")?;
        let context = &At(context);
        let now = datetime(context.member("now")?).ok_or(ReplayError::Unreadable("now"))?;
        let delegation = context.maybe("delegation").map(At);
        let consent = delegation.map(|it| it.word("consent", CONSENTS));
        let credential = At(context.object("credential")?);
        Ok(Recorded {
            caller: caller(record, context)?,
            subject: At(record).maybe("subject").map(principal).transpose()?,
            actors: list(record, "actors", principal)?,
            consent: consent.transpose()?,
            subject_bound: delegation.is_some_and(|it| it.flag("subject_bound")),
            own: list(record, "own", |it| text(it, "own").map(PersonId::new))?
                .into_iter()
                .collect(),
            task: task_of(&At(context.object("task")?), task, now)?,
            history: history(&At(context.object("history")?))?,
            action: ActionId::parse(At(record).text("action")?)
                .map_err(|_named| ReplayError::Unreadable("action"))?,
            resources: resources(record)?,
            input: context.maybe("input").map(input).transpose()?,
            want: Want {
                kind: credential.word("kind", KINDS)?,
                profile: credential.text("profile")?.to_owned(),
                bind: credential.word("bind", BINDINGS)?,
                audience: credential
                    .maybe("audience")
                    .map(|it| text(it, "audience").map(str::to_owned))
                    .transpose()?,
                ttl: At(record).seconds("ttl")?,
            },
            ceilings: list(record, "ceilings", ceiling)?,
            votes: list(record, "votes", vote)?,
            digest,
            record: record.clone(),
            now,
        })
    }

    /// The ask, of a caller and a subject as far as they are known.
    pub(crate) fn query<'a>(
        &'a self,
        caller: &'a Principal,
        subject: Option<&'a Principal>,
    ) -> Query<'a> {
        Query {
            now: self.now,
            caller,
            subject,
            actors: &self.actors,
            consent: self.consent,
            subject_bound: self.subject_bound,
            own: &self.own,
            task: &self.task,
            history: &self.history,
            action: &self.action,
            resources: &self.resources,
            input: self.input.as_ref(),
            want: &self.want,
            ceilings: &self.ceilings,
            digest: self.digest,
            votes: &self.votes,
        }
    }

    /// Who asked, with what the record knows beyond the name.
    pub(crate) fn known_caller(&self) -> Principal {
        self.informed(&self.caller)
    }

    /// For whom, likewise.
    pub(crate) fn known_subject(&self) -> Option<Principal> {
        self.subject.as_ref().map(|it| self.informed(it))
    }

    /// The same principal with what its recorded entity has beyond its name: groups, owner, person.
    fn informed(&self, principal: &Principal) -> Principal {
        let uid = (principal.kind.type_name(), principal.id.as_str());
        let entities = self.record.get("entities").and_then(Json::as_array);
        let mut entities = entities.into_iter().flatten();
        let entity = entities.find(|it| it.get("uid").and_then(named) == Some(uid));
        let Some(entity) = entity else {
            return principal.clone();
        };
        let parents = entity.get("parents").and_then(Json::as_array);
        let groups = parents.into_iter().flatten().filter_map(named);
        let groups = groups.filter(|(type_name, _)| *type_name == GROUP);
        let link = |name: &str| {
            let (_, id) = named(entity.get("attrs")?.get(name)?.get("__entity")?)?;
            Some(id.to_owned())
        };
        Principal {
            groups: groups.map(|(_, id)| id.to_owned()).collect(),
            owner: link("owner"),
            person: link("person"),
            ..principal.clone()
        }
    }
}

impl PolicySet {
    /// What this set says to a recorded ask today, whichever set it was asked of: its facts and votes as they were.
    #[must_use]
    pub fn explain_recorded(&self, recorded: &Recorded) -> DecisionReceipt {
        let (caller, subject) = (recorded.known_caller(), recorded.known_subject());
        self.explain(&recorded.query(&caller, subject.as_ref()))
    }

    /// Judges a recorded ask again.
    ///
    /// # Errors
    /// [`ReplayError::Differs`]: it is not an ask of this set.
    pub fn judge_again(&self, recorded: &Recorded) -> Result<Verdict, ReplayError> {
        // Groups of a login and the inventory's owner are in the record as part of an entity, and an entity may be there
        // as the set lists it: which of the two it was shows in what the set records.
        let (caller, subject) = (&recorded.caller, recorded.subject.as_ref());
        let bare = self.hear(&recorded.query(caller, subject));
        if bare.record() == recorded.record {
            return Ok(bare.judge());
        }
        let caller = recorded.informed(caller);
        let subject = subject.map(|it| recorded.informed(it));
        let heard = self.hear(&recorded.query(&caller, subject.as_ref()));
        let again = heard.record();
        match again == recorded.record {
            true => Ok(heard.judge()),
            false => Err(ReplayError::Differs(difference(&again, &recorded.record))),
        }
    }
}

/// The first member that is not the same in both: its path.
fn difference(ours: &Json, theirs: &Json) -> String {
    let (Some(ours), Some(theirs)) = (ours.as_object(), theirs.as_object()) else {
        return String::new();
    };
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) => {
                let inner = difference(ours, theirs);
                let dot = if inner.is_empty() { "" } else { "." };
                return format!("{name}{dot}{inner}");
            }
            _ => return name.clone(),
        }
    }
    String::new()
}

/// A record's member by name, or what is amiss.
#[derive(Clone, Copy)]
struct At<'a>(&'a Json);

impl<'a> At<'a> {
    fn maybe(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name)
    }

    fn member(&self, name: &'static str) -> Result<&'a Json, ReplayError> {
        self.maybe(name).ok_or(ReplayError::Unreadable(name))
    }

    fn object(&self, name: &'static str) -> Result<&'a Json, ReplayError> {
        let member = self.member(name)?;
        member
            .is_object()
            .then_some(member)
            .ok_or(ReplayError::Unreadable(name))
    }

    fn text(&self, name: &'static str) -> Result<&'a str, ReplayError> {
        text(self.member(name)?, name)
    }

    fn number(&self, name: &'static str) -> Result<i64, ReplayError> {
        let number = self.member(name)?.as_i64();
        number.ok_or(ReplayError::Unreadable(name))
    }

    fn count<T: TryFrom<i64>>(&self, name: &'static str) -> Result<T, ReplayError> {
        let count = T::try_from(self.number(name)?).ok();
        count.ok_or(ReplayError::Unreadable(name))
    }

    fn seconds(&self, name: &'static str) -> Result<Seconds, ReplayError> {
        self.count(name).map(Seconds::new)
    }

    /// A flag that is not there is down.
    fn flag(&self, name: &str) -> bool {
        self.maybe(name).and_then(Json::as_bool).unwrap_or(false)
    }

    /// An entity of an enumerated type, by its word.
    fn word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<T, ReplayError> {
        let entity = self.member(name)?.get("__entity");
        let word = entity.and_then(named).map(|(_, id)| id);
        let known = words.iter().find(|(known, _)| Some(*known) == word);
        known
            .map(|(_, value)| *value)
            .ok_or(ReplayError::Unreadable(name))
    }

    fn strings(&self, name: &'static str) -> Result<BTreeSet<String>, ReplayError> {
        strings(self.member(name)?).ok_or(ReplayError::Unreadable(name))
    }
}

fn text<'a>(value: &'a Json, name: &'static str) -> Result<&'a str, ReplayError> {
    value.as_str().ok_or(ReplayError::Unreadable(name))
}

fn strings(value: &Json) -> Option<BTreeSet<String>> {
    let values = value.as_array()?.iter();
    values
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// The items of a list that may be absent.
fn list<T>(
    record: &Json,
    name: &'static str,
    item: impl Fn(&Json) -> Result<T, ReplayError>,
) -> Result<Vec<T>, ReplayError> {
    match record.get(name) {
        None => Ok(Vec::new()),
        Some(Json::Array(items)) => items.iter().map(item).collect(),
        Some(_) => Err(ReplayError::Unreadable(name)),
    }
}

/// `{"type": …, "id": …}`.
fn named(entity: &Json) -> Option<(&str, &str)> {
    Some((entity.get("type")?.as_str()?, entity.get("id")?.as_str()?))
}

/// `{"__extn": {"fn": "datetime", "arg": …}}`.
fn datetime(value: &Json) -> Option<Timestamp> {
    let text = value.get("__extn")?.get("arg")?.as_str()?;
    Timestamp::parse_rfc3339(text).ok()
}

fn principal(value: &Json) -> Result<Principal, ReplayError> {
    let unreadable = ReplayError::Unreadable("principal");
    let (type_name, id) = named(value).ok_or(unreadable.clone())?;
    let kind = [Kind::Agent, Kind::User, Kind::Workload]
        .into_iter()
        .find(|kind| kind.type_name() == type_name);
    Ok(Principal {
        id: SpiffeId::parse(id).map_err(|_named| unreadable.clone())?,
        kind: kind.ok_or(unreadable)?,
        issuer: String::new(),
        preset: String::new(),
        claims: Claims::default(),
        groups: BTreeSet::new(),
        owner: None,
        person: None,
        attested: BTreeSet::new(),
    })
}

/// The caller, whose claims are the context's.
fn caller(record: &Json, context: &At<'_>) -> Result<Principal, ReplayError> {
    let known = At(context.object("caller")?);
    let platform = context.0.as_object().into_iter().flatten();
    let mut platform = platform.filter(|(name, _)| !OURS.contains(&name.as_str()));
    let platform = platform.next();
    let platform = platform.map(|(name, it)| Ok((name.clone(), attributes(it, "platform")?)));
    Ok(Principal {
        issuer: known.text("issuer")?.to_owned(),
        preset: known.text("preset")?.to_owned(),
        claims: Claims {
            origin: attributes(context.member("origin")?, "origin")?,
            platform: platform.transpose()?,
            extra: attributes(context.member("extra")?, "extra")?,
        },
        attested: context.strings("attested")?,
        ..principal(At(record).member("principal")?)?
    })
}

fn attributes(value: &Json, name: &'static str) -> Result<Attributes, ReplayError> {
    let members = value.as_object().ok_or(ReplayError::Unreadable(name))?;
    let attribute = |(name, value): (&String, &Json)| Some((name.clone(), claim(value)?));
    let attributes: Option<_> = members.iter().map(attribute).collect();
    attributes.ok_or(ReplayError::Unreadable(name))
}

fn claim(value: &Json) -> Option<Value> {
    match value {
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::Number(value) => value.as_i64().map(Value::Long),
        Json::String(value) => Some(Value::String(value.clone())),
        Json::Array(_) => strings(value).map(Value::Strings),
        Json::Null | Json::Object(_) => None,
    }
}

fn task_of(task: &At<'_>, id: TaskId, now: Timestamp) -> Result<Task, ReplayError> {
    let seconds =
        |name| -> Result<i64, ReplayError> { Ok(task.number(name)?.saturating_mul(1000)) };
    let deadline = task.maybe("left_s").map(|_| seconds("left_s"));
    let initiator = task.maybe("initiator").and_then(|it| it.get("__entity"));
    Ok(Task {
        id,
        name: task.text("id")?.to_owned(),
        source: task.word("source", SOURCES)?,
        depth: task.count("depth")?,
        opened: Timestamp::from_millis(now.as_millis().saturating_sub(seconds("age_s")?)),
        deadline: deadline
            .transpose()?
            .map(|left| Timestamp::from_millis(now.as_millis().saturating_add(left))),
        parent: task
            .maybe("parent")
            .map(|it| text(it, "parent").map(str::to_owned))
            .transpose()?,
        initiator: initiator.and_then(named).map(|(_, id)| id.to_owned()),
    })
}

fn history(history: &At<'_>) -> Result<History, ReplayError> {
    Ok(History {
        grants: history.count("grants")?,
        denials: history.count("denials")?,
        actions: history.strings("actions")?,
        live: history.strings("live")?,
        labels: history.strings("labels")?,
    })
}

fn resources(record: &Json) -> Result<Resources, ReplayError> {
    let texts = list(record, "resources", |it| {
        text(it, "resources").map(str::to_owned)
    })?;
    Resources::parse(texts).map_err(|_counted| ReplayError::Unreadable("resources"))
}

/// The action's input. One that no context could hold is kept as text.
fn input(value: &Json) -> Result<Input, ReplayError> {
    let members: Option<Map<String, Json>> = match value {
        Json::Object(members) => Some(members.clone()),
        Json::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    };
    members
        .map(Input::new)
        .ok_or(ReplayError::Unreadable("input"))
}

fn ceiling(value: &Json) -> Result<Ceiling, ReplayError> {
    Ok(Ceiling {
        name: At(value).text("name")?.to_owned(),
        not_after: Timestamp::from_millis(At(value).number("not_after")?),
    })
}

fn vote(value: &Json) -> Result<Vote, ReplayError> {
    let vote = At(value);
    let digest = BASE64URL_NOPAD
        .decode(vote.text("digest")?.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    Ok(Vote {
        person: PersonId::new(vote.text("person")?),
        user: SpiffeId::parse(vote.text("user")?)
            .map_err(|_named| ReplayError::Unreadable("user"))?,
        groups: vote
            .strings("groups")?
            .into_iter()
            .map(GroupName::new)
            .collect(),
        yes: vote.flag("yes"),
        at: Timestamp::from_millis(vote.number("at")?),
        lasts: vote.seconds("lasts")?,
        digest: AskDigest(digest.ok_or(ReplayError::Unreadable("digest"))?),
        spent: vote.flag("spent"),
    })
}

/// Members of every context; the one beside them is the platform's.
const OURS: [&str; 11] = [
    "approvals",
    "attested",
    "caller",
    "credential",
    "delegation",
    "extra",
    "history",
    "input",
    "now",
    "origin",
    "task",
];

const BINDINGS: &[(&str, Binding)] = &[
    (Binding::Bearer.as_str(), Binding::Bearer),
    (Binding::Dpop.as_str(), Binding::Dpop),
    (Binding::Key.as_str(), Binding::Key),
    (Binding::Mtls.as_str(), Binding::Mtls),
];

const CONSENTS: &[(&str, Consent)] = &[
    (Consent::MayAct.as_str(), Consent::MayAct),
    (Consent::Policy.as_str(), Consent::Policy),
    (Consent::Task.as_str(), Consent::Task),
];

const KINDS: &[(&str, CredentialKind)] = &[
    (CredentialKind::Jwt.as_str(), CredentialKind::Jwt),
    (CredentialKind::None.as_str(), CredentialKind::None),
    (CredentialKind::X509.as_str(), CredentialKind::X509),
];

const SOURCES: &[(&str, TaskSource)] = &[
    (TaskSource::Api.as_str(), TaskSource::Api),
    (TaskSource::Evidence.as_str(), TaskSource::Evidence),
    (TaskSource::Person.as_str(), TaskSource::Person),
];

#[cfg(test)]
mod tests;
