//! What people are told about `stint.toml`, from the same declarations that read it: the text of `stintd help config`
//! and the file that `stintd init` writes.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::declare::{KeyDoc, TableDoc};
use super::names::{ServerUrl, TrustDomain};
use super::setting::Setting;
use super::tables::Config;
use super::witness::WitnessConfig;

/// The help of the whole file, or of one table such as `server` or `ca.profile`; none for a table that is not there.
#[must_use]
pub fn help(table: Option<&str>) -> Option<String> {
    let root = Config::TABLE?;
    let Some(path) = table else {
        return Some(tables(root));
    };
    let mut doc = root;
    for name in path.split('.') {
        doc = doc.keys.iter().find(|key| key.name == name)?.table?;
    }
    Some(keys(path, doc))
}

/// The help of witness.toml, or of one table of it; none for a table that is not there.
#[must_use]
pub fn help_witness(table: Option<&str>) -> Option<String> {
    let root = WitnessConfig::TABLE?;
    let Some(name) = table else {
        let text = keys("", root).replacen("[]", "witness.toml", 1);
        return Some(text.replace(
            &format!("{} .", super::reader::HELP),
            "stintd help witness ",
        ));
    };
    let doc = root.keys.iter().find(|key| key.name == name)?.table?;
    Some(keys(name, doc))
}

fn tables(root: &TableDoc) -> String {
    let mut text = String::new();
    say(&mut text, "", root.about);
    text.push('\n');
    for key in root.keys.iter().filter(|key| key.table.is_some()) {
        let required = if key.default.is_none() {
            " (required)"
        } else {
            ""
        };
        let about = key.about.join("");
        push(
            &mut text,
            format_args!(
                "{:<16}{}{required}\n",
                format!("[{}]", header(key.name)),
                about.trim()
            ),
        );
    }
    push(
        &mut text,
        format_args!("\nnext      {} TABLE\n", super::reader::HELP),
    );
    text
}

fn keys(path: &str, doc: &TableDoc) -> String {
    let mut text = format!("[{}]\n", header(path));
    say(&mut text, "", doc.about);
    for key in doc.keys {
        push(&mut text, format_args!("\n{}", key.name));
        match (key.default, key.table) {
            (_, Some(_)) => push(
                &mut text,
                format_args!("   see: {} {path}.{}\n", super::reader::HELP, key.name),
            ),
            (None, None) => push(&mut text, format_args!("   {}, required\n", key.wants)),
            (Some(default), None) => {
                push(
                    &mut text,
                    format_args!("   {}, default {}", key.wants, default()),
                );
                if let Some((least, most)) = key.bounds.map(|bounds| bounds()) {
                    push(&mut text, format_args!(", {least} to {most}"));
                }
                text.push('\n');
            }
        }
        say(&mut text, "    ", key.about);
    }
    text
}

/// Folders that `stintd init` has made.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// The policies.
    pub policy: &'a Path,
    /// Database, keys and pin.
    pub state: &'a Path,
    /// What seals the key files.
    pub passphrase: Option<&'a Path>,
    /// URL and password file of a server, where the database is no file in `state`.
    pub store: Option<(&'a str, Option<&'a Path>)>,
}

/// A configuration that works and explains itself: what is not the default stands there, all else is commented out with
/// its default.
#[must_use]
pub fn template(url: &ServerUrl, trust_domain: &TrustDomain, folders: Folders<'_>) -> String {
    let state = |name: &str| Value::from(folders.state.join(name).display().to_string());
    let file = format!("sqlite:{}", folders.state.join("stint.db").display());
    let (store, password) = folders.store.unwrap_or((&file, None));
    let secret = |file: &Path| serde_json::json!({ "file": file.display().to_string() });
    let set = |path: &str| match path {
        "version" => Some(Value::from(1)),
        "server.url" => Some(Value::from(url.as_str())),
        "ops.socket" => Some(state("stintd.sock")),
        "store.url" => Some(Value::from(store)),
        "store.password" => password.map(secret),
        "ledger.pin" => Some(state("ledger.pin")),
        "keys.dir" => Some(state("keys")),
        "keys.passphrase" => folders.passphrase.map(secret),
        "ca.trust_domain" => Some(Value::from(trust_domain.as_str())),
        "policy.dir" => Some(Value::from(folders.policy.display().to_string())),
        _ => None,
    };
    let mut text = String::new();
    if let Some(root) = Config::TABLE {
        say(&mut text, "# ", root.about);
        push(
            &mut text,
            format_args!(
                "# Lines that begin with # and a key show its default. More: {}\n",
                super::reader::HELP
            ),
        );
        section(&mut text, "", root, &set);
    }
    text.push_str(PEOPLE);
    text.push_str(ISSUER);
    text
}

/// The same for a witness called `name`. Paths are relative, so that its folder can be moved.
#[must_use]
pub fn template_witness(name: &str, passphrase: Option<&Path>) -> String {
    let set = |path: &str| match path {
        "version" => Some(Value::from(1)),
        "name" => Some(Value::from(name)),
        "key" => Some(Value::from("witness.key")),
        "db" => Some(Value::from("witness.db")),
        "passphrase" => {
            passphrase.map(|file| serde_json::json!({ "file": file.display().to_string() }))
        }
        _ => None,
    };
    let mut text = String::new();
    if let Some(root) = WitnessConfig::TABLE {
        say(&mut text, "# ", root.about);
        text.push_str(
            "# Lines that begin with # and a key show its default. More: stintd help witness\n",
        );
        section(&mut text, "", root, &set);
    }
    text.push_str(LOG);
    text
}

/// A value as TOML writes it; what is no table is spelt as in JSON.
fn toml(value: &Value) -> String {
    match value.as_object() {
        None => value.to_string(),
        Some(members) => {
            let members = members.iter();
            let members: Vec<_> = members
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

fn section(text: &mut String, path: &str, doc: &TableDoc, set: &dyn Fn(&str) -> Option<Value>) {
    let path_of = |key: &KeyDoc| match path {
        "" => key.name.to_owned(),
        path => format!("{path}.{}", key.name),
    };
    for key in doc.keys.iter().filter(|key| key.table.is_none()) {
        say(text, "# ", key.about);
        match (set(&path_of(key)), key.default.map(|default| default())) {
            (Some(value), _) => push(text, format_args!("{} = {}\n", key.name, toml(&value))),
            (None, Some(default)) => push(text, format_args!("#{} = {default}\n", key.name)),
            (None, None) => push(text, format_args!("#{} =\n", key.name)),
        }
    }
    for key in doc.keys {
        let path = path_of(key);
        // A table that has no right default is shown as an example, below.
        let by_example = is_set_of_tables(&path) || path == "people";
        if let Some(table) = key.table.filter(|_| !by_example) {
            push(text, format_args!("\n[{path}]\n"));
            section(text, &path, table, set);
        }
    }
}

/// `[issuer.NAME]` and `[ca.profile.NAME]`: tables whose names the operator chooses.
fn is_set_of_tables(path: &str) -> bool {
    matches!(
        path,
        "attest" | "audience" | "ca.profile" | "issuer" | "log" | "notify" | "sink"
    )
}

fn header(path: &str) -> String {
    if is_set_of_tables(path) {
        format!("{path}.NAME")
    } else {
        path.to_owned()
    }
}

fn say(text: &mut String, indent: &str, about: &[&str]) {
    for line in about {
        push(text, format_args!("{indent}{}\n", line.trim()));
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    text.write_fmt(arguments).unwrap_or_default();
}

/// No identity provider is right for everybody.
pub(super) const PEOPLE: &str = r#"
# The identity provider of the people who approve, audit and operate. More: stintd help config people
#[people]
#issuer = "https://login.acme.dev"
#client_id = "stint"
#client_secret = { credential = "oidc-secret" }
"#;

/// Issuers have no default that would be right for anybody.
const ISSUER: &str = r#"
# Whose tokens are evidence: one table for each issuer. GitHub Actions, for one:
#[issuer.github]
#preset = "github-actions"
# The owners whose repositories may ask, by number: gh api /users/OWNER --jq .id
#only = { repository_owner_id = ["123456"] }
"#;

/// No log is right for everybody.
const LOG: &str = r#"
# The logs that are served: one table for each.
#[log.acme]
# As `stintd init` printed it, or GET /v1/trust shows it.
#vkeys = ["stint.acme.dev/ledger+00000000+AQ..."]
"#;
