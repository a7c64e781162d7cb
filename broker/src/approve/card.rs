//! What approvers are shown of an ask: made from the canonical ask and verified facts, when it is parked, and never
//! changed. Whatever a stranger could have written is shown as it is written: what cannot be seen, or looks like
//! something else, is spelled out.

use serde::{Deserialize, Serialize};
use stint_policy::{
    ActionId, CredentialKind, Input, PolicySet, Principal, Quorum, Resources, Seconds, Value, Want,
};

use crate::telemetry::lines::legible;

/// The card of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// What it lets happen, in one sentence.
    pub sentence: String,
    /// Everything else, in order: a label, and what it says. A label may come more than once.
    pub rows: Vec<(String, String)>,
    /// What is out of the ordinary, each a sentence.
    pub unusual: Vec<String>,
    /// The requester's own words, at most 500 characters. Never beside the facts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub words: Option<String>,
    /// Where the run can be looked at, if its platform says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<String>,
}

/// What a card is made of.
pub(crate) struct Shown<'a> {
    pub(crate) policy: &'a PolicySet,
    pub(crate) caller: &'a Principal,
    /// The account that started the run, and whether it is linked to a person.
    pub(crate) initiator: (Option<&'a str>, bool),
    pub(crate) task: &'a str,
    pub(crate) action: &'a ActionId,
    pub(crate) resources: &'a Resources,
    pub(crate) input: Option<&'a Input>,
    pub(crate) want: &'a Want,
    pub(crate) quorum: &'a Quorum,
    pub(crate) words: Option<&'a str>,
    /// What this caller asked for before.
    pub(crate) before: &'a Before,
}

/// What a caller asked people for in the 30 days before.
#[derive(Debug, Clone, Default)]
pub struct Before(Vec<serde_json::Value>);

impl Before {
    /// `asks`: canonical asks as requests keep them.
    pub(crate) fn of(asks: &[String]) -> Before {
        let ask = |text: &String| {
            serde_json::from_str::<serde_json::Value>(text)
                .ok()?
                .get("ask")
                .cloned()
        };
        Before(asks.iter().filter_map(ask).collect())
    }
}

impl Card {
    /// The table that a vote is signed over, row by row, as it reads.
    #[must_use]
    pub fn shown(&self) -> Vec<(String, String)> {
        let sentence = ("Lets".to_owned(), self.sentence.clone());
        let unusual = self.unusual.iter();
        let unusual = unusual.map(|text| ("Unusual".to_owned(), text.clone()));
        let rows = self.rows.iter().cloned();
        std::iter::once(sentence)
            .chain(rows)
            .chain(unusual)
            .collect()
    }

    pub(crate) fn of(facts: &Shown<'_>) -> Card {
        let claims = Claims::of(facts.caller);
        let mut card = Card {
            sentence: facts.sentence(&claims),
            words: facts.words.map(|words| legible(words).into_owned()),
            run: claims.run(),
            ..Card::default()
        };
        card.describe(facts, &claims);
        card.unusual = facts.unusual();
        card
    }

    fn row(&mut self, label: &str, text: impl AsRef<str>) {
        let text = legible(text.as_ref()).into_owned();
        self.rows.push((label.to_owned(), text));
    }

    fn describe(&mut self, facts: &Shown<'_>, claims: &Claims<'_>) {
        self.row("Action", facts.action.to_string());
        for resource in facts.resources.iter() {
            self.row("Resource", resource.to_string());
        }
        if let Some(input) = facts.input {
            let members = serde_json::Value::Object(input.members().clone());
            self.row("Input", members.to_string());
        }
        let want = facts.want;
        self.row("Credential", in_words(want));
        if let Some(audience) = &want.audience {
            self.row("For", audience);
        }
        self.row("Asked for", lasting(want.ttl));
        let caller = facts.caller;
        self.row("Who", caller.id.as_str());
        for (name, value) in claims.all() {
            let by = format!("{value} (says {})", caller.issuer);
            self.row(name, by);
        }
        if let Some(owner) = &caller.owner {
            self.row("Owner", format!("Group::\"{owner}\""));
        }
        self.row("Task", facts.task);
        match facts.initiator {
            (Some(account), true) => self.row("Started by", format!("account {account}")),
            (Some(account), false) => {
                let text = "linked to no person: separation of duties cannot be proven";
                self.row("Started by", format!("account {account}, {text}"));
            }
            (None, _) => self.row(
                "Started by",
                "the evidence does not say: separation of duties cannot be proven",
            ),
        }
        for need in facts.quorum.needs() {
            let why = facts.policy.reason_of(&need.policy);
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let votes = need.votes.get();
            let text = format!(
                "{} wants {votes} of Group::\"{}\"{why}",
                need.policy, need.approvers
            );
            self.row("Policy", text);
        }
    }
}

impl Shown<'_> {
    /// "Lets acme/web deploy to environment prod/web for 15 min. Nothing else."
    fn sentence(&self, claims: &Claims<'_>) -> String {
        let action = self.policy.label_of_action(self.action);
        let action = action.unwrap_or(self.action.name());
        let resource = |resource: &stint_policy::Resource| {
            let label = self.policy.label_of_type(resource);
            format!(
                "{} {}",
                label.unwrap_or(resource.type_name()),
                resource.id()
            )
        };
        let resources: Vec<_> = self.resources.iter().map(resource).collect();
        let who = claims.name().unwrap_or(self.caller.id.path());
        let text = format!(
            "{who} {action} {} for {}. Nothing else.",
            resources.join(", "),
            lasting(self.want.ttl)
        );
        legible(&text).into_owned()
    }

    fn unusual(&self) -> Vec<String> {
        let mut unusual = Vec::new();
        let action = self.action.to_string();
        let same = |ask: &&serde_json::Value| {
            ask.get("action").and_then(|it| it.as_str()) == Some(&action)
        };
        let alike: Vec<_> = self.before.0.iter().filter(same).collect();
        if alike.is_empty() {
            unusual.push("the first time in 30 days that it asks for this action".to_owned());
        } else {
            let known = |resource: &String| {
                let has = |ask: &&serde_json::Value| {
                    let listed = ask.get("resources").and_then(|it| it.as_array());
                    listed
                        .is_some_and(|listed| listed.iter().any(|it| it.as_str() == Some(resource)))
                };
                alike.iter().any(has)
            };
            let resources = self.resources.iter().map(ToString::to_string);
            for new in resources.filter(|resource| !known(resource)) {
                unusual.push(legible(&format!("the first time in 30 days for {new}")).into_owned());
            }
            let longest = alike
                .iter()
                .filter_map(|ask| ask.get("ttl_s")?.as_u64())
                .max();
            if longest.is_some_and(|longest| u64::from(self.want.ttl.as_u32()) > longest) {
                unusual.push("longer than it ever asked for in 30 days".to_owned());
            }
        }
        unusual.extend(self.foreign_letters());
        unusual
    }

    /// Letters that could pass for others, with their code points.
    fn foreign_letters(&self) -> Option<String> {
        let resources = self.resources.iter().map(ToString::to_string);
        let audience = self.want.audience.iter().cloned();
        let named: String = resources.chain(audience).collect();
        let mut foreign: Vec<char> = named.chars().filter(|it| !it.is_ascii()).collect();
        foreign.sort_unstable();
        foreign.dedup();
        let points = foreign
            .iter()
            .take(8)
            .map(|it| format!("U+{:04X}", u32::from(*it)));
        let points: Vec<_> = points.collect();
        (!points.is_empty()).then(|| {
            format!(
                "names have letters that can pass for others: {}",
                points.join(", ")
            )
        })
    }
}

/// What a platform says of its caller.
struct Claims<'a> {
    platform: Option<&'a str>,
    record: Vec<(&'a str, String)>,
}

impl<'a> Claims<'a> {
    fn of(caller: &'a Principal) -> Claims<'a> {
        let text = |value: &Value| match value {
            Value::Bool(value) => value.to_string(),
            Value::Long(value) => value.to_string(),
            Value::String(value) => value.clone(),
            Value::Strings(values) => values.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        let platform = caller.claims.platform.as_ref();
        let record = platform.into_iter().flat_map(|(_, record)| record.iter());
        let extra = caller.claims.extra.iter();
        let all = record
            .chain(extra)
            .map(|(name, value)| (name.as_str(), text(value)));
        Claims {
            platform: platform.map(|(name, _)| name.as_str()),
            record: all.collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.record.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, &str)> {
        self.record
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// What people call it.
    fn name(&self) -> Option<&str> {
        ["repository", "project_path", "serviceaccount"]
            .iter()
            .find_map(|name| self.get(name))
    }

    /// Where the run can be looked at. Made of verified claims alone, and of a host that is the platform's own.
    fn run(&self) -> Option<String> {
        let (repository, run) = (self.get("repository")?, self.get("run_id")?);
        let part = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        let plain = part(repository) && run.bytes().all(|b| b.is_ascii_digit());
        (self.platform == Some("github") && plain)
            .then(|| format!("https://github.com/{repository}/actions/runs/{run}"))
    }
}

fn in_words(want: &Want) -> String {
    match want.kind {
        CredentialKind::X509 => format!("a certificate, profile {}", want.profile),
        CredentialKind::Jwt | CredentialKind::None => {
            format!(
                "a token, {}",
                match want.bind {
                    stint_policy::Binding::Bearer => "which whoever holds it can use",
                    stint_policy::Binding::Dpop | stint_policy::Binding::Key => "bound to a key",
                    stint_policy::Binding::Mtls => "bound to a client certificate",
                }
            )
        }
    }
}

/// `15 min`, `1 h 30 min`, `45 s`.
fn lasting(life: Seconds) -> String {
    let all = life.as_u32();
    let parts = [(all / 3600, "h"), (all / 60 % 60, "min"), (all % 60, "s")];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    parts.join(" ")
}
