//! Cedar, and the only place that names it. Everything is compiled when a set is built; answering one request is a
//! lookup, a slice of entities, one context and the evaluation of the few policies that can matter.

pub(crate) mod condition;
mod index;
pub(crate) mod schema;
mod slice;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(crate) use cedar_policy::Request;
use cedar_policy::{
    Context, Entities, Entity, EntityUid, EvalResult, Expression, PolicyId,
    PolicySet as CedarPolicies, RestrictedExpression, Schema, ValidationMode, Validator,
    eval_expression,
};
use serde_json::Value as Json;

use crate::context::Term;
use crate::query::{Kind, Principal};
use crate::rule::{Approvers, Effect, GROUP, Gate, Rule};
use crate::uid::{ActionId, Resource, Uid};
use condition::Condition;
use index::{Cabinet, Place};
use schema::{Declared, Refused, Types};
pub(crate) use slice::{Store, Subject};
pub(crate) use syntax::Parsed;

/// A policy set, compiled.
#[derive(Debug)]
pub(crate) struct Engine {
    schema: Schema,
    types: Types,
    pub(crate) declared: Declared,
    pub(crate) store: Store,
    actions: HashMap<Uid, Action>,
    pub(crate) rules: Vec<Rule>,
    whole: Vec<Expression>,
    pub(crate) conditions: Vec<Vec<Condition>>,
    /// Whether a rule reads `context.history`.
    reads_history: Vec<bool>,
}

#[derive(Debug)]
pub(crate) struct Action {
    uid: EntityUid,
    /// Its own entity, where it is in a group of actions.
    entity: Option<Entity>,
    pub(crate) cabinet: Cabinet,
}

/// A policy file, read.
#[derive(Debug)]
pub(crate) struct Source {
    policies: Vec<(cedar_policy::Policy, Parsed, usize)>,
}

impl Source {
    /// Reads one `*.cedar` file.
    pub(crate) fn read(text: &str) -> Result<Source, Vec<Refused>> {
        let set: CedarPolicies = match text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                return Err(errors
                    .iter()
                    .map(|error| schema::told("P03", error))
                    .collect());
            }
        };
        if let Some(template) = set.templates().next() {
            let offset = template.as_ref().loc().map(|loc| loc.start());
            let text =
                "a template decides nothing until it is linked: write the policy out".to_owned();
            return Err(vec![Refused {
                rule: "P03",
                text,
                offset,
            }]);
        }
        let mut refused = Vec::new();
        let mut policies = Vec::new();
        for policy in set.policies() {
            let offset = policy.as_ref().loc().map_or(0, |loc| loc.start());
            match policy
                .to_pst()
                .ok()
                .and_then(|read| syntax::parsed(read.body()))
            {
                Some(parsed) => policies.push((policy.clone(), parsed, offset)),
                None => refused.push(Refused {
                    rule: "P03",
                    text: "an id here is empty, longer than 1024 bytes, or has control characters"
                        .to_owned(),
                    offset: Some(offset),
                }),
            }
        }
        policies.sort_by_key(|(_, _, offset)| *offset);
        match refused.is_empty() {
            true => Ok(Source { policies }),
            false => Err(refused),
        }
    }

    /// In the order of the file, each with the byte it begins at.
    pub(crate) fn parsed(&self) -> impl Iterator<Item = (&Parsed, usize)> {
        self.policies
            .iter()
            .map(|(_, parsed, offset)| (parsed, *offset))
    }
}

/// What a set is compiled from, before its rules are known.
#[derive(Debug)]
pub(crate) struct Ground {
    schema: Schema,
    pub(crate) declared: Declared,
}

impl Ground {
    pub(crate) fn read(schema: &str) -> Result<Ground, Refused> {
        schema::join(schema).map(|(schema, declared)| Ground { schema, declared })
    }

    /// The list of entities, checked against the schema.
    pub(crate) fn entities(&self, text: &str) -> Result<Store, Refused> {
        let entities = Entities::from_json_str(text, Some(&self.schema));
        let entities = entities.map_err(|error| schema::told("P03", &error))?;
        Store::new(&entities).map_err(|uid| Refused {
            rule: "P03",
            text: format!(
                "{uid}: its id, or one that it names, is empty, longer than 1024 bytes, or has control characters"
            ),
            offset: None,
        })
    }

    /// Strict validation, level 2; warnings are errors. Each finding comes with the rule it is about.
    pub(crate) fn validate(&self, sources: &[(Source, Vec<Rule>)]) -> Vec<(usize, usize, Refused)> {
        let mut places = HashMap::new();
        let mut set = CedarPolicies::new();
        for (file, (source, _)) in sources.iter().enumerate() {
            for (number, (policy, _, _)) in source.policies.iter().enumerate() {
                let id = PolicyId::new(format!("{file}/{number}"));
                places.insert(id.clone(), (file, number));
                if set.add(policy.new_id(id)).is_err() {
                    continue;
                }
            }
        }
        let validator = Validator::new(self.schema.clone());
        let result = validator.validate_with_level(&set, ValidationMode::Strict, DEREFERENCES);
        let at = |id: &PolicyId| places.get(id).copied().unwrap_or_default();
        let errors = result
            .validation_errors()
            .map(|error| (at(error.policy_id()), schema::told("P03", error)));
        let warnings = result
            .validation_warnings()
            .map(|warning| (at(warning.policy_id()), schema::told("P03", warning)));
        errors
            .chain(warnings)
            .map(|((file, number), refused)| (file, number, refused))
            .collect()
    }

    pub(crate) fn compile(self, store: Store, sources: Vec<(Source, Vec<Rule>)>) -> Engine {
        let mut rules = Vec::new();
        let mut whole = Vec::new();
        let mut conditions = Vec::new();
        for (source, read) in sources {
            for ((policy, _, _), rule) in source.policies.iter().zip(read) {
                whole.push(condition::whole(policy));
                conditions.push(
                    policy
                        .to_pst()
                        .map(|read| condition::split(read.body()))
                        .unwrap_or_default(),
                );
                rules.push(rule);
            }
        }
        let groups = schema::action_groups(&self.schema);
        let entities = self
            .schema
            .action_entities()
            .unwrap_or_else(|_| Entities::empty());
        let mut pairs: BTreeMap<Uid, (EntityUid, BTreeSet<(String, String)>)> = BTreeMap::new();
        for environment in self.schema.request_envs() {
            let Some(action) = slice::our_uid(environment.action()) else {
                continue;
            };
            let pair = (
                environment.principal().to_string(),
                environment.resource().to_string(),
            );
            pairs
                .entry(action)
                .or_insert_with(|| (environment.action().clone(), BTreeSet::new()))
                .1
                .insert(pair);
        }
        let action = |(name, (uid, pairs)): (Uid, (EntityUid, BTreeSet<(String, String)>))| {
            let lineage = groups.get(&name);
            let fits = |rule: &Rule| match &rule.actions {
                None => true,
                Some(actions) => actions
                    .iter()
                    .any(|wanted| lineage.is_some_and(|lineage| lineage.contains(wanted))),
            };
            let cabinet = Cabinet::new(&pairs, &rules, fits);
            let in_a_group = lineage.is_some_and(|lineage| lineage.len() > 1);
            let entity = entities.get(&uid).filter(|_| in_a_group).cloned();
            (
                name,
                Action {
                    uid,
                    entity,
                    cabinet,
                },
            )
        };
        Engine {
            actions: pairs.into_iter().map(action).collect(),
            types: schema::types(&self.schema),
            reads_history: rules
                .iter()
                .map(|rule| rule.reads_from(&["context", "history"]))
                .collect(),
            schema: self.schema,
            declared: self.declared,
            store,
            rules,
            whole,
            conditions,
        }
    }
}

/// One Cedar request of a decision: who, and what for.
#[derive(Debug)]
pub(crate) struct Case<'e> {
    engine: &'e Engine,
    pub(crate) action: &'e Action,
    principal: Arc<Subject>,
    resource: Arc<Subject>,
    pair: (String, String),
    /// Everybody whose attributes can be read.
    roots: Vec<Arc<Subject>>,
    entities: Entities,
}

/// A context that Cedar has checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// All members but the approvals: another pass is built from them, not from Cedar's record, which would be taken
    /// apart and evaluated anew.
    members: Vec<(String, RestrictedExpression)>,
    nobody_voted: Context,
}

/// Something could not be evaluated.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The policy, where it was one.
    pub(crate) policy: Option<String>,
    pub(crate) text: String,
}

impl Engine {
    /// Each action that is in a group, with the groups and itself.
    pub(crate) fn action_groups(&self) -> HashMap<Uid, BTreeSet<Uid>> {
        schema::action_groups(&self.schema)
    }

    /// Who can ask for the action, and of what: types of principals and resources.
    pub(crate) fn pairs_of(&self, action: &Uid) -> Vec<(String, String)> {
        let environments = self.schema.request_envs();
        let of_it = environments.filter(|it| slice::our_uid(it.action()).as_ref() == Some(action));
        let pairs = of_it.map(|it| (it.principal().to_string(), it.resource().to_string()));
        pairs.collect()
    }

    /// The action by its canonical name: the operator's, else Stint's own of that name.
    pub(crate) fn resolve_action(&self, action: &ActionId) -> Option<ActionId> {
        let exact = |uid: &Uid| self.actions.contains_key(uid).then(|| uid.clone());
        let uid = exact(action.uid()).or_else(|| exact(&in_stint(action.uid())?))?;
        ActionId::from_uid(uid)
    }

    /// The resource by its canonical name; none if the type is not declared.
    pub(crate) fn resolve_resource(&self, resource: &Resource) -> Option<Resource> {
        let exact = |uid: &Uid| {
            self.declared
                .types
                .contains_key(uid.type_name())
                .then(|| uid.clone())
        };
        exact(resource.uid())
            .or_else(|| exact(&in_stint(resource.uid())?))
            .map(Resource::from_uid)
    }

    /// Whether the resource is listed, or of a type that takes any id.
    pub(crate) fn is_known(&self, resource: &Resource) -> bool {
        let open = |uid: &Uid| {
            self.declared
                .types
                .get(uid.type_name())
                .is_some_and(|declared| declared.open)
        };
        self.store.get(resource.uid()).is_some() || open(resource.uid())
    }

    pub(crate) fn action(&self, action: &ActionId) -> Option<&Action> {
        self.actions.get(action.uid())
    }

    pub(crate) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.values()
    }

    /// Whether the action takes an `input`.
    pub(crate) fn takes_input(&self, action: &ActionId) -> bool {
        self.declared
            .actions
            .get(action.uid())
            .is_some_and(|declared| declared.input)
    }

    /// The entity of a caller or subject.
    pub(crate) fn principal(&self, principal: &Principal) -> Option<Arc<Subject>> {
        self.store.principal(principal, &self.types)
    }

    pub(crate) fn entity(&self, uid: &Uid) -> Option<Arc<Subject>> {
        self.store.plain(uid, &self.types)
    }

    /// None if the action does not apply to such a principal or resource. `others` are the people and agents of the
    /// ask, the principal among them; a resource that is one of them is the same entity, groups of its login included.
    pub(crate) fn case<'e>(
        &'e self,
        action: &'e Action,
        (kind, principal): (Kind, &Arc<Subject>),
        resource: &Uid,
        others: &[Arc<Subject>],
    ) -> Result<Option<Case<'e>>, Fault> {
        let pair = (kind.type_name().to_owned(), resource.type_name().to_owned());
        if action.cabinet.drawer(Effect::Permit, &pair).is_none() {
            return Ok(None);
        }
        let undeclared = || fault("the resource's type is not declared");
        let same = others.iter().find(|other| other.name() == Some(resource));
        let resource = same.cloned().or_else(|| self.entity(resource));
        let resource = resource.ok_or_else(undeclared)?;
        let mut roots = vec![Arc::clone(principal), Arc::clone(&resource)];
        roots.extend(others.iter().cloned());
        let slice = self.store.slice(&roots).into_iter();
        let slice = slice.map(|(entity, _)| entity.clone());
        let slice = slice.chain(action.entity.clone());
        let entities = Entities::from_entities(slice, None).map_err(fault)?;
        Ok(Some(Case {
            engine: self,
            action,
            principal: Arc::clone(principal),
            resource,
            pair,
            roots,
            entities,
        }))
    }

    /// Checks a context against the action's type.
    pub(crate) fn check(&self, context: &Term<'_>, action: &Action) -> Result<Checked, Fault> {
        let Term::Record(members) = context else {
            return Err(fault("a context is a record"));
        };
        let mut pairs = Vec::with_capacity(members.len());
        for (name, term) in members {
            pairs.push(((*name).to_owned(), self.restricted(term)?));
        }
        let nobody_voted = self.with_approvals(&pairs, &[])?;
        nobody_voted
            .validate(&self.schema, &action.uid)
            .map_err(fault)?;
        Ok(Checked {
            members: pairs,
            nobody_voted,
        })
    }

    fn with_approvals(
        &self,
        members: &[(String, RestrictedExpression)],
        approvals: &[(String, u8)],
    ) -> Result<Context, Fault> {
        let mut set = Vec::with_capacity(approvals.len());
        for (group, votes) in approvals {
            let by = self.uid(GROUP, group)?;
            let seat = [
                ("by".to_owned(), RestrictedExpression::new_entity_uid(by)),
                (
                    "votes".to_owned(),
                    RestrictedExpression::new_long(i64::from(*votes)),
                ),
            ];
            set.push(RestrictedExpression::new_record(seat).map_err(fault)?);
        }
        let approvals = ("approvals".to_owned(), RestrictedExpression::new_set(set));
        Context::from_pairs(members.iter().cloned().chain([approvals])).map_err(fault)
    }

    fn restricted(&self, term: &Term<'_>) -> Result<RestrictedExpression, Fault> {
        Ok(match term {
            Term::Bool(value) => RestrictedExpression::new_bool(*value),
            Term::Datetime(moment) => RestrictedExpression::new_datetime(moment.rfc3339()),
            Term::Entity(type_name, id) => {
                RestrictedExpression::new_entity_uid(self.uid(type_name, id)?)
            }
            Term::Long(value) => RestrictedExpression::new_long(*value),
            Term::Record(members) => {
                let mut fields = Vec::with_capacity(members.len());
                for (name, term) in members {
                    fields.push(((*name).to_owned(), self.restricted(term)?));
                }
                RestrictedExpression::new_record(fields).map_err(fault)?
            }
            Term::Set(members) => {
                let members = members.iter().map(|term| self.restricted(term));
                RestrictedExpression::new_set(members.collect::<Result<Vec<_>, _>>()?)
            }
            Term::String(value) => RestrictedExpression::new_string((*value).to_owned()),
            Term::Strings(values) => RestrictedExpression::new_set(
                values
                    .iter()
                    .map(|value| RestrictedExpression::new_string(value.clone())),
            ),
        })
    }

    fn uid(&self, type_name: &str, id: &str) -> Result<EntityUid, Fault> {
        self.types
            .entity(type_name, id)
            .ok_or_else(|| fault(format!("`{type_name}` is not declared")))
    }
}

impl Case<'_> {
    /// The request in this context, with these approvals.
    pub(crate) fn request(
        &self,
        context: &Checked,
        approvals: &[(String, u8)],
    ) -> Result<Request, Fault> {
        let context = match approvals {
            [] => context.nobody_voted.clone(),
            some => self.engine.with_approvals(&context.members, some)?,
        };
        let (principal, resource) = (self.principal.uid.clone(), self.resource.uid.clone());
        Request::new(principal, self.action.uid.clone(), resource, context, None).map_err(fault)
    }

    /// Policies of one effect that this request can meet.
    pub(crate) fn candidates(&self, effect: Effect, context: &Term<'_>) -> Vec<Place> {
        let drawer = self.action.cabinet.drawer(effect, &self.pair);
        let open = |drawer: &index::Drawer| {
            drawer
                .open(&self.principal.lineage, &self.resource.lineage, context)
                .collect()
        };
        drawer.map(open).unwrap_or_default()
    }

    /// Those of `candidates` that are satisfied; the first error ends it.
    pub(crate) fn satisfied(
        &self,
        request: &Request,
        candidates: &[Place],
    ) -> Result<Vec<Place>, Fault> {
        let mut satisfied = Vec::new();
        for place in candidates {
            let Some(expression) = self.engine.whole.get(*place) else {
                continue;
            };
            match eval_expression(request, &self.entities, expression) {
                Ok(EvalResult::Bool(true)) => satisfied.push(*place),
                Ok(EvalResult::Bool(false)) => {}
                Ok(other) => {
                    return Err(self.fault(*place, &format!("`{other}` is no truth value")));
                }
                Err(error) => return Err(self.fault(*place, &error)),
            }
        }
        Ok(satisfied)
    }

    /// Whether one condition holds; what cannot be evaluated does not.
    pub(crate) fn holds(&self, request: &Request, condition: &Condition) -> bool {
        let result = eval_expression(request, &self.entities, &condition.expression);
        matches!(result, Ok(EvalResult::Bool(true)))
    }

    /// Permits of the action whose types fit, whatever they pin.
    pub(crate) fn permits_of_action(&self) -> Vec<Place> {
        self.action
            .cabinet
            .drawer(Effect::Permit, &self.pair)
            .map(index::Drawer::all)
            .unwrap_or_default()
    }

    /// The group a gate asks for this resource.
    pub(crate) fn approvers(&self, gate: &Gate) -> Option<String> {
        match &gate.by {
            Approvers::Group(name) => Some(name.clone()),
            Approvers::Of(attribute) => {
                let listed = self.engine.store.get(self.resource.lineage.first()?)?;
                Some(listed.links.get(attribute)?.id().to_owned())
            }
        }
    }

    pub(crate) fn reads_history(&self, candidates: &[Place]) -> bool {
        candidates.iter().any(|place| {
            self.engine
                .reads_history
                .get(*place)
                .copied()
                .unwrap_or_default()
        })
    }

    /// The slice, in Cedar's JSON.
    pub(crate) fn entities_json(&self) -> impl Iterator<Item = &Json> {
        let slice = self.engine.store.slice(&self.roots).into_iter();
        slice.map(|(_, json)| json)
    }

    fn fault(&self, place: Place, error: &impl ToString) -> Fault {
        Fault {
            policy: self.engine.rules.get(place).map(|rule| rule.id.clone()),
            text: error.to_string(),
        }
    }
}

fn in_stint(uid: &Uid) -> Option<Uid> {
    Uid::new(&format!("Stint::{}", uid.type_name()), uid.id())
}

fn fault(error: impl ToString) -> Fault {
    Fault {
        policy: None,
        text: error.to_string(),
    }
}

/// Steps a policy may go along attributes of entities (RFC 76 of Cedar); the slice is as deep.
const DEREFERENCES: u32 = 2;
