//! Forms that cannot be taken (PROTOCOLS.md §6, 4): refused before anybody was authenticated, so nothing is written.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::exchange::{Exchange, TYPE};
use stint_wire::Code;
use stint_wire::oauth::OAuthError;

use crate::desk::{AUDIENCE, STAGING, recorded_no, strangers_no, with_targets};

fn good(broker: &TestBroker) -> Exchange<'_> {
    broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE)
}

#[tokio::test]
async fn any_parameter_twice_is_refused() {
    let broker = TestBroker::start().await;
    let fields = good(&broker)
        .field("client_id", "x")
        .field("ledger", "leaf")
        .fields;
    for (name, value) in fields.iter().filter(|(name, _)| name != "audience") {
        for second in [value, ""] {
            let form = good(&broker).set(name, value).field(name, second);
            let refused = strangers_no(name, &broker, form, OAuthError::InvalidRequest).await;
            assert!(refused.error_description.contains("twice"), "{refused:?}");
        }
    }
    let unknown = good(&broker).field("unknown", "a").field("unknown", "b");
    strangers_no(
        "an unknown one twice",
        &broker,
        unknown,
        OAuthError::InvalidRequest,
    )
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn other_bodies_are_no_forms() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let check = async |kind: &str, body: &[u8], code: Code| {
        let form = good(&broker).header("content-type", kind);
        let refused = form
            .send_body(body)
            .await
            .no_token(OAuthError::InvalidRequest);
        assert_eq!(
            refused.code,
            code,
            "{kind} {}",
            String::from_utf8_lossy(body)
        );
    };
    let plain = "application/x-www-form-urlencoded";
    let body = good(&broker).body();
    check(
        "application/json",
        b"{\"grant_type\":\"x\"}",
        Code::UnsupportedMediaType,
    )
    .await;
    check(
        "application/json",
        body.as_bytes(),
        Code::UnsupportedMediaType,
    )
    .await;
    check(
        "multipart/form-data; boundary=x",
        body.as_bytes(),
        Code::UnsupportedMediaType,
    )
    .await;
    check(
        "application/x-www-form-urlencoded; charset=latin1",
        body.as_bytes(),
        Code::UnsupportedMediaType,
    )
    .await;
    check(plain, b"grant_type=%FF", Code::Malformed).await;
    check(plain, b"grant_type=%2", Code::Malformed).await;
    check(plain, b"\xff\xfe", Code::Malformed).await;
    let many: String = (0..33).map(|n| format!("p{n}=1&")).collect();
    check(plain, many.as_bytes(), Code::Malformed).await;
    check(plain, &vec![b'a'; 65 * 1024], Code::TooLarge).await;
    check(plain, b"", Code::InvalidField).await;
    let get = broker.get("/oauth2/token").await;
    let _not_by_get = get.refused(Code::NotFound);
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_clearly() {
    use OAuthError::{InvalidClient, InvalidRequest, UnsupportedGrantType};
    let broker = TestBroker::start().await;
    let urn = |word: &str| format!("{TYPE}{word}");
    let with = |name: &str, value: &str| good(&broker).set(name, value);
    let cases = [
        (
            "client credentials",
            with("grant_type", "client_credentials"),
            UnsupportedGrantType,
        ),
        (
            "no grant type",
            good(&broker).without("grant_type"),
            InvalidRequest,
        ),
        ("a secret", with("client_secret", "x"), InvalidClient),
        (
            "an assertion",
            with("client_assertion", "a.b.c"),
            InvalidClient,
        ),
        (
            "an assertion's type",
            with("client_assertion_type", "x"),
            InvalidClient,
        ),
        (
            "basic",
            good(&broker).header("authorization", "Basic eDp5"),
            InvalidClient,
        ),
        (
            "bearer",
            good(&broker).header("authorization", "Bearer x"),
            InvalidClient,
        ),
        (
            "no subject",
            good(&broker).without("subject_token"),
            InvalidRequest,
        ),
        (
            "an empty subject",
            with("subject_token", ""),
            InvalidRequest,
        ),
        (
            "no subject type",
            good(&broker).without("subject_token_type"),
            InvalidRequest,
        ),
        (
            "access token as evidence",
            with("subject_token_type", &urn("access_token")),
            InvalidRequest,
        ),
        (
            "refresh token",
            with("subject_token_type", &urn("refresh_token")),
            InvalidRequest,
        ),
        (
            "saml",
            with("subject_token_type", &urn("saml2")),
            InvalidRequest,
        ),
        (
            "join token",
            with("subject_token_type", "urn:stint:token-type:join"),
            InvalidRequest,
        ),
        (
            "txn subject",
            with("subject_token_type", &urn("txn_token")),
            InvalidRequest,
        ),
        (
            "an actor",
            with("actor_token", "a.b.c").field("actor_token_type", &urn("jwt")),
            InvalidRequest,
        ),
        (
            "an actor without type",
            with("actor_token", "a.b.c"),
            InvalidRequest,
        ),
        (
            "a type without actor",
            with("actor_token_type", &urn("jwt")),
            InvalidRequest,
        ),
        (
            "txn token",
            with("requested_token_type", &urn("txn_token")),
            InvalidRequest,
        ),
        (
            "id token",
            with("requested_token_type", &urn("id_token")),
            InvalidRequest,
        ),
        (
            "refresh",
            with("requested_token_type", &urn("refresh_token")),
            InvalidRequest,
        ),
        ("ledger", with("ledger", "all"), InvalidRequest),
        (
            "profile of a token",
            with("profile", "default"),
            InvalidRequest,
        ),
        (
            "scope beside details",
            with("scope", "deploy"),
            InvalidRequest,
        ),
        ("ttl beside details", with("ttl_s", "60"), InvalidRequest),
    ];
    for (what, form, error) in cases {
        strangers_no(what, &broker, form, error).await;
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_token_has_one_target() {
    let broker = TestBroker::start().await;
    let none = || good(&broker).without("audience");
    let cases = [
        ("none", none()),
        ("two", good(&broker).field("audience", "https://b.example")),
        ("the same twice", good(&broker).audience(AUDIENCE)),
        ("one of each", good(&broker).field("resource", AUDIENCE)),
        ("a relative resource", none().field("resource", "/deploy")),
        (
            "a fragment",
            none().field("resource", "https://a.example/#x"),
        ),
        ("a quote", none().audience("https://a.example/\"")),
        ("a space", none().audience("a b")),
        ("too long", none().audience(&"a".repeat(1025))),
    ];
    for (what, form) in cases {
        strangers_no(what, &broker, form, OAuthError::InvalidTarget).await;
    }
    broker.finish().await;
}

#[tokio::test]
async fn details_are_one_strict_task() {
    let broker = TestBroker::start().await;
    let good_detail =
        || json!({ "type": "stint_task", "action": "deploy", "resources": [STAGING] });
    let changed = |name: &str, value: Value| {
        let mut detail = good_detail();
        detail[name] = value;
        json!([detail]).to_string()
    };
    let twice = json!([good_detail()])
        .to_string()
        .replacen('{', "{\"action\":\"read\",", 1);
    let cases = [
        ("an object", good_detail().to_string()),
        (
            "two elements",
            json!([good_detail(), good_detail()]).to_string(),
        ),
        ("none", "[]".to_owned()),
        ("no JSON", "[{".to_owned()),
        ("a list of texts", "[\"deploy\"]".to_owned()),
        (
            "an unknown member",
            changed("locations", json!(["https://a.example"])),
        ),
        ("a duplicate member", twice),
        (
            "a duplicate deep inside",
            changed("input", json!({})).replace("\"input\":{}", "\"input\":{\"a\":1,\"a\":2}"),
        ),
        (
            "an unknown type",
            changed("type", json!("payment_initiation")),
        ),
        (
            "no type",
            json!([{ "action": "deploy", "resources": [STAGING] }]).to_string(),
        ),
        ("resources as text", changed("resources", json!(STAGING))),
        ("a number as action", changed("action", json!(1))),
        ("ttl as text", changed("ttl_s", json!("60"))),
        ("ttl of zero", changed("ttl_s", json!(0))),
        ("ttl below zero", changed("ttl_s", json!(-1))),
        ("a fraction", changed("ttl_s", json!(1.5))),
        ("a long reason", changed("reason", json!("x".repeat(501)))),
        ("a parent", changed("task", json!({ "parent": "task_1" }))),
        (
            "a deadline",
            changed("task", json!({ "deadline": "2027-03-01T11:00:00Z" })),
        ),
        ("task as text", changed("task", json!("task_1"))),
        ("bytes behind it", format!("{}x", json!([good_detail()]))),
    ];
    for (what, details) in cases {
        let form = good(&broker).set("authorization_details", &details);
        strangers_no(what, &broker, form, OAuthError::InvalidAuthorizationDetails).await;
    }
    let missing = good(&broker).without("authorization_details");
    strangers_no(
        "missing",
        &broker,
        missing,
        OAuthError::InvalidAuthorizationDetails,
    )
    .await;
    broker.finish().await;
}

/// From here on somebody is known, so each no is an entry.
#[tokio::test]
async fn details_that_the_schema_does_not_know_are_on_record() {
    let broker = TestBroker::start().await;
    let asked = |action: &str, resources: &[&str]| {
        broker
            .ci("acme/web")
            .form()
            .audience(AUDIENCE)
            .details(action, resources)
    };
    let no = (OAuthError::InvalidAuthorizationDetails, "form");
    let check = async |what, form, code| {
        assert_eq!(
            recorded_no(what, &broker, form, no).await.code,
            code,
            "{what}"
        );
    };
    check(
        "unknown action",
        asked("destroy", &[STAGING]),
        Code::UnknownAction,
    )
    .await;
    check(
        "unknown type",
        asked("deploy", &["Planet::earth"]),
        Code::UnknownResourceType,
    )
    .await;
    check("no resource", asked("deploy", &[]), Code::InvalidField).await;
    check(
        "a bare wildcard",
        asked("deploy", &["*"]),
        Code::InvalidField,
    )
    .await;
    check(
        "delegation",
        asked("Stint::Action::\"delegate\"", &[STAGING]),
        Code::UnknownAction,
    )
    .await;
    // A wildcard inside an id is a name like any other, and no policy gives it.
    let wildcard = asked("deploy", &["Environment::\"*\""]);
    let no = (OAuthError::InvalidAuthorizationDetails, "policy");
    recorded_no("a wildcard id", &broker, wildcard, no).await;
    broker.finish().await;
}

#[tokio::test]
async fn the_short_form_is_one_action_and_one_target() {
    let broker = with_targets().start().await;
    let form = || broker.ci("acme/web").form();
    let whole = || form().field("scope", "use").audience(AUDIENCE);
    let cases = [
        (
            "two actions",
            form().field("scope", "use deploy").audience(AUDIENCE),
            OAuthError::InvalidScope,
        ),
        (
            "no target",
            form().field("scope", "use"),
            OAuthError::InvalidTarget,
        ),
        (
            "no scope",
            form().audience(AUDIENCE),
            OAuthError::InvalidAuthorizationDetails,
        ),
        (
            "ttl 0",
            whole().field("ttl_s", "0"),
            OAuthError::InvalidRequest,
        ),
        (
            "ttl with a sign",
            whole().field("ttl_s", "+60"),
            OAuthError::InvalidRequest,
        ),
        (
            "ttl in words",
            whole().field("ttl_s", "1m"),
            OAuthError::InvalidRequest,
        ),
        (
            "ttl beyond all",
            whole().field("ttl_s", "4294967296"),
            OAuthError::InvalidRequest,
        ),
    ];
    for (what, form, error) in cases {
        strangers_no(what, &broker, form, error).await;
    }
    let unknown = form().field("scope", "destroy").audience(AUDIENCE);
    recorded_no(
        "unknown action",
        &broker,
        unknown,
        (OAuthError::InvalidScope, "form"),
    )
    .await;
    broker.finish().await;

    // An action that is not for targets is no policy's to permit.
    let plain = TestBroker::start().await;
    let form = plain.ci("acme/web").form().field("scope", "deploy");
    let no = (OAuthError::InvalidScope, "policy");
    recorded_no("not for targets", &plain, form.audience(AUDIENCE), no).await;
    plain.finish().await;
}

#[tokio::test]
async fn unknown_parameters_change_nothing() {
    let broker = TestBroker::start().await;
    let form = good(&broker)
        .field("client_notification_token", "x")
        .field("foo", "bar");
    let _granted = form.field("state", "").send().await.exchanged();
    broker.finish().await;
}
