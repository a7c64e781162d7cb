//! Client data: what the browser says about the page (WebAuthn §5.8.1). JSON of the browser's own spelling, with
//! members it may add; so it is read, not linted, and a member that is there twice has no reading.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Expected, MAX_PART, PasskeyError};

/// What the browser was asked to do.
#[derive(Clone, Copy)]
pub(super) enum Ceremony {
    Create,
    Get,
}

/// Holds client data to what was asked for.
pub(super) fn check(
    bytes: &[u8],
    ceremony: Ceremony,
    expected: &Expected<'_>,
) -> Result<(), PasskeyError> {
    if bytes.len() > MAX_PART {
        return Err(PasskeyError::ClientData);
    }
    let Ok(Distinct(Value::Object(members))) = serde_json::from_slice(bytes) else {
        return Err(PasskeyError::ClientData);
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let (Some(kind), Some(challenge), Some(origin)) =
        (text("type"), text("challenge"), text("origin"))
    else {
        return Err(PasskeyError::ClientData);
    };
    let asked = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    if kind != asked {
        return Err(PasskeyError::Type);
    }
    if challenge != BASE64URL_NOPAD.encode(expected.challenge) {
        return Err(PasskeyError::Challenge);
    }
    if origin != expected.origin {
        return Err(PasskeyError::Origin);
    }
    match members.get("crossOrigin") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => return Err(PasskeyError::CrossOrigin),
        Some(_) => return Err(PasskeyError::ClientData),
    }
    match members.get("topOrigin") {
        None => Ok(()),
        Some(_) => Err(PasskeyError::TopOrigin),
    }
}

/// A value whose objects, at any depth, name each member once.
struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members).map(Self)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Distinct(item)) = items.next_element()? {
            out.push(item);
        }
        Ok(out.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some((name, Distinct(value))) = members.next_entry::<String, Distinct>()? {
            if out.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(out.into())
    }
}
