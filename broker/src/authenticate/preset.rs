//! What is known about a platform before any config: which claims its tokens have, which of them never change hands, how
//! long a token may live, and what it says in everybody's words (IDENTITY.md §3). One file per platform below: mostly a
//! table of [`Row`]s, and a function for what no table says.

use std::collections::{BTreeMap, BTreeSet};

use stint_policy::{Attributes, Seconds, Value};

use crate::authenticate::claims::{Nature, Need, spelled};
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::keys::KeyUse;
use crate::authenticate::row::{From, Place, Row, Word, Words};
use crate::authenticate::{
    Label, Reuse, aws, azure, buildkite, circleci, generic, github, gitlab, google, kubernetes,
    spiffe, terraform,
};

/// One platform. Everything an operator may change starts from these values.
#[derive(Debug)]
pub(super) struct Preset {
    /// `preset = "…"`.
    pub(super) name: &'static str,
    /// The member of the policy's context with the platform's own claims; none where there are none.
    pub(super) record: Option<&'static str>,
    /// What an entry is found by, beside the audience.
    pub(super) found_by: FoundBy,
    /// The issuer, where there is one for everybody.
    pub(super) url: Option<&'static str>,
    /// Whether many tenants share this issuer.
    pub(super) shared: fn(url: &str) -> bool,
    /// Hosts where the platform keeps its keys, beside the issuer's own.
    pub(super) hosts: &'static [&'static str],
    /// Empty: the operator says, as the operator says everything of an issuer nobody knows ([`Preset::is_known`]).
    pub(super) algorithms: &'static [Algorithm],
    /// What its keys are for.
    pub(super) keys: KeyUse,
    /// The words of `typ`, in capitals.
    pub(super) typ: &'static [&'static str],
    /// Whether a header must have a `typ`.
    pub(super) typed: Presence,
    /// Whether a header may have members beside `alg`, `kid` and `typ`.
    pub(super) header: Header,
    /// The claim no two tokens share.
    pub(super) jti: &'static str,
    /// Without a `jti` the replay key is the digest of the signing input.
    pub(super) has_jti: Presence,
    /// Without an `iat` a life counts from when the token is first seen.
    pub(super) has_iat: Presence,
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
    /// The claims that are read, and their words in `origin`.
    pub(super) claims: &'static [Row],
    /// A family of optional texts that templates and `only` may name without declaring them.
    pub(super) family: Option<&'static str>,
    /// What an entry of this platform must say, beyond what all must.
    pub(super) stated: fn(&Stated<'_>) -> Result<(), Fault>,
    /// Cross-checks, refused events, and the claims that are made of others.
    pub(super) check: fn(&mut Facts<'_>) -> Result<(), Label>,
    /// Words of `origin` that no single claim says: which, and how. Runs when all others are there.
    pub(super) refines: &'static [&'static str],
    pub(super) refine: fn(&Facts<'_>, &mut Attributes),
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Optional,
    Required,
}

/// What of a token an entry is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundBy {
    /// `iss`.
    Issuer,
    /// The trust domain of `sub`; `iss` is not read.
    TrustDomain,
}

/// What else a header may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// `alg`, `kid` and `typ`, and nothing else.
    Bare,
    /// Members that nobody reads.
    Open,
}

/// May a credential outlive the token it was given for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lives {
    /// To the end of the task: renewal needs a fresh token of it.
    Task,
    /// Not: there is no second token, so no sign of life.
    Token,
}

/// What an entry says of where its tokens come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated<'a> {
    pub(super) url: &'a str,
    pub(super) audience: &'a str,
    pub(super) only: &'a BTreeMap<String, Vec<String>>,
}

/// What a preset judges: typed claims, and the operator's rules.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The claims of the record.
    pub(super) record: Attributes,
    /// Those beside it.
    pub(super) beside: Attributes,
    /// Those for the preset's own checks.
    pub(super) inner: Attributes,
    /// The entry's issuer.
    pub(super) url: &'a str,
    pub(super) rules: &'a Rules,
    pub(super) rows: &'static [Row],
}

/// What the operator lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) events: BTreeSet<String>,
    pub(super) forks: Admits,
    pub(super) human_shell: Admits,
}

/// Jobs of a fork that run in the project that was forked; jobs in which a person had a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    No,
    Yes,
}

impl Preset {
    /// What most platforms have in common; a preset says how it differs.
    pub(super) const USUAL: Preset = Preset {
        name: "",
        record: None,
        found_by: FoundBy::Issuer,
        url: None,
        shared: |_| false,
        hosts: &[],
        algorithms: &[Algorithm::Rs256],
        keys: KeyUse::Signature,
        typ: &["JWT"],
        typed: Presence::Required,
        header: Header::Open,
        jti: "jti",
        has_jti: Presence::Required,
        has_iat: Presence::Required,
        id: None,
        task: None,
        initiator: None,
        reuse: Reuse::SameKey,
        cap: Seconds::new(3600),
        lives: Lives::Token,
        events: &[],
        privileged_events: &[],
        claims: &[],
        family: None,
        stated: |_| Ok(()),
        check: |_| Ok(()),
        refines: &[],
        refine: |_, _| (),
    };

    pub(super) fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// Their names, for whoever misspelt one.
    pub(super) fn names() -> String {
        PRESETS.map(|preset| preset.name).join(", ")
    }

    /// Whether anything is known of the platform; of a `generic` issuer the operator states all.
    pub(super) fn is_known(&self) -> bool {
        !self.algorithms.is_empty()
    }

    /// Whether a claim names an account that starts jobs. It does so wherever that account goes, in anybody's project:
    /// no tenant is bound by it.
    pub(super) fn is_account(&self, claim: &str) -> bool {
        let acts = |row: &&Row| matches!(row.word, Some(Word::Is("actor")));
        let mut accounts = self.claims.iter().filter(acts);
        accounts.any(|row| row.name == claim)
    }

    /// Whether many tenants share this issuer, by what is known of the platforms.
    pub(super) fn known_to_share(url: &str) -> bool {
        let mut known = PRESETS.into_iter().filter(|preset| preset.is_known());
        known.any(|preset| (preset.shared)(url))
    }

    /// The claim that binds a tenant, to be told to whoever bound none.
    pub(super) fn tenant(&self) -> Option<&'static str> {
        let binds = |row: &&Row| row.nature == Nature::Immutable && row.need == Need::Required;
        self.claims.iter().find(binds).map(|row| row.name)
    }

    /// The words of `origin` that its tokens can fill.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        let word = |row: &Row| {
            row.word.map(|word| match word {
                Word::Is(word) | Word::Means(word, _) => word,
            })
        };
        let refined = self.refines.iter().copied();
        self.claims.iter().filter_map(word).chain(refined)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn find(&self, claim: &str) -> Option<&Value> {
        [&self.record, &self.beside, &self.inner]
            .into_iter()
            .find_map(|claims| claims.get(claim))
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        match self.find(claim)? {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Long(_) | Value::Strings(_) => None,
        }
    }

    pub(super) fn has(&self, claim: &str) -> bool {
        self.find(claim).is_some()
    }

    /// Gives the row of this name, which the preset's `check` makes, its value.
    ///
    /// # Errors
    /// [`Label::Claims`], if the value is not of the row's shape.
    pub(super) fn make(&mut self, claim: &str, text: &str) -> Result<(), Label> {
        let row = self.rows.iter().find(|row| row.name == claim);
        let row = row.ok_or(Label::Claims)?;
        let value = row.shape.read_text(text).ok_or(Label::Claims)?;
        let place = match row.place {
            Place::Beside => &mut self.beside,
            Place::Inner => &mut self.inner,
            Place::Record => &mut self.record,
        };
        place.insert(claim.to_owned(), value);
        Ok(())
    }

    /// Whether `check` made what a token of this platform cannot be without.
    pub(super) fn is_whole(&self) -> bool {
        let made = |row: &&Row| row.from == From::Check && row.need == Need::Required;
        self.rows.iter().filter(made).all(|row| self.has(row.name))
    }

    /// `context.origin`, as the table says; absent stays absent.
    pub(super) fn origin(&self) -> Attributes {
        let mut origin = Attributes::new();
        for row in self.rows {
            let Some((word, value)) = row.word.zip(self.find(row.name)) else {
                continue;
            };
            let (word, value) = match word {
                Word::Is(word) if NUMBERS.contains(&word) => (word, value.clone()),
                Word::Is(word) => (word, in_words(value)),
                Word::Means(word, words) => (word, translated(value, words)),
            };
            origin.insert(word.to_owned(), value);
        }
        origin
    }
}

/// The words of `origin` are texts and truths; a number of a platform is spelled.
fn in_words(value: &Value) -> Value {
    match value {
        Value::Long(_) => spelled(value).map_or_else(|| value.clone(), |text| text.as_ref().into()),
        Value::Bool(_) | Value::String(_) | Value::Strings(_) => value.clone(),
    }
}

fn translated(value: &Value, words: Words) -> Value {
    let known = words
        .iter()
        .find(|(theirs, _)| matches!(value, Value::String(text) if text == theirs));
    known.map_or("other", |(_, ours)| *ours).into()
}

pub(super) const PRESETS: [&Preset; 11] = [
    &github::PRESET,
    &gitlab::PRESET,
    &kubernetes::PRESET,
    &google::PRESET,
    &azure::PRESET,
    &aws::PRESET,
    &circleci::PRESET,
    &buildkite::PRESET,
    &terraform::PRESET,
    &spiffe::PRESET,
    &generic::PRESET,
];

/// The words of `origin` that are numbers.
const NUMBERS: [&str; 1] = ["attempt"];

/// `origin.ref_kind` on GitHub and GitLab.
pub(super) const REF_KINDS: Words = &[("branch", "branch"), ("tag", "tag")];

/// `origin.visibility` on GitHub and GitLab.
pub(super) const VISIBILITIES: Words = &[
    ("internal", "internal"),
    ("private", "private"),
    ("public", "public"),
];
