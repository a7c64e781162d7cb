//! The tables of `witness.toml`: everything that the operator of a witness decides (LEDGER.md §10).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stint_audit::note::{VerifierKey, is_name};
use toml::de::DeValue;

use super::declare::settings;
use super::names::ServerUrl;
use super::reader::{Check, Reader, Table};
use super::report::{ConfigError, Finding};
use super::secret::{self, SecretRef};
use super::setting::{Place, Word, Wrong};
use super::tables::Telemetry;
use super::tls::Tls;
use super::words::{Cidr, Rate, text};

settings! {
    /// witness.toml: a witness of transparency logs, C2SP tlog-witness.
    pub struct WitnessConfig {
        required {
            /// The witness's name in its cosignatures: a URL without scheme, such as witness.acme.dev/w1. It never changes.
            name: String,
        }
        default {
            /// The version of this file's format.
            version: u32 = 1, in 1..=1;
            /// Where logs reach it.
            listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8650);
            /// Who ends TLS: the witness, with a certificate (PEM, with its chain) and its key, or a proxy. Must be said
            /// where `listen` is not on the loopback interface.
            tls: Option<Tls> = None;
            /// How logs call it. With a certificate of its own, the certificate must be for this host.
            url: Option<ServerUrl> = None;
            /// Networks of the proxies whose `X-Forwarded-For` is believed. Only with tls = "proxy".
            trusted_proxies: Vec<Cidr> = Vec::new();
            /// The file of its private key.
            key: PathBuf = PathBuf::from("/var/lib/stint-witness/witness.key");
            /// What seals that file. Without it the key lies there in the clear.
            passphrase: Option<SecretRef> = None;
            /// What it has cosigned: a SQLite file on a local disk. A copy that is put back makes it lie.
            db: PathBuf = PathBuf::from("/var/lib/stint-witness/witness.db");
            /// The logs it serves: one table for each.
            logs "log": BTreeMap<String, WitnessedLog> = BTreeMap::new();
            /// How much is taken on at once.
            limits: WitnessLimits = WitnessLimits::default();
            /// The log, on stderr.
            telemetry: Telemetry = Telemetry::default();
        }
    }

    /// One log that is served.
    pub struct WitnessedLog {
        required {
            /// The keys that may sign its checkpoints, NAME+HASH+KEY; several while one follows another.
            vkeys: Vec<VerifierKey>,
        }
        default {
            /// The first line of its checkpoints. Empty: the name of its first key.
            origin: String = String::new();
        }
    }

    /// How much is taken on at once; what is beyond is refused early.
    pub struct WitnessLimits {
        default {
            /// Open connections.
            connections: u32 = 1024, in 16..=65_536;
            /// Open connections of one peer: an IPv4 address, or 64 bits of an IPv6 address. Trusted proxies have none.
            connections_per_peer: u32 = 64, in 1..=65_536;
            /// Requests of one peer; five seconds' worth may come at once.
            requests_per_peer: Rate = Rate::per_second(20);
        }
    }
}

impl WitnessConfig {
    /// Reads the file at `path`; relative paths in it start at its folder.
    ///
    /// # Errors
    /// As [`super::Config::load`].
    pub fn load(path: &Path) -> Result<(Self, Vec<Finding>), ConfigError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let text = super::read_for(path, "stintd witness init DIR --name NAME writes one")?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::parse(&name.to_string_lossy(), &text, dir)
    }

    /// Reads a file's text. `name` stands in reports; relative paths start at `dir`.
    ///
    /// # Errors
    /// As [`super::Config::parse`].
    pub fn parse(name: &str, text: &str, dir: &Path) -> Result<(Self, Vec<Finding>), ConfigError> {
        let (mut config, warnings) =
            super::parse_as::<Self>((name, text), dir, secret::from_environment, HELP)?;
        for log in config.logs.values_mut().filter(|log| log.origin.is_empty()) {
            log.origin = log.vkeys.first().map_or("", VerifierKey::name).to_owned();
        }
        Ok((config, warnings))
    }
}

/// The command that prints what a table may hold.
const HELP: &str = "stintd help witness";

impl Word for VerifierKey {
    const WANTS: &'static str = "a verifier key such as \"stint.acme.dev/ledger+fa118ee6+AQ…\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Self, Wrong> {
        let text = text::<Self>(value)?;
        let wrong = |error| Wrong::new(format!("is no verifier key: {error}"), Self::WANTS);
        text.parse().map_err(wrong)
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

impl Check for WitnessConfig {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if !is_name(&self.name) || self.name.len() > 255 || self.name.chars().any(char::is_control)
        {
            let text = format!("cannot name a key: `{}`", self.name);
            let label = "a name such as witness.acme.dev/w1, without spaces and +";
            table.refuse("name", Wrong::new(text, label), reader);
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            let text = format!("is open to the network without TLS: {}", self.listen);
            let label = "set `tls`: { cert, key }, or \"proxy\" if a proxy ends TLS";
            table.refuse("listen", Wrong::new(text, label), reader);
        }
        if matches!(self.tls, Some(Tls::Own(_))) && self.url.is_none() {
            let wrong = Wrong::new("is missing", "https://HOST: whom the certificate is for");
            table.refuse("url", wrong, reader);
        }
        if !self.trusted_proxies.is_empty() && self.tls != Some(Tls::Proxy) {
            let wrong = Wrong::new("has no proxy to trust", "only with tls = \"proxy\"");
            table.refuse("trusted_proxies", wrong, reader);
        }
        if self.passphrase.is_none() {
            let text = "is missing: the witness's key is not sealed";
            table.warn("passphrase", text, reader);
        }
        if self.logs.is_empty() {
            let text = "has no table: no log is served, so nothing is cosigned";
            table.warn("log", text, reader);
        }
        let mut origins = BTreeSet::new();
        for (name, log) in &self.logs {
            let key = log.vkeys.first().map_or("", VerifierKey::name);
            let origin = if log.origin.is_empty() {
                key
            } else {
                &log.origin
            };
            if !origins.insert(origin) {
                let text = format!("serves `{origin}` twice, [log.{name}] is one of them");
                table.refuse("log", Wrong::new(text, "one table for one log"), reader);
            }
        }
    }
}

impl Check for WitnessedLog {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if self.vkeys.is_empty() {
            let wrong = Wrong::new("is empty: nobody could sign", "[\"NAME+HASH+KEY\"]");
            table.refuse("vkeys", wrong, reader);
        }
        if self.origin.chars().any(char::is_control) {
            let wrong = Wrong::new("is not one line", "as the log's checkpoints begin");
            table.refuse("origin", wrong, reader);
        }
    }
}

impl Check for WitnessLimits {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::WitnessConfig;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn parse(text: &str) -> Result<WitnessConfig, String> {
        WitnessConfig::parse("witness.toml", text, Path::new("/w"))
            .map(|(config, _)| config)
            .map_err(|error| error.report().to_string())
    }

    #[test]
    fn a_log_is_called_as_its_key_is() {
        let text = format!(
            "name = \"w.example\"\n[log.a]\nvkeys = [\"{VKEY}\"]\n\
             [log.b]\nvkeys = [\"{VKEY}\"]\norigin = \"another log\"\n"
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.logs["a"].origin, "example.com/foo");
        assert_eq!(config.logs["b"].origin, "another log");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8650");
    }

    fn refuses(text: &str, part: &str) {
        let refused = parse(text).unwrap_err();
        assert!(refused.contains(part), "{text}\n{refused}");
    }

    #[test]
    fn faults_are_told_with_their_place() {
        refuses("", "missing key `name`");
        refuses("name = \"a b\"", "cannot name a key: `a b`");
        refuses("name = \"a+b\"", "cannot name a key");
        refuses("name = \"w\"\nlisten = \"0.0.0.0:1\"", "without TLS");
        refuses(
            "name = \"w\"\ntrusted_proxies = [\"10.0.0.0/8\"]",
            "no proxy to trust",
        );
        refuses("name = \"w\"\nlogs = 1", "unknown key `logs`");
        refuses("name = \"w\"\n[log.a]\nvkeys = []", "nobody could sign");
        refuses(
            "name = \"w\"\n[log.a]\nvkeys = [\"x\"]",
            "is no verifier key",
        );
        refuses(
            "name = \"w\"\n[log.a]\nvkeys = [\"x\"]",
            "stintd help witness log",
        );
        let twice =
            format!("name = \"w\"\n[log.a]\nvkeys = [\"{VKEY}\"]\n[log.b]\nvkeys = [\"{VKEY}\"]");
        refuses(&twice, "serves `example.com/foo` twice");
    }
}
