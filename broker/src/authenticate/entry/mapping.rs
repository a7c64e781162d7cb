//! The keys of an entry that name claims: `extra`, `only`, and the templates. A rule that binds no immutable id, or a
//! name without its id, does not load (I01, I03, I06).

use std::collections::{BTreeMap, BTreeSet};

use crate::authenticate::claims::{Claim, Nature, Need, Shape};
use crate::authenticate::entry::ExtraConfig;
use crate::authenticate::entry::draft::{Draft, check_literal};
use crate::authenticate::entry::fault::{Fault, Faults};
use crate::authenticate::preset::{FoundBy, Preset};
use crate::authenticate::row::{self, Place};
use crate::authenticate::template::Template;

impl Draft<'_> {
    /// The claims that are well declared; faults go to `faults`, so that what names the others is still checked.
    pub(super) fn extra(&self, faults: &mut Faults) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (name, extra) in &self.config.extra {
            claims.extend(faults.keep(self.extra_claim(name, extra)));
        }
        for name in self
            .config
            .immutable
            .iter()
            .filter(|name| !self.config.extra.contains_key(*name))
        {
            faults.push(Fault::new(
                "immutable",
                format!("names `{name}`, which is no `extra`"),
            ));
        }
        claims
    }

    fn extra_claim(&self, name: &str, extra: &ExtraConfig) -> Result<Claim, Fault> {
        let fault = |text: String| Fault::new(format!("extra.{name}"), text);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(fault("is no name of `[A-Za-z0-9_]+`".to_owned()));
        }
        if self.preset.found_by == FoundBy::TrustDomain {
            return Err(fault(
                "is not trusted: of a foreign SVID only `sub` is".to_owned(),
            ));
        }
        let mut taken = self.preset.claims.iter();
        if taken.any(|row| row.name == name && row.place != Place::Inner) {
            return Err(fault("is a claim the preset has already".to_owned()));
        }
        let path = match (&extra.claim, &extra.pointer) {
            (Some(claim), None) => vec![claim.clone()],
            (None, Some(pointer)) => pointer_path(pointer)
                .ok_or_else(|| fault(format!("`{pointer}` is no JSON pointer")))?,
            _ => return Err(fault("wants either `claim` or `pointer`".to_owned())),
        };
        let shape = Shape::parse(&extra.r#type).ok_or_else(|| {
            fault(format!("`{}` is no type", extra.r#type))
                .help("string, id, bool, string bool, integer, string integer or set of strings")
        })?;
        if !self
            .config
            .immutable
            .iter()
            .any(|immutable| immutable == name)
        {
            return Ok(Claim {
                name: name.to_owned(),
                path,
                ..Claim::of(&row::fact("", shape))
            });
        }
        let shape = match shape {
            Shape::Id | Shape::Text => Shape::Id,
            Shape::Integer | Shape::StringInteger => shape,
            Shape::Bool | Shape::Path | Shape::StringBool | Shape::Strings | Shape::Tags => {
                return Err(fault(format!(
                    "is `immutable`, and `{}` is no id",
                    extra.r#type
                )));
            }
        };
        Ok(Claim {
            name: name.to_owned(),
            path,
            shape,
            ..Claim::of(&row::id("").required())
        })
    }

    /// Claims of the preset's family (`repo_property_*`) that templates and `only` name.
    pub(super) fn family(&self) -> Vec<Claim> {
        let Some(prefix) = self.preset.family else {
            return Vec::new();
        };
        let templates = [&self.config.id, &self.config.task, &self.config.owner]
            .into_iter()
            .flatten();
        let parsed: Vec<Template> = templates
            .filter_map(|text| Template::parse(text).ok())
            .collect();
        let in_templates = parsed.iter().flat_map(Template::placeholders);
        let named: BTreeSet<&str> = in_templates
            .chain(self.config.only.keys().map(String::as_str))
            .collect();
        let own = |name: &&str| name.starts_with(prefix) && !self.config.extra.contains_key(*name);
        let member = |name: &str| Claim {
            name: name.to_owned(),
            path: vec![name.to_owned()],
            ..Claim::of(&row::text(""))
        };
        named.into_iter().filter(own).map(member).collect()
    }

    pub(super) fn only(
        &self,
        known: &[&Claim],
        url: Option<&str>,
    ) -> Result<Vec<(String, BTreeSet<String>)>, Vec<Fault>> {
        let mut faults = Faults::default();
        let rules = &self.config.only;
        for (name, values) in rules {
            faults.keep(check_only(name, values, known, rules));
        }
        let binds = |name: &String| {
            let claim = find(known, name);
            claim.is_some_and(|claim| claim.nature == Nature::Immutable)
                && !self.preset.is_account(name)
        };
        if self.config.single_tenant && self.preset.is_known() {
            let text = "is of `generic` alone: whose tokens this platform gives out is known";
            faults.push(Fault::new("single_tenant", text));
        } else if self.config.single_tenant && url.is_some_and(Preset::known_to_share) {
            let text = "is not so: anybody can get tokens of this issuer (I01)";
            faults.push(Fault::new("single_tenant", text).help("bind an `immutable` id in `only`"));
        }
        let shared = url.is_some_and(self.preset.shared) && !self.config.single_tenant;
        if shared && !rules.keys().any(binds) {
            let help = match self.preset.tenant() {
                Some(tenant) => format!("such as only = {{ {tenant} = [\"…\"] }}"),
                None => "name an `immutable` claim, or say `single_tenant = true`".to_owned(),
            };
            let text = "is missing: many tenants share this issuer, so an immutable id must be bound (I01)";
            faults.push(Fault::new("only", text).help(help));
        }
        let set = |values: &Vec<String>| values.iter().cloned().collect();
        faults.or(rules
            .iter()
            .map(|(name, values)| (name.clone(), set(values)))
            .collect())
    }

    pub(super) fn id(&self, known: &[&Claim]) -> Result<Template, Fault> {
        let text = self.config.id.as_deref().or(self.preset.id);
        let text = text.ok_or_else(|| Fault::new("id", "is missing: `generic` states its own"))?;
        let Some(template) = self.template("id", Some(text), known)? else {
            return Err(Fault::new("id", "is missing"));
        };
        if self.config.id.is_none() {
            return Ok(template);
        }
        let claims: Vec<&Claim> = template
            .placeholders()
            .filter_map(|name| find(known, name))
            .copied()
            .collect();
        if let Some(loose) = claims.iter().find(|claim| claim.need != Need::Required) {
            return Err(Fault::new(
                "id",
                format!("uses `{}`, which a token may lack (I06)", loose.name),
            ));
        }
        let beside = |id: &str| {
            claims.iter().any(|claim| claim.name == id) || self.config.only.contains_key(id)
        };
        for claim in &claims {
            if let Nature::NameOf(id) = claim.nature
                && !beside(id)
            {
                let text = format!(
                    "uses the name `{}` without `{id}` beside it (I03)",
                    claim.name
                );
                return Err(Fault::new("id", text));
            }
        }
        if !claims.iter().any(|claim| claim.nature == Nature::Immutable) {
            return Err(Fault::new("id", "binds no immutable id (I03)"));
        }
        Ok(template)
    }

    /// A template whose placeholders exist and have one spelling.
    pub(super) fn template(
        &self,
        key: &'static str,
        text: Option<&str>,
        known: &[&Claim],
    ) -> Result<Option<Template>, Fault> {
        let Some(text) = text else { return Ok(None) };
        let template = Template::parse(text).map_err(|text| Fault::new(key, text))?;
        let shape = |name: &str| find(known, name).map(|claim| claim.shape);
        for name in template.placeholders() {
            match shape(name).map(Shape::is_spelled) {
                None => {
                    return Err(Fault::new(
                        key,
                        format!("`{{{name}}}` is no claim of this preset and no `extra`"),
                    ));
                }
                Some(false) => {
                    return Err(Fault::new(
                        key,
                        format!("`{{{name}}}` cannot be a path segment"),
                    ));
                }
                Some(true) => {}
            }
        }
        let is_path = |name: &str| shape(name) == Some(Shape::Path);
        let template = template.with_paths(is_path);
        template.map(Some).map_err(|text| Fault::new(key, text))
    }

    /// I17: a task that ends, and has the same name whenever its caller comes: then its end is the caller's.
    pub(super) fn one_task(&self, task: Option<&Template>, id: Option<&Template>) -> Option<Fault> {
        let (task, id) = task.zip(id).filter(|_| self.config.task_life.is_some())?;
        let in_id = |name: &str| id.placeholders().any(|other| other == name);
        let text = "ends a task that is the identity itself: this long after its first ask a caller is refused for ever (I17)";
        task.placeholders().all(in_id).then(|| {
            let help = "leave it out, or let `task` name a run, a job or an instance";
            Fault::new("task_life", text).help(help)
        })
    }

    pub(super) fn initiator(&self, known: &[&Claim]) -> Result<Option<String>, Fault> {
        let Some(name) = self.config.initiator.as_deref().or(self.preset.initiator) else {
            return Ok(None);
        };
        match find(known, name).map(|claim| claim.shape) {
            Some(Shape::Id | Shape::Integer | Shape::StringInteger) => Ok(Some(name.to_owned())),
            _ => Err(Fault::new(
                "initiator",
                format!("`{name}` is no id of an account"),
            )),
        }
    }
}

fn check_only(
    name: &str,
    values: &[String],
    known: &[&Claim],
    rules: &BTreeMap<String, Vec<String>>,
) -> Result<(), Fault> {
    let key = format!("only.{name}");
    let Some(claim) = find(known, name) else {
        return Err(Fault::new(key, "is no claim of this preset and no `extra`"));
    };
    if matches!(claim.shape, Shape::Strings | Shape::Tags) {
        return Err(Fault::new(key, "is a set, which no single value equals"));
    }
    if values.is_empty() {
        return Err(Fault::new(key, "admits nothing"));
    }
    for value in values {
        check_literal(&key, value)?;
    }
    match claim.nature {
        Nature::NameOf(id) if !rules.contains_key(id) => Err(Fault::new(
            key,
            format!("is a name; bind `{id}` beside it (I03)"),
        )),
        Nature::Fact | Nature::Immutable | Nature::NameOf(_) => Ok(()),
    }
}

/// I13: whether no id of this entry is as short as what some clouds map.
pub(super) fn long_ids(prefix: &str, id: &Template, known: &[&Claim]) -> Option<Fault> {
    let least = |name: &str| find(known, name).map_or(1, |claim| claim.least);
    let length = prefix.len() + id.length(least);
    let text = format!(
        "makes identities of {length} bytes or more; some clouds map {MAPPED} at most (I13)"
    );
    (length > MAPPED).then(|| Fault::new("id", text))
}

fn find<'k, 'c>(known: &'k [&'c Claim], name: &str) -> Option<&'k &'c Claim> {
    known.iter().find(|claim| claim.name == name)
}

/// RFC 6901: `/a~1b/c` leads to `a/b`, then `c`.
fn pointer_path(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/')?;
    let broken = rest.replace("~0", "").replace("~1", "").contains('~');
    let part = |part: &str| part.replace("~1", "/").replace("~0", "~");
    (!broken).then(|| rest.split('/').map(part).collect())
}

/// The longest subject that Google Cloud's workload identity federation maps.
const MAPPED: usize = 127;
