use serde_json::{Value as Json, json};

use super::{Recorded, ReplayError};
use crate::decision::Verdict;
use crate::fixture::{Ask, NOW, principal, sample_set, sample_with, yes};
use crate::id::TaskId;
use crate::query::{AskDigest, Ceiling, Consent, History, Input, Kind, PersonId};
use crate::set::PolicySet;
use crate::time::Seconds;

fn again(set: &PolicySet, record: &Json) -> Result<Verdict, ReplayError> {
    let task = TaskId::from_bytes([7; 16]);
    set.judge_again(&Recorded::read(record, task, AskDigest([1; 32]))?)
}

/// What was decided comes out again from its record alone.
#[track_caller]
fn check(set: &PolicySet, ask: &Ask) -> Verdict {
    let query = ask.query();
    // As the ledger has it: text, parsed again.
    let record = serde_json::from_str(&set.record(&query).to_string()).unwrap();
    let verdict = again(set, &record);
    assert_eq!(verdict, Ok(set.judge(&query)), "{record:#}");
    verdict.unwrap()
}

#[test]
fn each_outcome_comes_out_again() {
    let set = sample_set();
    let outcome = |ask: &Ask| check(&set, ask).as_str();
    let staging = Ask::new("deploy", "Environment::staging/web");
    assert_eq!(outcome(&staging), "permit");
    let mut prod = Ask::new("deploy", "Environment::prod/web");
    assert_eq!(outcome(&prod), "hold");
    prod.votes = vec![yes("dana"), yes("kim")];
    assert_eq!(outcome(&prod), "permit");
    prod.own = [PersonId::new("dana")].into();
    assert_eq!(outcome(&prod), "hold");
    let nobody = Ask::new("deploy", "Environment::nowhere");
    assert_eq!(outcome(&nobody), "deny");
    let unknown = Ask::new("explode", "Environment::prod/web");
    assert_eq!(outcome(&unknown), "deny");
}

#[test]
fn all_that_policy_reads_is_in_the_record() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    ask.caller.attested = ["tpm:ek:1".to_owned()].into();
    ask.caller.claims.origin = [
        ("protected".to_owned(), true.into()),
        ("attempt".to_owned(), 2.into()),
    ]
    .into();
    ask.task.depth = 1;
    ask.task.parent = Some("parent".to_owned());
    ask.task.deadline = Some(NOW.plus(Seconds::new(3_600)));
    ask.task.initiator = Some("spiffe://acme.dev/user/kim".to_owned());
    ask.history = History {
        grants: 3,
        denials: 1,
        actions: ["deploy".to_owned()].into(),
        live: ["deploy".to_owned()].into(),
        labels: ["pii".to_owned()].into(),
    };
    ask.ceilings = vec![Ceiling {
        name: "evidence".to_owned(),
        not_after: NOW.plus(Seconds::new(90)),
    }];
    check(&set, &ask);
    ask.want.audience = Some("https://registry.acme.dev".to_owned());
    check(&set, &ask);
}

/// What was recorded comes out as a test file, which comes to the same.
#[track_caller]
fn check_case(set: &PolicySet, ask: &Ask) {
    let query = ask.query();
    let record = serde_json::from_str(&set.record(&query).to_string()).unwrap();
    let task = TaskId::from_bytes([7; 16]);
    let recorded = Recorded::read(&record, task, query.digest).unwrap();
    let verdict = set.judge(&query);
    let text = recorded.as_case("it", verdict.as_str(), verdict.policies());
    let text = text.unwrap();
    let report = set.test_draft(&text);
    assert!(
        report.findings().is_empty(),
        "{:?}\n{text}",
        report.findings()
    );
    let [result] = report.results() else {
        panic!("{text}");
    };
    assert_eq!(result.receipt().verdict().as_str(), verdict.as_str());
}

#[test]
fn a_recorded_ask_is_a_test_case() {
    let set = sample_set();
    let staging = Ask::new("deploy", "Environment::staging/web");
    check_case(&set, &staging);
    let mut prod = Ask::new("deploy", "Environment::prod/web");
    check_case(&set, &prod);
    prod.votes = vec![yes("dana"), yes("kim")];
    check_case(&set, &prod);
    let mut ask = Ask::new("deploy", "Environment::nowhere");
    ask.caller.attested = ["tpm:ek:1".to_owned()].into();
    ask.caller.owner = Some("sre".to_owned());
    ask.caller.claims.origin = [
        ("protected".to_owned(), true.into()),
        ("attempt".to_owned(), 2.into()),
        ("name".to_owned(), "\u{7}\"'\\\n[case.x]".into()),
    ]
    .into();
    ask.task.deadline = Some(NOW.plus(Seconds::new(3_600)));
    ask.history = History {
        grants: 3,
        denials: 1,
        actions: ["deploy".to_owned()].into(),
        live: ["deploy".to_owned()].into(),
        labels: ["pii".to_owned()].into(),
    };
    check_case(&set, &ask);
}

#[test]
fn what_no_case_can_say_is_none() {
    let set = sample_set();
    let case = |ask: &Ask| {
        let record = set.record(&ask.query());
        let task = TaskId::from_bytes([7; 16]);
        let recorded = Recorded::read(&record, task, AskDigest([1; 32])).unwrap();
        recorded.as_case("it", "deny", &[])
    };
    let mut chain = Ask::new("deploy", "Environment::staging/web");
    chain.caller = principal(Kind::Agent, "agent/a");
    chain.subject = Some(principal(Kind::User, "user/kim"));
    chain.consent = Some(Consent::Task);
    chain.actors = vec![principal(Kind::Agent, "agent/b")];
    assert_eq!(case(&chain), None);
    let mut null = Ask::new("deploy", "Environment::staging/web");
    let members = [("size".to_owned(), json!(null))].into_iter().collect();
    null.input = Some(Input::new(members));
    assert_eq!(case(&null), None);
}

#[test]
fn who_asks_is_known_by_groups_and_owner_too() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    ask.caller.owner = Some("sre".to_owned());
    ask.caller.person = Some("spiffe://acme.dev/user/dana".to_owned());
    check(&set, &ask);
    let mut ask = Ask::new("deploy", "Environment::prod/web");
    ask.caller = principal(Kind::User, "user/kim");
    ask.caller.groups = ["sre".to_owned(), "from-login".to_owned()].into();
    check(&set, &ask);
}

#[test]
fn a_chain_comes_out_again() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::staging/web");
    ask.caller = principal(Kind::Agent, "agent/a");
    ask.subject = Some(principal(Kind::User, "user/kim"));
    ask.actors = vec![principal(Kind::Agent, "agent/b")];
    for consent in [Consent::Policy, Consent::MayAct, Consent::Task] {
        ask.consent = Some(consent);
        check(&set, &ask);
    }
}

#[test]
fn an_input_that_no_context_holds_comes_out_again() {
    let set = sample_set();
    let mut ask = Ask::new("deploy", "Environment::prod/web");
    for value in [json!(1), json!(1.5), json!(null)] {
        let members = [("size".to_owned(), value)].into_iter().collect();
        ask.input = Some(Input::new(members));
        assert_eq!(check(&set, &ask).as_str(), "deny");
    }
}

#[test]
fn what_this_set_was_not_asked_is_not_judged() {
    let set = sample_set();
    let record = set.record(&Ask::new("deploy", "Environment::staging/web").query());
    let with = |path: &str, value: Json| {
        let mut record = record.clone();
        *record.pointer_mut(path).unwrap() = value;
        again(&set, &record)
    };
    let differs = |member: &str| Err(ReplayError::Differs(member.to_owned()));
    assert_eq!(with("/entities", json!([])), differs("entities"));
    assert_eq!(
        with("/context/credential/ttl_s", json!(5)),
        differs("context.credential.ttl_s")
    );
    let unreadable = |member| Err(ReplayError::Unreadable(member));
    assert_eq!(with("/context/now", json!(5)), unreadable("now"));
    assert_eq!(with("/principal/id", json!("me")), unreadable("principal"));
    assert_eq!(with("/resources", json!([])), unreadable("resources"));
    assert_eq!(with("/votes", json!([{}])), unreadable("digest"));
}

#[test]
fn another_set_decides_otherwise() {
    let asked = sample_set();
    let files = sample_with("web.cedar", "");
    let other = PolicySet::from_files(files).unwrap();
    let record = asked.record(&Ask::new("deploy", "Environment::staging/web").query());
    assert_eq!(again(&asked, &record).unwrap().as_str(), "permit");
    assert_eq!(again(&other, &record).unwrap().as_str(), "deny");
}
