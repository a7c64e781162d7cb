//! What a policy reads of its caller: names where ids decide, words that cannot be, bounds on the wrong side (P07, P08,
//! P10, P11, P12, P50, P59).

use std::collections::BTreeSet;

use crate::engine::condition::PLATFORMS;
use crate::engine::schema::Declared;
use crate::rule::{Call, Clause, Effect, Expr, Rule};

/// P08 and P10: names for people, and patterns on ids.
pub(super) fn names(rule: &Rule, say: &mut impl FnMut(&'static str, String)) {
    let reads: BTreeSet<Vec<String>> = rule.reads().collect();
    let reads = |record: &str, member: &str| {
        reads.contains(&["context", record, member].map(str::to_owned)[..])
    };
    for (record, name, id) in NAMES {
        if rule.effect == Effect::Permit && reads(record, name) && !reads(record, id) {
            say(
                "P08",
                format!(
                    "`context.{record}.{name}` is a name, for people; decide by `context.{record}.{id}`"
                ),
            );
        }
    }
    each(rule, &mut |part| {
        if let Expr::Like(inner) = part
            && let Some(path) = inner.path()
            && (is_caller_id(&path) || path == ["context", "caller", "issuer"])
        {
            say(
                "P10",
                format!("`{}` is an id: compare it whole, with `==`", path.join(".")),
            );
        }
    });
}

/// P07: whether somebody in particular is meant.
pub(super) fn pins_somebody(rule: &Rule) -> bool {
    if rule.principal.pin().is_some() {
        return true;
    }
    let about_principal = |expr: &Expr| {
        expr.path()
            .is_some_and(|path| path.first() == Some(&"principal"))
    };
    let is_id = |expr: &Expr| expr.path().is_some_and(|path| is_caller_id(&path));
    let entity = |expr: &Expr| matches!(expr, Expr::Entity(_) | Expr::Set(_));
    let pins = |expr: &&Expr| match expr {
        Expr::Call(Call::Eq, left, right) => {
            let literal = |expr: &Expr| matches!(expr, Expr::String(_));
            (is_id(left) && literal(right))
                || (literal(left) && is_id(right))
                || (about_principal(left) && entity(right))
                || (entity(left) && about_principal(right))
        }
        Expr::Call(Call::In, left, right) => about_principal(left) && entity(right),
        Expr::Call(Call::Contains, set, element) => matches!(**set, Expr::Set(_)) && is_id(element),
        _ => false,
    };
    // Each way to fulfil a clause must pin: all sides of an `||`, any of an `&&`.
    fn everywhere(expr: &Expr, pins: &impl Fn(&&Expr) -> bool) -> bool {
        match expr {
            Expr::And(left, right) => everywhere(left, pins) || everywhere(right, pins),
            Expr::Or(left, right) => everywhere(left, pins) && everywhere(right, pins),
            other => pins(&other),
        }
    }
    rule.clauses
        .iter()
        .any(|clause| clause.when && everywhere(&clause.body, &pins))
}

pub(crate) fn is_caller_id(path: &[&str]) -> bool {
    match path {
        ["context", "origin", member] => ["project", "tenant", "instance"].contains(member),
        ["context", "extra", _] => true,
        ["context", platform, member] if PLATFORMS.contains(platform) => {
            member.ends_with("id")
                || ["sub", "aws_account", "role_name", "namespace"].contains(member)
        }
        _ => false,
    }
}

/// P11: whether all clauses bound `ttl_s` from the side where a shorter life is safe.
pub(super) fn ttl_bounded_safely(rule: &Rule) -> bool {
    let safely = |clause: &Clause| monotone(&clause.body, bound_of(rule, clause));
    rule.clauses.iter().all(safely)
}

/// Which side `ttl_s` may be bounded from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Above,
    Below,
}

fn bound_of(rule: &Rule, clause: &Clause) -> Bound {
    match (rule.effect, clause.when) {
        (Effect::Permit, true) | (Effect::Forbid, false) => Bound::Above,
        (Effect::Permit, false) | (Effect::Forbid, true) => Bound::Below,
    }
}

/// Whether `ttl_s` is bounded from this side only.
fn monotone(expr: &Expr, bound: Bound) -> bool {
    let is_ttl = |expr: &Expr| expr.path().is_some_and(|path| path == TTL);
    match expr {
        Expr::And(left, right) | Expr::Or(left, right) => {
            monotone(left, bound) && monotone(right, bound)
        }
        Expr::Not(inner) => monotone(
            inner,
            if bound == Bound::Above {
                Bound::Below
            } else {
                Bound::Above
            },
        ),
        Expr::Call(call, left, right) if is_ttl(left) && matches!(**right, Expr::Long(_)) => {
            match call {
                Call::Less | Call::LessEq => bound == Bound::Above,
                Call::Greater | Call::GreaterEq => bound == Bound::Below,
                _ => false,
            }
        }
        Expr::Call(call, left, right) if is_ttl(right) && matches!(**left, Expr::Long(_)) => {
            match call {
                Call::Greater | Call::GreaterEq => bound == Bound::Above,
                Call::Less | Call::LessEq => bound == Bound::Below,
                _ => false,
            }
        }
        other => !other.reads().iter().any(|path| path == &TTL),
    }
}

/// P50: a forbid that a missing claim switches off. (A delegation or a link that is absent is known to be absent.)
pub(super) fn behind_has(rule: &Rule) -> bool {
    let claim = |path: &[String]| {
        let member = path.get(1).map(String::as_str);
        path.first().is_some_and(|var| var == "context")
            && member.is_some_and(|member| {
                PLATFORMS.contains(&member) || ["origin", "extra"].contains(&member)
            })
    };
    let conjuncts = rule
        .clauses
        .iter()
        .filter(|clause| clause.when)
        .flat_map(|clause| clause.body.conjuncts());
    conjuncts
        .into_iter()
        .any(|part| matches!(part, Expr::Has(..)) && part.reads().iter().any(|path| claim(path)))
}

/// P59: whether a policy about Terraform's claims takes a plan for an apply (IDENTITY.md §3.9).
pub(super) fn reads_no_phase(rule: &Rule) -> bool {
    let phases = [
        ["context", "origin", "phase"],
        ["context", "terraform_cloud", "terraform_run_phase"],
    ];
    let reads_phase = phases.iter().any(|path| rule.reads_from(path));
    rule.reads_from(&["context", "terraform_cloud"]) && !reads_phase
}

/// P12: words that no value can be.
pub(super) fn words(
    rule: &Rule,
    declared: &Declared,
    labels: &BTreeSet<&str>,
    say: &mut impl FnMut(&'static str, String),
) {
    each(rule, &mut |part| {
        let Some((path, word)) = part.equals_string().or_else(|| contains_string(part)) else {
            return;
        };
        let possible = match path.as_slice() {
            ["context", "origin", "trigger"] => TRIGGERS.contains(&word),
            ["context", "origin", "runner"] => RUNNERS.contains(&word),
            ["context", "history", "actions" | "live"] => {
                declared.actions.keys().any(|action| action.id() == word)
            }
            ["context", "history", "labels"] => labels.contains(word),
            _ => true,
        };
        if !possible {
            say("P12", format!("`{}` is never `{word}`", path.join(".")));
        }
    });
}

fn contains_string(expr: &Expr) -> Option<(Vec<&str>, &str)> {
    match expr {
        Expr::Call(Call::Contains, set, element) => match &**element {
            Expr::String(word) => Some((set.path()?, word)),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn each<'a>(rule: &'a Rule, visit: &mut impl FnMut(&'a Expr)) {
    for clause in &rule.clauses {
        clause.body.walk(&mut |part| {
            visit(part);
            true
        });
    }
}

const TTL: [&str; 3] = ["context", "credential", "ttl_s"];

/// IDENTITY.md §1.1.
const TRIGGERS: [&str; 11] = [
    "push",
    "tag",
    "pull_request",
    "pull_request_fork",
    "merge_queue",
    "schedule",
    "manual",
    "api",
    "release",
    "deployment",
    "other",
];
const RUNNERS: [&str; 3] = ["hosted", "self", "other"];

/// Record, name for people, and the id that decides (IDENTITY.md §1.1, §3).
const NAMES: [(&str, &str, &str); 14] = [
    ("origin", "project_name", "project"),
    ("origin", "actor_name", "actor"),
    ("github", "repository", "repository_id"),
    ("gitlab", "project_path", "project_id"),
    ("kubernetes", "serviceaccount", "serviceaccount_uid"),
    ("kubernetes", "pod", "pod_uid"),
    ("kubernetes", "node", "node_uid"),
    ("google", "project_id", "sub"),
    ("google", "instance_name", "instance_id"),
    ("buildkite", "organization_slug", "organization_id"),
    ("buildkite", "pipeline_slug", "pipeline_id"),
    (
        "terraform_cloud",
        "terraform_organization_name",
        "terraform_organization_id",
    ),
    (
        "terraform_cloud",
        "terraform_project_name",
        "terraform_project_id",
    ),
    (
        "terraform_cloud",
        "terraform_workspace_name",
        "terraform_workspace_id",
    ),
];
