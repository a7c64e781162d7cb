//! `/trust`: what to pin, and for those who read everything, how what is trusted here is doing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use stint_policy::Timestamp;

use super::layout::{Shell, Trouble};
use super::ledger::head;
use super::parts::length;
use super::sheet::{Body, Cell, Empty, List, Part, Sheet, facts};
use crate::authenticate::source::{Health, HealthState};
use crate::http::session::Maybe;
use crate::serve::App;

/// `GET /trust`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Maybe(visitor): Maybe,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let shell = Shell::new(&app, visitor.as_ref(), "Trust")
        .at("/trust")
        .same(
            format!("curl -s {}/v1/trust", app.broker.terms.url),
            "GET /v1/trust",
        );
    let lead = "What to pin before you believe anything from here, and whom this broker believes.";
    let sheet = Sheet::new(shell, "Trust", lead).part(ours(&app));
    if !visitor.as_ref().is_some_and(|it| it.reads_all()) {
        return sheet.part(log(&app)).show();
    }
    let sheet = sheet.part(issuers(&app, now).live("trust"));
    sheet
        .part(keys(&app, now).live("trust"))
        .part(head(&app, now).live("ledger"))
        .show()
}

fn ours(app: &App) -> Part {
    let broker = &app.broker;
    let rows = facts([
        ("Broker", vec![Cell::id(&broker.terms.url)]),
        ("Audience of evidence", vec![Cell::id(&broker.terms.url)]),
        ("Trust domain", vec![Cell::id(broker.ca.trust_domain())]),
        (
            "Root, SHA-256",
            vec![Cell::id(broker.ca.root_fingerprint())],
        ),
        ("Roots", vec![Cell::link("/v1/trust/bundle", "PEM")]),
        ("Keys of tokens", vec![Cell::link("/oauth2/jwks", "JWKS")]),
    ]);
    Part::new("ours", "This broker", Body::Facts(rows))
}

fn log(app: &App) -> Part {
    let ledger = &app.broker.ledger;
    let rows = facts([
        ("Log", vec![Cell::id(ledger.origin())]),
        ("Key", vec![Cell::id(ledger.vkey())]),
        (
            "Checkpoint",
            vec![Cell::link(
                "/v1/ledger/checkpoint",
                "the newest signed head",
            )],
        ),
    ]);
    Part::new("log", "The ledger", Body::Facts(rows))
}

fn issuers(app: &App, now: Timestamp) -> Part {
    let row = |health: Health| {
        let (kind, word) = match (health.frozen, health.halted, health.state) {
            (true, _, _) => ("bad", "frozen"),
            (false, true, _) => ("warn", "new keys wait for an operator"),
            (false, false, HealthState::Ready) => ("good", "ready"),
            (false, false, HealthState::Cold) => ("off", "cold"),
            (false, false, HealthState::Stale) => ("warn", "stale"),
            (false, false, HealthState::Expired) => ("bad", "expired"),
        };
        let age = match health.age_s {
            Some(age) => Cell::text(format!("{} old", length(age))),
            None => Cell::soft("in the config"),
        };
        vec![
            vec![Cell::Named(
                format!("issuer-{}", health.issuer),
                health.issuer.clone(),
            )],
            vec![Cell::Badge(kind, word.to_owned())],
            vec![Cell::text(health.keys.to_string())],
            vec![age],
            vec![Cell::maybe_at(
                health.since.map(Timestamp::as_millis),
                now,
                "",
            )],
            vec![Cell::text(health.error.unwrap_or_default())],
        ]
    };
    let list = List {
        heads: vec!["Issuer", "Keys are", "Keys", "Age", "Since", "Last failure"],
        rows: app.broker.roster.health(now).into_iter().map(row).collect(),
        empty: Empty {
            title: "Nobody is believed",
            text: "Without an [issuer.NAME] in the config nobody can bring evidence, so nobody is granted anything.".to_owned(),
            command: "stintd check -c /etc/stint/stint.toml".to_owned(),
        },
    };
    let part = Part::new("issuers", "Issuers of evidence", Body::List(list));
    part.note("Whose tokens are taken, and how fresh the keys are that check them.")
}

fn keys(app: &App, now: Timestamp) -> Part {
    let ca = &app.broker.ca;
    let (root, issuing) = ca.not_after();
    let end = |seconds: i64| Cell::at(seconds.saturating_mul(1_000), now);
    let mut rows = facts([
        ("Root ends", vec![end(root)]),
        ("Issuing CA ends", vec![end(issuing)]),
        ("Issuing key", vec![Cell::id(ca.issuing_key().to_string())]),
        (
            "Token algorithms",
            ca.jwt_algorithms().into_iter().map(Cell::code).collect(),
        ),
    ]);
    let tokens = ca
        .jwt_keys()
        .map(|key| ("Token key".to_owned(), vec![Cell::id(key.to_string())]));
    rows.extend(tokens);
    rows.push((
        "Ledger key".to_owned(),
        vec![Cell::id(app.broker.ledger.vkey())],
    ));
    Part::new("our-keys", "Our keys", Body::Facts(rows))
}
