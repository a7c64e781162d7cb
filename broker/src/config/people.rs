//! `[people]` and `[roles]`: who logs in, and what that makes of them (IDENTITY.md §6, UX.md §5).

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;
use serde_json::{Value, json};
use stint_policy::Seconds;
use toml::de::DeValue;

use super::declare::settings;
use super::reader::{Check, Reader, Table};
use super::secret::SecretRef;
use super::setting::{Place, Setting, Word, Wrong, kind};
use super::tables::Config;
use super::words::{Cidr, text};
use toml::Spanned;

settings! {
    /// The identity provider of the people who approve, audit and operate. No table: nobody can log in.
    pub struct People {
        required {
            /// The provider's issuer identifier, byte for byte as its discovery document has it.
            issuer: IdpUrl,
            /// The broker's name there. Its redirect URI is `server.url` + "/login/callback".
            client_id: String,
            /// What the broker proves itself with there.
            client_secret: SecretRef,
        }
        default {
            /// What is asked for.
            scopes: Vec<String> = ["openid", "profile", "email"].map(str::to_owned).to_vec();
            /// The claim that lists a person's groups; "/a/b" points into a claim.
            groups_claim: String = "groups".to_owned();
            /// A provider's group to the name that policies use: { "8f2c…" = "sre" }. Empty: the names are the same. With
            /// it, groups that are not here count for nothing.
            groups: Pairs = Pairs::default();
            /// An issuer to the login claim that holds the person's account id there: { github = "github_id" }. It
            /// is how whoever started a run is kept from approving it.
            links: Pairs = Pairs::default();
            /// How long a login lasts.
            session_ttl: Seconds = Seconds::new(28_800), in Seconds::new(300)..=Seconds::new(86_400);
            /// How long a session that is not used lasts.
            session_idle: Seconds = Seconds::new(1_800), in Seconds::new(60)..=Seconds::new(86_400);
            /// How fresh a login must be that enrols a passkey or acts for an operator.
            step_up_age: Seconds = Seconds::new(300), in Seconds::new(30)..=Seconds::new(3_600);
            /// Other hosts that the provider's document may name, such as "oauth2.googleapis.com".
            hosts: Vec<String> = Vec::new();
            /// The roots that count for TLS, PEM, instead of the system's.
            ca_file: Option<PathBuf> = None;
            /// Private networks in which the provider may be.
            allow_private: Vec<Cidr> = Vec::new();
        }
    }

    /// What groups of the provider make of people beyond approvers, whom policies name. None implies another.
    pub struct Roles {
        default {
            /// Groups that act: freeze, revoke, disable.
            operator: Vec<String> = Vec::new();
            /// Groups that read everything.
            auditor: Vec<String> = Vec::new();
        }
    }
}

/// `[people]`, if it is there. An absent table is no empty one: it has keys that must be said.
#[derive(Debug, Default)]
pub struct MaybePeople(pub Option<Box<People>>);

impl Setting for MaybePeople {
    const WANTS: &'static str = <People as Setting>::WANTS;
    const TABLE: Option<&'static super::declare::TableDoc> = <People as Setting>::TABLE;

    fn schema() -> Value {
        People::schema()
    }

    fn read(
        value: &Spanned<DeValue<'_>>,
        at: super::reader::At<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        People::read(value, at, reader).map(|people| Self(Some(Box::new(people))))
    }

    fn json(&self) -> Value {
        self.0.as_ref().map_or_else(|| json!({}), |it| it.json())
    }
}

impl Check for People {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(&self.client_id) || self.client_id.len() > 255 {
            let wrong = Wrong::new("is no client id", "1 to 255 characters of visible ASCII");
            table.refuse("client_id", wrong, reader);
        }
        let openid = self.scopes.iter().any(|scope| scope == "openid");
        if !openid || !self.scopes.iter().all(|scope| printable(scope)) {
            let wrong = Wrong::new(
                "needs `openid` and words without spaces",
                "[\"openid\", \"profile\", \"email\"]",
            );
            table.refuse("scopes", wrong, reader);
        }
        if self.session_idle > self.session_ttl {
            let text = format!("is longer than `session_ttl`, {}", self.session_ttl);
            table.refuse(
                "session_idle",
                Wrong::new(text, "lower it or raise `session_ttl`"),
                reader,
            );
        }
        let host = |name: &String| {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
            !name.is_empty() && name.bytes().all(legal)
        };
        if !self.hosts.iter().all(host) {
            let wrong = Wrong::new("has what is no host name", "lower case, without port");
            table.refuse("hosts", wrong, reader);
        }
        if let Some(path) = &self.ca_file {
            let read = std::fs::read(path).map_err(|error| error.to_string());
            let roots = read.and_then(|pem| {
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            });
            let wrong = match roots {
                Err(error) => Some(format!("cannot be used: {error}")),
                Ok(roots) if roots.is_empty() => Some("holds no certificate".to_owned()),
                Ok(_) => None,
            };
            if let Some(text) = wrong {
                table.refuse("ca_file", Wrong::new(text, "certificates, PEM"), reader);
            }
        }
    }
}

impl Check for Roles {}

/// What only the rest of the file can tell.
pub(super) fn check(config: &Config, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
    let roles = &config.roles;
    let Some(people) = &config.people.0 else {
        if !roles.operator.is_empty() || !roles.auditor.is_empty() {
            let wrong = Wrong::new("has nobody to give roles to", "add [people]");
            table.refuse("roles", wrong, reader);
        }
        return;
    };
    for name in people.links.0.keys() {
        if !config.issuers.contains_key(name) {
            let text = format!("links to [issuer.{name}], which is not here");
            table.refuse(
                "people",
                Wrong::new(text, "name an issuer of this file"),
                reader,
            );
        }
    }
    if config
        .issuers
        .values()
        .any(|it| it.config.url.as_deref() == Some(people.issuer.as_str()))
    {
        // A token of a workload must never make a person, nor the other way round (IDENTITY.md §6).
        let text = "has the `issuer` of an [issuer.NAME]: workloads and people would meet";
        table.refuse(
            "people",
            Wrong::new(text, "another provider, or another realm of it"),
            reader,
        );
    }
    if people.issuer.is_plain() && !config.server.url.is_loopback() {
        let text = "has a provider that is reached in the clear";
        table.refuse("people", Wrong::new(text, "https"), reader);
    }
    if people.links.0.is_empty() && !config.issuers.is_empty() {
        let caution = "has no `links`: who started a run is tied to no person, so separation of duties cannot be proven";
        table.warn("people", caution, reader);
    }
}

/// An issuer identifier: kept as it was written, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpUrl {
    text: String,
    url: Url,
}

impl IdpUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is fetched from.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is reached in the clear: on this machine only.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }
}

impl Word for IdpUrl {
    const WANTS: &'static str = "a URL such as \"https://login.acme.dev\"";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://" })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<IdpUrl, Wrong> {
        let text = text::<IdpUrl>(value)?;
        let label = "https://HOST[/PATH], as the provider's own metadata has it";
        let wrong = |text: String| Wrong::new(text, label);
        let Ok(url) = Url::parse(text) else {
            return Err(wrong(format!("is not a URL: `{text}`")));
        };
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.has_host();
        if !plain || !matches!(url.scheme(), "https" | "http") {
            return Err(wrong("is not `https://HOST[/PATH]`".to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        let address = host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .ok();
        let here = address.map_or(host == "localhost", |address| address.is_loopback());
        if url.scheme() == "http" && !here {
            return Err(wrong(
                "is plain http on a host that is not this machine".to_owned(),
            ));
        }
        Ok(IdpUrl {
            text: text.to_owned(),
            url,
        })
    }

    fn json(&self) -> Value {
        json!(self.text)
    }
}

/// Names to names, as an inline table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub BTreeMap<String, String>);

impl Word for Pairs {
    const WANTS: &'static str = "a table such as { github = \"github_id\" }";

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Pairs, Wrong> {
        let table = value
            .as_table()
            .ok_or_else(|| Wrong::kind::<Pairs>(value))?;
        let mut pairs = BTreeMap::new();
        for (name, value) in table {
            let value = value.get_ref();
            let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
                let text = format!("has {} at `{}`", kind(value), name.get_ref());
                return Err(Wrong::new(text, "a string that is not empty"));
            };
            pairs.insert(name.get_ref().to_string(), text.to_owned());
        }
        Ok(Pairs(pairs))
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}
