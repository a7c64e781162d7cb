//! What people said, and what whoever asked makes of it.

use std::time::Duration;

use stint_broker::clock::Stopwatch;
use stint_tests::keys::DpopKey;
use stint_tests::{TestBroker, together};
use stint_wire::oauth::OAuthError;
use stint_wire::{Code, NextKind, RequestState};

use crate::desk::{
    PROD, asserted, deferred, held, job, look, look_by, no, one_approver, poll, revoke, says, seen,
    yes,
};

/// A deferral code whose request dana approved.
async fn approved(broker: &TestBroker, key: &DpopKey) -> (String, String) {
    let (code, refused) = deferred(broker, "a", key).await;
    let digits = refused.deferred.unwrap().match_code.unwrap();
    let request = refused.request.unwrap();
    says(broker, "dana", &request, yes(&digits)).await;
    broker.clock.advance(5);
    (code, request)
}

#[tokio::test]
async fn who_waits_hears_of_a_yes_and_redeems_it_with_a_fresh_token() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let held = held(&broker, "a", &key).await;
    let digits = held.match_code.clone().unwrap();
    let watch = Stopwatch::start();
    let (waited, ()) = tokio::join!(look_by(&broker, &held.request, &key, "?wait_s=30"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        says(&broker, "dana", &held.request, yes(&digits)).await;
    });
    assert!(watch.elapsed() < Duration::from_secs(20));
    let view = seen(&waited, RequestState::Approved);
    let vote = &view.votes[0];
    assert_eq!((vote.by.as_str(), vote.yes), ("Dana Ortiz", true));
    assert!(vote.vote.starts_with("vote_") && vote.lasts_s.is_some());
    assert_eq!((view.needs[0].have, view.needs[0].quorum), (1, 1));
    assert_eq!(
        (view.match_code, view.next_action.kind),
        (None, NextKind::FreshEvidence)
    );
    assert!(view.until.is_some() && view.ended_at.is_some());

    // The job that asked has gone, and the next one of the same run comes back for it with a key of its own.
    let other = DpopKey::default();
    let granted = job(&broker, "a")
        .ask("deploy", PROD)
        .proved_by(&other)
        .x509()
        .await
        .granted();
    assert_eq!(granted.request.as_deref(), Some(&*held.request));
    assert!(granted.approval_ends_at.is_some());
    broker.finish().await;
}

#[tokio::test]
async fn a_no_has_a_name_and_a_reason() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, refused) = deferred(&broker, "a", &key).await;
    let request = refused.request.unwrap();
    says(&broker, "lee", &request, no()).await;
    let view = seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Denied,
    );
    let refused = view.refused.unwrap();
    assert_eq!(
        (refused.by.as_str(), refused.reason.as_deref()),
        ("Lee Park", Some("not on a Friday"))
    );
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    let refused = answer.no_token(OAuthError::AccessDenied);
    assert_eq!(refused.code, Code::DeniedByHuman);
    assert_eq!(
        refused.error_description,
        "refused by Lee Park: not on a Friday"
    );
    let again = job(&broker, "a").ask("deploy", PROD).x509().await;
    drop(again.refused(Code::DeniedByHuman));
    broker.finish().await;
}

#[tokio::test]
async fn an_approved_code_is_redeemed_once_and_by_fresh_evidence_alone() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (first, _) = deferred(&broker, "a", &key).await;
    let (code, request) = approved(&broker, &key).await;

    // The key alone may poll, and no more.
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    let pending = answer.no_token(OAuthError::AuthorizationPending);
    assert_eq!(pending.next_action.unwrap().kind, NextKind::FreshEvidence);

    let answer = asserted(poll(&broker, &code), &job(&broker, "a"));
    let granted = answer.proved_by(&key).send().await.exchanged();
    assert_eq!(granted.issued_token_type, stint_tests::exchange::X509);
    assert!(granted.serial.is_some());

    // Once; and the other codes of the request are spent with it.
    for code in [&code, &first] {
        let form = asserted(poll(&broker, code), &job(&broker, "a"));
        drop(
            form.proved_by(&key)
                .send()
                .await
                .no_token(OAuthError::InvalidGrant),
        );
    }
    assert_eq!(broker.released(), 1);
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Approved,
    );
    broker.finish().await;
}

#[tokio::test]
async fn of_many_that_redeem_at_once_one_does() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, _) = approved(&broker, &key).await;
    let forms = (0..6).map(|_| {
        let form = asserted(poll(&broker, &code), &job(&broker, "a"));
        form.proved_by(&key).send()
    });
    let answers = together(forms).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((granted, broker.released()), (1, 1));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        drop(answer.no_token(OAuthError::InvalidGrant));
    }
    broker.finish().await;
}

#[tokio::test]
async fn evidence_that_does_not_hold_leaves_a_code_as_good_as_it_was() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, _) = approved(&broker, &key).await;
    let spent = job(&broker, "a").token();
    let staging = job(&broker, "a").ask("deploy", "Environment::staging/web");
    drop(staging.token(&spent).x509().await.granted());
    for token in [spent.as_str(), "e30.e30.e30"] {
        let form = poll(&broker, &code)
            .field("client_assertion_type", stint_wire::oauth::JWT_BEARER)
            .field("client_assertion", token);
        drop(
            form.proved_by(&key)
                .send()
                .await
                .no_token(OAuthError::InvalidClient),
        );
    }
    let form = asserted(poll(&broker, &code), &job(&broker, "a"));
    drop(form.proved_by(&key).send().await.exchanged());
    broker.finish().await;
}

#[tokio::test]
async fn policy_is_asked_again_when_a_code_is_redeemed() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, _) = approved(&broker, &key).await;
    let web = broker.read_policy("web.cedar");
    broker.write_policy("web.cedar", &web.replace("456789", "456780"));
    assert_eq!(broker.reload().await.status, 200);
    let form = asserted(poll(&broker, &code), &job(&broker, "a"));
    let refused = form
        .proved_by(&key)
        .send()
        .await
        .no_token(OAuthError::AccessDenied);
    assert_eq!(refused.code, Code::Denied);
    assert!(refused.decision_receipt.is_some() && refused.decision.is_some());
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn an_approval_that_nobody_fetched_ends() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, request) = approved(&broker, &key).await;
    broker.clock.advance(2 * 3600);
    seen(
        &look(&broker, &request, &job(&broker, "a").token()).await,
        RequestState::Expired,
    );
    let form = asserted(poll(&broker, &code), &job(&broker, "a"));
    drop(
        form.proved_by(&key)
            .send()
            .await
            .no_token(OAuthError::ExpiredToken),
    );
    broker.finish().await;
}

#[tokio::test]
async fn what_was_approved_and_not_fetched_can_be_taken_back() {
    let broker = one_approver().start().await;
    let key = DpopKey::default();
    let (code, request) = approved(&broker, &key).await;
    assert_eq!(revoke(&broker, &code, Some(&key)).await.status, 200);
    let form = asserted(poll(&broker, &code), &job(&broker, "a"));
    drop(
        form.proved_by(&key)
            .send()
            .await
            .no_token(OAuthError::AccessDenied),
    );
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Cancelled,
    );
    let again = job(&broker, "a").ask("deploy", PROD).x509().await.held();
    assert!(again.created, "the approval went with it");
    broker.finish().await;
}

#[tokio::test]
async fn of_two_that_are_asked_the_first_is_told_of() {
    let broker = TestBroker::with().people().start().await;
    let key = DpopKey::default();
    let (code, refused) = deferred(&broker, "a", &key).await;
    let (request, handle) = (refused.request.unwrap(), refused.deferred.unwrap());
    let digits = handle.match_code.unwrap();
    says(&broker, "dana", &request, yes(&digits)).await;
    broker.clock.advance(5);
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    let pending = answer.no_token(OAuthError::AuthorizationPending);
    assert_eq!(pending.error_description, "step=1/2");
    let again = job(&broker, "a").ask("deploy", PROD).x509().await.held();
    assert_eq!((again.needs[0].have, again.needs[0].quorum), (1, 2));
    let view = seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Pending,
    );
    assert_eq!((view.votes.len(), view.needs[0].have), (1, 1));
    says(&broker, "lee", &request, yes(&digits)).await;
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Approved,
    );
    broker.finish().await;
}
