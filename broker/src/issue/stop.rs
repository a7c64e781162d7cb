//! Why a walk ends without an outcome: as its caller hears it ([`Error`]), and as the walk tells itself ([`Stop`]).

use stint_ca::PrepareError;

use crate::authenticate::{Caller, Label, Refused};
use crate::ledger::{self, Lost};
use crate::limits::TooMany;
use crate::limits::turns::Busy;

/// Why a walk ended without an outcome. Nothing was minted; nothing but a first replay was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The evidence does not hold, for whatever reason: one answer for all.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was granted, and what it came to is not kept: a token, or what a crash cut off.
    #[error("it was delivered already, and is not kept")]
    AlreadyDelivered,
    /// The idempotency key stands for another ask.
    #[error("the idempotency key was used for another ask")]
    Conflict,
    /// So many asks of this caller wait for people already.
    #[error("{0} asks of this caller wait for people already")]
    TooManyOpen(usize),
    /// It was held, and its request has ended.
    #[error("the request has ended")]
    RequestEnded,
    /// It was used before.
    #[error("the evidence was used before")]
    Replayed,
    /// The DPoP proof was used before.
    #[error("the DPoP proof was used before")]
    ProofReplayed,
    /// More is under way than can be. The evidence was not spent.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The caller asks too often. Its evidence was not spent.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The ledger or the store cannot take the outcome: nothing happened.
    #[error("the outcome cannot be recorded")]
    Unavailable(#[source] ledger::Error),
    /// The CA cannot prepare it, and the caller is not to blame. Nothing was recorded.
    #[error("the credential cannot be prepared")]
    Unprepared(#[source] PrepareError),
    /// Recorded, but not signed: the entry is followed by one that says so.
    #[error("the signer failed")]
    Unsigned(#[source] stint_ca::SignError),
}

/// Why a walk did not come to an outcome.
pub(super) enum Stop {
    Error(Error),
    Lost(Lost),
    /// The entry would be larger than the ledger takes: the ask is, then.
    TooLarge,
}

impl Stop {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Lost(lost) => Error::Unavailable(ledger::Error::Lost(lost)),
            Self::TooLarge => Error::Unavailable(ledger::Error::Unwritable),
        }
    }
}

/// An operator was faster than this walk: the issuer was frozen between its evidence and its outcome.
pub(super) fn frozen_meanwhile(caller: &Caller) -> Error {
    Error::Refused(Refused::Evidence {
        label: Label::Frozen,
        issuer: Some(caller.principal().issuer.as_str().into()),
    })
}

/// A store that cannot be read stops the walk like a ledger that cannot be written.
pub(super) fn unreadable(error: crate::store::Error) -> Stop {
    tracing::error!(%error, "the store cannot be read");
    Stop::Error(Error::Unavailable(ledger::Error::Unwritable))
}

impl From<ledger::Error> for Stop {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Lost(lost) => Self::Lost(lost),
            ledger::Error::Form(_) => Self::TooLarge,
            ledger::Error::NameTaken(_)
            | ledger::Error::Overloaded(_)
            | ledger::Error::Unwritable => Self::Error(Error::Unavailable(error)),
        }
    }
}
