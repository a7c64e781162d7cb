//! Whether the broker lives, and whether it can grant: for operators only (UX.md §10).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use stint_policy::Timestamp;

use super::grants::answer;
use super::problem::Failure;
use crate::authenticate::source::Health;
use crate::ledger::{State as LedgerState, Target};
use crate::notify::Standing;
use crate::policies::Reload;
use crate::serve::App;
use crate::sinks::{Health as Sink, Place};

/// Since when each check reads what it reads. What was never asked began when it was first asked.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<String, (String, Timestamp)>>);

/// One line of `/readyz`.
struct Check {
    name: String,
    /// Whether the broker cannot grant at all while it fails.
    fatal: bool,
    /// `ok`, or the closed word of what is wrong.
    code: &'static str,
    detail: String,
    /// Since when, where the part itself knows.
    since: Option<Timestamp>,
    /// What there is to say besides.
    more: Map<String, Value>,
}

/// `GET /healthz`: the process answers, nothing more.
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: 200 if grants can be made, else 503. Issuers that are well are told of with `?verbose` only; one of them
/// alone is never fatal.
pub(super) async fn ready(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let fatal = |check: &Value| check["fatal"] == json!(true) && check["ok"] == json!(false);
    let mut checks = checks(&app);
    checks.extend(notices(&app).await);
    let status = match checks.iter().any(fatal) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    let verbose = query.is_some_and(|query| query.split('&').any(is_verbose));
    if !verbose {
        let many = ["issuer", "notify", "sink"];
        let of_many = |check: &Value| many.iter().any(|word| check.get(word).is_some());
        checks.retain(|check| !of_many(check) || check["ok"] == json!(false));
    }
    answer(status, &checks)
}

fn is_verbose(word: &str) -> bool {
    matches!(word, "verbose" | "verbose=" | "verbose=1" | "verbose=true")
}

/// All checks: `check fatal ok code detail since`, of issuers `issuer state keys age_s error` besides, of sinks `sink lag`.
pub(crate) fn checks(app: &App) -> Vec<Value> {
    let now = app.broker.clock.now();
    let mut checks = vec![ledger(app), policy(app), frozen(app)];
    checks.extend(witnesses(app));
    let health = app.broker.roster.health(now);
    checks.extend(health.into_iter().map(issuer));
    checks.extend(app.sinks.each().map(|it| sink(app, it)));
    checks
        .into_iter()
        .map(|check| app.memory.told(check, now))
        .collect()
}

fn ledger(app: &App) -> Check {
    let state = app.broker.ledger.state();
    let detail = match &state {
        LedgerState::Closed(why)
        | LedgerState::Diverged(why)
        | LedgerState::Full(why)
        | LedgerState::Halted(_, why)
        | LedgerState::Unknown(why) => why.clone(),
        LedgerState::Open => format!("{} entries", app.broker.ledger.published().size),
    };
    Check {
        fatal: true,
        ..Check::new("ledger", state.code(), detail)
    }
}

fn policy(app: &App) -> Check {
    match app.broker.policies.refused() {
        Some(why) => Check::new("policy", "policy_refused", why.to_string()),
        None => Check::new("policy", "ok", "the newest files decide".to_owned()),
    }
}

/// A freeze is what somebody wanted, so it is not fatal; and it is never to be overlooked.
fn frozen(app: &App) -> Check {
    let frozen = app.broker.ledger.frozen();
    let name = |target: &Target| match target {
        Target::All => "everything".to_owned(),
        Target::Issuer(issuer) => format!("issuer {issuer}"),
    };
    let targets: Vec<_> = frozen.targets().map(name).collect();
    match targets.is_empty() {
        true => Check::new("frozen", "ok", "nothing".to_owned()),
        false => Check::new("frozen", "frozen", targets.join(", ")),
    }
}

fn issuer(health: Health) -> Check {
    let mut more = Map::new();
    more.insert("issuer".to_owned(), json!(health.issuer));
    more.insert("state".to_owned(), json!(health.state.as_str()));
    more.insert("keys".to_owned(), json!(health.keys));
    more.insert("age_s".to_owned(), json!(health.age_s));
    more.insert("error".to_owned(), json!(health.error_class));
    let mut detail = format!("{}, {} keys", health.state.as_str(), health.keys);
    if let Some(age) = health.age_s {
        detail = format!("{detail}, {age} s old");
    }
    if let Some(error) = &health.error {
        detail = format!("{detail}; {error}");
    }
    Check {
        since: health.since,
        more,
        ..Check::new(&format!("issuer {}", health.issuer), health.code(), detail)
    }
}

/// Witnesses that are silent stop nothing by themselves: where they do, the ledger's own check says so.
fn witnesses(app: &App) -> Option<Check> {
    let seen = app.broker.ledger.seen();
    if seen.witnesses.is_empty() {
        return None;
    }
    let trouble =
        |(name, why): &(Arc<str>, Option<String>)| Some(format!("{name}: {}", why.as_deref()?));
    let troubled: Vec<_> = seen.witnesses.iter().filter_map(trouble).collect();
    let asked = seen.witnesses.len();
    let mut detail = format!("{} of {asked} cosigned", asked - troubled.len());
    for why in &troubled {
        detail = format!("{detail}; {why}");
    }
    let now = app.broker.clock.now();
    let code = if seen.is_fresh(now) {
        "ok"
    } else {
        "unwitnessed"
    };
    Some(Check::new("witnesses", code, detail))
}

/// A sink that fails lags, and never keeps a grant from being made.
fn sink(app: &App, sink: &Sink) -> Check {
    let (next, lag) = (sink.next(), lag(app, sink));
    let (code, detail) = match sink.place() {
        Place::Here => ("ok", format!("entry {next} is next, {lag} behind")),
        Place::Elsewhere => ("ok", format!("another replica sends; {lag} behind")),
        Place::Stuck(why) => (
            "sink_stuck",
            format!("{lag} behind, entry {next} is next: {why}"),
        ),
    };
    let mut more = Map::new();
    more.insert("sink".to_owned(), json!(sink.name()));
    more.insert("lag".to_owned(), json!(lag));
    Check {
        more,
        ..Check::new(&format!("sink {}", sink.name()), code, detail)
    }
}

/// How receivers of notices do, by what all replicas wrote down; none if that cannot be read at once.
async fn notices(app: &App) -> Vec<Value> {
    let broker = &app.broker;
    let read = broker.notifier.standings(&broker.store);
    let standings = tokio::time::timeout(SOON, read).await;
    let standings = standings.ok().and_then(Result::ok).unwrap_or_default();
    let now = broker.clock.now();
    let told = |it: Standing| app.memory.told(notice(it), now);
    standings.into_iter().map(told).collect()
}

/// A receiver that fails keeps nobody from asking or deciding.
fn notice(Standing { name, kind, row }: Standing) -> Check {
    let waiting = format!("{kind}, {} notices wait", row.waiting);
    let (code, detail) = match row.error {
        Some(why) if row.failed > row.sent => ("notices_fail", format!("{waiting}: {why}")),
        Some(_) | None => ("ok", waiting),
    };
    let mut more = Map::new();
    more.insert("notify".to_owned(), json!(name));
    let at = |millis: i64| Timestamp::from_millis(millis).rfc3339();
    more.insert("sent".to_owned(), json!(row.sent.map(at)));
    more.insert("failed".to_owned(), json!(row.failed.map(at)));
    Check {
        more,
        ..Check::new(&format!("notify {name}"), code, detail)
    }
}

/// Entries that a sink has not been sent.
pub(super) fn lag(app: &App, sink: &Sink) -> u64 {
    app.broker
        .ledger
        .published()
        .size
        .saturating_sub(sink.next())
}

impl Check {
    fn new(name: &str, code: &'static str, detail: String) -> Check {
        Check {
            name: name.to_owned(),
            fatal: false,
            code,
            detail,
            since: None,
            more: Map::new(),
        }
    }
}

impl Memory {
    fn told(&self, check: Check, now: Timestamp) -> Value {
        let since = self.since(&check.name, check.code, now);
        let mut told = json!({
            "check": check.name,
            "fatal": check.fatal,
            "ok": check.code == "ok",
            "code": check.code,
            "detail": check.detail,
            "since": check.since.unwrap_or(since).rfc3339(),
        });
        if let Some(members) = told.as_object_mut() {
            members.extend(check.more);
        }
        told
    }

    fn since(&self, name: &str, code: &str, now: Timestamp) -> Timestamp {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some((before, since)) if before == code => *since,
            Some(_) | None => {
                known.insert(name.to_owned(), (code.to_owned(), now));
                now
            }
        }
    }
}

/// `POST /v1/policy/reload` on the operator socket: the answer is the version that now decides.
pub(super) async fn reload(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let reload = Arc::clone(&app);
    let done = app
        .detached(async move { reload.reload().await })
        .await?
        .map_err(|refused| Failure::operator(refused.to_string()))?;
    let (changed, pol) = match done {
        Reload::Same(pol) => (false, pol),
        Reload::Taken(pol) => (true, pol),
    };
    Ok(answer(
        StatusCode::OK,
        &json!({ "policy_version": pol.to_string(), "changed": changed }),
    ))
}

/// For what the database says besides: whether a broker can grant is told without it.
const SOON: std::time::Duration = std::time::Duration::from_secs(1);
