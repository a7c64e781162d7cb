//! Requests: asks on hold, for those who asked and for people who have to do with them. Looking changes nothing, spends no evidence, and finds nothing that is
//! somebody else's: a foreign id and an unknown one read alike.

mod asker;
mod reader;
pub(crate) mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use stint_wire::{self as wire, Code, Problem};
use tokio::sync::watch;

use super::grants::{POLL_S, answer};
use super::listen::phase::Phase;
use super::problem::{Failure, not_found};
use super::routes::Routes;
use crate::clock::Stopwatch;
use crate::issue::Error;
use crate::ledger;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::RequestRow;
use crate::store::requests::State as Came;

use reader::{Reader, Seer, may_cancel};

/// `/v1/requests…`
pub(crate) fn routes() -> Routes {
    Routes::default()
        .get("/v1/requests", list)
        .get("/v1/requests/{id}", look)
        .post("/v1/requests/{id}/cancel", cancel)
}

/// What waits for people, as far as this one has to do with it: the one that ends first in front.
async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    reader: Reader,
) -> Result<Response, Failure> {
    let Reader::Person(visitor) = reader else {
        return Err(Failure::login(
            "people have a list: sign in; a run knows its requests",
        ));
    };
    let after = after(query.as_deref().unwrap_or_default())?;
    let (rows, next) = reader::page(&app, &visitor, (after, PAGE)).await?;
    let mut requests = Vec::with_capacity(rows.len());
    for (row, beside) in rows {
        requests.push(view::view(&app, &row, beside).await?);
    }
    let list = wire::RequestList { requests, next };
    Ok(answer(StatusCode::OK, &list))
}

/// Where a request stands; with `wait_s` as soon as something happened to it.
async fn look(
    State(app): State<Arc<App>>,
    Extension(phase): Extension<watch::Receiver<Phase>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    reader: Reader,
) -> Result<Response, Failure> {
    let watch = Stopwatch::start();
    let wait = wait(query.as_deref().unwrap_or_default())?;
    let (row, seer) = reader.sees(&app, &id, watch).await?;
    let row = match wait {
        Duration::ZERO => row,
        _ => settled(&app, row, (wait, phase)).await?,
    };
    let view = view::view(&app, &row, seer.beside(&app, &row).await?).await?;
    let mut response = answer(StatusCode::OK, &view);
    if view.retry_after_s.is_some() {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(POLL_S));
    }
    Ok(response)
}

/// Takes a request back: nobody can decide it any more, and what was approved is not. Once more is as good as once.
async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Failure> {
    let (row, seer) = reader.sees(&app, &id, Stopwatch::start()).await?;
    let by = match &seer {
        Seer::Asker => None,
        Seer::Person(visitor) if may_cancel(&row, visitor) => Some(&**visitor),
        Seer::Person(_) => {
            let detail = "whoever asked takes it back, or an operator; you can say no to it";
            return Err(Problem::new(Code::NotEligible, detail).into());
        }
    };
    taken_back(&app, &row, by).await?;
    let row = find(&app, &id).await?;
    if matches!(row.standing.state, Came::Denied | Came::Expired) {
        let mut ended = Problem::new(
            Code::StateConflict,
            format!("the request is {} already", row.standing.state.as_str()),
        );
        ended.request = Some(row.id);
        return Err(ended.into());
    }
    let beside = seer.beside(&app, &row).await?;
    Ok(answer(
        StatusCode::OK,
        &view::view(&app, &row, beside).await?,
    ))
}

/// Cancels what still stands. Detached: a client that hangs up cuts nothing.
pub(super) async fn taken_back(
    app: &Arc<App>,
    row: &RequestRow,
    by: Option<&Visitor>,
) -> Result<(), Failure> {
    let stands = matches!(row.standing.state, Came::Approved | Came::Pending);
    if !stands || row.standing.spent {
        return Ok(());
    }
    let (broker, row, by) = (Arc::clone(&app.broker), row.clone(), by.cloned());
    let done = app.detached(async move { broker.cancel(&row, by.as_ref()).await });
    match done.await? {
        Ok(()) | Err(ledger::Error::Lost(_)) => Ok(()),
        Err(error) => Err(Error::Unavailable(error).into()),
    }
}

/// The request once something about it is another, at the latest after `wait`, and at once when the process drains.
async fn settled(
    app: &Arc<App>,
    row: RequestRow,
    (wait, mut phase): (Duration, watch::Receiver<Phase>),
) -> Result<RequestRow, Failure> {
    let first = Stamp::of(app, &row).await?;
    if first.state != Came::Pending {
        return Ok(row);
    }
    let drains = phase.wait_for(|phase| *phase >= Phase::Draining);
    tokio::select! {
        () = another(app, &row.id, &first) => {}
        _ = drains => {}
        () = tokio::time::sleep(wait) => {}
    }
    find(app, &row.id).await
}

/// What a reader waits for to be another.
#[derive(PartialEq, Eq)]
struct Stamp {
    state: Came,
    votes: i64,
    seen: usize,
}

impl Stamp {
    async fn of(app: &App, row: &RequestRow) -> Result<Stamp, Failure> {
        let seen = app
            .broker
            .store
            .seen_by(&row.id)
            .await
            .map_err(unreadable)?;
        Ok(Stamp {
            state: view::state(row, app.broker.clock.now()),
            votes: row.standing.votes,
            seen: seen.len(),
        })
    }
}

/// Returns when the request is not as it was `first`. An entry of our own wakes us; another replica's is found by looking.
async fn another(app: &App, id: &str, first: &Stamp) {
    let mut published = app.broker.ledger.watch_published();
    loop {
        let wake = async {
            if published.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        drop(tokio::time::timeout(TICK, wake).await);
        tokio::time::sleep(REST).await;
        let Ok(row) = find(app, id).await else { return };
        match Stamp::of(app, &row).await {
            Ok(now) if now == *first => {}
            Ok(_) | Err(_) => return,
        }
    }
}

async fn find(app: &App, id: &str) -> Result<RequestRow, Failure> {
    match app.broker.store.request(id).await.map_err(unreadable)? {
        Some(row) => Ok(row),
        None => Err(not_found().await),
    }
}

/// Whoever asked looks at a request: the store's faults are not theirs to know.
pub(crate) fn unreadable(error: crate::store::Error) -> Failure {
    tracing::error!(%error, "the store cannot be read");
    Error::Unavailable(ledger::Error::Unwritable).into()
}

/// `wait_s=N`, 30 at most, and nothing else.
fn wait(query: &str) -> Result<Duration, Failure> {
    let wrong = || {
        let detail = "`wait_s` is 0 to 30, and nothing else is asked here";
        Failure::from(Problem::new(Code::InvalidField, detail))
    };
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    match (pairs.next(), pairs.next()) {
        (None, _) => Ok(Duration::ZERO),
        (Some(pair), None) => {
            let seconds = pair.strip_prefix("wait_s=").ok_or_else(wrong)?;
            let seconds: u64 = seconds.parse().map_err(|_number| wrong())?;
            let wait = Duration::from_secs(seconds);
            (wait <= LONGEST).then_some(wait).ok_or_else(wrong)
        }
        (Some(_), Some(_)) => Err(wrong()),
    }
}

/// `after=` as the page before said `next`, and nothing else.
fn after(query: &str) -> Result<Option<(i64, String)>, Failure> {
    if query.is_empty() {
        return Ok(None);
    }
    let place = query.strip_prefix("after=").and_then(|place| {
        let (expires, id) = place.split_once('-')?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let plain = id.len() <= 64 && id.bytes().all(legal);
        Some((expires.parse().ok()?, plain.then(|| id.to_owned())?))
    });
    place.map(Some).ok_or_else(|| {
        let detail = "`after` is the `next` of the page before, and nothing else is asked here";
        Problem::new(Code::InvalidField, detail).into()
    })
}

/// How many requests are on a page.
const PAGE: usize = 100;
/// UX.md §4.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// How long another replica's entry may go unseen.
const TICK: Duration = Duration::from_secs(1);
/// However busy the ledger is, nobody who waits reads more often than this.
const REST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::wait;

    #[test]
    fn a_wait_is_thirty_seconds_at_most() {
        assert_eq!(wait("").unwrap(), Duration::ZERO);
        assert_eq!(wait("wait_s=30").unwrap(), Duration::from_secs(30));
        for wrong in [
            "wait_s=31",
            "wait_s=",
            "wait_s=-1",
            "wait=1",
            "wait_s=1&wait_s=1",
            "x",
        ] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
    }
}
