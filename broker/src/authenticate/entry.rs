//! One `[issuer.NAME]`: from the operator's words to something that can judge tokens, or to every fault in them at once.
//!
//! Nothing here uses the network. The lints I01 to I06 (IDENTITY.md §3) are faults: a rule that binds no immutable id, or
//! an audience that others use too, does not load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use stint_policy::{Kind, Seconds, Timestamp};

use crate::authenticate::Reuse;
use crate::authenticate::claims::Claim;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::entry::draft::{Draft, check_name};
use crate::authenticate::entry::fault::Faults;
use crate::authenticate::entry::mapping::long_ids;
use crate::authenticate::preset::{Preset, Rules};
use crate::authenticate::row::Place;
use crate::authenticate::source::Source;
use crate::authenticate::template::Template;

pub mod fault;

pub mod against;

mod audience;
pub(super) mod draft;
mod mapping;
mod naming;
mod supply;

use fault::Fault;

/// The keys of `[issuer.NAME]`, as they stand in the file (UX.md §5, IDENTITY.md §1.2).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each field is the config key of its name; UX.md §5 and IDENTITY.md §1.2 describe them"
)]
pub struct IssuerConfig {
    pub preset: String,
    pub url: Option<String>,
    pub trust_domain: Option<String>,
    pub audience: Option<String>,
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    pub id: Option<String>,
    pub task: Option<String>,
    pub owner: Option<String>,
    pub initiator: Option<String>,
    #[serde(default)]
    pub extra: BTreeMap<String, ExtraConfig>,
    #[serde(default)]
    pub events: Vec<String>,
    #[serde(default)]
    pub privileged_events: bool,
    #[serde(default)]
    pub forks: bool,
    #[serde(default)]
    pub human_shell: bool,
    pub kind: Option<String>,
    pub reuse: Option<String>,
    pub max_token_life: Option<String>,
    pub cut_off: Option<String>,
    pub task_life: Option<String>,
    pub alg: Option<Vec<String>>,
    #[serde(default)]
    pub immutable: Vec<String>,
    #[serde(default)]
    pub single_tenant: bool,
    pub jwks_uri: Option<String>,
    pub jwks_file: Option<String>,
    pub jwks: Option<serde_json::Value>,
    #[serde(default)]
    pub jwks_hosts: Vec<String>,
    pub jwks_max_age: Option<String>,
    pub jwks_stale: Option<String>,
    pub ca_file: Option<String>,
    #[serde(default)]
    pub allow_private: Vec<String>,
}

/// `extra.NAME = { claim = "…", type = "…" }`, or `pointer = "/a/b"` in place of `claim`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraConfig {
    /// A member of the payload, its name taken as it is.
    pub claim: Option<String>,
    /// A way through objects (RFC 6901).
    pub pointer: Option<String>,
    /// `string`, `id`, `bool`, `string bool`, `integer`, `string integer` or `set of strings`.
    pub r#type: String,
}

/// What an entry needs to know of the rest of the config.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `[ca] trust_domain`.
    pub trust_domain: &'a str,
    /// `[server] url`: the default audience, and never an issuer.
    pub server_url: &'a str,
    /// How issuers are reached.
    pub transport: Transport,
}

/// How issuers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over TLS only.
    Https,
    /// In the clear too, but then on loopback only: `stintd dev`.
    LoopbackHttp,
}

/// One issuer whose tokens are judged. Made by [`IssuerEntry::build`] alone; its rules are in `judge`.
#[derive(Debug)]
pub struct IssuerEntry {
    pub(super) name: Arc<str>,
    pub(super) preset: &'static Preset,
    pub(super) url: String,
    pub(super) audience: String,
    pub(super) kind: Kind,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) record: Vec<Claim>,
    pub(super) beside: Vec<Claim>,
    pub(super) inner: Vec<Claim>,
    pub(super) extra: Vec<Claim>,
    pub(super) only: Vec<(String, BTreeSet<String>)>,
    pub(super) rules: Rules,
    /// `spiffe://TRUST_DOMAIN/NAME/`.
    pub(super) prefix: String,
    pub(super) id: Template,
    pub(super) task: Option<Template>,
    pub(super) owner: Option<Template>,
    pub(super) initiator: Option<String>,
    pub(super) reuse: Reuse,
    pub(super) cap: Seconds,
    /// Tokens that were made before it are refused.
    pub(super) cut_off: Option<Timestamp>,
    pub(super) task_life: Option<Seconds>,
    pub(super) source: Arc<Source>,
    warnings: Vec<Fault>,
}

impl IssuerEntry {
    /// Evidence that was made before `moment` counts no more, whatever the config says.
    pub fn refuse_before(&mut self, moment: Timestamp) {
        self.cut_off = Some(self.cut_off.map_or(moment, |known| known.max(moment)));
    }

    /// Checks an entry and makes it ready. Reads `jwks_file` and `ca_file`, and touches no network.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the keys they point to.
    pub fn build(
        name: &str,
        config: &IssuerConfig,
        context: &Context<'_>,
    ) -> Result<IssuerEntry, Vec<Fault>> {
        let Some(preset) = Preset::named(&config.preset) else {
            let text = format!("`{}` is no preset", config.preset);
            return Err(vec![
                Fault::new("preset", text).help(format!("one of {}", Preset::names())),
            ]);
        };
        let mut faults = Faults::default();
        faults.keep(check_name(name));
        let draft = Draft {
            config,
            context,
            preset,
        };
        let url = faults.keep(draft.url());
        let audience = faults.keep(draft.audience(url.as_deref()));
        let algorithms = faults.keep(draft.algorithms());
        let extra = draft.extra(&mut faults);
        let table = |place| {
            let rows = preset.claims.iter().filter(move |row| row.place == place);
            rows.map(Claim::of).collect::<Vec<Claim>>()
        };
        let (record, mut beside) = (table(Place::Record), table(Place::Beside));
        beside.extend(draft.family());
        let known: Vec<&Claim> = record.iter().chain(&beside).chain(&extra).collect();
        let only = faults.keep_all(draft.only(&known, url.as_deref()));
        let id = faults.keep(draft.id(&known));
        let task =
            faults.keep(draft.template("task", config.task.as_deref().or(preset.task), &known));
        let owner = faults.keep(draft.template("owner", config.owner.as_deref(), &known));
        let initiator = faults.keep(draft.initiator(&known));
        let rules = faults.keep(draft.rules());
        let kind = faults.keep(draft.kind());
        let reuse = faults.keep(draft.reuse());
        let cap = faults.keep(draft.cap());
        let cut_off = faults.keep(draft.cut_off());
        let task_life = faults.keep(fault::duration("task_life", config.task_life.as_deref()));
        let source = faults.keep_all(draft.source(url.as_deref()));
        let stated = url.as_deref().zip(audience.as_deref());
        faults.keep(stated.map_or(Ok(()), |(url, audience)| draft.stated(url, audience)));
        let prefix = format!("spiffe://{}/{name}/", context.trust_domain);
        let mut warnings = draft.warnings(cap, reuse);
        warnings.extend(id.as_ref().and_then(|id| long_ids(&prefix, id, &known)));
        let task_known = task.as_ref().and_then(Option::as_ref);
        warnings.extend(draft.one_task(task_known, id.as_ref()));
        let built = || {
            Some(IssuerEntry {
                name: name.into(),
                preset,
                url: url?,
                audience: audience?,
                kind: kind?,
                algorithms: algorithms?,
                record: record.clone(),
                beside: beside.clone(),
                inner: table(Place::Inner),
                extra: extra.clone(),
                only: only?,
                rules: rules?,
                prefix,
                id: id?,
                task: task?,
                owner: owner?,
                initiator: initiator?,
                reuse: reuse?,
                cap: cap?,
                cut_off: cut_off?,
                task_life: task_life?,
                source: source?,
                warnings,
            })
        };
        let entry = built();
        match (entry, faults.into_list()) {
            (Some(entry), faults) if faults.is_empty() => Ok(entry),
            (_, faults) => Err(faults),
        }
    }

    /// `NAME` of `[issuer.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The issuer, byte for byte; of a trust domain, `spiffe://` and its name.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The one audience its tokens must have.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// What loads and should be looked at: the lints from I10 on.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }
}
