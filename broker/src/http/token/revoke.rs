//! `POST /oauth2/revoke` (RFC 7009): a client takes back a deferred answer that it does not want any more, and with it
//! its request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use stint_audit::Digest;
use stint_wire::oauth::OAuthError;

use super::deferred::hash;
use super::form::Form;
use super::proof_at;
use crate::http::extract::handshake;
use crate::http::problem::oauth::Refused;
use crate::http::requests::{taken_back, unreadable};
use crate::issue::Error;
use crate::ledger;
use crate::serve::App;
use crate::store::Write;
use crate::store::deferrals::Change;

/// 200 whatever the code is, so that nobody learns which are good. Only the key that asked takes one back.
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refused> {
    let headers = request.headers().clone();
    let handshake = handshake(request.extensions());
    let mut form = Form::of(request, &app).await?;
    let dpop = proof_at(&headers, &app, "/oauth2/revoke")?;
    let Some(code) = form.take_out("token") else {
        return Err(Refused::form(
            OAuthError::InvalidRequest,
            "`token` is missing",
        ));
    };
    if let Some(proof) = dpop.map(|dpop| dpop.proof).or(handshake) {
        take_back(&app, &hash(&code), proof.thumbprint).await?;
    }
    let headers = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    Ok((StatusCode::OK, headers).into_response())
}

async fn take_back(app: &Arc<App>, hash: &str, key: [u8; 32]) -> Result<(), Refused> {
    let broker = &app.broker;
    let code = broker.store.deferral(hash).await.map_err(unreadable)?;
    let key = Digest::from_bytes(key).to_string();
    let Some(code) = code.filter(|code| code.key == key) else {
        return Ok(());
    };
    let hash = code.hash;
    let change = vec![Write::Deferral(Change::Cancel { hash })];
    match broker.ledger.settle(change).await {
        Ok(_) => {}
        // Fetched or taken back before: there is nothing to take back.
        Err(ledger::Error::Lost(_)) => return Ok(()),
        Err(error) => return Err(Refused::unanswered(Error::Unavailable(error))),
    }
    if let Some(row) = broker
        .store
        .request(&code.request)
        .await
        .map_err(unreadable)?
    {
        taken_back(app, &row, None).await?;
    }
    Ok(())
}
