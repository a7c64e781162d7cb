//! What of its grant a credential repeats, in the words both forms of credential share.

use data_encoding::BASE64URL_NOPAD;
use stint_policy::{ActionId, Grant};

use crate::authority::PrepareError;
use crate::jwk::sha256;

/// Grant, task, action and resources as they are spelt in credentials (PROTOCOLS.md §3.8, §3.13).
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    /// `gr_…`.
    pub(crate) grant: String,
    /// The task's name.
    pub(crate) task: &'a str,
    /// `deploy`, or canonical for an action that is not the operator's.
    pub(crate) action: String,
    /// Canonical uids, sorted; empty where there are more than [`MOST_LISTED`].
    pub(crate) resources: Vec<String>,
    /// SHA-256 of the JCS of the sorted array, where that is not listed.
    pub(crate) resources_hash: Option<[u8; 32]>,
    /// On whose behalf the caller acts: a SPIFFE ID.
    pub(crate) initiator: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of(grant: &'a Grant) -> Scope<'a> {
        let resources = grant.resources().iter().map(ToString::to_string).collect();
        Scope::new(grant.id().to_string(), grant.task(), resources)
            .action(action_text(grant.action()))
            .initiator(grant.subject().map(stint_policy::SpiffeId::as_str))
    }

    /// A scope of any parts: what `of` makes of a grant's, and what the start-up lint makes up.
    pub(crate) fn new(grant: String, task: &'a str, mut resources: Vec<String>) -> Scope<'a> {
        resources.sort_unstable();
        let hashed = resources.len() > MOST_LISTED;
        Scope {
            grant,
            task,
            action: String::new(),
            resources_hash: hashed.then(|| resources_hash(&resources)),
            resources: if hashed { Vec::new() } else { resources },
            initiator: None,
        }
    }

    pub(crate) fn action(self, action: String) -> Scope<'a> {
        Scope { action, ..self }
    }

    pub(crate) fn initiator(self, initiator: Option<&'a str>) -> Scope<'a> {
        Scope { initiator, ..self }
    }

    /// Whether the certificate's extension can carry it: SIZE of PROTOCOLS.md §3.13.
    pub(crate) fn fits(&self) -> Result<(), PrepareError> {
        let names = [("task", self.task), ("action", &self.action)].into_iter();
        let names = names.map(|(what, name)| (what, name, LONGEST_NAME));
        let resources = self.resources.iter();
        let resources = resources.map(|it| ("resource", it.as_str(), LONGEST_RESOURCE));
        match names
            .chain(resources)
            .find(|(_, name, most)| name.len() > *most)
        {
            Some((what, _, most)) => Err(PrepareError::TooLong { what, most }),
            None => Ok(()),
        }
    }

    /// The hash as JSON carries it.
    pub(crate) fn resources_hash_text(&self) -> Option<String> {
        self.resources_hash
            .map(|hash| BASE64URL_NOPAD.encode(&hash))
    }
}

/// `deploy` for `Action::"deploy"`; the canonical form for the actions of other namespaces, so that
/// no two actions read alike.
fn action_text(action: &ActionId) -> String {
    let canonical = action.to_string();
    match canonical.starts_with("Action::\"") {
        true => action.name().to_owned(),
        false => canonical,
    }
}

/// An array of strings has one JSON spelling under RFC 8785: no spaces, and serde_json's escapes.
fn resources_hash(sorted: &[String]) -> [u8; 32] {
    sha256(serde_json::json!(sorted).to_string().as_bytes())
}

/// PROTOCOLS.md §3.8: above this a credential carries the hash.
pub(crate) const MOST_LISTED: usize = 32;

/// Task and action, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// A canonical uid, in bytes.
pub(crate) const LONGEST_RESOURCE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn more_than_32_resources_become_one_hash() {
        let resources = |count: u32| -> Vec<String> {
            (0..count).map(|n| format!("Bucket::\"{n:02}\"")).collect()
        };
        let listed = Scope::new("gr_1".into(), "t", resources(32));
        assert_eq!((listed.resources.len(), listed.resources_hash), (32, None));
        let hashed = Scope::new("gr_1".into(), "t", resources(33));
        assert!(hashed.resources.is_empty());
        assert_eq!(
            hashed.resources_hash_text().unwrap(),
            "63t9p_JsBao3KBO54DtlkNXjoQnvjE7woYVGXTsIQXA"
        );
    }

    #[test]
    fn what_a_certificate_cannot_carry_is_the_callers_to_shorten() {
        let scope = |task: &'static str, resource: String| {
            Scope::new("gr_1".to_owned(), task, vec![resource]).action("deploy".to_owned())
        };
        assert!(scope("github:1", "x".repeat(1024)).fits().is_ok());
        let refused = scope("github:1", "x".repeat(1025)).fits().unwrap_err();
        assert_eq!(refused.whose(), crate::Whose::Caller);
        let long: &'static str = Box::leak("t".repeat(256).into_boxed_str());
        assert!(scope(long, "x".to_owned()).fits().is_err());
    }
}
