//! The entities of a set, with ancestors flattened at load, and the few of them that one request needs: who asks, what
//! for, and what their attributes and tags name (validation at level 2 promises that no policy looks further).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use serde_json::Value as Json;

use super::schema::Types;
use crate::query::{Kind, Principal};
use crate::rule::GROUP;
use crate::uid::Uid;

/// What `entities.json` lists.
#[derive(Debug, Default)]
pub(crate) struct Store {
    listed: HashMap<Uid, Listed>,
}

/// One listed entity.
#[derive(Debug)]
pub(crate) struct Listed {
    subject: Arc<Subject>,
    /// All of them, nearest or not, in order.
    pub(crate) ancestors: Vec<Uid>,
    /// Attributes that are entities.
    pub(crate) links: BTreeMap<String, Uid>,
    /// Its attribute `labels`.
    pub(crate) labels: BTreeSet<String>,
}

/// An entity of one request: what Cedar gets, what the ledger keeps, what the index looks up.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(super) uid: EntityUid,
    /// As Cedar has it, and as Cedar writes it; none if it is not listed.
    known: Option<(Entity, Json)>,
    /// Itself and its ancestors.
    pub(super) lineage: Vec<Uid>,
    /// Entities that its attributes and tags name, in sets and records too.
    named: Vec<Uid>,
}

impl Store {
    /// Cedar's own list; an error is the entity that no ask and no rule could name as it stands.
    pub(super) fn new(entities: &Entities) -> Result<Store, EntityUid> {
        let theirs = |entity: &&Entity| entity.uid().type_name().basename() != "Action";
        let listed = entities.iter().filter(theirs);
        let listed = listed
            .map(|entity| Listed::new(entity, entities).ok_or_else(|| entity.uid()))
            .collect::<Result<_, _>>()?;
        Ok(Store { listed })
    }

    pub(crate) fn get(&self, uid: &Uid) -> Option<&Listed> {
        self.listed.get(uid)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Uid, &Listed)> {
        self.listed.iter()
    }

    /// An entity as it is listed, or bare.
    pub(super) fn plain(&self, uid: &Uid, types: &Types) -> Option<Arc<Subject>> {
        match self.listed.get(uid) {
            Some(listed) => Some(Arc::clone(&listed.subject)),
            None => Some(Arc::new(Subject {
                uid: types.uid(uid)?,
                known: None,
                lineage: vec![uid.clone()],
                named: Vec::new(),
            })),
        }
    }

    /// A caller or subject: as listed, with the groups of its login and the inventory's owner and person.
    pub(super) fn principal(&self, principal: &Principal, types: &Types) -> Option<Arc<Subject>> {
        let uid = Uid::new(principal.kind.type_name(), principal.id.as_str())?;
        let inventory = principal.kind != Kind::User
            && (principal.owner.is_some() || principal.person.is_some());
        if principal.groups.is_empty() && !inventory {
            return self.plain(&uid, types);
        }
        let listed = self.listed.get(&uid);
        let mut lineage = BTreeSet::new();
        for group in &principal.groups {
            let group = Uid::new(GROUP, group)?;
            lineage.extend(
                self.listed
                    .get(&group)
                    .into_iter()
                    .flat_map(|listed| listed.ancestors.iter().cloned()),
            );
            lineage.insert(group);
        }
        lineage.extend(
            listed
                .into_iter()
                .flat_map(|listed| listed.ancestors.iter().cloned()),
        );
        let mut links = listed
            .map(|listed| listed.links.clone())
            .unwrap_or_default();
        if let Some(owner) = principal.owner.as_deref().filter(|_| inventory) {
            links.insert("owner".to_owned(), Uid::new(GROUP, owner)?);
        }
        if let Some(person) = principal.person.as_deref().filter(|_| inventory) {
            links.insert("person".to_owned(), Uid::new("Stint::User", person)?);
        }
        let attributes = links.iter().map(|(name, uid)| {
            Some((
                name.clone(),
                RestrictedExpression::new_entity_uid(types.uid(uid)?),
            ))
        });
        let parents: HashSet<EntityUid> = lineage
            .iter()
            .map(|uid| types.uid(uid))
            .collect::<Option<_>>()?;
        let entity = Entity::new(
            types.uid(&uid)?,
            attributes.collect::<Option<_>>()?,
            parents,
        );
        Subject::known(entity.ok()?, uid, lineage).map(Arc::new)
    }

    /// All that evaluating needs: `roots`, and what their attributes name. A root given first stands for its uid.
    pub(super) fn slice<'a>(&'a self, roots: &'a [Arc<Subject>]) -> Vec<&'a (Entity, Json)> {
        let named = roots.iter().flat_map(|root| &root.named);
        let named = named.filter_map(|uid| self.listed.get(uid));
        let all = roots.iter().chain(named.map(|listed| &listed.subject));
        let mut seen: HashSet<&Uid> = HashSet::with_capacity(roots.len() * 2);
        let mut slice = Vec::with_capacity(roots.len() * 2);
        for subject in all {
            if let (Some(uid), Some(known)) = (subject.name(), &subject.known)
                && seen.insert(uid)
            {
                slice.push(known);
            }
        }
        slice
    }

    /// Whether a person is in `group`: by the list, or by the groups of a login.
    pub(crate) fn is_member(&self, user: &Uid, login: &[Uid], group: &Uid) -> bool {
        let above = |uid: &Uid| {
            self.listed
                .get(uid)
                .is_some_and(|listed| listed.ancestors.contains(group))
        };
        above(user) || login.iter().any(|known| known == group || above(known))
    }

    /// How many listed users are in `group`.
    pub(crate) fn members(&self, group: &Uid) -> usize {
        let member = |(uid, listed): &(&Uid, &Listed)| {
            uid.type_name() == Kind::User.type_name() && listed.ancestors.contains(group)
        };
        self.listed.iter().filter(member).count()
    }
}

impl Subject {
    /// None if it, or an entity that it names, has a name that is none of ours.
    fn known(
        entity: Entity,
        uid: Uid,
        ancestors: impl IntoIterator<Item = Uid>,
    ) -> Option<Subject> {
        let json = written(&entity)?;
        let mut named = Vec::new();
        // INVARIANT: whatever one step leads to is in the slice; a missing entity is in no group and has no attribute,
        // so that a forbid would not fire.
        for value in ["attrs", "tags"].into_iter().filter_map(|of| json.get(of)) {
            name_entities(value, &mut named)?;
        }
        Some(Subject {
            uid: entity.uid(),
            known: Some((entity, json)),
            lineage: std::iter::once(uid).chain(ancestors).collect(),
            named,
        })
    }

    pub(super) fn name(&self) -> Option<&Uid> {
        self.lineage.first()
    }
}

impl Listed {
    fn new(entity: &Entity, entities: &Entities) -> Option<(Uid, Listed)> {
        let uid = our_uid(&entity.uid())?;
        let ancestors = entities.ancestors(&entity.uid())?.map(our_uid);
        let mut ancestors: Vec<Uid> = ancestors.collect::<Option<_>>()?;
        ancestors.sort();
        let subject = Subject::known(entity.clone(), uid.clone(), ancestors.clone())?;
        let attributes = subject
            .known
            .as_ref()
            .and_then(|(_, json)| json.get("attrs"));
        let attribute = |name| attributes.and_then(|attributes| attributes.get(name));
        let labels = attribute("labels").and_then(Json::as_array);
        let link = |(name, value): (&String, &Json)| Some((name.clone(), json_uid(value)?));
        let links = attributes.and_then(Json::as_object).into_iter().flatten();
        let listed = Listed {
            links: links.filter_map(link).collect(),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
            subject: Arc::new(subject),
            ancestors,
        };
        Some((uid, listed))
    }
}

/// Cedar's JSON, all ancestors as parents, in order.
fn written(entity: &Entity) -> Option<Json> {
    let mut json = entity.to_json_value().ok()?;
    if let Some(Json::Array(parents)) = json.get_mut("parents") {
        parents.sort_by_cached_key(ToString::to_string);
    }
    Some(json)
}

fn name_entities(value: &Json, into: &mut Vec<Uid>) -> Option<()> {
    match value {
        Json::Array(values) => values
            .iter()
            .try_for_each(|value| name_entities(value, into)),
        Json::Object(members) if members.contains_key("__entity") => {
            into.push(json_uid(value)?);
            Some(())
        }
        Json::Object(members) => members
            .values()
            .try_for_each(|value| name_entities(value, into)),
        Json::Bool(_) | Json::Null | Json::Number(_) | Json::String(_) => Some(()),
    }
}

/// `{"__entity": {"type": …, "id": …}}`, as Cedar writes what an attribute or tag names.
fn json_uid(value: &Json) -> Option<Uid> {
    let uid = value.get("__entity")?;
    Uid::new(uid.get("type")?.as_str()?, uid.get("id")?.as_str()?)
}

pub(super) fn our_uid(uid: &EntityUid) -> Option<Uid> {
    Uid::new(&uid.type_name().to_string(), uid.id().unescaped())
}
