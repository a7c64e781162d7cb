use cedar_policy::{Authorizer, PolicySet as Flat};
use proptest::prelude::{Strategy, prop, prop_assert_eq, proptest};

use super::*;
use crate::fixture::{Ask, NOW, principal, web};
use crate::hearing::{Hearing, Part};
use crate::query::Consent;
use crate::time::Seconds;

const SCHEMA: &str = r#"
entity Folder; entity Doc in [Folder] { owner: Stint::Group, labels: Set<String> } tags Stint::Group;
action read appliesTo { principal: [Stint::Workload, Stint::Agent, Stint::User], resource: [Doc], context: Stint::Ask };
action write in [change] appliesTo { principal: [Stint::Workload], resource: [Doc], context: Stint::Ask };
action change;
"#;

/// The rules of one random set, and the same policies and all entities as Cedar takes them.
fn build(policies: &[String]) -> (Engine, Flat, Flat, Entities) {
    let text = policies.join("\n");
    let ground = Ground::read(SCHEMA).unwrap();
    let entities = serde_json::json!([
        {"uid": {"type": "Stint::Workload", "id": "spiffe://acme.dev/github/123456/456789"},
         "attrs": {"owner": {"type": "Stint::Group", "id": "g1"}}, "parents": [{"type": "Stint::Group", "id": "g0"}]},
        {"uid": {"type": "Stint::Group", "id": "g0"}, "attrs": {}, "parents": [{"type": "Stint::Group", "id": "g2"}]},
        {"uid": {"type": "Doc", "id": "d0"}, "attrs": {"owner": {"type": "Stint::Group", "id": "g0"}, "labels": ["pii"]},
         "tags": {"team": {"type": "Stint::Group", "id": "g0"}}, "parents": [{"type": "Folder", "id": "f0"}]},
        {"uid": {"type": "Doc", "id": "d1"}, "attrs": {"owner": {"type": "Stint::Group", "id": "g1"}, "labels": []}, "parents": []},
    ]);
    let entities = entities.to_string();
    let all = Entities::from_json_str(&entities, Some(&ground.schema)).unwrap();
    let store = ground.entities(&entities).unwrap();
    let source = Source::read(&text).unwrap();
    let place = |text| crate::load::Text {
        path: "random.cedar",
        text,
    };
    let mut findings = Vec::new();
    let rules = source
        .parsed()
        .map(|(parsed, at)| crate::load::rule(parsed, place(&text), at, &mut findings))
        .collect();
    let flat: Flat = text.parse().unwrap();
    let of = |effect| {
        let policies = flat.policies().filter(|policy| policy.effect() == effect);
        Flat::from_policies(
            policies.map(|policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap()))),
        )
        .unwrap()
    };
    let (forbids, permits) = (
        of(cedar_policy::Effect::Forbid),
        of(cedar_policy::Effect::Permit),
    );
    (
        ground.compile(store, vec![(source, rules)]),
        forbids,
        permits,
        all,
    )
}

fn policies() -> impl Strategy<Value = Vec<String>> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal is Stint::Workload",
        "principal is Stint::Agent",
        r#"principal == Stint::Workload::"spiffe://acme.dev/github/123456/456789""#,
        r#"principal in Stint::Group::"g0""#,
        r#"principal in Stint::Group::"g2""#,
        r#"principal is Stint::Workload in Stint::Group::"login""#,
    ]);
    let action = prop::sample::select(vec![
        "action",
        r#"action == Action::"read""#,
        r#"action in [Action::"read", Action::"write"]"#,
        r#"action in Action::"change""#,
        r#"action == Stint::Action::"delegate""#,
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource is Doc",
        r#"resource == Doc::"d0""#,
        r#"resource in Folder::"f0""#,
        r#"resource == Doc::"d1""#,
        r#"resource is Stint::Agent in Stint::Group::"g0""#,
        r#"resource in Stint::Group::"g2""#,
    ]);
    let condition = prop::sample::select(vec![
        r#"context has github && context.github.repository_id == "456789""#,
        r#"context has github && context.github.repository_id == "0""#,
        r#""refs/heads/main" == context.caller.issuer || context has github"#,
        r#"context has github.ref && context.github.ref == "refs/heads/main""#,
        r#"context.caller.issuer == "github""#,
        r#"context.origin has project && context.origin.project == "p""#,
        "context.task.age_s * 9000000000000000000 > 5",
        "context.task.age_s * 9000000000000000000 > 5 && context.caller.issuer == \"other\"",
        r#"resource.labels.contains("pii")"#,
        r#"resource is Doc && resource.hasTag("team") && resource.getTag("team") in Stint::Group::"g2""#,
        r#"resource in Stint::Group::"login""#,
        "principal has owner",
        r#"principal has owner && principal.owner in Stint::Group::"g1""#,
        r#"!(context has github)"#,
        r#"context.history.live.contains("read")"#,
    ]);
    let clause = (prop::bool::weighted(0.8), condition)
        .prop_map(|(when, body)| format!("{} {{ {body} }}", if when { "when" } else { "unless" }));
    let clauses = prop::collection::vec(clause, 0..4).prop_map(|clauses| clauses.join(" "));
    let policy = (prop::bool::ANY, principal, action, resource, clauses);
    prop::collection::vec(policy, 1..12).prop_map(|policies| {
        let text = |(number, (permit, principal, action, resource, clauses)): (
            usize,
            (bool, &str, &str, &str, String),
        )| {
            let effect = if permit { "permit" } else { "forbid" };
            format!(r#"@id("p{number}") {effect} ({principal}, {action}, {resource}) {clauses};"#)
        };
        policies.into_iter().enumerate().map(text).collect()
    })
}

/// Ids that Cedar finds satisfied over the whole set and all entities; none on any error.
fn flat(case: &Part<'_>, policies: &Flat, all: &Entities) -> Option<BTreeSet<String>> {
    let slice = &case.case.entities;
    let left_out = all
        .iter()
        .filter(|entity| slice.get(&entity.uid()).is_none());
    let entities = slice.clone().add_entities(left_out.cloned(), None).unwrap();
    let response = Authorizer::new().is_authorized(&case.request, policies, &entities);
    let errors = response.diagnostics().errors().count();
    (errors == 0).then(|| {
        response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect()
    })
}

fn indexed(engine: &Engine, part: &Part<'_>, candidates: &[Place]) -> Option<BTreeSet<String>> {
    let satisfied = part.case.satisfied(&part.request, candidates).ok()?;
    Some(
        satisfied
            .into_iter()
            .map(|place| engine.rules[place].id.clone())
            .collect(),
    )
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(192))]
    #[test]
    fn the_index_answers_as_cedar_does_over_the_whole_set(
        policies in policies(), write: bool, doc in 0..2, listed: bool, login: bool, github: bool, age in 0u32..4,
        delegated: bool,
    ) {
        let (engine, forbids, permits, all) = build(&policies);
        let mut ask = Ask::new(if write && !delegated { "write" } else { "read" }, &format!("Doc::d{doc}"));
        ask.now = NOW.plus(Seconds::new(age));
        if !github {
            ask.caller.claims.platform = None;
        }
        if !listed {
            ask.caller.id = "spiffe://acme.dev/github/1/2".parse().unwrap();
        }
        if delegated {
            ask.caller = principal(Kind::Agent, "agent/helper");
            ask.subject = Some(principal(Kind::User, "user/kim"));
            ask.consent = Some(Consent::Policy);
        }
        if login {
            ask.caller.groups = ["login".to_owned(), "g0".to_owned()].into();
        }
        let query = ask.query();
        let hearing = Hearing::open(&engine, &query).unwrap();
        for part in &hearing.parts {
            prop_assert_eq!(indexed(&engine, part, &part.forbids), flat(part, &forbids, &all), "forbids of {:#?}", policies);
            prop_assert_eq!(indexed(&engine, part, &part.permits), flat(part, &permits, &all), "permits of {:#?}", policies);
        }
    }
}

#[test]
fn a_request_meets_few_of_many_policies() {
    let mut policies: Vec<String> = (0..500)
        .map(|n| format!(
            r#"@id("p{n}") permit (principal is Stint::Workload, action == Action::"read", resource in Folder::"f0")
               when {{ context has github && context.github.repository_id == "{n}" }};"#
        ))
        .collect();
    policies.push(r#"@id("mine") permit (principal is Stint::Workload, action, resource) when { context has github.ref && context.github.repository_id == "456789" };"#.into());
    let (engine, _, _, _) = build(&policies);
    let ask = Ask {
        caller: web("refs/heads/main"),
        ..Ask::new("read", "Doc::d0")
    };
    let query = ask.query();
    let hearing = Hearing::open(&engine, &query).unwrap();
    let met: Vec<&str> = hearing.parts[0]
        .permits
        .iter()
        .map(|place| engine.rules[*place].id.as_str())
        .collect();
    assert_eq!(met, ["mine"]);
}

#[test]
fn whatever_cedar_takes_is_in_the_store() {
    let ground = Ground::read(SCHEMA).unwrap();
    let owner = r#"{"__entity": {"type": "Stint::Group", "id": "g1"}, "more": 1}"#;
    let text = format!(
        r#"[{{"uid": {{"type": "Doc", "id": "d0", "more": 1}}, "attrs": {{"owner": {owner}, "labels": []}}, "parents": []}}]"#
    );
    match ground.entities(&text) {
        Ok(store) => {
            let listed = store.get(&Uid::new("Doc", "d0").unwrap()).unwrap();
            assert_eq!(listed.links["owner"].id(), "g1");
        }
        Err(refused) => assert_eq!(refused.rule, "P03"),
    }
    for unnamed in ["", "a\\u0007b"] {
        let doc = |id: &str, owner: &str| {
            format!(
                r#"[{{"uid": {{"type": "Doc", "id": "{id}"}}, "attrs": {{"owner": {{"type": "Stint::Group", "id": "{owner}"}}, "labels": []}}, "parents": []}}]"#
            )
        };
        assert!(ground.entities(&doc("d0", "g1")).is_ok());
        for text in [doc(unnamed, "g1"), doc("d0", unnamed)] {
            let refused = ground.entities(&text).unwrap_err();
            assert!(refused.text.contains("control characters"), "{refused:?}");
        }
    }
}

#[test]
fn what_a_tag_names_is_in_the_slice() {
    let forbid = r#"@id("p0") forbid (principal, action, resource is Doc)
        when { resource.hasTag("team") && resource.getTag("team") in Stint::Group::"g2" };"#;
    let (engine, ..) = build(&[forbid.to_owned()]);
    let ask = Ask::new("read", "Doc::d0");
    let query = ask.query();
    let hearing = Hearing::open(&engine, &query).unwrap();
    let part = &hearing.parts[0];
    assert_eq!(
        part.case.satisfied(&part.request, &part.forbids).unwrap(),
        [0]
    );
}

#[test]
fn consent_is_asked_for_the_agent_that_calls_groups_of_its_login_included() {
    let forbid = r#"@id("p0") forbid (principal, action == Stint::Action::"delegate", resource in Stint::Group::"g2");"#;
    let (engine, ..) = build(&[forbid.to_owned()]);
    let mut ask = Ask::new("read", "Doc::d0");
    ask.caller = principal(Kind::Agent, "agent/helper");
    ask.caller.groups = ["g0".to_owned()].into();
    ask.subject = Some(principal(Kind::User, "user/kim"));
    ask.consent = Some(Consent::Policy);
    let query = ask.query();
    let hearing = Hearing::open(&engine, &query).unwrap();
    let consent = hearing.parts.iter().find(|part| part.is_consent).unwrap();
    assert_eq!(
        consent
            .case
            .satisfied(&consent.request, &consent.forbids)
            .unwrap(),
        [0]
    );
}
