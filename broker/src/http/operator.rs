//! What operators do to a running broker, over its socket: freeze, disable, accept an issuer's keys. Each act is an entry
//! with who did it and why. A test notice is none: it changes nothing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use stint_wire as wire;

use super::extract::Strict;
use super::grants::answer;
use super::peer::Operator;
use super::problem::Failure;
use crate::ledger::Target;
use crate::notify::TestError;
use crate::serve::App;
use crate::trust::{Act, Done, Refused};

/// `POST /v1/freeze`.
pub(super) async fn freeze(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Freeze>,
) -> Result<Response, Failure> {
    let target = target(&ask)?;
    let act = act(operator, ask.reason)?;
    let broker = Arc::clone(&app.broker);
    let done = app.detached(async move { broker.freeze(target, act).await });
    told(done.await?)
}

/// `POST /v1/unfreeze`.
pub(super) async fn unfreeze(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Freeze>,
) -> Result<Response, Failure> {
    let target = target(&ask)?;
    let act = act(operator, ask.reason)?;
    let broker = Arc::clone(&app.broker);
    let done = app.detached(async move { broker.unfreeze(target, act).await });
    told(done.await?)
}

/// `POST /v1/callers/disable`.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(whom): Strict<wire::Whom>,
) -> Result<Response, Failure> {
    to_one(&app, operator, whom, Deed::Disable).await
}

/// `POST /v1/callers/enable`.
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(whom): Strict<wire::Whom>,
) -> Result<Response, Failure> {
    to_one(&app, operator, whom, Deed::Enable).await
}

/// `POST /v1/callers/reset-passkeys`.
pub(super) async fn reset_passkeys(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(whom): Strict<wire::Whom>,
) -> Result<Response, Failure> {
    to_one(&app, operator, whom, Deed::ResetPasskeys).await
}

/// What is done to one identity.
enum Deed {
    Disable,
    Enable,
    ResetPasskeys,
}

async fn to_one(
    app: &App,
    operator: Operator,
    whom: wire::Whom,
    deed: Deed,
) -> Result<Response, Failure> {
    let act = act(operator, whom.reason)?;
    let (broker, id) = (Arc::clone(&app.broker), whom.id);
    let done = app.detached(async move {
        match deed {
            Deed::Disable => broker.disable(&id, act).await,
            Deed::Enable => broker.enable(&id, act).await,
            Deed::ResetPasskeys => broker.reset_passkeys(&id, act).await,
        }
    });
    told(done.await?)
}

/// `POST /v1/issuers/accept`.
pub(super) async fn accept(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Accept>,
) -> Result<Response, Failure> {
    let act = act(operator, ask.reason)?;
    let broker = Arc::clone(&app.broker);
    let done = app.detached(async move { broker.accept_keys(&ask.issuer, act).await });
    told(done.await?)
}

/// `POST /v1/notify/test`: tries a receiver of notices. The answer says how that went; it is no fault of this request.
pub(crate) async fn test_notice(
    State(app): State<Arc<App>>,
    Strict(ask): Strict<wire::NoticeTest>,
) -> Result<Response, Failure> {
    let broker = Arc::clone(&app.broker);
    let sent = app.detached(async move { broker.test_notice(&ask.name).await });
    let (why, step) = match sent.await? {
        Ok(()) => (None, None),
        Err(unknown @ TestError::Unknown(_)) => {
            return Err(wire::Problem::new(wire::Code::NotFound, unknown.to_string()).into());
        }
        Err(TestError::Undelivered { why, step, .. }) => (Some(why), Some(step)),
    };
    let told = wire::NoticeTested {
        sent: why.is_none(),
        why,
        step: step.map(|step| step.as_str().to_owned()),
        next: step.map(|step| step.advice().to_owned()),
    };
    Ok(answer(StatusCode::OK, &told))
}

fn target(ask: &wire::Freeze) -> Result<Target, Failure> {
    match (ask.all, &ask.issuer) {
        (true, None) => Ok(Target::All),
        (false, Some(issuer)) => Ok(Target::Issuer(issuer.clone())),
        (true, Some(_)) | (false, None) => Err(invalid("say `all` or an `issuer`, one of the two")),
    }
}

fn act(operator: Operator, reason: String) -> Result<Act, Failure> {
    let readable = |c: char| !c.is_control();
    if reason.chars().count() > MAX_REASON || !reason.chars().all(readable) {
        return Err(invalid("`reason` is one line of at most 500 characters"));
    }
    let uid = operator.uid;
    Ok(Act { uid, reason })
}

fn told(done: Result<Done, Refused>) -> Result<Response, Failure> {
    let done = match done {
        Ok(Done::Already) => wire::Done {
            changed: false,
            seq: None,
        },
        Ok(Done::Recorded(seq)) => wire::Done {
            changed: true,
            seq: Some(seq),
        },
        Err(refused @ (Refused::Issuer(_) | Refused::Nobody(_))) => {
            return Err(wire::Problem::new(wire::Code::NotFound, refused.to_string()).into());
        }
        Err(refused @ (Refused::Passkey(_) | Refused::Record(_) | Refused::Store(_))) => {
            return Err(Failure::operator(refused.to_string()));
        }
    };
    Ok(answer(StatusCode::OK, &done))
}

fn invalid(detail: &str) -> Failure {
    wire::Problem::new(wire::Code::InvalidField, detail).into()
}

/// As long as the reason of an ask.
const MAX_REASON: usize = 500;
