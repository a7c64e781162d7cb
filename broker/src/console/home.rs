//! `/`: what waits for the reader, what lives, what was decided last, and how the broker is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use stint_policy::Timestamp;

use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Cell, Empty, List, Part, Sheet};
use super::sight::Sight;
use crate::http::health;
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{After, EntryFilter, EntryLine, MOST};

/// `GET /`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let (cli, api) = match sight.is_whole() {
        true => (
            "stintd doctor -c /etc/stint/stint.toml",
            "GET /readyz?verbose on [ops] listen",
        ),
        false => ("stint inbox", "GET /v1/requests"),
    };
    let shell = Shell::new(&app, Some(&visitor), "Home")
        .at("/")
        .same(cli, api);
    let lead = format!("Signed in as {}.", visitor.name);
    let sheet = Sheet::new(shell, "Home", lead);
    let sheet = sheet.part(waiting(&app, &sight, now).await?);
    let sheet = sheet.part(live(&app, &sight, now).await?);
    let sheet = sheet.part(decided(&app, &sight, now).await?);
    sheet.maybe(sight.is_whole().then(|| checks(&app))).show()
}

async fn waiting(app: &App, sight: &Sight<'_>, now: Timestamp) -> Result<Part, Trouble> {
    let open = app
        .broker
        .store
        .open_requests(now.as_millis(), MOST)
        .await?;
    let count = open.len();
    let mine: Vec<_> = open
        .into_iter()
        .filter(|row| sight.waits_for_me(row))
        .collect();
    let others = count.saturating_sub(mine.len());
    let shown: Vec<_> = mine.into_iter().take(SHORT).collect();
    let empty = Empty {
        title: "Nothing waits for you",
        text: match (sight.is_whole(), others) {
            (false, _) | (true, 0) => {
                "An ask comes here when a policy wants a person of your groups to approve it."
                    .to_owned()
            }
            (true, 1) => "One request waits for others; see Requests.".to_owned(),
            (true, others) => format!("{others} requests wait for others; see Requests."),
        },
        command: String::new(),
    };
    let list = said::requests(&shown, now, empty);
    Ok(Part::new("waiting", "Waiting for me", Body::List(list)).live("requests"))
}

async fn live(app: &App, sight: &Sight<'_>, now: Timestamp) -> Result<Part, Trouble> {
    let first = After {
        at: i64::MIN,
        id: String::new(),
    };
    let found = app
        .broker
        .store
        .live_grants(now.as_millis(), &first, MOST)
        .await?;
    let mine = found.into_iter().filter(|row| sight.caller(&row.caller));
    let shown: Vec<_> = mine.take(SHORT).collect();
    let empty = Empty {
        title: "No credential lives",
        text: "Credentials last for minutes. One appears here while a run holds it.".to_owned(),
        command: "stint run deploy Environment::staging/web -- env".to_owned(),
    };
    let list = said::grants(&shown, now, empty);
    let part = Part::new("live", "Live grants", Body::List(list)).live("grants");
    Ok(part.note("The next to end first."))
}

async fn decided(app: &App, sight: &Sight<'_>, now: Timestamp) -> Result<Part, Trouble> {
    let filter = EntryFilter {
        subjects: (!sight.is_whole()).then(|| sight.subjects()),
        ..EntryFilter::default()
    };
    let found = app
        .broker
        .store
        .list_entries(&filter, u64::MAX, LOOK)
        .await?;
    let decision = |it: &EntryLine| DECISIONS.contains(&it.kind.as_str());
    let shown: Vec<_> = found.into_iter().filter(decision).take(SHORT).collect();
    let empty = Empty {
        title: "Nothing was decided yet",
        text: "Every ask is answered by policy, and every answer is an entry of the ledger."
            .to_owned(),
        command: "stint can deploy Environment::staging/web".to_owned(),
    };
    let list = said::entries(&shown, now, sight.reads(), empty);
    Ok(Part::new("decided", "Last decisions", Body::List(list)).live("grants denials requests"))
}

/// The checks of `/readyz?verbose`, with the same codes.
fn checks(app: &App) -> Part {
    let now = app.broker.clock.now();
    let row = |check: &Value| {
        let text = |name: &str| check.get(name).and_then(Value::as_str).unwrap_or_default();
        let is = |name: &str| check.get(name) == Some(&Value::Bool(true));
        let kind = match (is("ok"), is("fatal")) {
            (true, _) => "good",
            (false, true) => "bad",
            (false, false) => "warn",
        };
        let since = Timestamp::parse_rfc3339(text("since")).ok();
        vec![
            vec![Cell::code(text("check"))],
            vec![Cell::Badge(kind, text("code").to_owned())],
            vec![Cell::text(text("detail"))],
            vec![Cell::maybe_at(since.map(Timestamp::as_millis), now, "")],
        ]
    };
    let list = List {
        heads: vec!["Check", "Code", "Detail", "Since"],
        rows: health::checks(app).iter().map(row).collect(),
        empty: Empty {
            title: "No checks",
            text: String::new(),
            command: String::new(),
        },
    };
    Part::new("checks", "How the broker is", Body::List(list)).live("health")
}

/// Rows of each part.
const SHORT: usize = 10;
/// Entries that are looked through for decisions.
const LOOK: i64 = 300;
const DECISIONS: [&str; 4] = ["granted", "denied", "requested", "request_closed"];
