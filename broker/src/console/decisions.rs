//! `/decisions/{id}`: why policy said what it said, in the reader's view (POLICY.md §5).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;
use stint_audit::What;
use stint_policy::{AskDigest, Recorded, TaskId};

use super::body::{self, Opened};
use super::case;
use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Cell, Empty, List, Part, Sheet, facts};
use super::sight::Sight;
use crate::http::session::SignedIn;
use crate::ledger::Whose;
use crate::people::Visitor;
use crate::serve::App;

/// How much one reader sees of a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// As the caller itself: its own values, names of policies and conditions.
    Caller,
    /// Everything.
    Owner,
}

/// `GET /decisions/{id}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let known = ["dec_", "gr_", "req_"].iter().any(|kind| {
        let rest = id.strip_prefix(kind).unwrap_or_default();
        rest.len() == 26 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if !known {
        return Err(Trouble::not_found());
    }
    let found = app.broker.ledger.find(&id, Whose::Any).await?;
    let seq = found.ok_or_else(Trouble::not_found)?.header.seq;
    let view = view(&app, &visitor, seq)
        .await?
        .ok_or_else(Trouble::not_found)?;
    let opened = body::open(&app, &visitor, seq).await?;
    let shell = Shell::new(&app, Some(&visitor), "Decision").same(
        format!("stint ledger prove {id} -o {id}.stint"),
        match visitor.reads_all() {
            true => format!("POST /v1/policy/explain {{\"decision\":\"{id}\"}}"),
            false => format!("GET /decisions/{id}"),
        },
    );
    let asked = said::words(opened.at(&["query"]).unwrap_or(&Value::Null));
    let heading = match asked.is_empty() {
        true => "An ask that could not be read".to_owned(),
        false => asked,
    };
    let sheet = Sheet::new(shell, heading, "");
    let sheet = sheet.of("Decision").part(outcome(&app, &opened));
    let sheet = sheet.maybe(closest(&opened)).part(who(&opened));
    match view {
        View::Caller => sheet.show(),
        View::Owner => {
            let recorded = recorded(&opened);
            let recorded = recorded.as_ref();
            sheet
                .maybe(recorded.map(|it| today(&app, it)))
                .maybe(recorded.map(|it| case::part(&app, &id, &opened, it)))
                .maybe(input(&opened))
                .show()
        }
    }
}

/// What the reader sees of the decision at `seq`; nothing if it is not theirs.
async fn view(app: &App, visitor: &Visitor, seq: u64) -> Result<Option<View>, Trouble> {
    if visitor.reads_all() || owns_policy(app, visitor, seq).await? {
        return Ok(Some(View::Owner));
    }
    let view = match app.broker.terms.reveal {
        true => View::Owner,
        false => View::Caller,
    };
    let sight = Sight::of(app, visitor).await?;
    let header = app.broker.ledger.prove(seq).await?.header;
    let subject = header.subj.as_ref().map(ToString::to_string);
    if subject.is_some_and(|subject| sight.subjects().contains(&subject)) {
        return Ok(Some(view));
    }
    let task = match &header.what {
        What::Granted(it) => Some(&it.task),
        What::Requested(it) => Some(&it.task),
        What::Denied(it) => it.task.as_ref(),
        _ => None,
    };
    let Some(task) = task else {
        return Ok(None);
    };
    Ok(sight.within("", task).await?.then_some(view))
}

/// Whether a group of the reader owns a policy that decided, or the closest one. The body is looked into for this alone.
async fn owns_policy(app: &App, visitor: &Visitor, seq: u64) -> Result<bool, Trouble> {
    let from = i64::try_from(seq).unwrap_or(i64::MAX);
    let bodies = app
        .broker
        .store
        .bodies(from, from.saturating_add(1))
        .await?;
    let body = bodies
        .first()
        .map(|(_, body)| serde_json::from_slice::<Value>(body));
    let Some(Ok(body)) = body else {
        return Ok(false);
    };
    let decided = body.pointer("/what/policies").and_then(Value::as_array);
    let missed = body.pointer("/what/missed/policy");
    let ids: Vec<&str> = decided
        .into_iter()
        .flatten()
        .chain(missed)
        .filter_map(Value::as_str)
        .collect();
    let set = app.broker.policies.in_force();
    let mut owners = set.policies().filter(|policy| ids.contains(&policy.id));
    Ok(owners.any(|policy| {
        policy
            .owner
            .is_some_and(|owner| visitor.groups.contains(owner))
    }))
}

fn outcome(app: &App, opened: &Opened) -> Part {
    let now = app.broker.clock.now();
    let (kind, word, why) = match &opened.header.what {
        What::Granted(_) => ("good", "permit", String::new()),
        What::Requested(_) => ("wait", "hold", String::new()),
        What::Denied(it) => {
            let why = serde_json::to_value(it.why).unwrap_or_default();
            ("bad", "deny", why.as_str().unwrap_or_default().to_owned())
        }
        _ => ("note", opened.header.what.kind(), String::new()),
    };
    let detail = opened.text(&["detail"]);
    let policies = opened.texts(&["policies"]).into_iter();
    let policies = policies.map(|id| Cell::link(format!("/policy#policy-{id}"), id));
    let set = app.broker.policies.in_force();
    let owners = opened.texts(&["policies"]);
    let missed = opened.text(&["missed", "policy"]).to_owned();
    let owner = set.policies().find(|policy| {
        owners.iter().any(|id| id == policy.id) || (owners.is_empty() && policy.id == missed)
    });
    let owner = owner.and_then(|policy| policy.owner);
    let at = i64::try_from(opened.header.ts).unwrap_or(0);
    let not_empty = |text: &str| match text.is_empty() {
        true => Vec::new(),
        false => vec![Cell::text(text)],
    };
    let pol = opened.header.pol.as_ref().map(ToString::to_string);
    let rows = facts([
        ("Outcome", vec![Cell::Badge(kind, word.to_owned())]),
        ("Why", not_empty(&why)),
        ("What exactly", not_empty(detail)),
        ("Decided by", policies.collect()),
        (
            "Whom to ask",
            vec![Cell::text(owner.unwrap_or("the operators"))],
        ),
        ("When", vec![Cell::at(at, now)]),
        (
            "Policy version",
            pol.map(|pol| vec![Cell::id(pol)]).unwrap_or_default(),
        ),
        (
            "Decision",
            vec![Cell::id(crate::ids::DecisionId::of(&opened.header.id))],
        ),
        ("Entry", vec![Cell::id(opened.header.seq.to_string())]),
    ]);
    Part::new("outcome", "Outcome", Body::Facts(rows))
}

/// The closest permit: what of it held, and what failed, with the caller's own value.
fn closest(opened: &Opened) -> Option<Part> {
    let missed = opened.at(&["missed"])?;
    let policy = missed.get("policy").and_then(Value::as_str)?;
    let holds = missed.get("holds").and_then(Value::as_array);
    let holds = holds.into_iter().flatten().filter_map(Value::as_str);
    let mut rows: Vec<Vec<Vec<Cell>>> = holds
        .map(|name| {
            let held = Cell::Badge("good", "holds".to_owned());
            vec![vec![Cell::code(name)], vec![held], Vec::new()]
        })
        .collect();
    let fails = missed.get("fails").and_then(Value::as_array);
    rows.extend(fails.into_iter().flatten().map(|fail| {
        let name = fail.get("name").and_then(Value::as_str).unwrap_or_default();
        let yours = fail.get("yours").map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        vec![
            vec![Cell::code(name)],
            vec![Cell::Badge("bad", "fails".to_owned())],
            vec![match yours {
                Some(yours) => Cell::code(yours),
                None => Cell::soft("the caller has none"),
            }],
        ]
    }));
    let list = List {
        heads: vec!["Condition", "Standing", "The caller’s own value"],
        rows,
        empty: Empty {
            title: "No conditions",
            text: "The permit is about another caller or resource.".to_owned(),
            command: String::new(),
        },
    };
    let part = Part::new(
        "closest",
        format!("The closest permit: {policy}"),
        Body::List(list),
    );
    Some(part.note("What it expects is its owner’s to say."))
}

fn who(opened: &Opened) -> Part {
    let rows = facts([
        ("Caller", vec![said::caller(opened.text(&["caller", "id"]))]),
        ("Kind", vec![Cell::text(opened.text(&["caller", "kind"]))]),
        (
            "Vouched for by",
            vec![Cell::text(opened.text(&["caller", "issuer"]))],
        ),
    ]);
    opened.claims(rows)
}

/// What the set in force says to the same question.
fn today(app: &App, recorded: &Recorded) -> Part {
    let set = app.broker.policies.in_force();
    let receipt = set.explain_recorded(recorded);
    let outcome = receipt.verdict().as_str();
    let kind = match outcome {
        "permit" => "good",
        "hold" => "wait",
        _ => "bad",
    };
    let view = serde_json::to_value(receipt.for_owner()).unwrap_or_default();
    let text = |name: &str| match view.get(name) {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(Cell::code)
            .collect(),
        Some(Value::String(text)) => vec![Cell::text(text)],
        _ => Vec::new(),
    };
    let policies = view.get("policies").and_then(Value::as_array);
    let places = policies.into_iter().flatten().map(|policy| {
        let at = |name: &str| policy.get(name).and_then(Value::as_str).unwrap_or_default();
        let line = policy.get("line").and_then(Value::as_u64).unwrap_or(1);
        Cell::link(
            format!("/policy#policy-{}", at("id")),
            format!("{} {}:{line}", at("id"), at("file")),
        )
    });
    let mut rows = facts([
        (
            "Today it would be",
            vec![Cell::Badge(kind, outcome.to_owned())],
        ),
        ("Why", text("why")),
        ("Decided by", text("decided_by")),
        ("Places", places.collect()),
        ("Policy version", vec![Cell::id(set.hash().to_string())]),
    ]);
    let written = view.get("policies").and_then(Value::as_array);
    for policy in written.into_iter().flatten() {
        let id = policy.get("id").and_then(Value::as_str).unwrap_or_default();
        let conditions = policy.get("conditions").and_then(Value::as_array);
        let conditions = conditions.into_iter().flatten().filter_map(Value::as_str);
        let cells: Vec<Cell> = conditions
            .map(|text| Cell::code(format!("{text}\n")))
            .collect();
        if !cells.is_empty() {
            rows.push((format!("{id} expects"), cells));
        }
    }
    let part = Part::new("today", "Today’s policy on it", Body::Facts(rows));
    part.note("The recorded facts and votes, put to the set that is in force now. Nothing is granted by looking.")
}

/// The question as it was recorded, put together again.
pub(super) fn recorded(opened: &Opened) -> Option<Recorded> {
    let query = opened.at(&["query"])?;
    let task = match &opened.header.what {
        What::Granted(it) => &it.task,
        What::Requested(it) => &it.task,
        What::Denied(it) => it.task.as_ref()?,
        _ => return None,
    };
    let task: TaskId = task.parse().ok()?;
    let digest: stint_audit::Digest = opened.text(&["digest"]).parse().ok()?;
    Recorded::read(query, task, AskDigest(*digest.as_bytes())).ok()
}

fn input(opened: &Opened) -> Option<Part> {
    let query = opened.at(&["query"])?;
    let text = serde_json::to_string_pretty(query).ok()?;
    let part = Part::new("input", "The exact input", Body::Raw(text));
    Some(part.note("What policy was asked, in Cedar’s JSON, as the ledger keeps it."))
}
