//! `/v1/me`: what somebody who is signed in may see and change of their own.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use stint_audit::Digest;
use stint_policy::Timestamp;
use stint_wire as wire;
use stint_wire::{Code, Problem};

use super::extract::Strict;
use super::grants::answer;
use super::login;
use super::problem::Failure;
use super::routes::Routes;
use super::session::{Acting, SignedIn, login_at};
use crate::people::passkeys::{KeyError, Offered, PATIENCE, challenge};
use crate::people::{Freshness, People, Visitor};
use crate::serve::App;
use crate::store::SessionRow;
use crate::store::passkeys::PasskeyRow;

/// `/v1/me…`
pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/me", me)
        .post("/v1/me/passkeys", enrol)
        .post("/v1/me/passkeys/options", options)
        .post("/v1/me/passkeys/{credential}/retire", retire)
        .post("/v1/me/sessions/{id}/end", end)
}

async fn me(State(app): State<Arc<App>>, SignedIn(visitor): SignedIn) -> Result<Response, Failure> {
    let broker = &app.broker;
    let id = visitor.id.as_str();
    let passkeys = broker.store.passkeys(id).await.map_err(unreadable)?;
    let now = broker.clock.now();
    let sessions = broker.store.sessions(id, now.as_millis()).await;
    let sessions = sessions.map_err(unreadable)?;
    let view = wire::Me {
        id: visitor.id.to_string(),
        name: visitor.name.clone(),
        email: visitor.email.clone(),
        groups: visitor.groups.iter().cloned().collect(),
        roles: visitor
            .roles
            .words()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        auth_at: (visitor.auth_at.as_millis() > 0).then(|| visitor.auth_at.rfc3339()),
        passkeys: passkeys.iter().map(passkey).collect(),
        sessions: sessions.iter().map(|row| session(row, &visitor)).collect(),
    };
    Ok(answer(StatusCode::OK, &view))
}

/// What to ask an authenticator. A passkey comes from a login of this minute, not from an open browser.
async fn options(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
) -> Result<Response, Failure> {
    let (people, now) = (fresh(&app, &visitor)?, app.broker.clock.now());
    let had = app.broker.store.passkeys(visitor.id.as_str()).await;
    let had = had.map_err(unreadable)?;
    let nonce = people.enrolment(&visitor, now);
    let handle = Digest::of(format!("stint/user/v1\n{}", visitor.id).as_bytes());
    let options = wire::PasskeyOptions {
        challenge: challenge(&nonce).to_string(),
        nonce: BASE64URL_NOPAD.encode(&nonce),
        rp: wire::RelyingParty {
            id: stint_audit::passkey::host(&app.broker.terms.url)
                .unwrap_or_default()
                .to_owned(),
            name: "Stint".to_owned(),
        },
        user: wire::PasskeyUser {
            id: handle.to_string(),
            name: visitor
                .email
                .clone()
                .unwrap_or_else(|| visitor.name.clone()),
            display_name: visitor.name.clone(),
        },
        algs: ALGORITHMS.to_vec(),
        exclude: had
            .into_iter()
            .filter(|row| row.retired.is_none())
            .map(|row| wire::CredentialId { id: row.credential })
            .collect(),
        expires_at: now.plus(PATIENCE).rfc3339(),
    };
    Ok(answer(StatusCode::OK, &options))
}

async fn enrol(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    Strict(body): Strict<wire::EnrolPasskey>,
) -> Result<Response, Failure> {
    fresh(&app, &visitor)?;
    let (nonce, authenticator_data) = (bytes(&body.nonce)?, bytes(&body.authenticator_data)?);
    let client_data = bytes(&body.client_data)?;
    let broker = Arc::clone(&app.broker);
    let enrolling = app.detached(async move {
        let offered = Offered {
            label: &body.label,
            nonce: &nonce,
            authenticator_data: &authenticator_data,
            client_data: &client_data,
        };
        broker.enrol(&visitor, offered).await
    });
    let (row, seq) = enrolling.await?.map_err(refused)?;
    let view = wire::PasskeyEnrolled {
        credential: row.credential,
        label: row.label,
        seq,
    };
    Ok(answer(StatusCode::CREATED, &view))
}

async fn retire(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    Path(credential): Path<String>,
) -> Result<Response, Failure> {
    let broker = Arc::clone(&app.broker);
    let retiring = app.detached(async move { broker.retire(&visitor, &credential).await });
    retiring.await?.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn end(
    State(app): State<Arc<App>>,
    Acting(visitor): Acting,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    match login::end(&app, &visitor, &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::new(Code::NotFound, "no session of yours has this name").into()),
    }
}

/// The people, for somebody whose login is younger than `step_up_age`.
fn fresh<'a>(app: &'a App, visitor: &Visitor) -> Result<&'a People, Failure> {
    let people = app
        .broker
        .people
        .as_ref()
        .ok_or_else(Failure::unavailable)?;
    if visitor.is_fresh(people.step_up_age, app.broker.clock.now()) {
        return Ok(people);
    }
    let url = format!(
        "{}{}",
        app.broker.terms.url,
        login_at("/me", Freshness::Fresh)
    );
    let detail = "a passkey is enrolled right after a login: sign in again";
    Err(Failure::step_up(detail, url))
}

fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |_| {
        Failure::from(Problem::new(
            Code::InvalidField,
            "bytes are base64url without padding",
        ))
    };
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(wrong)
}

fn refused(error: KeyError) -> Failure {
    let code = match &error {
        KeyError::Label | KeyError::Passkey(_) => Code::InvalidField,
        KeyError::Known | KeyError::Many | KeyError::Nonce => Code::StateConflict,
        KeyError::Nothing => Code::NotFound,
        KeyError::Away(why) => {
            tracing::warn!(%why, "a passkey could not be changed");
            return Failure::unavailable();
        }
    };
    Problem::new(code, error.to_string()).into()
}

fn unreadable(error: crate::store::Error) -> Failure {
    tracing::error!(%error, "what people own could not be read");
    Failure::unavailable()
}

fn passkey(row: &PasskeyRow) -> wire::Passkey {
    wire::Passkey {
        credential: row.credential.clone(),
        label: row.label.clone(),
        added_at: moment(row.added),
        used_at: row.used.map(moment),
        retired_at: row.retired.map(moment),
    }
}

fn session(row: &SessionRow, visitor: &Visitor) -> wire::Session {
    wire::Session {
        id: row.hash.clone(),
        via: row.via.clone(),
        here: row.hash == visitor.session,
        opened_at: moment(row.opened),
        used_at: moment(row.used),
        expires_at: moment(row.ends),
        agent: row.agent.clone(),
    }
}

fn moment(millis: i64) -> String {
    Timestamp::from_millis(millis).rfc3339()
}

/// ES256, EdDSA, RS256: what `stint_audit::passkey` reads (RFC 9053, RFC 8812).
const ALGORITHMS: [i64; 3] = [-7, -8, -257];
