//! `GET /v1/ledger/proofs/{id}`: the receipt of an entry under the newest checkpoint.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::extract::Bearer;
use super::grants::evenly;
use super::problem::{Failure, not_found};
use super::tiles::failure;
use crate::clock::Stopwatch;
use crate::issue::Error;
use crate::ledger::{ProvenEntry, Whose};
use crate::serve::App;
use crate::telemetry::trail;

/// For the caller whom the entry is about. An id that is nobody's and one that is somebody else's read alike.
pub(super) async fn own(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Bearer(presented): Bearer,
) -> Result<Response, Failure> {
    let watch = Stopwatch::start();
    let now = app.broker.clock.now();
    let judging = app.broker.roster.authenticate(&presented.evidence, now);
    let caller = trail::authenticating(judging).await;
    let caller = evenly(watch, caller.map_err(Error::from)).await?;
    let principal = caller.principal();
    let admitted = app.broker.limits.dry_run(&principal.id, now);
    admitted.map_err(Error::from)?;
    if !is_id(&id) {
        return Ok(not_found().await.into_response());
    }
    let ledger = &app.broker.ledger;
    let subject = ledger.subject(&principal.id.to_string());
    let found = ledger.find(&id, Whose::Own(&subject.pseudonym)).await;
    answer(&app, found.map_err(failure)?).await
}

/// For the operator: any entry, also by its number, by serial, `jti`, or the hash of what was signed.
pub(super) async fn any(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let ledger = &app.broker.ledger;
    let seq = id.parse::<u64>().ok().filter(|seq| seq.to_string() == id);
    let seq = seq.filter(|seq| *seq < ledger.published().size);
    let found = match seq {
        Some(seq) => ledger.prove(seq).await.map(Some),
        None if is_id(&id) => ledger.find(&id, Whose::Any).await,
        None => ledger.find_credential(&id).await,
    };
    answer(&app, found.map_err(failure)?).await
}

/// The receipt of what was found, under a head that witnesses have seen.
async fn answer(app: &App, found: Option<ProvenEntry>) -> Result<Response, Failure> {
    let Some(found) = found else {
        return Ok(not_found().await.into_response());
    };
    let receipt = app.broker.ledger.receipt(found.header.seq).await;
    let found = receipt.map_err(failure)?;
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, found.proof.to_string()).into_response())
}

/// An id of an entry, or its kind and six characters of it at least.
fn is_id(id: &str) -> bool {
    let rest = KINDS.iter().find_map(|kind| id.strip_prefix(kind));
    let legal = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    rest.is_some_and(|rest| (6..=26).contains(&rest.len()) && rest.bytes().all(legal))
}

const KINDS: [&str; 6] = ["gr_", "dec_", "req_", "ent_", "vote_", "task_"];

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn an_id_has_its_kind_and_six_characters() {
        for id in ["gr_agrabd", "ent_agrabdluabyadaabaeaqcaibae", "dec_000000"] {
            assert!(is_id(id), "{id}");
        }
        for id in [
            "",
            "gr_",
            "gr_agrab",
            "agrabdluab",
            "gr_AGRABD",
            "gr_agra%d",
            "gr_agrabdluabyadaabaeaqcaibaee",
            "xx_agrabd",
        ] {
            assert!(!is_id(id), "{id}");
        }
    }
}
