//! A policy as Stint reads it: a small syntax tree of its own, so that gates, lints, pins and receipts do not depend on
//! the engine. It says what a policy looks like; what it means is Cedar's to say.

use std::collections::BTreeMap;

use crate::annotation::Annotations;
use crate::uid::Uid;

/// One policy with its place in a file.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its `@id`.
    pub(crate) id: String,
    pub(crate) effect: Effect,
    pub(crate) principal: Scope,
    /// None: any action.
    pub(crate) actions: Option<Vec<Uid>>,
    pub(crate) resource: Scope,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) annotations: Annotations,
    pub(crate) gate: Option<Gate>,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Forbid,
    Permit,
}

/// Where a finding or a policy is: line and column count from 1, the latter in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The place of byte `offset` in `text`.
    pub(crate) fn at(file: &str, text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    pub(crate) fn start(file: &str) -> Place {
        Place::at(file, "", 0)
    }
}

/// What a scope says of its principal or resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Any,
    Eq(Uid),
    In(Uid),
    Is(String),
    IsIn(String, Uid),
}

impl Scope {
    /// Whether an entity of this type can fit.
    pub(crate) fn fits_type(&self, type_name: &str) -> bool {
        match self {
            Scope::Any | Scope::In(_) => true,
            Scope::Eq(uid) => uid.type_name() == type_name,
            Scope::Is(wanted) | Scope::IsIn(wanted, _) => wanted == type_name,
        }
    }

    /// The entity that must be the one asked about or an ancestor of it.
    pub(crate) fn pin(&self) -> Option<&Uid> {
        match self {
            Scope::Eq(uid) | Scope::In(uid) | Scope::IsIn(_, uid) => Some(uid),
            Scope::Any | Scope::Is(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Clause {
    pub(crate) when: bool,
    pub(crate) body: Expr,
}

/// An expression; what Stint never looks into is `Other` with its parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    And(Box<Expr>, Box<Expr>),
    Bool(bool),
    Call(Call, Box<Expr>, Box<Expr>),
    Entity(Uid),
    Get(Box<Expr>, String),
    Has(Box<Expr>, Vec<String>),
    Like(Box<Expr>),
    Long(i64),
    Not(Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Other(Vec<Expr>),
    Record(BTreeMap<String, Expr>),
    Set(Vec<Expr>),
    String(String),
    /// `action context principal resource`.
    Var(&'static str),
}

/// A binary operator or method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Contains,
    ContainsAll,
    ContainsAny,
    Eq,
    Greater,
    GreaterEq,
    In,
    Less,
    LessEq,
    NotEq,
    Other,
}

impl Expr {
    /// `context.github.ref` as its words, if this is a plain chain of reads from a variable.
    pub(crate) fn path(&self) -> Option<Vec<&str>> {
        match self {
            Expr::Var(name) => Some(vec![name]),
            Expr::Get(from, member) => {
                let mut path = from.path()?;
                path.push(member);
                Some(path)
            }
            _ => None,
        }
    }

    /// Every chain of reads in it, the longest of each, left to right, those that `has` asks about included.
    pub(crate) fn reads(&self) -> Vec<Vec<String>> {
        let mut reads = Vec::new();
        self.walk(&mut |part| match part {
            Expr::Has(from, members) => match from.path() {
                Some(path) => {
                    let members = members.iter().map(String::as_str);
                    reads.push(path.into_iter().chain(members).map(str::to_owned).collect());
                    false
                }
                None => true,
            },
            other => match other.path() {
                Some(path) => {
                    reads.push(path.into_iter().map(str::to_owned).collect());
                    false
                }
                None => true,
            },
        });
        reads
    }

    /// Calls `visit` on this and, where it says so, on its parts, outermost first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr) -> bool) {
        if !visit(self) {
            return;
        }
        match self {
            Expr::And(left, right) | Expr::Or(left, right) | Expr::Call(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Expr::Get(inner, _) | Expr::Has(inner, _) | Expr::Like(inner) | Expr::Not(inner) => {
                inner.walk(visit)
            }
            Expr::Other(parts) | Expr::Set(parts) => parts.iter().for_each(|part| part.walk(visit)),
            Expr::Record(members) => members.values().for_each(|part| part.walk(visit)),
            Expr::Bool(_) | Expr::Entity(_) | Expr::Long(_) | Expr::String(_) | Expr::Var(_) => {}
        }
    }

    /// The parts that must all hold.
    pub(crate) fn conjuncts(&self) -> Vec<&Expr> {
        match self {
            Expr::And(left, right) => [left.conjuncts(), right.conjuncts()].concat(),
            other => vec![other],
        }
    }

    /// Both sides of `path == "literal"`, either way round.
    pub(crate) fn equals_string(&self) -> Option<(Vec<&str>, &str)> {
        let Expr::Call(Call::Eq, left, right) = self else {
            return None;
        };
        match (&**left, &**right) {
            (path, Expr::String(literal)) | (Expr::String(literal), path) => {
                Some((path.path()?, literal))
            }
            _ => None,
        }
    }
}

/// A forbid that votes can lift, and by how many of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) by: Approvers,
    /// 1 to 16.
    pub(crate) votes: u8,
}

/// The group a gate asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Approvers {
    Group(String),
    /// The group that this attribute of the resource names.
    Of(String),
}

impl std::fmt::Display for Approvers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Approvers::Group(name) => write!(f, "Group::{name:?}"),
            Approvers::Of(attribute) => write!(f, "resource.{attribute}"),
        }
    }
}

impl Gate {
    /// Reads `context.approvals.contains({ by: G, votes: N })`; none if `clause` is anything else.
    pub(crate) fn read(clause: &Clause) -> Option<Gate> {
        let Expr::Call(Call::Contains, set, element) = &clause.body else {
            return None;
        };
        let Expr::Record(members) = &**element else {
            return None;
        };
        if clause.when || set.path()? != APPROVALS || members.len() != 2 {
            return None;
        }
        let Expr::Long(votes) = members.get("votes")? else {
            return None;
        };
        let by = match members.get("by")? {
            Expr::Entity(uid) if uid.type_name() == GROUP => Approvers::Group(uid.id().to_owned()),
            by => match by.path()?.as_slice() {
                ["resource", attribute] => Approvers::Of((*attribute).to_owned()),
                _ => return None,
            },
        };
        let votes = u8::try_from(*votes)
            .ok()
            .filter(|votes| (1..=MOST_VOTES).contains(votes))?;
        Some(Gate { by, votes })
    }
}

impl Rule {
    /// Every chain of reads in its clauses.
    pub(crate) fn reads(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.clauses.iter().flat_map(|clause| clause.body.reads())
    }

    /// Whether a clause reads something that begins with these words.
    pub(crate) fn reads_from(&self, prefix: &[&str]) -> bool {
        self.reads()
            .any(|path| path.len() >= prefix.len() && path.iter().zip(prefix).all(|(a, b)| a == b))
    }
}

/// The only place where votes enter a policy.
pub(crate) const APPROVALS: [&str; 2] = ["context", "approvals"];

pub(crate) const GROUP: &str = "Stint::Group";

/// POLICY.md §3.2: N is 1 to 16.
const MOST_VOTES: u8 = 16;
