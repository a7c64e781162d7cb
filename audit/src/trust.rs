//! Whom an auditor trusts: keys he pinned and checkpoints he remembers, his own and nobody else's. Nothing a
//! bundle carries ever gets in here.

mod policy;

use crate::checkpoint::Checkpoint;
use crate::note::{KeyError, VerifierKey};

pub use policy::{Evaluation, Fault, Log, MAX_BYTES, Policy, PolicyError, Witness};

/// Pinned keys and a remembered checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Log keys, each pinned for the log of its name.
    pub keys: Vec<VerifierKey>,
    /// The newest checkpoint of this log that was verified here before.
    pub remembered: Option<Checkpoint>,
    /// Which witnesses must have cosigned.
    pub policy: Option<Policy>,
}

/// A line of a key file that is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}")]
pub struct TrustError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub source: KeyError,
}

impl Trust {
    /// Reads pinned keys: one note verifier key a line; `#` starts a comment.
    ///
    /// # Errors
    /// The first line that holds something else.
    pub fn from_keys(text: &str) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let key = text.split('#').next().unwrap_or_default().trim();
            if !key.is_empty() {
                let key = key.parse().map_err(|source| TrustError { line, source })?;
                trust.keys.push(key);
            }
        }
        Ok(trust)
    }

    /// Trusts what `policy` says: the keys of its logs, and its witnesses.
    #[must_use]
    pub fn from_policy(policy: Policy) -> Self {
        Self {
            keys: policy.logs().iter().map(|log| log.key.clone()).collect(),
            remembered: None,
            policy: Some(policy),
        }
    }

    /// The keys pinned for `log`.
    pub(crate) fn keys_of(&self, log: &str) -> Vec<VerifierKey> {
        let named = self.keys.iter().filter(|key| key.name() == log);
        named.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, Trust};
    use crate::note::KeyError;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn reads_keys_and_comments() {
        let trust = Trust::from_keys(&format!("# ours\n\n{VKEY} # since 2026\n")).unwrap();
        assert_eq!(trust.keys_of("example.com/foo").len(), 1);
        assert_eq!(trust.keys_of("example.com/bar").len(), 0);
    }

    #[test]
    fn a_policy_pins_the_keys_of_its_logs() {
        let policy = Policy::parse(format!("log {VKEY}\nquorum none\n").as_bytes()).unwrap();
        let trust = Trust::from_policy(policy.clone());
        assert_eq!(trust.keys_of("example.com/foo").len(), 1);
        assert_eq!(trust.policy, Some(policy));
    }

    #[test]
    fn names_the_line_that_is_no_key() {
        let refused = Trust::from_keys(&format!("{VKEY}\nsecret\n")).unwrap_err();
        assert_eq!((refused.line, refused.source), (2, KeyError::Form));
    }
}
