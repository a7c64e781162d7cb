//! What pages and people's own programs ask for besides.

use serde_json::{Value, json};
use stint_wire as wire;

use super::rows::{Parameter, Row, Shape, Who};

/// The catalogue, what changes, lists, and what is to be tried: policies, receivers of notices.
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
        method: "get",
        path: "/v1/grants",
        id: "grants",
        about: "What was granted, as far as the reader may see it: newest first",
        who: Who::Person,
        parameters: &[
            Parameter {
                place: "query",
                name: "standing",
                about: "`live`: those that have not ended, the next to end first",
                pattern: "^live$",
            },
            query("caller", "Of this caller: a SPIFFE ID"),
            query("action", "Of this bare action"),
            query("task", "In this task"),
            query("from", "Recorded at this time, day or entry, or later"),
            query("to", "Recorded before"),
            query("after", "`next` of the page before"),
        ],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A page of them",
            Shape::Wire(|to| to.subschema_for::<wire::GrantList>()),
        )],
    },
    Row {
        method: "get",
        path: "/v1/tasks",
        id: "tasks",
        about: "Units of work that the reader started, or all of them: newest first",
        who: Who::Person,
        parameters: &[query("after", "`next` of the page before")],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A page of them",
            Shape::Wire(|to| to.subschema_for::<wire::TaskList>()),
        )],
    },
    Row {
        method: "get",
        path: "/v1/callers",
        id: "callers",
        about: "Who asked, of the reader's groups or at all, with owner and last use: by name",
        who: Who::Person,
        parameters: &[
            query("issuer", "Of this `[issuer.NAME]`"),
            Parameter {
                place: "query",
                name: "find",
                about: "Without an owner, or granted nothing for so many days",
                pattern: "^(no-owner|unused-30|unused-90)$",
            },
            query("after", "`next` of the page before"),
        ],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A page of them",
            Shape::Wire(|to| to.subschema_for::<wire::CallerList>()),
        )],
    },
    Row {
        method: "post",
        path: "/v1/notify/test",
        id: "testNotice",
        about: "Send a test to a receiver of notices, for operators; the answer says how far it came",
        who: Who::Person,
        parameters: &[],
        asks: Shape::Wire(|to| to.subschema_for::<wire::NoticeTest>()),
        answers: &[(
            200,
            "How it went",
            Shape::Wire(|to| to.subschema_for::<wire::NoticeTested>()),
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

const fn query(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        place: "query",
        name,
        about,
        pattern: "^.{1,1024}$",
    }
}

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
