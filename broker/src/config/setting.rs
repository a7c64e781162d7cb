//! What can stand to the right of a key, and how it is read and shown.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::declare::TableDoc;
use super::nearest::is_name;
use super::reader::{At, Reader};
use super::schema;
use super::secret::Environment;

/// Where a document lies and what surrounds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Relative paths start here.
    pub(super) dir: &'a Path,
    pub(super) env: Environment,
    /// `[server] url`: an issuer's table is judged beside it.
    pub(super) server_url: &'a str,
    /// `[ca] trust_domain`, likewise.
    pub(super) trust_domain: &'a str,
}

/// Whatever can stand to the right of a key: a table of ours, tables by name, or a [`Word`].
pub(super) trait Setting: Sized {
    /// What is wanted here, with its article: `a whole number`.
    const WANTS: &'static str;
    /// The keys, if this is a table or a set of tables.
    const TABLE: Option<&'static TableDoc> = None;

    /// The JSON Schema of such a value.
    fn schema() -> Value;

    /// Reads a value; none if it is faulty, and then the reader knows at least one fault more.
    fn read(value: &Spanned<DeValue<'_>>, at: At<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The setting as it is recorded and printed: no nulls, no floats, no secrets.
    fn json(&self) -> Value;
}

/// A setting that is one plain value.
pub(super) trait Word: Sized {
    const WANTS: &'static str;
    /// Whether the empty text stands for "none" where the setting is optional.
    const EMPTY_IS_NONE: bool = true;

    /// The JSON Schema of such a value: a text, if nothing else is said.
    fn schema() -> Value {
        serde_json::json!({ "type": "string" })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Self, Wrong>;

    fn json(&self) -> Value;

    /// What is risky about a value that is accepted.
    fn caution(&self) -> Option<&'static str> {
        None
    }
}

/// Why a value is not accepted.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Continues "`key` in [table] ": `is not a duration`.
    pub(super) text: String,
    /// What would be right.
    pub(super) label: String,
}

impl Wrong {
    pub(super) fn new(text: impl Into<String>, label: impl Into<String>) -> Wrong {
        Wrong {
            text: text.into(),
            label: label.into(),
        }
    }

    /// Another type of value.
    pub(super) fn kind<T: Word>(value: &DeValue<'_>) -> Wrong {
        Wrong::new(format!("is {}, not {}", kind(value), T::WANTS), "")
    }
}

impl<T: Word> Setting for T {
    const WANTS: &'static str = <T as Word>::WANTS;

    fn schema() -> Value {
        <T as Word>::schema()
    }

    fn read(value: &Spanned<DeValue<'_>>, at: At<'_>, reader: &mut Reader<'_>) -> Option<T> {
        match T::parse(value.get_ref(), &reader.place) {
            Ok(word) => {
                if let Some(caution) = word.caution() {
                    let text = format!("{at} {caution}");
                    reader.warnings.push(at.fault(value.span(), text, ""));
                }
                Some(word)
            }
            Err(Wrong { text, label }) => {
                let text = format!("{at} {text}");
                reader.faults.push(at.fault(value.span(), text, label));
                None
            }
        }
    }

    fn json(&self) -> Value {
        Word::json(self)
    }
}

impl<T: Word> Word for Option<T> {
    const WANTS: &'static str = <T as Word>::WANTS;

    fn schema() -> Value {
        if T::EMPTY_IS_NONE {
            schema::or_empty(<T as Word>::schema())
        } else {
            <T as Word>::schema()
        }
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Option<T>, Wrong> {
        if T::EMPTY_IS_NONE && value.as_str() == Some("") {
            return Ok(None);
        }
        T::parse(value, place).map(Some)
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::from(""), Word::json)
    }

    fn caution(&self) -> Option<&'static str> {
        self.as_ref().and_then(Word::caution)
    }
}

impl<T: Word> Word for Vec<T> {
    const WANTS: &'static str = "a list";

    fn schema() -> Value {
        serde_json::json!({ "type": "array", "items": <T as Word>::schema() })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Vec<T>, Wrong> {
        let list = value
            .as_array()
            .ok_or_else(|| Wrong::kind::<Vec<T>>(value))?;
        list.iter()
            .map(|item| T::parse(item.get_ref(), place))
            .collect()
    }

    fn json(&self) -> Value {
        self.iter().map(Word::json).collect()
    }
}

/// Tables by name: `[issuer.NAME]`.
impl<T: Setting> Setting for BTreeMap<String, T> {
    const WANTS: &'static str = "a set of tables";
    const TABLE: Option<&'static TableDoc> = T::TABLE;

    fn schema() -> Value {
        schema::tables(T::schema())
    }

    fn read(value: &Spanned<DeValue<'_>>, at: At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let path = at.path();
        let Some(tables) = value.get_ref().as_table() else {
            let text = format!("{at} is {}, not {}", kind(value.get_ref()), Self::WANTS);
            let label = format!("write [{path}.NAME] and its keys below");
            reader.faults.push(at.fault(value.span(), text, label));
            return None;
        };
        let mut read = Some(BTreeMap::new());
        for (name, table) in tables {
            let at = At {
                table: &path,
                key: name.get_ref(),
            };
            if !is_name(name.get_ref()) {
                let text = format!("`{}` cannot name a table of [{path}]", name.get_ref());
                let label = "a lower-case letter, then at most 31 of a-z 0-9 -";
                reader.faults.push(at.fault(name.span(), text, label));
                read = None;
            }
            match (T::read(table, at, reader), &mut read) {
                (Some(part), Some(read)) => drop(read.insert(name.get_ref().to_string(), part)),
                (Some(_), None) => {}
                (None, _) => read = None,
            }
        }
        read
    }

    fn json(&self) -> Value {
        let tables = self
            .iter()
            .map(|(name, table)| (name.clone(), table.json()));
        Value::Object(tables.collect())
    }
}

/// A type of value with its article, in the words of TOML.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
