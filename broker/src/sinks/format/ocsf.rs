//! OCSF 1.7.0, the first version whose metadata can name an event by what it was before (`original_event_uid`).
//!
//! Decisions about callers are Authorize Session (3003), sign-ins are Authentication (3002), all else is API Activity
//! (6003); a heartbeat is a Base Event (0). `raw_data` is the header's exact bytes as a text, so the leaf hash can be
//! computed again; the body stands in `unmapped`.

use serde_json::{Value, json};
use stint_audit::Digest;

use super::{HEARTBEAT, Heartbeat, Read, Severity, member, open, severity};

/// The version of the schema these events are of.
pub const VERSION: &str = "1.7.0";

/// A class and an activity of it.
struct Class {
    category: u32,
    class: u32,
    activity: u32,
    name: &'static str,
}

pub(super) fn entry(read: &Read<'_>) -> Vec<u8> {
    let class = Class::of(read.kind());
    let mut event = base(&class, read.at().as_millis(), severity(read.kind()));
    put(&mut event, "metadata", metadata(read));
    put(&mut event, "message", json!(message(read)));
    put(&mut event, "raw_data", text(read.source.header));
    outcome(&mut event, read);
    match class.class {
        AUTHORIZE_SESSION => authorize(&mut event, read),
        AUTHENTICATION => authenticate(&mut event, read),
        _ => api(&mut event, read),
    }
    let unmapped = json!({ "prev": read.header.prev, "what": read.header.what });
    with_unmapped(&event, &unmapped, read.source.body)
}

pub(super) fn heartbeat(beat: &Heartbeat) -> Vec<u8> {
    let class = Class {
        category: 0,
        class: BASE_EVENT,
        activity: OTHER,
        name: "Heartbeat",
    };
    let mut event = base(&class, beat.at.as_millis(), Severity::Info);
    let uid = format!("{}{}{}", beat.at.as_millis(), beat.next, beat.checkpoint);
    put(
        &mut event,
        "metadata",
        json!({
            "version": VERSION, "product": product(), "log_name": *beat.log, "log_provider": "stintd",
            "event_code": HEARTBEAT, "uid": Digest::of(uid.as_bytes()),
        }),
    );
    let message = format!(
        "all entries before {} were sent; this is the log's signed head",
        beat.next
    );
    put(&mut event, "message", json!(message));
    put(&mut event, "raw_data", json!(*beat.checkpoint));
    with_unmapped(&event, &json!({ "next": beat.next }), None)
}

impl Class {
    fn of(kind: &str) -> Class {
        let new = |category, class, activity, name| Class {
            category,
            class,
            activity,
            name,
        };
        let api = |activity, name| new(6, API_ACTIVITY, activity, name);
        match kind {
            "granted" | "denied" | "requested" => new(3, AUTHORIZE_SESSION, 1, "Assign Privileges"),
            "login" => new(3, AUTHENTICATION, 1, "Logon"),
            "genesis" | "key_added" | "task_opened" | "voted" | "epoch" => api(1, "Create"),
            "config_loaded" | "frozen" | "unfrozen" | "policy_loaded" | "caller_disabled" => {
                api(3, "Update")
            }
            "erased" | "key_retired" | "revoked" | "request_closed" | "task_closed" => {
                api(4, "Delete")
            }
            _ => api(OTHER, "Other"),
        }
    }
}

fn base(class: &Class, time: i64, severity: Severity) -> Value {
    json!({
        "category_uid": class.category,
        "class_uid": class.class,
        "activity_id": class.activity,
        "activity_name": class.name,
        "type_uid": class.class * 100 + class.activity,
        "time": time,
        "severity_id": match severity {
            Severity::Info => 1,
            Severity::Notice => 2,
            Severity::Warning => 3,
            Severity::Critical => 5,
        },
    })
}

fn metadata(read: &Read<'_>) -> Value {
    let header = &read.header;
    let mut metadata = json!({
        "version": VERSION,
        "product": product(),
        "log_name": header.log,
        "log_provider": "stintd",
        "event_code": read.kind(),
        "uid": header.id,
        "sequence": header.seq,
        "original_event_uid": read.leaf,
    });
    if let Some(task) = read.fact("task") {
        put(&mut metadata, "correlation_uid", json!(task));
    }
    metadata
}

fn product() -> Value {
    json!({ "name": "Stint", "vendor_name": "Stint", "version": env!("CARGO_PKG_VERSION") })
}

fn message(read: &Read<'_>) -> String {
    match read.fact("why") {
        Some(why) => format!("{} {}: {why}", read.kind(), read.header.id),
        None => format!("{} {}", read.kind(), read.header.id),
    }
}

/// Success, failure, or open: people have not voted yet.
fn outcome(event: &mut Value, read: &Read<'_>) {
    let refused_policy = read.kind() == "policy_loaded" && read.header.what.get("ok").is_none();
    let (id, status) = match read.kind() {
        "denied" | "sign_failed" => (2, "Failure"),
        "requested" => (OTHER, "Pending"),
        _ if refused_policy => (2, "Failure"),
        _ => (1, "Success"),
    };
    put(event, "status_id", json!(id));
    put(event, "status", json!(status));
    if let Some(why) = read.fact("why") {
        put(event, "status_detail", json!(why));
    }
}

fn authorize(event: &mut Value, read: &Read<'_>) {
    put(event, "user", user(read, "caller"));
    // The class wants privileges or a group. What was asked stands in the body alone.
    put(event, "privileges", json!(privileges(read)));
    if read.kind() == "granted" {
        let mut session = json!({ "uid": read.header.id, "issuer": read.header.log });
        if let Some(exp) = read.header.what.get("exp") {
            put(&mut session, "expiration_time", exp.clone());
        }
        put(event, "session", session);
    }
    let source = json!({ "name": read.header.node, "svc_name": SERVICE });
    put(event, "dst_endpoint", source);
}

fn authenticate(event: &mut Value, read: &Read<'_>) {
    put(event, "user", user(read, "person"));
    put(event, "service", json!({ "name": SERVICE }));
}

fn api(event: &mut Value, read: &Read<'_>) {
    let actor = match &read.header.by {
        Some(by) => json!({ "user": { "uid": by } }),
        None => json!({ "app_name": "stintd" }),
    };
    put(event, "actor", actor);
    let api = json!({ "operation": read.kind(), "service": { "name": SERVICE } });
    put(event, "api", api);
    put(
        event,
        "src_endpoint",
        json!({ "name": read.header.node, "svc_name": SERVICE }),
    );
    if let Some(subj) = &read.header.subj {
        put(
            event,
            "resources",
            json!([{ "uid": subj, "type": "identity" }]),
        );
    }
}

/// Whom it is about: the pseudonym, and the name where the body says it.
fn user(read: &Read<'_>, member: &str) -> Value {
    let body = body(read);
    let mut user = json!({ "uid": read.header.subj.as_deref().unwrap_or_default() });
    let who = body.get("what").and_then(|what| what.get(member));
    if let Some(id) = who.and_then(|who| who.get("id")).and_then(Value::as_str) {
        put(&mut user, "name", json!(id));
    }
    let kind = who.and_then(|who| who.get("kind")).and_then(Value::as_str);
    // 1 is a person, 4 a service; 0 says that it is not known.
    let type_id = match (member, kind) {
        ("person", _) => 1,
        (_, Some("Workload" | "Agent")) => 4,
        (_, _) => 0,
    };
    put(&mut user, "type_id", json!(type_id));
    user
}

/// What was asked, where the body says it; else the sort of credential.
fn privileges(read: &Read<'_>) -> Vec<String> {
    let body = body(read);
    let query = body.get("what").and_then(|what| what.get("query"));
    let words = |name: &str| query.and_then(|query| query.get(name));
    let action = words("action").and_then(Value::as_str);
    let resources = words("resources").and_then(Value::as_array);
    let asked = action.zip(resources).map(|(action, resources)| {
        let resources = resources.iter().filter_map(Value::as_str);
        resources.map(|it| format!("{action} on {it}")).collect()
    });
    let unsaid = || vec![read.fact("cred").unwrap_or("withheld").to_owned()];
    asked
        .filter(|it: &Vec<_>| !it.is_empty())
        .unwrap_or_else(unsaid)
}

fn body(read: &Read<'_>) -> Value {
    let bytes = read.source.body.unwrap_or(b"{}");
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// The event with what the schema has no word for.
fn with_unmapped(event: &Value, unmapped: &Value, body: Option<&[u8]>) -> Vec<u8> {
    let mut inner = open(unmapped);
    if let Some(body) = body {
        member(&mut inner, "body", body);
    }
    inner.push(b'}');
    let mut line = open(event);
    member(&mut line, "unmapped", &inner);
    line.push(b'}');
    line
}

const BASE_EVENT: u32 = 0;
const AUTHENTICATION: u32 = 3002;
const AUTHORIZE_SESSION: u32 = 3003;
const API_ACTIVITY: u32 = 6003;
const OTHER: u32 = 99;
const SERVICE: &str = "stint";
