//! Why a call failed, by who must act.

use stint_wire::{DecisionReceipt, Problem};

use crate::{Fingerprint, Judgement, SourceError};

/// A call that brought neither a credential nor a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Policy says no; asking again as it is will not help. [`Error::receipt`] says why.
    #[error("{}", .0.detail)]
    Denied(Box<Problem>),
    /// The configured URL or its trust anchor is not usable.
    #[error("`{url}` is no broker to talk to: {why}")]
    Endpoint {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The broker has another root than the pinned one.
    #[error("the broker's root is {found}, not the pinned {pinned}")]
    Fingerprint {
        /// What was pinned.
        pinned: Fingerprint,
        /// What the broker showed.
        found: Fingerprint,
    },
    /// The session key of a token that comes again could not be kept.
    #[error("the session key cannot be kept: {0}")]
    Keep(std::io::Error),
    /// A key pair or certificate request could not be made.
    #[error("no key could be made")]
    Key,
    /// The broker answered with any other problem.
    #[error("{}: {}", .0.code.as_str(), .0.detail)]
    Problem(Box<Problem>),
    /// The broker did not accept the evidence. It never says why; the judgement is our own, of our own token.
    #[error("the evidence was not accepted")]
    Rejected {
        /// What the broker said.
        problem: Box<Problem>,
        /// What this client sees in its token.
        judgement: Box<Judgement>,
    },
    /// There is no evidence to show.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was granted is not what was asked for, or does not come from the trust domain it says.
    #[error("the grant is not to be used: {0}")]
    Unfit(&'static str),
    /// Something answered that does not speak our API.
    #[error("the answer is not Stint's (HTTP {status})")]
    Unexpected {
        /// The HTTP status.
        status: u16,
    },
    /// No answer: refused, timed out, no TLS.
    #[error("the broker does not answer")]
    Unreachable(#[source] reqwest::Error),
}

impl Error {
    /// The broker's problem document, if it sent one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Denied(problem) | Self::Problem(problem) | Self::Rejected { problem, .. } => {
                Some(problem)
            }
            Self::Endpoint { .. }
            | Self::Fingerprint { .. }
            | Self::Keep(_)
            | Self::Key
            | Self::Source(_)
            | Self::Unfit(_)
            | Self::Unexpected { .. }
            | Self::Unreachable(_) => None,
        }
    }

    /// Why policy said no, if it did.
    #[must_use]
    pub fn receipt(&self) -> Option<DecisionReceipt> {
        self.problem().and_then(Problem::receipt)
    }
}
