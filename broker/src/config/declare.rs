//! [`settings!`]: the one place where a table's keys, types, defaults, bounds and explanations stand. Struct, reader,
//! help text, template and the record of what was configured are all made from it.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::setting::Setting;

/// What people are told about a table; see [`settings!`].
#[derive(Debug)]
pub(super) struct TableDoc {
    pub(super) about: &'static [&'static str],
    pub(super) keys: &'static [KeyDoc],
}

impl TableDoc {
    /// The keys that must be there.
    pub(super) fn required(&self) -> impl Iterator<Item = &'static str> {
        let keys = self.keys.iter();
        keys.filter(|key| key.default.is_none()).map(|key| key.name)
    }
}

/// What people are told about a key.
#[derive(Debug)]
pub(super) struct KeyDoc {
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) wants: &'static str,
    /// None if it is required.
    pub(super) default: Option<fn() -> Value>,
    /// The least and the most.
    pub(super) bounds: Option<fn() -> (Value, Value)>,
    /// The keys of the table that this is.
    pub(super) table: Option<&'static TableDoc>,
    /// The JSON Schema of its value; none where `wants` says all.
    pub(super) schema: Option<fn() -> Value>,
}

/// `1 to 65536`, `"30s" to "1h"`.
pub(super) fn span_of<T: Setting>(bounds: &RangeInclusive<T>) -> String {
    format!("{} to {}", bounds.start().json(), bounds.end().json())
}

/// Declares tables: first the keys that must be there, then those with a default and, after `in`, its bounds. A key is
/// named as its field, unless a literal beside the field names it.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(required { $($(#[doc = $rdoc:literal])+ $rkey:ident: $rty:ty,)+ })?
            default { $($(#[doc = $ddoc:literal])+ $dkey:ident $($dname:literal)?: $dty:ty = $default:expr $(, in $bounds:expr)?;)+ }
        }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Debug)]
        pub struct $name {
            $($($(#[doc = $rdoc])+ pub $rkey: $rty,)+)?
            $($(#[doc = $ddoc])+ pub $dkey: $dty,)+
        }

        settings!(@make $name [$($($rkey: $rty,)+)?] [$($dkey: $default,)+]);

        impl $crate::config::setting::Setting for $name {
            const WANTS: &'static str = "a table";
            const TABLE: Option<&'static $crate::config::declare::TableDoc> =
                Some(&$crate::config::declare::TableDoc {
                    about: &[$($about),+],
                    keys: &[
                        $($($crate::config::declare::KeyDoc {
                            name: stringify!($rkey),
                            about: &[$($rdoc),+],
                            wants: <$rty as $crate::config::setting::Setting>::WANTS,
                            default: None,
                            bounds: None,
                            table: <$rty as $crate::config::setting::Setting>::TABLE,
                            schema: Some(<$rty as $crate::config::setting::Setting>::schema),
                        },)+)?
                        $($crate::config::declare::KeyDoc {
                            name: settings!(@key $dkey $($dname)?),
                            about: &[$($ddoc),+],
                            wants: <$dty as $crate::config::setting::Setting>::WANTS,
                            default: Some(|| { let default: $dty = $default; $crate::config::setting::Setting::json(&default) }),
                            bounds: settings!(@bounds $dty $(, $bounds)?),
                            table: <$dty as $crate::config::setting::Setting>::TABLE,
                            schema: Some(<$dty as $crate::config::setting::Setting>::schema),
                        },)+
                    ],
                });

            fn schema() -> serde_json::Value {
                Self::TABLE.map($crate::config::schema::table).unwrap_or_default()
            }

            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                at: $crate::config::reader::At<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let table = reader.table(value, at, Self::TABLE?)?;
                $($(let $rkey: Option<$rty> = table.required(stringify!($rkey), reader);)+)?
                $(
                    let key = settings!(@key $dkey $($dname)?);
                    let $dkey: Option<$dty> = table.optional(key, $default, reader);
                    $(let $dkey = table.within(key, ($dkey, $bounds), reader);)?
                )+
                let part = $name { $($($rkey: $rkey?,)+)? $($dkey: $dkey?,)+ };
                $crate::config::reader::Check::check(&part, &table, reader);
                Some(part)
            }

            fn json(&self) -> serde_json::Value {
                let mut keys = serde_json::Map::new();
                $($(keys.insert(stringify!($rkey).to_owned(), $crate::config::setting::Setting::json(&self.$rkey));)+)?
                $(keys.insert(settings!(@key $dkey $($dname)?).to_owned(), $crate::config::setting::Setting::json(&self.$dkey));)+
                serde_json::Value::Object(keys)
            }
        }
    )+};
    (@make $name:ident [] [$($dkey:ident: $default:expr,)+]) => {
        impl Default for $name {
            fn default() -> $name {
                $name { $($dkey: $default,)+ }
            }
        }
    };
    (@make $name:ident [$($rkey:ident: $rty:ty,)+] [$($dkey:ident: $default:expr,)+]) => {
        impl $name {
            #[doc = "What has to be said, with every other key at its default."]
            #[must_use]
            pub fn new($($rkey: $rty),+) -> $name {
                $name { $($rkey,)+ $($dkey: $default,)+ }
            }
        }
    };
    (@key $dkey:ident) => { stringify!($dkey) };
    (@key $dkey:ident $dname:literal) => { $dname };
    (@bounds $dty:ty) => { None };
    (@bounds $dty:ty, $bounds:expr) => {
        Some(|| { let bounds: std::ops::RangeInclusive<$dty> = $bounds; ($crate::config::setting::Setting::json(bounds.start()), $crate::config::setting::Setting::json(bounds.end())) })
    };
}

pub(super) use settings;
