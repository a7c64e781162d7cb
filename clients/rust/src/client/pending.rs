//! An ask that waits for people: it outlasts the token that asked, and is redeemed with a fresh one of the same run.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use stint_wire::{Ask, Held, RequestState, RequestView};

use super::Outcome;
use super::session::{Session, Shows};
use crate::Error;

/// How long the broker waits before it says that nothing happened.
const LOOK: Duration = Duration::from_secs(20);
/// Between two tries where nobody answers: this, and twice as long each time.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Never longer.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A request that people decide. The same ask again finds the same request, so nothing is lost with this value.
#[derive(Debug, Clone)]
pub struct Pending {
    held: Held,
    ask: Ask,
}

impl Pending {
    pub(super) const fn new(held: Held, ask: Ask) -> Self {
        Self { held, ask }
    }

    /// What the broker said when it was asked: who must approve, where, and the digits for them to type.
    #[must_use]
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// Where it stands: at once, or as soon as something happens to it within `wait`, 30 s at most.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn look(&self, session: &Session<'_>, wait: Duration) -> Result<RequestView, Error> {
        session
            .look_by(&self.held.request, wait, Shows::KeyAlone)
            .await
    }

    /// Waits until people have decided, or time has; `seen` hears of everything that happens meanwhile. A broker that
    /// cannot be reached is asked again, for as long as it takes. Dropping the future changes nothing.
    ///
    /// # Errors
    /// What asking again does not help against.
    pub async fn wait(
        &self,
        session: &Session<'_>,
        seen: impl FnMut(&RequestView),
    ) -> Result<RequestView, Error> {
        until_decided(|wait| self.look(session, wait), seen).await
    }

    /// Asks again, with fresh evidence: a credential if it is approved and policy still lets it happen, and this request
    /// again if it is not decided.
    ///
    /// # Errors
    /// As [`Session::grant`].
    pub async fn redeem(&self, session: &Session<'_>) -> Result<Outcome, Error> {
        session.grant(&self.ask).await
    }

    /// Takes it back.
    ///
    /// # Errors
    /// As [`Session::cancel`].
    pub async fn cancel(&self, session: &Session<'_>) -> Result<RequestView, Error> {
        session.cancel_by(&self.held.request, Shows::KeyAlone).await
    }
}

impl Session<'_> {
    /// Waits as [`Pending::wait`] for a request that was asked for elsewhere, in another process of the same run.
    ///
    /// # Errors
    /// What asking again does not help against.
    pub async fn wait(
        &self,
        request: &str,
        seen: impl FnMut(&RequestView),
    ) -> Result<RequestView, Error> {
        until_decided(|wait| self.look(request, wait), seen).await
    }
}

/// Looks until the request is decided: at once first, for what there is to tell, then for as long as the broker waits.
pub(super) async fn until_decided<L: Future<Output = Result<RequestView, Error>>>(
    look: impl Fn(Duration) -> L,
    mut seen: impl FnMut(&RequestView),
) -> Result<RequestView, Error> {
    let (mut wait, mut rest) = (Duration::ZERO, FIRST_REST);
    loop {
        match look(wait).await {
            Ok(view) => {
                seen(&view);
                if view.state != RequestState::Pending {
                    return Ok(view);
                }
                (wait, rest) = (LOOK, FIRST_REST);
            }
            Err(error) => {
                let Some(least) = again_after(&error) else {
                    return Err(error);
                };
                tokio::time::sleep(jitter(rest.max(least))).await;
                rest = rest.saturating_mul(2).min(LONGEST_REST);
            }
        }
    }
}

/// Whether the same again may help, and how long the broker wants it not to come.
fn again_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Unreachable(_) | Error::Unexpected { status: 502..=504 } => Some(Duration::ZERO),
        Error::Problem(problem) if problem.retryable => {
            let seconds = problem.retry_after_s.unwrap_or(0);
            Some(Duration::from_secs(seconds.into()).min(LONGEST_REST))
        }
        _ => None,
    }
}

/// Up to a quarter more, so that all who wait do not come back at once.
fn jitter(rest: Duration) -> Duration {
    let mut byte = [0];
    if SystemRandom::new().fill(&mut byte).is_err() {
        return rest;
    }
    rest.saturating_add(rest / 1024 * u32::from(byte[0]))
}
