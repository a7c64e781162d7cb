//! `/requests`: every ask that waited for people, whatever became of it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::asked::Asked;
use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Empty, Filter, Part, Sheet};
use super::sight::Sight;
use crate::export::Place;
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{After, MOST, RequestFilter};
use crate::store::{self, RequestRow};

/// `GET /requests`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let filter = filter(&asked);
    let (rows, next) = page(&app, &sight, &filter, asked.after(), PAGE).await?;
    let empty = match filter_is_set(&asked) {
        true => Empty {
            title: "No request fits",
            text: "Nothing that you may see has these properties. Take a filter away.".to_owned(),
            command: String::new(),
        },
        false => Empty {
            title: "Nobody had to be asked yet",
            text: "An ask waits here when a policy wants people to approve it. The catalogue says which do.".to_owned(),
            command: "stint can deploy Environment::prod/web".to_owned(),
        },
    };
    let list = said::requests(&rows, now, empty);
    let shell = Shell::new(&app, Some(&visitor), "Requests")
        .at("/requests")
        .same(
            "stint ledger export --kinds requested,voted,request_closed --format jsonl",
            "GET /v1/requests",
        );
    let lead = "Asks that waited, or wait, for people.";
    let next = next.map(|after| format!("{}.{}", after.at, after.id));
    let mut sheet = Sheet::new(shell, "Requests", lead).turns("/requests", &asked, next.as_deref());
    for field in fields(&asked) {
        sheet = sheet.filter(field);
    }
    let part = Part::new("list", "Newest first", Body::List(list)).live("requests");
    sheet.part(part).show()
}

/// A page of what the reader sees, and where the next begins.
pub(super) async fn page(
    app: &App,
    sight: &Sight<'_>,
    filter: &RequestFilter,
    mut after: After,
    size: usize,
) -> Result<(Vec<RequestRow>, Option<After>), store::Error> {
    let mut rows = Vec::new();
    // What others see is left out here; so many pages are looked through for what is not.
    for _ in 0..LOOKS {
        let found = app.broker.store.list_requests(filter, &after, MOST).await?;
        let all = found.len() < usize::try_from(MOST).unwrap_or(usize::MAX);
        for row in found {
            let key = After {
                at: row.opened,
                id: row.id.clone(),
            };
            if sight.request(&row) {
                if rows.len() == size {
                    return Ok((rows, Some(after)));
                }
                rows.push(row);
            }
            after = key;
        }
        if all {
            return Ok((rows, None));
        }
    }
    Ok((rows, Some(after)))
}

fn filter(asked: &Asked) -> RequestFilter {
    let time = |name| match asked.get(name).parse() {
        Ok(Place::Time(time)) => Some(time.as_millis()),
        Ok(Place::Seq(_)) | Err(_) => None,
    };
    RequestFilter {
        state: asked.some("state"),
        caller: asked.some("caller"),
        action: asked.some("action").map(|action| canonical(&action)),
        task: asked.some("task"),
        from: time("from"),
        to: time("to"),
    }
}

/// `deploy` is `Action::"deploy"`.
fn canonical(action: &str) -> String {
    match action.contains("::") {
        true => action.to_owned(),
        false => format!("Action::\"{action}\""),
    }
}

fn filter_is_set(asked: &Asked) -> bool {
    ["state", "caller", "action", "task", "from", "to", "after"]
        .iter()
        .any(|name| !asked.get(name).is_empty())
}

fn fields(asked: &Asked) -> [Filter; 5] {
    let states = [
        ("", "any"),
        ("pending", "pending"),
        ("approved", "approved"),
        ("denied", "denied"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
    ];
    [
        Filter::text("caller", "Caller", asked.get("caller"), "spiffe://…"),
        Filter::text("action", "Action", asked.get("action"), "deploy"),
        Filter::choice("state", "State", asked.get("state"), &states),
        Filter::text("from", "From", asked.get("from"), "2026-07-01"),
        Filter::text("to", "To", asked.get("to"), "2026-08-01"),
    ]
}

/// Rows of a page.
const PAGE: usize = 100;
/// Pages of the store that are looked through for one.
const LOOKS: usize = 5;
