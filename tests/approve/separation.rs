//! Nobody approves their own, and only those who are asked approve at all.

use serde_json::json;
use stint_tests::TestBroker;
use stint_wire::Code;

use crate::booth::{approver, deploy, one_approver, yes};

#[tokio::test]
async fn whoever_started_the_run_does_not_decide_it() {
    let broker = one_approver().start().await;
    broker.idp().set("dana", "github_id", json!("28"));
    let dana = approver(&broker, "dana").await;
    let ask = || broker.ci("acme/web").claim("actor_id", json!("28"));
    let held = ask().ask("deploy", crate::booth::PROD).x509().await.held();
    let code = held.match_code.unwrap();
    let refused = dana.ballot(&held.request, &yes(&code)).await;
    let refused = refused.refused(Code::NotEligible);
    assert!(refused.detail.contains("your own"), "{}", refused.detail);
    let lee = approver(&broker, "lee").await;
    let cast = lee.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    broker.finish().await;
}

#[tokio::test]
async fn who_is_in_no_group_that_is_asked_does_not_decide() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    for name in ["avery", "olu"] {
        let somebody = approver(&broker, name).await;
        let refused = somebody.ballot(&held.request, &yes(&code)).await;
        let refused = refused.refused(Code::NotEligible);
        assert!(refused.detail.contains("`sre`"), "{}", refused.detail);
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_login_without_the_group_signs_for_nothing() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let ballot = dana.ballot(&held.request, &yes(&code)).await.json();
    broker.idp().set("dana", "groups", json!(["developer"]));
    let later = broker.signed_in("dana").await;
    let vote = dana.passkey.vote(&ballot);
    let path = format!("/v1/requests/{}/votes", held.request);
    drop(later.post(&path, &vote).await.refused(Code::NotEligible));
    broker.finish().await;
}

#[tokio::test]
async fn machines_have_no_vote() {
    let broker = TestBroker::with().people().start().await;
    let held = deploy(&broker).x509().await.held();
    let token = broker.ci("acme/web").token();
    let bearer = format!("Bearer {token}");
    let path = format!("/v1/requests/{}/ballot", held.request);
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let answer = broker.post(&path, &headers, b"{\"vote\":\"yes\"}").await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    broker.finish().await;
}
