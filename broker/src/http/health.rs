//! Whether the broker lives, and whether it can grant: for operators only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::grants::answer;
use super::problem::Failure;
use crate::authenticate::source::HealthState;
use crate::ledger::State as LedgerState;
use crate::policies::Reload;
use crate::serve::App;

/// `GET /healthz`: the process answers, nothing more.
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: 200 if grants can be made, else 503; each check with its code and detail.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let checks = checks(&app);
    let fatal = |check: &Value| check["fatal"] == json!(true) && check["ok"] == json!(false);
    let status = if checks.iter().any(fatal) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    answer(status, &checks)
}

fn checks(app: &App) -> Vec<Value> {
    let ledger = app.broker.ledger.state();
    let detail = match &ledger {
        LedgerState::Diverged(why) | LedgerState::Full(why) | LedgerState::Unknown(why) => {
            why.clone()
        }
        LedgerState::Open => format!("{} entries", app.broker.ledger.published().size),
    };
    let ok = ledger == LedgerState::Open;
    let mut checks = vec![
        json!({"check": "ledger", "fatal": true, "ok": ok, "code": ledger.code(), "detail": detail}),
    ];
    let policy = app.broker.policies.refused();
    checks.push(json!({
        "check": "policy", "fatal": false, "ok": policy.is_none(),
        "code": if policy.is_some() { "policy_refused" } else { "ok" },
        "detail": policy.as_deref().unwrap_or("the newest files decide"),
    }));
    for issuer in app.broker.roster.health(app.broker.clock.now()) {
        let ok = issuer.state != HealthState::Expired && issuer.error.is_none();
        let (state, keys) = (issuer.state, issuer.keys);
        checks.push(json!({
            "check": format!("issuer {}", issuer.issuer), "fatal": false, "ok": ok,
            "code": if ok { "ok" } else { "issuer_unavailable" },
            "detail": issuer.error.unwrap_or_else(|| format!("{state:?}, {keys} keys")),
        }));
    }
    checks
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
