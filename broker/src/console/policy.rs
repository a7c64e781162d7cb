//! `/policy`: the sources that decide, read only, and `/policy/try`: an ask put to the engine that decides.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use stint_policy::{Drafted, PolicySet, TestReport};
use stint_wire::{Code, Problem};

use super::asked::Asked;
use super::body;
use super::decisions;
use super::layout::{self, Shell, Trouble};
use super::sheet::{Body, Cell, Empty, List, Part, Sheet, facts};
use super::sight::Reads;
use crate::http::extract::Strict;
use crate::http::grants::answer;
use crate::http::problem::Failure;
use crate::http::session::{Acting, SignedIn};
use crate::issue;
use crate::ledger::Whose;
use crate::people::Visitor;
use crate::serve::App;

/// `GET /policy`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
) -> Result<Response, Trouble> {
    let set = app.broker.policies.in_force();
    let reads = match app.broker.terms.reveal {
        true => Reads::Whole,
        false => Reads::of(&visitor),
    };
    let shell = Shell::new(&app, Some(&visitor), "Policy")
        .at("/policy")
        .same("stint policy check", "GET /v1/policy");
    let lead = "What decides, as it stands in the operators’ repository. Nothing is edited here.";
    let mut sheet = Sheet::new(shell, "Policy", lead);
    if visitor.reads_all() {
        sheet.links = vec![("/policy/try".to_owned(), "Try an ask".to_owned())];
    }
    sheet = sheet.part(in_force(&app, &set).live("policy"));
    sheet = sheet.part(rules(&set, &visitor, reads));
    if reads == Reads::Own {
        return sheet.show();
    }
    sheet = sheet
        .part(versions(&app).await?.live("policy"))
        .part(warnings(&set));
    for (path, bytes) in set.files().iter() {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(str::to_owned).collect();
        let id = anchor(path);
        let part = Part::new(format!("file-{id}"), path, Body::Source(id, lines));
        sheet = sheet.part(part);
    }
    sheet.show()
}

fn in_force(app: &App, set: &PolicySet) -> Part {
    let state = match app.broker.policies.refused() {
        Some(why) => vec![
            Cell::Badge("warn", "policy_refused".to_owned()),
            Cell::text(why.to_string()),
        ],
        None => vec![Cell::Badge("good", "the newest files decide".to_owned())],
    };
    let rows = facts([
        ("Version", vec![Cell::id(set.hash().to_string())]),
        (
            "Serial",
            set.serial()
                .map(|serial| vec![Cell::text(serial.to_string())])
                .unwrap_or_default(),
        ),
        ("Policies", vec![Cell::text(set.len().to_string())]),
        ("Reload", state),
    ]);
    Part::new("in-force", "In force", Body::Facts(rows))
}

/// Each policy; where it stands for those who may read it.
fn rules(set: &PolicySet, visitor: &Visitor, reads: Reads) -> Part {
    let row = |policy: stint_policy::PolicyPlace<'_>| {
        let is_mine = policy
            .owner
            .is_some_and(|owner| visitor.groups.contains(owner));
        let place = format!("{}:{}", policy.file, policy.line);
        vec![
            vec![Cell::Named(
                format!("policy-{}", policy.id),
                policy.id.to_owned(),
            )],
            vec![match policy.owner {
                Some(owner) => Cell::text(owner),
                None => Cell::soft("nobody"),
            }],
            vec![match reads {
                Reads::Whole => {
                    Cell::link(format!("#{}-{}", anchor(policy.file), policy.line), place)
                }
                Reads::Own => Cell::code(place),
            }],
            if is_mine {
                vec![Cell::Badge("note", "yours".to_owned())]
            } else {
                Vec::new()
            },
        ]
    };
    let list = List {
        heads: vec!["Policy", "Owner", "Where", "Yours"],
        rows: set.policies().map(row).collect(),
        empty: Empty {
            title: "There is no policy",
            text: "So everything is denied. Write one, check it, and reload.".to_owned(),
            command: "stint policy check".to_owned(),
        },
    };
    let part = Part::new("policies", "Policies", Body::List(list));
    match reads {
        Reads::Whole => part,
        Reads::Own => part.note("The sources are for operators and auditors; a decision’s page explains each policy of yours."),
    }
}

async fn versions(app: &App) -> Result<Part, Trouble> {
    let sets = app.broker.store.policy_sets(20).await?;
    let row = |(pol, serial, seq): &(String, u64, u64)| {
        let serial = match serial {
            0 => Cell::soft("none"),
            serial => Cell::text(serial.to_string()),
        };
        vec![
            vec![Cell::id(pol)],
            vec![serial],
            vec![Cell::link(format!("/ledger/{seq}"), format!("entry {seq}"))],
        ]
    };
    let list = List {
        heads: vec!["Version", "Serial", "Took force with"],
        rows: sets.iter().map(row).collect(),
        empty: Empty {
            title: "No version is kept",
            text: String::new(),
            command: String::new(),
        },
    };
    Ok(Part::new("versions", "Versions", Body::List(list)))
}

fn warnings(set: &PolicySet) -> Part {
    let row = |finding: &stint_policy::Finding| {
        let place = format!("{}:{}:{}", finding.file(), finding.line(), finding.column());
        let href = format!("#{}-{}", anchor(finding.file()), finding.line());
        vec![
            vec![Cell::Badge("warn", finding.rule().to_owned())],
            vec![Cell::link(href, place)],
            vec![Cell::text(finding.text())],
        ]
    };
    let list = List {
        heads: vec!["Rule", "Where", "What"],
        rows: set.warnings().iter().map(row).collect(),
        empty: Empty {
            title: "No warnings",
            text: "The loader has nothing to say against these files. The same check runs offline."
                .to_owned(),
            command: "stint policy check --deny-warnings".to_owned(),
        },
    };
    Part::new("warnings", "Warnings", Body::List(list))
}

/// A file's name as an id in the page.
fn anchor(path: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    path.chars().map(legal).collect()
}

#[derive(Template)]
#[template(path = "try.html")]
struct Try {
    shell: Shell,
    drafts: Vec<Drafted>,
    chosen: String,
    text: String,
    decision: String,
}

/// `GET /policy/try`: a case to begin with is chosen by `?case=NUMBER`, a decision by `?decision=dec_…`.
pub(super) async fn playground(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    if !visitor.reads_all() {
        return Err(Trouble::not_found());
    }
    let asked = Asked::read(query.as_deref());
    let drafts = app.broker.policies.in_force().drafts();
    let chosen = asked.get("case").parse::<usize>().unwrap_or(0);
    let text = drafts
        .get(chosen)
        .map(|draft| draft.text.clone())
        .unwrap_or_default();
    let shell = Shell::new(&app, Some(&visitor), "Try an ask")
        .at("/policy")
        .same(
            "stint policy explain --claims claims.json deploy Environment::prod/web",
            "POST /v1/policy/explain",
        );
    layout::page(&Try {
        shell,
        drafts,
        chosen: chosen.to_string(),
        text,
        decision: asked.get("decision").to_owned(),
    })
}

/// What is to be tried: a test file, or a decision that was recorded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    text: Option<String>,
    decision: Option<String>,
}

/// `POST /v1/policy/explain`
pub(super) async fn attempt(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    Strict(trial): Strict<Trial>,
) -> Result<Response, Failure> {
    if !visitor.reads_all() {
        return Err(Problem::new(
            Code::NotFound,
            "there is nothing here under this name and method",
        )
        .into());
    }
    let now = app.broker.clock.now();
    let admitted = app.broker.limits.dry_run(&visitor.id, now);
    admitted.map_err(issue::Error::from)?;
    let set = app.broker.policies.in_force();
    match (trial.text, trial.decision) {
        (Some(text), None) => Ok(answer(StatusCode::OK, &told(&set, &set.test_draft(&text)))),
        (None, Some(id)) => again(&app, &visitor, &set, &id).await,
        _ => Err(Problem::new(Code::InvalidField, "send `text` or `decision`").into()),
    }
}

/// What each case came to, with all that its owner may see.
fn told(set: &PolicySet, report: &TestReport) -> Value {
    let result = |it: &stint_policy::CaseResult| {
        json!({
            "case": it.name(),
            "caller": it.caller(),
            "as_expected": it.failures().is_empty(),
            "failures": it.failures(),
            "receipt": it.receipt().for_owner(),
        })
    };
    let findings = report.findings();
    let finding = |it: &stint_policy::Finding| json!({ "line": it.line(), "text": it.text() });
    // What a case expected and did not get is said with the case.
    let unread = findings.iter().filter(|_| report.results().is_empty());
    json!({
        "policy_version": set.hash().to_string(),
        "results": report.results().iter().map(result).collect::<Vec<_>>(),
        "findings": unread.map(finding).collect::<Vec<_>>(),
    })
}

/// A recorded ask, put to the set in force. That its body is read is an entry.
async fn again(
    app: &App,
    visitor: &Visitor,
    set: &PolicySet,
    id: &str,
) -> Result<Response, Failure> {
    let missing = || Failure::from(Problem::new(Code::NotFound, "there is no such decision"));
    if id.split_once('_').is_none_or(|(_, rest)| rest.len() < 6) {
        return Err(missing());
    }
    let found = app.broker.ledger.find(id, Whose::Any).await;
    let found = found.map_err(|_error| unread())?.ok_or_else(missing)?;
    let opened = body::open(app, visitor, found.header.seq).await;
    let opened = opened.map_err(|_trouble| unread())?;
    let recorded = decisions::recorded(&opened).ok_or_else(|| {
        let detail = "this entry has no question that could be put again";
        Failure::from(Problem::new(Code::InvalidField, detail))
    })?;
    let receipt = set.explain_recorded(&recorded);
    let result = json!({
        "case": id,
        "caller": opened.text(&["caller", "id"]),
        "as_expected": true,
        "failures": [],
        "receipt": receipt.for_owner(),
    });
    let view =
        json!({ "policy_version": set.hash().to_string(), "results": [result], "findings": [] });
    Ok(answer(StatusCode::OK, &view))
}

fn unread() -> Failure {
    Problem::new(Code::Unavailable, "the ledger cannot be read just now").into()
}
