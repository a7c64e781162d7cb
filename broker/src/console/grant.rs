//! `/grants/{id}`: one credential's story, from the claims that asked for it to its end.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use stint_audit::What;
use stint_policy::{SpiffeId, Timestamp};

use super::body::{self, Opened};
use super::layout::{Shell, Trouble};
use super::parts::Moment;
use super::said;
use super::sheet::{Body, Cell, Part, Sheet, Step, facts};
use super::sight::Sight;
use super::votes;
use crate::http::session::SignedIn;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::VoteRow;
use crate::store::lists::GrantLine;

/// `GET /grants/{id}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let grant = seen(&app, &visitor, &id).await?;
    let opened = body::open(&app, &visitor, grant.seq).await?;
    let request = match &opened.header.what {
        What::Granted(it) => it.request.clone(),
        _ => None,
    };
    let votes = match &request {
        Some(request) => app.broker.store.votes(request).await?,
        None => Vec::new(),
    };
    let shell = Shell::new(&app, Some(&visitor), "Grant")
        .at("/grants")
        .same(
            format!("stint ledger prove {id} -o {id}.stint"),
            format!("GET /grants/{id}/proof"),
        );
    let sheet = Sheet::new(shell, lead(&opened, &grant), "");
    let sheet = sheet.of("Grant").part(standing(&grant, &opened, now));
    let sheet = sheet.part(who(&app, &opened)).part(policy(&app, &opened));
    let asked = (id.as_str(), request.as_deref(), votes.as_slice());
    let sheet = sheet.maybe(votes::part(&app, &visitor, asked, now).await?);
    let sheet = sheet.part(credential(&opened, &grant, now));
    sheet
        .part(story(&opened, (&grant, &votes), now))
        .part(proof(&grant, &visitor))
        .script("votes.js")
        .show()
}

/// `GET /grants/{id}/proof`: the receipt of its entry under a checkpoint that witnesses have seen.
pub(super) async fn prove(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let grant = seen(&app, &visitor, &id).await?;
    let found = app.broker.ledger.receipt(grant.seq).await?;
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    Ok((headers, found.proof.to_string()).into_response())
}

/// The grant, if it is there and the reader's to see.
pub(super) async fn seen(app: &App, visitor: &Visitor, id: &str) -> Result<GrantLine, Trouble> {
    let grant = app.broker.store.grant_line(id).await?;
    let grant = grant.ok_or_else(Trouble::not_found)?;
    let sight = Sight::of(app, visitor).await?;
    match sight.within(&grant.caller, &grant.task).await? {
        true => Ok(grant),
        false => Err(Trouble::not_found()),
    }
}

fn lead(opened: &Opened, grant: &GrantLine) -> String {
    let query = opened.at(&["query"]).unwrap_or(&Value::Null);
    let asked = said::words(query);
    match asked.is_empty() {
        true => format!("A {} credential", grant.kind),
        false => asked,
    }
}

fn standing(grant: &GrantLine, opened: &Opened, now: Timestamp) -> Part {
    let at = i64::try_from(opened.header.ts).unwrap_or(0);
    let reason = opened.text(&["reason"]);
    let rows = facts([
        ("Grant", vec![Cell::id(&grant.id)]),
        ("Standing", vec![said::life(grant.until, now)]),
        ("Granted", vec![Cell::at(at, now)]),
        ("Ends", vec![Cell::at(grant.until, now)]),
        (
            "Task",
            vec![Cell::Main(
                format!("/tasks/{}", grant.task),
                grant.task.clone(),
            )],
        ),
        ("Requester’s words", said_by(reason)),
    ]);
    // Not refreshed by itself: each reading of this page opens a body, and is an entry.
    Part::new("standing", "Standing", Body::Facts(rows))
}

/// Prose of a caller: marked as theirs.
fn said_by(reason: &str) -> Vec<Cell> {
    match reason.is_empty() {
        true => Vec::new(),
        false => vec![Cell::soft("written by the requester:"), Cell::text(reason)],
    }
}

fn who(app: &App, opened: &Opened) -> Part {
    let id = opened.text(&["caller", "id"]).to_owned();
    let set = app.broker.policies.in_force();
    let listed = SpiffeId::parse(&id).ok().and_then(|id| set.owner_of(&id));
    let owner = match opened.text(&["caller", "owner"]) {
        "" => listed.unwrap_or_default(),
        owner => owner.to_owned(),
    };
    let rows = facts([
        ("Caller", vec![said::caller(&id)]),
        ("Kind", vec![Cell::text(opened.text(&["caller", "kind"]))]),
        (
            "Vouched for by",
            vec![Cell::text(opened.text(&["caller", "issuer"]))],
        ),
        (
            "Owner",
            vec![match owner.is_empty() {
                true => Cell::Badge("warn", "nobody".to_owned()),
                false => Cell::text(&owner),
            }],
        ),
    ]);
    opened.claims(rows)
}

fn policy(app: &App, opened: &Opened) -> Part {
    let set = app.broker.policies.in_force();
    let pol = opened.header.pol.as_ref().map(ToString::to_string);
    let is_now = pol.as_deref() == Some(set.hash().to_string().as_str());
    let decided: Vec<Cell> = opened
        .texts(&["policies"])
        .into_iter()
        .map(|id| Cell::link(format!("/policy#policy-{id}"), id))
        .collect();
    let version = pol.map(|pol| vec![Cell::id(pol)]).unwrap_or_default();
    let rows = facts([
        ("Decided by", decided),
        ("Policy version", version),
        (
            "In force now",
            vec![match is_now {
                true => Cell::Badge("good", "the same".to_owned()),
                false => Cell::Badge("note", "another version".to_owned()),
            }],
        ),
        (
            "Decision",
            vec![Cell::link(
                format!(
                    "/decisions/{}",
                    crate::ids::DecisionId::of(&opened.header.id)
                ),
                "the receipt",
            )],
        ),
    ]);
    Part::new("policy", "What policy said", Body::Facts(rows))
}

fn credential(opened: &Opened, grant: &GrantLine, now: Timestamp) -> Part {
    let tbs = match &opened.header.what {
        What::Granted(it) => it.tbs.to_string(),
        _ => String::new(),
    };
    let shortened = opened.texts(&["limits", "shortened_by"]);
    let not_empty = |text: &str| match text.is_empty() {
        true => Vec::new(),
        false => vec![Cell::id(text)],
    };
    let asked = opened.number(&["limits", "asked_s"]);
    let asked = asked.map(|seconds| vec![Cell::text(super::parts::length(seconds))]);
    let end = opened.number(&["limits", "not_after"]);
    let audience = opened.text(&["query", "context", "credential", "audience"]);
    let rows = facts([
        ("Kind", vec![Cell::text(&grant.kind)]),
        ("Profile", vec![Cell::text(opened.text(&["profile"]))]),
        ("Subject", vec![Cell::code(&grant.caller)]),
        ("Audience", not_empty(audience)),
        ("Serial", not_empty(opened.text(&["serial"]))),
        ("jti", not_empty(opened.text(&["jti"]))),
        ("Key", not_empty(opened.text(&["key"]))),
        ("Asked for", asked.unwrap_or_default()),
        (
            "Not after",
            end.map(|end| vec![Cell::at(end, now)]).unwrap_or_default(),
        ),
        (
            "Shortened by",
            shortened.into_iter().map(Cell::Text).collect(),
        ),
        ("Signed bytes, SHA-256", not_empty(&tbs)),
    ]);
    let part = Part::new("credential", "The credential", Body::Facts(rows));
    part.note("As far as it is recorded: the credential itself is kept nowhere. Its bytes hash to the value below.")
}

fn story(opened: &Opened, (grant, votes): (&GrantLine, &[VoteRow]), now: Timestamp) -> Part {
    let step = |icon, text: &str, at: Option<i64>| Step {
        icon,
        says: vec![Cell::text(text)],
        when: at.map(|at| Moment::of(at, now)),
    };
    let evidence = opened.at(&["evidence"]).and_then(Value::as_array);
    let evidence = evidence.and_then(|list| list.first());
    let issued = evidence
        .and_then(|it| it.get("iat"))
        .and_then(Value::as_i64);
    let mut steps = vec![step("user", "The platform vouched for the caller", issued)];
    let cast = votes.iter().map(|vote| {
        let text = if vote.yes {
            "A person said yes"
        } else {
            "A person said no"
        };
        step("passkey", text, Some(vote.at))
    });
    steps.extend(cast);
    steps.push(step(
        "policy",
        "Policy permitted it",
        opened.number(&["at"]),
    ));
    let at = i64::try_from(opened.header.ts).ok();
    steps.push(step("ledger", "It was recorded, then signed", at));
    let end = match grant.until > now.as_millis() {
        true => "It ends",
        false => "It ended",
    };
    steps.push(step("clock", end, Some(grant.until)));
    Part::new("story", "What happened", Body::Steps(steps))
}

fn proof(grant: &GrantLine, visitor: &Visitor) -> Part {
    let seq = grant.seq.to_string();
    let entry = match visitor.reads_all() {
        true => Cell::link(
            format!("/ledger/{seq}"),
            format!("Entry {seq}: verify it here"),
        ),
        false => Cell::text(format!("Entry {seq}")),
    };
    let rows = facts([
        ("Ledger", vec![entry]),
        (
            "Proof",
            vec![Cell::link(
                format!("/grants/{}/proof", grant.id),
                "tlog-proof, text",
            )],
        ),
    ]);
    Part::new("proof", "Proof", Body::Facts(rows))
}
