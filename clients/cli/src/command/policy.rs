//! `stint policy`: the broker's own loader and engine, offline.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use stint_policy::{
    ActionId, AskDigest, Attributes, Binding, Claims, CredentialKind, Finding, History,
    Kind as CallerKind, LoadError, OwnerView, PolicySet, Principal, Query, Resources, Seconds,
    SpiffeId, Task, TaskId, TaskSource, Timestamp, Value, Want,
};
use stint_wire::DecisionReceipt;

use crate::args::{Format, Kind, Policy};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::{clock, settings, words};

/// The rule under which a case that fails is found.
const FAILED_CASE: &str = "P18";

/// Runs the verb.
///
/// # Errors
/// Exit 2 for what cannot be read.
pub(crate) fn policy(verb: Policy, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Policy::Check {
            dir,
            deny_warnings,
            format,
        } => {
            let level = if deny_warnings {
                Level::Warning
            } else {
                Level::Error
            };
            check(&dir, level, format.format, output)
        }
        Policy::Test { dir, format } => test(&dir, format.format, output),
        Policy::Explain {
            claims,
            dir,
            action,
            resources,
            credential,
            ttl,
            format,
        } => {
            let caller = caller(&claims)?;
            let set = load(&dir)?.map_err(|findings| Failure {
                exit: Exit::Usage,
                lines: list(&findings),
            })?;
            let ask = Ask::resolve(&set, &action, &resources, want(credential, ttl))?;
            explain(&set, &caller, &ask, format.format, output)
        }
    }
}

/// What a check is failed by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
}

/// A set, or what is wrong with it.
fn load(dir: &Path) -> Result<Result<PolicySet, Vec<Finding>>, Failure> {
    match PolicySet::load(dir) {
        Ok(set) => Ok(Ok(set)),
        Err(LoadError::Refused(findings)) => Ok(Err(findings)),
        Err(LoadError::Io { path, source }) => Err(settings::unreadable(Path::new(&path), &source)),
    }
}

fn check(
    dir: &Path,
    level: Level,
    format: Option<Format>,
    output: &Output,
) -> Result<Exit, Failure> {
    let loaded = load(dir)?;
    let findings = match &loaded {
        Ok(set) => set.warnings(),
        Err(findings) => findings,
    };
    let passed = loaded.is_ok() && (level == Level::Error || findings.is_empty());
    report(&loaded, findings, format, output)?;
    Ok(if passed { Exit::Ok } else { Exit::Usage })
}

/// The loader runs every case, so a set with a failing one does not load: told apart here, since it is no bad set.
fn test(dir: &Path, format: Option<Format>, output: &Output) -> Result<Exit, Failure> {
    let loaded = load(dir)?;
    match &loaded {
        Ok(set) => {
            report(&loaded, set.warnings(), format, output)?;
            Ok(Exit::Ok)
        }
        Err(findings) => {
            report(&loaded, findings, format, output)?;
            let other = findings
                .iter()
                .any(|finding| finding.is_error() && finding.rule() != FAILED_CASE);
            Ok(if other { Exit::Usage } else { Exit::Failed })
        }
    }
}

fn report(
    loaded: &Result<PolicySet, Vec<Finding>>,
    findings: &[Finding],
    format: Option<Format>,
    output: &Output,
) -> Result<(), Failure> {
    let set = loaded.as_ref().ok();
    if format == Some(Format::Json) {
        let findings: Vec<Json> = findings
            .iter()
            .map(|finding| {
                json!({
                    "level": if finding.is_error() { "error" } else { "warning" },
                    "rule": finding.rule(),
                    "file": finding.file(),
                    "line": finding.line(),
                    "column": finding.column(),
                    "text": finding.text(),
                })
            })
            .collect();
        let json = json!({
            "schema": "stint.policy-check/v1",
            "ok": set.is_some(),
            "pol": set.map(|set| set.hash().to_string()),
            "findings": findings,
        });
        return output.data(format!("{json}\n"));
    }
    output.answer(&list(findings))?;
    match set {
        None => Ok(()),
        Some(set) => {
            let text = format!(
                "{} policies, {} cases pass, pol {}",
                set.len(),
                set.test().ran(),
                set.hash()
            );
            output.answer(&[("ok", text)])
        }
    }
}

/// Findings quote files that came from anywhere: as lines of talk they reach no terminal raw.
fn list(findings: &[Finding]) -> words::Lines {
    let line = |finding: &Finding| {
        let level = if finding.is_error() {
            "error"
        } else {
            "warning"
        };
        let (rule, file, text) = (finding.rule(), finding.file(), finding.text());
        let text = format!(
            "{rule} {file}:{}:{} {text}",
            finding.line(),
            finding.column()
        );
        (level, text)
    };
    findings.iter().map(line).collect()
}

/// An ask as the set knows it.
struct Ask {
    action: ActionId,
    resources: Resources,
    want: Want,
}

impl Ask {
    fn resolve(
        set: &PolicySet,
        action: &str,
        resources: &[String],
        want: Want,
    ) -> Result<Self, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error);
        let action = ActionId::parse(action).map_err(|error| usage(&error))?;
        let action = set
            .resolve_action(&action)
            .ok_or_else(|| usage(&format!("the schema has no action {action}")))?;
        let resources = Resources::parse(resources).map_err(|error| usage(&error))?;
        let known = resources.iter().map(|resource| {
            set.resolve_resource(resource)
                .ok_or_else(|| usage(&format!("the schema has no type of {resource}")))
        });
        let resources =
            Resources::new(known.collect::<Result<_, _>>()?).map_err(|error| usage(&error))?;
        Ok(Self {
            action,
            resources,
            want,
        })
    }
}

/// What `stint run` would ask for: a certificate with a key of its own, a JWT bound to the session's.
fn want(kind: Kind, ttl: Seconds) -> Want {
    let (kind, bind) = match kind {
        Kind::Jwt => (CredentialKind::Jwt, Binding::Dpop),
        Kind::X509 => (CredentialKind::X509, Binding::Key),
    };
    Want {
        kind,
        profile: "default".to_owned(),
        bind,
        audience: None,
        ttl,
    }
}

/// Decides in a task that was opened just now and was granted nothing yet, and shows what the owner may see.
fn explain(
    set: &PolicySet,
    caller: &Principal,
    ask: &Ask,
    format: Option<Format>,
    output: &Output,
) -> Result<Exit, Failure> {
    let now = Timestamp::from_millis(clock::now().unix_timestamp().saturating_mul(1000));
    let task = Task {
        id: TaskId::from_bytes([0; 16]),
        name: "explain".to_owned(),
        source: TaskSource::Evidence,
        depth: 0,
        opened: now,
        deadline: None,
        parent: None,
        initiator: None,
    };
    let receipt = set.explain(&Query {
        now,
        caller,
        subject: None,
        actors: &[],
        consent: None,
        subject_bound: false,
        own: &BTreeSet::new(),
        task: &task,
        history: &History::default(),
        action: &ask.action,
        resources: &ask.resources,
        input: None,
        want: &ask.want,
        ceilings: &[],
        digest: AskDigest([0; 32]),
        votes: &[],
    });
    let owner = receipt.for_owner();
    if format == Some(Format::Json) {
        output.json("stint.explanation/v1", &owner)?;
    } else {
        let json = serde_json::to_value(owner).map_err(|error| Failure::new(Exit::Bug, error))?;
        let view: DecisionReceipt =
            serde_json::from_value(json).map_err(|error| Failure::new(Exit::Bug, error))?;
        output.answer(&lines(owner, &view))?;
    }
    Ok(Exit::Ok)
}

fn lines(owner: &OwnerView, view: &DecisionReceipt) -> words::Lines {
    let word = match owner.caller.outcome {
        "permit" => "permit",
        "hold" => "hold",
        _ => "denied",
    };
    let why = [owner.caller.why, owner.caller.detail]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    let headline = if why.is_empty() {
        format!("pol {}", owner.caller.pol)
    } else {
        format!("{why}; pol {}", owner.caller.pol)
    };
    let mut lines = vec![(word, headline)];
    lines.extend(words::receipt_lines(view));
    for policy in &owner.policies {
        lines.push((
            "source",
            format!("{} {}:{}", policy.id, policy.file, policy.line),
        ));
        lines.extend(
            policy
                .conditions
                .iter()
                .map(|condition| ("when", condition.clone())),
        );
    }
    lines.extend(owner.error.iter().map(|error| ("error", error.clone())));
    lines
}

/// Reads the `caller` object of a receipt, or what `stint whoami -o json` prints.
fn caller(path: &Path) -> Result<Principal, Failure> {
    let text = fs::read_to_string(path).map_err(|error| settings::unreadable(path, &error))?;
    let json: Json =
        serde_json::from_str(&text).map_err(|error| bad_caller(path, &error.to_string()))?;
    principal(json.get("caller").unwrap_or(&json)).map_err(|why| bad_caller(path, &why))
}

fn bad_caller(path: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{} is no caller: {why}", path.display()),
    )
}

fn principal(json: &Json) -> Result<Principal, String> {
    let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    let words = |name: &str| -> BTreeSet<String> {
        let list = json
            .get(name)
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        list.filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let id = text("id")
        .or_else(|| text("spiffe_id"))
        .ok_or("it has no `id`")?;
    let kind = match text("kind")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "workload" => CallerKind::Workload,
        "agent" => CallerKind::Agent,
        "user" => CallerKind::User,
        other => {
            return Err(format!(
                "`kind` is `{other}`; it can be workload, agent or user"
            ));
        }
    };
    Ok(Principal {
        id: SpiffeId::parse(&id).map_err(|error| error.to_string())?,
        kind,
        issuer: text("issuer").ok_or("it has no `issuer`")?,
        preset: text("preset").ok_or("it has no `preset`")?,
        claims: claims(json)?,
        groups: words("groups"),
        owner: text("owner"),
        person: text("person"),
        attested: words("attested"),
    })
}

/// The records `origin`, `extra` and the platform's: in `claims` as `/v1/whoami` has them, or beside the id as in
/// `tests/*.toml`, where the platform's record is the one object with a name of its own.
fn claims(json: &Json) -> Result<Claims, String> {
    let (records, platforms) = match json.get("claims") {
        Some(claims) => (claims, claims.get("platform").and_then(Json::as_object)),
        None => (json, json.as_object()),
    };
    let record = |name: &str| {
        records
            .get(name)
            .and_then(Json::as_object)
            .map_or_else(|| Ok(Attributes::new()), attributes)
    };
    let platform = platforms
        .into_iter()
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "origin" | "extra"))
        .find_map(|(name, value)| Some((name, value.as_object()?)));
    let platform =
        platform.map(|(name, members)| attributes(members).map(|members| (name.clone(), members)));
    Ok(Claims {
        origin: record("origin")?,
        platform: platform.transpose()?,
        extra: record("extra")?,
    })
}

fn attributes(members: &Map<String, Json>) -> Result<Attributes, String> {
    let typed = |(name, value): (&String, &Json)| {
        let strings = |list: &Vec<Json>| {
            list.iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<BTreeSet<_>>>()
        };
        let value = match value {
            Json::Bool(value) => Some(Value::Bool(*value)),
            Json::Number(value) => value.as_i64().map(Value::Long),
            Json::String(value) => Some(Value::String(value.clone())),
            Json::Array(list) => strings(list).map(Value::Strings),
            Json::Null | Json::Object(_) => None,
        };
        value.map(|value| (name.clone(), value)).ok_or_else(|| {
            format!("claim `{name}` is no string, whole number, bool or list of strings")
        })
    };
    members.iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stint_policy::{LoadError, PolicySet, Value};

    use super::{list, principal};
    use crate::output::line;

    #[test]
    fn a_finding_reads_as_the_policy_crate_has_it_and_reaches_no_terminal_raw() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.cedar"), "permit(\u{1b}[2J").unwrap();
        std::fs::write(dir.path().join("b\u{1b}[2J.cedar"), "").unwrap();
        let Err(LoadError::Refused(findings)) = PolicySet::load(dir.path()) else {
            panic!("half a policy was loaded")
        };
        let shown: String = list(&findings)
            .iter()
            .map(|(word, text)| line(word, text))
            .collect();
        assert!(!shown.contains('\u{1b}'), "{shown}");
        let raw = findings[0].to_string().replace('\u{1b}', "\u{fffd}");
        assert_eq!(shown.lines().next(), raw.lines().next());
    }

    #[test]
    fn reads_a_caller_as_tests_and_whoami_write_it() {
        let flat = json!({"id": "spiffe://acme.dev/github/123456/456789", "issuer": "github", "preset": "github-actions",
            "github": {"repository_id": "456789", "run_attempt": 1}});
        let nested = json!({"spiffe_id": "spiffe://acme.dev/github/123456/456789", "kind": "workload", "issuer": "github",
            "preset": "github-actions", "claims": {"platform": {"github": {"repository_id": "456789", "run_attempt": 1}}}});
        let caller = principal(&flat).unwrap();
        assert_eq!(caller, principal(&nested).unwrap());
        let (name, record) = caller.claims.platform.unwrap();
        assert_eq!(
            (name.as_str(), &record["run_attempt"]),
            ("github", &Value::Long(1))
        );
    }

    #[test]
    fn says_what_is_missing() {
        assert!(principal(&json!({})).unwrap_err().contains("`id`"));
        let float =
            json!({"id": "spiffe://a.dev/x", "issuer": "i", "preset": "p", "github": {"a": 1.5}});
        assert!(principal(&float).unwrap_err().contains("claim `a`"));
    }
}
