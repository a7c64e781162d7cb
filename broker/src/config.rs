//! `stint.toml`: one file, read once, whole or not at all (UX.md §5).
//!
//! It promises that every fault of the file is in one report, with its line; that nothing is taken for granted that the
//! file does not say or the defaults do not show; and that no secret is in a [`Config`], a report or a record. It never
//! asks the network or the database.
//!
//! A [`Config`] is taken apart where the broker is built, and its parts are handed out: nobody keeps it. The modules
//! below are private, so `config::NAME` is the one path of each name.

use std::fs;
use std::path::Path;

use miette::Severity;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

// What there is to say: tables, and the values in them.
mod attest;
mod audience;
mod choices;
mod issuer;
mod keeping;
mod location;
mod names;
mod notify;
mod people;
mod secret;
mod sink;
mod tables;
mod tls;
mod witness;
mod witnesses;
mod words;

// How it is declared, read, reported and explained.
mod declare;
mod help;
mod nearest;
mod reader;
mod report;
mod schema;
mod setting;

pub use attest::Attest;
pub use audience::Audience;
pub use choices::{
    AttestKind, Callers, CnFrom, Flavour, JwtAlg, LogFormat, MatchCode, NotifyEvent, NotifyKind,
    ProxyClientCert, Reload, Reveal, SinkKind, TokenAlg, Usage,
};
pub use help::{Folders, help, help_witness, template, template_witness};
pub use issuer::Issuer;
pub use keeping::KeepBodies;
pub use location::{LocationError, location};
pub use names::{PkiUrl, ServerUrl, StoreUrl, TrustDomain};
pub(crate) use notify::signing_key;
pub use notify::{Address, Approvers, Notify, Receiver, ReceiverError, Relay, RelayTls};
pub use people::{IdpUrl, MaybePeople, Pairs, People, Roles};
pub use report::{ConfigError, Finding, Report};
pub use schema::schema;
pub use secret::{KeyFile, Secret, SecretError, SecretRef};
pub use sink::{Sink, SinkTo};
pub use tables::{
    Approval, Ca, Config, Jwt, Keys, Ledger, Limits, Ops, Policy, Profile, Server, Store, Telemetry,
};
pub use tls::{Tls, TlsFiles};
pub use witness::{WitnessConfig, WitnessLimits, WitnessedLog};
pub(crate) use witnesses::asked_at;
pub use witnesses::{RootsFile, TrustFile, Unwitnessed};
pub use words::{Cidr, Rate, Size};

use nearest::nearest;
use reader::{At, Reader};
use report::{Fault, findings};
use secret::Environment;
use setting::{Place, Setting};

/// A configuration, and what the operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// Whole and checked.
    pub config: Config,
    /// What is accepted and risky; print the [`Finding::report`] of each.
    pub warnings: Vec<Finding>,
}

impl Config {
    /// Reads the file at `path`; relative paths in it start at its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault found: unreadable, too large, writable by everybody, or as [`Config::parse`].
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let read = read_for(path, "stintd init DIR --url URL writes one")?;
        Config::parse(&name, &read, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a file's text. `name` stands in reports; relative paths start at `dir`.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault found: TOML that cannot be read, unknown keys and words, wrong types, values out
    /// of bounds, missing keys, literal secrets, secrets that cannot be read or that others can read, contradictions.
    pub fn parse(name: &str, text: &str, dir: &Path) -> Result<Loaded, ConfigError> {
        Config::parse_in((name, text), dir, secret::from_environment)
    }

    fn parse_in(file: (&str, &str), dir: &Path, env: Environment) -> Result<Loaded, ConfigError> {
        let (config, warnings) = parse_as::<Config>(file, dir, env, reader::HELP)?;
        Ok(Loaded {
            config: config.complete(),
            warnings,
        })
    }

    /// Every setting in force, defaults too, as it is recorded in the ledger (`config_loaded`): of a secret only where
    /// it lies. No nulls, no fractions: fit for canonical JSON and its hash.
    #[must_use]
    pub fn settings(&self) -> serde_json::Value {
        self.json()
    }
}

/// Reads the text of a file of ours, `name` in reports. `help` is the command that explains its tables.
fn parse_as<T: Setting>(
    (name, text): (&str, &str),
    dir: &Path,
    env: Environment,
    help: &str,
) -> Result<(T, Vec<Finding>), ConfigError> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    let shown = mask(text, &document);
    let explained = |mut faults: Vec<Fault>| {
        for fault in &mut faults {
            fault.help = fault.help.replacen(reader::HELP, help, 1);
        }
        faults
    };
    if !syntax.is_empty() {
        let fault = |error: &toml::de::Error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            At::ROOT.fault(span, error.message(), "")
        };
        let faults = explained(syntax.iter().map(fault).collect());
        return Err(ConfigError::new(
            name,
            findings(name, shown, Severity::Error, faults),
        ));
    }
    let span = document.span();
    let document = Spanned::new(span, DeValue::Table(document.into_inner()));
    // Issuers are judged even if what they are judged beside is faulty: one report has it all.
    let server_url = peek(&document, ["server", "url"]);
    let trust_domain = peek(&document, ["ca", "trust_domain"]);
    let mut reader = Reader::new(Place {
        dir,
        env,
        server_url,
        trust_domain,
    });
    let read = T::read(&document, At::ROOT, &mut reader);
    match read {
        Some(read) if reader.faults.is_empty() => {
            let warnings = explained(reader.warnings);
            Ok((read, findings(name, shown, Severity::Warning, warnings)))
        }
        Some(_) | None => {
            let faults = findings(name, shown, Severity::Error, explained(reader.faults));
            Err(ConfigError::new(name, faults))
        }
    }
}

/// The text of the file at `path`; `next` is the command that makes one.
fn read_for(path: &Path, next: &str) -> Result<String, ConfigError> {
    read(path).map_err(|text| {
        let fault = Fault::of_file(text, next);
        let shown = path.display().to_string();
        ConfigError::new(
            &shown,
            findings(&shown, String::new(), Severity::Error, vec![fault]),
        )
    })
}

fn peek<'t>(document: &'t Spanned<DeValue<'_>>, [table, key]: [&str; 2]) -> &'t str {
    let value = document
        .get_ref()
        .get(table)
        .and_then(|table| table.get_ref().get(key));
    value
        .and_then(|value| value.get_ref().as_str())
        .unwrap_or_default()
}

fn read(path: &Path) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt;

    let name = path.display();
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err("is not a file of at most 1 MiB".to_owned());
    }
    if metadata.permissions().mode() & 0o002 != 0 {
        return Err(format!("can be changed by everybody: chmod o-w {name}"));
    }
    fs::read_to_string(path).map_err(failed)
}

/// The text as reports may show it. What stands where a secret belongs is blanked, byte for byte, so that every place
/// keeps its line and column.
fn mask(text: &str, document: &Spanned<DeTable<'_>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mask_table(&mut bytes, document.get_ref());
    String::from_utf8(bytes).unwrap_or_default()
}

fn mask_table(bytes: &mut [u8], table: &DeTable<'_>) {
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(table) => mask_table(bytes, table),
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Array(_)
                if sounds_secret(key.get_ref())
                    || is_key(value.get_ref())
                    || has_password(value.get_ref()) =>
            {
                let secret = bytes.get_mut(value.span()).into_iter().flatten();
                secret
                    .filter(|byte| !b"\"'\n".contains(byte))
                    .for_each(|byte| *byte = b'*');
            }
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Array(_) => {}
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }
}

/// A private key in the place of its name.
fn is_key(value: &DeValue<'_>) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.contains("PRIVATE KEY"))
}

/// A URL with a password in it, or with a user where there is none to be.
fn has_password(value: &DeValue<'_>) -> bool {
    let url = value.as_str().and_then(|text| text.split_once("://"));
    let Some((scheme, rest)) = url else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':') || scheme.starts_with("http"))
}

fn sounds_secret(key: &str) -> bool {
    const WORDS: [&str; 3] = ["secret", "passphrase", "password"];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word)) || nearest(&key, &WORDS).is_some()
}

/// Ten times a file with 256 issuers.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests;
