//! What is known about a platform before any config: which claims its tokens have, which of them never change hands, how
//! long a token may live, and what it says in everybody's words (IDENTITY.md §3). One file per platform below.

use std::collections::BTreeSet;

use stint_policy::{Attributes, Seconds, Value};

use crate::authenticate::claims::Claim;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::{Label, Reuse, generic, github, gitlab, kubernetes};

/// One platform. Everything an operator may change starts from these values.
#[derive(Debug)]
pub(super) struct Preset {
    /// `preset = "…"`.
    pub(super) name: &'static str,
    /// The member of the policy's context with the platform's own claims; none for `generic`.
    pub(super) record: Option<&'static str>,
    /// The issuer, where there is one for everybody.
    pub(super) url: Option<&'static str>,
    /// Whether many tenants share this issuer.
    pub(super) shared: fn(url: &str) -> bool,
    pub(super) algorithms: &'static [Algorithm],
    /// Whether a header may go without `typ`; where it has one, it is `JWT`.
    pub(super) typ: Presence,
    /// Without a `jti` the replay key is the digest of the signing input.
    pub(super) jti: Presence,
    pub(super) id: Option<&'static str>,
    pub(super) task: Option<&'static str>,
    /// The claim with the account that started the job.
    pub(super) initiator: Option<&'static str>,
    pub(super) reuse: Reuse,
    /// The longest `exp − iat`.
    pub(super) cap: Seconds,
    pub(super) lives: Lives,
    /// Triggers that are admitted unless config says otherwise; empty where triggers are not judged.
    pub(super) events: &'static [&'static str],
    /// Triggers that run outsiders' text with the owner's rights: admitted by `privileged_events` alone.
    pub(super) privileged_events: &'static [&'static str],
    /// The claims of [`Preset::record`].
    pub(super) claims: fn() -> Vec<Claim>,
    /// Claims that are read beside the record: for `origin`, templates and `only`.
    pub(super) beside: fn() -> Vec<Claim>,
    /// A family of optional texts that templates and `only` may name without declaring them.
    pub(super) family: Option<&'static str>,
    /// Cross-checks and refused events, then `context.origin`.
    pub(super) origin: fn(&Facts<'_>) -> Result<Attributes, Label>,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Optional,
    Required,
}

/// May a credential outlive the token it was given for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lives {
    /// To the end of the task: renewal needs a fresh token of it.
    Task,
    /// Not: there is no second token, so no sign of life.
    Token,
}

/// What a preset judges: typed claims, the subject, and the operator's rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The claims of the record.
    pub(super) record: &'a Attributes,
    /// Those beside it.
    pub(super) beside: &'a Attributes,
    pub(super) sub: Option<&'a str>,
    pub(super) rules: &'a Rules,
}

/// What the operator lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) events: BTreeSet<String>,
    pub(super) forks: Forks,
}

/// Jobs of a fork that run in the project that was forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forks {
    Admitted,
    Refused,
}

impl Preset {
    pub(super) fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// Their names, for whoever misspelt one.
    pub(super) fn names() -> String {
        PRESETS.map(|preset| preset.name).join(", ")
    }
}

impl<'a> Facts<'a> {
    pub(super) fn text(&self, claim: &str) -> Option<&'a str> {
        match self.record.get(claim).or_else(|| self.beside.get(claim))? {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Long(_) | Value::Strings(_) => None,
        }
    }

    /// `origin` from pairs of its word and the claim it is taken from as it is; absent stays absent.
    pub(super) fn taken(&self, pairs: &[(&str, &str)]) -> Attributes {
        let value = |claim: &str| self.record.get(claim).or_else(|| self.beside.get(claim));
        let pair = |(word, claim): &(&str, &str)| Some(((*word).to_owned(), value(claim)?.clone()));
        pairs.iter().filter_map(pair).collect()
    }
}

/// Sets `word` to what `words` calls `text`, `other` if they do not know it; absent stays absent.
pub(super) fn translate(
    origin: &mut Attributes,
    word: &str,
    text: Option<&str>,
    words: &[(&str, &str)],
) {
    let Some(text) = text else { return };
    let known = words.iter().find(|(theirs, _)| *theirs == text);
    let ours = known.map_or("other", |(_, ours)| *ours);
    origin.insert(word.to_owned(), ours.into());
}

const PRESETS: [&Preset; 4] = [
    &generic::PRESET,
    &github::PRESET,
    &gitlab::PRESET,
    &kubernetes::PRESET,
];

/// `origin.ref_kind` on GitHub and GitLab.
pub(super) const REF_KINDS: [(&str, &str); 2] = [("branch", "branch"), ("tag", "tag")];

/// `origin.visibility` on GitHub and GitLab.
pub(super) const VISIBILITIES: [(&str, &str); 3] = [
    ("internal", "internal"),
    ("private", "private"),
    ("public", "public"),
];
