//! Names that hold for ever: the broker's URL, its trust domain, where its store and its revocations are.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::{Value, json};
use stint_policy::SpiffeId;
use toml::de::DeValue;

use super::setting::{Place, Word, Wrong};
use super::words::text;
use crate::store::Server;

/// The broker's own name, an origin such as `https://stint.acme.dev`: `iss` of what it signs and the audience of what
/// it accepts, compared byte for byte. Canonical: lower case, no default port, nothing after the host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    text: String,
    authority: String,
    loopback: bool,
}

impl ServerUrl {
    /// Reads `https://HOST[:PORT]`; plain http and an IP address only where the host is this machine.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the name of the setting.
    pub fn parse(text: &str) -> Result<ServerUrl, String> {
        let Ok(url) = Url::parse(text) else {
            return Err(format!("is not a URL: `{text}`"));
        };
        let (Some(host), true) = (url.host_str(), matches!(url.scheme(), "https" | "http")) else {
            return Err(format!("is not an https URL: `{text}`"));
        };
        // The parser has lower-cased, decoded and completed; what it changed was not canonical.
        let origin = url.origin().ascii_serialization();
        if text != origin {
            return Err(format!("must be `{origin}` and no more"));
        }
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let loopback = address.map_or(host == "localhost", |address| address.is_loopback());
        if url.scheme() == "http" && !loopback {
            return Err("is plain http on a host that is not this machine".to_owned());
        }
        if address.is_some() && !loopback {
            return Err("is an IP address: passkeys and certificates need a name".to_owned());
        }
        let authority = url
            .port()
            .map_or(host.to_owned(), |port| format!("{host}:{port}"));
        Ok(ServerUrl {
            text: origin,
            authority,
            loopback,
        })
    }

    /// The origin, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, and the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone; an IPv6 address has its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    /// Whether the host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Word for ServerUrl {
    const WANTS: &'static str = "a URL such as \"https://stint.acme.dev\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<ServerUrl, Wrong> {
        let wrong = |text| Wrong::new(text, "https://HOST[:PORT] in lower case, without a path");
        ServerUrl::parse(text::<ServerUrl>(value)?).map_err(wrong)
    }

    fn json(&self) -> Value {
        json!(self.text)
    }
}

/// A base URL under which relying parties fetch CRLs and ask OCSP, by plain http as is usual there, or by https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PkiUrl(String);

impl PkiUrl {
    /// The URL without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for PkiUrl {
    const WANTS: &'static str = "a URL such as \"http://pki.acme.dev\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<PkiUrl, Wrong> {
        let text = text::<PkiUrl>(value)?;
        let plain = |url: &Url| {
            let web = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
            web && url.query().is_none() && url.fragment().is_none()
        };
        match Url::parse(text) {
            Ok(url) if plain(&url) => Ok(PkiUrl(url.as_str().trim_end_matches('/').to_owned())),
            Ok(_) | Err(_) => Err(Wrong::new(
                format!("is not a plain URL: `{text}`"),
                "http://HOST[:PORT][/PATH], nothing after the path",
            )),
        }
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

/// Where the store is: a SQLite file on a local disk, or a PostgreSQL server.
#[derive(Clone, Debug)]
pub enum StoreUrl {
    /// The file.
    Sqlite(PathBuf),
    /// The server, without its password, and as the config spells it.
    Postgres(Box<Server>, String),
}

impl StoreUrl {
    /// A SQLite store in the file at `path`.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> StoreUrl {
        StoreUrl::Sqlite(path.into())
    }

    /// The database file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            StoreUrl::Sqlite(path) => Some(path),
            StoreUrl::Postgres(..) => None,
        }
    }
}

impl Word for StoreUrl {
    const WANTS: &'static str = "a URL such as \"sqlite:/var/lib/stint/stint.db\"";

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<StoreUrl, Wrong> {
        StoreUrl::read(text::<StoreUrl>(value)?, place.dir)
    }

    fn json(&self) -> Value {
        match self {
            StoreUrl::Sqlite(path) => json!(format!("sqlite:{}", path.display())),
            StoreUrl::Postgres(_, text) => json!(text),
        }
    }
}

impl StoreUrl {
    /// Reads one; a relative path starts at `dir`.
    pub(super) fn read(text: &str, dir: &Path) -> Result<StoreUrl, Wrong> {
        const HELP: &str = "sqlite:PATH or postgres://USER@HOST/DATABASE";
        let path = match text.split_once(':') {
            Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
            Some(("postgres" | "postgresql", _)) => {
                let server = Server::parse(text);
                let server = server.map_err(|error| Wrong::new(error.to_string(), HELP))?;
                return Ok(StoreUrl::Postgres(Box::new(server), text.to_owned()));
            }
            Some(_) | None => {
                return Err(Wrong::new(format!("is not a store: `{text}`"), HELP));
            }
        };
        if path.is_empty() || path.contains(['?', '#']) || path.starts_with(':') {
            return Err(Wrong::new(format!("names no file: `{text}`"), HELP));
        }
        Ok(StoreUrl::Sqlite(dir.join(path)))
    }
}

/// A SPIFFE trust domain such as `acme.dev`: the first part of every identity that the broker gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads 1 to 255 bytes of `a-z 0-9 . - _`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the name of the setting.
    pub fn parse(text: &str) -> Result<TrustDomain, String> {
        // A trust domain is what can stand in an identity of it.
        match SpiffeId::parse(&format!("spiffe://{text}/x")) {
            Ok(id) if id.trust_domain() == text => Ok(TrustDomain(text.to_owned())),
            Ok(_) | Err(_) => Err(format!("is not a trust domain: `{text}`")),
        }
    }

    /// The name, without `spiffe://`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for TrustDomain {
    const WANTS: &'static str = "a name such as \"acme.dev\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<TrustDomain, Wrong> {
        let wrong = |text| Wrong::new(text, "a host name in lower case, without spiffe://");
        TrustDomain::parse(text::<TrustDomain>(value)?).map_err(wrong)
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::read;
    use super::*;

    #[test]
    fn the_server_url_is_a_canonical_origin() {
        for good in [
            "https://stint.acme.dev",
            "https://stint.acme.dev:8443",
            "http://localhost:8640",
            "http://127.0.0.1:8640",
            "http://[::1]:8640",
        ] {
            assert_eq!(ServerUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "stint.acme.dev",
            "http://stint.acme.dev",
            "https://stint.acme.dev/",
            "https://stint.acme.dev/x",
            "https://stint.acme.dev?x",
            "https://stint.acme.dev#x",
            "https://me@stint.acme.dev",
            "https://stint.acme.dev:443",
            "https://Stint.acme.dev",
            "https://10.0.0.1",
            "https://[2001:db8::1]",
            "ftp://stint.acme.dev",
            "",
        ] {
            assert!(ServerUrl::parse(bad).is_err(), "{bad}");
        }
        let url = ServerUrl::parse("https://stint.acme.dev:8443").unwrap();
        assert_eq!(
            (url.authority(), url.is_loopback()),
            ("stint.acme.dev:8443", false)
        );
    }

    #[test]
    fn a_store_is_a_local_file_or_a_server() {
        let path = |text: &str| read::<StoreUrl>(text)?.path().map(Path::to_owned);
        let stint = |dir: &str| Some(Path::new(dir).join("stint.db"));
        assert_eq!(path(r#""sqlite:/var/lib/stint.db""#), stint("/var/lib"));
        assert_eq!(path(r#""sqlite:///var/lib/stint.db""#), stint("/var/lib"));
        assert_eq!(path(r#""sqlite:stint.db""#), stint("/etc/stint"));
        for bad in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "a.db",
            "postgres://db/stint",
            "postgres://stint@db",
            "postgres://stint:secret@db/stint",
        ] {
            assert!(read::<StoreUrl>(&format!("{bad:?}")).is_none(), "{bad}");
        }
        let server = read::<StoreUrl>(r#""postgres://stint@db.example/stint""#);
        assert!(matches!(server, Some(StoreUrl::Postgres(..))));
    }

    #[test]
    fn a_trust_domain_is_no_url() {
        assert_eq!(TrustDomain::parse("acme.dev").unwrap().as_str(), "acme.dev");
        for bad in ["", "Acme.dev", "spiffe://acme.dev", "acme.dev/x", "a b"] {
            assert!(TrustDomain::parse(bad).is_err(), "{bad}");
        }
    }
}
