//! A policy in pieces: whole, as Cedar evaluates it, and one by one, as a receipt tells of them. Each piece is compiled
//! once.

use std::sync::Arc;

use cedar_policy::pst::{self, BinaryOp, UnaryOp};
use cedar_policy::{Expression, Policy};

use super::syntax;
use crate::rule::Expr;

/// One thing a policy asks for.
#[derive(Debug)]
pub(crate) struct Condition {
    /// The path it reads, without `context.` and the platform: `ref`, `credential.ttl_s`, `resource.labels`.
    pub(crate) name: String,
    /// What it reads, whole, in order, each once.
    pub(crate) reads: Vec<Vec<String>>,
    /// What it looks like, for the policy's owner.
    pub(crate) text: String,
    pub(super) expression: Expression,
}

/// The whole policy as one expression: scope and clauses, in Cedar's own order.
pub(super) fn whole(policy: &Policy) -> Expression {
    Expression::from(policy.as_ref().condition())
}

/// Scope and conjuncts of a policy. What only guards a later read (`context has github.ref`) is no piece of its own: a
/// read that fails is a condition that fails.
pub(super) fn split(policy: &pst::Template) -> Vec<Condition> {
    let mut pieces: Vec<Arc<pst::Expr>> = Vec::new();
    for clause in policy.clauses() {
        match clause {
            pst::Clause::When(body) => conjuncts(body, &mut pieces),
            pst::Clause::Unless(body) => negated(body, &mut pieces),
        }
    }
    let read: Vec<(Arc<pst::Expr>, Expr)> = pieces
        .into_iter()
        .filter_map(|piece| syntax::expr(&piece).map(|ours| (piece, ours)))
        .collect();
    let guards_a_later_one = |place: usize, ours: &Expr| match ours {
        Expr::Has(..) => ours.reads().first().is_some_and(|guard| {
            let later = read
                .iter()
                .skip(place + 1)
                .flat_map(|(_, other)| other.reads());
            later.into_iter().any(|path| path.starts_with(guard))
        }),
        _ => false,
    };
    let mut conditions = scope(policy);
    for (place, (piece, ours)) in read.iter().enumerate() {
        if guards_a_later_one(place, ours) {
            continue;
        }
        let body =
            template(policy.effect).try_with_clauses(vec![pst::Clause::When(Arc::clone(piece))]);
        let compiled = body.ok().and_then(compiled);
        conditions.extend(compiled.map(|expression| Condition {
            name: name(ours),
            reads: distinct(ours.reads()),
            text: piece.to_string(),
            expression,
        }));
    }
    conditions
}

fn scope(policy: &pst::Template) -> Vec<Condition> {
    let mut conditions = Vec::new();
    if policy.principal != pst::PrincipalConstraint::Any {
        let mut alone = template(policy.effect);
        alone.principal = policy.principal.clone();
        conditions.extend(scope_condition("principal", &policy.principal, alone));
    }
    if policy.resource != pst::ResourceConstraint::Any {
        let mut alone = template(policy.effect);
        alone.resource = policy.resource.clone();
        conditions.extend(scope_condition("resource", &policy.resource, alone));
    }
    conditions
}

fn scope_condition(
    name: &str,
    constraint: &impl ToString,
    alone: pst::Template,
) -> Option<Condition> {
    Some(Condition {
        name: name.to_owned(),
        reads: vec![vec![name.to_owned()]],
        text: constraint.to_string(),
        expression: compiled(alone)?,
    })
}

/// A policy about anybody doing anything to anything.
fn template(effect: pst::Effect) -> pst::Template {
    pst::Template::new(
        pst::PolicyID("piece".into()),
        effect,
        pst::PrincipalConstraint::Any,
        pst::ActionConstraint::Any,
        pst::ResourceConstraint::Any,
    )
}

fn compiled(piece: pst::Template) -> Option<Expression> {
    let piece = pst::StaticPolicy::try_from(piece).ok()?;
    Policy::from_pst(pst::Policy::Static(piece))
        .ok()
        .map(|policy| whole(&policy))
}

fn conjuncts(body: &Arc<pst::Expr>, into: &mut Vec<Arc<pst::Expr>>) {
    match &**body {
        pst::Expr::BinaryOp {
            op: BinaryOp::And,
            left,
            right,
        } => {
            conjuncts(left, into);
            conjuncts(right, into);
        }
        _ => into.push(Arc::clone(body)),
    }
}

/// `unless { a || b }` asks for not a and for not b.
fn negated(body: &Arc<pst::Expr>, into: &mut Vec<Arc<pst::Expr>>) {
    match &**body {
        pst::Expr::BinaryOp {
            op: BinaryOp::Or,
            left,
            right,
        } => {
            negated(left, into);
            negated(right, into);
        }
        _ => into.push(Arc::new(pst::Expr::UnaryOp {
            op: UnaryOp::Not,
            expr: Arc::clone(body),
        })),
    }
}

fn name(of: &Expr) -> String {
    let names = distinct(of.reads().iter().map(|path| short(path)).collect());
    match names.is_empty() {
        true => "always".to_owned(),
        false => names.join(" or "),
    }
}

/// `ref` for `context.github.ref`, `origin.ref` for `context.origin.ref`.
fn short(path: &[String]) -> String {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["context", platform, rest @ ..] if PLATFORMS.contains(platform) && !rest.is_empty() => {
            rest.join(".")
        }
        ["context", rest @ ..] => rest.join("."),
        all => all.join("."),
    }
}

fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    all.into_iter().fold(Vec::new(), |mut kept, one| {
        if !kept.contains(&one) {
            kept.push(one);
        }
        kept
    })
}

/// Members of the context that are named after a platform.
pub(crate) const PLATFORMS: [&str; 9] = [
    "github",
    "gitlab",
    "kubernetes",
    "google",
    "azure",
    "aws",
    "circleci",
    "buildkite",
    "terraform_cloud",
];
