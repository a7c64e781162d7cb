//! Who looks at a request: whoever asked, or somebody who is signed in and has to do with it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};

use super::asker::Asker;
use super::view::{self, Beside};
use super::{find, unreadable};
use crate::approve::Eligible;
use crate::clock::Stopwatch;
use crate::http::problem::{Failure, not_found};
use crate::http::session::{Acting, Maybe, shown};
use crate::people::Visitor;
use crate::serve::App;
use crate::store::RequestRow;
use crate::store::requests::State;

/// One of them.
#[derive(Debug)]
pub(super) enum Reader {
    Asker(Asker),
    Person(Box<Visitor>),
}

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let session = shown(&parts.headers, app);
        if session && parts.method == Method::POST {
            let Acting(visitor) = Acting::from_request_parts(parts, app).await?;
            return Ok(Self::Person(Box::new(visitor)));
        }
        if session {
            let Maybe(visitor) = Maybe::from_request_parts(parts, app).await?;
            let over = || Failure::login("the session is over: sign in again").into_response();
            let visitor = visitor.ok_or_else(over)?;
            return Ok(Self::Person(Box::new(visitor)));
        }
        let asker = Asker::from_request_parts(parts, app).await;
        asker.map(Self::Asker).map_err(|it| it.into_response())
    }
}

impl Reader {
    /// The request `id`, if they may see it, and what is said to this reader alone.
    ///
    /// # Errors
    /// The 404 of any unknown id, too many looks, or why the evidence does not hold.
    pub(super) async fn sees(
        self,
        app: &Arc<App>,
        id: &str,
        watch: Stopwatch,
    ) -> Result<(RequestRow, Seer), Failure> {
        match self {
            Self::Asker(asker) => Ok((asker.own(app, id, watch).await?, Seer::Asker)),
            Self::Person(visitor) => {
                let row = find(app, id).await?;
                match beside(app, &row, &visitor) {
                    Some(_) => Ok((row, Seer::Person(visitor))),
                    None => Err(not_found().await),
                }
            }
        }
    }
}

/// A reader who may see one request.
#[derive(Debug)]
pub(super) enum Seer {
    Asker,
    Person(Box<Visitor>),
}

impl Seer {
    /// What is said to this reader alone.
    pub(super) async fn beside(&self, app: &App, row: &RequestRow) -> Result<Beside, Failure> {
        match self {
            Self::Asker => Ok(Beside::Asker),
            Self::Person(visitor) => match beside(app, row, visitor) {
                Some(beside) => Ok(beside),
                None => Err(not_found().await),
            },
        }
    }
}

/// Whether somebody has to do with a request, and whether they can decide it: those who are asked, those whose own it is,
/// whose groups own its caller, and those who read everything.
pub(super) fn beside(app: &App, row: &RequestRow, visitor: &Visitor) -> Option<Beside> {
    if !app.broker.concerns(row, visitor) {
        return None;
    }
    let why = match app.broker.eligible(row, visitor) {
        Eligible::Yes(_) => None,
        Eligible::No(why) => Some(why),
    };
    let came = view::state(row, app.broker.clock.now());
    Some(Beside::Person(match (came, why) {
        (State::Pending, why) => why.map(|why| why.to_string()),
        (ended, _) => Some(format!("it is {}", ended.as_str())),
    }))
}

/// Whether this person may take it back: an operator may, and whoever started it.
pub(super) fn may_cancel(row: &RequestRow, visitor: &Visitor) -> bool {
    visitor.roles.operator || row.is_own(&visitor.id)
}

/// A page of what a person has to do with: at most `most`, and where the next page begins.
pub(super) async fn page(
    app: &App,
    visitor: &Visitor,
    (mut after, most): (Option<(i64, String)>, usize),
) -> Result<(Vec<(RequestRow, Beside)>, Option<String>), Failure> {
    let now = app.broker.clock.now().as_millis();
    let mut found = Vec::new();
    loop {
        let (expires, id) = after.unwrap_or((now, String::new()));
        let rows = app
            .broker
            .store
            .open_after(now, (expires, &id), BATCH)
            .await;
        let rows = rows.map_err(unreadable)?;
        let Some(last) = rows.last().map(|row| (row.expires, row.id.clone())) else {
            return Ok((found, None));
        };
        for row in rows {
            if let Some(beside) = beside(app, &row, visitor) {
                let place = format!("{}-{}", row.expires, row.id);
                found.push((row, beside));
                if found.len() == most {
                    return Ok((found, Some(place)));
                }
            }
        }
        after = Some(last);
    }
}

/// How many rows are read at once.
const BATCH: i64 = 200;
