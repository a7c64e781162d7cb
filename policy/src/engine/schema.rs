//! Stint's schema and the operator's as one: what types and actions there are, and for whom. Read once at load.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, SchemaFragment};
use serde_json::Value as Json;

use super::slice::our_uid;
use crate::claims::{ExtraType, extra};
use crate::uid::Uid;

/// The part that is compiled in.
pub(crate) const STINT: &str = include_str!("../stint.cedarschema");

/// Entity types by name, as Cedar wants them.
#[derive(Debug, Default)]
pub(crate) struct Types(HashMap<String, EntityTypeName>);

impl Types {
    /// None for a type that is not declared.
    pub(super) fn uid(&self, uid: &Uid) -> Option<EntityUid> {
        self.entity(uid.type_name(), uid.id())
    }

    pub(super) fn entity(&self, type_name: &str, id: &str) -> Option<EntityUid> {
        let type_name = self.0.get(type_name)?.clone();
        Some(EntityUid::from_type_name_and_id(
            type_name,
            EntityId::new(id),
        ))
    }
}

/// What both schemas declare, in plain words.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) actions: BTreeMap<Uid, DeclaredAction>,
    /// Entity types by full name.
    pub(crate) types: BTreeMap<String, DeclaredType>,
    /// Namespaces of the operator's file.
    pub(crate) namespaces: BTreeSet<String>,
    /// Members that Stint gives the context of every action.
    pub(crate) ask: BTreeSet<String>,
    /// Members of the operator's `type Extra`; none if it is no plain record.
    pub(crate) extra: Option<BTreeMap<String, ExtraType>>,
}

#[derive(Debug)]
pub(crate) struct DeclaredAction {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) principals: Vec<String>,
    /// `Stint::Ask`, or a record's members; none for anything else.
    pub(crate) context: Option<BTreeSet<String>>,
    /// Whether the context has an `input`.
    pub(crate) input: bool,
    /// Whether Stint supplies it.
    pub(crate) ours: bool,
}

#[derive(Debug)]
pub(crate) struct DeclaredType {
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether any id will do.
    pub(crate) open: bool,
    pub(crate) attributes: usize,
    pub(crate) ours: bool,
}

/// What is said against a file.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rule: &'static str,
    pub(crate) text: String,
    /// The byte it is said of.
    pub(crate) offset: Option<usize>,
}

/// Both schemas joined.
pub(super) fn join(text: &str) -> Result<(Schema, Declared), Refused> {
    let told = |error: &dyn miette::Diagnostic| told("P03", error);
    let (ours, _) = SchemaFragment::from_cedarschema_str(STINT).map_err(|error| told(&error))?;
    let (theirs, mut warnings) =
        SchemaFragment::from_cedarschema_str(text).map_err(|error| told(&error))?;
    if let Some(warning) = warnings.next() {
        return Err(told(&warning));
    }
    let theirs_json = theirs
        .clone()
        .to_json_value()
        .map_err(|error| told(&error))?;
    let ours_json = ours.clone().to_json_value().map_err(|error| told(&error))?;
    if theirs_json.get("Stint").is_some() {
        let text =
            "the namespace `Stint` is Stint's own; declare types and actions outside it".to_owned();
        return Err(Refused {
            rule: "P15",
            text,
            offset: None,
        });
    }
    let mut fragments = vec![ours, theirs];
    if theirs_json.pointer("//commonTypes/Extra").is_none() {
        let (extra, _) = SchemaFragment::from_cedarschema_str("type Extra = {};")
            .map_err(|error| told(&error))?;
        fragments.push(extra);
    }
    let schema = Schema::from_schema_fragments(fragments).map_err(|error| told(&error))?;
    Ok((schema, declared(&ours_json, &theirs_json)))
}

pub(super) fn types(schema: &Schema) -> Types {
    Types(
        schema
            .entity_types()
            .map(|name| (name.to_string(), name.clone()))
            .collect(),
    )
}

/// Ancestors of each action that has some, itself included.
pub(super) fn action_groups(schema: &Schema) -> HashMap<Uid, BTreeSet<Uid>> {
    let Ok(entities) = schema.action_entities() else {
        return HashMap::new();
    };
    let lineage = |action: &EntityUid| {
        let above = entities.ancestors(action)?;
        let uid = our_uid(action)?;
        Some((
            uid.clone(),
            std::iter::once(uid)
                .chain(above.filter_map(our_uid))
                .collect(),
        ))
    };
    schema.actions().filter_map(lineage).collect()
}

/// What Cedar says, its cause and help included, and the byte it says it of.
pub(super) fn told(rule: &'static str, error: &(impl miette::Diagnostic + ?Sized)) -> Refused {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let help = error
        .help()
        .map(|help| format!(" ({help})"))
        .unwrap_or_default();
    Refused {
        rule,
        text: format!("{error}{cause}{help}"),
        offset: error
            .labels()
            .into_iter()
            .flatten()
            .map(|label| label.offset())
            .next(),
    }
}

/// Whose schema it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Operators,
    Stints,
}

fn declared(ours: &Json, theirs: &Json) -> Declared {
    let mut all = Declared {
        extra: extra(theirs),
        ..Declared::default()
    };
    let ask = ours
        .pointer("/Stint/commonTypes/Ask/attributes")
        .and_then(Json::as_object);
    all.ask = ask
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    for (json, whose) in [(ours, Whose::Stints), (theirs, Whose::Operators)] {
        for (namespace, body) in json.as_object().into_iter().flatten() {
            if whose == Whose::Operators {
                all.namespaces.insert(namespace.clone());
            }
            all.add(namespace, body, whose);
        }
    }
    all
}

impl Declared {
    fn add(&mut self, namespace: &str, body: &Json, whose: Whose) {
        let ours = whose == Whose::Stints;
        let members = |key: &str| {
            body.get(key)
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
        };
        for (name, json) in members("entityTypes") {
            let annotations = annotations(json);
            let attributes = json.pointer("/shape/attributes").and_then(Json::as_object);
            let declared = DeclaredType {
                open: annotations.contains_key("open"),
                annotations,
                attributes: attributes.map_or(0, serde_json::Map::len),
                ours,
            };
            self.types.insert(within(namespace, name), declared);
        }
        for (name, json) in members("actions") {
            let Some(uid) = Uid::new(&within(namespace, "Action"), name) else {
                continue;
            };
            let principals = json
                .pointer("/appliesTo/principalTypes")
                .and_then(Json::as_array);
            let principals = principals.into_iter().flatten().filter_map(Json::as_str);
            let context = json.pointer("/appliesTo/context");
            let record = context
                .and_then(|context| context.get("attributes"))
                .and_then(Json::as_object);
            let is_ask = context.is_some_and(|context| names_ask(context, namespace));
            let declared = DeclaredAction {
                annotations: annotations(json),
                principals: principals.map(|name| self.full(namespace, name)).collect(),
                input: record.is_some_and(|record| record.contains_key("input")),
                context: match is_ask {
                    true => Some(self.ask.clone()),
                    false => record.map(|record| record.keys().cloned().collect()),
                },
                ours,
            };
            self.actions.insert(uid, declared);
        }
    }

    /// A type's full name, as Cedar resolves it.
    fn full(&self, namespace: &str, name: &str) -> String {
        let local = within(namespace, name);
        match self.types.contains_key(&local) {
            true => local,
            false => name.to_owned(),
        }
    }
}

fn names_ask(context: &Json, namespace: &str) -> bool {
    let name = context.get("type").and_then(Json::as_str);
    let name = name
        .filter(|name| *name != "EntityOrCommon")
        .or_else(|| context.get("name").and_then(Json::as_str));
    name == Some("Stint::Ask") || (namespace == "Stint" && name == Some("Ask"))
}

fn annotations(json: &Json) -> BTreeMap<String, String> {
    let pairs = json
        .get("annotations")
        .and_then(Json::as_object)
        .into_iter()
        .flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn within(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}::{name}"),
    }
}
