//! What is wrong with an entry, key by key, so that the config's reader can point at the line.

use stint_policy::Seconds;

/// One thing an operator has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key inside `[issuer.NAME]`: `audience`, `only.repository_id`; empty for the table itself.
    pub key: String,
    /// What is wrong, to be read after the key.
    pub text: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Fault {
    pub(crate) fn new(key: impl Into<String>, text: impl Into<String>) -> Fault {
        Fault {
            key: key.into(),
            text: text.into(),
            help: None,
        }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Fault {
        Fault {
            help: Some(help.into()),
            ..self
        }
    }
}

/// Faults as they are found; nobody stops at the first.
#[derive(Debug, Default)]
pub(in crate::authenticate) struct Faults(Vec<Fault>);

impl Faults {
    pub(in crate::authenticate) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(in crate::authenticate) fn keep<T>(&mut self, outcome: Result<T, Fault>) -> Option<T> {
        outcome.map_err(|fault| self.push(fault)).ok()
    }

    pub(in crate::authenticate) fn keep_all<T>(
        &mut self,
        outcome: Result<T, Vec<Fault>>,
    ) -> Option<T> {
        outcome.map_err(|faults| self.0.extend(faults)).ok()
    }

    pub(in crate::authenticate) fn into_list(self) -> Vec<Fault> {
        self.0
    }

    /// `value`, if nothing was found.
    pub(in crate::authenticate) fn or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

/// A duration, if one is stated.
pub(super) fn duration(key: &str, text: Option<&str>) -> Result<Option<Seconds>, Fault> {
    let parsed = text.map(Seconds::parse).transpose();
    parsed.map_err(|error| Fault::new(key, error.to_string()))
}
