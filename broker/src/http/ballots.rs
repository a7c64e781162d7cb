//! How people vote: what they would sign, and what they signed.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use stint_audit::passkey::{self, Assertion};
use stint_policy::Seconds;
use stint_wire as wire;
use stint_wire::{Code, NextAction, NextKind, Problem};

use super::extract::Strict;
use super::grants::answer;
use super::problem::{Failure, unrecorded};
use super::requests::view::wire_state;
use super::session::Acting;
use crate::approve::{Choice, Refused, Signed};
use crate::serve::App;

/// `POST /v1/requests/{id}/ballot`: the facts, and what a passkey is to sign. Nothing is decided by it.
pub(super) async fn ballot(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Acting(visitor): Acting,
    Strict(body): Strict<wire::BallotAsk>,
) -> Result<Response, Failure> {
    let choice = Choice {
        yes: body.vote == wire::Vote::Yes,
        lasts: body.lasts_s.map(Seconds::new),
        note: body.note,
        match_code: body.match_code,
    };
    let broker = Arc::clone(&app.broker);
    let made = async move { broker.ballot(&id, &visitor, &choice).await };
    let ballot = app.detached(made).await?.map_err(Failure::from)?;
    let passkeys = ballot.passkeys.into_iter().map(|id| wire::PasskeyId { id });
    Ok(answer(
        StatusCode::OK,
        &wire::Ballot {
            facts: ballot.facts,
            nonce: BASE64URL_NOPAD.encode(&ballot.nonce),
            challenge: ballot.challenge.to_string(),
            passkeys: passkeys.collect(),
            rp_id: passkey::host(&app.broker.terms.url)
                .unwrap_or_default()
                .to_owned(),
            expires_at: ballot.expires.rfc3339(),
        },
    ))
}

/// `POST /v1/requests/{id}/votes`: the signed vote.
pub(super) async fn vote(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Acting(visitor): Acting,
    Strict(body): Strict<wire::SignedVote>,
) -> Result<Response, Failure> {
    let signed = signed(body)?;
    let broker = Arc::clone(&app.broker);
    let cast = async move { broker.vote(&id, &visitor, &signed).await };
    let cast = app.detached(cast).await?.map_err(Failure::from)?;
    Ok(answer(
        StatusCode::CREATED,
        &wire::VoteCast {
            vote: cast.id,
            state: wire_state(cast.state),
            until: cast.until.map(|until| until.rfc3339()),
            ledger: wire::Place { seq: cast.seq },
        },
    ))
}

fn signed(body: wire::SignedVote) -> Result<Signed, Failure> {
    let bytes = |name: &str, text: &str| {
        let decoded = BASE64URL_NOPAD.decode(text.as_bytes());
        decoded.map_err(|_alphabet| invalid(format!("`{name}` is not base64url without padding")))
    };
    let nonce = bytes("nonce", &body.nonce)?;
    let nonce = nonce
        .try_into()
        .map_err(|_length| invalid("`nonce` is 32 bytes".to_owned()))?;
    let said = body.assertion;
    Ok(Signed {
        facts: body.facts,
        nonce,
        assertion: Assertion {
            credential: bytes("credential", &said.credential)?,
            authenticator_data: bytes("authenticator_data", &said.authenticator_data)?,
            client_data: bytes("client_data", &said.client_data)?,
            signature: bytes("signature", &said.signature)?,
        },
    })
}

fn invalid(detail: String) -> Failure {
    Problem::new(Code::InvalidField, detail).into()
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        let detail = refused.to_string();
        let code = match refused {
            Refused::Unknown => Code::NotFound,
            Refused::NotEligible(_) => Code::NotEligible,
            Refused::Decided(_) => Code::AlreadyDecided,
            Refused::Moot => Code::StateConflict,
            Refused::Field(..) => Code::InvalidField,
            Refused::NoPasskey => Code::PasskeyRequired,
            Refused::Changed => Code::FactsChanged,
            Refused::Unsigned(_) => Code::InvalidField,
            Refused::Unavailable(error) => return unrecorded(error),
        };
        let detail = match code {
            Code::NotFound => "there is nothing here under this name and method".to_owned(),
            _ => detail,
        };
        let mut problem = Problem::new(code, detail);
        problem.next_action = (code == Code::PasskeyRequired).then(|| NextAction {
            kind: NextKind::Login,
            command: None,
            url: Some("/me".to_owned()),
        });
        problem.into()
    }
}
