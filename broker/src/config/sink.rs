//! `[sink.NAME]`: who is sent the ledger as it grows (LEDGER.md §9, UX.md §5).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use serde_json::{Value, json};
use stint_audit::kind::KINDS;
use stint_policy::Seconds;
use toml::de::DeValue;

use super::choices::SinkKind;
use super::declare::settings;
use super::nearest::nearest;
use super::reader::{Check, Reader, Table};
use super::secret::SecretRef;
use super::setting::{Place, Word, Wrong};
use super::words::text;

settings! {
    /// Who is sent the ledger as it grows. NAME names the place reached in it: another name begins at entry 0.
    pub struct Sink {
        required {
            /// How entries look.
            kind: SinkKind,
            /// Where they go: file:PATH, https://HOST/PATH, syslog+tls://HOST[:PORT] or syslog+tcp://HOST:PORT. The
            /// last one and http only to this machine: they are in the clear. Recorded in the ledger: no secret in it.
            to: SinkTo,
        }
        default {
            /// Kinds of entries whose bodies go along, "*" for all. Bodies may be personal, and what was sent is
            /// beyond the reach of an erasure.
            bodies: Vec<String> = Vec::new();
            /// What an https receiver reads as a bearer token.
            secret: Option<SecretRef> = None;
            /// The roots that count for TLS, PEM, instead of the system's. syslog+tls needs it.
            ca_file: Option<PathBuf> = None;
            /// How long a receiver may take for one delivery.
            timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(60);
            /// The most entries of one delivery; a receiver that finds that too much is sent less.
            batch: u32 = 256, in 1..=1024;
            /// Between two signed checkpoints in the stream.
            heartbeat: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(3600);
        }
    }
}

impl Sink {
    /// Whether the body of an entry of this kind goes along.
    #[must_use]
    pub fn discloses(&self, kind: &str) -> bool {
        self.bodies.iter().any(|word| word == kind || word == ALL)
    }
}

impl Check for Sink {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        for word in &self.bodies {
            if word != ALL && !KINDS.contains(&word.as_str()) {
                let near = nearest(word, KINDS).map(|near| format!("did you mean `{near}`?"));
                let label =
                    near.unwrap_or_else(|| "kinds such as \"granted\", or \"*\"".to_owned());
                let wrong = Wrong::new(format!("does not know the kind `{word}`"), label);
                table.refuse("bodies", wrong, reader);
            }
        }
        if !self.bodies.is_empty() {
            let caution = "sends what may be personal to where no erasure reaches";
            table.warn("bodies", caution, reader);
        }
        if self.kind == SinkKind::Tiles {
            if !matches!(self.to, SinkTo::File(_)) {
                let wrong = Wrong::new("is no folder, and tiles are files", "file:DIR");
                table.refuse("to", wrong, reader);
            }
            if !self.bodies.is_empty() {
                let wrong = Wrong::new("has no place in tiles", "tiles are of headers");
                table.refuse("bodies", wrong, reader);
            }
        }
        if self.secret.is_some() && !matches!(self.to, SinkTo::Http(_)) {
            let wrong = Wrong::new("has no receiver that reads it", "only with https");
            table.refuse("secret", wrong, reader);
        }
        match (&self.to, &self.ca_file) {
            (SinkTo::Syslog { tls: true, .. }, None) => {
                let wrong = Wrong::new("needs `ca_file`", "the receiver's root, PEM");
                table.refuse("to", wrong, reader);
            }
            (SinkTo::File(_) | SinkTo::Syslog { tls: false, .. }, Some(_)) => {
                let wrong = Wrong::new("has no TLS to judge", "only with https or syslog+tls");
                table.refuse("ca_file", wrong, reader);
            }
            (SinkTo::Http(_), _) | (SinkTo::File(_) | SinkTo::Syslog { .. }, _) => {}
        }
    }
}

/// Where entries go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTo {
    /// A file that grows, one event a line.
    File(PathBuf),
    /// A receiver of POSTs; http only on this machine.
    Http(Box<Url>),
    /// RFC 5424 over TCP, counted octets (RFC 6587 §3.4.1), with or without TLS (RFC 5425).
    Syslog {
        /// A name or an address; an IPv6 address without brackets.
        host: String,
        /// 6514 is TLS's own.
        port: u16,
        /// Whether it goes over TLS. Without it, only on this machine.
        tls: bool,
    },
}

impl fmt::Display for SinkTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkTo::File(path) => write!(f, "file:{}", path.display()),
            SinkTo::Http(url) => f.write_str(url.as_str()),
            SinkTo::Syslog { host, port, tls } => {
                let scheme = if *tls { "syslog+tls" } else { "syslog+tcp" };
                let open = if host.contains(':') {
                    ("[", "]")
                } else {
                    ("", "")
                };
                write!(f, "{scheme}://{}{host}{}:{port}", open.0, open.1)
            }
        }
    }
}

impl Word for SinkTo {
    const WANTS: &'static str = "a place such as \"file:/var/log/stint/events.jsonl\"";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(file:|https?://|syslog\\+tls://|syslog\\+tcp://)" })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<SinkTo, Wrong> {
        let text = text::<SinkTo>(value)?;
        if let Some(path) = text.strip_prefix("file:") {
            let whole = !path.is_empty() && !path.ends_with('/') && !path.starts_with("//");
            return match whole {
                true => Ok(SinkTo::File(place.dir.join(path))),
                false => Err(Wrong::new(format!("names no file: `{text}`"), FORMS)),
            };
        }
        // A password must not be shown by the very report that refuses it.
        let url = Url::parse(text).map_err(|_source| Wrong::new("is not a place", FORMS))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            let text = "has a user, a password or a fragment in it";
            return Err(Wrong::new(text, "a receiver's token goes into `secret`"));
        }
        remote(&url)
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

/// A receiver in the network.
fn remote(url: &Url) -> Result<SinkTo, Wrong> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(Wrong::new(format!("names no host: `{url}`"), FORMS));
    }
    let clear = |to| match is_here(host) {
        true => Ok(to),
        false => {
            let text = format!("is in the clear, on a host that is not this machine: `{host}`");
            Err(Wrong::new(
                text,
                "https://, syslog+tls://, or a relay on 127.0.0.1",
            ))
        }
    };
    let syslog = |port: Option<u16>, tls| {
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let port = port.filter(|port| *port > 0 && bare);
        let port = port.ok_or_else(|| Wrong::new(format!("is not HOST:PORT: `{url}`"), FORMS))?;
        let host = host.to_owned();
        Ok(SinkTo::Syslog { host, port, tls })
    };
    match url.scheme() {
        "https" => Ok(SinkTo::Http(Box::new(url.clone()))),
        "http" => clear(SinkTo::Http(Box::new(url.clone()))),
        "syslog+tls" => syslog(url.port().or(Some(6514)), true),
        "syslog+tcp" => syslog(url.port(), false).and_then(clear),
        other => Err(Wrong::new(format!("does not know `{other}`"), FORMS)),
    }
}

fn is_here(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// All kinds.
const ALL: &str = "*";

const FORMS: &str = "file:PATH, https://HOST/PATH, syslog+tls://HOST, syslog+tcp://127.0.0.1:PORT";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::Spanned;
    use toml::de::DeTable;

    use super::*;

    fn read(to: &str) -> Result<String, String> {
        let text = format!("to = {to:?}");
        let document = DeTable::parse(&text).unwrap();
        let value = document.get_ref().get("to").map(Spanned::get_ref).unwrap();
        let place = Place {
            dir: Path::new("/etc/stint"),
            env: |_| None,
            server_url: "",
            trust_domain: "",
        };
        let read = SinkTo::parse(value, &place);
        read.map(|to| to.to_string()).map_err(|wrong| wrong.text)
    }

    #[test]
    fn places_are_read_as_they_are_shown() {
        for (to, shown) in [
            ("file:/var/log/e.jsonl", "file:/var/log/e.jsonl"),
            ("file:e.jsonl", "file:/etc/stint/e.jsonl"),
            ("https://siem.example/in?x=1", "https://siem.example/in?x=1"),
            ("http://127.0.0.1:8088/in", "http://127.0.0.1:8088/in"),
            ("http://[::1]:8088/in", "http://[::1]:8088/in"),
            (
                "syslog+tls://logs.example",
                "syslog+tls://logs.example:6514",
            ),
            (
                "syslog+tls://[2001:db8::1]:99",
                "syslog+tls://[2001:db8::1]:99",
            ),
            ("syslog+tcp://localhost:514", "syslog+tcp://localhost:514"),
        ] {
            assert_eq!(read(to).as_deref(), Ok(shown), "{to}");
        }
    }

    #[test]
    fn places_in_the_clear_with_passwords_or_of_no_kind_are_refused() {
        for (to, why) in [
            ("file:", "names no file"),
            ("file:/var/log/", "names no file"),
            ("file://host/var/log", "names no file"),
            ("/var/log/e.jsonl", "is not a place"),
            ("http://siem.example/in", "is in the clear"),
            ("syslog+tcp://10.0.0.1:514", "is in the clear"),
            ("syslog+tcp://127.0.0.1", "is not HOST:PORT"),
            ("syslog+tls://logs.example/x", "is not HOST:PORT"),
            ("syslog+udp://127.0.0.1:514", "does not know `syslog+udp`"),
            ("https://siem.example/#x", "has a user"),
        ] {
            let refused = read(to).unwrap_err();
            assert!(refused.starts_with(why), "{to}: {refused}");
        }
        let refused = read("https://me:hunter2@siem.example/").unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
