//! `/grants`: what was granted, as a page and as a table for spreadsheets.

use std::sync::Arc;

use axum::body::{Body as Bytes, Bytes as Chunk};
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use stint_policy::Timestamp;

use super::asked::Asked;
use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Empty, Filter, Part, Sheet};
use super::sight::Sight;
use crate::export::Place;
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{After, GrantLine, MOST, Of};
use crate::store::{self, Store};

/// What is looked for, and where in it one is.
#[derive(Debug, Clone)]
struct Wanted {
    of: Of,
    action: String,
    /// Entries of these numbers.
    range: (u64, u64),
}

/// `GET /grants`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let (rows, next) = page(&app, &sight, &asked, now).await?;
    let shell = Shell::new(&app, Some(&visitor), "Grants")
        .at("/grants")
        .same(
            asked.command("grants"),
            format!("GET {}", asked.url("/v1/grants")),
        );
    let mut sheet = Sheet::new(
        shell,
        "Grants",
        "Credentials that were granted. Each is one entry of the ledger.",
    )
    .turns("/grants", &asked, next.as_deref());
    for field in fields(&asked) {
        sheet = sheet.filter(field);
    }
    sheet.links = vec![(asked.first("/grants.csv"), "CSV of all of it".to_owned())];
    let list = said::grants(&rows, now, nothing(&asked));
    let title = match asked.get("standing") {
        "live" => "The next to end first",
        _ => "Newest first",
    };
    sheet
        .part(Part::new("list", title, Body::List(list)).live("grants"))
        .show()
}

/// A page of what the reader sees, and where the next begins.
pub(super) async fn page(
    app: &App,
    sight: &Sight<'_>,
    asked: &Asked,
    now: Timestamp,
) -> Result<(Vec<GrantLine>, Option<String>), Trouble> {
    match asked.get("standing") {
        "live" => live(app, sight, asked, now).await,
        _ => recorded(app, sight, asked).await,
    }
}

fn nothing(asked: &Asked) -> Empty {
    let filters = [
        "standing", "caller", "action", "task", "from", "to", "after",
    ];
    match filters.iter().any(|name| !asked.get(name).is_empty()) {
        true => Empty {
            title: "No grant fits",
            text: "Nothing that you may see has these properties. Take a filter away.".to_owned(),
            command: String::new(),
        },
        false => Empty {
            title: "Nothing was granted yet",
            text:
                "A grant begins with an ask. The catalogue says what can be asked for; this asks."
                    .to_owned(),
            command: "stint run deploy Environment::staging/web -- env".to_owned(),
        },
    }
}

/// `GET /grants.csv`: the whole result.
pub(super) async fn csv(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let wanted = wanted(&app, &sight, &asked).await?;
    let only_live = (asked.get("standing") == "live").then_some(now);
    let (store, to) = (app.broker.store.clone(), wanted.range.1);
    let head = Chunk::from_static(HEAD.as_bytes());
    let pages =
        futures_util::stream::try_unfold(Some((store, wanted, to)), move |place| async move {
            let Some((store, wanted, to)) = place else {
                return Ok::<_, store::Error>(None);
            };
            let (chunk, rest) = chunk(&store, &wanted, to, only_live).await?;
            Ok(Some((chunk, rest.map(|to| (store, wanted, to)))))
        });
    let head = futures_util::stream::once(async move { Ok(head) });
    let body = Bytes::from_stream(futures_util::StreamExt::chain(head, pages));
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"grants.csv\""),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = (headers, body).into_response();
    let nosniff = axum::http::HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert("x-content-type-options", nosniff);
    Ok(response)
}

/// Rows of one page as CSV, and before which entry the next begins.
async fn chunk(
    store: &Store,
    wanted: &Wanted,
    to: u64,
    only_live: Option<Timestamp>,
) -> Result<(Chunk, Option<u64>), store::Error> {
    let range = (wanted.range.0, to);
    let rows = store
        .list_grants(&wanted.of, range, &wanted.action, MOST)
        .await?;
    let is_last = rows.len() < usize::try_from(MOST).unwrap_or(usize::MAX);
    let rest = rows.last().map(|row| row.seq).filter(|_| !is_last);
    let lives = |row: &&GrantLine| only_live.is_none_or(|now| row.until > now.as_millis());
    let lines: String = rows.iter().filter(lives).map(line).collect();
    Ok((Chunk::from(lines), rest))
}

fn line(row: &GrantLine) -> String {
    let time = |millis: i64| Timestamp::from_millis(millis).rfc3339();
    let seq = row.seq.to_string();
    let cells = [
        row.id.as_str(),
        &row.at.map(time).unwrap_or_default(),
        &time(row.until),
        &row.action,
        &row.caller,
        &row.task,
        &row.kind,
        &row.unique,
        &seq,
    ];
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell that no spreadsheet takes for a formula (SECURITY.md §4): what begins like one begins with an apostrophe.
pub(super) fn cell(text: &str) -> String {
    let begins = text.trim_start().starts_with(['=', '+', '-', '@']);
    let begins = begins || text.starts_with(['\t', '\r', '\n']);
    let text = text.replace(['\r', '\n'], " ");
    let text = if begins { format!("'{text}") } else { text };
    match text.contains([',', '"', '\'', ';', '\t']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// Those that live, the next to end first.
async fn live(
    app: &App,
    sight: &Sight<'_>,
    asked: &Asked,
    now: Timestamp,
) -> Result<(Vec<GrantLine>, Option<String>), Trouble> {
    let after = match asked.is_later() {
        true => asked.after(),
        false => After {
            at: i64::MIN,
            id: String::new(),
        },
    };
    let found = app
        .broker
        .store
        .live_grants(now.as_millis(), &after, MOST)
        .await?;
    let fits = |row: &GrantLine| {
        let is = |name: &str, value: &str| asked.get(name).is_empty() || asked.get(name) == value;
        sight.caller(&row.caller)
            && is("caller", &row.caller)
            && is("action", &row.action)
            && is("task", &row.task)
    };
    let is_last = found.len() < usize::try_from(MOST).unwrap_or(usize::MAX);
    let end = found.last().map(|row| format!("{}.{}", row.until, row.id));
    let mut rows: Vec<GrantLine> = found.into_iter().filter(fits).collect();
    let next = match rows.get(PAGE.saturating_sub(1)) {
        Some(row) if rows.len() > PAGE => Some(format!("{}.{}", row.until, row.id)),
        Some(_) | None if is_last => None,
        Some(_) | None => end,
    };
    rows.truncate(PAGE);
    Ok((rows, next))
}

/// All that fit, newest first.
async fn recorded(
    app: &App,
    sight: &Sight<'_>,
    asked: &Asked,
) -> Result<(Vec<GrantLine>, Option<String>), Trouble> {
    let wanted = wanted(app, sight, asked).await?;
    let before = asked.after_number().unwrap_or(u64::MAX).min(wanted.range.1);
    let range = (wanted.range.0, before);
    let limit = i64::try_from(PAGE).unwrap_or(MOST).saturating_add(1);
    let store = &app.broker.store;
    let mut rows = store
        .list_grants(&wanted.of, range, &wanted.action, limit)
        .await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(|row| row.seq.to_string());
    Ok((rows, next))
}

/// What the URL asks for, as far as the reader sees it.
async fn wanted(app: &App, sight: &Sight<'_>, asked: &Asked) -> Result<Wanted, Trouble> {
    let caller = asked.get("caller");
    let task = asked.get("task");
    let ledger = &app.broker.ledger;
    let of = match (caller, task) {
        ("", "") if sight.is_whole() => Of::All,
        ("", "") => Of::Callers(sight.subjects()),
        ("", task) => match sight.within("", task).await? {
            true => Of::Task(task.to_owned()),
            false => Of::Callers(Vec::new()),
        },
        (caller, _) if sight.caller(caller) => {
            Of::Callers(vec![ledger.subject(caller).pseudonym.to_string()])
        }
        (_, _) => Of::Callers(Vec::new()),
    };
    let mut range = (0, u64::MAX);
    for (name, end) in [("from", &mut range.0), ("to", &mut range.1)] {
        if let Ok(place) = asked.get(name).parse::<Place>() {
            *end = app
                .broker
                .seq_of(place)
                .await
                .map_err(|_error| Trouble::unread())?;
        }
    }
    Ok(Wanted {
        of,
        action: asked.get("action").to_owned(),
        range,
    })
}

fn fields(asked: &Asked) -> [Filter; 5] {
    let standings = [("", "all"), ("live", "live now")];
    [
        Filter::text("caller", "Caller", asked.get("caller"), "spiffe://…"),
        Filter::text("action", "Action", asked.get("action"), "deploy"),
        Filter::choice("standing", "Standing", asked.get("standing"), &standings),
        Filter::text("from", "From", asked.get("from"), "2026-07-01"),
        Filter::text("to", "To", asked.get("to"), "2026-08-01"),
    ]
}

/// Rows of a page.
const PAGE: usize = 100;
const HEAD: &str = "grant,granted,ends,action,caller,task,credential,serial_or_jti,entry\r\n";

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell_text) in [
            ("gr_1", "gr_1"),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("  =cmd|' /C calc'!A0", "\"'  =cmd|' /C calc'!A0\""),
            ("\t=1", "\"'\t=1\""),
            ("a\"b,c", "\"a\"\"b,c\""),
            ("a\r\nb", "a  b"),
        ] {
            assert_eq!(cell(text), cell_text);
        }
    }
}
