//! The keys of an entry that stand for themselves: issuer, audience, algorithms, rules and limits.

use std::collections::BTreeSet;

use reqwest::Url;
use stint_policy::{Kind, Seconds};

use crate::authenticate::Reuse;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::entry::fault::{self, Fault};
use crate::authenticate::entry::{Context, IssuerConfig, Transport};
use crate::authenticate::preset::{Forks, Preset, Rules};

/// An entry on its way: each method answers for one key.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) config: &'a IssuerConfig,
    pub(super) context: &'a Context<'a>,
    pub(super) preset: &'static Preset,
}

impl Draft<'_> {
    pub(super) fn url(&self) -> Result<String, Fault> {
        let stated = self.config.url.as_deref().or(self.preset.url);
        let url = stated
            .ok_or_else(|| Fault::new("url", "is missing: this preset has no issuer of its own"))?;
        self.check_url("url", url)?;
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        if bare(url) == bare(self.context.server_url) {
            return Err(Fault::new(
                "url",
                "is this broker: what Stint issued is no evidence",
            ));
        }
        Ok(url.to_owned())
    }

    /// A URL that is https (or loopback http in `dev`), without user, query and fragment, and no pattern (I02).
    pub(super) fn check_url(&self, key: &'static str, url: &str) -> Result<Url, Fault> {
        let parsed = Url::parse(url)
            .map_err(|error| Fault::new(key, format!("`{url}` is no URL: {error}")))?;
        // The brackets of an IPv6 address are no pattern.
        let v6 = parsed.host_str().filter(|host| host.starts_with('['));
        check_literal(
            key,
            &v6.map_or_else(|| url.to_owned(), |host| url.replacen(host, "", 1)),
        )?;
        let scheme = match self.context.transport {
            Transport::Https => parsed.scheme() == "https",
            Transport::LoopbackHttp => matches!(parsed.scheme(), "https" | "http"),
        };
        let plain = parsed.username().is_empty() && parsed.password().is_none();
        if !scheme
            || !plain
            || parsed.query().is_some()
            || parsed.fragment().is_some()
            || !parsed.has_host()
        {
            return Err(Fault::new(
                key,
                format!("`{url}` is not `https://HOST[/PATH]`"),
            ));
        }
        Ok(parsed)
    }

    pub(super) fn audience(&self, url: Option<&str>) -> Result<String, Fault> {
        let audience = match (&self.config.audience, self.preset.record) {
            (Some(audience), _) => audience.as_str(),
            (None, Some(_)) => self.context.server_url,
            (None, None) => {
                return Err(Fault::new(
                    "audience",
                    "is missing: `generic` states its own",
                ));
            }
        };
        check_literal("audience", audience)?;
        let foreign = Some(audience) == url
            || FOREIGN_AUDIENCES
                .iter()
                .any(|head| audience.starts_with(head));
        if audience.is_empty() || foreign {
            let text = format!("`{audience}` is what tokens for other services carry (I04)");
            return Err(Fault::new("audience", text)
                .help("take one that only this broker has, such as its URL"));
        }
        Ok(audience.to_owned())
    }

    pub(super) fn algorithms(&self) -> Result<Vec<Algorithm>, Fault> {
        let Some(names) = &self.config.alg else {
            return match self.preset.algorithms {
                [] => Err(Fault::new("alg", "is missing: `generic` states its own")),
                known => Ok(known.to_vec()),
            };
        };
        let admitted = |name: &String| {
            let known = |a: &Algorithm| {
                self.preset.algorithms.is_empty() || self.preset.algorithms.contains(a)
            };
            Algorithm::parse(name).filter(known).ok_or_else(|| {
                Fault::new("alg", format!("`{name}` is no algorithm of this preset"))
                    .help("there are RS256, PS256, ES256, ES384 and EdDSA")
            })
        };
        let algorithms = names.iter().map(admitted).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            Err(Fault::new("alg", "is empty"))
        } else {
            Ok(algorithms)
        }
    }

    pub(super) fn rules(&self) -> Result<Rules, Fault> {
        let (config, preset) = (self.config, self.preset);
        let named = |list: &[&str], event: &String| list.contains(&event.as_str());
        let privileged = config
            .events
            .iter()
            .find(|event| named(preset.privileged_events, event));
        if let (Some(event), false) = (privileged, config.privileged_events) {
            let text = format!("`{event}` runs outsiders' text with the owner's rights");
            return Err(
                Fault::new("events", text).help("`privileged_events = true` admits such events")
            );
        }
        if preset.events.is_empty() && (!config.events.is_empty() || config.privileged_events) {
            return Err(Fault::new("events", "this preset judges no events"));
        }
        let mut events: BTreeSet<String> = preset
            .events
            .iter()
            .map(|event| (*event).to_owned())
            .collect();
        events.extend(config.events.iter().cloned());
        let forks = if config.forks {
            Forks::Admitted
        } else {
            Forks::Refused
        };
        Ok(Rules { events, forks })
    }

    pub(super) fn kind(&self) -> Result<Kind, Fault> {
        match self.config.kind.as_deref() {
            None | Some("workload") => Ok(Kind::Workload),
            Some("agent") => Ok(Kind::Agent),
            Some(other) => {
                Err(Fault::new("kind", format!("`{other}` is no kind"))
                    .help("`workload` or `agent`"))
            }
        }
    }

    pub(super) fn reuse(&self) -> Result<Reuse, Fault> {
        match self.config.reuse.as_deref() {
            None => Ok(self.preset.reuse),
            Some("never") => Ok(Reuse::Never),
            Some("same-key") => Ok(Reuse::SameKey),
            Some(other) => {
                Err(Fault::new("reuse", format!("`{other}` is no rule"))
                    .help("`never` or `same-key`"))
            }
        }
    }

    pub(super) fn cap(&self) -> Result<Seconds, Fault> {
        let cap = fault::duration("max_token_life", self.config.max_token_life.as_deref())?;
        match cap.unwrap_or(self.preset.cap) {
            cap if cap <= LONGEST_LIFE => Ok(cap),
            cap => Err(Fault::new(
                "max_token_life",
                format!("{cap} is more than {LONGEST_LIFE}"),
            )),
        }
    }

    pub(super) fn warnings(&self, cap: Option<Seconds>, reuse: Option<Reuse>) -> Vec<Fault> {
        let mut warnings = Vec::new();
        if let Some(cap) = cap.filter(|cap| *cap > self.preset.cap) {
            let text = format!("{cap} is above the preset's {} (I10)", self.preset.cap);
            warnings.push(Fault::new("max_token_life", text));
        }
        if self.config.forks {
            warnings.push(Fault::new("forks", "jobs of forks are admitted (I11)"));
        }
        if self.config.privileged_events {
            warnings.push(Fault::new(
                "privileged_events",
                "events that run outsiders' text are admitted (I11)",
            ));
        }
        if self.preset.reuse == Reuse::Never && reuse == Some(Reuse::SameKey) {
            warnings.push(Fault::new(
                "reuse",
                "this platform gives fresh tokens, so none need be used twice (I14)",
            ));
        }
        warnings
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let in_alphabet = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !(1..=32).contains(&name.len()) || !name.bytes().all(in_alphabet) {
        return Err(Fault::new(
            "",
            format!("`{name}` is no name of 1 to 32 characters `[a-z0-9-]`"),
        ));
    }
    match RESERVED.contains(&name) {
        true => Err(Fault::new("", format!("`{name}` is a reserved name"))),
        false => Ok(()),
    }
}

/// I02: an operator who writes a pattern expects it to match, and nothing here matches patterns.
pub(super) fn check_literal(key: &str, text: &str) -> Result<(), Fault> {
    let pattern = |c: char| "*?[]{}()|^$\\".contains(c) || c.is_whitespace() || c.is_control();
    match text.contains(pattern) {
        true => Err(Fault::new(
            key,
            format!("`{text}` looks like a pattern; values are compared byte for byte (I02)"),
        )),
        false => Ok(()),
    }
}

/// IDENTITY.md §1.3: first segments of ids that are not made from evidence of an issuer.
const RESERVED: [&str; 6] = ["stint", "user", "agent", "node", "join", "federated"];

/// IDENTITY.md §2.2.
const LONGEST_LIFE: Seconds = Seconds::new(24 * 3600);

/// Audiences that platforms give by default or that other services ask for: such a token was made for somebody else.
const FOREIGN_AUDIENCES: [&str; 10] = [
    "api://AzureADTokenExchange",
    "https://github.com/",
    "https://gitlab.com",
    "https://iam.googleapis.com/",
    "https://kubernetes.default.svc",
    "https://management.azure.com",
    "https://management.core.windows.net",
    "pypi",
    "sigstore",
    "sts.amazonaws.com",
];
