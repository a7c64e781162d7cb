//! The keys of an entry that stand for themselves: issuer, audience, algorithms, rules and limits.

use std::collections::BTreeSet;

use reqwest::Url;
use stint_policy::{Kind, Seconds, SpiffeId, Timestamp};

use crate::authenticate::Reuse;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::entry::audience::is_foreign;
use crate::authenticate::entry::fault::{self, Fault};
use crate::authenticate::entry::{Context, IssuerConfig, Transport};
use crate::authenticate::preset::{Admits, FoundBy, Preset, Rules, Stated};

/// An entry on its way: each method answers for one key.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) config: &'a IssuerConfig,
    pub(super) context: &'a Context<'a>,
    pub(super) preset: &'static Preset,
}

impl Draft<'_> {
    pub(super) fn url(&self) -> Result<String, Fault> {
        match (self.preset.found_by, &self.config.trust_domain) {
            (FoundBy::TrustDomain, _) => return self.trust_domain(),
            (FoundBy::Issuer, Some(_)) => {
                return Err(Fault::new("trust_domain", "is of `spiffe-jwt-svid` alone"));
            }
            (FoundBy::Issuer, None) => {}
        }
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

    /// `spiffe://` and the trust domain whose SVIDs come in. Our own do not: a caller of ours has better evidence.
    fn trust_domain(&self) -> Result<String, Fault> {
        if self.config.url.is_some() {
            return Err(Fault::new(
                "url",
                "is not read here: SVIDs are known by their `trust_domain`",
            ));
        }
        let fault = |text| Fault::new("trust_domain", text);
        let domain = self.config.trust_domain.as_deref();
        let domain =
            domain.ok_or_else(|| fault("is missing: whose SVIDs are evidence".to_owned()))?;
        check_literal("trust_domain", domain)?;
        if domain == self.context.trust_domain {
            return Err(fault("is this broker's own".to_owned()));
        }
        match SpiffeId::parse(&format!("spiffe://{domain}/x")) {
            Ok(_) => Ok(format!("spiffe://{domain}")),
            Err(_) => Err(fault(format!("`{domain}` is no trust domain"))
                .help("1 to 255 of `[a-z0-9._-]`, without scheme and port")),
        }
    }

    /// What this platform's entries must say beyond what all must.
    pub(super) fn stated(&self, url: &str, audience: &str) -> Result<(), Fault> {
        (self.preset.stated)(&Stated {
            url,
            audience,
            only: &self.config.only,
        })
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
        let audience = match (&self.config.audience, self.preset.is_known()) {
            (Some(audience), _) => audience.as_str(),
            (None, true) => self.context.server_url,
            (None, false) => {
                return Err(Fault::new(
                    "audience",
                    "is missing: `generic` states its own",
                ));
            }
        };
        check_literal("audience", audience)?;
        if audience.is_empty() || Some(audience) == url || is_foreign(audience) {
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
            let known =
                |a: &Algorithm| !self.preset.is_known() || self.preset.algorithms.contains(a);
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
        let admits = |admitted| match admitted {
            true => Admits::Yes,
            false => Admits::No,
        };
        Ok(Rules {
            events,
            forks: admits(config.forks),
            human_shell: admits(config.human_shell),
        })
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
            cap if cap <= LONGEST_LIFE.max(self.preset.cap) => Ok(cap),
            cap => Err(Fault::new(
                "max_token_life",
                format!("{cap} is more than {}", LONGEST_LIFE.max(self.preset.cap)),
            )),
        }
    }

    /// A moment of RFC 3339, in UTC.
    pub(super) fn cut_off(&self) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = &self.config.cut_off else {
            return Ok(None);
        };
        let fault = |_| {
            Fault::new("cut_off", format!("`{text}` is no moment"))
                .help("write it as \"2026-09-01T12:00:00Z\"")
        };
        Timestamp::parse_rfc3339(text).map(Some).map_err(fault)
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
        if self.config.human_shell {
            warnings.push(Fault::new(
                "human_shell",
                "jobs in which a person has a shell are admitted (I11)",
            ));
        }
        if let Some(host) = self
            .public_host()
            .filter(|_| !self.config.allow_private.is_empty())
        {
            let text = format!(
                "lets `{host}`, which looks like a public name, be at a private address (I12)"
            );
            warnings.push(Fault::new("allow_private", text));
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

impl Draft<'_> {
    /// The host that keys are fetched from, if its name is one that everybody could resolve.
    fn public_host(&self) -> Option<String> {
        let config = self.config;
        let stated = config.jwks_uri.as_ref().or(config.url.as_ref());
        let url = Url::parse(stated.map(String::as_str).or(self.preset.url)?).ok()?;
        let host = url.domain()?.trim_end_matches('.');
        let (_, last) = host.rsplit_once('.')?;
        let private = PRIVATE_NAMES.contains(&last) || host.ends_with(".home.arpa");
        (!private).then(|| host.to_owned())
    }
}

pub(in crate::authenticate) fn check_name(name: &str) -> Result<(), Fault> {
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

/// Last labels of names that no public resolver answers for: RFC 2606, RFC 6761, RFC 6762, and `internal`, which ICANN keeps
/// for private use; then what clusters and offices call themselves.
const PRIVATE_NAMES: [&str; 12] = [
    "cluster",
    "corp",
    "example",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "private",
    "svc",
    "test",
];
