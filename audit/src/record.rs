//! Objects that are read as objects alone. A derived reader takes `["a", 1]` for `{"name": "a", "n": 1}` as well, and
//! then one value has two spellings that both pass.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// For `deserialize_with`: a record.
pub(crate) fn one<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Record::deserialize(deserializer).map(|record| record.0)
}

/// For `deserialize_with`: a record, or none.
pub(crate) fn maybe<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let record = Option::<Record<T>>::deserialize(deserializer)?;
    Ok(record.map(|record| record.0))
}

/// For `deserialize_with`: records.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let records = Vec::<Record<T>>::deserialize(deserializer)?;
    Ok(records.into_iter().map(|record| record.0).collect())
}

struct Record<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Record<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Record<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Record)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::from_str;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u64,
        b: u64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "super::maybe")]
        maybe: Option<Pair>,
        #[serde(default, deserialize_with = "super::list")]
        list: Vec<Pair>,
    }

    #[test]
    fn takes_objects_and_no_bare_values() {
        let good = from_str(r#"{"maybe":{"a":1,"b":2},"list":[{"a":1,"b":2}]}"#);
        let pair = || Pair { a: 1, b: 2 };
        let both = Holder {
            maybe: Some(pair()),
            list: vec![pair()],
        };
        assert_eq!(good.ok(), Some(both));
        assert_eq!(from_str::<Holder>(r#"{"maybe":null}"#).unwrap().maybe, None);
        for bad in [
            r#"{"maybe":[1,2]}"#,
            r#"{"list":[[1,2]]}"#,
            r#"{"maybe":{"a":1,"a":1,"b":2}}"#,
        ] {
            assert!(from_str::<Holder>(bad).is_err(), "{bad}");
        }
    }
}
