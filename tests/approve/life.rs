//! How long things wait and last.

use serde_json::json;
use stint_wire::Code;

use crate::booth::{approver, deploy, no, one_approver, yes};

#[tokio::test]
async fn nobody_decides_what_has_expired() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let ballot = dana.ballot(&held.request, &yes(&code)).await.json();
    broker.clock.advance(3_601);
    let dana = approver(&broker, "dana").await;
    drop(
        dana.sign(&held.request, &ballot)
            .await
            .refused(Code::FactsChanged),
    );
    drop(
        dana.ballot(&held.request, &yes(&code))
            .await
            .refused(Code::AlreadyDecided),
    );
    let anew = deploy(&broker).x509().await.held();
    assert!(anew.created);
    assert_ne!(anew.request, held.request);
    broker.finish().await;
}

#[tokio::test]
async fn a_no_answers_the_same_ask_for_a_while() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    approver(&broker, "dana")
        .await
        .says(&held.request, &no())
        .await;
    drop(deploy(&broker).x509().await.refused(Code::DeniedByHuman));
    // Another ask is another request.
    let other = deploy(&broker).ttl(300).x509().await.held();
    assert!(other.created);
    broker.clock.advance(901);
    let anew = deploy(&broker).x509().await.held();
    assert!(anew.created);
    broker.finish().await;
}

#[tokio::test]
async fn an_approval_ends_and_the_next_ask_waits_again() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    dana.says(
        &held.request,
        &json!({ "vote": "yes", "match_code": code, "lasts_s": 60 }),
    )
    .await;
    drop(deploy(&broker).x509().await.granted());
    broker.clock.advance(61);
    let anew = deploy(&broker).x509().await.held();
    assert!(anew.created);
    drop(
        dana.ballot(&held.request, &no())
            .await
            .refused(Code::AlreadyDecided),
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_single_use_is_used_once() {
    let broker = one_approver()
        .replace(
            "web.cedar",
            "@approval_ttl(\"1h\")",
            "@approval_ttl(\"1h\") @single_use",
        )
        .start()
        .await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    dana.says(&held.request, &yes(&code)).await;
    drop(deploy(&broker).x509().await.granted());
    let anew = deploy(&broker).x509().await.held();
    assert!(anew.created);
    assert_ne!(anew.request, held.request);
    broker.finish().await;
}

#[tokio::test]
async fn policy_is_asked_again_when_it_is_redeemed() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    dana.says(&held.request, &yes(&code)).await;
    let web = broker.read_policy("web.cedar");
    broker.write_policy(
        "web.cedar",
        &web.replace("votes: 1", "votes: 2")
            .replace("@quorum(\"1\")", "@quorum(\"2\")"),
    );
    assert_eq!(broker.reload().await.status, 200);
    let more = deploy(&broker).x509().await.held();
    assert_eq!((more.created, more.needs[0].have), (false, 1), "{more:?}");
    let lee = approver(&broker, "lee").await;
    let cast = lee.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    drop(deploy(&broker).x509().await.granted());
    broker.write_policy("web.cedar", &web.replace("456789", "456780"));
    assert_eq!(broker.reload().await.status, 200);
    drop(deploy(&broker).x509().await.refused(Code::Denied));
    broker.finish().await;
}

#[tokio::test]
async fn too_many_may_not_wait() {
    let broker = one_approver()
        .tables("[approval]\nopen_per_initiator = 3\n")
        .start()
        .await;
    for ttl in [100, 101, 102] {
        assert!(deploy(&broker).ttl(ttl).x509().await.held().created);
    }
    let size = broker.size().await;
    drop(
        deploy(&broker)
            .ttl(103)
            .x509()
            .await
            .refused(Code::TooManyOpen),
    );
    assert_eq!(broker.size().await, size, "nothing was recorded");
    assert!(!deploy(&broker).ttl(102).x509().await.held().created);
    broker.finish().await;
}
