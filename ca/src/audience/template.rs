//! `sub_template`: literal text with `{spiffe_id}`, `{path}` and `{claim.X}` in it, each alone or with `:h`.
//!
//! INVARIANT: two different sets of values never render alike. Between two placeholders stands a character that neither
//! can hold, a value that does not fit its alphabet is refused, and nothing is folded, trimmed or cut.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use stint_policy::SpiffeId;

use crate::jwk::sha256;

/// How `sub` is made; checked when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubTemplate(Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `{claim.X}`: an immutable claim of the evidence, `[A-Za-z0-9._-]+`.
    Claim(String),
    /// `{…:h}`: 160 bits of SHA-256 of the value in lower-case base32, 32 characters.
    Hash(Box<Part>),
    /// Visible ASCII, taken as it is.
    Literal(String),
    /// `{path}`: the SPIFFE ID's path without its leading slash.
    Path,
    /// `{spiffe_id}`.
    SpiffeId,
}

/// Why a text is no template, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Two placeholders could run into each other.
    #[error(
        "has two placeholders with nothing between them that keeps them apart, such as `:` or `@`"
    )]
    Ambiguous,
    /// Nothing in it depends on the caller.
    #[error("gives every caller the same `sub`")]
    Constant,
    /// A character that relying parties mangle.
    #[error(
        "has a character that is not visible ASCII, or one of {{ }} \" \\ where it means nothing"
    )]
    Literal,
    /// An unknown placeholder.
    #[error(
        "does not know `{{{0}}}`: there are {{spiffe_id}}, {{path}}, {{claim.NAME}}, each also with :h"
    )]
    Placeholder(String),
}

impl SubTemplate {
    /// `{spiffe_id}`: what an access token and a JWT-SVID have.
    #[must_use]
    pub fn spiffe_id() -> SubTemplate {
        SubTemplate(vec![Part::SpiffeId])
    }

    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<SubTemplate, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if !literal.bytes().all(is_literal) {
                return Err(TemplateError::Literal);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            if literal.len() == rest.len() {
                break;
            }
            let (inner, after) = tail.split_once('}').ok_or(TemplateError::Literal)?;
            parts.push(placeholder(inner)?);
            rest = after;
        }
        if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            return Err(TemplateError::Constant);
        }
        match apart(&parts) {
            true => Ok(SubTemplate(parts)),
            false => Err(TemplateError::Ambiguous),
        }
    }

    /// The claims it takes.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part.bare() {
            Part::Claim(name) => Some(name.as_str()),
            Part::Hash(_) | Part::Literal(_) | Part::Path | Part::SpiffeId => None,
        })
    }

    /// Whether the SPIFFE ID is in it, so that no two callers are alike whatever their claims.
    #[must_use]
    pub fn names_the_caller(&self) -> bool {
        let whole = |part: &Part| matches!(part.bare(), Part::Path | Part::SpiffeId);
        self.0.iter().any(whole)
    }

    /// The longest `sub` it can make, in bytes, where `longest` says so of each placeholder without `:h`.
    #[must_use]
    pub fn longest(&self, longest: impl Fn(&Part) -> usize) -> usize {
        let bytes = |part: &Part| match part {
            Part::Hash(_) => HASHED,
            Part::Literal(text) => text.len(),
            Part::Claim(_) | Part::Path | Part::SpiffeId => longest(part),
        };
        self.0.iter().map(bytes).fold(0, usize::saturating_add)
    }

    pub(crate) fn render(
        &self,
        caller: &SpiffeId,
        claims: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let mut subject = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Literal(text) => subject.push_str(text),
                Part::Hash(of) => subject.push_str(&hashed(of.value(caller, claims)?)),
                Part::Claim(name) => {
                    let value = part.value(caller, claims)?;
                    if value.is_empty() || !value.bytes().all(is_plain) {
                        return Err(format!("the claim `{name}` cannot stand in a name there"));
                    }
                    subject.push_str(value);
                }
                Part::Path | Part::SpiffeId => subject.push_str(part.value(caller, claims)?),
            }
        }
        Ok(subject)
    }
}

impl Part {
    /// What is hashed, or the part itself.
    fn bare(&self) -> &Part {
        match self {
            Part::Hash(of) => of,
            Part::Claim(_) | Part::Literal(_) | Part::Path | Part::SpiffeId => self,
        }
    }

    fn value<'a>(
        &self,
        caller: &'a SpiffeId,
        claims: &'a BTreeMap<String, String>,
    ) -> Result<&'a str, String> {
        match self {
            Part::Path => Ok(caller.path()),
            Part::SpiffeId => Ok(caller.as_str()),
            Part::Claim(name) => {
                let absent = || {
                    format!("the evidence has no claim `{name}`, which its names are made of there")
                };
                claims.get(name).map(String::as_str).ok_or_else(absent)
            }
            Part::Hash(of) => of.value(caller, claims),
            Part::Literal(_) => Ok(""),
        }
    }

    /// Whether a value of this part can hold `byte`.
    fn holds(&self, byte: u8) -> bool {
        match self {
            Part::Claim(_) | Part::Hash(_) => is_plain(byte),
            Part::Literal(_) => false,
            Part::Path => is_plain(byte) || byte == b'/',
            Part::SpiffeId => is_plain(byte) || matches!(byte, b'/' | b':'),
        }
    }
}

fn placeholder(inner: &str) -> Result<Part, TemplateError> {
    if let Some(value) = inner.strip_suffix(":h") {
        return placeholder(value).map(|part| Part::Hash(Box::new(part)));
    }
    match (inner, inner.strip_prefix("claim.")) {
        ("spiffe_id", _) => Ok(Part::SpiffeId),
        ("path", _) => Ok(Part::Path),
        (_, Some(name)) if is_name(name) => Ok(Part::Claim(name.to_owned())),
        (_, _) => Err(TemplateError::Placeholder(inner.to_owned())),
    }
}

/// Whether between any two placeholders stands a byte that neither can hold: then where one ends is never in doubt.
fn apart(parts: &[Part]) -> bool {
    let mut before: Option<&Part> = None;
    let mut between: &[u8] = &[];
    for part in parts {
        if let Part::Literal(text) = part {
            between = text.as_bytes();
            continue;
        }
        let parts_them =
            |byte: &u8| !part.holds(*byte) && before.is_some_and(|it| !it.holds(*byte));
        if before.is_some() && !between.iter().any(parts_them) {
            return false;
        }
        (before, between) = (Some(part), &[]);
    }
    true
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'"' | b'\\')
}

fn hashed(value: &str) -> String {
    let digest = sha256(value.as_bytes());
    let (half, _) = digest.split_at(HASH_BYTES);
    BASE32_NOPAD.encode(half).to_ascii_lowercase()
}

/// 160 bits: collision-free for any number of callers, and whole base32 characters.
const HASH_BYTES: usize = 20;
/// 160 bits at five a character.
const HASHED: usize = HASH_BYTES * 8 / 5;
