//! What people see of requests: those they have to do with, whether they can decide them, and never the digits.

use stint_tests::TestBroker;
use stint_tests::answer::Answer;
use stint_tests::keys::DpopKey;
use stint_wire::{Code, RequestList, RequestState, RequestView};

use crate::desk::{held, job, no, says, seen};

fn listed(answer: &Answer) -> Vec<RequestView> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list: RequestList = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(list.next, None);
    list.requests
}

#[tokio::test]
async fn each_sees_what_he_has_to_do_with_and_why_he_cannot() {
    let broker = TestBroker::with().people().start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let path = format!("/v1/requests/{request}");
    for (name, why) in [
        ("dana", None),
        (
            "kim",
            Some("it is your own: you started it, or it acts for you"),
        ),
        ("avery", Some("it needs somebody of the group `sre`")),
        ("olu", Some("it needs somebody of the group `sre`")),
    ] {
        let person = broker.signed_in(name).await;
        let view = seen(&person.get(&path).await, RequestState::Pending);
        assert_eq!(view.can_decide, Some(why.is_none()), "{name}");
        assert_eq!(view.cannot_because.as_deref(), why, "{name}");
        assert_eq!(view.match_code, None, "{name}");
        assert_eq!(listed(&person.get("/v1/requests").await), [view], "{name}");
    }
    says(&broker, "lee", &request, no()).await;
    let dana = broker.signed_in("dana").await;
    let view = seen(&dana.get(&path).await, RequestState::Denied);
    assert_eq!(view.cannot_because.as_deref(), Some("it is denied"));
    assert!(listed(&dana.get("/v1/requests").await).is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn those_who_have_nothing_to_do_with_it_find_nothing() {
    let broker = TestBroker::with().people().start().await;
    let key = DpopKey::default();
    // Somebody else's push: not kim's.
    let other = job(&broker, "b").claim("actor_id", "29".into());
    let held = other
        .ask("deploy", crate::desk::PROD)
        .proved_by(&key)
        .x509()
        .await
        .held();
    let kim = broker.signed_in("kim").await;
    let path = format!("/v1/requests/{}", held.request);
    let unknown = kim.get("/v1/requests/req_00000000000000000000000000").await;
    let foreign = kim.get(&path).await;
    drop(foreign.refused(Code::NotFound));
    assert_eq!(foreign.body, unknown.body);
    assert!(listed(&kim.get("/v1/requests").await).is_empty());
    let cancel = kim
        .post(&format!("{path}/cancel"), &serde_json::json!({}))
        .await;
    assert_eq!(cancel.body, unknown.body);

    drop(
        broker
            .get("/v1/requests")
            .await
            .refused(Code::LoginRequired),
    );
    let bearer = format!("Bearer {}", job(&broker, "a").token());
    let run = broker
        .request("GET", "/v1/requests", &[("authorization", &bearer)], b"")
        .await;
    drop(run.refused(Code::LoginRequired));
    for query in ["?after=x", "?after=1-2-3!", "?a=b"] {
        let path = format!("/v1/requests{query}");
        drop(kim.get(&path).await.refused(Code::InvalidField));
    }
    broker.finish().await;
}

#[tokio::test]
async fn whoever_started_it_and_operators_take_it_back_and_approvers_say_no() {
    let broker = TestBroker::with().people().start().await;
    let key = DpopKey::default();
    let nothing = serde_json::json!({});
    for (name, run) in [("kim", "a"), ("olu", "b")] {
        let request = held(&broker, run, &key).await.request;
        let path = format!("/v1/requests/{request}/cancel");
        let dana = broker.signed_in("dana").await;
        drop(dana.post(&path, &nothing).await.refused(Code::NotEligible));
        let person = broker.signed_in(name).await;
        // A page of somebody else cannot do it for them.
        let foreign = person
            .post_with(&path, &[("origin", "https://evil.example")], b"{}")
            .await;
        assert_eq!(foreign.status, 403, "{}", foreign.text());
        seen(&person.post(&path, &nothing).await, RequestState::Cancelled);
    }
    broker.finish().await;
}
