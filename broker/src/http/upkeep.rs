//! What operators do to the ledger of a running broker, over its socket: copy it, and erase bodies of it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use stint_audit::kind::Basis;
use stint_wire as wire;

use super::extract::Strict;
use super::grants::answer;
use super::peer::Operator;
use super::problem::Failure;
use crate::ledger::erase::{EraseError, Grounds, Wanted};
use crate::ledger::prune;
use crate::serve::App;
use crate::upkeep::backup::BackupError;

/// `POST /v1/backup`. It takes as long as the database is large.
pub(super) async fn backup(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Backup>,
) -> Result<Response, Failure> {
    let (broker, dir) = (Arc::clone(&app.broker), PathBuf::from(ask.dir));
    tracing::info!(uid = operator.uid, dir = %dir.display(), "a backup begins");
    // Hashing everything again is no work for the reactor, and goes on if whoever asked goes away.
    let runtime = tokio::runtime::Handle::current();
    let made = tokio::task::spawn_blocking(move || runtime.block_on(broker.backup(&dir))).await;
    match made.map_err(|error| Failure::operator(error.to_string()))? {
        Ok(made) => Ok(answer(
            StatusCode::OK,
            &wire::BackedUp {
                log: made.log,
                size: made.size,
                root: made.root.to_string(),
            },
        )),
        Err(error @ (BackupError::Exists(_) | BackupError::Relative(_))) => {
            Err(invalid(error.to_string()))
        }
        Err(error) => Err(Failure::operator(in_full(&error))),
    }
}

/// `POST /v1/ledger/erase`.
pub(super) async fn erase(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Erase>,
) -> Result<Response, Failure> {
    let grounds = Grounds {
        actor: format!("local:{}", operator.uid),
        basis: basis(&ask.basis)?,
        ticket: ask.ticket,
    };
    let readable =
        |text: &String| text.chars().count() <= MAX_TICKET && !text.chars().any(char::is_control);
    if !grounds.ticket.as_ref().is_none_or(readable) {
        return Err(invalid(
            "`ticket` is one line of at most 100 characters".to_owned(),
        ));
    }
    let wanted = Wanted {
        seqs: ask.seqs,
        grants: ask.grants,
        subjects: ask.subjects,
    };
    let broker = Arc::clone(&app.broker);
    let gone = app
        .detached(async move { broker.erase(&wanted, &grounds).await })
        .await?;
    match gone {
        Ok(gone) => Ok(answer(
            StatusCode::OK,
            &wire::Gone {
                seq: gone.seq,
                n: gone.n,
                ranges: gone.ranges,
            },
        )),
        Err(error @ (EraseError::Record(_) | EraseError::Store(_))) => {
            Err(Failure::operator(in_full(&error)))
        }
        Err(error @ EraseError::Unknown(_)) => {
            Err(wire::Problem::new(wire::Code::NotFound, error.to_string()).into())
        }
        Err(error @ (EraseError::Binds(_) | EraseError::Nothing | EraseError::Parts(_))) => {
            Err(invalid(error.to_string()))
        }
    }
}

/// `POST /v1/ledger/prune`. It takes as long as what goes is large.
pub(super) async fn prune(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Strict(ask): Strict<wire::Prune>,
) -> Result<Response, Failure> {
    let app = Arc::clone(&app);
    let runtime = tokio::runtime::Handle::current();
    let pruned = tokio::task::spawn_blocking(move || {
        let sinks = app.sinks.each().map(|sink| sink.name()).collect();
        let (actor, archive) = (
            format!("local:{}", operator.uid),
            PathBuf::from(ask.archive),
        );
        let wanted = prune::Wanted {
            below: ask.below,
            archive: &archive,
            actor: &actor,
            sinks,
            files: Vec::new(),
        };
        runtime.block_on(app.broker.prune(wanted))
    });
    match pruned
        .await
        .map_err(|error| Failure::operator(error.to_string()))?
    {
        Ok(pruned) => Ok(answer(
            StatusCode::OK,
            &wire::Pruned {
                log: pruned.log,
                seq: pruned.seq,
                below: pruned.below,
                archive: pruned.archive.to_string(),
                kept: pruned.kept,
                swept: pruned.swept,
            },
        )),
        Err(error) if error.is_refusal() => Err(invalid(error.to_string())),
        Err(error) => Err(Failure::operator(in_full(&error))),
    }
}

fn basis(word: &str) -> Result<Basis, Failure> {
    [Basis::Order, Basis::Request, Basis::Retention]
        .into_iter()
        .find(|basis| basis.as_str() == word)
        .ok_or_else(|| invalid("`basis` is `request`, `order` or `retention`".to_owned()))
}

/// An error with its causes, for an operator.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text.push_str(&format!(": {source}"));
        inner = source.source();
    }
    text
}

fn invalid(detail: String) -> Failure {
    wire::Problem::new(wire::Code::InvalidField, detail).into()
}

/// Room for a number, not for a story.
const MAX_TICKET: usize = 100;
