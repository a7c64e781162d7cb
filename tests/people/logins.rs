//! From the login page to a session, and all the ways that do not lead there.

use stint_tests::TestBroker;
use stint_tests::people::{Lie, Person};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_and_is_known() {
    let broker = TestBroker::with().people().start().await;
    let stranger = Person::new(&broker, "dana");
    let sent = stranger.get("/login/start?return_to=/a/req_x%3Fy=1").await;
    assert_eq!(sent.status, 303);
    let dana = broker.signed_in("dana").await;
    assert_eq!(dana.cookie.split('=').next(), Some("stint-session"));
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_of_the_provider_is_the_same_page() {
    let broker = TestBroker::with().people().start().await;
    broker.signed_in("dana").await;
    let before = broker.state().await;
    let mut pages = std::collections::BTreeSet::new();
    for lie in [
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Issuer,
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::Party,
        Lie::Unsigned,
        Lie::Hmac,
        Lie::Forged,
        Lie::Expired,
        Lie::Early,
        Lie::AccessToken,
        Lie::Twice,
        Lie::NoSubject,
        Lie::ResponseIssuer,
        Lie::NoResponseIssuer,
        Lie::State,
        Lie::Refuses,
        Lie::TokenRefused,
    ] {
        broker.idp().tell(lie);
        let mut dana = Person::new(&broker, "dana");
        let answer = dana.try_sign_in("/login/start").await;
        assert_eq!(answer.status, 403, "{lie:?}");
        pages.insert(answer.text());
    }
    assert_eq!(pages.len(), 1);
    assert_eq!(broker.state().await, before, "nothing was written");
    broker.idp().tell(Lie::None);
    broker.signed_in("dana").await;
    broker.finish().await;
}
