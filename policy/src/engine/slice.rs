//! The entities of a set, with ancestors flattened at load, and the few of them that one request needs: who asks, what
//! for, and what their attributes name (validation at level 2 promises that no policy looks further).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use serde_json::{Value as Json, json};

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
    /// As Cedar has it, and as it was written; none if it is not listed.
    known: Option<(Entity, Json)>,
    /// Itself and its ancestors.
    pub(super) lineage: Vec<Uid>,
    /// Entities that its attributes name, in sets and records too.
    named: Vec<Uid>,
}

impl Store {
    /// Reads Cedar's own list; `entities` is the same list, parsed and checked by Cedar.
    pub(super) fn new(entities: &Entities, json: &Json) -> Store {
        let written = json.as_array().map(Vec::as_slice).unwrap_or_default();
        let listed = written.iter().filter_map(|json| {
            let uid = json_uid(json.get("uid")?)?;
            let entity = entities.get(&cedar_uid(&uid)?)?;
            let mut ancestors: Vec<Uid> = entities
                .ancestors(&entity.uid())?
                .filter_map(our_uid)
                .collect();
            ancestors.sort();
            let listed = Listed::new(&uid, entity, json, ancestors);
            Some((uid, listed))
        });
        Store {
            listed: listed.collect(),
        }
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
        if inventory {
            let owner = principal
                .owner
                .as_deref()
                .and_then(|group| Uid::new(GROUP, group));
            let person = principal
                .person
                .as_deref()
                .and_then(|user| Uid::new("Stint::User", user));
            links.extend(owner.map(|owner| ("owner".to_owned(), owner)));
            links.extend(person.map(|person| ("person".to_owned(), person)));
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
        )
        .ok()?;
        let attributes: serde_json::Map<String, Json> = links
            .iter()
            .map(|(name, uid)| (name.clone(), json!({"__entity": uid_json(uid)})))
            .collect();
        let json = json!({
            "uid": uid_json(&uid),
            "attrs": attributes,
            "parents": lineage.iter().map(uid_json).collect::<Json>(),
        });
        Some(Arc::new(Subject {
            known: Some((entity, json)),
            uid: types.uid(&uid)?,
            named: links.into_values().collect(),
            lineage: std::iter::once(uid).chain(lineage).collect(),
        }))
    }

    /// All that evaluating needs: `roots`, and what their attributes name. A root given first stands for its uid.
    pub(super) fn slice<'a>(&'a self, roots: &'a [Arc<Subject>]) -> Vec<&'a (Entity, Json)> {
        let named = roots.iter().flat_map(|root| &root.named);
        let named = named.filter_map(|uid| self.listed.get(uid));
        let all = roots.iter().chain(named.map(|listed| &listed.subject));
        let mut seen: Vec<&Uid> = Vec::with_capacity(roots.len() * 2);
        let mut slice = Vec::with_capacity(roots.len() * 2);
        for subject in all {
            if let (Some(uid), Some(known)) = (subject.lineage.first(), &subject.known)
                && !seen.contains(&uid)
            {
                seen.push(uid);
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

impl Listed {
    fn new(uid: &Uid, entity: &Entity, json: &Json, ancestors: Vec<Uid>) -> Listed {
        let attributes = json.get("attrs").and_then(Json::as_object);
        let attributes = || attributes.into_iter().flatten();
        let link = |(name, value): (&String, &Json)| Some((name.clone(), json_uid(value)?));
        let mut named = Vec::new();
        attributes().for_each(|(_, value)| name_entities(value, &mut named));
        let labels = attributes()
            .find(|(name, _)| *name == "labels")
            .and_then(|(_, labels)| labels.as_array());
        Listed {
            subject: Arc::new(Subject {
                uid: entity.uid(),
                known: Some((entity.clone(), json.clone())),
                lineage: std::iter::once(uid).chain(&ancestors).cloned().collect(),
                named,
            }),
            ancestors,
            links: attributes().filter_map(link).collect(),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn name_entities(value: &Json, into: &mut Vec<Uid>) {
    match (json_uid(value), value) {
        (Some(uid), _) => into.push(uid),
        (None, Json::Array(values)) => values.iter().for_each(|value| name_entities(value, into)),
        (None, Json::Object(members)) => members
            .values()
            .for_each(|value| name_entities(value, into)),
        (None, _) => {}
    }
}

/// `{"type": …, "id": …}`, bare or behind `__entity`.
pub(super) fn json_uid(value: &Json) -> Option<Uid> {
    let value = value.get("__entity").unwrap_or(value);
    let members = value.as_object().filter(|members| members.len() == 2)?;
    Uid::new(members.get("type")?.as_str()?, members.get("id")?.as_str()?)
}

pub(super) fn uid_json(uid: &Uid) -> Json {
    json!({"type": uid.type_name(), "id": uid.id()})
}

fn cedar_uid(uid: &Uid) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(
        uid.type_name().parse().ok()?,
        cedar_policy::EntityId::new(uid.id()),
    ))
}

pub(super) fn our_uid(uid: &EntityUid) -> Option<Uid> {
    Uid::new(&uid.type_name().to_string(), uid.id().unescaped())
}
