//! What a caller asks for: the body of `POST /v1/grants`, `/v1/requests` and `/v1/decisions`. Strict, every member.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

use crate::Token;

/// An ask: one action, on named resources, for one unit of work.
///
/// Form only. Whether the action exists, the resource parses and the evidence holds is judged inside the walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// `deploy` or `Action::"deploy"`.
    pub action: String,
    /// 1 to 64 Cedar uids, `Environment::"prod/web"` or `Environment::prod/web`; all must be permitted.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    pub resources: Vec<String>,
    /// What to mint.
    pub credential: CredentialAsk,
    /// The action's own input, checked against its type in the schema. A member may not appear twice, at any depth.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "object"
    )]
    pub input: Option<Map<String, Value>>,
    /// Life wanted, in seconds, at least 1. Absent: the policy's default. Above a cap it is shortened, never refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4_294_967_295_u32)))]
    pub ttl_s: Option<u32>,
    /// The caller's own words, at most 500 characters. No policy reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 500)))]
    pub reason: Option<String>,
    /// An open task (`task_…`), where the evidence names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// For whom a JWT is. The same as [`CredentialAsk::audience`], which may stand instead; never two that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1024)))]
    pub audience: Option<String>,
    /// A token of the person or agent the caller acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Token>,
}

/// What to mint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CredentialAsk {
    /// Certificate or token.
    pub kind: CredentialKind,
    /// A PKCS#10 request as PEM, or as base64 DER. Only its verified public key survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// Instead of a CSR: the subject's SubjectPublicKeyInfo, base64 DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spki: Option<String>,
    /// A profile of `[ca.profile.NAME]`. Absent: the kind's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// For whom a JWT is: exactly one audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1024)))]
    pub audience: Option<String>,
}

/// The kinds of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CredentialKind {
    /// An access token, `typ: at+jwt`.
    Jwt,
    /// A certificate with a SPIFFE ID.
    X509,
    /// A word this broker does not know, kept apart so that it is answered by `unsupported_credential`.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Unsupported,
}

/// Reads `null` or an object in which no member appears twice, however deep: `serde_json` alone keeps the last one,
/// and two readers that keep different ones approve different things.
fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Map<String, Value>>, D::Error> {
    match Option::<Unique>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Unique(Value::Object(members))) => Ok(Some(members)),
        Some(_) => Err(de::Error::custom("`input` is not an object")),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate members")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let Unique(value) = map.next_value()?;
            if members.contains_key(&name) {
                return Err(de::Error::custom(format_args!("duplicate member `{name}`")));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, CredentialKind};

    /// The ask of UX.md §4, nulls and all.
    const WHOLE: &str = r#"{"action":"deploy","resources":["Environment::\"prod/web\""],
        "credential":{"kind":"x509","csr":"PEM"},"ttl_s":1800,"reason":"v2.3.1","task":null,"audience":null,
        "on_behalf_of":null}"#;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<Ask>(json)
            .expect_err(json)
            .to_string()
    }

    #[test]
    fn reads_the_documented_ask() {
        let ask: Ask = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(ask.resources, ["Environment::\"prod/web\""]);
        assert_eq!(ask.credential.kind, CredentialKind::X509);
        assert_eq!(
            (ask.ttl_s, ask.task, ask.on_behalf_of),
            (Some(1800), None, None)
        );
    }

    #[test]
    fn leaves_out_what_is_not_said() {
        let ask: Ask = serde_json::from_str(
            r#"{"action":"a","resources":["T::x"],"credential":{"kind":"jwt"}}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&ask).unwrap(),
            r#"{"action":"a","resources":["T::x"],"credential":{"kind":"jwt"}}"#
        );
    }

    #[test]
    fn refuses_unknown_and_duplicate_members() {
        assert!(refusal(&WHOLE.replace("\"ttl_s\"", "\"ttl\"")).contains("unknown field `ttl`"));
        assert!(
            refusal(&WHOLE.replace("\"csr\"", "\"subject\"")).contains("unknown field `subject`")
        );
        assert!(
            refusal(&WHOLE.replace("\"task\"", "\"reason\"")).contains("duplicate field `reason`")
        );
    }

    #[test]
    fn refuses_a_duplicate_deep_inside_the_input() {
        let ask = |input: &str| WHOLE.replace("\"task\":null", &format!("\"input\":{input}"));
        assert!(refusal(&ask(r#"{"a":[{"b":1,"b":2}]}"#)).contains("duplicate member `b`"));
        assert!(refusal(&ask("[1]")).contains("not an object"));
        let good: Ask = serde_json::from_str(&ask(r#"{"a":[{"b":-1,"c":"x"}],"d":null}"#)).unwrap();
        assert_eq!(
            serde_json::to_string(&good.input).unwrap(),
            r#"{"a":[{"b":-1,"c":"x"}],"d":null}"#
        );
    }

    #[test]
    fn keeps_an_unknown_kind_apart() {
        let ask: Ask = serde_json::from_str(&WHOLE.replace("x509", "ssh")).unwrap();
        assert_eq!(ask.credential.kind, CredentialKind::Unsupported);
    }

    #[test]
    fn shows_no_token_in_debug() {
        let ask: Ask = serde_json::from_str(
            &WHOLE.replace("\"on_behalf_of\":null", "\"on_behalf_of\":\"eyJ.secret\""),
        )
        .unwrap();
        assert!(!format!("{ask:?}").contains("secret"));
    }
}
