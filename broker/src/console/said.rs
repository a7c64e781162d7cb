//! What pages say alike: how a request or grant stands, what was asked, whose it is.

use serde_json::Value;
use stint_policy::Timestamp;

use super::sheet::{Cell, Empty, List};
use super::sight::Reads;
use crate::store::RequestRow;
use crate::store::lists::{EntryLine, GrantLine};
use crate::store::requests::State;

/// How a request stands, as a word with a shape.
pub(crate) fn standing(row: &RequestRow, now: Timestamp) -> Cell {
    let ended = row.expires <= now.as_millis();
    let (kind, word) = match row.standing.state {
        State::Pending if ended => ("off", "expired"),
        State::Pending => ("wait", "pending"),
        State::Approved if row.standing.spent => ("off", "approved, used"),
        State::Approved => ("good", "approved"),
        State::Denied => ("bad", "denied"),
        State::Expired => ("off", "expired"),
        State::Cancelled => ("off", "cancelled"),
    };
    Cell::Badge(kind, word.to_owned())
}

/// What a request asks for, in one sentence.
pub(crate) fn sentence(row: &RequestRow) -> String {
    let card: Value = serde_json::from_str(&row.card).unwrap_or_default();
    let sentence = card.get("sentence").and_then(Value::as_str);
    match sentence.filter(|sentence| !sentence.is_empty()) {
        Some(sentence) => sentence.to_owned(),
        None => asked(&row.ask),
    }
}

/// The ask of a request, in canonical words.
fn asked(ask: &str) -> String {
    let ask: Value = serde_json::from_str(ask).unwrap_or_default();
    let ask = ask.get("ask").unwrap_or(&Value::Null);
    words(ask)
}

/// `Action::"deploy" Environment::"prod/web"`, of anything that has both members.
pub(crate) fn words(ask: &Value) -> String {
    let action = ask
        .get("action")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let resources = ask.get("resources").and_then(Value::as_array);
    let resources = resources.into_iter().flatten().filter_map(Value::as_str);
    let words = std::iter::once(action).chain(resources);
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a grant lives, as a word with a shape.
pub(crate) fn life(until: i64, now: Timestamp) -> Cell {
    match until > now.as_millis() {
        true => Cell::Badge("good", "live".to_owned()),
        false => Cell::Badge("off", "ended".to_owned()),
    }
}

/// Where a caller's page is. SPIFFE IDs have no characters that a path has to escape.
pub(crate) fn caller_href(id: &str) -> String {
    format!("/callers/{}", id.trim_start_matches("spiffe://"))
}

/// A caller, with its page.
pub(crate) fn caller(id: &str) -> Cell {
    Cell::Link(caller_href(id), id.to_owned())
}

/// Grants as a list.
pub(crate) fn grants(rows: &[GrantLine], now: Timestamp, empty: Empty) -> List {
    let row = |it: &GrantLine| {
        vec![
            vec![Cell::Main(format!("/grants/{}", it.id), it.id.clone())],
            vec![life(it.until, now), Cell::at(it.until, now)],
            vec![match it.action.is_empty() {
                true => Cell::soft("not kept"),
                false => Cell::Word(it.action.clone()),
            }],
            vec![caller(&it.caller)],
            vec![Cell::text(&it.kind)],
            vec![Cell::maybe_at(it.at, now, "a moment ago")],
        ]
    };
    List {
        heads: vec!["Grant", "Ends", "Action", "Caller", "Credential", "Granted"],
        rows: rows.iter().map(row).collect(),
        empty,
    }
}

/// Requests as a list.
pub(crate) fn requests(rows: &[RequestRow], now: Timestamp, empty: Empty) -> List {
    let row = |it: &RequestRow| {
        let end = it.standing.ended.unwrap_or(it.expires);
        vec![
            vec![Cell::Main(format!("/a/{}", it.id), it.id.clone())],
            vec![standing(it, now)],
            vec![Cell::text(sentence(it))],
            vec![caller(&it.caller)],
            vec![Cell::at(it.opened, now)],
            vec![Cell::at(end, now)],
        ]
    };
    List {
        heads: vec![
            "Request",
            "State",
            "What",
            "Caller",
            "Opened",
            "Ends or ended",
        ],
        rows: rows.iter().map(row).collect(),
        empty,
    }
}

/// Entries as a list; their pages in the ledger are for who reads the whole.
pub(crate) fn entries(rows: &[EntryLine], now: Timestamp, reads: Reads, empty: Empty) -> List {
    let row = |it: &EntryLine| {
        let seq = it.seq.to_string();
        vec![
            vec![match reads {
                Reads::Whole => Cell::Link(format!("/ledger/{seq}"), seq),
                Reads::Own => Cell::text(seq),
            }],
            vec![kind(&it.kind)],
            vec![match page_of(&it.kind, &it.id) {
                Some(href) => Cell::Main(href, it.id.clone()),
                None => Cell::id(&it.id),
            }],
            vec![Cell::at(it.ts, now)],
            match &it.task {
                Some(task) => vec![Cell::link(format!("/tasks/{task}"), task)],
                None => Vec::new(),
            },
        ]
    };
    List {
        heads: vec!["Entry", "Kind", "Id", "When", "Task"],
        rows: rows.iter().map(row).collect(),
        empty,
    }
}

/// The page of what an entry is about.
pub(crate) fn page_of(kind: &str, id: &str) -> Option<String> {
    match kind {
        "granted" => Some(format!("/grants/{id}")),
        "denied" => Some(format!("/decisions/{id}")),
        "requested" => Some(format!("/a/{id}")),
        _ => None,
    }
}

/// The kind of an entry as a word with a shape.
pub(crate) fn kind(kind: &str) -> Cell {
    let shape = match kind {
        "granted" => "good",
        "denied" | "sign_failed" | "replayed" | "frozen" => "bad",
        "requested" => "wait",
        "revoked" | "request_closed" | "task_closed" => "off",
        _ => "note",
    };
    Cell::Badge(shape, kind.to_owned())
}

/// Whether a canonical action is the one with this bare name, as grants keep it.
pub(crate) fn is_action(canonical: &str, bare: &str) -> bool {
    canonical == bare || canonical.ends_with(&format!("::\"{bare}\""))
}
