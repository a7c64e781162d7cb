//! Subject tokens that do not hold (PROTOCOLS.md §6, 1 to 3): one answer whatever is wrong, byte for byte, and nothing
//! that stays.

use ring::hmac;
use serde_json::{Value, json};
use stint_broker::clock::Stopwatch;
use stint_tests::exchange::TYPE;
use stint_tests::issuer::{encode, header};
use stint_tests::keys::DpopKey;
use stint_tests::{Answer, TestBroker};
use stint_wire::Code;
use stint_wire::oauth::OAuthError;

use crate::desk::{AUDIENCE, STAGING, strangers_no};

/// A good token with its header or a claim changed, signed by the right key.
fn changed(broker: &TestBroker, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let caller = broker.ci("acme/web");
    let (mut header, mut claims) = (header(), Value::Object(caller.claims()));
    change(&mut header, &mut claims);
    broker
        .issuers
        .sign_text(&header.to_string(), &claims.to_string())
}

fn in_header(broker: &TestBroker, name: &str, value: Value) -> String {
    changed(broker, |header, _| header[name] = value)
}

fn claim(broker: &TestBroker, name: &str, value: Value) -> String {
    changed(broker, |_, claims| claims[name] = value)
}

fn without_header(broker: &TestBroker, name: &str) -> String {
    changed(broker, |header, _| {
        drop(header.as_object_mut().unwrap().remove(name))
    })
}

fn none(broker: &TestBroker) -> String {
    let token = in_header(broker, "alg", json!("none"));
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.")
}

fn hs256(broker: &TestBroker) -> String {
    let token = in_header(broker, "alg", json!("HS256"));
    let (input, _) = token.rsplit_once('.').unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, broker.issuers.public_key());
    format!(
        "{input}.{}",
        encode(hmac::sign(&key, input.as_bytes()).as_ref())
    )
}

fn json_form(broker: &TestBroker) -> String {
    let token = broker.ci("acme/web").token();
    let [protected, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}")
    };
    json!({ "protected": protected, "payload": payload, "signature": signature }).to_string()
}

fn liars(broker: &TestBroker) -> Vec<(&'static str, String)> {
    let own = json!([{ "aud": 1 }]);
    let issuer = broker.ci("acme/web").claims()["iss"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut liars = vec![
        ("no token", "x".to_owned()),
        ("five parts", "a.b.c.d.e".to_owned()),
        ("JSON form", json_form(broker)),
        ("alg none", in_header(broker, "alg", json!("none"))),
        ("unsigned", none(broker)),
        ("HMAC with the public key", hs256(broker)),
        ("another alg", in_header(broker, "alg", json!("RS512"))),
        ("no kid", without_header(broker, "kid")),
        ("another kid", in_header(broker, "kid", json!("other"))),
        ("jwk", in_header(broker, "jwk", DpopKey::default().jwk())),
        (
            "jku",
            in_header(broker, "jku", json!("https://evil.test/keys")),
        ),
        (
            "x5u",
            in_header(broker, "x5u", json!("https://evil.test/chain")),
        ),
        ("x5c", in_header(broker, "x5c", json!(["MIIB"]))),
        ("crit", in_header(broker, "crit", json!(["exp"]))),
        (
            "two audiences",
            claim(broker, "aud", json!([AUDIENCE, "https://b.example"])),
        ),
        ("another audience", claim(broker, "aud", json!(AUDIENCE))),
        (
            "the token endpoint",
            claim(broker, "aud", json!("http://localhost:8640/oauth2/token")),
        ),
        ("audience of another form", claim(broker, "aud", own)),
        (
            "a slash behind the issuer",
            claim(broker, "iss", json!(format!("{issuer}/"))),
        ),
        (
            "the issuer in capitals",
            claim(broker, "iss", json!(issuer.to_uppercase())),
        ),
        (
            "the issuer with a port",
            claim(
                broker,
                "iss",
                json!(issuer.replace("localhost:8640", "localhost:8641")),
            ),
        ),
        (
            "somebody else's issuer",
            claim(broker, "iss", json!("https://evil.test")),
        ),
        (
            "over",
            claim(broker, "exp", json!(broker.now().as_secs() - 60)),
        ),
        (
            "of tomorrow",
            claim(broker, "iat", json!(broker.now().as_secs() + 86_400)),
        ),
    ];
    for typ in [
        "at+jwt",
        "dpop+jwt",
        "txntoken+jwt",
        "statuslist+jwt",
        "secevent+jwt",
        "oauth-id-jag+jwt",
        "logout+jwt",
    ] {
        liars.push((typ, in_header(broker, "typ", json!(typ))));
    }
    liars
}

/// What a stranger can compare. A peer that failed too often loses its connection, whatever it sent last.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = answer.headers.iter();
    let headers = headers
        .filter(|(name, _)| {
            ![
                "connection",
                "date",
                "stint-request",
                "traceparent",
                "x-request-id",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (
        answer.status.as_u16(),
        headers.collect(),
        answer.body.clone(),
    )
}

#[tokio::test]
async fn every_lie_reads_the_same_and_leaves_nothing() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let mut first = None;
    for (what, token) in liars(&broker) {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE);
        let watch = Stopwatch::start();
        let answer = form.set("subject_token", &token).send().await;
        assert!(
            watch.elapsed().as_millis() >= 3,
            "{what} was answered too soon"
        );
        let refused = answer.no_token(OAuthError::InvalidRequest);
        assert_eq!(refused.code, Code::EvidenceRejected, "{what}");
        let seen = seen(&answer);
        assert_eq!(*first.get_or_insert_with(|| seen.clone()), seen, "{what}");
    }
    assert_eq!(broker.state().await, before);
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn what_we_mint_is_no_evidence() {
    let broker = TestBroker::start().await;
    let form = || {
        broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE)
    };
    let ours = form().send().await.exchanged().access_token.into_inner();
    for kind in ["jwt", "id_token", "access_token"] {
        let again = form().set("subject_token", &ours);
        let again = again.set("subject_token_type", &format!("{TYPE}{kind}"));
        let refused = again.send().await.no_token(OAuthError::InvalidRequest);
        assert_eq!(refused.decision, None);
    }
    assert_eq!(broker.released(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_token_counts_once_at_both_doors() {
    let broker = TestBroker::start().await;
    let token = broker.ci("acme/web").token();
    let form = || {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE);
        form.set("subject_token", &token)
    };
    let _granted = form().send().await.exchanged();
    let other = form().set("audience", "https://other.example").send().await;
    let refused = other.no_token(OAuthError::InvalidRequest);
    assert_eq!(refused.code, Code::EvidenceRejected);
    let asking = broker.ci("acme/web").ask("deploy", STAGING).token(&token);
    let _refused = asking
        .jwt("https://third.example")
        .await
        .refused(Code::EvidenceRejected);
    assert_eq!(broker.released(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_refused_form_says_nothing_of_the_token_in_it() {
    let broker = TestBroker::start().await;
    let form = |token: &str| {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(AUDIENCE);
        form.set("subject_token", token).field("scope", "deploy")
    };
    let good = broker.ci("acme/web").token();
    let one = strangers_no(
        "a good token",
        &broker,
        form(&good),
        OAuthError::InvalidRequest,
    )
    .await;
    let other = strangers_no(
        "a bad one",
        &broker,
        form("x.y.z"),
        OAuthError::InvalidRequest,
    )
    .await;
    assert_eq!(one, other);
    // Nor was it spent.
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience(AUDIENCE);
    let _granted = form.set("subject_token", &good).send().await.exchanged();
    broker.finish().await;
}
