//! Cedar's syntax to ours.

use std::collections::BTreeMap;

use cedar_policy::pst::{self, BinaryOp, EntityOrSlot, UnaryOp};

use crate::rule::{Call, Clause, Effect, Expr, Scope};
use crate::uid::Uid;

/// A policy's head and clauses in our own words.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) effect: Effect,
    pub(crate) principal: Scope,
    pub(crate) actions: Option<Vec<Uid>>,
    pub(crate) resource: Scope,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// None where an id is one that no ask can name: empty, over 1,024 bytes, or with control characters.
pub(super) fn parsed(policy: &pst::Template) -> Option<Parsed> {
    let clause = |clause: &pst::Clause| match clause {
        pst::Clause::When(body) => expr(body).map(|body| Clause { when: true, body }),
        pst::Clause::Unless(body) => expr(body).map(|body| Clause { when: false, body }),
    };
    let annotation = |(key, value): (&String, &_)| (key.clone(), ToString::to_string(value));
    Some(Parsed {
        effect: match policy.effect {
            pst::Effect::Forbid => Effect::Forbid,
            pst::Effect::Permit => Effect::Permit,
        },
        principal: match &policy.principal {
            pst::PrincipalConstraint::Any => Scope::Any,
            pst::PrincipalConstraint::Eq(to) => Scope::Eq(known(to)?),
            pst::PrincipalConstraint::In(of) => Scope::In(known(of)?),
            pst::PrincipalConstraint::Is(type_name) => Scope::Is(type_name.to_string()),
            pst::PrincipalConstraint::IsIn(type_name, of) => {
                Scope::IsIn(type_name.to_string(), known(of)?)
            }
        },
        actions: match &policy.action {
            pst::ActionConstraint::Any => None,
            pst::ActionConstraint::Eq(action) => Some(vec![uid(action)?]),
            pst::ActionConstraint::In(actions) => {
                Some(actions.iter().map(uid).collect::<Option<_>>()?)
            }
        },
        resource: match &policy.resource {
            pst::ResourceConstraint::Any => Scope::Any,
            pst::ResourceConstraint::Eq(to) => Scope::Eq(known(to)?),
            pst::ResourceConstraint::In(of) => Scope::In(known(of)?),
            pst::ResourceConstraint::Is(type_name) => Scope::Is(type_name.to_string()),
            pst::ResourceConstraint::IsIn(type_name, of) => {
                Scope::IsIn(type_name.to_string(), known(of)?)
            }
        },
        clauses: policy.clauses().iter().map(clause).collect::<Option<_>>()?,
        annotations: policy.annotations.iter().map(annotation).collect(),
    })
}

fn known(entity: &EntityOrSlot) -> Option<Uid> {
    match entity {
        EntityOrSlot::Entity(entity) => uid(entity),
        EntityOrSlot::Slot(_) => None,
    }
}

pub(super) fn uid(entity: &pst::EntityUID) -> Option<Uid> {
    Uid::new(&entity.ty.to_string(), &entity.eid)
}

/// One expression.
pub(super) fn expr(from: &pst::Expr) -> Option<Expr> {
    let boxed = |from: &pst::Expr| expr(from).map(Box::new);
    Some(match from {
        pst::Expr::Literal(pst::Literal::Bool(value)) => Expr::Bool(*value),
        pst::Expr::Literal(pst::Literal::Long(value)) => Expr::Long(*value),
        pst::Expr::Literal(pst::Literal::String(value)) => Expr::String(value.to_string()),
        pst::Expr::Literal(pst::Literal::EntityUID(entity)) => Expr::Entity(uid(entity)?),
        pst::Expr::Var(pst::Var::Action) => Expr::Var("action"),
        pst::Expr::Var(pst::Var::Context) => Expr::Var("context"),
        pst::Expr::Var(pst::Var::Principal) => Expr::Var("principal"),
        pst::Expr::Var(pst::Var::Resource) => Expr::Var("resource"),
        pst::Expr::UnaryOp {
            op: UnaryOp::Not,
            expr,
        } => Expr::Not(boxed(expr)?),
        pst::Expr::UnaryOp { op: _, expr: inner } => Expr::Other(vec![expr(inner)?]),
        pst::Expr::BinaryOp {
            op: BinaryOp::And,
            left,
            right,
        } => Expr::And(boxed(left)?, boxed(right)?),
        pst::Expr::BinaryOp {
            op: BinaryOp::Or,
            left,
            right,
        } => Expr::Or(boxed(left)?, boxed(right)?),
        pst::Expr::BinaryOp { op, left, right } => {
            Expr::Call(call(op), boxed(left)?, boxed(right)?)
        }
        pst::Expr::GetAttr { expr, attr } => Expr::Get(boxed(expr)?, attr.to_string()),
        pst::Expr::HasAttr { expr, attrs } => Expr::Has(
            boxed(expr)?,
            attrs.iter().map(ToString::to_string).collect(),
        ),
        pst::Expr::Like { expr, pattern: _ } => Expr::Like(boxed(expr)?),
        pst::Expr::Is {
            expr: inner,
            entity_type: _,
            in_expr,
        } => {
            let parts = [Some(inner), in_expr.as_ref()].into_iter().flatten();
            Expr::Other(parts.map(|part| expr(part)).collect::<Option<_>>()?)
        }
        pst::Expr::IfThenElse {
            cond,
            then_expr,
            else_expr,
        } => Expr::Other(
            [cond, then_expr, else_expr]
                .into_iter()
                .map(|part| expr(part))
                .collect::<Option<_>>()?,
        ),
        pst::Expr::Set(members) => Expr::Set(
            members
                .iter()
                .map(|part| expr(part))
                .collect::<Option<_>>()?,
        ),
        pst::Expr::Record(members) => {
            let members = members
                .iter()
                .map(|(name, part)| Some((name.clone(), expr(part)?)));
            Expr::Record(members.collect::<Option<_>>()?)
        }
        // Slots, unknowns and whatever a later Cedar adds: no policy of ours has them.
        _ => return None,
    })
}

fn call(op: &BinaryOp) -> Call {
    match op {
        BinaryOp::Contains => Call::Contains,
        BinaryOp::ContainsAll => Call::ContainsAll,
        BinaryOp::ContainsAny => Call::ContainsAny,
        BinaryOp::Eq => Call::Eq,
        BinaryOp::Greater => Call::Greater,
        BinaryOp::GreaterEq => Call::GreaterEq,
        BinaryOp::In => Call::In,
        BinaryOp::Less => Call::Less,
        BinaryOp::LessEq => Call::LessEq,
        BinaryOp::NotEq => Call::NotEq,
        _ => Call::Other,
    }
}
