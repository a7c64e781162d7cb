//! What an entry's body says, for those who may read it. That it is read is an entry itself, made before it leaves.

use std::sync::Arc;

use serde_json::{Map, Value};
use stint_audit::entry::Header;
use stint_wire::{Code, Problem};

use super::layout::Trouble;
use super::sheet::{Body, Cell, Part};
use crate::ledger::TileError;
use crate::people::Visitor;
use crate::serve::App;
use crate::telemetry::trail;
use crate::upkeep::read::ReadError;

/// An entry with its body, if it was not erased.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) header: Header,
    /// The exact bytes of the header.
    pub(crate) bytes: Vec<u8>,
    /// What the body says beside its salt; nothing if it was erased.
    pub(crate) body: Map<String, Value>,
    /// The exact bytes of the body.
    pub(crate) raw: Option<Vec<u8>>,
}

/// Opens entry `seq` for `visitor`.
pub(crate) async fn open(app: &App, visitor: &Visitor, seq: u64) -> Result<Opened, Trouble> {
    let (broker, reader) = (Arc::clone(&app.broker), visitor.id.to_string());
    let read = app.detached(async move { broker.read_entry(seq, &reader).await });
    let (bytes, raw) = read.await??;
    let header = Header::parse(&bytes).map_err(|_form| Trouble::unread())?;
    let body = raw.as_deref().map(serde_json::from_slice::<Value>);
    let mut body = body.and_then(Result::ok).unwrap_or_default();
    let body = match body.get_mut("what").map(Value::take) {
        Some(Value::Object(what)) => what,
        Some(_) | None => Map::new(),
    };
    Ok(Opened {
        header,
        bytes,
        body,
        raw,
    })
}

impl Opened {
    /// A member of the body, by its path.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let begin = self.body.get(*first)?;
        rest.iter().try_fold(begin, |value, name| value.get(*name))
    }

    /// Text there; empty if there is none.
    pub(crate) fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number there.
    pub(crate) fn number(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    /// Texts there.
    pub(crate) fn texts(&self, path: &[&str]) -> Vec<String> {
        let list = self.at(path).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// Who asked, in `rows`, and below what their evidence said, typed and verified: one row a claim.
    pub(crate) fn claims(&self, mut rows: Vec<(String, Vec<Cell>)>) -> Part {
        let context = self.at(&["query", "context"]).and_then(Value::as_object);
        for (name, value) in context.into_iter().flatten() {
            if !BESIDE.contains(&name.as_str()) {
                flat(name, value, &mut rows);
            }
        }
        Part::new("claims", "Who asked, and what was verified", Body::Facts(rows)).note(
            "Each claim comes from evidence whose signature, issuer, audience and age were checked.",
        )
    }
}

/// Members of the context that are no claims.
const BESIDE: [&str; 9] = [
    "approvals",
    "attested",
    "caller",
    "credential",
    "delegation",
    "history",
    "input",
    "now",
    "task",
];

/// Each leaf with its path.
pub(crate) fn flat(path: &str, value: &Value, rows: &mut Vec<(String, Vec<Cell>)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flat(&format!("{path}.{name}"), value, rows);
            }
        }
        Value::String(text) => rows.push((path.to_owned(), vec![Cell::code(text)])),
        Value::Array(items) => {
            let items = items.iter().map(|item| match item {
                Value::String(text) => Cell::code(text),
                other => Cell::code(other.to_string()),
            });
            rows.push((path.to_owned(), items.collect()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            rows.push((path.to_owned(), vec![Cell::code(value.to_string())]));
        }
    }
}

impl Trouble {
    /// The ledger cannot be read just now.
    pub(crate) fn unread() -> Trouble {
        let id = trail::id();
        let detail = format!("The ledger cannot be read just now; not your doing ({id}).");
        Trouble(Box::new(Problem::new(Code::Unavailable, detail)))
    }
}

impl From<TileError> for Trouble {
    fn from(error: TileError) -> Trouble {
        tracing::warn!(%error, id = trail::id(), "a page could not be read from the ledger");
        Trouble::unread()
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Trouble {
        tracing::warn!(%error, id = trail::id(), "a body could not be read");
        Trouble::unread()
    }
}
