//! Failures that must look alike (SECURITY.md §5): status, headers and body, but for date and request id.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stint_tests::broker::URL;
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, Like, TestBroker};

use crate::lies;

const STAGING: &str = "Environment::staging/web";

/// A door and how evidence goes through it.
struct Door {
    path: &'static str,
    media: &'static str,
    /// Whether the evidence is in the body.
    form: bool,
    /// Whether it is spent there.
    spends: bool,
}

const DOORS: [Door; 4] = [
    Door {
        path: "/v1/grants",
        media: "application/json",
        form: false,
        spends: true,
    },
    Door {
        path: "/v1/decisions",
        media: "application/json",
        form: false,
        spends: false,
    },
    Door {
        path: "/v1/whoami",
        media: "application/json",
        form: false,
        spends: false,
    },
    Door {
        path: "/oauth2/token",
        media: "application/x-www-form-urlencoded",
        form: true,
        spends: true,
    },
];

impl Door {
    async fn knock(&self, broker: &TestBroker, token: &str, proofs: &[String]) -> Answer {
        self.ask(broker, token, proofs, "https://r.acme.dev").await
    }

    /// Asks for a JWT of this audience.
    async fn ask(
        &self,
        broker: &TestBroker,
        token: &str,
        proofs: &[String],
        audience: &str,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", self.media)];
        if !self.form {
            headers.push(("authorization", bearer.as_str()));
        }
        headers.extend(proofs.iter().map(|proof| ("dpop", proof.as_str())));
        broker
            .post(self.path, &headers, self.body(token, audience).as_bytes())
            .await
    }

    fn body(&self, token: &str, audience: &str) -> String {
        let jwt = json!({ "kind": "jwt", "audience": audience });
        match (self.form, self.path) {
            (true, _) => form(token, audience),
            (false, "/v1/whoami") => String::new(),
            (false, _) => {
                json!({ "action": "deploy", "resources": [STAGING], "credential": jwt }).to_string()
            }
        }
    }

    /// What a good proof here says.
    fn claims(
        &self,
        key: &DpopKey,
        broker: &TestBroker,
        token: &str,
    ) -> serde_json::Map<String, Value> {
        let mut claims = key.claims(&format!("{URL}{}", self.path), token, broker.now());
        if self.form {
            // The token endpoint's request has no access token to hash (RFC 9449 §4.2).
            claims.remove("ath");
        }
        claims
    }
}

/// RFC 8693 with RFC 9396.
fn form(token: &str, audience: &str) -> String {
    let details = json!([{ "type": "stint_task", "action": "deploy", "resources": [STAGING] }]);
    let escape = |text: &str| -> String {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let fields = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", token),
        ("audience", audience),
        ("authorization_details", &details.to_string()),
    ];
    let field = |(name, value): (&str, &str)| format!("{name}={}", escape(value));
    fields.map(field).join("&")
}

/// All that an answer tells, but for what differs each time. A connection is closed after its tenth failure, whatever
/// the failures were.
fn told(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let headers = answer.headers.iter();
    let headers = headers
        .filter(|(name, _)| !matches!(name.as_str(), "connection" | "date" | "x-request-id"));
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    assert!(
        answer.header("x-request-id").starts_with("err_"),
        "{:?}",
        answer.headers
    );
    (answer.status.as_u16(), headers.collect(), answer.text())
}

#[tokio::test]
async fn every_way_evidence_fails_reads_the_same_at_each_door() {
    let broker = TestBroker::start().await;
    let spent = broker.ci("acme/web").token();
    // For another ask than the doors': the same one again would be a retry.
    let asking = broker.ci("acme/web").ask("deploy", STAGING).token(&spent);
    drop(asking.x509().await.granted());
    let first = lies::all(&broker).remove(0);
    for door in DOORS {
        let like = told(&door.knock(&broker, &first.token, &[]).await);
        assert_eq!(like.0, 400, "{}: {like:?}", door.path);
        let before = broker.state().await;
        for lie in lies::all(&broker) {
            let answer = door.knock(&broker, &lie.token, &[]).await;
            assert_eq!(told(&answer), like, "{} at {}", lie.reason, door.path);
        }
        assert_eq!(broker.state().await, before, "{}", door.path);
        if door.path != "/v1/whoami" {
            let answer = door.knock(&broker, &spent, &[]).await;
            assert_eq!(told(&answer), like, "replay at {}", door.path);
        }
    }
    broker.finish().await;
}

/// A proof is judged first and by itself, so it tells nothing about the evidence beside it.
#[tokio::test]
async fn every_way_a_proof_fails_reads_the_same_at_each_door() {
    let broker = TestBroker::start().await;
    for door in DOORS {
        let key = DpopKey::default();
        let token = broker.ci("acme/web").token();
        let like = told(&door.knock(&broker, &token, &["x".to_owned()]).await);
        assert!(matches!(like.0, 400 | 401), "{}: {like:?}", door.path);
        let before = broker.state().await;
        for (about, proofs) in bad_proofs(&door, &key, &broker, &token) {
            let answer = door.knock(&broker, &token, &proofs).await;
            assert_eq!(told(&answer), like, "{about} at {}", door.path);
            let beside_a_lie = door.knock(&broker, "no.to.ken", &proofs).await;
            assert_eq!(
                told(&beside_a_lie),
                like,
                "{about} beside a lie at {}",
                door.path
            );
        }
        assert_eq!(broker.state().await, before, "{}", door.path);
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_proof_that_was_used_reads_as_any_other_that_fails() {
    let broker = TestBroker::start().await;
    for door in DOORS.into_iter().filter(|door| door.spends) {
        let key = DpopKey::default();
        let bad = broker.ci("acme/web").token();
        let like = told(&door.knock(&broker, &bad, &["x".to_owned()]).await);
        // The one token that a job has for all its asks, so that the proof alone is spent; and another ask, for the
        // same one again would be a retry.
        let token = broker.caller(Like::GitLab, "acme/web").job("7").token();
        let proof = [key.sign(&key.header(), &door.claims(&key, &broker, &token))];
        let first = door
            .ask(&broker, &token, &proof, "https://a.acme.dev")
            .await;
        assert!(told(&first) != like, "{first:?}");
        let again = door
            .ask(&broker, &token, &proof, "https://b.acme.dev")
            .await;
        assert_eq!(told(&again), like, "{}", door.path);
    }
    broker.finish().await;
}

fn bad_proofs(
    door: &Door,
    key: &DpopKey,
    broker: &TestBroker,
    token: &str,
) -> Vec<(&'static str, Vec<String>)> {
    let good = || door.claims(key, broker, token);
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims.insert(name.to_owned(), value);
        vec![key.sign(&key.header(), &claims)]
    };
    let without = |name: &str| {
        let mut claims = good();
        claims.remove(name);
        vec![key.sign(&key.header(), &claims)]
    };
    let header = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        vec![key.sign(&header, &good())]
    };
    let now = broker.now().as_secs();
    let mut proofs = vec![
        ("empty", vec![String::new()]),
        ("a word", vec!["proof".to_owned()]),
        ("another method", with("htm", json!("GET"))),
        ("another URL", with("htu", json!(format!("{URL}/v1/other")))),
        ("too old", with("iat", json!(now - 31))),
        ("too new", with("iat", json!(now + 31))),
        ("no jti", without("jti")),
        ("no iat", without("iat")),
        ("another typ", header("typ", json!("JWT"))),
        ("no algorithm", header("alg", json!("none"))),
        ("a secret algorithm", header("alg", json!("HS256"))),
        ("another's key", header("jwk", DpopKey::default().jwk())),
        (
            "two of them",
            [with("x", json!(1)), with("x", json!(2))].concat(),
        ),
    ];
    if !door.form {
        proofs.push(("no hash of the token", without("ath")));
        proofs.push(("another token", with("ath", json!("AAAA"))));
    }
    proofs
}

/// What is not there, and what is there by another name or method, is the same 404.
#[tokio::test]
async fn nothing_tells_what_is_there_by_another_name() {
    let broker = TestBroker::start().await;
    let like = told(&broker.get("/nothing").await);
    assert_eq!(like.0, 404);
    for path in [
        "/v1",
        "/v1/",
        "/v1/grants/",
        "/V1/GRANTS",
        "/v1//grants",
        "/v1/%67rants",
        "/v1/grants/gr_1",
        "/v1/trust/",
        "/v1/ledger/bundle",
        "/v1/policy/reload",
        "/healthz",
        "/readyz",
        "/metrics",
        "/a/",
        "/a/x/y",
        "/.well-known/",
        "/oauth2/",
        "/oauth2/introspect",
        "/v1/trust%2fbundle",
        "/v1/%2e%2e/metrics",
    ] {
        let answer = broker.get(path).await;
        assert!(answer.header("x-request-id").starts_with("err_"), "{path}");
        assert_eq!(told(&answer), like, "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/decisions"),
        ("POST", "/v1/trust"),
        ("DELETE", "/v1/trust"),
        ("PUT", "/v1/whoami"),
    ] {
        let answer = broker
            .request(method, path, &[("x-http-method-override", "POST")], b"")
            .await;
        assert_eq!(told(&answer), like, "{method} {path}");
    }
    let csr = keys::csr();
    let body = json!({ "action": "deploy", "resources": [STAGING], "credential": { "kind": "x509", "csr": csr } });
    let answer = broker
        .post("/v1/grants/", &[], body.to_string().as_bytes())
        .await;
    assert_eq!(told(&answer), like);
    broker.finish().await;
}
