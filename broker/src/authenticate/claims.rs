//! Typed claims (IDENTITY.md §1.1): each claim has one type, and whatever is not of it is refused, also where the claim
//! may be absent. Malformed, null, absent and duplicate stay four things. Nothing is cleaned, trimmed or folded.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value as Json;
use stint_policy::Value;
use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::authenticate::Label;
use crate::authenticate::jws::Payload;
use crate::authenticate::row::{From, Row};
use crate::authenticate::template::is_segment;

/// One claim that is read and kept. Claims nobody declares are neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// What templates, `only` and policy call it.
    pub(super) name: String,
    /// The members that lead to it, outermost first; none where the preset makes it of other claims.
    pub(super) path: Vec<String>,
    pub(super) shape: Shape,
    pub(super) need: Need,
    pub(super) nature: Nature,
    /// How long its values are at least.
    pub(super) least: usize,
}

/// The one JSON form a claim may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    /// A string of 1 to 255 bytes of visible ASCII.
    Id,
    Integer,
    /// Segments of a SPIFFE path, `/` between them.
    Path,
    /// Exactly `"true"` or `"false"`.
    StringBool,
    /// Decimal digits without leading zero, at most 2⁵³−1.
    StringInteger,
    /// At most 256 texts.
    Strings,
    /// An object of at most 256 texts, as a set of `name=text`; a name has no `=`, or two sets would look alike.
    Tags,
    /// At most 1,024 bytes of NFC without control, format, bidi or unassigned characters.
    Text,
}

/// Whether a token may lack it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Absent or null.
    Nullable,
    Optional,
    Required,
}

/// What may be built on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Something that was so when the token was made.
    Fact,
    /// An id that is never given to anybody else.
    Immutable,
    /// A name people can give away, of what the claim named here identifies.
    NameOf(&'static str),
}

impl Claim {
    /// A claim of a preset's table; of those its `check` makes, there is nothing to read.
    pub(super) fn of(row: &Row) -> Claim {
        let path = match row.from {
            From::Check => &[][..],
            From::Name => &[row.name][..],
            From::Path(path) => path,
        };
        Claim {
            name: row.name.to_owned(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            shape: row.shape,
            need: row.need,
            nature: row.nature,
            least: row.least,
        }
    }

    /// Its value in a payload; `None` where it is absent or empty and may be.
    ///
    /// # Errors
    /// [`Label::Claims`], if it is not of its shape, is null without leave, or is missing though required.
    pub(super) fn read(&self, payload: &Payload) -> Result<Option<Value>, Label> {
        if self.path.is_empty() {
            return Ok(None);
        }
        let found = match self.locate(payload)? {
            Some(Json::Null) if self.need == Need::Nullable => None,
            Some(json) => self.shape.read(json)?,
            None => None,
        };
        match (&found, self.need) {
            (None, Need::Required) => Err(Label::Claims),
            _ => Ok(found),
        }
    }

    fn locate<'p>(&self, payload: &'p Payload) -> Result<Option<&'p Json>, Label> {
        let (last, way) = self.path.split_last().ok_or(Label::Claims)?;
        let mut object = payload;
        for member in way {
            match object.get(member) {
                Some(Json::Object(inner)) => object = inner,
                None => return Ok(None),
                Some(_) => return Err(Label::Claims),
            }
        }
        Ok(object.get(last))
    }
}

impl Shape {
    /// The word of `extra.NAME = { type = … }`.
    pub(super) fn parse(word: &str) -> Option<Shape> {
        Some(match word {
            "bool" => Shape::Bool,
            "id" => Shape::Id,
            "integer" => Shape::Integer,
            "string" => Shape::Text,
            "string bool" => Shape::StringBool,
            "string integer" => Shape::StringInteger,
            "set of strings" => Shape::Strings,
            _ => return None,
        })
    }

    fn read(self, json: &Json) -> Result<Option<Value>, Label> {
        let value = match (self, json) {
            (Shape::Bool, Json::Bool(value)) => Some(Value::Bool(*value)),
            (Shape::Integer, Json::Number(number)) => number.as_i64().map(Value::Long),
            (Shape::Strings, Json::Array(items)) => strings(items),
            (Shape::Tags, Json::Object(tags)) => pairs(tags),
            (
                Shape::Id | Shape::Path | Shape::StringBool | Shape::StringInteger | Shape::Text,
                Json::String(text),
            ) => {
                if text.is_empty() {
                    return Ok(None);
                }
                self.read_text(text)
            }
            _ => None,
        };
        value.map(Some).ok_or(Label::Claims)
    }

    /// A value of this shape, if the text is one.
    pub(super) fn read_text(self, text: &str) -> Option<Value> {
        match self {
            Shape::Path => text.split('/').all(is_segment).then(|| Value::from(text)),
            Shape::Id => is_id(text).then(|| Value::from(text)),
            Shape::Text => is_text(text).then(|| Value::from(text)),
            Shape::StringBool => text.parse().ok().map(Value::Bool),
            Shape::StringInteger => decimal(text).map(Value::Long),
            Shape::Bool | Shape::Integer | Shape::Strings | Shape::Tags => None,
        }
    }

    /// Whether a value has one spelling, so that it can stand in a template.
    pub(super) fn is_spelled(self) -> bool {
        match self {
            Shape::Id | Shape::Integer | Shape::Path | Shape::StringInteger | Shape::Text => true,
            Shape::Bool | Shape::StringBool | Shape::Strings | Shape::Tags => false,
        }
    }

    /// The type that policies know its values by.
    pub(super) fn in_policy(self) -> &'static str {
        match self {
            Shape::Bool | Shape::StringBool => "Bool",
            Shape::Integer | Shape::StringInteger => "Long",
            Shape::Strings | Shape::Tags => "Set<String>",
            Shape::Id | Shape::Path | Shape::Text => "String",
        }
    }
}

/// The one spelling of a value that can stand in a template or in `only`; a set has none.
pub(super) fn spelled(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Long(value) => Some(Cow::Owned(value.to_string())),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Strings(_) => None,
    }
}

/// 1 to 255 bytes of visible ASCII.
pub(super) fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A UUID in its usual form, with small letters.
pub(super) fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    let fits = |(place, b): (usize, u8)| match dashes.contains(&place) {
        true => b == b'-',
        false => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// 1 to 1,024 bytes of NFC that show what they are.
pub(super) fn is_text(text: &str) -> bool {
    if !(1..=1024).contains(&text.len()) {
        return false;
    }
    let plain = |b: u8| matches!(b, b' '..=b'~');
    text.bytes().all(plain) || (is_nfc(text) && text.chars().all(is_visible))
}

fn is_visible(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    let hidden = [
        Control,
        Format,
        LineSeparator,
        ParagraphSeparator,
        PrivateUse,
        Surrogate,
        Unassigned,
    ];
    !hidden.contains(&c.general_category())
}

fn strings(items: &[Json]) -> Option<Value> {
    if items.len() > MAX_ITEMS {
        return None;
    }
    let text = |item: &Json| {
        item.as_str()
            .filter(|text| is_text(text))
            .map(str::to_owned)
    };
    items
        .iter()
        .map(text)
        .collect::<Option<BTreeSet<String>>>()
        .map(Value::Strings)
}

fn pairs(tags: &Payload) -> Option<Value> {
    if tags.len() > MAX_ITEMS {
        return None;
    }
    let pair = |(name, json): (&String, &Json)| {
        let text = json
            .as_str()
            .filter(|text| text.is_empty() || is_text(text))?;
        let named = is_text(name) && !name.contains('=');
        named.then(|| format!("{name}={text}"))
    };
    tags.iter()
        .map(pair)
        .collect::<Option<BTreeSet<String>>>()
        .map(Value::Strings)
}

/// One spelling per number, or `1` and `01` would render two tasks alike or one task twice.
fn decimal(text: &str) -> Option<i64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| canonical && digits && *number <= MAX_INTEGER)
}

/// Values of one claim that is a list (SECURITY.md §4).
const MAX_ITEMS: usize = 256;

/// 2⁵³−1, as in [`crate::strict`].
const MAX_INTEGER: i64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authenticate::row::{self, id};

    fn check(shape: Shape, json: Json, expected: Result<Option<Value>, Label>) {
        let payload = json!({ "c": json });
        let claim = Claim::of(&row::fact("c", shape));
        let read = claim.read(payload.as_object().unwrap());
        assert_eq!(read, expected, "{shape:?} {json}");
    }

    #[test]
    fn each_claim_has_one_type() {
        let no = || Err(Label::Claims);
        check(Shape::Id, json!("65"), Ok(Some(Value::from("65"))));
        check(Shape::Id, json!(65), no());
        check(Shape::Id, json!("6 5"), no());
        check(
            Shape::Id,
            json!("x".repeat(255)),
            Ok(Some(Value::from("x".repeat(255)))),
        );
        check(Shape::Id, json!("x".repeat(256)), no());
        check(Shape::Id, json!(["65"]), no());
        check(Shape::Bool, json!(true), Ok(Some(Value::Bool(true))));
        check(Shape::Bool, json!("true"), no());
        check(
            Shape::StringBool,
            json!("false"),
            Ok(Some(Value::Bool(false))),
        );
        check(Shape::StringBool, json!("False"), no());
        check(Shape::StringBool, json!(false), no());
        check(Shape::Integer, json!(7), Ok(Some(Value::Long(7))));
        check(Shape::Integer, json!(7.0), no());
        check(Shape::Integer, json!("7"), no());
        check(Shape::StringInteger, json!("7"), Ok(Some(Value::Long(7))));
        check(Shape::StringInteger, json!("07"), no());
        check(Shape::StringInteger, json!("+7"), no());
        check(Shape::StringInteger, json!("9007199254740992"), no());
        check(
            Shape::Strings,
            json!(["b", "a", "b"]),
            Ok(Some(Value::Strings(["a".into(), "b".into()].into()))),
        );
        check(Shape::Strings, json!(["a", 1]), no());
        check(Shape::Strings, json!(vec!["a"; 257]), no());
        check(
            Shape::Tags,
            json!({"team": "web", "on": ""}),
            Ok(Some(Value::Strings(
                ["on=".into(), "team=web".into()].into(),
            ))),
        );
        check(Shape::Tags, json!({"team=w": "eb"}), no());
        check(Shape::Tags, json!({"team": 1}), no());
        check(Shape::Tags, json!(["team=web"]), no());
        check(
            Shape::Path,
            json!("ns/shop"),
            Ok(Some(Value::from("ns/shop"))),
        );
        check(Shape::Path, json!("ns//shop"), no());
        check(Shape::Path, json!("ns/../shop"), no());
    }

    #[test]
    fn absent_empty_null_and_missing_are_four_things() {
        for shape in [
            Shape::Id,
            Shape::Text,
            Shape::StringBool,
            Shape::StringInteger,
        ] {
            check(shape, json!(""), Ok(None));
            check(shape, json!(null), Err(Label::Claims));
        }
        let read = |row: Row, payload: Json| Claim::of(&row).read(payload.as_object().unwrap());
        assert_eq!(read(id("c"), json!({})), Ok(None));
        assert_eq!(read(id("c").required(), json!({})), Err(Label::Claims));
        assert_eq!(
            read(id("c").required(), json!({"c": ""})),
            Err(Label::Claims)
        );
        assert_eq!(read(id("c").nullable(), json!({"c": null})), Ok(None));
        let nested = || id("pod_uid").at(&["kubernetes.io", "pod", "uid"]);
        assert_eq!(read(nested(), json!({"kubernetes.io": {}})), Ok(None));
        assert_eq!(
            read(nested(), json!({"kubernetes.io": {"pod": "web"}})),
            Err(Label::Claims)
        );
        assert_eq!(
            read(nested(), json!({"kubernetes.io": {"pod": {"uid": "5e"}}})),
            Ok(Some(Value::from("5e")))
        );
    }

    #[test]
    fn a_uuid_has_one_form() {
        assert!(is_uuid("72f988bf-86f1-41af-91ab-2d7cd011db47"));
        for other in [
            "",
            "common",
            "72F988BF-86f1-41af-91ab-2d7cd011db47",
            "72f988bf86f141af91ab2d7cd011db47",
            "72f988bf-86f1-41af-91ab-2d7cd011db4",
            "{72f988bf-86f1-41af-91ab-2d7cd011db4",
        ] {
            assert!(!is_uuid(other), "{other}");
        }
    }

    #[test]
    fn texts_show_what_they_are() {
        for good in ["refs/heads/main", "Grüße", "日本", "a b", "🦀"] {
            assert!(is_text(good), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in [
            "",
            "a\nb",
            "\u{202e}abc",
            "a\u{200b}b",
            "u\u{308}",
            "\u{378}",
            "\u{e000}",
            "\u{2028}",
            &long,
        ] {
            assert!(!is_text(bad), "{bad:?}");
        }
    }
}
