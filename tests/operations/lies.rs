//! Evidence that does not hold, one lie for each reason a broker can have.

use serde_json::{Map, Value, json};
use stint_tests::TestBroker;
use stint_tests::issuer::{encode, header};

/// A lie, and the reason that operators read for it (IDENTITY.md §2.4).
pub(crate) struct Lie {
    pub(crate) reason: &'static str,
    pub(crate) token: String,
}

/// One lie for each reason, but for replays, which need a token that was true once.
pub(crate) fn all(broker: &TestBroker) -> Vec<Lie> {
    let good = || broker.ci("acme/web").token();
    let now = broker.now().as_secs();
    let signature = |token: &str| {
        let (input, _) = token.rsplit_once('.').unwrap();
        format!("{input}.{}", encode(&[7; 256]))
    };
    let lie = |reason, token| Lie { reason, token };
    vec![
        lie("form", "token".to_owned()),
        lie("form", format!("{}.x", good())),
        lie(
            "too_large",
            format!("{}.{}.x", encode(b"{}"), "a".repeat(9_000)),
        ),
        lie("header", with_header(broker, "crit", json!(["exp"]))),
        lie(
            "header",
            with_header(broker, "jku", json!("https://evil.test/keys")),
        ),
        lie("alg", with_header(broker, "alg", json!("ES256"))),
        lie("key", with_header(broker, "kid", json!("another"))),
        lie("typ", with_header(broker, "typ", json!("dpop+jwt"))),
        lie("signature", signature(&good())),
        lie(
            "issuer",
            with(broker, &[("iss", json!("https://evil.test"))]),
        ),
        lie(
            "audience",
            with(broker, &[("aud", json!("https://other.test"))]),
        ),
        lie(
            "expired",
            with(
                broker,
                &[
                    ("iat", json!(now - 331)),
                    ("nbf", json!(now - 331)),
                    ("exp", json!(now - 31)),
                ],
            ),
        ),
        lie("early", with(broker, &[("nbf", json!(now + 120))])),
        lie("lifetime", with(broker, &[("exp", json!(now + 700))])),
        lie("claims", with(broker, &[("repository_id", json!(456_789))])),
        lie(
            "event",
            with(broker, &[("event_name", json!("pull_request_target"))]),
        ),
        lie(
            "not_admitted",
            with(broker, &[("repository_owner_id", json!("123457"))]),
        ),
    ]
}

fn with(broker: &TestBroker, changes: &[(&str, Value)]) -> String {
    let mut claims: Map<_, _> = broker.ci("acme/web").claims();
    for (name, value) in changes {
        claims.insert((*name).to_owned(), value.clone());
    }
    broker.issuers.sign(&header(), &claims)
}

fn with_header(broker: &TestBroker, name: &str, value: Value) -> String {
    let mut header = header();
    header[name] = value;
    broker
        .issuers
        .sign(&header, &broker.ci("acme/web").claims())
}
