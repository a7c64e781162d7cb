//! Where an entry's keys come from: inline, a file, or the network (IDENTITY.md §2.5).

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Certificate;
use stint_policy::Seconds;

use crate::authenticate::address::{Network, Reach};
use crate::authenticate::discovery::{Fetcher, Place};
use crate::authenticate::entry::draft::Draft;
use crate::authenticate::entry::fault::{Fault, Faults, duration};
use crate::authenticate::keys::KeySet;
use crate::authenticate::preset::FoundBy;
use crate::authenticate::source::{Ages, Source, Supply};

impl Draft<'_> {
    pub(super) fn source(&self, url: Option<&str>) -> Result<Arc<Source>, Vec<Fault>> {
        let config = self.config;
        let mut faults = Faults::default();
        let stated = [
            ("jwks", config.jwks.is_some()),
            ("jwks_file", config.jwks_file.is_some()),
            ("jwks_uri", config.jwks_uri.is_some()),
        ];
        if let [_, (second, _), ..] = stated
            .into_iter()
            .filter(|(_, is)| *is)
            .collect::<Vec<_>>()
            .as_slice()
        {
            faults.push(Fault::new(
                *second,
                "is the second place for keys; one is enough",
            ));
        }
        let ages = faults.keep(self.ages());
        let source = match (&config.jwks, &config.jwks_file) {
            (Some(keys), _) => faults
                .keep(self.key_set("jwks", keys.to_string().as_bytes()))
                .map(Source::fixed),
            (None, Some(file)) => faults
                .keep(self.file_supply(file))
                .zip(ages)
                .map(|(s, ages)| Source::fetched(s, ages)),
            (None, None) => {
                let supply = faults.keep_all(self.network(url));
                supply
                    .zip(ages)
                    .map(|(supply, ages)| Source::fetched(supply, ages))
            }
        };
        match source {
            Some(source) => faults.or(source),
            None => Err(faults.into_list()),
        }
    }

    fn ages(&self) -> Result<Ages, Fault> {
        let stated = |key, text: &Option<String>, default, range: [Seconds; 2]| {
            let age = duration(key, text.as_deref())?.unwrap_or(default);
            let [least, most] = range;
            match (least..=most).contains(&age) {
                true => Ok(age),
                false => Err(Fault::new(
                    key,
                    format!("{age} is not within {least} and {most}"),
                )),
            }
        };
        let soft = stated(
            "jwks_max_age",
            &self.config.jwks_max_age,
            SOFT,
            [MINUTE, SOFT],
        )?;
        let hard = stated("jwks_stale", &self.config.jwks_stale, HARD, [soft, DAY])?;
        Ok(Ages { soft, hard })
    }

    fn network(&self, url: Option<&str>) -> Result<Supply, Vec<Fault>> {
        let mut faults = Faults::default();
        let place = faults.keep(self.place(url));
        let mut networks = Vec::new();
        for text in &self.config.allow_private {
            let network = text.parse::<Network>();
            let fault = |()| {
                Fault::new(
                    "allow_private",
                    format!("`{text}` is no network such as `10.1.0.0/16`"),
                )
            };
            networks.extend(faults.keep(network.map_err(fault)));
        }
        let roots = faults.keep(self.roots());
        let (Some((place, clear)), Some(roots)) = (place, roots) else {
            return Err(faults.into_list());
        };
        let reach = match clear {
            Scheme::Http => Reach::Loopback,
            Scheme::Https => Reach::Public(networks),
        };
        let fetcher = Fetcher::new(reach, place, roots);
        let no_client = |error| {
            let text = format!("TLS cannot be set up: {error}");
            Fault::new("ca_file", text)
                .help("install the system's root certificates, or name some here")
        };
        match faults.keep(fetcher.map_err(no_client)) {
            Some(fetcher) => faults.or(Supply::Network(fetcher.for_use(self.preset.keys))),
            None => Err(faults.into_list()),
        }
    }

    fn place(&self, url: Option<&str>) -> Result<(Place, Scheme), Fault> {
        let hosts = &self.config.jwks_hosts;
        if self.preset.found_by == FoundBy::TrustDomain && self.config.jwks_uri.is_none() {
            return Err(
                Fault::new("jwks_uri", "is missing: where the trust domain's bundle is")
                    .help("or `jwks_file`, or the bundle itself as `jwks`"),
            );
        }
        if let Some(uri) = &self.config.jwks_uri {
            let uri = self.check_url("jwks_uri", uri)?;
            let scheme = Scheme::of(uri.scheme());
            return Ok((Place::Given(uri), scheme));
        }
        let host = |text: &String| {
            text.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
        };
        if let Some(odd) = hosts.iter().find(|text| text.is_empty() || !host(text)) {
            return Err(Fault::new("jwks_hosts", format!("`{odd}` is no host name")));
        }
        // A missing or faulty `url` has its own fault already; any other document will do until then.
        let issuer = url.unwrap_or("https://invalid.").to_owned();
        let scheme = Scheme::of(issuer.split(':').next().unwrap_or_default());
        let own = self.preset.hosts.iter().map(|host| (*host).to_owned());
        Ok((
            Place::Discovered {
                issuer,
                hosts: own.chain(hosts.iter().cloned()).collect(),
            },
            scheme,
        ))
    }

    fn roots(&self) -> Result<Vec<Certificate>, Fault> {
        let Some(path) = self
            .config
            .ca_file
            .as_deref()
            .filter(|path| !path.is_empty())
        else {
            return Ok(Vec::new());
        };
        let fault = |text: String| Fault::new("ca_file", text);
        let pem = std::fs::read(path)
            .map_err(|error| fault(format!("`{path}` cannot be read: {error}")))?;
        let roots = Certificate::from_pem_bundle(&pem)
            .map_err(|error| fault(format!("`{path}` is not PEM: {error}")))?;
        if roots.is_empty() {
            Err(fault(format!("`{path}` holds no certificate")))
        } else {
            Ok(roots)
        }
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn of(scheme: &str) -> Scheme {
        if scheme == "http" {
            Scheme::Http
        } else {
            Scheme::Https
        }
    }
}

impl Draft<'_> {
    /// Read once now, so that a bad path is a fault of the config and not of the first token.
    fn file_supply(&self, path: &str) -> Result<Supply, Fault> {
        let json = std::fs::read(path);
        let json = json.map_err(|error| {
            Fault::new("jwks_file", format!("`{path}` cannot be read: {error}"))
        })?;
        self.key_set("jwks_file", &json)?;
        Ok(Supply::File(PathBuf::from(path), self.preset.keys))
    }

    fn key_set(&self, key: &str, json: &[u8]) -> Result<KeySet, Fault> {
        let set = KeySet::parse(json, self.preset.keys);
        let set = set.map_err(|error| Fault::new(key, error.to_string()))?;
        match set.len() {
            0 => Err(Fault::new(
                key,
                "no usable key: wanted is one of `use` `jwt-svid`",
            )),
            _ => Ok(set),
        }
    }
}

// IDENTITY.md §2.2.
const MINUTE: Seconds = Seconds::new(60);
const SOFT: Seconds = Seconds::new(600);
const HARD: Seconds = Seconds::new(3600);
const DAY: Seconds = Seconds::new(24 * 3600);
