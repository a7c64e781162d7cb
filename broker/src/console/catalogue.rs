//! `/catalogue`: what can be asked, by whom, with what approval and cap, in plain words.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use stint_policy::{ApprovalOffer, Offer, PermitOffer};

use super::asked::Asked;
use super::layout::{Shell, Trouble};
use super::parts::length;
use super::sheet::{Body, Cell, Empty, Filter, List, Part, Sheet, facts};
use crate::http::grants::answer;
use crate::http::session::SignedIn;
use crate::serve::App;

/// `GET /catalogue`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let set = app.broker.policies.in_force();
    let shell = Shell::new(&app, Some(&visitor), "Catalogue")
        .at("/catalogue")
        .same(
            "stint can deploy Environment::prod/web",
            "GET /v1/catalogue",
        );
    let lead = "What can be asked, by whom, with what approval and for how long. A list, not a promise: each ask is decided on its own.";
    let word = asked.get("find").to_lowercase();
    let mut sheet = Sheet::new(shell, "Catalogue", lead).filter(Filter::text(
        "find",
        "Find",
        asked.get("find"),
        "deploy, prod/web, a policy",
    ));
    let offers = set.catalogue();
    let fits = |offer: &&Offer| {
        let text = serde_json::to_string(offer)
            .unwrap_or_default()
            .to_lowercase();
        word.is_empty() || text.contains(&word)
    };
    for (number, offer) in offers.iter().filter(fits).enumerate() {
        sheet = sheet.part(part(offer, format!("offer-{number}")));
    }
    if sheet.parts.is_empty() {
        sheet = sheet.part(nothing());
    }
    sheet.show()
}

/// `GET /v1/catalogue`
pub(crate) async fn json(State(app): State<Arc<App>>, SignedIn(_visitor): SignedIn) -> Response {
    let set = app.broker.policies.in_force();
    let view = json!({ "policy_version": set.hash().to_string(), "offers": set.catalogue() });
    answer(StatusCode::OK, &view)
}

fn part(offer: &Offer, id: String) -> Part {
    let mut rows = facts([
        ("Action", vec![Cell::id(&offer.action)]),
        (
            "Who can ask",
            offer.callers.iter().map(Cell::text).collect(),
        ),
    ]);
    for resource in &offer.resources {
        let mut cells: Vec<Cell> = resource
            .listed
            .iter()
            .take(LISTED)
            .map(Cell::code)
            .collect();
        if resource.open {
            cells.push(Cell::soft("any id"));
        }
        let rest = resource.listed.len().saturating_sub(LISTED);
        if rest > 0 {
            cells.push(Cell::soft(format!("and {rest} more")));
        }
        if cells.is_empty() {
            cells.push(Cell::soft("none is listed"));
        }
        rows.push((format!("Of which {}", resource.label), cells));
    }
    if offer.permits.is_empty() {
        let never = Cell::Badge("bad", "no policy permits it".to_owned());
        rows.push(("Permitted".to_owned(), vec![never]));
    }
    rows.extend(offer.permits.iter().map(permit));
    rows.extend(offer.approvals.iter().map(approval));
    for forbid in &offer.forbids {
        let link = Cell::link(format!("/policy#policy-{}", forbid.policy), &forbid.policy);
        let why = forbid.reason.clone().unwrap_or_default();
        let text = format!(
            "never on {} where {} says so. {why}",
            forbid.on,
            names(&forbid.conditions)
        );
        rows.push(("Forbidden".to_owned(), vec![link, Cell::text(text)]));
    }
    let title = format!(
        "{} {}",
        offer.label,
        offer.resources.first().map_or("", |it| &it.label)
    );
    let part = Part::new(id, title.trim().to_owned(), Body::Facts(rows));
    part.note(offer.doc.clone().unwrap_or_default())
}

fn permit(permit: &PermitOffer) -> (String, Vec<Cell>) {
    let link = Cell::link(format!("/policy#policy-{}", permit.policy), &permit.policy);
    let mut text = format!("{} on {}", permit.who, permit.on);
    if !permit.conditions.is_empty() {
        text = format!("{text}, where {} fits", names(&permit.conditions));
    }
    if let Some(seconds) = permit.max_ttl_s {
        text = format!("{text}, for {} at most", length(i64::from(seconds)));
    }
    if !permit.credentials.is_empty() {
        text = format!("{text}, as {}", permit.credentials.join(" or "));
    }
    if !permit.bind.is_empty() {
        text = format!("{text}, bound by {}", permit.bind.join(" or "));
    }
    text = format!("{text}.");
    if let Some(advice) = &permit.advice {
        text = format!("{text} Otherwise: {advice}");
    }
    if let Some(owner) = &permit.owner {
        let contact = permit.contact.as_deref().unwrap_or_default();
        text = format!("{text} Ask {owner} {contact}")
            .trim_end()
            .to_owned();
    }
    ("Permitted".to_owned(), vec![link, Cell::text(text)])
}

fn approval(approval: &ApprovalOffer) -> (String, Vec<Cell>) {
    let link = Cell::link(
        format!("/policy#policy-{}", approval.policy),
        &approval.policy,
    );
    let people = match approval.quorum {
        1 => "one person".to_owned(),
        n => format!("{n} people"),
    };
    let mut text = format!(
        "on {}: {people} of {} must say yes",
        approval.on, approval.approvers
    );
    if let Some(seconds) = approval.approval_ttl_s {
        text = format!("{text}; it lasts {}", length(i64::from(seconds)));
    }
    if approval.single_use {
        text = format!("{text}, for one grant");
    }
    let why = approval.reason.clone().unwrap_or_default();
    let wait = Cell::Badge("wait", "approval".to_owned());
    (
        "Waits".to_owned(),
        vec![wait, link, Cell::text(format!("{text}. {why}"))],
    )
}

fn names(conditions: &[String]) -> String {
    match conditions.is_empty() {
        true => "its scope".to_owned(),
        false => conditions.join(", "),
    }
}

fn nothing() -> Part {
    let list = List {
        heads: Vec::new(),
        rows: Vec::new(),
        empty: Empty {
            title: "Nothing can be asked",
            text: "No action of the policies fits. Write one, then check it.".to_owned(),
            command: "stint policy check".to_owned(),
        },
    };
    Part::new("none", "Nothing", Body::List(list))
}

/// Resources of one type that are named before the rest is counted.
const LISTED: usize = 20;
