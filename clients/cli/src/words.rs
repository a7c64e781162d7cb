//! What the broker said, in words for people (UX.md §1.4). State word and text; meaning is never in colour.

use serde_json::Value;
use stint_client::{Error, Judgement};
use stint_wire::{Closest, Credential, DecisionReceipt, Granted, Need, NextKind, Owner, Problem};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock;
use crate::exit::Exit;
use crate::output::Failure;

/// Lines of talk: state word and text.
pub(crate) type Lines = Vec<(&'static str, String)>;

/// A failed call, with the next step.
pub(crate) fn failure(error: &Error) -> Failure {
    let exit = Exit::of_error(error);
    match error {
        Error::Denied(problem) => Failure { exit, lines: denied(problem) },
        Error::Rejected { problem, judgement } => rejected(problem, judgement),
        Error::Problem(problem) => {
            let text = format!("{}: {}{}", problem.code.as_str(), problem.detail, quote(problem));
            let failure = Failure::new(exit, text);
            match (problem.retryable, problem.retry_after_s, next_command(problem)) {
                (true, Some(seconds), _) => failure.next(format!("the same again, in {}", span(seconds.into()))),
                (true, None, _) => failure.next("the same again, in a moment"),
                (false, _, Some(command)) => failure.next(command),
                (false, _, None) => failure,
            }
        }
        Error::Source(error) => {
            let text = error.to_string();
            let (what, remedy) = text.split_once('\n').unwrap_or((&text, "stint help sources"));
            Failure::new(exit, what).next(remedy)
        }
        Error::Unreachable(cause) => {
            let reason = if cause.is_timeout() { "it takes too long" } else { "no connection" };
            Failure::new(exit, format!("{error}: {reason}{}", root_cause(cause))).next("check the URL and the network, then the same again")
        }
        Error::Fingerprint { .. } => {
            Failure::new(exit, error).next("somebody else answers, or the root was replaced: ask its operator before changing the pin")
        }
        other => Failure::new(exit, other),
    }
}

/// The innermost cause, which is the one that says something.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map(|cause| format!(" ({cause})")).unwrap_or_default()
}

fn quote(problem: &Problem) -> String {
    problem
        .decision
        .as_ref()
        .map(|id| format!(" ({id})"))
        .unwrap_or_default()
}

fn next_command(problem: &Problem) -> Option<String> {
    let next = problem.next_action.as_ref()?;
    next.command.clone().or_else(|| next.url.clone())
}

fn denied(problem: &Problem) -> Lines {
    let id = problem
        .decision
        .as_ref()
        .map_or(String::new(), |id| format!("decision {id}; "));
    let mut lines = vec![(
        "denied",
        format!("{} ({id}final, asking again will not help)", problem.detail),
    )];
    if let Some(receipt) = problem.receipt() {
        lines.extend(receipt_lines(&receipt));
        lines.push(("next", next_step(&receipt, problem.decision.as_deref())));
    }
    lines
}

/// What a receipt says beyond its outcome: who you are, who decided, what came closest, and the policy's own advice.
pub(crate) fn receipt_lines(receipt: &DecisionReceipt) -> Lines {
    let mut lines = Lines::new();
    lines.extend(
        receipt
            .caller
            .as_ref()
            .map(|caller| ("you are", identity(caller))),
    );
    for policy in &receipt.decided_by {
        let reason = receipt.reasons.iter().find(|said| said.policy == *policy);
        let reason = reason.map_or(String::new(), |said| format!(": {}", said.reason));
        lines.push(("policy", format!("{policy}{reason}")));
    }
    lines.extend(receipt.note.iter().map(|note| ("look", note.clone())));
    lines.extend(
        receipt
            .closest
            .as_ref()
            .map(|closest| ("closest", nearest(closest))),
    );
    lines.extend(receipt.needs.iter().map(|need| ("needs", need_words(need))));
    lines.extend(
        receipt
            .advice
            .iter()
            .map(|advice| ("advice", advice.clone())),
    );
    lines
}

fn nearest(closest: &Closest) -> String {
    let fails: Vec<String> = closest
        .fails
        .iter()
        .map(|failed| match &failed.yours {
            Some(yours) => format!("{} (yours: {})", failed.name, plain(yours)),
            None => format!("{} (you have none)", failed.name),
        })
        .collect();
    match closest.holds.as_slice() {
        [] => format!("{}: fails {}", closest.policy, fails.join(", ")),
        holds => format!(
            "{}: holds {}; fails {}",
            closest.policy,
            holds.join(", "),
            fails.join(", ")
        ),
    }
}

fn next_step(receipt: &DecisionReceipt, decision: Option<&str>) -> String {
    let owner = match &receipt.owner {
        Some(Owner {
            group: Some(group),
            contact: Some(contact),
        }) => format!("Group::\"{group}\" ({contact})"),
        Some(Owner {
            group: Some(group),
            contact: None,
        }) => format!("Group::\"{group}\""),
        Some(Owner {
            group: None,
            contact: Some(contact),
        }) => contact.clone(),
        Some(Owner {
            group: None,
            contact: None,
        })
        | None => "the operators".to_owned(),
    };
    let quote = decision
        .map(|id| format!(" and quote {id}"))
        .unwrap_or_default();
    let failing: Vec<&str> = receipt
        .closest
        .iter()
        .flat_map(|closest| &closest.fails)
        .map(|failed| failed.name.as_str())
        .collect();
    match (
        receipt.next_action.as_ref().map(|next| next.kind),
        failing.as_slice(),
    ) {
        (Some(NextKind::FixRequest), _) => format!("change the ask; or ask {owner}{quote}"),
        (Some(NextKind::Wait), _) => {
            "ask again when it is allowed: only the time was wrong".to_owned()
        }
        (Some(NextKind::None), _) => "nothing helps in this task; begin a new one".to_owned(),
        (_, [one]) => {
            format!("ask with another {one}, one the policy accepts; or ask {owner}{quote}")
        }
        _ => format!("ask {owner}{quote}"),
    }
}

/// What a broker takes at most of an issuer whose entry does not say otherwise (SECURITY.md §4), seconds.
const TOKEN_LIFE_S: i64 = 60 * 60;

/// The broker did not say why; the token is looked at here.
fn rejected(problem: &Problem, judgement: &Judgement) -> Failure {
    let failure = Failure::new(
        Exit::Unauthenticated,
        format!("the broker did not accept the evidence{}", quote(problem)),
    );
    let failure = failure.and("token", token_words(judgement));
    let life = judgement.expires_at.zip(judgement.issued_at);
    let life = life.map_or(0, |(end, start)| end.saturating_sub(start));
    match judgement.findings.as_slice() {
        [] if life > TOKEN_LIFE_S => failure
            .and("look", format!("audience and time are right; the token lives {}, and a broker takes 60 min unless its issuer entry raises `max_token_life`", span(life)))
            .next("shorten what the token lives with (in GitLab: `timeout: 1h` on the job), or ask the operators"),
        [] => failure
            .and("look", "audience and time are right; it may have been used before, or its issuer is not admitted")
            .next("fetch a fresh token and ask again; else an operator sees the reason under that id"),
        findings => findings.iter().fold(failure, |failure, finding| failure.and("look", finding).next(finding.remedy())),
    }
}

/// A token in one line.
pub(crate) fn token_words(judgement: &Judgement) -> String {
    let part = |name: &str, value: Option<&String>| value.map(|value| format!("{name} {value}"));
    let audience = (!judgement.audience.is_empty())
        .then(|| format!("audience {}", judgement.audience.join(" ")));
    let until = judgement
        .expires_at
        .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let parts = [
        part("issuer", judgement.issuer.as_ref()),
        part("subject", judgement.subject.as_ref()),
        audience,
        until.map(|at| format!("until {}", moment(at))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(crate) fn need_words(need: &Need) -> String {
    let missing = need.quorum.saturating_sub(need.have);
    let noun = if missing == 1 {
        "approval"
    } else {
        "approvals"
    };
    format!(
        "{missing} {noun} needed from {}",
        need.approvers.join(" or ")
    )
}

/// A grant in one line.
pub(crate) fn granted(granted: &Granted) -> String {
    let what = match &granted.credential {
        Credential::Jwt { audience, .. } => format!("jwt for {audience}"),
        Credential::X509 { serial, .. } => format!("x509 {serial}"),
    };
    let until = OffsetDateTime::parse(&granted.expires_at, &Rfc3339)
        .map_or_else(|_| granted.expires_at.clone(), moment);
    let shortened = match granted.shortened_by.as_slice() {
        [] => String::new(),
        by => format!(", shortened by {}", by.join(", ")),
    };
    format!(
        "{}: {what} until {until}{shortened}; ledger {}",
        granted.grant, granted.ledger.seq
    )
}

/// `github-actions: repository acme/web, ref refs/heads/main`: the preset and the platform's claims.
fn identity(caller: &Value) -> String {
    let text = |name: &str| caller.get(name).and_then(Value::as_str);
    let records = caller.as_object().into_iter().flatten();
    let platform = records
        .filter(|(name, _)| !matches!(name.as_str(), "origin" | "extra" | "claims"))
        .find_map(|(_, value)| value.as_object());
    let nested = caller
        .pointer("/claims/platform")
        .and_then(Value::as_object)
        .and_then(|records| records.values().find_map(Value::as_object));
    let claims: Vec<String> = platform
        .or(nested)
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    let who = text("preset")
        .or_else(|| text("issuer"))
        .unwrap_or("caller");
    match (claims.is_empty(), text("id").or_else(|| text("spiffe_id"))) {
        (true, Some(id)) => format!("{who}: {id}"),
        _ => format!("{who}: {}", claims.join(", ")),
    }
}

/// A JSON value as people write it: strings without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `47 min`: how long until then.
pub(crate) fn left(text: &str) -> String {
    let at = OffsetDateTime::parse(text, &Rfc3339);
    let left = at.map_or(0, |at| (at - clock::now()).whole_seconds());
    span(left.max(0))
}

/// The same of a time as the broker writes it.
pub(crate) fn moment_of(text: &str) -> String {
    OffsetDateTime::parse(text, &Rfc3339).map_or_else(|_| text.to_owned(), moment)
}

/// `14:51:10 UTC`.
pub(crate) fn clock_of(text: &str) -> String {
    OffsetDateTime::parse(text, &Rfc3339).map_or_else(
        |_| text.to_owned(),
        |at| {
            let (hour, minute, second) = at.to_offset(time::UtcOffset::UTC).to_hms();
            format!("{hour:02}:{minute:02}:{second:02} UTC")
        },
    )
}

/// `14:51:10 UTC (in 15 min)`.
pub(crate) fn moment(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_offset(time::UtcOffset::UTC).to_hms();
    let left = (at - clock::now()).whole_seconds();
    let relative = if left < 0 {
        format!("{} ago", span(left.saturating_neg()))
    } else {
        format!("in {}", span(left))
    };
    format!("{hour:02}:{minute:02}:{second:02} UTC ({relative})")
}

/// A length of time, rounded to what people say.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", (seconds + 30) / 60),
        7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stint_client::{Error, Judgement};
    use stint_wire::{Code, Problem};

    use super::{failure, span};
    use crate::exit::Exit;
    use crate::output::line;

    #[test]
    fn a_denial_reads_as_documented() {
        let mut problem = Problem::new(
            Code::Denied,
            "no policy lets this run deploy Environment::\"prod/web\"",
        );
        problem.decision = Some("dec_8f2c1n".into());
        problem.decision_receipt = Some(json!({
            "outcome": "deny", "why": "policy", "decided_by": [], "final": true, "next_action": {"kind": "ask_owner"},
            "closest": {"policy": "deploy-prod-from-main", "holds": ["resource", "repository_id"],
                "fails": [{"name": "ref", "yours": "refs/heads/fix-12"}]},
            "owner": {"group": "release", "contact": "#releases"},
            "caller": {"preset": "github-actions", "id": "spiffe://acme.dev/x",
                "github": {"ref": "refs/heads/fix-12", "repository": "acme/web"}},
        }));
        let failure = failure(&Error::Denied(Box::new(problem)));
        let text: String = failure
            .lines
            .iter()
            .map(|(word, text)| line(word, text))
            .collect();
        assert_eq!(failure.exit, Exit::Denied);
        assert_eq!(
            text,
            "denied    no policy lets this run deploy Environment::\"prod/web\" (decision dec_8f2c1n; final, asking again will not help)\n\
             you are   github-actions: ref refs/heads/fix-12, repository acme/web\n\
             closest   deploy-prod-from-main: holds resource, repository_id; fails ref (yours: refs/heads/fix-12)\n\
             next      ask with another ref, one the policy accepts; or ask Group::\"release\" (#releases) and quote dec_8f2c1n\n"
        );
    }

    #[test]
    fn a_token_that_lives_long_is_named_as_a_likely_reason() {
        let next = |life: i64| {
            let judgement = Judgement {
                issued_at: Some(1000),
                expires_at: Some(1000 + life),
                ..Judgement::default()
            };
            let problem = Box::new(Problem::new(Code::EvidenceRejected, ""));
            let judgement = Box::new(judgement);
            let mut lines = failure(&Error::Rejected { problem, judgement }).lines;
            lines.pop().unwrap().1
        };
        assert!(next(3601).contains("`timeout: 1h` on the job"));
        assert!(next(3600).contains("fetch a fresh token"));
    }

    #[test]
    fn times_are_said_in_one_unit() {
        let said = [0, 119, 120, 900, 7199, 7200, 172_800].map(span);
        assert_eq!(
            said,
            ["0 s", "119 s", "2 min", "15 min", "120 min", "2 h", "2 d"]
        );
    }
}
