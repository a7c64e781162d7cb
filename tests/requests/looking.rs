//! Who finds a request, and what they read.

use stint_tests::database::tamper;
use stint_tests::keys::DpopKey;
use stint_tests::{Like, TestBroker};
use stint_wire::{Code, NextKind, RequestState};

use crate::desk::{PROD, cancel_by, held, job, look, look_by, proof, seen};

#[tokio::test]
async fn whoever_asked_finds_it_by_evidence_that_is_spent_or_not() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let token = job(&broker, "a").token();
    let ask = job(&broker, "a")
        .ask("deploy", PROD)
        .token(&token)
        .proved_by(&key);
    let answer = ask.member("reason", "v2.3.1".into()).x509().await;
    let held = answer.held();
    let place = format!("/v1/requests/{}", held.request);
    assert_eq!(answer.header("location"), place);
    assert_eq!((held.needs[0].quorum, held.needs[0].have), (2, 0));

    for token in [token.clone(), job(&broker, "a").token(), token] {
        let answer = look(&broker, &held.request, &token).await;
        assert_eq!(answer.header("retry-after"), "3");
        let view = seen(&answer, RequestState::Pending);
        assert_eq!(view.match_code, held.match_code);
        assert_eq!((&view.needs, &view.decision), (&held.needs, &held.decision));
        assert_eq!(
            (view.expires_at, view.approve_url),
            (held.expires_at.clone(), held.approve_url.clone())
        );
        assert_eq!(view.action, "Action::\"deploy\"");
        assert_eq!(view.resources, ["Environment::\"prod/web\""]);
        assert_eq!(view.reason.as_deref(), Some("v2.3.1"));
        assert!(view.votes.is_empty() && view.seen_by.is_empty() && view.can_decide.is_none());
        assert_eq!(view.next_action.kind, NextKind::Wait);
    }
    // Fresh evidence is as fresh after a look as before.
    let token = job(&broker, "a").token();
    seen(
        &look(&broker, &held.request, &token).await,
        RequestState::Pending,
    );
    let again = job(&broker, "a")
        .ask("deploy", PROD)
        .token(&token)
        .x509()
        .await
        .held();
    assert_eq!((again.request, again.created), (held.request, false));
    broker.finish().await;
}

#[tokio::test]
async fn the_key_that_asked_finds_it_when_its_token_is_over() {
    let broker = TestBroker::start().await;
    let (first, second) = (DpopKey::default(), DpopKey::default());
    let request = held(&broker, "a", &first).await.request;
    assert_eq!(held(&broker, "a", &second).await.request, request);
    broker.clock.advance(40 * 60);
    for key in [&first, &second] {
        seen(
            &look_by(&broker, &request, key, "").await,
            RequestState::Pending,
        );
    }
    let late = job(&broker, "a").token();
    seen(&look(&broker, &request, &late).await, RequestState::Pending);
    broker.clock.advance(21 * 60);
    let view = seen(
        &look_by(&broker, &request, &first, "").await,
        RequestState::Expired,
    );
    assert_eq!((view.match_code, view.retry_after_s), (None, None));
    broker.finish().await;
}

#[tokio::test]
async fn what_is_somebody_elses_reads_like_what_never_was() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let unknown = "req_00000000000000000000000000";
    let own = job(&broker, "a").token();
    let nothing = look(&broker, unknown, &own).await;
    drop(nothing.refused(Code::NotFound));
    let foreign = [
        job(&broker, "b").token(),
        broker.ci("acme/web").on("refs/heads/fix-12").token(),
        broker.ci("acme/api").job("a").token(),
        broker.caller(Like::GitLab, "acme/infra").token(),
    ];
    for token in foreign {
        let answer = look(&broker, &request, &token).await;
        assert_eq!(answer.body, nothing.body, "{}", answer.text());
        assert_eq!(answer.status, nothing.status);
    }
    let stranger = DpopKey::default();
    for (id, key) in [
        (&*request, &stranger),
        (unknown, &stranger),
        (unknown, &key),
    ] {
        let answer = look_by(&broker, id, key, "").await;
        assert_eq!(
            (answer.status, &answer.body),
            (nothing.status, &nothing.body)
        );
        let answer = cancel_by(&broker, id, key).await;
        assert_eq!(
            (answer.status, &answer.body),
            (nothing.status, &nothing.body)
        );
    }
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Pending,
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_stranger_is_asked_who_he_is() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let path = format!("/v1/requests/{request}");
    let before = broker.state().await;
    drop(broker.get(&path).await.refused(Code::LoginRequired));
    let forged = look(&broker, &request, "e30.e30.e30").await;
    drop(forged.refused(Code::EvidenceRejected));
    let wrong = [
        proof(&broker, &key, ("POST", &path), None),
        proof(&broker, &key, ("GET", "/v1/requests/req_1"), None),
        proof(&broker, &key, ("GET", &format!("{path}/cancel")), None),
        "x".to_owned(),
    ];
    for proof in wrong {
        let answer = broker.request("GET", &path, &[("dpop", &proof)], b"").await;
        drop(answer.refused(Code::InvalidDpopProof));
    }
    assert_eq!(broker.state().await, before, "a look writes nothing");
    broker.finish().await;
}

#[tokio::test]
async fn the_key_of_a_bearer_is_nobodys() {
    let broker = TestBroker::start().await;
    let ask = job(&broker, "a").ask("deploy", PROD);
    let request = ask.x509().await.held().request;
    let key = DpopKey::default();
    drop(
        look_by(&broker, &request, &key, "")
            .await
            .refused(Code::NotFound),
    );
    seen(
        &look(&broker, &request, &job(&broker, "a").token()).await,
        RequestState::Pending,
    );
    broker.finish().await;
}

#[tokio::test]
async fn whoever_looks_all_the_time_waits() {
    let broker = TestBroker::with().limited().start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    let mut slowed = 0;
    for _ in 0..200 {
        let answer = look_by(&broker, &request, &key, "").await;
        if answer.status != 200 {
            assert!(answer.refused(Code::RateLimited).retry_after_s.is_some());
            slowed += 1;
        }
    }
    assert!(slowed > 100, "{slowed}");
    broker.finish().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_read_tells_nothing() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let request = held(&broker, "a", &key).await.request;
    tamper(
        &broker.database(),
        "ALTER TABLE request_seen RENAME TO gone",
    )
    .await;
    let answer = look_by(&broker, &request, &key, "").await;
    drop(answer.refused(Code::Unavailable));
    assert!(!answer.text().contains("request_seen"), "{}", answer.text());
    tamper(
        &broker.database(),
        "ALTER TABLE gone RENAME TO request_seen",
    )
    .await;
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Pending,
    );
    broker.finish().await;
}
