//! What pages and people's own programs ask for besides.

use serde_json::{Value, json};

use super::rows::{Row, Shape, Who};

/// The catalogue, what changes, and policies to be tried.
pub(super) const PAGES: &[Row] = &[
    Row {
        method: "get",
        path: "/v1/catalogue",
        id: "catalogue",
        about: "What can be asked, by whom, with what approval and for how long",
        who: Who::Person,
        parameters: &[],
        asks: Shape::Nothing,
        answers: &[(200, "In plain words", Shape::Json(catalogue))],
    },
    Row {
        method: "get",
        path: "/v1/events",
        id: "events",
        about: "That something changed, as server-sent events that name what sort of thing. `Last-Event-ID` makes up for \
                what was missed. Four streams a session, 512 in all.",
        who: Who::Person,
        parameters: &[],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A stream without an end",
            Shape::Text("text/event-stream"),
        )],
    },
    Row {
        method: "post",
        path: "/v1/policy/explain",
        id: "explainPolicy",
        about: "What the policies in force say to a test file's cases, or to a recorded decision; for operators and \
                auditors. Nothing is granted; that a recorded decision is read is an entry.",
        who: Who::Person,
        parameters: &[],
        asks: Shape::Json(trial),
        answers: &[(200, "One receipt a case", Shape::Json(tried))],
    },
];

fn catalogue() -> Value {
    json!({
        "type": "object",
        "required": ["policy_version", "offers"],
        "properties": {
            "policy_version": { "type": "string" },
            "offers": { "type": "array", "items": { "type": "object", "required": ["action", "label", "callers"] } },
        },
    })
}

fn trial() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "text": { "type": "string", "description": "A test file, as in tests/*.toml" },
            "decision": { "type": "string", "description": "dec_…, gr_… or req_…" },
        },
    })
}

fn tried() -> Value {
    json!({
        "type": "object",
        "required": ["policy_version", "results", "findings"],
        "properties": {
            "policy_version": { "type": "string" },
            "results": { "type": "array", "items": { "type": "object", "required": ["case", "caller", "receipt"] } },
            "findings": { "type": "array", "items": { "type": "object", "required": ["line", "text"] } },
        },
    })
}
