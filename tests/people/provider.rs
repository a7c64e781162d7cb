//! A provider that is away, slow, or points to where config did not.

use stint_tests::TestBroker;
use stint_tests::people::{Lie, Person, set_cookie};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_hold_is_no_provider() {
    for lie in [
        Lie::Down,
        Lie::ForeignDocument,
        Lie::ForeignKeys,
        Lie::ForeignToken,
        Lie::Redirected,
        Lie::Huge,
        Lie::Hangs,
    ] {
        let broker = TestBroker::with().people().start().await;
        broker.idp().tell(lie);
        let stranger = Person::new(&broker, "dana");
        let answer = stranger.get("/login/start").await;
        assert_eq!(answer.status, 503, "{lie:?}");
        assert!(answer.text().contains("does not answer"), "{lie:?}");
        assert!(!answer.header("retry-after").is_empty());
        // Strangers make us ask no more often.
        let asked = broker.idp().fetches();
        for _ in 0..20 {
            assert_eq!(stranger.get("/login/start").await.status, 503);
        }
        assert_eq!(broker.idp().fetches(), asked, "{lie:?}");
        broker.idp().tell(Lie::None);
        broker.clock.advance(61);
        broker.signed_in("dana").await;
        broker.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_hangs_or_floods_signs_nobody_in() {
    for (lie, status) in [(Lie::HangsToken, 503), (Lie::HugeToken, 503)] {
        let broker = TestBroker::with().people().start().await;
        let before = broker.state().await;
        let mut dana = Person::new(&broker, "dana");
        let began = dana.get("/login/start").await;
        broker.idp().tell(lie);
        let back = broker.idp().answer(began.header("location"), "dana");
        let answer = dana.come_back(&back, &set_cookie(&began)).await;
        assert_eq!(answer.status, status, "{lie:?}");
        assert_eq!(broker.state().await, before);
        broker.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_does_not_notice_that_it_is_away() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let asked = broker.idp().fetches();
    broker.idp().tell(Lie::Down);
    broker.clock.advance(1_200);
    assert_eq!(dana.get("/v1/me").await.status, 200);
    assert_eq!(broker.idp().fetches(), asked);
    assert_eq!(
        Person::new(&broker, "lee").get("/login/start").await.status,
        503
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_begin_and_never_end_write_nothing() {
    let broker = TestBroker::with().people().start().await;
    let before = broker.state().await;
    let stranger = Person::new(&broker, "dana");
    for n in 0..50 {
        assert_eq!(
            stranger
                .get(&format!("/login/start?return_to=/a/{n}"))
                .await
                .status,
            303
        );
        assert_eq!(
            broker.get("/login/callback?code=x&state=y").await.status,
            403
        );
        let cookie = format!("stint-session={}", "A".repeat(43));
        let answer = broker
            .request("GET", "/v1/me", &[("cookie", &cookie)], b"")
            .await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(broker.state().await, before);
    assert!(broker.idp().fetches() <= 2, "{}", broker.idp().fetches());
    broker.finish().await;
}

/// A key that is not known makes the broker look again, once a minute: whoever has it sign nothing cannot have it fetch.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_looked_for_once_a_minute() {
    let broker = TestBroker::with().people().start().await;
    drop(broker.signed_in("dana").await);
    broker.idp().tell(Lie::Unpublished);
    let fetched = async || {
        let before = broker.idp().fetches();
        let mut dana = Person::new(&broker, "dana");
        assert_eq!(dana.try_sign_in("/login/start").await.status, 403);
        broker.idp().fetches() - before
    };
    let (first, second) = (fetched().await, fetched().await);
    assert_eq!(
        (first, second),
        (3, 1),
        "document, keys and token; the token alone"
    );
    broker.clock.advance(61);
    assert_eq!(fetched().await, 3);
    broker.idp().tell(Lie::None);
    drop(broker.signed_in("dana").await);
    broker.finish().await;
}
