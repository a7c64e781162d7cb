//! `{claim}` templates (IDENTITY.md §1.2): `/`-separated segments, each one literal or one placeholder, never both, so no
//! two sets of values render alike. No escapes, defaults, folding or globs; a value that does not fit is refused.

use std::borrow::Cow;

use data_encoding::BASE32_NOPAD;
use stint_policy::Value;

use crate::authenticate::Label;
use crate::authenticate::claims::spelled;
use crate::authenticate::keys::sha256;

/// A path with holes, checked when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `{claim:h}`: 160 bits of SHA-256 in lower-case base32, 32 characters, for values outside the alphabet.
    Hash(String),
    Literal(String),
    /// A value that is a path already, so it may hold `/`; only at the end.
    Path(String),
    Value(String),
}

impl Template {
    /// Reads a template. Whether its placeholders exist is for whoever knows the claims.
    ///
    /// # Errors
    /// What is wrong with which segment, in words for the operator.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        text.split('/')
            .map(Segment::parse)
            .collect::<Result<_, _>>()
            .map(Template)
    }

    /// The same, where the claims that `is_path` knows hold whole paths.
    ///
    /// # Errors
    /// If a path is not at the end: what follows it could be part of it.
    pub(super) fn with_paths(self, is_path: impl Fn(&str) -> bool) -> Result<Template, String> {
        let widen = |segment| match segment {
            Segment::Value(name) if is_path(&name) => Segment::Path(name),
            other => other,
        };
        let segments: Vec<Segment> = self.0.into_iter().map(widen).collect();
        let (_, way) = segments.split_last().unwrap_or((&END, &[]));
        let path = way.iter().find_map(|segment| match segment {
            Segment::Path(name) => Some(name),
            Segment::Hash(_) | Segment::Literal(_) | Segment::Value(_) => None,
        });
        match path {
            Some(name) => Err(format!("`{{{name}}}` is a path, and stands at the end")),
            None => Ok(Template(segments)),
        }
    }

    /// The claims it names, in order.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Hash(name) | Segment::Path(name) | Segment::Value(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The bytes of a path in which each claim that is taken as it is has as many as `of` says.
    pub(super) fn length(&self, of: impl Fn(&str) -> usize) -> usize {
        let bytes = |segment: &Segment| match segment {
            Segment::Hash(_) => HASH_BYTES * 8 / 5,
            Segment::Literal(text) => text.len(),
            Segment::Path(name) | Segment::Value(name) => of(name),
        };
        self.0
            .iter()
            .map(|segment| bytes(segment) + 1)
            .sum::<usize>()
            - 1
    }

    /// The path, or `None` if a claim it names is absent. `value`: the claim of that name.
    ///
    /// # Errors
    /// [`Label::Claims`] for a value that cannot be a segment.
    pub(super) fn render<'v>(
        &self,
        value: impl Fn(&str) -> Option<&'v Value>,
    ) -> Result<Option<String>, Label> {
        let mut path = String::with_capacity(64);
        for segment in &self.0 {
            let part = match segment {
                Segment::Literal(text) => Cow::Borrowed(text.as_str()),
                Segment::Hash(name) | Segment::Path(name) | Segment::Value(name) => {
                    let Some(value) = value(name) else {
                        return Ok(None);
                    };
                    let text = spelled(value).ok_or(Label::Claims)?;
                    if matches!(segment, Segment::Hash(_)) {
                        Cow::Owned(hashed(&text))
                    } else {
                        text
                    }
                }
            };
            let fits = match segment {
                Segment::Path(_) => part.split('/').all(is_segment),
                Segment::Hash(_) | Segment::Literal(_) | Segment::Value(_) => is_segment(&part),
            };
            if !fits {
                return Err(Label::Claims);
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&part);
        }
        Ok(Some(path))
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Segment, String> {
        let Some(inner) = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        else {
            return match is_segment(text) {
                true => Ok(Segment::Literal(text.to_owned())),
                false => Err(format!(
                    "segment `{text}` is neither `[A-Za-z0-9._-]+` nor one `{{claim}}`"
                )),
            };
        };
        let (name, hash) = match inner.strip_suffix(":h") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let named =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match (named, hash) {
            (true, true) => Ok(Segment::Hash(name.to_owned())),
            (true, false) => Ok(Segment::Value(name.to_owned())),
            (false, _) => Err(format!(
                "`{text}` is no placeholder; `:h` is the only modifier"
            )),
        }
    }
}

/// A segment of a SPIFFE path.
pub(super) fn is_segment(text: &str) -> bool {
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !matches!(text, "" | "." | "..") && text.bytes().all(in_alphabet)
}

pub(super) fn hashed(text: &str) -> String {
    let digest = sha256(text.as_bytes());
    let (half, _) = digest.split_at(HASH_BYTES);
    BASE32_NOPAD.encode(half).to_ascii_lowercase()
}

const END: Segment = Segment::Literal(String::new());

/// 160 bits: collision-free for any number of callers, and whole base32 characters.
const HASH_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn render(template: &str, claims: &[(&str, Value)]) -> Result<Option<String>, Label> {
        let claims: BTreeMap<_, _> = claims.iter().cloned().collect();
        Template::parse(template)
            .unwrap()
            .render(|name| claims.get(name))
    }

    #[test]
    fn a_value_fills_its_segment_whole() {
        let claims = |id: &str| [("id", Value::from(id)), ("n", Value::Long(3))];
        assert_eq!(
            render("ci/{id}/{n}", &claims("65")),
            Ok(Some("ci/65/3".into()))
        );
        assert_eq!(render("{absent}/{id}", &claims("65")), Ok(None));
        for injected in [
            "a/b", "..", ".", "a%2fb", "{n}", "a b", "ü", "", "a:b", "a?b", "a#b", "a\0",
        ] {
            assert_eq!(
                render("{id}", &claims(injected)),
                Err(Label::Claims),
                "{injected}"
            );
        }
        assert_eq!(
            render("{id}", &[("id", Value::Strings(["a".into()].into()))]),
            Err(Label::Claims)
        );
    }

    #[test]
    fn a_path_stands_at_the_end() {
        let with_paths = |text: &str| {
            let template = Template::parse(text).unwrap();
            template.with_paths(|name| name == "path")
        };
        let claims =
            [("td", "other.example"), ("path", "ns/shop/sa/web")].map(|(n, v)| (n, Value::from(v)));
        let template = with_paths("{td}/{path}").unwrap();
        let find = |name: &str| claims.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        assert_eq!(
            template.render(find),
            Ok(Some("other.example/ns/shop/sa/web".into()))
        );
        let injected = Value::from("ns/../sa");
        assert_eq!(template.render(|_| Some(&injected)), Err(Label::Claims));
        for bad in ["{path}/{td}", "{path}/{path}", "{path}/x"] {
            assert!(with_paths(bad).is_err(), "{bad}");
        }
        assert!(with_paths("{path:h}/{td}").is_ok(), "a hash has no `/`");
        assert_eq!(template.length(|_| 36), 36 + 1 + 36);
        assert_eq!(with_paths("a/{td:h}").unwrap().length(|_| 0), 1 + 1 + 32);
    }

    #[test]
    fn a_hash_takes_any_value_and_has_32_characters() {
        let hash = |text: &str| {
            render("{id:h}", &[("id", Value::from(text))])
                .unwrap()
                .unwrap()
        };
        // The head of SHA-256("abc"), ba7816bf8f01cfea414140de5dae2223b00361a3, in base32.
        assert_eq!(
            hash("abc"),
            "xj4bnp4pahh6uqkbidpf3lrceoyagyndy".get(..32).unwrap()
        );
        assert_ne!(hash("a/b"), hash("a.b"));
    }

    #[test]
    fn refuses_templates_that_could_render_two_callers_alike() {
        for bad in [
            "", "/", "a/", "/a", "a//b", "a-{id}", "{a}{b}", "{a}.b", "{}", "{:h}", "{a:x}",
            "{a b}", "{a", "*", "..", "{a.b}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        let names = |text| {
            Template::parse(text)
                .unwrap()
                .placeholders()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a/{b}/{c:h}"), ["b", "c"]);
    }
}
