//! Enough people say yes, and the same ask is granted; one says no, and it is not.

use serde_json::json;
use stint_tests::TestBroker;
use stint_wire::{Code, RequestState};

use crate::booth::{approver, deploy, no, one_approver, yes};

#[tokio::test]
async fn one_yes_lets_the_same_ask_through() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let cast = dana.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
    assert_eq!(cast.json()["state"], "approved");
    let granted = deploy(&broker).x509().await.granted();
    assert_eq!(granted.request.as_deref(), Some(&*held.request));
    assert!(granted.approval_ends_at.is_some());
    // As long as the approval lasts, the same ask needs nobody.
    let again = deploy(&broker).x509().await.granted();
    assert_eq!(again.request.as_deref(), Some(&*held.request));
    broker.finish().await;
}

#[tokio::test]
async fn two_are_two_people() {
    let broker = TestBroker::with().people().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let cast = dana.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "pending", "{}", cast.text());
    drop(
        dana.ballot(&held.request, &yes(&code))
            .await
            .refused(Code::NotEligible),
    );
    let waiting = deploy(&broker).x509().await.held();
    assert!(!waiting.created);
    assert_eq!(waiting.needs[0].have, 1);
    let lee = approver(&broker, "lee").await;
    let cast = lee.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    assert_eq!(
        deploy(&broker).x509().await.granted().request,
        Some(held.request)
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_no_ends_it_also_after_a_yes() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let (dana, lee) = (
        approver(&broker, "dana").await,
        approver(&broker, "lee").await,
    );
    let cast = dana.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved");
    let cast = lee.says(&held.request, &no()).await;
    assert_eq!(cast.json()["state"], "denied", "{}", cast.text());
    let refused = deploy(&broker).x509().await.refused(Code::DeniedByHuman);
    assert!(refused.detail.contains("Lee Park"), "{}", refused.detail);
    assert!(
        refused.detail.contains("not on a Friday"),
        "{}",
        refused.detail
    );
    assert_eq!(refused.request, Some(held.request.clone()));
    drop(
        dana.ballot(&held.request, &no())
            .await
            .refused(Code::AlreadyDecided),
    );
    broker.finish().await;
}

#[tokio::test]
async fn who_changes_their_mind_ends_it() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let dana = approver(&broker, "dana").await;
    let code = held.match_code.unwrap();
    dana.says(&held.request, &yes(&code)).await;
    let cast = dana.says(&held.request, &no()).await;
    assert_eq!(cast.json()["state"], "denied", "{}", cast.text());
    drop(deploy(&broker).x509().await.refused(Code::DeniedByHuman));
    broker.finish().await;
}

#[tokio::test]
async fn a_vote_shortens_and_never_widens() {
    let broker = one_approver().start().await;
    let ask = || deploy(&broker).ttl(600);
    let held = ask().x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let lasting = |seconds: u32| json!({ "vote": "yes", "match_code": code, "lasts_s": seconds });
    for seconds in [0, 29, 601] {
        drop(
            dana.ballot(&held.request, &lasting(seconds))
                .await
                .refused(Code::InvalidField),
        );
    }
    let cast = dana.says(&held.request, &lasting(120)).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
    let granted = ask().x509().await.granted();
    assert!(
        granted.shortened_by.iter().any(|by| by == "approval"),
        "{:?}",
        granted.shortened_by
    );
    // A certificate's life ends on a whole second.
    let end = granted.approval_ends_at.unwrap();
    assert!(granted.expires_at <= end, "{} {end}", granted.expires_at);
    broker.finish().await;
}

#[tokio::test]
async fn a_held_ask_says_what_stands() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    assert_eq!(held.state, RequestState::Pending);
    let dana = approver(&broker, "dana").await;
    let ballot = dana
        .ballot(&held.request, &yes(&held.match_code.unwrap()))
        .await
        .json();
    let facts = &ballot["facts"];
    assert_eq!(facts["request"], held.request.as_str());
    let shown = facts["shown"].as_array().unwrap();
    assert_eq!(
        shown[0],
        json!([
            "Lets",
            "acme/web deploy to environment prod/web for 10 min. Nothing else."
        ])
    );
    let says = |label: &str, text: &str| {
        shown
            .iter()
            .any(|row| row[0] == label && row[1].as_str().unwrap().contains(text))
    };
    assert!(says("Resource", "Environment::\"prod/web\""), "{shown:#?}");
    assert!(says("repository", "acme/web (says github)"), "{shown:#?}");
    assert!(
        says("Policy", "prod-needs-sre wants 1 of Group::\"sre\""),
        "{shown:#?}"
    );
    assert!(says("Unusual", "first time in 30 days"), "{shown:#?}");
    broker.finish().await;
}
