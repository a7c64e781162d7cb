//! `/integrations`: who is sent the ledger, who is sent notices, and how the last delivery went.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use stint_policy::Timestamp;

use super::layout::{Shell, Trouble};
use super::sheet::{Body, Cell, Empty, List, Part, Sheet};
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::sinks::Place;

/// `GET /integrations`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
) -> Result<Response, Trouble> {
    if !visitor.reads_all() {
        return Err(Trouble::not_found());
    }
    let now = app.broker.clock.now();
    let shell = Shell::new(&app, Some(&visitor), "Integrations")
        .at("/integrations")
        .same(
            "stintd doctor -c /etc/stint/stint.toml",
            "GET /readyz?verbose",
        );
    let lead = "Where this broker sends what it records and whom it tells.";
    Sheet::new(shell, "Integrations", lead)
        .part(sinks(&app).live("ledger"))
        .part(targets(&app, now).await?.live("requests"))
        .show()
}

fn sinks(app: &App) -> Part {
    let size = app.broker.ledger.published().size;
    let row = |sink: &crate::sinks::Health| {
        let lag = size.saturating_sub(sink.next());
        let (kind, word, detail) = match sink.place() {
            Place::Here => ("good", "sends", String::new()),
            Place::Elsewhere => ("note", "another replica sends", String::new()),
            Place::Stuck(why) => ("bad", "sink_stuck", why),
        };
        vec![
            vec![Cell::code(sink.name())],
            vec![Cell::Badge(kind, word.to_owned())],
            vec![Cell::text(sink.next().to_string())],
            vec![Cell::text(lag.to_string())],
            vec![Cell::text(detail)],
        ]
    };
    let list = List {
        heads: vec!["Sink", "State", "Next entry", "Behind", "Last failure"],
        rows: app.sinks.each().map(row).collect(),
        empty: Empty {
            title: "Nobody is sent the ledger",
            text: "Add a [sink.NAME] to stint.toml: OCSF, JSON lines, CloudEvents, syslog, a file."
                .to_owned(),
            command: "stintd check -c /etc/stint/stint.toml".to_owned(),
        },
    };
    Part::new("sinks", "Sinks", Body::List(list))
}

async fn targets(app: &App, now: Timestamp) -> Result<Part, Trouble> {
    let targets = app.broker.store.deliveries().await?;
    let rows = targets.into_iter().map(|target| {
        let (kind, word) = match (target.sent, target.failed) {
            (Some(sent), Some(failed)) if failed > sent => ("bad", "fails"),
            (None, Some(_)) => ("bad", "fails"),
            (Some(_), _) => ("good", "delivers"),
            (None, None) => ("off", "nothing sent yet"),
        };
        vec![
            vec![Cell::code(target.name)],
            vec![Cell::Badge(kind, word.to_owned())],
            vec![Cell::maybe_at(target.sent, now, "never")],
            vec![Cell::maybe_at(target.failed, now, "never")],
            vec![Cell::text(target.error.unwrap_or_default())],
        ]
    });
    let list = List {
        heads: vec!["Target", "State", "Last delivery", "Last failure", "What it said"],
        rows: rows.collect(),
        empty: Empty {
            title: "Nothing was delivered yet",
            text: "A target appears with its first notice. Add a [notify.NAME] to stint.toml: a webhook, Slack, mail.".to_owned(),
            command: "stintd check -c /etc/stint/stint.toml".to_owned(),
        },
    };
    Ok(Part::new("targets", "Notices", Body::List(list)))
}
