//! What policy decides: no with reasons, wait for people, and answers that bind nobody.

use serde_json::json;
use stint_tests::broker::Setup;
use stint_tests::database::tamper;
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, TestBroker, together};
use stint_wire::{Code, NextKind, Outcome, RequestState};

const STAGING: &str = "Environment::staging/web";
const PROD: &str = "Environment::prod/web";

async fn prod(broker: &TestBroker, job: &str) -> Answer {
    broker
        .ci("acme/web")
        .job(job)
        .on("refs/heads/main")
        .ask("deploy", PROD)
        .x509()
        .await
}

#[tokio::test]
async fn a_denial_says_what_came_closest_and_what_of_yours_did_not_fit() {
    let broker = TestBroker::start().await;
    let answer = broker
        .ci("acme/web")
        .on("refs/heads/fix-12")
        .ask("deploy", PROD)
        .x509()
        .await;
    let problem = answer.refused(Code::Denied);
    let receipt = problem.receipt().unwrap();
    assert_eq!(
        (receipt.outcome, receipt.why.as_deref()),
        (Some(Outcome::Deny), Some("policy"))
    );
    let closest = receipt.closest.unwrap();
    assert_eq!(closest.policy, "deploy-prod-from-main");
    assert!(
        closest.holds.iter().any(|name| name == "repository_id"),
        "{closest:?}"
    );
    let fails: Vec<_> = closest
        .fails
        .iter()
        .map(|fail| (fail.name.as_str(), fail.yours.clone()))
        .collect();
    assert_eq!(fails, [("ref", Some(json!("refs/heads/fix-12")))]);
    assert!(receipt.is_final);
    assert_eq!(receipt.next_action.unwrap().kind, NextKind::AskOwner);
    assert_eq!(receipt.owner.unwrap().contact.as_deref(), Some("#releases"));
    assert_eq!(
        receipt.advice.as_deref(),
        Some("Merge to main first; branches deploy to staging.")
    );
    assert!(
        !answer.text().contains("refs/heads/main"),
        "expected values are the owner's: {}",
        answer.text()
    );

    let entry = broker.export().await.of("denied").pop().unwrap();
    assert_eq!(entry.header["what"]["why"], "policy");
    assert_eq!(entry.header["id"], *problem.decision.unwrap());
    broker.finish().await;
}

#[tokio::test]
async fn a_denial_under_full_reveal_shows_what_the_owner_sees() {
    let broker = TestBroker::with()
        .set("policy", "reveal = \"full\"")
        .start()
        .await;
    let answer = broker
        .ci("acme/web")
        .on("refs/heads/fix-12")
        .ask("deploy", PROD)
        .x509()
        .await;
    drop(answer.refused(Code::Denied));
    assert!(
        answer.text().contains("refs/heads/main"),
        "{}",
        answer.text()
    );
    broker.finish().await;
}

#[tokio::test]
async fn an_ask_that_needs_people_is_parked_once_and_found_again() {
    let mut broker = TestBroker::start().await;
    let answer = prod(&broker, "a").await;
    let held = answer.held();
    assert!(held.created && held.request.starts_with("req_"), "{held:?}");
    assert_eq!(
        (held.outcome, held.state),
        (Outcome::Hold, RequestState::Pending)
    );
    assert_eq!(answer.header("retry-after"), held.retry_after_s.to_string());
    assert_eq!(held.match_code.as_ref().unwrap().len(), 3);
    let [need] = held.needs.as_slice() else {
        panic!("{:?}", held.needs)
    };
    assert_eq!(
        (need.policy.as_str(), need.quorum, need.have),
        ("prod-needs-sre", 2, 0)
    );
    assert_eq!(need.approvers, ["Group::\"sre\""]);
    assert_eq!(held.expires_at, "2027-03-01T11:00:00Z");

    let size = broker.size().await;
    let token = broker.ci("acme/web").job("a").token();
    let again = broker
        .ci("acme/web")
        .ask("deploy", PROD)
        .token(&token)
        .x509()
        .await;
    let found = again.held();
    assert_eq!(
        (found.request.as_str(), found.created),
        (held.request.as_str(), false)
    );
    assert_eq!(found.match_code, held.match_code);
    assert_eq!(broker.size().await, size, "found again is no entry");
    let replay = broker
        .ci("acme/web")
        .ask("deploy", PROD)
        .token(&token)
        .x509()
        .await;
    drop(replay.refused(Code::EvidenceRejected));

    broker.restart().await.unwrap();
    let found = prod(&broker, "a").await.held();
    assert_eq!(
        (found.request.as_str(), found.created),
        (held.request.as_str(), false)
    );
    assert_eq!(broker.export().await.of("requested").len(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn all_resources_must_be_permitted_and_one_that_waits_holds_all() {
    let broker = TestBroker::start().await;
    let ask = |git_ref: &str| {
        broker
            .ci("acme/web")
            .on(git_ref)
            .ask("deploy", STAGING)
            .member("resources", json!([STAGING, PROD]))
            .x509()
    };
    drop(ask("refs/heads/main").await.held());
    drop(ask("refs/heads/x").await.refused(Code::Denied));
    broker.finish().await;
}

#[tokio::test]
async fn another_byte_is_another_request() {
    let broker = TestBroker::start().await;
    let first = prod(&broker, "a").await.held().request;
    let ask = || broker.ci("acme/web").job("a").ask("deploy", PROD);
    assert_ne!(ask().ttl(300).x509().await.held().request, first);
    assert_ne!(
        prod(&broker, "b").await.held().request,
        first,
        "another job"
    );
    assert_eq!(
        ask()
            .member("reason", json!("hotfix"))
            .x509()
            .await
            .held()
            .request,
        first,
        "words bind nobody"
    );
    assert_eq!(
        ask().csr(&keys::csr()).await.held().request,
        first,
        "the key is judged when it is used"
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_ask_many_times_at_once_is_one_request() {
    let broker = TestBroker::start().await;
    let answers = together((0..12).map(|_| prod(&broker, "a"))).await;
    let held: Vec<_> = answers.iter().map(Answer::held).collect();
    assert!(held.iter().all(|it| it.request == held[0].request));
    assert_eq!(held.iter().filter(|it| it.created).count(), 1);
    assert_eq!(broker.export().await.of("requested").len(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_request_nobody_answered_is_closed_and_the_next_ask_opens_another() {
    let broker = TestBroker::start().await;
    let first = prod(&broker, "a").await.held();
    broker.clock.advance(3_599);
    assert_eq!(prod(&broker, "a").await.held().request, first.request);
    broker.clock.advance(1);
    let second = prod(&broker, "a").await.held();
    assert!(second.created && second.request != first.request);
    let export = broker.export().await;
    let [closed] = export.of("request_closed").try_into().unwrap();
    assert_eq!(closed.header["what"]["request"], *first.request);
    assert_eq!(closed.header["what"]["why"], "expired");
    assert_eq!(export.of("requested").len(), 2);
    broker.finish().await;
}

#[tokio::test]
async fn a_row_that_says_approved_mints_nothing() {
    // A request's row is a convenience: approval is evidence of votes, and there are none.
    let mut broker = TestBroker::start().await;
    drop(prod(&broker, "a").await.held());
    broker.stop().await;
    assert_eq!(
        tamper(&broker.database(), "UPDATE request SET state = 'approved'").await,
        1
    );
    broker.restart().await.unwrap();
    drop(prod(&broker, "a").await.held());
    assert_eq!(broker.export().await.of("granted").len(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_and_leaves_nothing() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    for (git_ref, resource, outcome) in [
        ("refs/heads/main", STAGING, Outcome::Permit),
        ("refs/heads/main", PROD, Outcome::Hold),
        ("refs/heads/x", PROD, Outcome::Deny),
    ] {
        let token = broker.ci("acme/web").on(git_ref).token();
        for _ in 0..2 {
            let ask = broker
                .ci("acme/web")
                .ask("deploy", resource)
                .token(&token)
                .for_csr(&keys::csr());
            let answer = ask.judge().await;
            assert_eq!(
                answer.judged().outcome,
                outcome,
                "{resource}: {}",
                answer.text()
            );
        }
        assert_eq!(broker.state().await, before);
    }
    let token = broker.ci("acme/web").token();
    let ask = || {
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&token)
            .for_csr(&keys::csr())
    };
    assert_eq!(ask().judge().await.status, 200);
    assert_eq!(ask().send().await.status, 201, "the dry run spent nothing");
    drop(ask().judge().await.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test]
async fn a_dry_run_of_an_ask_that_cannot_be_read_says_so_and_leaves_nothing() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let ask = |action, resource| {
        broker
            .ci("acme/web")
            .ask(action, resource)
            .for_jwt("https://api")
            .judge()
    };
    drop(ask("fly", STAGING).await.refused(Code::UnknownAction));
    drop(
        ask("deploy", "Planet::mars")
            .await
            .refused(Code::UnknownResourceType),
    );
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn a_policy_that_wants_a_bound_token_names_the_missing_proof() {
    let policy = r#"@id("bound") @owner("Group::\"release\"") @max_ttl("10m") @credential("jwt") @bind("dpop")
permit (principal is Stint::Workload, action == Action::"connect", resource == Database::"shop")
when { context has github && context.github.repository_id == "456789" };"#;
    let broker = TestBroker::with()
        .policy("bound.cedar", policy)
        .start()
        .await;
    let ask = || broker.ci("acme/web").ask("connect", "Database::shop");
    let problem = ask().jwt("https://db").await.refused(Code::ProofRequired);
    assert!(problem.decision.is_some());
    assert_eq!(
        broker.export().await.of("denied").pop().unwrap().header["what"]["why"],
        "limit"
    );
    let key = DpopKey::default();
    assert_eq!(ask().proved_by(&key).jwt("https://db").await.status, 201);
    broker.finish().await;
}

/// Two actions that may not both happen in one task: each looks for what the other leaves.
fn either() -> Setup {
    let permit = r#"@id("connects") @owner("Group::\"data\"") @max_ttl("10m") @credential("x509")
permit (principal is Stint::Workload, action == Action::"connect", resource == Database::"shop")
when { context has github && context.github.repository_id == "456789" };
@id("no-connect-after-deploy") @owner("Group::\"security\"")
forbid (principal, action == Action::"connect", resource) when { context.history.actions.contains("deploy") };
@id("no-deploy-after-connect") @owner("Group::\"security\"")
forbid (principal, action == Action::"deploy", resource) when { context.history.actions.contains("connect") };"#;
    TestBroker::with().policy("either.cedar", permit)
}

#[tokio::test]
async fn what_a_task_did_before_decides_what_it_may_do_now() {
    let mut broker = either().start().await;
    let deploy = async |broker: &TestBroker, job| {
        broker
            .ci("acme/web")
            .job(job)
            .ask("deploy", STAGING)
            .x509()
            .await
    };
    let connect = async |broker: &TestBroker, job| {
        broker
            .ci("acme/web")
            .job(job)
            .ask("connect", "Database::shop")
            .x509()
            .await
    };
    assert_eq!(deploy(&broker, "a").await.status, 201);
    let receipt = connect(&broker, "a")
        .await
        .refused(Code::Denied)
        .receipt()
        .unwrap();
    assert_eq!(receipt.decided_by, ["no-connect-after-deploy"]);
    assert_eq!(
        receipt.next_action.unwrap().kind,
        NextKind::None,
        "not in this task"
    );
    assert_eq!(
        connect(&broker, "b").await.status,
        201,
        "another task has another past"
    );
    drop(deploy(&broker, "b").await.refused(Code::Denied));
    broker.restart().await.unwrap();
    drop(connect(&broker, "a").await.refused(Code::Denied));
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_asks_at_once_cannot_miss_each_other() {
    let broker = either().start().await;
    for round in 0..10 {
        let job = format!("round-{round}");
        let asks = [("deploy", STAGING), ("connect", "Database::shop")];
        let ask = |(action, resource)| broker.ci("acme/web").job(&job).ask(action, resource).x509();
        let answers = together(asks.map(ask)).await;
        let mut both: Vec<_> = answers
            .iter()
            .map(|answer| answer.status.as_u16())
            .collect();
        both.sort_unstable();
        assert_eq!(both, [201, 403], "round {round}");
    }
    broker.finish().await;
}

/// A gate on a number of the caller's: its arithmetic overflows where the number is large.
fn arithmetic() -> Setup {
    let schema = r#"
@label("pay") @doc("Move money.")
action pay appliesTo { principal: [Stint::Workload], resource: [Environment],
  context: { now: datetime, caller: Stint::Caller, origin: Stint::Origin, github?: Stint::GitHub, gitlab?: Stint::GitLab,
    kubernetes?: Stint::Kubernetes, google?: Stint::Google, azure?: Stint::Azure, aws?: Stint::Aws,
    circleci?: Stint::CircleCi, buildkite?: Stint::Buildkite, terraform_cloud?: Stint::TerraformCloud,
    extra: Extra, attested: Set<String>, task: Stint::Task, credential: Stint::Credential,
    delegation?: Stint::Delegation, approvals: Set<Stint::Approval>, history: Stint::History,
    input: { amount: Long } } };
"#;
    let sample = stint_policy::sample();
    let whole =
        String::from_utf8(sample.get("schema.cedarschema").unwrap().to_vec()).unwrap() + schema;
    let policy = r#"@id("pays") @owner("Group::\"release\"") @max_ttl("10m") @credential("jwt")
permit (principal is Stint::Workload, action == Action::"pay", resource in Environment::"staging")
when { context has github && context.github.repository_id == "456789" };
@id("not-too-much") @owner("Group::\"release\"")
forbid (principal, action == Action::"pay", resource) when { context.input.amount * context.input.amount > 2500 };"#;
    TestBroker::with()
        .policy("schema.cedarschema", &whole)
        .policy("pay.cedar", policy)
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_denies() {
    let broker = arithmetic().start().await;
    let pay = |amount: i64| {
        broker
            .ci("acme/web")
            .ask("pay", STAGING)
            .member("input", json!({ "amount": amount }))
            .jwt("https://bank")
    };
    assert_eq!(pay(50).await.status, 201);
    drop(pay(51).await.refused(Code::Denied));
    // Cedar skips a policy that errs, a forbid too: here that would open the gate.
    let answer = pay(1 << 52).await;
    let receipt = answer.refused(Code::Denied).receipt().unwrap();
    assert_eq!(receipt.why.as_deref(), Some("policy_error"));
    assert_eq!(
        broker.export().await.of("denied").pop().unwrap().header["what"]["why"],
        "policy_error"
    );
    broker.finish().await;
}

#[tokio::test]
async fn input_is_held_against_the_actions_type() {
    let broker = arithmetic().start().await;
    for input in [
        json!({}),
        json!({ "amount": "1" }),
        json!({ "amount": 1.5 }),
        json!({ "amount": 1, "to": "me" }),
        json!({ "amount": null }),
        json!({ "amount": 9_223_372_036_854_775_808_u64 }),
        json!(null),
    ] {
        let ask = broker
            .ci("acme/web")
            .ask("pay", STAGING)
            .member("input", input.clone());
        let answer = ask.jwt("https://bank").await;
        assert!(
            (400..=403).contains(&answer.status.as_u16()),
            "{input}: {}",
            answer.text()
        );
    }
    let none = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .member("input", json!({ "amount": 1 }));
    let answer = none.jwt("https://api").await;
    assert!(
        (400..=403).contains(&answer.status.as_u16()),
        "an action without input: {}",
        answer.text()
    );
    broker.finish().await;
}

#[tokio::test]
async fn nobodys_software_does_not_touch_production() {
    let policy = r#"@id("api-deploys") @owner("Group::\"release\"") @max_ttl("10m") @credential("x509")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"prod")
when { context has github && context.github.repository_id == "1" };"#;
    let broker = TestBroker::with().policy("api.cedar", policy).start().await;
    let ask = broker
        .ci("acme/api")
        .claim("repository_id", json!("1"))
        .ask("deploy", PROD);
    let receipt = ask.x509().await.refused(Code::Denied).receipt().unwrap();
    assert_eq!(receipt.decided_by, ["prod-is-owned"]);
    broker.finish().await;
}

#[tokio::test]
async fn a_life_that_is_left_below_thirty_seconds_is_a_denial() {
    let broker = TestBroker::start().await;
    let answer = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .ttl(29)
        .x509()
        .await;
    drop(answer.refused(Code::Denied));
    assert_eq!(
        broker.export().await.of("denied").pop().unwrap().header["what"]["why"],
        "limit"
    );
    broker.finish().await;
}
