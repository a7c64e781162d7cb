//! What a set asks of claims: which its policies read, and which the operator's `type Extra` declares. A set knows no
//! issuers; whoever does holds the two against each other (POLICY.md §6, P09 and P56; IDENTITY.md §3, I15).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::engine::condition::PLATFORMS;
use crate::lint::Finding;
use crate::lint::reading::is_caller_id;
use crate::rule::{Effect, Rule};
use crate::set::PolicySet;

/// One member of `type Extra`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraType {
    /// `Bool`, `Long`, `String`, `Set<String>`, or another type as the schema names it, which no claim has.
    pub type_name: String,
    /// Whether every caller must have it: declared without `?`.
    pub required: bool,
}

/// What the tokens of the configured issuers can fill: members of the context by record, `github` to `ref`.
pub type Yields = BTreeMap<String, BTreeSet<String>>;

impl PolicySet {
    /// What `type Extra` of the operator's schema declares; empty without one. `None` if it is no plain record, and its
    /// members are not known here.
    #[must_use]
    pub fn extra(&self) -> Option<&BTreeMap<String, ExtraType>> {
        self.engine().declared.extra.as_ref()
    }

    /// P56: policies that read a claim no configured issuer yields, each claim once a policy.
    #[must_use]
    pub fn unfilled(&self, yields: &Yields) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in &self.engine().rules {
            let reads: BTreeSet<Vec<String>> = rule.reads().collect();
            for path in reads {
                let [context, record, member, ..] = path.as_slice() else {
                    continue;
                };
                let claims = PLATFORMS.contains(&record.as_str())
                    || ["extra", "origin"].contains(&record.as_str());
                let filled = yields
                    .get(record)
                    .is_some_and(|members| members.contains(member));
                if context == "context" && claims && !filled {
                    let said = format!(
                        "`context.{record}.{member}`: no token of a configured issuer says it"
                    );
                    findings.push(Finding::error("P56", rule.place.clone(), said));
                }
            }
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

impl PolicySet {
    /// P09: permits that decide by an id which callers of more than one issuer can have, as `shared` says, and do not ask
    /// whose it is: each issuer counts its projects from 1.
    #[must_use]
    pub fn unparted(&self, shared: &Yields) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in &self.engine().rules {
            let reads: BTreeSet<Vec<String>> = rule.reads().collect();
            if knows_its_issuer(rule, &reads, shared) {
                continue;
            }
            for path in reads {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let [_, record, member] = path[..] else {
                    continue;
                };
                let many = shared.get(record).is_some_and(|all| all.contains(member));
                if many && is_caller_id(&path) {
                    let said = format!(
                        "`context.{record}.{member}` is an id that several issuers give; say whose: `context.caller.issuer == \"…\"`"
                    );
                    findings.push(Finding::error("P09", rule.place.clone(), said));
                }
            }
        }
        findings.sort();
        findings
    }
}

/// Whether a rule is about the callers of one issuer: it forbids, names its principal or the issuer, or reads claims of a
/// platform that one issuer alone has.
fn knows_its_issuer(rule: &Rule, reads: &BTreeSet<Vec<String>>, shared: &Yields) -> bool {
    let own = |path: &Vec<String>| match path.as_slice() {
        [_, caller, issuer] if caller == "caller" => issuer == "issuer",
        [_, record, ..] => PLATFORMS.contains(&record.as_str()) && !shared.contains_key(record),
        _ => false,
    };
    rule.effect == Effect::Forbid || rule.principal.pin().is_some() || reads.iter().any(own)
}

/// Reads `type Extra` out of the schema's JSON form.
pub(crate) fn extra(theirs: &Json) -> Option<BTreeMap<String, ExtraType>> {
    let Some(declared) = theirs.pointer("//commonTypes/Extra") else {
        return Some(BTreeMap::new());
    };
    let members = declared.get("attributes")?.as_object()?.iter();
    let member = |(name, json): (&String, &Json)| {
        let required = json.get("required").and_then(Json::as_bool);
        let declared = ExtraType {
            type_name: type_name(json),
            required: required.unwrap_or(true),
        };
        (name.clone(), declared)
    };
    Some(members.map(member).collect())
}

/// `String` stands there as a type of its own or as a name, with or without Cedar's namespace.
fn type_name(json: &Json) -> String {
    let text = |member: &str| json.get(member).and_then(Json::as_str).unwrap_or_default();
    let name = match text("type") {
        "EntityOrCommon" => text("name"),
        "Set" => {
            let element = json.get("element").map(type_name).unwrap_or_default();
            return format!("Set<{element}>");
        }
        other => other,
    };
    match name.strip_prefix("__cedar::").unwrap_or(name) {
        "Boolean" => "Bool".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::{Files, sample};

    /// The sample without its cases, whose callers lack what a changed schema may want of all.
    fn set(change: impl FnOnce(&mut Files)) -> PolicySet {
        let sample = sample();
        let kept = sample
            .iter()
            .filter(|(path, _)| !path.starts_with("tests/"));
        let mut files: Files = kept.collect();
        change(&mut files);
        PolicySet::from_files(files).unwrap()
    }

    fn yields(members: &[(&str, &[&str])]) -> Yields {
        let texts = |members: &[&str]| members.iter().map(|text| (*text).to_owned()).collect();
        members
            .iter()
            .map(|(record, members)| ((*record).to_owned(), texts(members)))
            .collect()
    }

    #[test]
    fn extra_is_read_with_its_types() {
        assert_eq!(set(|_| ()).extra(), Some(&BTreeMap::new()));
        let declared = set(|files| {
            let schema = String::from_utf8(files.get("schema.cedarschema").unwrap().to_vec());
            let extra = "type Team = String;\n\
                 type Extra = { team?: String, on: Bool, n?: Long, roles?: Set<String>, by?: Team };\n";
            files.insert("schema.cedarschema", format!("{extra}{}", schema.unwrap()));
        });
        let extra = declared.extra().unwrap();
        let told: Vec<_> = extra
            .iter()
            .map(|(name, known)| (name.as_str(), known.type_name.as_str(), known.required))
            .collect();
        assert_eq!(
            told,
            [
                ("by", "Team", false),
                ("n", "Long", false),
                ("on", "Bool", true),
                ("roles", "Set<String>", false),
                ("team", "String", false),
            ]
        );
    }

    /// What is told of a permit with this condition, where two issuers share GitHub's ids and the words of `origin`.
    fn unparted(condition: &str) -> Vec<String> {
        let permit = format!(
            "@id(\"it\") @owner(\"Group::\\\"release\\\"\") @max_ttl(\"30m\") @credential(\"x509\")\n\
             permit (principal is Stint::Workload, action == Action::\"deploy\", resource in Environment::\"staging\")\n\
             when {{ {condition} }};\n"
        );
        let set = set(|files| {
            files.insert("it.cedar", permit);
        });
        let shared = yields(&[("github", &["repository_id"]), ("origin", &["project"])]);
        let findings = set.unparted(&shared);
        assert!(findings.iter().all(Finding::is_error));
        let ours = findings
            .iter()
            .filter(|finding| finding.file() == "it.cedar");
        ours.map(ToString::to_string).collect()
    }

    #[test]
    fn an_id_that_two_issuers_give_wants_its_issuer() {
        let github = "context has github && context.github.repository_id == \"74\"";
        let told = unparted(github);
        assert!(
            matches!(&*told, [one] if one.contains("P09") && one.contains("github.repository_id")),
            "{told:?}"
        );
        let told = unparted("context.origin has project && context.origin.project == \"74\"");
        assert!(
            matches!(&*told, [one] if one.contains("origin.project")),
            "{told:?}"
        );
        for parted in [
            format!("context.caller.issuer == \"github\" && {github}"),
            "context has gitlab && context.origin has project && context.origin.project == \"74\""
                .to_owned(),
            "context has gitlab && context.gitlab.project_id == \"74\"".to_owned(),
        ] {
            assert_eq!(unparted(&parted), [""; 0], "{parted}");
        }
        assert_eq!(set(|_| ()).unparted(&Yields::new()), []);
    }

    #[test]
    fn a_claim_that_nobody_yields_is_told_with_its_place() {
        let all = [
            ("github", &["ref", "repository_id"][..]),
            ("kubernetes", &["serviceaccount_uid"][..]),
        ];
        assert_eq!(set(|_| ()).unfilled(&yields(&all)), []);
        let findings = set(|_| ()).unfilled(&yields(&all[..1]));
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert_eq!((finding.rule(), finding.file()), ("P56", "data.cedar"));
        assert!(!finding.is_error());
        assert!(
            finding
                .text()
                .contains("`context.kubernetes.serviceaccount_uid`"),
            "{finding}"
        );
    }
}
