//! `[issuer.NAME]`: declared and judged by `authenticate`, read and reported as all other tables are.
//!
//! serde stops at its first fault. This reader takes the key of that fault out of the table and asks again, until all
//! that is left is right.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{KeyDoc, TableDoc};
use super::names::ServerUrl;
use super::reader::{At, Reader};
use super::report::Fault;
use super::setting::{Place, Setting};
use crate::authenticate::entry::fault::Fault as Rejected;
use crate::authenticate::entry::{Context, IssuerConfig, IssuerEntry, Transport};

/// One issuer, ready to judge tokens.
#[derive(Debug)]
pub struct Issuer {
    /// What the operator wrote; relative paths are resolved.
    pub config: IssuerConfig,
    /// The same, checked and made ready: for `authenticate`.
    pub entry: IssuerEntry,
    /// The same, as it is recorded: no nulls, no fractions. An issuer's table holds no secret.
    pub settings: Value,
}

impl Setting for Issuer {
    const WANTS: &'static str = "a table";
    const TABLE: Option<&'static TableDoc> = Some(&DOC);

    fn schema() -> Value {
        super::schema::table(&DOC)
    }

    fn read(value: &Spanned<DeValue<'_>>, at: At<'_>, reader: &mut Reader<'_>) -> Option<Issuer> {
        reader.table(value, at, &DOC)?;
        let known = |key: &str| DOC.keys.iter().any(|doc| doc.name == key);
        let entries = value.get_ref().as_table()?.iter();
        let entries = entries.filter(|(key, _)| known(key.get_ref()));
        let entries: DeTable<'_> = entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let settings = json(&DeValue::Table(entries.clone()));
        let config = deserialize(value, entries, (at, reader))?;
        let entry = build(value, &config, (at, reader))?;
        Some(Issuer {
            config,
            entry,
            settings,
        })
    }

    fn json(&self) -> Value {
        self.settings.clone()
    }
}

fn deserialize(
    value: &Spanned<DeValue<'_>>,
    mut entries: DeTable<'_>,
    (at, reader): (At<'_>, &mut Reader<'_>),
) -> Option<IssuerConfig> {
    let path = at.path();
    let mut whole = true;
    loop {
        let table = Spanned::new(value.span(), DeValue::Table(entries.clone()));
        let error = match IssuerConfig::deserialize(table.into_deserializer()) {
            Ok(config) => return whole.then(|| resolved(config, reader.place)),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(value.span());
        let Some(key) = culprit(&entries, &span) else {
            // With no key to blame a key is missing; one that was taken out above is not missed.
            if whole {
                let text = format!("[{path}]: {}", error.message());
                reader.faults.push(table_fault(&path, value.span(), text));
            }
            return None;
        };
        let at = At {
            table: &path,
            key: &key,
        };
        let text = format!("{at}: {}", error.message());
        reader.faults.push(at.fault(span, text, ""));
        entries.remove(key.as_str());
        whole = false;
    }
}

/// Relative paths start at the folder of `stint.toml`, here as elsewhere.
fn resolved(config: IssuerConfig, place: Place<'_>) -> IssuerConfig {
    let resolve = |file: String| match file.as_str() {
        "" => file,
        path => place.dir.join(Path::new(path)).display().to_string(),
    };
    IssuerConfig {
        jwks_file: config.jwks_file.map(resolve),
        ca_file: config.ca_file.map(resolve),
        ..config
    }
}

fn build(
    value: &Spanned<DeValue<'_>>,
    config: &IssuerConfig,
    (at, reader): (At<'_>, &mut Reader<'_>),
) -> Option<IssuerEntry> {
    // A broker on loopback is one to try things with, and so may its issuers be.
    let loopback = ServerUrl::parse(reader.place.server_url).is_ok_and(|url| url.is_loopback());
    let context = Context {
        trust_domain: reader.place.trust_domain,
        server_url: reader.place.server_url,
        transport: match loopback {
            true => Transport::LoopbackHttp,
            false => Transport::Https,
        },
    };
    match IssuerEntry::build(at.key, config, &context) {
        Ok(entry) => {
            let warnings = entry.warnings().iter();
            reader
                .warnings
                .extend(warnings.map(|warning| located(value, at, warning)));
            Some(entry)
        }
        Err(faults) => {
            reader
                .faults
                .extend(faults.iter().map(|fault| located(value, at, fault)));
            None
        }
    }
}

/// Puts a fault that `authenticate` found where its key stands, or at the table's head.
fn located(value: &Spanned<DeValue<'_>>, at: At<'_>, rejected: &Rejected) -> Fault {
    let path = at.path();
    let key = At {
        table: &path,
        key: &rejected.key,
    };
    let mut span = value.span();
    let mut here = value;
    for part in rejected.key.split('.') {
        let Some(inner) = here.get_ref().as_table().and_then(|table| table.get(part)) else {
            break;
        };
        span = inner.span();
        here = inner;
    }
    let text = match (rejected.key.as_str(), rejected.text.as_str()) {
        ("", text) => format!("[{path}]: {text}"),
        (_, text) if text.starts_with('`') => format!("{key}: {text}"),
        (_, text) => format!("{key} {text}"),
    };
    let label = rejected.help.clone().unwrap_or_default();
    Fault {
        label,
        ..table_fault(&path, span, text)
    }
}

fn table_fault(path: &str, span: Range<usize>, text: String) -> Fault {
    At {
        table: path,
        key: "",
    }
    .fault(span, text, "")
}

/// The key of a table whose name or value lies at `span`.
fn culprit(entries: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let found = entries.iter().find(|(key, value)| {
        let inside = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
        let below = value
            .get_ref()
            .as_table()
            .and_then(|table| culprit(table, span));
        inside(key.span()) || inside(value.span()) || below.is_some()
    });
    found.map(|(key, _)| key.get_ref().to_string())
}

/// Plain JSON; what JSON has no word for, and fractions, as text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or_else(|_| Value::from(digits.to_string()), Value::from),
        DeValue::Float(digits) => Value::from(digits.to_string()),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let keys = table.iter();
            Value::Object(
                keys.map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
                    .collect(),
            )
        }
    }
}

/// What people are told; a test holds it to the fields of [`IssuerConfig`].
const DOC: TableDoc = TableDoc {
    about: &[
        "Whose tokens are evidence. NAME goes into identities: another name makes other callers.",
    ],
    keys: &[
        KeyDoc {
            default: None,
            ..key(
                "preset",
                "a word",
                &[
                    "The platform: github-actions, gitlab-ci, kubernetes, google, azure, aws, circleci, buildkite,",
                    "terraform-cloud, spiffe-jwt-svid, or generic for any other.",
                ],
            )
        },
        key(
            "url",
            "a URL",
            &["The issuer, byte for byte as in `iss`. Presets with one for everybody know it."],
        ),
        key(
            "trust_domain",
            "a name",
            &["Of spiffe-jwt-svid, in place of `url`: the trust domain whose SVIDs come in."],
        ),
        key(
            "audience",
            "a text",
            &["The one audience that is accepted. Without it: `server.url`."],
        ),
        key(
            "only",
            "a table of lists",
            &[
                "Who may come in: claims, and for each the values let in, byte for byte; every claim must hold.",
                "Must bind an immutable id where many tenants share the issuer.",
            ],
        ),
        key(
            "id",
            "a template",
            &[
                "The identity below spiffe://TRUST_DOMAIN/NAME/: literals and {claims}. Without it: the preset's.",
            ],
        ),
        key(
            "task",
            "a template",
            &["What is one unit of work. Without it: the preset's."],
        ),
        key(
            "owner",
            "a template",
            &[
                "The group that answers for the caller, where entities.json has it and names no other.",
            ],
        ),
        key(
            "initiator",
            "a claim",
            &["The account that started the job. Without it: the preset's."],
        ),
        key(
            "extra",
            "a table",
            &[
                "Claims beyond the preset's: extra.NAME = { claim = \"…\" or pointer = \"…\", type = \"string\" }.",
            ],
        ),
        key(
            "immutable",
            "a list",
            &["Which of `extra` never change hands."],
        ),
        key(
            "events",
            "a list",
            &["Triggers that are admitted beside the preset's."],
        ),
        key(
            "privileged_events",
            "true or false",
            &["Risky: admits triggers that run outsiders' text with the owner's rights."],
        ),
        key("forks", "true or false", &["Risky: admits jobs of forks."]),
        key(
            "human_shell",
            "true or false",
            &["Risky: admits jobs in which a person has a shell (CircleCI's SSH re-runs)."],
        ),
        key(
            "kind",
            "a word",
            &["What its callers are: workload (without it) or agent."],
        ),
        key(
            "reuse",
            "a word",
            &["How often a token is evidence: never again, or same-key. Without it: the preset's."],
        ),
        key(
            "max_token_life",
            "a duration",
            &["The longest life of a token, 24h at most (azure: 25h). Without it: the preset's."],
        ),
        key(
            "cut_off",
            "a moment",
            &[
                "Tokens made before it are refused: \"2026-09-01T12:00:00Z\", after an issuer was broken into.",
            ],
        ),
        key(
            "task_life",
            "a duration",
            &[
                "When a task is over, counted from its first evidence. Without it: it has no deadline.",
            ],
        ),
        key(
            "alg",
            "a list",
            &["Algorithms that are accepted. Without it: the preset's."],
        ),
        key(
            "single_tenant",
            "true or false",
            &["Says that nobody else can get tokens of this issuer."],
        ),
        key(
            "jwks_uri",
            "a URL",
            &["Where the keys are, without discovery."],
        ),
        key(
            "jwks_file",
            "a path",
            &["The keys in a file, read again when it changes; nothing is fetched."],
        ),
        key(
            "jwks",
            "a table",
            &["The keys themselves; nothing is fetched."],
        ),
        key(
            "jwks_hosts",
            "a list",
            &["Other hosts that discovery may name for the keys."],
        ),
        key(
            "jwks_max_age",
            "a duration",
            &["When keys are fetched again: 60s to 10m."],
        ),
        key(
            "jwks_stale",
            "a duration",
            &["How old keys may grow while the issuer is down, 24h at most. Without it: 1h."],
        ),
        key(
            "ca_file",
            "a path",
            &["The roots that the issuer's host is checked against, in place of the web's."],
        ),
        key(
            "allow_private",
            "a list",
            &["Networks of private addresses that the issuer may be in, as CIDRs."],
        ),
    ],
};

const fn key(name: &'static str, wants: &'static str, about: &'static [&'static str]) -> KeyDoc {
    KeyDoc {
        name,
        about,
        wants,
        default: Some(none),
        bounds: None,
        table: None,
        schema: None,
    }
}

/// What is left out is the preset's to say.
fn none() -> Value {
    Value::from("")
}

#[cfg(test)]
mod tests {
    use serde::de::value::Error;
    use serde::de::{Deserializer, Visitor};
    use serde::forward_to_deserialize_any;

    use super::*;

    /// Answers with the names of the fields that a type asks for.
    struct Fields;

    impl<'de> Deserializer<'de> for Fields {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom(""))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom(fields.join(" ")))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    #[test]
    fn every_key_of_an_issuer_is_explained() {
        let error = IssuerConfig::deserialize(Fields).unwrap_err().to_string();
        let mut read: Vec<&str> = error.split(' ').collect();
        let mut told: Vec<&str> = DOC.keys.iter().map(|key| key.name).collect();
        read.sort_unstable();
        told.sort_unstable();
        assert_eq!(read, told);
    }
}
