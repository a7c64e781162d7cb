//! DPoP at the token endpoint (PROTOCOLS.md §3.7; §6, 6).

use serde_json::{Map, Value, json};
use stint_tests::TestBroker;
use stint_tests::broker::URL;
use stint_tests::exchange::Exchange;
use stint_tests::keys::DpopKey;
use stint_wire::Code;
use stint_wire::oauth::OAuthError;

use crate::desk::{AUDIENCE, STAGING, recorded_no, strangers_no};

fn form(broker: &TestBroker) -> Exchange<'_> {
    broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE)
}

fn proof(
    broker: &TestBroker,
    key: &DpopKey,
    change: impl FnOnce(&mut Value, &mut Map<String, Value>),
) -> String {
    let mut header = key.header();
    let mut claims = key.claims(&format!("{URL}/oauth2/token"), "", broker.now());
    claims.remove("ath");
    change(&mut header, &mut claims);
    key.sign(&header, &claims)
}

#[tokio::test]
async fn proofs_for_something_else_are_refused() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let now = broker.now().as_secs();
    type Change = Box<dyn FnOnce(&mut Value, &mut Map<String, Value>)>;
    let claim = |name: &'static str, value: Value| -> Change {
        Box::new(move |_, claims| drop(claims.insert(name.to_owned(), value)))
    };
    let without =
        |name: &'static str| -> Change { Box::new(move |_, claims| drop(claims.remove(name))) };
    let header = |name: &'static str, value: Value| -> Change {
        Box::new(move |header, _| header[name] = value)
    };
    let cases: Vec<(&str, Change)> = vec![
        (
            "another route",
            claim("htu", json!(format!("{URL}/v1/grants"))),
        ),
        (
            "another host",
            claim("htu", json!("http://evil.test/oauth2/token")),
        ),
        (
            "a query as part of the path",
            claim("htu", json!(format!("{URL}/oauth2/token%3Fx=1"))),
        ),
        ("GET", claim("htm", json!("GET"))),
        ("old", claim("iat", json!(now - 31))),
        ("of the future", claim("iat", json!(now + 31))),
        ("no jti", without("jti")),
        ("no htu", without("htu")),
        ("typ", header("typ", json!("JWT"))),
        ("alg", header("alg", json!("HS256"))),
        ("another key", header("jwk", DpopKey::default().jwk())),
        (
            "a private key",
            Box::new(|header, _| header["jwk"]["d"] = json!("AQ")),
        ),
        ("no key", header("jwk", Value::Null)),
    ];
    let mut first = None;
    for (what, change) in cases {
        let form = form(&broker).header("dpop", &proof(&broker, &key, change));
        let refused = strangers_no(what, &broker, form, OAuthError::InvalidDpopProof).await;
        assert_eq!(refused.code, Code::InvalidDpopProof);
        assert_eq!(
            *first.get_or_insert_with(|| refused.clone()),
            refused,
            "{what}"
        );
    }
    let two = form(&broker).proved_by(&key).proved_by(&key);
    strangers_no("two headers", &broker, two, OAuthError::InvalidDpopProof).await;
    let none = form(&broker).header("dpop", "");
    strangers_no("an empty one", &broker, none, OAuthError::InvalidDpopProof).await;
    let query = proof(&broker, &key, |_, claims| {
        claims.insert("htu".to_owned(), json!(format!("{URL}/oauth2/token?x=1#y")));
    });
    let _its_query_does_not_count = form(&broker)
        .header("dpop", &query)
        .send()
        .await
        .exchanged();
    broker.finish().await;
}

#[tokio::test]
async fn a_bad_proof_tells_nothing_of_the_token_beside_it() {
    let broker = TestBroker::start().await;
    let bad = |token: &str| {
        form(&broker)
            .set("subject_token", token)
            .header("dpop", "x.y.z")
    };
    let good = broker.ci("acme/web").token();
    let one = strangers_no(
        "a good token",
        &broker,
        bad(&good),
        OAuthError::InvalidDpopProof,
    )
    .await;
    let other = strangers_no(
        "a bad one",
        &broker,
        bad("a.b.c"),
        OAuthError::InvalidDpopProof,
    )
    .await;
    assert_eq!(one, other);
    broker.finish().await;
}

#[tokio::test]
async fn a_proof_counts_once() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let once = proof(&broker, &key, |_, _| ());
    let _granted = form(&broker).header("dpop", &once).send().await.exchanged();
    let before = broker.size().await;
    let again = form(&broker)
        .set("audience", "https://other.example")
        .header("dpop", &once);
    let _refused = again.send().await.no_token(OAuthError::InvalidDpopProof);
    assert_eq!(broker.size().await, before);
    assert_eq!(broker.released(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_policy_that_wants_a_proof_says_so() {
    let broker = TestBroker::with()
        .replace(
            "web.cedar",
            "@max_ttl(\"30m\")",
            "@max_ttl(\"30m\") @bind(\"dpop\")",
        )
        .start()
        .await;
    let no = (OAuthError::InvalidAuthorizationDetails, "limit");
    let refused = recorded_no("none where bound", &broker, form(&broker), no).await;
    assert_eq!(refused.code, Code::ProofRequired);
    let _granted = form(&broker)
        .proved_by(&DpopKey::default())
        .send()
        .await
        .exchanged();
    broker.finish().await;
}
