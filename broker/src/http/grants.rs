//! `POST /v1/grants` and its dry run, `POST /v1/decisions`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stint_audit::Digest;
use stint_ca::Credential;
use stint_policy::{Seconds, Timestamp};
use stint_wire as wire;

use super::extract::{Bearer, Once, Strict};
use super::problem::Failure;
use super::requests::{unreadable, view::wire_state};
use crate::clock::Stopwatch;
use crate::ids::DecisionId;
use crate::issue::{
    Again, Ask, Broker, CredentialAsk, Error, Granted, Held, KeyText, KindAsked, Outcome, Presented,
};
use crate::serve::App;
use crate::store::{RequestRow, VoteRow, Write, deferrals};
use crate::telemetry::trail;

/// The walk, in the JSON API's words. It runs detached: a client that hangs up cuts nothing.
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Bearer(presented): Bearer,
    Once(once): Once,
    Strict(body): Strict<wire::Ask>,
) -> Result<Response, Failure> {
    let watch = Stopwatch::start();
    let ask = ask(body)?;
    let presented = Presented { once, ..presented };
    let key = presented.dpop.map(|dpop| dpop.proof.thumbprint);
    let walk = Arc::clone(&app.broker);
    let outcome = app
        .detached(async move { walk.issue(&presented, &ask).await })
        .await?;
    let outcome = evenly(watch, outcome).await?;
    match outcome {
        Outcome::Again(again) => Ok(answer(StatusCode::CREATED, &once_more(&app.broker, *again))),
        Outcome::Denied(denied) => Err(denied.into()),
        Outcome::Granted(granted) => Ok(answer(StatusCode::CREATED, &view(&app.broker, *granted))),
        Outcome::Held(held) => {
            remember(&app.broker, &held.request, key).await?;
            parked(&app.broker, &held).await
        }
    }
}

/// What the walk would come to; nothing happens, nothing is recorded.
pub(super) async fn judge(
    State(app): State<Arc<App>>,
    Bearer(presented): Bearer,
    Strict(body): Strict<wire::Ask>,
) -> Result<Response, Failure> {
    let watch = Stopwatch::start();
    let judged = evenly(watch, app.broker.judge(&presented, &ask(body)?).await).await??;
    let outcome = match judged.outcome {
        "permit" => wire::Outcome::Permit,
        "hold" => wire::Outcome::Hold,
        _ => wire::Outcome::Deny,
    };
    Ok(answer(
        StatusCode::OK,
        &wire::DryRun {
            outcome,
            decision_receipt: judged.receipt,
        },
    ))
}

/// Failed evidence is answered no sooner than 3 ms after it was read: no fast path tells which
/// check failed (SECURITY.md §5). A timer, not a held worker.
pub(super) async fn evenly<T>(watch: Stopwatch, result: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &result {
        trail::failed(error);
    }
    if let Err(Error::Refused(_) | Error::Replayed) = &result {
        tokio::time::sleep(EVEN.saturating_sub(watch.elapsed())).await;
    }
    result
}

/// Wire to domain: form alone is judged here.
fn ask(body: wire::Ask) -> Result<Ask, Failure> {
    if body.on_behalf_of.is_some() {
        return Err(invalid(
            "`on_behalf_of` is not offered yet: ask for yourself",
        ));
    }
    if body.ttl_s == Some(0) {
        return Err(invalid("`ttl_s` is at least 1"));
    }
    if body
        .reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > MAX_REASON)
    {
        return Err(invalid("`reason` is longer than 500 characters"));
    }
    let mut named = body.audience.iter().chain(&body.credential.audience);
    if named.any(|audience| !is_target(audience)) {
        let detail = "`audience` is 1 to 1,024 bytes of visible ASCII without quotes";
        return Err(invalid(detail));
    }
    if let (Some(outer), Some(inner)) = (&body.audience, &body.credential.audience)
        && outer != inner
    {
        return Err(invalid("two audiences that differ: name one"));
    }
    let key = match (body.credential.csr, body.credential.spki) {
        (Some(_), Some(_)) => return Err(invalid("`csr` and `spki` together: send one")),
        (Some(csr), None) => Some(KeyText::Csr(csr)),
        (None, spki) => spki.map(KeyText::Spki),
    };
    Ok(Ask {
        action: body.action,
        resources: body.resources,
        credential: CredentialAsk {
            kind: match body.credential.kind {
                wire::CredentialKind::Jwt => KindAsked::Jwt,
                wire::CredentialKind::X509 => KindAsked::X509,
                _ => KindAsked::Unsupported,
            },
            key,
            profile: body.credential.profile,
            audience: body.audience.or(body.credential.audience),
        },
        input: body.input,
        ttl: body.ttl_s.map(Seconds::new),
        reason: body.reason,
        task: body.task,
        client: None,
        may_hold: true,
    })
}

/// Whether a text can name whom a token is for, at either door: what looks like another name is none, and it can stand
/// in a uid as it is.
pub(super) fn is_target(text: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(visible)
}

fn invalid(detail: &str) -> Failure {
    wire::Problem::new(wire::Code::InvalidField, detail).into()
}

/// 201.
fn view(broker: &Broker, granted: Granted) -> wire::Granted {
    let Granted {
        credential,
        receipt,
        request,
    } = granted;
    let grant = credential.grant();
    let (from, until) = (credential.not_before(), credential.not_after());
    wire::Granted {
        outcome: wire::Outcome::Permit,
        grant: grant.id().to_string(),
        task: grant.task_id().to_string(),
        decision: DecisionId::of(&grant.id().to_string()),
        request,
        not_before: from.rfc3339(),
        expires_at: until.rfc3339(),
        renew_after: renewal(from, until).rfc3339(),
        approval_ends_at: grant.limits().approved_until().map(|end| end.rfc3339()),
        shortened_by: grant.shortened_by().to_vec(),
        trust_bundle: broker.ca.trust_bundle_pem().to_owned(),
        policy_version: grant.pol().to_string(),
        ledger: wire::LedgerProof {
            seq: receipt.seq(),
            receipt: receipt.proof_text(),
        },
        credential: secret(credential),
    }
}

/// 201, as it was before.
fn once_more(broker: &Broker, again: Again) -> wire::Granted {
    let (from, until) = again.life();
    wire::Granted {
        outcome: wire::Outcome::Permit,
        decision: DecisionId::of(&again.grant),
        grant: again.grant,
        task: again.task,
        request: None,
        credential: wire::Credential::X509 {
            certificate: again.certificate,
            chain: again.chain,
            serial: again.serial,
            spiffe_id: again.spiffe_id,
        },
        not_before: from.rfc3339(),
        expires_at: until.rfc3339(),
        renew_after: renewal(from, until).rfc3339(),
        approval_ends_at: None,
        shortened_by: again.shortened_by,
        trust_bundle: broker.ca.trust_bundle_pem().to_owned(),
        policy_version: again.policy_version,
        ledger: wire::LedgerProof {
            seq: again.seq,
            receipt: again.receipt,
        },
    }
}

/// Two thirds of the life.
pub(super) fn renewal(from: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.as_millis().saturating_sub(from.as_millis());
    Timestamp::from_millis(from.as_millis().saturating_add(life / 3 * 2))
}

fn secret(credential: Credential) -> wire::Credential {
    match credential {
        Credential::Jwt {
            token,
            audience,
            jti,
            ..
        } => wire::Credential::Jwt {
            token: wire::Token::new(token),
            audience,
            jti,
        },
        Credential::X509 {
            certificate_pem,
            chain_pem,
            serial,
            spiffe_id,
            ..
        } => wire::Credential::X509 {
            certificate: certificate_pem,
            chain: chain_pem.to_vec(),
            serial,
            spiffe_id: spiffe_id.to_string(),
        },
    }
}

/// The key that asked may watch its request, when its token is long over.
pub(super) async fn remember(
    broker: &Broker,
    row: &RequestRow,
    key: Option<[u8; 32]>,
) -> Result<(), Failure> {
    let Some(key) = key.map(|key| Digest::from_bytes(key).to_string()) else {
        return Ok(());
    };
    let known = broker.store.asked_by_key(&row.id, &key).await;
    if known.map_err(unreadable)? {
        return Ok(());
    }
    let asked = deferrals::Change::Asked {
        request: row.id.clone(),
        key,
        until: row.expires,
    };
    let settled = broker.ledger.settle(vec![Write::Deferral(asked)]).await;
    settled.map_err(|error| Error::Unavailable(error).into())
}

/// Who has to say yes, and how many have.
pub(super) fn needs(row: &RequestRow, votes: &[VoteRow]) -> Vec<wire::Need> {
    let have = |group: &str| {
        let yes = votes
            .iter()
            .filter(|vote| vote.yes && vote.groups.contains(group));
        let people: BTreeSet<&str> = yes.map(|vote| &*vote.person).collect();
        u32::try_from(people.len()).unwrap_or(u32::MAX)
    };
    let needs = row.needs().into_iter().map(|need| wire::Need {
        have: have(&need.approvers).min(need.quorum),
        policy: need.policy,
        approvers: vec![format!("Group::\"{}\"", need.approvers)],
        quorum: need.quorum,
    });
    needs.collect()
}

/// 202, with where to look and when.
async fn parked(broker: &Broker, held: &Held) -> Result<Response, Failure> {
    let row = &held.request;
    let votes = broker.votes_that_count(&row.id).await.map_err(unreadable)?;
    let url = format!("{}/a/{}", broker.terms.url, row.id);
    let held = wire::Held {
        outcome: wire::Outcome::Hold,
        request: row.id.clone(),
        created: held.created,
        decision: DecisionId::of(&row.id),
        state: wire_state(row.standing.state),
        expires_at: Timestamp::from_millis(row.expires).rfc3339(),
        match_code: broker.terms.match_code.then(|| row.match_code.clone()),
        needs: needs(row, &votes),
        approve_url: url.clone(),
        retry_after_s: POLL_S,
        next_action: wire::NextAction {
            kind: wire::NextKind::Wait,
            command: None,
            url: Some(url),
        },
    };
    let mut response = answer(StatusCode::ACCEPTED, &held);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(POLL_S));
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/requests/{}", row.id)) {
        headers.insert(LOCATION, place);
    }
    Ok(response)
}

/// A JSON answer that nobody keeps.
pub(crate) fn answer<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(json) => {
            let headers = [
                ("content-type", "application/json"),
                (CACHE_CONTROL.as_str(), "no-store"),
            ];
            (status, headers, json).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// SECURITY.md §5.
const EVEN: Duration = Duration::from_millis(3);
/// UX.md §4: a reason is at most 500 characters.
pub(super) const MAX_REASON: usize = 500;
/// As long as the longest name evidence may carry (SECURITY.md §4).
const MAX_NAME: usize = 1_024;
/// How often to look at a held ask.
pub(super) const POLL_S: u32 = 3;
