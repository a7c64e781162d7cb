//! JSON from strangers, read by one set of rules: UTF-8, no member twice at any depth, whole numbers
//! within ±(2⁵³−1), bounded depth, members and strings, nothing after the value (PROTOCOLS.md §2,
//! SECURITY.md §4).
//!
//! What breaks a rule is refused, never cleaned. A plain `serde_json::Value` or map keeps the last of two twins, so no
//! other file of the broker reads a stranger's JSON with them.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// How much one document may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Objects and arrays inside each other, the outermost counted.
    pub(crate) depth: u8,
    /// Members of all objects together.
    pub(crate) members: usize,
    /// Bytes of one string or member name, after unescaping.
    pub(crate) string: usize,
}

impl Limits {
    /// Request bodies, JWS headers and JWT payloads (SECURITY.md §4, the table of limits).
    pub(crate) const WIRE: Limits = Limits {
        depth: 16,
        members: 512,
        string: 8 * 1024,
    };
    /// Metadata and key sets of issuers: 64 keys, some with certificate chains nobody reads.
    pub(crate) const METADATA: Limits = Limits {
        depth: 16,
        members: 4 * 1024,
        string: 64 * 1024,
    };
}

/// Why a text is not acceptable JSON. Its words name members and positions of the sender's own text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(serde_json::Error);

/// Reads one object.
///
/// # Errors
/// [`Unreadable`], if the text is not JSON, breaks a rule of this file or is something else than an object.
pub(crate) fn object(json: &[u8], limits: Limits) -> Result<Map<String, Value>, Unreadable> {
    match value(json, limits)? {
        Value::Object(members) => Ok(members),
        _ => Err(Unreadable(Error::custom("expected an object"))),
    }
}

/// Reads a `T`. Whether unknown members are refused is `T`'s own rule.
///
/// # Errors
/// [`Unreadable`], if the text is not JSON, breaks a rule of this file or is no `T`.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8], limits: Limits) -> Result<T, Unreadable> {
    serde_json::from_value(value(json, limits)?).map_err(Unreadable)
}

fn value(json: &[u8], limits: Limits) -> Result<Value, Unreadable> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let members = Cell::new(0);
    let seed = Reader {
        limits,
        depth: limits.depth,
        members: &members,
    };
    let value = seed.deserialize(&mut reader).map_err(Unreadable)?;
    reader.end().map_err(Unreadable)?;
    Ok(value)
}

/// Reads one value at a depth where `depth` more levels may open.
#[derive(Clone, Copy)]
struct Reader<'a> {
    limits: Limits,
    depth: u8,
    members: &'a Cell<usize>,
}

impl<'a> Reader<'a> {
    fn inside<E: Error>(self) -> Result<Reader<'a>, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("objects and arrays lie too deep"))?;
        Ok(Reader { depth, ..self })
    }

    fn count_member<E: Error>(self) -> Result<(), E> {
        self.members.set(self.members.get() + 1);
        match self.members.get() > self.limits.members {
            true => Err(E::custom("too many members")),
            false => Ok(()),
        }
    }

    fn measure<E: Error>(self, text: &str) -> Result<(), E> {
        match text.len() > self.limits.string {
            true => Err(E::custom("a string is too long")),
            false => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_INTEGER {
            return Err(E::custom("a whole number is beyond 2^53-1"));
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            return Err(E::custom("a whole number is beyond 2^53-1"));
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.measure(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.count_member()?;
            self.measure(&name)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "member `{name}` is given twice"
                )));
            }
            object.insert(name, members.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

/// RFC 7493 §2.2: beyond this two readers may see two numbers.
const MAX_INTEGER: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<(), &str>) {
        let outcome = object(json.as_bytes(), Limits::WIRE).map_err(|e| e.to_string());
        match (outcome, expected) {
            (Ok(read), Ok(())) => {
                let plain: Map<String, Value> = serde_json::from_str(json).unwrap();
                assert_eq!(read, plain);
            }
            (Err(text), Err(part)) => assert!(text.contains(part), "{json}: {text}"),
            (outcome, expected) => panic!("{json}: {outcome:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn reads_what_is_json_and_refuses_what_two_readers_may_read_differently() {
        check(
            r#"{"a":[1,-2,1.5,true,null,"ü\u00fc"],"b":{"a":{}}}"#,
            Ok(()),
        );
        check(r#"{"n":9007199254740991,"m":-9007199254740991}"#, Ok(()));
        check(r#"{"a":1,"a":1}"#, Err("`a` is given twice"));
        check(r#"{"a":1,"\u0061":1}"#, Err("`a` is given twice"));
        check(r#"{"x":[{"y":{"a":1,"a":2}}]}"#, Err("`a` is given twice"));
        check(r#"{"n":9007199254740992}"#, Err("beyond 2^53-1"));
        check(r#"{"n":-9007199254740992}"#, Err("beyond 2^53-1"));
        check(r#"{"n":1e999}"#, Err("out of range"));
        check(r#"{"s":"\ud800"}"#, Err("hex escape"));
        check(r#"{"a":1} {}"#, Err("trailing"));
        check(r#"{"a":1,}"#, Err("trailing comma"));
        check("[]", Err("expected an object"));
        check("", Err("EOF"));
        check("\u{feff}{}", Err("expected value"));
    }

    #[test]
    fn bounds_depth_members_and_strings() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        check(&nested(15), Ok(()));
        check(&nested(16), Err("too deep"));
        check(&nested(100_000), Err("too deep"));
        let members = |n: usize| {
            let list: Vec<String> = (0..n).map(|i| format!("\"m{i}\":0")).collect();
            format!("{{{}}}", list.join(","))
        };
        check(&members(512), Ok(()));
        check(&members(513), Err("too many members"));
        check(&format!("{{\"s\":\"{}\"}}", "x".repeat(8192)), Ok(()));
        check(
            &format!("{{\"s\":\"{}\"}}", "x".repeat(8193)),
            Err("too long"),
        );
        assert!(object(b"{\"a\":\"\xff\"}", Limits::WIRE).is_err());
    }

    #[test]
    fn a_typed_reader_keeps_the_rules() {
        assert_eq!(read::<Vec<u8>>(b"[1,2]", Limits::WIRE).unwrap(), [1, 2]);
        assert!(
            read::<std::collections::BTreeMap<String, u8>>(br#"{"a":1,"a":1}"#, Limits::WIRE)
                .is_err()
        );
        assert!(read::<Vec<u8>>(b"{}", Limits::WIRE).is_err());
    }
}
