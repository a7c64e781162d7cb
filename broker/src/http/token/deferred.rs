//! A deferred answer: people are asked first, and the client comes back for what they said
//! (draft-ietf-oauth-deferred-token-response; PROTOCOLS.md §3.5).
//!
//! The handle is good with the key that asked and with no other. The key alone may poll; what redeems it is a fresh token
//! of the same run, and the walk that follows is the walk of any ask. A client that never said that it takes a deferred
//! answer never gets one.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use stint_audit::Digest;
use stint_policy::Timestamp;
use stint_wire::drafts::{COMPLETION_MODE, DEFERRAL_CODE};
use stint_wire::oauth::{Deferred, JWT_BEARER, OAuthError};
use stint_wire::{Code, NextAction, NextKind, Problem, Token};

use super::form::Form;
use super::parked::Parked;
use super::{Shown, given, once_more, proof, view};
use crate::authenticate::{Caller, Evidence, Proof, dpop};
use crate::clock::Stopwatch;
use crate::config::Secret;
use crate::http::evidence::peer_of;
use crate::http::extract::{certificates, handshake};
use crate::http::grants::{evenly, needs, remember};
use crate::http::problem::oauth::Refused;
use crate::http::requests::{unreadable, view::state};
use crate::issue::{Error, Held, Outcome, Presented};
use crate::ledger;
use crate::random;
use crate::serve::App;
use crate::store::deferrals::{Change, CodeState, DeferralRow};
use crate::store::requests::State;
use crate::store::{RequestRow, Write};
use crate::telemetry::trail;

/// Hands out a code for an ask on hold.
pub(super) async fn open(
    app: &App,
    held: Held,
    (parked, key): (&Parked, [u8; 32]),
) -> Result<Response, Refused> {
    let broker = &app.broker;
    let (row, now) = (held.request, broker.clock.now());
    remember(broker, &row, Some(key)).await?;
    let code = BASE64URL_NOPAD.encode(&random::bytes::<20>());
    let deferral = DeferralRow {
        hash: hash(&code),
        request: row.id.clone(),
        client: row.caller.clone(),
        key: Digest::from_bytes(key).to_string(),
        form: parked.text(),
        asked: now.as_millis(),
        pace: INTERVAL_S,
        hasty: 0,
        until: row.expires,
        state: CodeState::Open,
    };
    change(app, Change::Open(deferral))
        .await
        .map_err(unavailable)?;
    let votes = broker.votes_that_count(&row.id).await.map_err(unreadable)?;
    let url = format!("{}/a/{}", broker.terms.url, row.id);
    let mut problem = waiting(
        &row.id,
        "people have to approve it: ask again with the deferral_code",
    );
    problem.next_action = Some(next(NextKind::Wait, Some(url.clone())));
    Err(
        Refused::with(OAuthError::AuthorizationPending, problem).deferred(Deferred {
            deferral_code: Token::new(code),
            expires_in: (row.expires - now.as_millis()).max(0) / 1000,
            interval: u32::try_from(INTERVAL_S).unwrap_or(u32::MAX),
            interaction_uri: url.starts_with("https:").then(|| url.clone()),
            match_code: broker.terms.match_code.then(|| row.match_code.clone()),
            needs: needs(&row, &votes),
            approve_url: url,
        }),
    )
}

/// One who comes back for the answer: the key that was proved, and the evidence, if any was sent.
struct Client {
    key: [u8; 32],
    dpop: Option<dpop::Checked>,
    evidence: Option<Evidence>,
}

/// A poll. Checked in the order of PROTOCOLS.md §3.5: who it is, whose the code is, where the request stands.
pub(super) async fn poll(
    app: &Arc<App>,
    (headers, extensions): (&HeaderMap, &Extensions),
    mut form: Form,
    watch: Stopwatch,
) -> Result<Response, Refused> {
    let client = client(app, (headers, extensions), &mut form)?;
    let Some(code) = form.take_out(DEFERRAL_CODE) else {
        return Err(invalid("`deferral_code` is missing"));
    };
    unchanged(&form)?;
    let now = app.broker.clock.now();
    let caller = match &client.evidence {
        None => None,
        Some(evidence) => Some(authenticated(app, evidence, watch).await?),
    };
    let (code, row) = known(app, &code, (&client, caller.as_ref())).await?;
    if form
        .get("client_id")
        .is_some_and(|client| client != code.client)
    {
        return Err(Refused::form(
            OAuthError::InvalidClient,
            "`client_id` is not this client",
        ));
    }
    let came = state(&row, now);
    match (came, code.state) {
        (State::Pending, _) if code.until <= now.as_millis() => Err(expired(&row)),
        (State::Pending | State::Approved, CodeState::Cancelled) | (State::Cancelled, _) => {
            Err(denied(&row, "it was taken back".to_owned()))
        }
        (State::Denied, _) => Err(denied(&row, refusal(app, &row).await?)),
        (_, CodeState::Spent) => Err(gone()),
        (State::Expired, _) => Err(expired(&row)),
        (State::Pending, CodeState::Open) => Err(pending(app, (&code, &row), now).await?),
        (State::Approved, CodeState::Open) => match client.evidence {
            None => Err(stale(app, (&code, &row), now).await?),
            Some(evidence) => {
                let presented = Presented {
                    evidence,
                    dpop: client.dpop,
                    once: None,
                };
                redeem(app, (code, row), presented, watch).await
            }
        },
    }
}

/// The answer, once: the walk of the parked ask, with what came now.
async fn redeem(
    app: &Arc<App>,
    (code, row): (DeferralRow, RequestRow),
    presented: Presented,
    watch: Stopwatch,
) -> Result<Response, Refused> {
    let Some(Parked {
        ask,
        spelling,
        requested,
        receipt,
    }) = Parked::read(&code.form)
    else {
        return Err(gone());
    };
    let worker = Arc::clone(app);
    let hash = code.hash.clone();
    // Detached as a whole: of a client that hangs up the code is as open as it was, or as spent.
    let walk = async move {
        match change(&worker, Change::Redeem { hash: hash.clone() }).await {
            Err(ledger::Error::Lost(_)) => return Ok(None),
            done => done.map_err(Error::Unavailable)?,
        }
        let outcome = worker.broker.issue(&presented, &ask).await;
        let after = match &outcome {
            Ok(Outcome::Again(_) | Outcome::Granted(_)) => Change::SpendOthers { request: row.id },
            Ok(Outcome::Denied(_)) => return outcome.map(Some),
            Ok(Outcome::Held(_)) | Err(_) => Change::Reopen { hash },
        };
        if let Err(error) = change(&worker, after).await {
            tracing::warn!(%error, "what became of a deferral code is not on record");
        }
        outcome.map(Some)
    };
    let outcome = evenly(watch, app.detached(walk).await?).await;
    let shown = Shown { requested, receipt };
    match outcome.map_err(Refused::unproven)? {
        None => Err(gone()),
        Some(Outcome::Again(again)) => Ok(given(&once_more(&app.broker, *again, &shown))),
        Some(Outcome::Granted(granted)) => Ok(given(&view(&app.broker, *granted, &shown))),
        Some(Outcome::Denied(no)) => {
            Err(Refused::denied(no, spelling).called(OAuthError::AccessDenied))
        }
        Some(Outcome::Held(held)) => Err(Refused::held(held.request.id, spelling)),
    }
}

/// Who polls: a proof of a key always, evidence if they have some that is fresh.
fn client(
    app: &App,
    (headers, extensions): (&HeaderMap, &Extensions),
    form: &mut Form,
) -> Result<Client, Refused> {
    if form.get("client_secret").is_some() || headers.contains_key(AUTHORIZATION) {
        let detail =
            "a client is known by its key, and by a `client_assertion`: it has no secret here";
        return Err(Refused::form(OAuthError::InvalidClient, detail));
    }
    let kind = form.take_out("client_assertion_type");
    let assertion = form.take_out("client_assertion");
    if assertion.is_some() != kind.is_some() || kind.is_some_and(|kind| kind != JWT_BEARER) {
        let detail = format!("a `client_assertion` is of `client_assertion_type` `{JWT_BEARER}`");
        return Err(Refused::form(OAuthError::InvalidClient, detail));
    }
    let dpop = proof(headers, app)?;
    let handshake = handshake(extensions);
    let Some(proved) = dpop.map(|dpop| dpop.proof).or(handshake) else {
        return Err(Refused::dpop());
    };
    let evidence = match (assertion, certificates(extensions)) {
        (Some(token), _) => Some(Evidence::token(Secret::new(token), Some(proved))),
        (None, Some(chain)) => Some(Evidence::certificate(
            Arc::clone(chain),
            dpop.map(|dpop| dpop.proof),
        )),
        (None, None) => None,
    };
    Ok(Client {
        key: thumbprint(&proved),
        dpop,
        evidence: evidence.map(|evidence| evidence.brought_by(peer_of(extensions))),
    })
}

const fn thumbprint(proof: &Proof) -> [u8; 32] {
    proof.thumbprint
}

async fn authenticated(
    app: &App,
    evidence: &Evidence,
    watch: Stopwatch,
) -> Result<Caller, Refused> {
    let judging = app
        .broker
        .roster
        .authenticate(evidence, app.broker.clock.now());
    let caller = trail::authenticating(judging).await;
    let caller = evenly(watch, caller.map_err(Error::from)).await;
    caller.map_err(Refused::unproven)
}

/// The code and its request, if both are this client's: otherwise the code is as unknown as any other.
async fn known(
    app: &App,
    code: &str,
    (client, caller): (&Client, Option<&Caller>),
) -> Result<(DeferralRow, RequestRow), Refused> {
    let broker = &app.broker;
    let code = broker
        .store
        .deferral(&hash(code))
        .await
        .map_err(unreadable)?;
    let key = Digest::from_bytes(client.key).to_string();
    let code = code.filter(|code| code.key == key).ok_or_else(gone)?;
    let row = broker
        .store
        .request(&code.request)
        .await
        .map_err(unreadable)?;
    let row = row.ok_or_else(gone)?;
    let task = |caller: &Caller| {
        let task = caller.task()?;
        Some(broker.tasks.id(&task.name).to_string())
    };
    let foreign = caller.is_some_and(|caller| {
        caller.principal().id.as_str() != code.client || task(caller).as_ref() != Some(&row.task)
    });
    if foreign {
        return Err(gone());
    }
    Ok((code, row))
}

/// A poll says nothing of what is asked: that was said.
fn unchanged(form: &Form) -> Result<(), Refused> {
    const SAID: [&str; 13] = [
        "actor_token",
        "actor_token_type",
        "authorization_details",
        COMPLETION_MODE,
        "csr",
        "ledger",
        "profile",
        "reason",
        "requested_token_type",
        "scope",
        "spki",
        "subject_token",
        "ttl_s",
    ];
    let said = SAID.iter().find(|name| form.get(name).is_some());
    match (said, form.targets().is_empty()) {
        (Some(name), _) => Err(invalid(&format!(
            "`{name}` was said before: a poll changes nothing"
        ))),
        (None, false) => Err(invalid(
            "the target was said before: a poll changes nothing",
        )),
        (None, true) => Ok(()),
    }
}

/// It waits: how many have said yes of how many.
async fn pending(
    app: &App,
    (code, row): (&DeferralRow, &RequestRow),
    now: Timestamp,
) -> Result<Refused, Refused> {
    if let Some(hasty) = paced(app, code, now).await? {
        return Ok(hasty);
    }
    let votes = app
        .broker
        .votes_that_count(&row.id)
        .await
        .map_err(unreadable)?;
    let needs = needs(row, &votes);
    let have: u32 = needs.iter().map(|need| need.have).sum();
    let all: u32 = needs.iter().map(|need| need.quorum).sum();
    let mut problem = waiting(&row.id, &format!("step={have}/{all}"));
    problem.next_action = Some(next(NextKind::Wait, None));
    Ok(Refused::with(OAuthError::AuthorizationPending, problem))
}

/// It is approved, and only a fresh token of the same run is missing.
async fn stale(
    app: &App,
    (code, row): (&DeferralRow, &RequestRow),
    now: Timestamp,
) -> Result<Refused, Refused> {
    if let Some(hasty) = paced(app, code, now).await? {
        return Ok(hasty);
    }
    let detail = "it is approved: send a fresh token of the same run as client_assertion";
    let mut problem = waiting(&row.id, detail);
    problem.next_action = Some(next(NextKind::FreshEvidence, None));
    Ok(Refused::with(OAuthError::AuthorizationPending, problem))
}

/// Who polls too soon waits longer from now on; who goes on with it is not listened to, and not written down either.
async fn paced(app: &App, code: &DeferralRow, now: Timestamp) -> Result<Option<Refused>, Refused> {
    let since = now.as_millis().saturating_sub(code.asked);
    let soon = since < code.pace.saturating_mul(1000).saturating_sub(SLACK_MS);
    if soon && code.hasty >= MOST_HASTY {
        return Ok(Some(invalid(
            "polls come too often, whatever was said of it",
        )));
    }
    let (pace, hasty) = match soon {
        true => (code.pace + SLOWER_S, code.hasty + 1),
        false => (code.pace, code.hasty),
    };
    let polled = Change::Polled {
        hash: code.hash.clone(),
        at: now.as_millis(),
        pace,
        hasty,
    };
    change(app, polled).await.map_err(unavailable)?;
    Ok(soon.then(|| {
        let detail = format!("wait {pace} s between two polls from now on");
        Refused::with(
            OAuthError::SlowDown,
            Problem::new(Code::RateLimited, detail),
        )
    }))
}

/// Why people said no.
async fn refusal(app: &App, row: &RequestRow) -> Result<String, Refused> {
    let store = &app.broker.store;
    let votes = store.votes(&row.id).await.map_err(unreadable)?;
    let Some(no) = votes.into_iter().rfind(|vote| !vote.yes) else {
        return Ok("it was refused".to_owned());
    };
    let known = store.person(&no.person).await.map_err(unreadable)?;
    let by = known.map_or(no.person, |person| person.name);
    Ok(match no.note {
        Some(note) => format!("refused by {by}: {note}"),
        None => format!("refused by {by}"),
    })
}

fn waiting(request: &str, detail: &str) -> Problem {
    let mut problem = Problem::new(Code::ApprovalNeeded, detail);
    problem.request = Some(request.to_owned());
    problem
}

fn denied(row: &RequestRow, detail: String) -> Refused {
    let mut problem = Problem::new(Code::DeniedByHuman, detail);
    problem.request = Some(row.id.clone());
    problem.next_action = Some(next(NextKind::None, None));
    Refused::with(OAuthError::AccessDenied, problem)
}

fn expired(row: &RequestRow) -> Refused {
    let detail = "nobody decided it in time, or the approval ended before it was fetched: ask anew";
    let mut problem = Problem::new(Code::RequestExpired, detail);
    problem.request = Some(row.id.clone());
    problem.next_action = Some(next(NextKind::Retry, None));
    Refused::with(OAuthError::ExpiredToken, problem)
}

/// Unknown, another's, or used: the three read alike.
fn gone() -> Refused {
    let detail = "this deferral_code is not good, or not with this key, or its answer was fetched";
    Refused::with(
        OAuthError::InvalidGrant,
        Problem::new(Code::NotFound, detail),
    )
}

fn invalid(detail: &str) -> Refused {
    Refused::form(OAuthError::InvalidRequest, detail)
}

fn unavailable(error: ledger::Error) -> Refused {
    Refused::unanswered(Error::Unavailable(error))
}

fn next(kind: NextKind, url: Option<String>) -> NextAction {
    NextAction {
        kind,
        command: None,
        url,
    }
}

async fn change(app: &App, change: Change) -> Result<(), ledger::Error> {
    app.broker
        .ledger
        .settle(vec![Write::Deferral(change)])
        .await
        .map(drop)
}

/// As tables know it: the code itself is kept nowhere.
pub(super) fn hash(code: &str) -> String {
    Digest::of(code.as_bytes()).to_string()
}

/// Between two polls, to begin with.
const INTERVAL_S: i64 = 5;
/// What `slow_down` adds, for good (RFC 8628 §3.5).
const SLOWER_S: i64 = 5;
/// How often that is said.
const MOST_HASTY: i64 = 5;
/// Of two clocks that count the same seconds.
const SLACK_MS: i64 = 500;
