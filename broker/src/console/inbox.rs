//! `/inbox`: what waits for this reader, what they cannot decide and why, and what was decided lately.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use stint_policy::Timestamp;

use super::layout::{self, Shell, Trouble};
use super::parts::{Moment, standing};
use crate::approve::Eligible;
use crate::http::session::SignedIn;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::RequestRow;

#[derive(Template)]
#[template(path = "inbox.html")]
struct Page {
    shell: Shell,
    sections: Vec<Section>,
}

struct Section {
    id: &'static str,
    title: &'static str,
    rows: Vec<Ask>,
    empty: (&'static str, &'static str, &'static str),
}

struct Ask {
    id: String,
    sentence: String,
    caller: String,
    kind: &'static str,
    word: String,
    timing: &'static str,
    at: Moment,
    why: String,
}

/// `GET /inbox`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let (mine, others) = open(&app, &visitor, now).await?;
    let lately = lately(&app, &visitor, now).await?;
    let shell = Shell::new(&app, Some(&visitor), "Inbox")
        .at("/inbox")
        .same("stint inbox", "GET /v1/requests");
    let sections = vec![
        Section {
            id: "mine",
            title: "Waiting for you",
            rows: mine,
            empty: (
                "Nothing waits for you",
                "When a policy asks a group of yours to approve something, it stands here, and you are told by mail or chat.",
                "",
            ),
        },
        Section {
            id: "others",
            title: "Open, but not yours to decide",
            rows: others,
            empty: (
                "Nothing else is open",
                "Asks that you see but may not decide stand here, each with the reason.",
                "",
            ),
        },
        Section {
            id: "lately",
            title: "Decided lately",
            rows: lately,
            empty: (
                "Nothing was decided yet",
                "Try it: ask for something that a policy holds, then approve it here.",
                "stint run deploy Environment::prod/web -- ./deploy.sh",
            ),
        },
    ];
    layout::page(&Page { shell, sections })
}

/// What is open: what this reader decides, and what they only see.
async fn open(
    app: &App,
    visitor: &Visitor,
    now: Timestamp,
) -> Result<(Vec<Ask>, Vec<Ask>), Trouble> {
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    let open = app
        .broker
        .store
        .open_requests(now.as_millis(), MOST)
        .await?;
    for row in open {
        match app.broker.eligible(&row, visitor) {
            Eligible::Yes(_) => mine.push(ask(&row, now, String::new())),
            Eligible::No(why) if app.broker.concerns(&row, visitor) => {
                others.push(ask(&row, now, format!("You cannot vote: {why}.")));
            }
            Eligible::No(_) => {}
        }
    }
    Ok((mine, others))
}

async fn lately(app: &App, visitor: &Visitor, now: Timestamp) -> Result<Vec<Ask>, Trouble> {
    let mut lately = Vec::new();
    for row in app.broker.store.ended_requests(LOOKED_THROUGH).await? {
        if app.broker.concerns(&row, visitor) && lately.len() < LATELY {
            lately.push(ask(&row, now, String::new()));
        }
    }
    Ok(lately)
}

fn ask(row: &RequestRow, now: Timestamp, why: String) -> Ask {
    let badge = standing(row, now);
    let (timing, at) = match row.standing.ended {
        Some(ended) => ("ended", ended),
        None => ("open until", row.expires),
    };
    Ask {
        id: row.id.clone(),
        sentence: row.card().sentence,
        caller: row.caller.clone(),
        kind: badge.kind,
        word: badge.word,
        timing,
        at: Moment::of(at, now),
        why,
    }
}

/// As many open requests as one looks through.
const MOST: i64 = 200;
const LOOKED_THROUGH: i64 = 100;
const LATELY: usize = 10;
