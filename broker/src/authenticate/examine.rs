//! An issuer and a token under the eyes of an operator: the checks of IDENTITY.md §2 one by one, with the broker's own
//! fetcher and its own judge, and in words. A caller never reads any of this (§2.4), and the token itself is not in it.

use std::sync::Arc;

use serde_json::Value as Json;
use stint_policy::{Timestamp, Value};

use super::claims::Claim;
use super::discovery::{FetchError, Fetched};
use super::entry::IssuerEntry;
use super::judge;
use super::jws::{Payload, Unverified};
use super::keys::KeySet;
use super::source::{Supply, in_full};
use super::{Caller, Label};
use crate::config::Secret;

/// One check: what was found, or what is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A short name.
    pub name: &'static str,
    /// What was found.
    pub outcome: Result<String, Trouble>,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub text: String,
    /// What an operator can do.
    pub help: String,
}

/// What an issuer gave away.
#[derive(Debug)]
pub struct Examined {
    /// The checks, in order; the last one may have failed.
    pub steps: Vec<Step>,
    /// The issuer's clock, as its `Date` says, in seconds since 1970.
    pub date: Option<i64>,
    keys: Option<Arc<KeySet>>,
}

impl IssuerEntry {
    /// Fetches what this entry trusts, once, as the broker would.
    pub async fn examine(&self) -> Examined {
        let mut examined = Examined {
            steps: Vec::new(),
            date: None,
            keys: None,
        };
        match self.source.supply() {
            None => {
                examined.step("keys", Ok("in the config; nothing is fetched".to_owned()));
                examined.keys = self.source.config_keys();
            }
            Some(supply @ Supply::File(..)) => {
                let fetched = supply.fetch().await;
                examined.take(fetched, &supply.place());
            }
            Some(Supply::Network(fetcher)) => {
                let place = fetcher.keys_at().await;
                let said = place.as_ref().map(|url| format!("keys are at {url}"));
                examined.step("discovery", said.map_err(trouble));
                if let Ok(url) = place {
                    let at = url.to_string();
                    examined.take(fetcher.keys(url).await, &at);
                }
            }
        }
        examined
    }

    /// Judges a token with the keys that [`Self::examine`] found, check by check, and says what its claims become.
    /// `now` is this machine's clock.
    #[must_use]
    pub fn examine_token(
        &self,
        examined: &Examined,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let Err(label) = self.walk_token(examined, token, now, &mut steps) else {
            return steps;
        };
        let help = help(label).to_owned();
        let text = format!("refused: {label}");
        let outcome = Err(Trouble { text, help });
        steps.push(Step {
            name: "token",
            outcome,
        });
        steps
    }

    fn walk_token(
        &self,
        examined: &Examined,
        token: &Secret<String>,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Label> {
        let mut ok = |name, text: String| {
            let outcome = Ok(text);
            steps.push(Step { name, outcome });
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "an operator's own token, on the operator's own machine"
        )]
        let token = Unverified::parse(token.expose())?;
        let header = token.evidence_header()?;
        ok("form", format!("{} under key `{}`", header.alg, header.kid));
        let untrusted = token.untrusted();
        let found = judge::found_at(untrusted, self.preset.found_by).unwrap_or("nothing");
        if found != self.url {
            ok(
                "issuer",
                format!("the token says {found}, the entry {}", self.url),
            );
            return Err(Label::Issuer);
        }
        ok("issuer", found.to_owned());
        let audience = judge::one_audience(untrusted)?;
        if audience != self.audience {
            ok(
                "audience",
                format!("the token says {audience}, the entry {}", self.audience),
            );
            return Err(Label::Audience);
        }
        ok("audience", audience.to_owned());
        self.check_header(&header)?;
        ok("time", times(untrusted, now));
        judge::not_long_over(untrusted, now)?;
        let keys = examined.keys.as_ref().ok_or(Label::Key)?;
        let key = keys.get(header.kid).ok_or(Label::Key)?;
        if header.alg != key.algorithm().as_str() || !self.algorithms.contains(&key.algorithm()) {
            return Err(Label::Alg);
        }
        let typ = header.typ.map(str::to_ascii_uppercase);
        let verified = token.verify(key)?;
        ok("signature", "holds".to_owned());
        match self.judge(&verified, typ.as_deref(), None, now) {
            Ok(caller) => {
                told(&caller, &mut ok);
                Ok(())
            }
            Err(label) => {
                if let Some(claim) = self.odd_claim(verified.payload()) {
                    ok("claim", format!("`{claim}` is missing, or not of its type"));
                }
                Err(label)
            }
        }
    }

    /// The first claim that cannot be read as what it should be.
    fn odd_claim(&self, payload: &Payload) -> Option<&str> {
        let all = self.record.iter().chain(&self.beside).chain(&self.extra);
        let odd = |claim: &&Claim| claim.read(payload).is_err();
        all.into_iter().find(odd).map(|claim| claim.name.as_str())
    }
}

impl Examined {
    /// Whether every check passed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.outcome.is_ok())
    }

    fn step(&mut self, name: &'static str, outcome: Result<String, Trouble>) {
        self.steps.push(Step { name, outcome });
    }

    fn take(&mut self, fetched: Result<Fetched, FetchError>, place: &str) {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => return self.step("keys", Err(trouble(&error))),
        };
        let keys = fetched.keys.jwks();
        let name = |(_, jwk): &(_, serde_json::Map<String, Json>)| {
            let member = |name| jwk.get(name).and_then(Json::as_str).unwrap_or_default();
            format!("{} {}", member("kid"), member("alg"))
        };
        let names: Vec<_> = keys.iter().map(name).collect();
        let text = format!("{} usable at {place}: {}", keys.len(), names.join(", "));
        self.step("keys", Ok(text));
        self.date = fetched.date;
        self.keys = Some(Arc::new(fetched.keys));
    }
}

fn trouble(error: &FetchError) -> Trouble {
    Trouble {
        text: in_full(error),
        help: error.help().to_owned(),
    }
}

fn times(payload: &Payload, now: Timestamp) -> String {
    let relative = |name: &str| {
        let seconds = payload.get(name).and_then(Json::as_i64);
        seconds.map(|at| match at.saturating_sub(now.as_secs()) {
            ahead @ 0.. => format!("{name} in {ahead} s"),
            past => format!("{name} {} s ago", past.unsigned_abs()),
        })
    };
    let told: Vec<_> = ["iat", "nbf", "exp"]
        .into_iter()
        .filter_map(relative)
        .collect();
    told.join(", ")
}

/// What the claims become, as policies will read it.
fn told(caller: &Caller, ok: &mut impl FnMut(&'static str, String)) {
    let principal = caller.principal();
    ok(
        "id",
        format!("{} ({})", principal.id, principal.kind.as_str()),
    );
    match caller.task() {
        Some(task) => ok("task", task.name.clone()),
        None => ok("task", "none in the evidence: an ask is refused".to_owned()),
    }
    if let Some(owner) = caller.claimed_owner() {
        ok(
            "owner",
            format!("{owner}, where entities.json has that group and names no other"),
        );
    }
    let claims = &principal.claims;
    let platform = claims
        .platform
        .iter()
        .map(|(name, record)| (name.as_str(), record));
    let records = [("origin", &claims.origin), ("extra", &claims.extra)];
    for (record, claims) in platform.chain(records) {
        for (name, value) in claims {
            ok("claim", format!("{record}.{name} = {}", spelled(value)));
        }
    }
    if let Some(ceiling) = caller.ceiling() {
        ok(
            "life",
            format!("no credential outlives {}", ceiling.not_after.rfc3339()),
        );
    }
}

fn spelled(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Strings(texts) => format!("{texts:?}"),
    }
}

/// What to do about a refusal; the words are those of IDENTITY.md §2.4.
fn help(label: Label) -> &'static str {
    match label {
        Label::Alg => "the key is for another algorithm, or `alg` of the entry does not have it",
        Label::Attestation => "this is no token",
        Label::Audience => {
            "request the token for exactly the audience above, and for that one alone"
        }
        Label::Claims => {
            "a claim is missing or not of its type: is this the right preset, and are the templates right?"
        }
        Label::CutOff => "the token was made before `cut_off`: get a new one",
        Label::Early => "the token is from the future: compare the clocks",
        Label::Event => "this trigger is not admitted; see `events` and `forks`",
        Label::Expired => "get a new token; if it is new, compare the clocks",
        Label::Form => "a token is three parts of base64url with dots between, and no line break",
        Label::Frozen => "the issuer is frozen: stintd unfreeze",
        Label::Header => "the header has a member that is never accepted, or lacks `alg` or `kid`",
        Label::Issuer => "`url` must be the token's `iss`, byte for byte",
        Label::Key => {
            "no key of the issuer has this `kid`: is it a token of this issuer, and are its keys published?"
        }
        Label::Lifetime => "the token lives longer than `max_token_life`",
        Label::NotAdmitted => "`only` does not let it in",
        Label::Proof | Label::Replay => "get a new token",
        Label::Signature => "the key of this `kid` did not sign this token",
        Label::TooLarge => "a token is 8 KiB at most",
        Label::Typ => "this is another sort of token; evidence is of `typ` JWT",
    }
}
