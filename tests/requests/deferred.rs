//! The deferred answer of the token endpoint, from the first request to what becomes of its code.

use stint_tests::TestBroker;
use stint_tests::database::tamper;
use stint_tests::exchange::X509;
use stint_tests::keys::{self, DpopKey};
use stint_wire::oauth::OAuthError;
use stint_wire::{Code, NextKind, RequestState};

use crate::desk::{
    CODE, DEFERRED, PROD, asserted, cancel_by, deferred, deferring, held, job, look_by, poll,
    revoke, seen,
};

#[tokio::test]
async fn a_client_that_takes_a_deferred_answer_gets_a_handle_on_it() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, refused) = deferred(&broker, "a", &key).await;
    assert_eq!(refused.code, Code::ApprovalNeeded);
    let handle = refused.deferred.unwrap();
    assert_eq!((handle.expires_in, handle.interval), (3600, 5));
    assert_eq!(handle.interaction_uri, None, "https only");
    assert_eq!(handle.needs[0].policy, "prod-needs-sre");
    assert!(handle.match_code.unwrap().len() == 3 && code.len() == 27);
    let request = refused.request.unwrap();
    assert!(handle.approve_url.ends_with(&format!("/a/{request}")));

    // The JSON API knows the same request, by the same key.
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Pending,
    );
    let again = job(&broker, "a")
        .ask("deploy", PROD)
        .proved_by(&key)
        .x509()
        .await
        .held();
    assert_eq!((again.request, again.created), (request.clone(), false));

    broker.clock.advance(5);
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    let pending = answer.no_token(OAuthError::AuthorizationPending);
    assert_eq!(pending.error_description, "step=0/2");
    assert_eq!((pending.deferred, pending.request), (None, Some(request)));
    assert_eq!(pending.next_action.unwrap().kind, NextKind::Wait);

    // Asking again finds the same request, and another code for it.
    let (other, refused) = deferred(&broker, "a", &key).await;
    assert_ne!(other, code);
    assert_eq!(broker.export().await.of("requested").len(), 1);
    assert_eq!(refused.deferred.unwrap().expires_in, 3595);
    broker.finish().await;
}

#[tokio::test]
async fn modes_come_in_any_order_each_once() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let mode = |modes: &str| {
        deferring(&broker, "a")
            .set("completion_mode", modes)
            .proved_by(&key)
    };
    for modes in ["deferred", "new deferred", "deferred new"] {
        let answer = mode(modes).send().await;
        drop(answer.no_token(OAuthError::AuthorizationPending));
    }
    let refused = mode("deferred deferred").send().await;
    drop(refused.no_token(OAuthError::InvalidRequest));
    for modes in ["new", "Deferred", "deferred,new"] {
        let refused = mode(modes)
            .send()
            .await
            .no_token(OAuthError::InvalidAuthorizationDetails);
        assert_eq!(
            (refused.code, refused.deferred),
            (Code::ApprovalNeeded, None)
        );
    }
    // What needs nobody's word is granted at once.
    let form = job(&broker, "a").exchange("deploy", "Environment::staging/web");
    let form = form
        .field("requested_token_type", X509)
        .field("csr", &keys::csr());
    let form = form.field("completion_mode", "deferred").proved_by(&key);
    assert!(form.send().await.exchanged().grant.starts_with("gr_"));
    broker.finish().await;
}

#[tokio::test]
async fn a_code_is_for_the_key_that_asked_and_a_client_without_one_gets_none() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    drop(
        deferring(&broker, "a")
            .send()
            .await
            .no_token(OAuthError::InvalidRequest),
    );
    assert_eq!(broker.state().await, before);

    let (key, stranger) = (DpopKey::default(), DpopKey::default());
    let (code, _) = deferred(&broker, "a", &key).await;
    let own = || poll(&broker, &code);
    drop(own().send().await.no_token(OAuthError::InvalidDpopProof));
    drop(
        own()
            .header("dpop", "x")
            .send()
            .await
            .no_token(OAuthError::InvalidDpopProof),
    );
    let foreign = own().proved_by(&stranger).send().await;
    let unknown = poll(&broker, "AAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .proved_by(&key)
        .send()
        .await;
    drop(foreign.no_token(OAuthError::InvalidGrant));
    assert_eq!(
        foreign.body, unknown.body,
        "a foreign code reads like one that never was"
    );
    // Evidence of another run, or of another caller, is not this client's either.
    for other in [job(&broker, "b"), broker.ci("acme/api").job("a")] {
        let answer = asserted(own(), &other).proved_by(&key).send().await;
        assert_eq!(answer.body, unknown.body);
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_client_is_known_by_evidence_or_not_at_all() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, _) = deferred(&broker, "a", &key).await;
    let own = || poll(&broker, &code);
    let wrong = [
        own().field("client_secret", "s"),
        own().header("authorization", "Basic czpz"),
        own().field("client_assertion", "x"),
        own().field("client_assertion_type", stint_wire::oauth::JWT_BEARER),
        own()
            .field("client_assertion_type", "jwt")
            .field("client_assertion", "x"),
        own()
            .field("client_assertion_type", stint_wire::oauth::JWT_BEARER)
            .field("client_assertion", "e30.e30.e30"),
        own().field("client_id", "spiffe://acme.dev/other"),
    ];
    for form in wrong {
        let answer = form.proved_by(&key).send().await;
        drop(answer.no_token(OAuthError::InvalidClient));
        assert!(!answer.header("www-authenticate").is_empty());
    }
    broker.clock.advance(5);
    let answer = asserted(own(), &job(&broker, "a"))
        .proved_by(&key)
        .send()
        .await;
    drop(answer.no_token(OAuthError::AuthorizationPending));
    broker.finish().await;
}

#[tokio::test]
async fn a_poll_changes_nothing_of_what_was_asked() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, _) = deferred(&broker, "a", &key).await;
    let said = [
        ("completion_mode", "deferred"),
        ("authorization_details", "[]"),
        ("scope", "deploy"),
        ("audience", "https://a.example"),
        ("resource", "https://a.example"),
        ("subject_token", "x"),
        ("requested_token_type", X509),
        ("csr", "x"),
        ("ttl_s", "10"),
        ("reason", "x"),
    ];
    for (name, value) in said {
        let answer = poll(&broker, &code)
            .field(name, value)
            .proved_by(&key)
            .send()
            .await;
        drop(answer.no_token(OAuthError::InvalidRequest));
    }
    let none = poll(&broker, &code)
        .without("deferral_code")
        .proved_by(&key);
    drop(none.send().await.no_token(OAuthError::InvalidRequest));
    let two = poll(&broker, &code)
        .field("deferral_code", &code)
        .proved_by(&key);
    drop(two.send().await.no_token(OAuthError::InvalidRequest));
    broker.finish().await;
}

#[tokio::test]
async fn who_polls_too_soon_is_slowed_for_good_and_then_not_listened_to() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, _) = deferred(&broker, "a", &key).await;
    let poll = async || poll(&broker, &code).proved_by(&key).send().await;
    for slowed in 1..=5_u32 {
        let refused = poll().await.no_token(OAuthError::SlowDown);
        let wait = format!("wait {} s between two polls from now on", 5 + 5 * slowed);
        assert_eq!(refused.error_description, wait);
    }
    let before = broker.state().await;
    for _ in 0..50 {
        drop(poll().await.no_token(OAuthError::InvalidRequest));
    }
    assert_eq!(broker.state().await, before, "a flood writes nothing");
    broker.clock.advance(29);
    drop(poll().await.no_token(OAuthError::InvalidRequest));
    broker.clock.advance(1);
    drop(poll().await.no_token(OAuthError::AuthorizationPending));
    broker.clock.advance(30);
    drop(poll().await.no_token(OAuthError::AuthorizationPending));
    broker.finish().await;
}

#[tokio::test]
async fn a_request_that_ends_ends_its_codes() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, refused) = deferred(&broker, "a", &key).await;
    let request = refused.request.unwrap();
    seen(
        &cancel_by(&broker, &request, &key).await,
        RequestState::Cancelled,
    );
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    let refused = answer.no_token(OAuthError::AccessDenied);
    assert_eq!(refused.request.as_deref(), Some(&*request));

    let (code, _) = deferred(&broker, "a", &key).await;
    broker.clock.advance(3601);
    let answer = poll(&broker, &code).proved_by(&key).send().await;
    assert_eq!(
        answer.no_token(OAuthError::ExpiredToken).code,
        Code::RequestExpired
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_code_is_taken_back_by_its_key_alone_and_with_it_the_request() {
    let broker = TestBroker::start().await;
    let (key, stranger) = (DpopKey::default(), DpopKey::default());
    let (code, refused) = deferred(&broker, "a", &key).await;
    let request = refused.request.unwrap();
    let before = broker.state().await;
    for answer in [
        revoke(&broker, &code, None).await,
        revoke(&broker, &code, Some(&stranger)).await,
        revoke(&broker, "unknown", Some(&key)).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    }
    assert_eq!(broker.state().await, before);
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Pending,
    );
    let empty = broker.post(
        "/oauth2/revoke",
        &[("content-type", "application/x-www-form-urlencoded")],
        b"",
    );
    drop(empty.await.no_token(OAuthError::InvalidRequest));

    for _ in 0..2 {
        assert_eq!(revoke(&broker, &code, Some(&key)).await.status, 200);
        let answer = poll(&broker, &code).proved_by(&key).send().await;
        drop(answer.no_token(OAuthError::AccessDenied));
    }
    seen(
        &look_by(&broker, &request, &key, "").await,
        RequestState::Cancelled,
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_code_is_kept_as_its_hash_alone() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let (code, _) = deferred(&broker, "a", &key).await;
    let hash = stint_audit::Digest::of(code.as_bytes());
    let found = format!("UPDATE deferral SET hasty = hasty WHERE hash = '{hash}'");
    assert_eq!(tamper(&broker.database(), &found).await, 1);
    // The code itself is a canary: `finish` finds it nowhere.
    broker.finish().await;
}

#[tokio::test]
async fn what_came_by_json_has_no_code_and_what_is_offered_is_said() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    drop(held(&broker, "a", &key).await);
    let metadata = broker
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata["deferred_token_response_supported"], true);
    assert_eq!(
        metadata["revocation_endpoint_token_type_values_supported"][0],
        CODE
    );
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&DEFERRED.into()), "{grants:?}");
    assert!(
        metadata["revocation_endpoint"]
            .as_str()
            .unwrap()
            .ends_with("/oauth2/revoke")
    );
    broker.finish().await;
}
