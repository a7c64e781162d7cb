//! SPIFFE IDs in their one canonical form (IDENTITY.md §1.3). What is not canonical is refused, never folded.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// `spiffe://` trust domain `/` path, at most 2,048 bytes; compared as bytes. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(Arc<str>);

impl SpiffeId {
    /// Reads the canonical form: lower-case scheme; trust domain of 1 to 255 bytes `[a-z0-9._-]`; one or more segments
    /// `[A-Za-z0-9._-]+`, none of them `.` or `..`; no trailing slash.
    ///
    /// # Errors
    /// The [`SpiffeIdError`] of the first part that is amiss.
    pub fn parse(text: &str) -> Result<SpiffeId, SpiffeIdError> {
        if text.len() > LONGEST {
            return Err(SpiffeIdError::Length(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeIdError::NoPath)?;
        let domain_byte = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if !(1..=255).contains(&domain.len()) || !domain.bytes().all(domain_byte) {
            return Err(SpiffeIdError::TrustDomain(domain.to_owned()));
        }
        let segment_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(segment_byte);
        match path.split('/').find(|part| !segment(part)) {
            Some(part) => Err(SpiffeIdError::Segment(part.to_owned())),
            None => Ok(SpiffeId(Arc::from(text))),
        }
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name between `spiffe://` and the path.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.parts().0
    }

    /// The path with its leading slash left off: `github/123456/456789`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.split_once('/').unwrap_or_default()
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::parse(text)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a canonical SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpiffeIdError {
    /// More than 2,048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes, this has {0}")]
    Length(usize),
    /// A trust domain alone names nobody.
    #[error("a SPIFFE ID that names a caller has a path")]
    NoPath,
    /// It does not begin with `spiffe://`, in lower case.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    /// An empty segment, `.`, `..`, or a character outside the alphabet.
    #[error("`{0}` is no path segment of a SPIFFE ID")]
    Segment(String),
    /// Empty, too long, or a character outside the alphabet.
    #[error("`{0}` is no trust domain")]
    TrustDomain(String),
}

const SCHEME: &str = "spiffe://";

/// SPIFFE-ID §2.3: implementations must support this length and refuse more.
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_canonical_form() {
        let id = SpiffeId::parse("spiffe://acme.dev/github/123456/456789").unwrap();
        assert_eq!(
            (id.trust_domain(), id.path()),
            ("acme.dev", "github/123456/456789")
        );
        assert_eq!(id.to_string(), "spiffe://acme.dev/github/123456/456789");
    }

    #[test]
    fn refuses_what_is_equivalent_only_by_folding() {
        let segment = |s: &str| SpiffeIdError::Segment(s.to_owned());
        let domain = |s: &str| SpiffeIdError::TrustDomain(s.to_owned());
        for (text, error) in [
            ("SPIFFE://acme.dev/a", SpiffeIdError::Scheme),
            ("https://acme.dev/a", SpiffeIdError::Scheme),
            ("spiffe://acme.dev", SpiffeIdError::NoPath),
            ("spiffe:///a", domain("")),
            ("spiffe://Acme.dev/a", domain("Acme.dev")),
            ("spiffe://acme.dev:443/a", domain("acme.dev:443")),
            ("spiffe://me@acme.dev/a", domain("me@acme.dev")),
            ("spiffe://acme.dev/", segment("")),
            ("spiffe://acme.dev/a/", segment("")),
            ("spiffe://acme.dev/a/../b", segment("..")),
            ("spiffe://acme.dev/a%2fb", segment("a%2fb")),
            ("spiffe://acme.dev/a?b", segment("a?b")),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
        }
        let long = format!("spiffe://acme.dev/{}", "a".repeat(2048));
        assert_eq!(SpiffeId::parse(&long), Err(SpiffeIdError::Length(2066)));
    }
}
