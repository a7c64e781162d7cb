//! The lists of the console as JSON: what a page shows, its reader sees here too, and nothing else. The filters are those of
//! the page's URL; what is not known is refused, where a page leaves it aside.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use stint_policy::Timestamp;
use stint_wire::{self as wire, Code, Problem};

use super::asked::Asked;
use super::callers::{self, Known};
use super::layout::Trouble;
use super::sight::Sight;
use super::{grants as granted, tasks as worked};
use crate::http::grants::answer;
use crate::http::problem::Failure;
use crate::http::requests::unreadable;
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{GrantLine, TaskLine};

/// `GET /v1/grants`
pub(crate) async fn grants(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = Asked::strictly(query.as_deref(), GRANTS)?;
    asked.one_of("standing", &["", "live"])?;
    match asked.get("standing") {
        "live" => placed(&asked, asked.place())?,
        _ => placed(&asked, asked.after_number())?,
    }
    let sight = Sight::of(&app, &visitor).await.map_err(unreadable)?;
    let now = app.broker.clock.now();
    let (rows, next) = granted::page(&app, &sight, &asked, now).await?;
    let grants = rows.into_iter().map(grant).collect();
    Ok(answer(StatusCode::OK, &wire::GrantList { grants, next }))
}

/// `GET /v1/tasks`
pub(super) async fn tasks(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = Asked::strictly(query.as_deref(), &["after"])?;
    placed(&asked, asked.place())?;
    let sight = Sight::of(&app, &visitor).await.map_err(unreadable)?;
    let (rows, next) = worked::page(&app, &sight, &asked).await?;
    let tasks = rows.into_iter().map(task).collect();
    Ok(answer(StatusCode::OK, &wire::TaskList { tasks, next }))
}

/// `GET /v1/callers`
pub(super) async fn callers(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = Asked::strictly(query.as_deref(), &["after", "find", "issuer"])?;
    asked.one_of("find", &["", "no-owner", "unused-30", "unused-90"])?;
    let sight = Sight::of(&app, &visitor).await.map_err(unreadable)?;
    let now = app.broker.clock.now();
    let (known, next) = callers::page(&app, &sight, &asked, now).await?;
    let callers = known.into_iter().map(caller).collect();
    Ok(answer(StatusCode::OK, &wire::CallerList { callers, next }))
}

/// Where a page begins is as the page before said, or it would begin at the start again.
fn placed<T>(asked: &Asked, read: Option<T>) -> Result<(), Failure> {
    match (asked.is_later(), read) {
        (true, None) => {
            let detail = "`after` is the `next` of the page before";
            Err(Problem::new(Code::InvalidField, detail).into())
        }
        (true, Some(_)) | (false, _) => Ok(()),
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::from(*trouble.0)
    }
}

fn at(millis: i64) -> String {
    Timestamp::from_millis(millis).rfc3339()
}

fn grant(row: GrantLine) -> wire::GrantSeen {
    wire::GrantSeen {
        grant: row.id,
        task: row.task,
        caller: row.caller,
        action: (!row.action.is_empty()).then_some(row.action),
        credential: row.kind,
        serial_or_jti: row.unique,
        granted_at: row.at.map(at),
        expires_at: at(row.until),
        ledger: wire::Place { seq: row.seq },
    }
}

fn task(row: TaskLine) -> wire::TaskSeen {
    wire::TaskSeen {
        task: row.id,
        name: row.name,
        source: row.source,
        initiator: row.initiator,
        opened_at: at(row.opened),
        ends_at: row.deadline.map(at),
        grants: row.grants.unsigned_abs(),
        denials: row.denials.unsigned_abs(),
    }
}

fn caller(it: Known) -> wire::CallerSeen {
    wire::CallerSeen {
        caller: it.line.id,
        kind: it.line.kind,
        issuer: it.line.issuer,
        owner: it.owner,
        first_seen_at: at(it.line.first),
        granted_at: it.seen.granted.map(at),
        denied_at: it.seen.denied.map(at),
        held_at: it.seen.requested.map(at),
    }
}

const GRANTS: &[&str] = &[
    "action", "after", "caller", "from", "standing", "task", "to",
];
