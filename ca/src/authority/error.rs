//! Why a credential was not prepared, or not signed: by who must act.

use crate::{lint::LintError, profile::NameError, signer::SignerError};

/// Why no bytes were made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The caller's: its request asks for more than the grant gives.
    #[error("the request asks for {0}, which the grant does not give")]
    BeyondGrant(String),
    /// The operator's: the issuing CA is not yet, or no longer, valid.
    #[error("the issuing CA is not valid now")]
    IssuingCa,
    /// The operator's: the profile takes a name from the grant that a certificate cannot carry.
    #[error("`{0}` cannot be a name in a certificate")]
    Name(String),
    /// The caller's: a token is for one audience.
    #[error("a token needs an audience")]
    NoAudience,
    /// The caller's: the bounds leave no second of life.
    #[error("the bounds leave no time to live")]
    NoLife,
    /// Ours: the order is not for what was granted.
    #[error("the order is not for what was granted")]
    OtherKind,
    /// Ours: the caller is of another trust domain.
    #[error("the caller is of another trust domain")]
    OtherTrustDomain,
    /// The caller's: the key is one of ours.
    #[error("the key is one of this service's own")]
    OurKey,
    /// The caller's: its audience knows callers by a name that this one has not.
    #[error("the audience does not take this caller: {0}")]
    Subject(String),
    /// The caller's: a name of the grant is longer than a certificate's extension carries.
    #[error("`{what}` is longer than the {most} bytes a certificate carries")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Bytes at most (PROTOCOLS.md §3.13).
        most: usize,
    },
    /// The caller's: the grant is for a bound token, and no key was proved that binds it.
    #[error("the grant is bound to a key, and none was proved")]
    Unbound,
    /// The caller's: there is no such profile.
    #[error("there is no profile `{0}`")]
    UnknownProfile(String),
    /// Ours: what was meant cannot be encoded.
    #[error("the certificate could not be encoded")]
    Encode(#[source] der::Error),
    /// Ours: the bytes are not what was meant.
    #[error(transparent)]
    Lint(#[from] LintError),
}

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Whoever asked: another ask may succeed.
    Caller,
    /// Whoever runs the broker.
    Operator,
    /// We ourselves: a bug.
    Ours,
}

impl PrepareError {
    /// Who can mend it.
    #[must_use]
    pub const fn whose(&self) -> Whose {
        match self {
            Self::BeyondGrant(_)
            | Self::NoAudience
            | Self::NoLife
            | Self::OurKey
            | Self::Subject(_)
            | Self::TooLong { .. }
            | Self::Unbound
            | Self::UnknownProfile(_) => Whose::Caller,
            Self::IssuingCa | Self::Name(_) => Whose::Operator,
            Self::Encode(_) | Self::Lint(_) | Self::OtherKind | Self::OtherTrustDomain => {
                Whose::Ours
            }
        }
    }
}

impl From<NameError> for PrepareError {
    fn from(NameError(name): NameError) -> PrepareError {
        PrepareError::Name(name)
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Its life was over before it was signed.
    #[error("the grant has ended")]
    Ended,
    /// What came out is not what was recorded.
    #[error("the signed bytes are not the recorded ones")]
    Mismatch,
    /// The receipt is of an entry that grants nothing.
    #[error("the receipt is not of a grant")]
    NotGranted,
    /// The receipt is of other bytes, or of another grant.
    #[error("the receipt is of other bytes")]
    OtherBytes,
    /// The receipt is of another log.
    #[error("the receipt is of another log")]
    OtherLog,
    /// The key store failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}
