//! What can be asked, by whom, with what approval and cap: a set in plain words, for people and agents that look for what
//! they may do. It says what is written, never what an ask would come to; what a condition expects stays its owner's.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::annotation::Annotations;
use crate::engine::Engine;
use crate::query::{Binding, CredentialKind};
use crate::rule::{Effect, GROUP, Rule, Scope};
use crate::set::PolicySet;
use crate::uid::Uid;

/// One action, and under which rules it can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Its canonical name: `Action::"deploy"`.
    pub action: String,
    /// `@label`, else the bare name.
    pub label: String,
    /// `@doc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// Who can ask at all: `Workload`, `Agent`, `User`.
    pub callers: Vec<String>,
    /// What it can be asked of.
    pub resources: Vec<ResourceOffer>,
    /// Whether it takes an `input`.
    pub input: bool,
    /// Policies that permit it; one of them has to hold. Without any, every ask is denied.
    pub permits: Vec<PermitOffer>,
    /// Approvals it waits for; all of those that fit.
    pub approvals: Vec<ApprovalOffer>,
    /// Policies that forbid it, whatever permits it.
    pub forbids: Vec<ForbidOffer>,
}

/// A type of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceOffer {
    /// `Environment`.
    pub name: String,
    /// `@label`, else the name.
    pub label: String,
    /// `@doc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// Whether any id will do.
    pub open: bool,
    /// Those that are listed: `Environment::"prod/web"`.
    pub listed: Vec<String>,
}

/// A policy that permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PermitOffer {
    /// Its id.
    pub policy: String,
    /// For whom, in words.
    pub who: String,
    /// On what, in words.
    pub on: String,
    /// Names of what has to fit besides; not what is expected there.
    pub conditions: Vec<String>,
    /// Longest life of a credential, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl_s: Option<u32>,
    /// Kinds of credential; empty: any.
    pub credentials: Vec<&'static str>,
    /// How the credential must be bound; empty: it need not be.
    pub bind: Vec<&'static str>,
    /// When it ends by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How to reach them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// What to do where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A policy that wants people to say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApprovalOffer {
    /// Its id.
    pub policy: String,
    /// On what, in words.
    pub on: String,
    /// `Group::"sre"`, or `resource.owner`.
    pub approvers: String,
    /// How many of them.
    pub quorum: u8,
    /// Names of what has to fit for it to be asked at all.
    pub conditions: Vec<String>,
    /// How long an approval lasts, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_ttl_s: Option<u32>,
    /// Whether one grant uses it up.
    pub single_use: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A policy that forbids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForbidOffer {
    /// Its id.
    pub policy: String,
    /// On what, in words.
    pub on: String,
    /// Names of what it reads.
    pub conditions: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PolicySet {
    /// What can be asked of this set: the operator's actions, and those of Stint's own that some policy permits; by name.
    #[must_use]
    pub fn catalogue(&self) -> Vec<Offer> {
        let engine = self.engine();
        let groups = engine.action_groups();
        let offers = engine.declared.actions.iter().filter_map(|(uid, action)| {
            let alone = BTreeSet::from([uid.clone()]);
            let lineage = groups.get(uid).unwrap_or(&alone);
            let offer = offer(engine, (uid, action), lineage);
            (!action.ours || !offer.permits.is_empty()).then_some(offer)
        });
        offers.collect()
    }
}

fn offer(
    engine: &Engine,
    (uid, action): (&Uid, &crate::engine::schema::DeclaredAction),
    lineage: &BTreeSet<Uid>,
) -> Offer {
    let pairs = engine.pairs_of(uid);
    let callers: BTreeSet<&str> = pairs.iter().map(|(caller, _)| caller.as_str()).collect();
    let types: BTreeSet<&str> = pairs
        .iter()
        .map(|(_, resource)| resource.as_str())
        .collect();
    let mut offer = Offer {
        action: uid.to_string(),
        label: word(&action.annotations, "label").unwrap_or_else(|| uid.id().to_owned()),
        doc: word(&action.annotations, "doc"),
        callers: callers.iter().map(|name| bare(name).to_owned()).collect(),
        resources: types.iter().map(|name| resource(engine, name)).collect(),
        input: action.input,
        permits: Vec::new(),
        approvals: Vec::new(),
        forbids: Vec::new(),
    };
    let is_about = |rule: &Rule| {
        let named = rule.actions.as_ref();
        named.is_none_or(|actions| actions.iter().any(|wanted| lineage.contains(wanted)))
    };
    let fits = |rule: &Rule| {
        let principal = callers.iter().any(|name| rule.principal.fits_type(name));
        principal && reaches(engine, &rule.resource, &types)
    };
    let rules = engine.rules.iter().zip(&engine.conditions);
    for (rule, conditions) in rules.filter(|(rule, _)| is_about(rule) && fits(rule)) {
        let said = &rule.annotations;
        let on = scope(engine, &rule.resource, "any resource");
        let in_scope = ["principal", "resource"];
        let names = conditions.iter().map(|condition| condition.name.clone());
        let names: BTreeSet<String> = names.filter(|name| !in_scope.contains(&&**name)).collect();
        let mut conditions: Vec<String> = names.into_iter().collect();
        match (rule.effect, &rule.gate) {
            (Effect::Permit, _) => offer.permits.push(permit(engine, rule, on, conditions)),
            (Effect::Forbid, Some(gate)) => {
                conditions.retain(|name| name != "approvals");
                offer.approvals.push(ApprovalOffer {
                    policy: rule.id.clone(),
                    on,
                    approvers: gate.by.to_string(),
                    quorum: gate.votes,
                    conditions,
                    approval_ttl_s: said.approval_ttl.map(|ttl| ttl.as_u32()),
                    single_use: said.single_use,
                    reason: said.reason.clone(),
                });
            }
            (Effect::Forbid, None) => offer.forbids.push(ForbidOffer {
                policy: rule.id.clone(),
                on,
                conditions,
                reason: said.reason.clone(),
            }),
        }
    }
    offer
}

/// Whether a resource of these types can be in the scope: itself, or as what is listed beneath it.
fn reaches(engine: &Engine, scope: &Scope, types: &BTreeSet<&str>) -> bool {
    if !types.iter().any(|name| scope.fits_type(name)) {
        return false;
    }
    let (Scope::In(top) | Scope::IsIn(_, top)) = scope else {
        return true;
    };
    let of_these = |uid: &Uid| types.contains(uid.type_name());
    let mut listed = engine.store.iter();
    of_these(top) || listed.any(|(uid, it)| of_these(uid) && it.ancestors.contains(top))
}

fn permit(engine: &Engine, rule: &Rule, on: String, conditions: Vec<String>) -> PermitOffer {
    let said: &Annotations = &rule.annotations;
    let kinds = said.credential.iter().flatten();
    let bind = said.bind.iter().flatten();
    PermitOffer {
        policy: rule.id.clone(),
        who: scope(engine, &rule.principal, "anybody"),
        on,
        conditions,
        max_ttl_s: said.max_ttl.map(|ttl| ttl.as_u32()),
        credentials: kinds.copied().map(CredentialKind::as_str).collect(),
        bind: bind.copied().map(Binding::as_str).collect(),
        expires: said.expires.map(|end| end.rfc3339()),
        owner: said.owner.clone(),
        contact: said.contact.clone(),
        advice: said.advice.clone(),
    }
}

fn resource(engine: &Engine, name: &str) -> ResourceOffer {
    let declared = engine.declared.types.get(name);
    let listed = engine.store.iter().map(|(uid, _)| uid);
    let listed = listed.filter(|uid| uid.type_name() == name);
    let mut listed: Vec<String> = listed.map(ToString::to_string).collect();
    listed.sort();
    ResourceOffer {
        name: name.to_owned(),
        label: label(engine, name),
        doc: declared.and_then(|declared| word(&declared.annotations, "doc")),
        open: declared.is_some_and(|declared| declared.open),
        listed,
    }
}

/// A scope as one would say it.
fn scope(engine: &Engine, scope: &Scope, any: &str) -> String {
    match scope {
        Scope::Any => any.to_owned(),
        Scope::Eq(uid) => one(engine, uid),
        Scope::In(uid) | Scope::IsIn(_, uid) if uid.type_name() == GROUP => {
            format!("members of {}", uid.id())
        }
        Scope::In(uid) => format!("{} and what lies in it", one(engine, uid)),
        Scope::Is(name) => format!("any {}", label(engine, name)),
        Scope::IsIn(name, uid) => format!("any {} in {}", label(engine, name), one(engine, uid)),
    }
}

fn one(engine: &Engine, uid: &Uid) -> String {
    format!("{} {}", label(engine, uid.type_name()), uid.id())
}

fn label(engine: &Engine, name: &str) -> String {
    let declared = engine.declared.types.get(name);
    let said = declared.and_then(|declared| word(&declared.annotations, "label"));
    said.unwrap_or_else(|| bare(name).to_lowercase())
}

fn word(annotations: &BTreeMap<String, String>, name: &str) -> Option<String> {
    annotations
        .get(name)
        .filter(|text| !text.is_empty())
        .cloned()
}

/// `Workload` of `Stint::Workload`.
fn bare(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use crate::set::{PolicySet, sample};

    #[test]
    fn says_what_can_be_asked_with_what_approval_and_cap() {
        let set = PolicySet::from_files(sample()).unwrap();
        let offers = set.catalogue();
        let names: Vec<_> = offers.iter().map(|offer| offer.action.as_str()).collect();
        assert_eq!(
            names,
            [
                "Action::\"call\"",
                "Action::\"connect\"",
                "Action::\"deploy\"",
                "Action::\"read\"",
            ]
        );
        let deploy = offers
            .iter()
            .find(|it| it.action.contains("deploy"))
            .unwrap();
        assert_eq!(
            (&*deploy.label, &*deploy.callers),
            ("deploy to", &["Workload".to_owned()][..])
        );
        let environment = deploy.resources.first().unwrap();
        assert!(
            environment
                .listed
                .contains(&"Environment::\"prod/web\"".to_owned())
        );
        let permits: Vec<_> = deploy
            .permits
            .iter()
            .map(|it| (&*it.policy, it.max_ttl_s))
            .collect();
        assert!(
            permits.contains(&("deploy-prod-from-main", Some(900))),
            "{permits:?}"
        );
        let main = deploy
            .permits
            .iter()
            .find(|it| it.policy == "deploy-prod-from-main");
        let main = main.unwrap();
        assert_eq!(main.on, "environment prod and what lies in it");
        assert_eq!(main.conditions, ["ref", "repository_id"]);
        assert_eq!(main.credentials, ["x509"]);
        let gate = deploy.approvals.first().unwrap();
        assert_eq!(
            (&*gate.policy, &*gate.approvers),
            ("prod-needs-sre", "Group::\"sre\"")
        );
        let forbids: Vec<_> = deploy.forbids.iter().map(|it| &*it.policy).collect();
        assert_eq!(forbids, ["prod-is-owned"]);
        let read = offers.iter().find(|it| it.action.contains("read")).unwrap();
        assert_eq!(
            read.permits.first().unwrap().who,
            "members of support-agents"
        );
    }

    #[test]
    fn tells_no_expected_value() {
        let set = PolicySet::from_files(sample()).unwrap();
        let told = serde_json::to_string(&set.catalogue()).unwrap();
        for secret in ["456789", "refs/heads/main", "14ee3fa4"] {
            assert!(!told.contains(secret), "{secret}");
        }
    }
}
