//! How an issuer's keys are, for operators.

use stint_policy::Timestamp;

use super::Supply;
use super::state::State;
use crate::authenticate::discovery::FetchError;

/// How an issuer's keys are, for `/readyz`, console and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The entry's name.
    pub issuer: String,
    /// Whether tokens can be judged.
    pub state: HealthState,
    /// Whether an operator froze it, or everything.
    pub frozen: bool,
    /// Whether new keys wait for an operator, after too many changes.
    pub halted: bool,
    /// Keys in the set that serves, or last served.
    pub keys: usize,
    /// Seconds since that set was fetched; absent for keys that stand in the config.
    pub age_s: Option<i64>,
    /// The last fetch's failure, if it failed: for people.
    pub error: Option<String>,
    /// The same as a closed word.
    pub error_class: Option<&'static str>,
    /// Since when it is as it is, where that is known.
    pub since: Option<Timestamp>,
}

/// The life of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Nobody asked yet, or nothing was ever fetched.
    Cold,
    /// Past its hard age: tokens of this issuer get 503.
    Expired,
    /// Within its soft age.
    Ready,
    /// Serving while a refresh is due.
    Stale,
}

impl HealthState {
    /// The word in `/readyz` and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthState::Cold => "cold",
            HealthState::Expired => "expired",
            HealthState::Ready => "ready",
            HealthState::Stale => "stale",
        }
    }
}

impl Health {
    /// The closed word of `/readyz`: `ok`, or what an operator should look at.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.state {
            _ if self.frozen => "issuer_frozen",
            _ if self.halted => "issuer_changing",
            HealthState::Expired => "issuer_unavailable",
            HealthState::Cold if self.error.is_some() => "issuer_unavailable",
            HealthState::Ready | HealthState::Stale if self.error.is_some() => "issuer_stale",
            HealthState::Cold | HealthState::Ready | HealthState::Stale => "ok",
        }
    }
}

/// An error and what is behind it, in one line.
pub(in crate::authenticate) fn in_full(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut behind = std::error::Error::source(error);
    while let Some(cause) = behind {
        let cause_text = cause.to_string();
        // Some libraries repeat what is behind an error in its own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        behind = cause.source();
    }
    text
}

/// `supply`: `None` if the keys stand in the config.
pub(super) fn of(state: &State, issuer: &str, supply: Option<&Supply>, now: Timestamp) -> Health {
    let is_fetched = supply.is_some();
    let (life, since) = match &state.set {
        None => (HealthState::Cold, None),
        Some(held) if held.expires_at <= now => (HealthState::Expired, Some(held.expires_at)),
        Some(held) if held.refresh_at <= now => (HealthState::Stale, Some(held.refresh_at)),
        Some(held) => (HealthState::Ready, Some(held.since)),
    };
    let fetched = state.set.as_ref().filter(|_| is_fetched);
    let since = match life {
        HealthState::Expired => since,
        HealthState::Cold | HealthState::Ready | HealthState::Stale => {
            state.failing_since.or(since.filter(|_| is_fetched))
        }
    };
    Health {
        issuer: issuer.to_owned(),
        state: life,
        frozen: false,
        halted: state.halted,
        keys: state.set.as_ref().map_or(0, |held| held.keys.len()),
        age_s: fetched.map(|held| now.seconds_since(held.since)),
        error: state.last_error.as_ref().map(in_full),
        error_class: state.last_error.as_ref().map(FetchError::class),
        since,
    }
}
