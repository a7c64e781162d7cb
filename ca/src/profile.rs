//! What an operator lets certificates be: usages, names taken from the grant, a cap on their life.
//!
//! A profile that contradicts itself cannot be built. It never names anything by itself: every name
//! it adds is read out of the grant.

use stint_policy::{Grant, Seconds};

/// A `[ca.profile.NAME]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    usage: Usage,
    dns_from: Vec<String>,
    cn_from: Option<NameSource>,
    max_ttl: Seconds,
}

/// Extended key usages. Both together make a SPIFFE X.509-SVID; one alone makes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) client: bool,
    pub(crate) server: bool,
}

impl Profile {
    /// A profile as the config spells it (UX.md §5).
    ///
    /// - `name`: 1 to 32 of `[a-z0-9-]`;
    /// - `eku`: `client`, `server` or both, each once;
    /// - `dns_from`: resource types of the policy's schema; the id of each granted resource of such
    ///   a type becomes a DNS name. Only with `server`;
    /// - `cn_from`: a [`NameSource`], or empty for an empty subject;
    /// - `max_ttl`: the longest life, up to 24 h.
    ///
    /// # Errors
    /// [`ProfileError`], by the first fault.
    pub fn new(
        name: &str,
        eku: &[String],
        dns_from: &[String],
        cn_from: &str,
        max_ttl: Seconds,
    ) -> Result<Profile, ProfileError> {
        let in_alphabet = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(in_alphabet) {
            return Err(ProfileError::Name(name.to_owned()));
        }
        let usage = Usage::parse(eku)?;
        if !dns_from.is_empty() && !usage.server {
            return Err(ProfileError::NamesWithoutServer);
        }
        if let Some(empty) = dns_from.iter().find(|kind| kind.is_empty()) {
            return Err(ProfileError::DnsSource(empty.clone()));
        }
        if max_ttl.as_u32() == 0 || max_ttl > MAX_TTL {
            return Err(ProfileError::MaxTtl(max_ttl));
        }
        Ok(Profile {
            name: name.to_owned(),
            usage,
            dns_from: dns_from.to_vec(),
            cn_from: NameSource::parse(cn_from)?,
            max_ttl,
        })
    }

    /// The name asks use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest life of its certificates.
    #[must_use]
    pub fn max_ttl(&self) -> Seconds {
        self.max_ttl
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    pub(crate) fn cn_from(&self) -> Option<NameSource> {
        self.cn_from
    }

    pub(crate) fn has_dns_names(&self) -> bool {
        !self.dns_from.is_empty()
    }

    /// The grant's DNS names, in the order of its resources.
    pub(crate) fn dns_names(&self, grant: &Grant) -> Result<Vec<String>, NameError> {
        grant
            .resources()
            .iter()
            .filter(|resource| {
                self.dns_from
                    .iter()
                    .any(|kind| kind == resource.type_name())
            })
            .map(|resource| match is_dns_name(resource.id()) {
                true => Ok(resource.id().to_owned()),
                false => Err(NameError(resource.id().to_owned())),
            })
            .collect()
    }

    /// The grant's common name; at most 64 characters (RFC 5280, `ub-common-name`).
    pub(crate) fn common_name(&self, grant: &Grant) -> Result<Option<String>, NameError> {
        let name = match self.cn_from {
            None => return Ok(None),
            Some(NameSource::Caller) => grant.caller().as_str().to_owned(),
            Some(NameSource::Grant) => grant.id().to_string(),
            Some(NameSource::Task) => grant.task_id().to_string(),
            Some(NameSource::TaskName) => grant.task().to_owned(),
        };
        match (1..=64).contains(&name.chars().count()) {
            true => Ok(Some(name)),
            false => Err(NameError(name)),
        }
    }
}

impl Usage {
    fn parse(eku: &[String]) -> Result<Usage, ProfileError> {
        let mut usage = Usage {
            client: false,
            server: false,
        };
        for word in eku {
            let flag = match word.as_str() {
                "client" => &mut usage.client,
                "server" => &mut usage.server,
                _ => return Err(ProfileError::Eku(word.clone())),
            };
            if std::mem::replace(flag, true) {
                return Err(ProfileError::Eku(word.clone()));
            }
        }
        match usage.client || usage.server {
            true => Ok(usage),
            false => Err(ProfileError::NoUsage),
        }
    }
}

/// What of a grant may become a certificate's common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// `caller`: the SPIFFE ID, where it is no longer than 64 characters.
    Caller,
    /// `grant`: the grant's id.
    Grant,
    /// `task`: the task's id.
    Task,
    /// `task_name`: the task's name, where it is no longer than 64 characters.
    TaskName,
}

impl NameSource {
    /// Reads a `cn_from`; empty is `None`.
    ///
    /// # Errors
    /// [`ProfileError::CnSource`] for any other word.
    pub fn parse(word: &str) -> Result<Option<NameSource>, ProfileError> {
        match word {
            "" => Ok(None),
            "caller" => Ok(Some(NameSource::Caller)),
            "grant" => Ok(Some(NameSource::Grant)),
            "task" => Ok(Some(NameSource::Task)),
            "task_name" => Ok(Some(NameSource::TaskName)),
            _ => Err(ProfileError::CnSource(word.to_owned())),
        }
    }
}

/// Why a profile cannot be. The operator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// `cn_from` is none of its words.
    #[error("`cn_from` is `caller`, `grant`, `task` or `task_name`, not `{0}`")]
    CnSource(String),
    /// `dns_from` names no resource type.
    #[error("`dns_from` takes resource types, not `{0}`")]
    DnsSource(String),
    /// `eku` holds another word, or one twice.
    #[error("`eku` holds `client` and `server`, each at most once, not `{0}`")]
    Eku(String),
    /// `max_ttl` is zero or above 24 h.
    #[error("`max_ttl` is between a second and 24h, not `{0}`")]
    MaxTtl(Seconds),
    /// Not `[a-z0-9-]{1,32}`.
    #[error("a profile's name is 1 to 32 of a-z, 0-9 and `-`, not `{0}`")]
    Name(String),
    /// DNS names say whom a server is; without that usage no one may read them.
    #[error("`dns_from` needs `server` in `eku`")]
    NamesWithoutServer,
    /// A certificate that is good for nothing.
    #[error("`eku` is empty")]
    NoUsage,
}

/// A name in the grant that its profile would put into a certificate, and that cannot be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameError(pub(crate) String);

/// Lower-case letters, digits and hyphens in labels of 1 to 63, at least two of them, 253 in all;
/// no wildcard, no trailing dot, no number at the end (RFC 1123 §2.1).
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.contains('.') && !last_is_number && name.split('.').all(label)
}

/// SECURITY.md §4: nothing Stint mints lives longer than a day.
const MAX_TTL: Seconds = Seconds::new(24 * 3600);

#[cfg(test)]
mod tests {
    use stint_policy::Seconds;

    use super::{Profile, ProfileError, is_dns_name};

    fn check(eku: &[&str], dns_from: &[&str], cn_from: &str) -> Result<Profile, ProfileError> {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let hour = Seconds::new(3600);
        Profile::new("default", &words(eku), &words(dns_from), cn_from, hour)
    }

    #[test]
    fn a_contradictory_profile_cannot_be_built() {
        assert_eq!(check(&[], &[], ""), Err(ProfileError::NoUsage));
        assert_eq!(
            check(&["client", "client"], &[], ""),
            Err(ProfileError::Eku("client".into()))
        );
        assert_eq!(
            check(&["any"], &[], ""),
            Err(ProfileError::Eku("any".into()))
        );
        assert_eq!(
            check(&["client"], &["Host"], ""),
            Err(ProfileError::NamesWithoutServer)
        );
        assert_eq!(
            check(&["client"], &[], "reason"),
            Err(ProfileError::CnSource("reason".into()))
        );
        assert!(check(&["client", "server"], &["Host"], "grant").is_ok());
        let day = Seconds::new(86_401);
        assert_eq!(
            Profile::new("default", &["client".to_owned()], &[], "", day),
            Err(ProfileError::MaxTtl(day))
        );
        assert!(Profile::new("De fault", &[], &[], "", day).is_err());
    }

    #[test]
    fn a_dns_name_is_exact_and_lower_case() {
        for good in ["api.example.com", "a-1.b", "xn--bcher-kva.example"] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "*.example.com",
            "Api.example.com",
            "a..b",
            "a.b.",
            "-a.b",
            "10.0.0.1",
            "a_b.c",
            "prod/web",
        ] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
