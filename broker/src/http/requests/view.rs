//! A request in the API's words.

use serde_json::Value;
use stint_policy::Timestamp;
use stint_wire as wire;

use super::unreadable;
use crate::http::grants::{POLL_S, needs};
use crate::http::problem::Failure;
use crate::ids::DecisionId;
use crate::serve::App;
use crate::store::requests::State;
use crate::store::{RequestRow, VoteRow};

/// What became of a request by `now`, whether anybody wrote it down or not.
pub(crate) fn state(row: &RequestRow, now: Timestamp) -> State {
    let now = now.as_millis();
    match row.standing.state {
        State::Pending if row.expires <= now => State::Expired,
        State::Approved if row.standing.until.is_some_and(|until| until <= now) => State::Expired,
        state => state,
    }
}

/// What is said to one reader alone.
#[derive(Debug)]
pub(super) enum Beside {
    /// The digits.
    Asker,
    /// Whether they can decide it: why not, if not.
    Person(Option<String>),
}

/// All of it, as `beside` sees it.
pub(super) async fn view(
    app: &App,
    row: &RequestRow,
    beside: Beside,
) -> Result<wire::RequestView, Failure> {
    let broker = &app.broker;
    let now = broker.clock.now();
    let state = state(row, now);
    let votes = broker.votes_that_count(&row.id).await.map_err(unreadable)?;
    let seen = broker.store.seen_by(&row.id).await.map_err(unreadable)?;
    let mut said = Vec::with_capacity(votes.len());
    let mut refused = None;
    for vote in &votes {
        let name = name(app, &vote.person).await?;
        if !vote.yes {
            refused = Some(wire::RefusedView {
                by: name.clone(),
                reason: vote.note.clone(),
            });
        }
        said.push(vote_view(vote, name));
    }
    let ask: Value = serde_json::from_str(&row.ask).unwrap_or_default();
    let text = |pointer: &str| ask.pointer(pointer).and_then(Value::as_str);
    let resources = ask.pointer("/ask/resources").and_then(Value::as_array);
    let resources = resources.into_iter().flatten().filter_map(Value::as_str);
    let is_open = state == State::Pending;
    let asks = matches!(beside, Beside::Asker);
    let (can_decide, cannot_because) = match beside {
        Beside::Asker => (None, None),
        Beside::Person(why_not) => (Some(why_not.is_none()), why_not),
    };
    let url = format!("{}/a/{}", broker.terms.url, row.id);
    Ok(wire::RequestView {
        request: row.id.clone(),
        decision: DecisionId::of(&row.id),
        state: wire_state(state),
        action: text("/ask/action").unwrap_or_default().to_owned(),
        resources: resources.map(str::to_owned).collect(),
        caller: row.caller.clone(),
        task: row.task.clone(),
        reason: text("/reason").map(str::to_owned),
        opened_at: at(row.opened),
        expires_at: at(row.expires),
        until: row.standing.until.map(at),
        ended_at: row.standing.ended.map(at),
        needs: needs(row, &votes),
        votes: said,
        seen_by: seen
            .into_iter()
            .map(|seen| wire::SeenView {
                name: seen.name,
                at: at(seen.at),
            })
            .collect(),
        refused: refused.filter(|_| state == State::Denied),
        match_code: (is_open && asks && broker.terms.match_code).then(|| row.match_code.clone()),
        approve_url: url.clone(),
        retry_after_s: is_open.then_some(POLL_S),
        can_decide,
        cannot_because,
        next_action: wire::NextAction {
            kind: match state {
                State::Approved if asks => wire::NextKind::FreshEvidence,
                State::Pending => wire::NextKind::Wait,
                State::Approved => wire::NextKind::None,
                State::Cancelled | State::Expired => wire::NextKind::Retry,
                State::Denied => wire::NextKind::None,
            },
            command: None,
            url: is_open.then_some(url),
        },
    })
}

async fn name(app: &App, person: &str) -> Result<String, Failure> {
    let known = app.broker.store.person(person).await.map_err(unreadable)?;
    Ok(known.map_or_else(|| person.to_owned(), |row| row.name))
}

fn vote_view(vote: &VoteRow, by: String) -> wire::VoteView {
    wire::VoteView {
        vote: vote.id.clone(),
        by,
        yes: vote.yes,
        at: at(vote.at),
        lasts_s: vote.yes.then_some(vote.lasts),
    }
}

/// The state's word.
pub(crate) fn wire_state(state: State) -> wire::RequestState {
    match state {
        State::Approved => wire::RequestState::Approved,
        State::Cancelled => wire::RequestState::Cancelled,
        State::Denied => wire::RequestState::Denied,
        State::Expired => wire::RequestState::Expired,
        State::Pending => wire::RequestState::Pending,
    }
}

fn at(millis: i64) -> String {
    Timestamp::from_millis(millis).rfc3339()
}
