//! The names of an ask: one action and the resources it is for, in Cedar's spelling (UX.md §1.3). Parsed once at the
//! edge; whether a name is known is the policy set's answer, not theirs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// An action: `Action::"deploy"`, or `Stint::Action::"identify"` for one that Stint supplies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(Uid);

impl ActionId {
    /// Reads a canonical action, `Action::deploy`, or the bare name `deploy`, which is `Action::"deploy"`.
    ///
    /// # Errors
    /// [`UidError`], if the name is empty, too long, has control characters, or its type is not an `Action`.
    pub fn parse(text: &str) -> Result<ActionId, UidError> {
        let refused = || UidError::Action(text.to_owned());
        match Uid::parse(text) {
            Some(uid) if is_action(uid.type_name()) => Ok(ActionId(uid)),
            Some(_) => Err(refused()),
            None => Uid::new(ACTION, text).map(ActionId).ok_or_else(refused),
        }
    }

    /// The name alone: `deploy`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.id()
    }

    pub(crate) fn uid(&self) -> &Uid {
        &self.0
    }

    pub(crate) fn from_uid(uid: Uid) -> Option<ActionId> {
        is_action(uid.type_name()).then_some(ActionId(uid))
    }
}

/// A thing an ask is for: `Environment::"prod/web"`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(Uid);

impl Resource {
    /// Reads `Environment::"prod/web"` (with `\"` and `\\` for those two characters) or `Environment::prod/web`, where
    /// the type is the longest leading run of identifiers each followed by `::` and the rest is the id.
    ///
    /// # Errors
    /// [`UidError::Resource`] for any other text.
    pub fn parse(text: &str) -> Result<Resource, UidError> {
        Uid::parse(text)
            .map(Resource)
            .ok_or_else(|| UidError::Resource(text.to_owned()))
    }

    /// The type's name: `Environment`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.0.type_name()
    }

    /// The id within its type: `prod/web`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    pub(crate) fn uid(&self) -> &Uid {
        &self.0
    }

    pub(crate) fn from_uid(uid: Uid) -> Resource {
        Resource(uid)
    }
}

/// What one ask is for: 1 to 64 resources, sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resources(Vec<Resource>);

impl Resources {
    /// The most resources one ask may name (DESIGN.md §11).
    pub const MOST: usize = 64;

    /// Sorts them and keeps each once.
    ///
    /// # Errors
    /// [`UidError::Count`] unless 1 to 64 are left.
    pub fn new(mut resources: Vec<Resource>) -> Result<Resources, UidError> {
        resources.sort();
        resources.dedup();
        match resources.len() {
            1..=Resources::MOST => Ok(Resources(resources)),
            count => Err(UidError::Count(count)),
        }
    }

    /// Reads each text as [`Resource::parse`] does.
    ///
    /// # Errors
    /// [`UidError::Member`] names the first that cannot be read by its place, from 0; [`UidError::Count`] as in `new`.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Resources, UidError> {
        let parsed = texts.into_iter().enumerate().map(|(place, text)| {
            Resource::parse(text.as_ref()).map_err(|error| UidError::Member {
                place,
                error: Box::new(error),
            })
        });
        Resources::new(parsed.collect::<Result<_, _>>()?)
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.0.iter()
    }

    /// How many, 1 to 64.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty one cannot be made")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A Cedar entity uid: a type path and an id. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uid {
    type_name: Arc<str>,
    id: Arc<str>,
}

impl Uid {
    pub(crate) fn new(type_name: &str, id: &str) -> Option<Uid> {
        let type_ok = type_name.split("::").all(is_identifier);
        let id_ok = (1..=LONGEST_ID).contains(&id.len()) && !id.chars().any(char::is_control);
        (type_ok && id_ok).then(|| Uid {
            type_name: Arc::from(type_name),
            id: Arc::from(id),
        })
    }

    /// Both spellings of UX.md §1.3.
    pub(crate) fn parse(text: &str) -> Option<Uid> {
        let mut type_end = 0;
        while let Some((segment, _)) = text.get(type_end..)?.split_once("::")
            && is_identifier(segment)
        {
            type_end += segment.len() + 2;
        }
        let type_name = text.get(..type_end)?.strip_suffix("::")?;
        let id = text.get(type_end..)?;
        match id.strip_prefix('"') {
            Some(quoted) => Uid::new(type_name, &unescape(quoted.strip_suffix('"')?)?),
            None => Uid::new(type_name, id),
        }
    }

    pub(crate) fn type_name(&self) -> &str {
        &self.type_name
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// The reverse of what `Display` escapes; none for any other escape and for a bare quote.
fn unescape(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next().filter(|next| matches!(next, '"' | '\\'))?,
            '"' => return None,
            c => c,
        });
    }
    Some(plain)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_action(type_name: &str) -> bool {
    type_name == ACTION || type_name.ends_with("::Action")
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::\"", self.type_name)?;
        for c in self.id.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! shown_as_uid {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = UidError;

            fn from_str(text: &str) -> Result<$name, UidError> {
                $name::parse(text)
            }
        }
    )*};
}

shown_as_uid!(ActionId Resource);

/// A name that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UidError {
    /// Not an action.
    #[error("`{0}` is no action such as `deploy` or `Action::\"deploy\"`")]
    Action(String),
    /// None, or more than 64.
    #[error("an ask names 1 to 64 resources, this names {0}")]
    Count(usize),
    /// One of several names.
    #[error("resource {place}: {error}")]
    Member {
        /// Its place in the list, from 0.
        place: usize,
        /// What is wrong with it.
        error: Box<UidError>,
    },
    /// Not a resource.
    #[error("`{0}` is no resource such as `Environment::prod/web` or `Environment::\"prod/web\"`")]
    Resource(String),
}

const ACTION: &str = "Action";

/// IDENTITY.md §1.1: names have at most 1,024 bytes.
const LONGEST_ID: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_resource_are_one_name() {
        for (text, canonical) in [
            ("Environment::prod/web", r#"Environment::"prod/web""#),
            (r#"Environment::"prod/web""#, r#"Environment::"prod/web""#),
            ("Acme::Db::shop:1", r#"Acme::Db::"shop:1""#),
            (r#"Db::"Acme::shop""#, r#"Db::"Acme::shop""#),
            ("Db::a b::c", r#"Db::"a b::c""#),
            (r#"Db::"a\"b\\c""#, r#"Db::"a\"b\\c""#),
        ] {
            let resource = Resource::parse(text).unwrap();
            assert_eq!(resource.to_string(), canonical);
            assert_eq!(Resource::parse(canonical).unwrap(), resource);
        }
    }

    #[test]
    fn refuses_what_names_no_resource() {
        for text in [
            "",
            "prod",
            "Environment::",
            "::x",
            "1a::x",
            r#"A::"x"#,
            r#"A::"x"y""#,
            r#"A::"\n""#,
            "A::a\nb",
        ] {
            assert!(Resource::parse(text).is_err(), "{text}");
        }
        assert!(Resource::parse(&format!("A::{}", "x".repeat(1025))).is_err());
    }

    #[test]
    fn a_bare_action_is_the_operators() {
        for (text, canonical) in [
            ("deploy", r#"Action::"deploy""#),
            ("mcp:tools/call", r#"Action::"mcp:tools/call""#),
            ("Stint::Action::identify", r#"Stint::Action::"identify""#),
            (r#"Action::"deploy""#, r#"Action::"deploy""#),
        ] {
            assert_eq!(ActionId::parse(text).unwrap().to_string(), canonical);
        }
        for text in ["", "Environment::prod", "a\u{7}b"] {
            assert!(ActionId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn resources_are_sorted_distinct_and_counted() {
        let resources = Resources::parse(["B::b", "A::a", r#"B::"b""#]).unwrap();
        let names: Vec<String> = resources.iter().map(ToString::to_string).collect();
        assert_eq!(names, [r#"A::"a""#, r#"B::"b""#]);
        assert_eq!(Resources::new(vec![]), Err(UidError::Count(0)));
        assert_eq!(
            Resources::parse((0..65).map(|n| format!("A::{n}"))),
            Err(UidError::Count(65))
        );
        let error = Resources::parse(["A::a", "b"]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("resource 1: `b` is no resource"),
            "{error}"
        );
    }
}
