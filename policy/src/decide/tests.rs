use std::collections::BTreeSet;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::fixture::{Ask, NOW, principal, sample_set, sample_with, web, yes};
use crate::query::{AskDigest, Binding, Ceiling, Consent, CredentialKind, Input};
use crate::uid::Resources;

fn limits(set: &PolicySet, ask: &Ask) -> Limits {
    match set.judge(&ask.query()) {
        Verdict::Permit(limits) => limits,
        other => panic!("{other:?}"),
    }
}

fn denied_for(set: &PolicySet, ask: &Ask) -> (Why, Detail) {
    match set.judge(&ask.query()) {
        Verdict::Deny(reasons) => (reasons.why(), reasons.detail()),
        other => panic!("{other:?}"),
    }
}

fn held(set: &PolicySet, ask: &Ask) -> Quorum {
    match set.judge(&ask.query()) {
        Verdict::Hold(quorum) => quorum,
        other => panic!("{other:?}"),
    }
}

fn ceiling(name: &str, seconds: u32) -> Ceiling {
    Ceiling {
        name: name.to_owned(),
        not_after: NOW.plus(Seconds::new(seconds)),
    }
}

#[test]
fn a_permit_becomes_a_grant_that_says_what_was_asked() {
    let (set, ask) = (sample_set(), Ask::new("deploy", "Environment::staging/web"));
    let id = GrantId::from_bytes([3; 16]);
    let Decision::Permit(grant) = set.decide(&ask.query(), id) else {
        panic!("no permit");
    };
    assert_eq!(grant.id(), id);
    assert_eq!(grant.caller(), &ask.caller.id);
    assert_eq!(grant.task(), "github:456789/322");
    assert_eq!(grant.action().to_string(), r#"Action::"deploy""#);
    assert_eq!(grant.policies(), ["deploy-staging"]);
    assert_eq!(grant.not_after(), NOW.plus(Seconds::new(600)));
    assert_eq!(grant.pol(), set.hash());
    assert!(grant.shortened_by().is_empty() && !grant.reads_history());
}

#[test]
fn the_least_bound_ends_a_life_and_each_bound_below_the_ask_is_named() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    ask.want.ttl = Seconds::new(3600);
    ask.ceilings = vec![
        ceiling("task", 2_000),
        ceiling("profile", 7_200),
        ceiling("issuing_ca", 900),
    ];
    let limits = limits(&set, &ask);
    assert_eq!(limits.not_after(), NOW.plus(Seconds::new(900)));
    assert_eq!(
        limits.shortened_by(),
        ["max_ttl:deploy-staging", "task", "issuing_ca"]
    );
    ask.ceilings = vec![ceiling("task", 29)];
    assert_eq!(denied_for(&set, &ask), (Why::Limit, Detail::Life));
    ask.ceilings = vec![ceiling("task", 30)];
    assert!(matches!(set.judge(&ask.query()), Verdict::Permit(_)));
}

#[test]
fn kind_and_proof_must_be_among_those_allowed() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::prod/web");
    (ask.want.kind, ask.want.bind) = (CredentialKind::Jwt, Binding::Dpop);
    assert_eq!(denied_for(&set, &ask), (Why::Limit, Detail::Kind));
    let mut ask = Ask::new("call", "External::mailer");
    ask.caller = principal(Kind::Agent, "agent/helper");
    ask.subject = Some(crate::query::Principal {
        groups: ["support".to_owned()].into(),
        ..principal(Kind::User, "user/kim")
    });
    ask.consent = Some(Consent::MayAct);
    (ask.want.kind, ask.want.bind) = (CredentialKind::Jwt, Binding::Bearer);
    assert_eq!(denied_for(&set, &ask), (Why::Limit, Detail::ProofRequired));
    ask.want.bind = Binding::Dpop;
    assert_eq!(
        limits(&set, &ask).policies(),
        ["support-agents-work", "support-people-work"]
    );
    assert!(limits(&set, &ask).reads_history());
    ask.subject = None;
    assert_eq!(denied_for(&set, &ask), (Why::Delegation, Detail::Chain));
    ask.consent = None;
    assert_eq!(denied_for(&set, &ask), (Why::Policy, Detail::Forbidden));
}

#[test]
fn consent_by_policy_is_asked_of_policy() {
    let mut ask = Ask::new("call", "External::mailer");
    ask.caller = principal(Kind::Agent, "agent/helper");
    ask.subject = Some(crate::query::Principal {
        groups: ["support".to_owned()].into(),
        ..principal(Kind::User, "user/kim")
    });
    ask.consent = Some(Consent::Policy);
    (ask.want.kind, ask.want.bind) = (CredentialKind::Jwt, Binding::Dpop);
    assert_eq!(
        denied_for(&sample_set(), &ask),
        (Why::Delegation, Detail::Consent)
    );
    let delegate = r#"@id("kim-lets-helper") permit (principal == Stint::User::"spiffe://acme.dev/user/kim",
        action == Stint::Action::"delegate", resource == Stint::Agent::"spiffe://acme.dev/agent/helper");"#;
    let set = PolicySet::from_files(sample_with("consent.cedar", delegate)).unwrap();
    assert!(
        limits(&set, &ask)
            .policies()
            .contains(&"kim-lets-helper".to_owned())
    );
}

#[test]
fn what_does_not_fit_is_denied_unheard() {
    let set = sample_set();
    let check = |ask: Ask, expected| assert_eq!(denied_for(&set, &ask), expected);
    check(
        Ask::new("destroy", "Environment::prod"),
        (Why::Policy, Detail::Undeclared),
    );
    check(
        Ask::new("deploy", "Planet::earth"),
        (Why::Policy, Detail::Undeclared),
    );
    check(
        Ask::new("deploy", "Environment::prod/wed"),
        (Why::Policy, Detail::UnknownResource),
    );
    check(
        Ask::new("deploy", "Table::shop/orders"),
        (Why::Policy, Detail::NotForYou),
    );
    check(
        Ask {
            caller: principal(Kind::Agent, "agent/helper"),
            ..Ask::new("deploy", "Environment::prod/web")
        },
        (Why::Policy, Detail::NotForYou),
    );
    let input = Some(Input::new(serde_json::Map::new()));
    check(
        Ask {
            input,
            ..Ask::new("deploy", "Environment::prod/web")
        },
        (Why::Policy, Detail::Input),
    );
    for (subject, consent) in [
        (None, None),
        (
            Some(principal(Kind::Workload, "workload/x")),
            Some(Consent::MayAct),
        ),
    ] {
        let actors = vec![principal(Kind::Agent, "agent/a")];
        let chained = Ask {
            actors,
            subject,
            consent,
            ..Ask::new("deploy", "Environment::staging/web")
        };
        check(chained, (Why::Delegation, Detail::Chain));
    }
    let mut ownerless = Ask::new("deploy", "Environment::staging/web");
    ownerless.caller.owner = Some("a\nb".to_owned());
    check(ownerless, (Why::PolicyError, Detail::Evaluation));
    let mut nobody = Ask::new("deploy", "Environment::staging/web");
    nobody.task.initiator = Some(String::new());
    check(nobody, (Why::PolicyError, Detail::Evaluation));
    let mut acted = Ask::new("call", "External::mailer");
    acted.caller = principal(Kind::Agent, "agent/helper");
    acted.subject = Some(principal(Kind::User, "user/kim"));
    acted.consent = Some(Consent::MayAct);
    acted.actors = vec![crate::query::Principal {
        groups: [String::new()].into(),
        ..principal(Kind::Agent, "agent/a")
    }];
    check(acted, (Why::PolicyError, Detail::Evaluation));
    let twice = vec![
        principal(Kind::Agent, "agent/a"),
        principal(Kind::Agent, "agent/a"),
    ];
    check(
        Ask {
            actors: twice,
            ..Ask::new("deploy", "Environment::prod/web")
        },
        (Why::Delegation, Detail::Chain),
    );
    let mut strange = Ask::new("deploy", "Environment::staging/web");
    strange
        .caller
        .claims
        .platform
        .as_mut()
        .unwrap()
        .1
        .insert("run_attempt".to_owned(), "1".into());
    check(strange, (Why::PolicyError, Detail::Evaluation));
}

#[test]
fn all_resources_must_be_permitted_and_the_strictest_limits_win() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    ask.resources =
        Resources::parse(["Environment::staging/web", "Environment::prod/web"]).unwrap();
    assert_eq!(held(&set, &ask).needs().len(), 1);
    ask.votes = vec![yes("dana"), yes("lee")];
    ask.want.ttl = Seconds::new(3600);
    let limits = limits(&set, &ask);
    assert_eq!(
        limits.policies(),
        ["deploy-prod-from-main", "deploy-staging"]
    );
    assert_eq!(limits.not_after(), NOW.plus(Seconds::new(900)));
    ask.caller = web("refs/heads/fix-12");
    assert_eq!(denied_for(&set, &ask), (Why::Policy, Detail::NoPermit));
}

#[test]
fn votes_count_only_if_they_are_for_this_ask_by_others_and_unspent() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::prod/web");
    let mut check = |votes: Vec<Vote>, have: u8| {
        ask.votes = votes;
        assert_eq!(held(&set, &ask).have(), have, "{:?}", ask.votes);
    };
    check(vec![], 0);
    check(vec![yes("dana")], 1);
    check(vec![yes("dana"), yes("dana")], 1);
    check(
        vec![
            yes("dana"),
            Vote {
                spent: true,
                ..yes("lee")
            },
        ],
        1,
    );
    check(
        vec![
            yes("dana"),
            Vote {
                digest: AskDigest([2; 32]),
                ..yes("lee")
            },
        ],
        1,
    );
    check(
        vec![
            yes("dana"),
            Vote {
                groups: BTreeSet::new(),
                ..yes("lee")
            },
        ],
        1,
    );
    check(
        vec![
            yes("dana"),
            Vote {
                yes: false,
                groups: BTreeSet::new(),
                ..yes("lee")
            },
        ],
        1,
    );
    check(
        vec![
            yes("dana"),
            Vote {
                at: NOW.plus(Seconds::new(1)),
                ..yes("lee")
            },
        ],
        1,
    );
    ask.own = [PersonId::new("lee")].into();
    ask.votes = vec![yes("dana"), yes("lee")];
    assert_eq!(held(&set, &ask).have(), 1);
    ask.own.clear();
    assert_eq!(
        limits(&set, &ask).approved_by(),
        [PersonId::new("dana"), PersonId::new("lee")]
    );
    ask.votes.push(Vote {
        yes: false,
        ..yes("max")
    });
    assert_eq!(denied_for(&set, &ask), (Why::Human, Detail::VotedNo));
}

#[test]
fn two_gates_need_different_people() {
    let second = r#"@id("prod-needs-security") @owner("Group::\"security\"") @approvers("Group::\"security\"") @quorum("1")
        forbid (principal, action == Action::"deploy", resource in Environment::"prod")
        unless { context.approvals.contains({ by: Stint::Group::"security", votes: 1 }) };"#;
    let set = PolicySet::from_files(sample_with("second.cedar", second)).unwrap();
    let mut ask = Ask::new("deploy", "Environment::prod/web");
    let both = Vote {
        groups: [GroupName::new("sre"), GroupName::new("security")].into(),
        ..yes("both")
    };
    ask.votes = vec![both.clone(), yes("dana")];
    let quorum = held(&set, &ask);
    assert_eq!((quorum.have(), quorum.needs().len()), (2, 2));
    assert_eq!(quorum.policies(), ["prod-needs-security", "prod-needs-sre"]);
    ask.votes.push(yes("lee"));
    assert_eq!(limits(&set, &ask).approved_by().len(), 3);
}

#[test]
fn an_error_is_a_deny_even_where_another_policy_denied() {
    let overflow = r#"@id("overflows") @reason("x") forbid (principal, action == Action::"deploy", resource)
        when { context.task.age_s * 9223372036854775807 > 5 };"#;
    let set = PolicySet::from_files(sample_with("overflow.cedar", overflow)).unwrap();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    assert!(matches!(set.judge(&ask.query()), Verdict::Permit(_)));
    ask.now = NOW.plus(Seconds::new(2));
    let Verdict::Deny(reasons) = set.judge(&ask.query()) else {
        panic!("not denied");
    };
    assert_eq!(
        (reasons.why(), reasons.policies()),
        (Why::PolicyError, &["overflows".to_owned()][..])
    );
}

#[test]
fn the_empty_set_denies_all() {
    let set = PolicySet::empty().unwrap();
    assert!(set.is_empty());
    assert_eq!(
        denied_for(&set, &Ask::new("deploy", "Environment::prod")),
        (Why::Policy, Detail::Undeclared)
    );
    let ask = Ask::new("identify", "Identity::anything");
    assert_eq!(denied_for(&set, &ask), (Why::Policy, Detail::NoPermit));
}

fn votes() -> impl Strategy<Value = Vec<Vote>> {
    let people = prop::sample::select(vec!["dana", "lee", "max", "kim"]);
    let groups = prop::sample::subsequence(vec!["sre", "support"], 0..=2);
    let vote = (
        people,
        groups,
        prop::bool::weighted(0.9),
        any::<bool>(),
        0u32..1200,
        Just(1u8),
    )
        .prop_map(|(person, groups, is_yes, spent, ago, digest)| Vote {
            groups: groups.into_iter().map(GroupName::new).collect(),
            yes: is_yes,
            spent: spent && ago > 600,
            at: Timestamp::from_millis(NOW.as_millis() - i64::from(ago) * 1000),
            digest: AskDigest([digest; 32]),
            ..yes(person)
        });
    prop::collection::vec(vote, 0..6)
}

proptest! {
    #[test]
    fn no_votes_make_a_grant_that_judge_would_not_permit(votes in votes(), prod: bool, main: bool) {
        let set = shared();
        let mut ask = Ask::new("deploy", if prod { "Environment::prod/web" } else { "Environment::staging/web" });
        ask.caller = web(if main { "refs/heads/main" } else { "refs/heads/fix-12" });
        ask.votes = votes;
        let judged = set.judge(&ask.query());
        match set.decide(&ask.query(), GrantId::from_bytes([0; 16])) {
            Decision::Permit(grant) => {
                prop_assert_eq!(&judged, &Verdict::Permit(grant.limits().clone()));
                let counted = |vote: &&Vote| vote.yes && !vote.spent && vote.groups.contains(&GroupName::new("sre"));
                let people: BTreeSet<_> = ask.votes.iter().filter(counted).map(|vote| &vote.person).collect();
                prop_assert!(!prod || (main && people.len() >= 2));
            }
            Decision::Hold(quorum) => prop_assert_eq!(judged, Verdict::Hold(quorum)),
            Decision::Deny(reasons) => prop_assert_eq!(judged, Verdict::Deny(reasons)),
        }
    }

    #[test]
    fn a_later_yes_never_takes_a_permit_away(votes in votes()) {
        let set = shared();
        let mut ask = Ask::new("deploy", "Environment::prod/web");
        ask.votes = votes;
        if matches!(set.judge(&ask.query()), Verdict::Permit(_)) {
            ask.votes.push(yes("zoe"));
            prop_assert!(matches!(set.judge(&ask.query()), Verdict::Permit(_)));
        }
    }
}

/// Built once: proptest asks hundreds of times.
fn shared() -> &'static PolicySet {
    static SET: std::sync::OnceLock<PolicySet> = std::sync::OnceLock::new();
    SET.get_or_init(sample_set)
}

/// A decision meets as few policies in a large set as in a small one. Its time is the benchmark's to show.
#[test]
fn a_decision_meets_no_more_policies_in_a_large_set() {
    let met = [10, 100, 1_000].map(policies_met);
    assert!(met[0] > 0 && met == [met[0]; 3], "{met:?}");
}

fn policies_met(policies: usize) -> usize {
    let others = (6..policies).map(|n| {
        format!(
            r#"@id("other-{n}") permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
               when {{ context has github && context.github.repository_id == "{n}" }};"#
        )
    });
    let set =
        PolicySet::from_files(sample_with("others.cedar", &others.collect::<String>())).unwrap();
    let ask = Ask::new("deploy", "Environment::staging/web");
    let query = ask.query();
    assert!(matches!(
        set.decide(&query, GrantId::from_bytes([0; 16])),
        Decision::Permit(_)
    ));
    let heard = crate::hearing::Hearing::open(set.engine(), &query).unwrap();
    heard
        .parts
        .iter()
        .map(|part| part.permits.len() + part.forbids.len())
        .sum()
}
