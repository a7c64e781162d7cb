//! `[ledger] keep_bodies`: how long bodies of each kind are kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stint_audit::kind::KINDS;
use stint_policy::Seconds;
use toml::de::DeValue;

use super::nearest::nearest;
use super::schema;
use super::setting::{Place, Word, Wrong};

/// How long bodies are kept, by kind; for ever, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepBodies(BTreeMap<String, Seconds>);

impl KeepBodies {
    /// Whether all are kept for ever.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each kind whose bodies go at some time, and after how long.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, Seconds)> {
        let all = self.0.get(ALL);
        let kept = move |kind: &&'static str| Some((*kind, *self.0.get(*kind).or(all)?));
        KINDS.iter().filter_map(kept)
    }
}

impl Word for KeepBodies {
    const WANTS: &'static str = "a table such as { granted = \"400d\" }";

    fn schema() -> Value {
        let names: Vec<_> = KINDS.iter().chain([&ALL]).collect();
        json!({
            "type": "object",
            "propertyNames": { "enum": names },
            "additionalProperties": schema::duration(),
        })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Self, Wrong> {
        let table = value.as_table();
        let table = table.ok_or_else(|| Wrong::kind::<Self>(value))?;
        let mut kept = BTreeMap::new();
        for (kind, time) in table {
            let kind = kind.get_ref().as_ref();
            if kind != ALL && !KINDS.contains(&kind) {
                let near = nearest(kind, KINDS).map(|near| format!("did you mean `{near}`?"));
                let label = near.unwrap_or_else(|| Self::WANTS.to_owned());
                return Err(Wrong::new(
                    format!("does not know the kind `{kind}`"),
                    label,
                ));
            }
            let time = <Seconds as Word>::parse(time.get_ref(), place)?;
            if time < LEAST {
                let text = format!("keeps `{kind}` for less than a day");
                return Err(Wrong::new(text, "at least \"1d\""));
            }
            kept.insert(kind.to_owned(), time);
        }
        Ok(Self(kept))
    }

    fn json(&self) -> Value {
        let times = self.0.iter();
        let times = times.map(|(kind, time)| (kind.clone(), Word::json(time)));
        Value::Object(times.collect::<Map<_, _>>())
    }
}

/// All kinds that are not named.
const ALL: &str = "*";
/// What goes goes once a day.
const LEAST: Seconds = Seconds::new(86_400);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::Spanned;
    use toml::de::DeTable;

    use super::*;

    fn read(value: &str) -> Result<KeepBodies, String> {
        let text = format!("keep_bodies = {value}");
        let document = DeTable::parse(&text).unwrap();
        let value = document.get_ref().get("keep_bodies");
        let place = Place {
            dir: Path::new("/etc/stint"),
            env: |_| None,
            server_url: "",
            trust_domain: "",
        };
        let read = KeepBodies::parse(value.map(Spanned::get_ref).unwrap(), &place);
        read.map_err(|wrong| format!("{} ({})", wrong.text, wrong.label))
    }

    #[test]
    fn a_kind_has_its_own_time_or_that_of_all_others() {
        let keep = read("{ granted = \"400d\", \"*\" = \"90d\" }").unwrap();
        let of = |kind| {
            keep.kinds()
                .find(|(it, _)| *it == kind)
                .map(|(_, time)| time)
        };
        assert_eq!(of("granted"), Some(Seconds::new(400 * 86_400)));
        assert_eq!(of("denied"), Some(Seconds::new(90 * 86_400)));
        let keep = read("{ granted = \"400d\" }").unwrap();
        assert_eq!(keep.kinds().count(), 1);
        assert!(read("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_kind_or_no_day_is_refused() {
        for (value, why) in [
            (
                "{ grantd = \"400d\" }",
                "does not know the kind `grantd` (did you mean `granted`?)",
            ),
            (
                "{ granted = \"23h\" }",
                "keeps `granted` for less than a day (at least \"1d\")",
            ),
            (
                "{ granted = 400 }",
                "is a whole number, not a duration such as \"10m\" ()",
            ),
            (
                "\"400d\"",
                "is a string, not a table such as { granted = \"400d\" } ()",
            ),
        ] {
            assert_eq!(read(value).unwrap_err(), why);
        }
    }
}
