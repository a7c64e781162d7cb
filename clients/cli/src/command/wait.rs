//! `stint wait`: back for what people said, from another process of the same run, or as whoever is signed in.

use std::time::Duration;

use stint_client::Error;
use stint_wire::{RequestState, RequestView};

use crate::args::{EvidenceArgs, Format, Named};
use crate::exit::Exit;
use crate::hold::{self, Patience, Told, Waited};
use crate::output::{Failure, Output};
use crate::person::Login;
use crate::session;
use crate::settings::Settings;

/// Waits until it is decided: 0 approved, 5 still open, 6 refused or over.
///
/// # Errors
/// As the calls.
pub(crate) fn wait(args: &Named, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let patience = settings.patience.map_or(Patience::WhileOpen, Patience::For);
    let mut told = Told::default();
    let mut last = None;
    let heard = |view: &RequestView| {
        for (word, text) in told.news(view) {
            output.talk(word, text);
        }
        last = Some(view.clone());
    };
    let waited = follow(
        (&args.request, &args.evidence),
        (settings, output),
        patience,
        heard,
    )?;
    let view = match (waited, last) {
        (Waited::Settled(view), _) => *view,
        (Waited::Interrupted, _) => {
            return Err(Failure {
                exit: Exit::Interrupted,
                lines: Vec::new(),
            });
        }
        (Waited::Terminated, _) => {
            return Err(Failure {
                exit: Exit::Terminated,
                lines: Vec::new(),
            });
        }
        (Waited::Over, Some(view)) => view,
        (Waited::Over, None) => {
            let text = format!("{} does not answer", args.request);
            return Err(Failure::new(Exit::Unreachable, text));
        }
    };
    if args.format.format == Some(Format::Json) {
        output.json("stint.request/v1", &view)?;
        return Ok(hold::state_exit(view.state));
    }
    match view.state {
        RequestState::Approved => {
            output.talk("approved", hold::approved(&view, None));
            output.talk(
                "next",
                "the same ask again, with a fresh token of the same run",
            );
            Ok(Exit::Ok)
        }
        RequestState::Pending => Err(hold::open(&view)),
        RequestState::Cancelled | RequestState::Denied | RequestState::Expired => {
            Err(hold::ended(&view))
        }
    }
}

/// Follows a request as whoever this is: a run with its evidence, else a person.
pub(super) fn follow(
    (request, evidence): (&str, &EvidenceArgs),
    (settings, output): (&Settings, &Output),
    patience: Patience,
    heard: impl FnMut(&RequestView),
) -> Result<Waited, Failure> {
    let client = settings.client()?;
    let source = settings.source(evidence);
    let person = Login::at(&client)?;
    session::block_on(async {
        match (source, person) {
            (Ok(source), _) => {
                output.detail("evidence", source.describe());
                let session = session::open_on(&client, source, evidence)?;
                hold::waited(session.wait(request, heard), patience).await
            }
            (Err(_), Some(login)) => {
                let person = login.person(&client)?;
                hold::waited(person.wait(request, heard), patience).await
            }
            (Err(none), None) => Err(none),
        }
    })
}

/// The same, once.
pub(super) fn look(
    request: &str,
    evidence: &EvidenceArgs,
    settings: &Settings,
) -> Result<RequestView, Failure> {
    let client = settings.client()?;
    let source = settings.source(evidence);
    let person = Login::at(&client)?;
    session::block_on(async {
        let view: Result<RequestView, Error> = match (source, person) {
            (Ok(source), _) => {
                let session = session::open_on(&client, source, evidence)?;
                session.look(request, Duration::ZERO).await
            }
            (Err(_), Some(login)) => login.person(&client)?.look(request, Duration::ZERO).await,
            (Err(none), None) => return Err(none),
        };
        Ok(view?)
    })
}
