//! Which policies one request can meet at all. Per action, principal type and resource type, policies are filed under
//! what they pin: an entity of their scope, or an id of the context compared with `==`. A request meets those filed under
//! its own values and those that pin nothing.
//!
//! INVARIANT: leaving a policy out is exact. What it is filed under is a part that must hold, and nothing that can err
//! stands before it: scopes never err, and of the clauses only reads of the context, which was checked against the
//! schema, compared with literals. A forbid is filed by its scope alone. The property test in `tests.rs` compares this
//! with Cedar over the whole set, errors included.

use std::collections::{BTreeSet, HashMap};

use super::condition::PLATFORMS;
use crate::context::Term;
use crate::rule::{Effect, Expr, Rule, Scope};
use crate::uid::Uid;

/// Where in the list of rules a policy stands.
pub(crate) type Place = usize;

/// `context.RECORD.MEMBER`.
type Member = [String; 2];

/// Policies of one effect for one (action, principal type, resource type).
#[derive(Debug, Default)]
pub(crate) struct Drawer {
    unpinned: Vec<Place>,
    by_principal: HashMap<Uid, Vec<Place>>,
    by_resource: HashMap<Uid, Vec<Place>>,
    /// By member of the context, then by its value.
    by_claim: Vec<(Member, HashMap<String, Vec<Place>>)>,
}

/// What a rule is filed under.
#[derive(Debug, PartialEq, Eq)]
enum Pin<'a> {
    Claim([&'a str; 2], &'a str),
    None,
    Principal(&'a Uid),
    Resource(&'a Uid),
}

impl Drawer {
    pub(super) fn file(&mut self, place: Place, rule: &Rule) {
        match pin(rule) {
            Pin::Claim([record, member], value) => {
                let path = [record.to_owned(), member.to_owned()];
                let known = self.by_claim.iter().position(|(known, _)| *known == path);
                let known = known.unwrap_or_else(|| {
                    self.by_claim.push((path, HashMap::new()));
                    self.by_claim.len() - 1
                });
                if let Some((_, values)) = self.by_claim.get_mut(known) {
                    values.entry(value.to_owned()).or_default().push(place);
                }
            }
            Pin::None => self.unpinned.push(place),
            Pin::Principal(uid) => self
                .by_principal
                .entry(uid.clone())
                .or_default()
                .push(place),
            Pin::Resource(uid) => self.by_resource.entry(uid.clone()).or_default().push(place),
        }
    }

    /// The policies this request can meet, each once. `lineage` is an entity and its ancestors.
    pub(super) fn open<'a>(
        &'a self,
        principal: &'a [Uid],
        resource: &'a [Uid],
        context: &'a Term<'_>,
    ) -> impl Iterator<Item = Place> + 'a {
        let principals = principal
            .iter()
            .filter_map(|uid| self.by_principal.get(uid));
        let resources = resource.iter().filter_map(|uid| self.by_resource.get(uid));
        let claims = self
            .by_claim
            .iter()
            .filter_map(|(path, values)| match context.at(path)? {
                Term::String(value) => values.get(*value),
                _ => None,
            });
        let pinned = principals.chain(resources).chain(claims);
        std::iter::once(&self.unpinned)
            .chain(pinned)
            .flatten()
            .copied()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Place> {
        let claims = self.by_claim.iter().flat_map(|(_, values)| values.values());
        let pinned = self
            .by_principal
            .values()
            .chain(self.by_resource.values())
            .chain(claims);
        pinned.chain([&self.unpinned]).flatten().copied().collect()
    }

    /// The most policies that share one pin, or have none.
    pub(crate) fn fullest(&self) -> &[Place] {
        let claims = self.by_claim.iter().flat_map(|(_, values)| values.values());
        let pinned = self
            .by_principal
            .values()
            .chain(self.by_resource.values())
            .chain(claims);
        pinned
            .chain([&self.unpinned])
            .max_by_key(|places| places.len())
            .map_or(&[], Vec::as_slice)
    }
}

/// The narrowest pin: an id of the context, an entity itself, an entity above it, any other text of the context.
fn pin(rule: &Rule) -> Pin<'_> {
    let claims = match rule.effect {
        Effect::Permit => claims(rule),
        Effect::Forbid => Vec::new(),
    };
    let is_id =
        |([_, member], _): &&([&str; 2], &str)| member.ends_with("id") || IDS.contains(member);
    if let Some((path, value)) = claims.iter().find(is_id) {
        return Pin::Claim(*path, value);
    }
    match (&rule.principal, &rule.resource) {
        (Scope::Eq(uid), _) => Pin::Principal(uid),
        (_, Scope::Eq(uid)) => Pin::Resource(uid),
        (Scope::In(uid) | Scope::IsIn(_, uid), _) => Pin::Principal(uid),
        (_, Scope::In(uid) | Scope::IsIn(_, uid)) => Pin::Resource(uid),
        _ => match claims.first() {
            Some((path, value)) => Pin::Claim(*path, value),
            None => Pin::None,
        },
    }
}

/// Each `context.RECORD.MEMBER == "text"` that must hold and before which nothing can err.
fn claims(rule: &Rule) -> Vec<([&str; 2], &str)> {
    let mut claims = Vec::new();
    for clause in &rule.clauses {
        for conjunct in clause.body.conjuncts() {
            if !clause.when || !cannot_err(conjunct) {
                return claims;
            }
            if let Some((path, value)) = conjunct.equals_string()
                && let ["context", record, member] = *path.as_slice()
                && (PLATFORMS.contains(&record) || ["caller", "origin", "extra"].contains(&record))
            {
                claims.push(([record, member], value));
            }
        }
    }
    claims
}

/// Reads of a checked context, presence, literals and what only compares them. (Strict validation has seen to types and
/// to `has` before each optional read.)
fn cannot_err(expr: &Expr) -> bool {
    match expr {
        Expr::And(left, right) | Expr::Or(left, right) => cannot_err(left) && cannot_err(right),
        Expr::Call(call, left, right) => {
            use crate::rule::Call::{Eq, NotEq};
            matches!(call, Eq | NotEq) && cannot_err(left) && cannot_err(right)
        }
        Expr::Not(inner) | Expr::Has(inner, _) => cannot_err(inner),
        Expr::Get(..) => matches!(
            expr.path().as_deref(),
            Some(["context", _] | ["context", _, _])
        ),
        Expr::Bool(_) | Expr::Long(_) | Expr::String(_) | Expr::Entity(_) => true,
        Expr::Var(name) => *name == "context",
        Expr::Like(_) | Expr::Other(_) | Expr::Record(_) | Expr::Set(_) => false,
    }
}

/// All (principal type, resource type) pairs of one action.
#[derive(Debug, Default)]
pub(crate) struct Cabinet {
    forbids: HashMap<(String, String), Drawer>,
    permits: HashMap<(String, String), Drawer>,
}

impl Cabinet {
    pub(super) fn new(
        pairs: &BTreeSet<(String, String)>,
        rules: &[Rule],
        fits: impl Fn(&Rule) -> bool,
    ) -> Cabinet {
        let mut cabinet = Cabinet::default();
        for pair in pairs {
            let forbids = cabinet.forbids.entry(pair.clone()).or_default();
            let permits = cabinet.permits.entry(pair.clone()).or_default();
            for (place, rule) in rules.iter().enumerate() {
                if !fits(rule)
                    || !rule.principal.fits_type(&pair.0)
                    || !rule.resource.fits_type(&pair.1)
                {
                    continue;
                }
                match rule.effect {
                    Effect::Forbid => forbids.file(place, rule),
                    Effect::Permit => permits.file(place, rule),
                }
            }
        }
        cabinet
    }

    /// None if the action does not apply to these types.
    pub(crate) fn drawer(&self, effect: Effect, pair: &(String, String)) -> Option<&Drawer> {
        match effect {
            Effect::Forbid => self.forbids.get(pair),
            Effect::Permit => self.permits.get(pair),
        }
    }

    pub(crate) fn drawers(&self) -> impl Iterator<Item = &Drawer> {
        self.forbids.values().chain(self.permits.values())
    }
}

/// Ids whose names do not end in `id`.
const IDS: [&str; 4] = ["project", "tenant", "sub", "aws_account"];
