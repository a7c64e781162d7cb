//! The JSON Schema of `stint.toml`, for editors and for whoever writes one by program: from the same declarations that
//! read it. It knows keys, types, words, defaults and numbers' bounds; what hangs together across keys, and whether
//! files are there, only `stintd check` knows.

use serde_json::{Map, Value, json};

use super::declare::{KeyDoc, TableDoc};
use super::setting::Setting;
use super::tables::Config;

/// The schema of the whole file (JSON Schema 2020-12), as it is printed and committed.
#[must_use]
pub fn schema() -> String {
    let mut schema = Config::TABLE.map(table).unwrap_or_default();
    let draft = json!("https://json-schema.org/draft/2020-12/schema");
    put(&mut schema, "$schema", draft);
    put(&mut schema, "title", json!("stint.toml"));
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// A table: its keys and no others.
pub(super) fn table(doc: &TableDoc) -> Value {
    let keys = doc.keys.iter().map(|key| (key.name.to_owned(), one(key)));
    let keys: Map<String, Value> = keys.collect();
    let mut schema = json!({
        "type": "object",
        "description": prose(doc.about),
        "properties": keys,
        "additionalProperties": false,
    });
    let required: Vec<_> = doc.required().collect();
    if !required.is_empty() {
        put(&mut schema, "required", json!(required));
    }
    schema
}

/// Tables by names that the operator chooses.
pub(super) fn tables(inner: Value) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[a-z][a-z0-9-]{0,31}$" },
        "additionalProperties": inner,
    })
}

fn one(key: &KeyDoc) -> Value {
    let mut schema = match key.schema {
        Some(schema) => schema(),
        None => wanted(key.wants),
    };
    let mut about = prose(key.about);
    if let Some((least, most)) = key.bounds.map(|bounds| bounds()) {
        if least.is_number() {
            put(&mut schema, "minimum", least);
            put(&mut schema, "maximum", most);
        } else {
            about = format!("{about} {least} to {most}.");
        }
    }
    put(&mut schema, "description", json!(about));
    if let (Some(default), None, Some(_)) = (key.default, key.table, key.schema) {
        put(&mut schema, "default", default());
    }
    schema
}

/// The keys that `authenticate` declares say what they want in words alone.
fn wanted(wants: &str) -> Value {
    let text = || json!({ "type": "string" });
    match wants {
        "a duration" => duration(),
        "a list" => json!({ "type": "array", "items": text() }),
        "a table" => json!({ "type": "object" }),
        "a table of lists" => json!({
            "type": "object", "additionalProperties": { "type": "array", "items": text() },
        }),
        "true or false" => json!({ "type": "boolean" }),
        _ => text(),
    }
}

/// A number and its unit.
pub(super) fn duration() -> Value {
    json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)[smhd]$" })
}

/// Either this or the empty text.
pub(super) fn or_empty(schema: Value) -> Value {
    match schema.get("type") == Some(&json!("string"))
        && schema.as_object().is_some_and(|it| it.len() == 1)
    {
        true => schema,
        false => json!({ "anyOf": [schema, { "const": "" }] }),
    }
}

/// One of these references, none of them empty.
pub(super) fn reference(kinds: &[&str]) -> Value {
    let one = |kind: &&str| {
        json!({
            "type": "object", "required": [kind], "additionalProperties": false,
            "properties": { *kind: { "type": "string", "minLength": 1 } },
        })
    };
    json!({ "oneOf": kinds.iter().map(one).collect::<Vec<_>>() })
}

fn prose(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| line.trim());
    lines.collect::<Vec<_>>().join(" ")
}

/// A member more.
fn put(object: &mut Value, name: &str, member: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), member);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_committed_schema_is_the_generated_one() {
        let committed = include_str!("../../../deploy/stint.schema.json");
        assert!(
            committed == super::schema(),
            "deploy/stint.schema.json is not what the code says; write it anew:\n  \
             cargo run --bin stintd -- check --schema > /tmp/schema.json && mv /tmp/schema.json deploy/stint.schema.json"
        );
    }

    #[test]
    fn keys_types_words_and_bounds_are_in_it() {
        let schema: Value = serde_json::from_str(&super::schema()).unwrap();
        let at = |pointer: &str| {
            schema
                .pointer(pointer)
                .unwrap_or_else(|| panic!("no {pointer}"))
        };
        assert_eq!(
            schema["required"],
            serde_json::json!(["server", "ca", "policy"])
        );
        assert_eq!(at("/properties/limits/properties/queue/maximum"), 65_536);
        assert_eq!(at("/properties/policy/properties/reload/enum/1"), "watch");
        assert_eq!(
            at("/properties/issuer/additionalProperties/required/0"),
            "preset"
        );
        assert_eq!(
            at(
                "/properties/ca/properties/profile/additionalProperties/properties/eku/items/enum/0"
            ),
            "client"
        );
        assert_eq!(at("/properties/server/additionalProperties"), false);
    }
}
