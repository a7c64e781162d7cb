//! `/integrations`: who is sent the ledger, who is sent notices, and how the last delivery went.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use stint_policy::Timestamp;
use stint_wire::{self as wire, Code, Problem};

use super::layout::{Shell, Trouble};
use super::sheet::{Body, Cell, Empty, List, Part, Sheet};
use crate::http::extract::Strict;
use crate::http::operator;
use crate::http::problem::{Failure, not_found};
use crate::http::session::{Acting, SignedIn};
use crate::issue;
use crate::notify::Standing;
use crate::people::Visitor;
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
            "GET /readyz?verbose on [ops] listen",
        );
    let lead = "Where this broker sends what it records and whom it tells.";
    Sheet::new(shell, "Integrations", lead)
        .part(sinks(&app).live("ledger"))
        .part(targets(&app, &visitor, now).await?.live("requests"))
        .script("test.js")
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

async fn targets(app: &App, visitor: &Visitor, now: Timestamp) -> Result<Part, Trouble> {
    let targets = app.broker.notifier.standings(&app.broker.store).await?;
    let row = |target: Standing| {
        let (kind, word) = match (target.row.sent, target.row.failed) {
            (Some(sent), Some(failed)) if failed > sent => ("bad", "fails"),
            (None, Some(_)) => ("bad", "fails"),
            (Some(_), _) => ("good", "delivers"),
            (None, None) => ("off", "nothing sent yet"),
        };
        let mut state = vec![Cell::Badge(kind, word.to_owned())];
        if target.row.waiting > 0 {
            state.push(Cell::soft(format!("{} wait", target.row.waiting)));
        }
        let mut cells = vec![
            vec![Cell::code(&target.name), Cell::soft(target.kind)],
            state,
            vec![Cell::maybe_at(target.row.sent, now, "never")],
            vec![Cell::maybe_at(target.row.failed, now, "never")],
            vec![Cell::text(target.row.error.unwrap_or_default())],
        ];
        if visitor.roles.operator {
            cells.push(vec![Cell::Test(target.name)]);
        }
        cells
    };
    let mut heads = vec![
        "Target",
        "State",
        "Last delivery",
        "Last failure",
        "What it said",
    ];
    if visitor.roles.operator {
        heads.push("Try it");
    }
    let list = List {
        heads,
        rows: targets.into_iter().map(row).collect(),
        empty: Empty {
            title: "Nobody is told that an ask waits",
            text: "Approvers find out by looking at their inbox. Add a [notify.NAME] to stint.toml: a webhook, Slack, mail.".to_owned(),
            command: "stintd check -c /etc/stint/stint.toml".to_owned(),
        },
    };
    Ok(Part::new("targets", "Notices", Body::List(list)))
}

/// `POST /v1/notify/test`, by an operator who is signed in: as over the socket.
pub(super) async fn test(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    asked: Strict<wire::NoticeTest>,
) -> Result<Response, Failure> {
    if !visitor.reads_all() {
        return Err(not_found().await);
    }
    if !visitor.roles.operator {
        let detail = "operators try receivers of notices; you read how they do";
        return Err(Problem::new(Code::RoleRequired, detail).into());
    }
    let admitted = app
        .broker
        .limits
        .dry_run(&visitor.id, app.broker.clock.now());
    admitted.map_err(issue::Error::from)?;
    operator::test_notice(State(app), asked).await
}
