//! While people are asked: what is said of it, until they have answered or nobody waits any more (UX.md §1.4, §2
//! item 12).
//!
//! Nothing here decides: a request outlasts this process, and the same line finds it again. Ctrl-C leaves it open; a job
//! that is being killed takes it back.

mod words;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use signal_hook::consts::{SIGINT, SIGTERM};
use stint_client::{Outcome, Pending, Session};
use stint_wire::{Granted, RequestState, RequestView};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::Settings;
use crate::supervise;

pub(crate) use words::{
    Told, approved, ended, open, opening, plain_action, request_lines, state_exit,
};

/// How long to wait for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// So long.
    For(Duration),
    /// Not at all.
    None,
    /// As long as the request is open.
    WhileOpen,
}

/// How a wait ended.
pub(crate) enum Waited {
    /// Somebody at the terminal wants to go.
    Interrupted,
    /// The time that was to be waited is over.
    Over,
    /// People, or the request's own time, have decided.
    Settled(Box<RequestView>),
    /// This process is told to end.
    Terminated,
}

/// An ask that people are asked about.
pub(crate) struct Hold<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) output: &'a Output,
    /// The life that was asked for, in seconds.
    pub(crate) asked_s: Option<u32>,
}

impl Hold<'_> {
    /// Waits, and asks again with a fresh token once it is approved.
    ///
    /// # Errors
    /// Exit 5 where nobody waits any more, 6 when people said no or nothing, 130 and 143 when told to go.
    pub(crate) async fn out(
        &self,
        mut pending: Pending,
        patience: Patience,
    ) -> Result<Box<Granted>, Failure> {
        if patience == Patience::None {
            return Err(words::held(pending.held()));
        }
        loop {
            self.begin(&pending);
            let mut told = Told::default();
            let heard = |view: &RequestView| {
                for (word, text) in told.news(view) {
                    self.output.talk(word, text);
                }
            };
            let view = match waited(pending.wait(self.session, heard), patience).await? {
                Waited::Settled(view) => view,
                other => return Err(self.gone(&pending, other).await),
            };
            if view.state != RequestState::Approved {
                return Err(ended(&view));
            }
            self.output
                .talk("approved", words::approved(&view, self.asked_s));
            // The policy is asked again. Where it wants other people by now, they are waited for.
            match pending.redeem(self.session).await? {
                Outcome::Granted(granted) => return Ok(granted),
                Outcome::Held(again) => pending = *again,
            }
        }
    }

    fn begin(&self, pending: &Pending) {
        let held = pending.held();
        for (word, text) in words::opening(held) {
            self.output.talk(word, text);
        }
        if let Some(picture) = self.picture(&held.approve_url) {
            self.output.talk("", picture);
        }
        let come_back = format!(
            "Ctrl-C leaves it open; come back with: stint wait {}",
            held.request
        );
        self.output.talk("", come_back);
    }

    /// The page for a phone, where somebody looks at a terminal.
    fn picture(&self, url: &str) -> Option<String> {
        if self.settings.plain || !io::stderr().is_terminal() {
            return None;
        }
        let code = QrCode::new(url).ok()?;
        Some(code.render::<Dense1x2>().quiet_zone(true).build())
    }

    /// Nobody waits any more: what is left of it, and how to come back.
    async fn gone(&self, pending: &Pending, how: Waited) -> Failure {
        let held = pending.held();
        match how {
            Waited::Interrupted => words::detached(held),
            Waited::Terminated => match pending.cancel(self.session).await {
                Ok(_) => words::taken_back(held),
                Err(_unheard) => words::left_behind(held),
            },
            Waited::Over | Waited::Settled(_) => words::undecided(held),
        }
    }
}

/// Waits for a decision, for the end of patience, or for a signal.
///
/// # Errors
/// As the wait.
pub(crate) async fn waited(
    decided: impl Future<Output = Result<RequestView, stint_client::Error>>,
    patience: Patience,
) -> Result<Waited, Failure> {
    let over = async {
        match patience {
            Patience::For(time) => tokio::time::sleep(time).await,
            Patience::None => {}
            Patience::WhileOpen => std::future::pending().await,
        }
    };
    tokio::select! {
        view = decided => Ok(Waited::Settled(Box::new(view?))),
        () = over => Ok(Waited::Over),
        () = raised(SIGINT)? => Ok(Waited::Interrupted),
        () = raised(SIGTERM)? => Ok(Waited::Terminated),
    }
}

/// Comes when this signal does; never, where it was ignored when we started.
fn raised(number: i32) -> Result<impl Future<Output = ()>, Failure> {
    let ignored = supervise::ignored().contains(&number);
    let watched = match ignored {
        true => None,
        false => {
            let failed = |error| Failure::new(Exit::RunFailed, error);
            Some(signal(SignalKind::from_raw(number)).map_err(failed)?)
        }
    };
    Ok(async move {
        match watched {
            Some(mut watched) => drop(watched.recv().await),
            None => std::future::pending().await,
        }
    })
}
