//! The context of an ask (POLICY.md §2), built once per decision from verified values. The same tree becomes Cedar's
//! record, the ledger's JSON, and the caller's own values in a receipt, so that the three cannot differ.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::query::{Attributes, Kind, Query, Value};
use crate::time::Timestamp;

/// A value on its way into a policy. It borrows from the query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term<'a> {
    Bool(bool),
    Datetime(Timestamp),
    /// Type and id.
    Entity(&'static str, &'a str),
    Long(i64),
    Record(Vec<(&'a str, Term<'a>)>),
    Set(Vec<Term<'a>>),
    String(&'a str),
    Strings(&'a BTreeSet<String>),
}

impl<'a> Term<'a> {
    /// The member at the end of this path.
    pub(crate) fn at<T: AsRef<str>>(&self, path: &[T]) -> Option<&Term<'a>> {
        path.iter().try_fold(self, |term, name| match term {
            Term::Record(members) => members
                .iter()
                .find(|(known, _)| *known == name.as_ref())
                .map(|(_, term)| term),
            _ => None,
        })
    }

    /// Cedar's JSON: entities and datetimes by their escapes. No floats and no nulls.
    pub(crate) fn json(&self) -> Json {
        match self {
            Term::Bool(value) => Json::from(*value),
            Term::Datetime(moment) => {
                json!({"__extn": {"fn": "datetime", "arg": moment.rfc3339()}})
            }
            Term::Entity(type_name, id) => json!({"__entity": {"type": type_name, "id": id}}),
            Term::Long(value) => Json::from(*value),
            Term::Record(members) => {
                let member = |(name, term): &(&str, Term<'_>)| ((*name).to_owned(), term.json());
                Json::Object(members.iter().map(member).collect())
            }
            Term::Set(members) => members.iter().map(Term::json).collect(),
            Term::String(value) => Json::from(*value),
            Term::Strings(values) => values.iter().map(String::as_str).collect(),
        }
    }

    /// The same for people: an entity is its id, a datetime its text.
    pub(crate) fn plain(&self) -> Json {
        match self {
            Term::Datetime(moment) => Json::from(moment.rfc3339()),
            Term::Entity(_, id) => Json::from(*id),
            Term::Record(members) => {
                let member = |(name, term): &(&str, Term<'_>)| ((*name).to_owned(), term.plain());
                Json::Object(members.iter().map(member).collect())
            }
            Term::Set(members) => members.iter().map(Term::plain).collect(),
            other => other.json(),
        }
    }
}

/// All members of the context but `input` and `approvals`.
pub(crate) fn context<'a>(query: &Query<'a>) -> Vec<(&'a str, Term<'a>)> {
    let caller = query.caller;
    let mut members = vec![
        ("now", Term::Datetime(query.now)),
        (
            "caller",
            Term::Record(vec![
                ("issuer", Term::String(&caller.issuer)),
                ("preset", Term::String(&caller.preset)),
            ]),
        ),
        ("origin", attributes(&caller.claims.origin)),
        ("extra", attributes(&caller.claims.extra)),
        ("attested", Term::Strings(&caller.attested)),
        ("task", task(query)),
        ("credential", credential(query)),
        ("history", history(query)),
    ];
    if let Some((platform, claims)) = &caller.claims.platform {
        members.push((platform, attributes(claims)));
    }
    members.extend(delegation(query));
    members
}

/// The input as it stands in the context; none if it holds a null or a number that is no whole one.
pub(crate) fn input(members: &Map<String, Json>) -> Option<Term<'_>> {
    let member = members
        .iter()
        .map(|(name, value)| Some((name.as_str(), input_value(value)?)));
    member.collect::<Option<_>>().map(Term::Record)
}

fn input_value(value: &Json) -> Option<Term<'_>> {
    match value {
        Json::Null => None,
        Json::Bool(value) => Some(Term::Bool(*value)),
        Json::Number(value) => value.as_i64().map(Term::Long),
        Json::String(value) => Some(Term::String(value)),
        Json::Array(values) => values
            .iter()
            .map(input_value)
            .collect::<Option<_>>()
            .map(Term::Set),
        Json::Object(members) => input(members),
    }
}

/// Life in whole seconds as asked, cut to the ceilings known before policy.
pub(crate) fn ttl_s(query: &Query<'_>) -> i64 {
    let left = query
        .ceilings
        .iter()
        .map(|ceiling| ceiling.not_after.seconds_since(query.now));
    left.fold(i64::from(query.want.ttl.as_u32()), i64::min)
}

fn attributes(attributes: &Attributes) -> Term<'_> {
    let value = |value| match value {
        &Value::Bool(value) => Term::Bool(value),
        &Value::Long(value) => Term::Long(value),
        Value::String(value) => Term::String(value),
        Value::Strings(values) => Term::Strings(values),
    };
    Term::Record(
        attributes
            .iter()
            .map(|(name, known)| (name.as_str(), value(known)))
            .collect(),
    )
}

fn task<'a>(query: &Query<'a>) -> Term<'a> {
    let task = query.task;
    let mut members = vec![
        ("id", Term::String(&task.name)),
        (
            "source",
            Term::Entity("Stint::TaskSource", task.source.as_str()),
        ),
        ("depth", Term::Long(i64::from(task.depth))),
        ("age_s", Term::Long(query.now.seconds_since(task.opened))),
    ];
    members.extend(
        task.deadline
            .map(|end| ("left_s", Term::Long(end.seconds_since(query.now)))),
    );
    members.extend(
        task.parent
            .as_deref()
            .map(|parent| ("parent", Term::String(parent))),
    );
    members.extend(
        task.initiator
            .as_deref()
            .map(|user| ("initiator", Term::Entity("Stint::User", user))),
    );
    Term::Record(members)
}

fn credential<'a>(query: &Query<'a>) -> Term<'a> {
    let want = query.want;
    let mut members = vec![
        (
            "kind",
            Term::Entity("Stint::CredentialKind", want.kind.as_str()),
        ),
        ("profile", Term::String(&want.profile)),
        ("bind", Term::Entity("Stint::Binding", want.bind.as_str())),
        ("ttl_s", Term::Long(ttl_s(query))),
    ];
    members.extend(
        want.audience
            .as_deref()
            .map(|audience| ("audience", Term::String(audience))),
    );
    Term::Record(members)
}

fn history<'a>(query: &Query<'a>) -> Term<'a> {
    let history = query.history;
    let count = |n: u64| Term::Long(i64::try_from(n).unwrap_or(i64::MAX));
    Term::Record(vec![
        ("grants", count(history.grants)),
        ("denials", count(history.denials)),
        ("actions", Term::Strings(&history.actions)),
        ("live", Term::Strings(&history.live)),
        ("labels", Term::Strings(&history.labels)),
    ])
}

fn delegation<'a>(query: &Query<'a>) -> Option<(&'a str, Term<'a>)> {
    let (subject, consent) = (query.subject?, query.consent?);
    let far_end = match subject.kind {
        Kind::User => ("subject", Term::Entity("Stint::User", subject.id.as_str())),
        Kind::Agent | Kind::Workload => {
            ("parent", Term::Entity("Stint::Agent", subject.id.as_str()))
        }
    };
    let actor = |id| Term::Entity("Stint::Agent", id);
    Some((
        "delegation",
        Term::Record(vec![
            far_end,
            (
                "actors",
                Term::Set(
                    query
                        .actors
                        .iter()
                        .map(|known| actor(known.id.as_str()))
                        .collect(),
                ),
            ),
            (
                "depth",
                Term::Long(i64::try_from(query.actors.len()).unwrap_or(i64::MAX)),
            ),
            ("consent", Term::Entity("Stint::Consent", consent.as_str())),
            ("subject_bound", Term::Bool(query.subject_bound)),
        ]),
    ))
}
