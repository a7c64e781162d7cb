//! `stint login`: somebody at a browser lets a terminal in, and its key alone can use what it gets.

use data_encoding::BASE64URL_NOPAD;
use reqwest::Url;
use serde_json::{Value, json};
use stint_audit::Digest;
use stint_tests::TestBroker;
use stint_tests::answer::Answer;
use stint_tests::broker::URL;
use stint_tests::keys::DpopKey;
use stint_tests::people::Person;

const VERIFIER: &str = "a-verifier-that-stays-in-the-terminal-0123456789";

fn challenge() -> String {
    BASE64URL_NOPAD.encode(Digest::of(VERIFIER.as_bytes()).as_bytes())
}

/// What somebody says at the page; the code that came of it.
async fn code(person: &Person<'_>, key: &DpopKey) -> String {
    let body = json!({ "port": 40111, "challenge": challenge(), "key": key.thumbprint(), "state": "s&t=1" });
    let answer = person.post("/v1/cli/codes", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let url = Url::parse(answer.json()["redirect"].as_str().unwrap()).unwrap();
    assert_eq!(
        (url.host_str(), url.port(), url.path()),
        (Some("127.0.0.1"), Some(40111), "/")
    );
    let mut pairs = url.query_pairs();
    let (name, code) = pairs.next().unwrap();
    assert_eq!(name, "code");
    assert_eq!(pairs.next().unwrap(), ("state".into(), "s&t=1".into()));
    code.into_owned()
}

/// A proof without a token, for the door where a session is opened.
fn proof(broker: &TestBroker, key: &DpopKey) -> String {
    let mut claims = key.claims(&format!("{URL}/v1/sessions"), "", broker.now());
    claims.remove("ath");
    key.sign(&key.header(), &claims)
}

async fn redeem(broker: &TestBroker, key: &DpopKey, code: &str, verifier: &str) -> Answer {
    let proof = proof(broker, key);
    let body = json!({ "code": code, "verifier": verifier }).to_string();
    broker
        .post("/v1/sessions", &[("dpop", &proof)], body.as_bytes())
        .await
}

/// A request of the terminal.
async fn call(broker: &TestBroker, key: &DpopKey, token: &str, method: &str, path: &str) -> Answer {
    let mut claims = key.claims(&format!("{URL}{path}"), token, broker.now());
    claims.insert("htm".to_owned(), json!(method));
    let proof = key.sign(&key.header(), &claims);
    let bearer = format!("DPoP {token}");
    let headers = [("authorization", bearer.as_str()), ("dpop", proof.as_str())];
    broker.request(method, path, &headers, b"{}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_acts_for_an_hour_with_its_key() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let key = DpopKey::default();
    let page = dana
        .get(&format!(
            "/cli/authorize?port=40111&challenge={}&key={}&state=x",
            challenge(),
            key.thumbprint()
        ))
        .await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains(&key.thumbprint()));
    let code = code(&dana, &key).await;
    broker.canary(&code);
    let opened = redeem(&broker, &key, &code, VERIFIER).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let opened: Value = opened.json();
    assert_eq!(opened["person"], dana.id());
    assert_eq!(opened["expires_at"], "2027-03-01T11:00:00Z");
    let token = opened["token"].as_str().unwrap();
    assert!(token.starts_with("stint_cli_"));
    broker.canary(token);
    let me = call(&broker, &key, token, "GET", "/v1/me").await;
    assert_eq!(me.status, 200, "{}", me.text());
    assert_eq!(me.json()["id"], dana.id());
    // Not with another key, not as a bearer, not as a cookie.
    assert_eq!(
        call(&broker, &DpopKey::default(), token, "GET", "/v1/me")
            .await
            .status,
        401
    );
    let bearer = format!("Bearer {token}");
    assert_eq!(
        broker
            .request("GET", "/v1/me", &[("authorization", &bearer)], b"")
            .await
            .status,
        401
    );
    let dpop = format!("DPoP {token}");
    assert_eq!(
        broker
            .request("GET", "/v1/me", &[("authorization", &dpop)], b"")
            .await
            .status,
        401
    );
    let cookie = format!("stint-session={token}");
    assert_eq!(
        broker
            .request("GET", "/v1/me", &[("cookie", &cookie)], b"")
            .await
            .status,
        401
    );
    // A proof counts once.
    let mut claims = key.claims(&format!("{URL}/v1/me"), token, broker.now());
    claims.insert("htm".to_owned(), json!("GET"));
    let proof = key.sign(&key.header(), &claims);
    let headers = [("authorization", dpop.as_str()), ("dpop", proof.as_str())];
    assert_eq!(
        broker.request("GET", "/v1/me", &headers, b"").await.status,
        200
    );
    assert_eq!(
        broker.request("GET", "/v1/me", &headers, b"").await.status,
        401
    );
    let logins = broker.export().await.of("login");
    assert_eq!(logins[1].header["what"], json!({ "via": "cli" }));
    assert_eq!(logins[1].header["subj"], logins[0].header["subj"]);
    broker.clock.advance(3_599);
    assert_eq!(
        call(&broker, &key, token, "GET", "/v1/me").await.status,
        200
    );
    broker.clock.advance(1);
    assert_eq!(
        call(&broker, &key, token, "GET", "/v1/me").await.status,
        401
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_for_two_minutes_with_its_key_and_verifier() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let key = DpopKey::default();
    let first = code(&dana, &key).await;
    let before = broker.state().await;
    let refused = async |answer: Answer| {
        assert_eq!(
            (answer.status.as_u16(), answer.problem().code.as_str()),
            (400, "evidence_rejected")
        );
    };
    refused(redeem(&broker, &key, &first, "another-verifier").await).await;
    refused(redeem(&broker, &DpopKey::default(), &first, VERIFIER).await).await;
    refused(redeem(&broker, &key, "made-up", VERIFIER).await).await;
    let body = json!({ "code": first, "verifier": VERIFIER }).to_string();
    assert_eq!(
        broker
            .post("/v1/sessions", &[], body.as_bytes())
            .await
            .status,
        401,
        "no proof"
    );
    assert_eq!(broker.state().await, before, "strangers write nothing");
    assert_eq!(redeem(&broker, &key, &first, VERIFIER).await.status, 201);
    refused(redeem(&broker, &key, &first, VERIFIER).await).await;
    let late = code(&dana, &key).await;
    broker.clock.advance(121);
    refused(redeem(&broker, &key, &late, VERIFIER).await).await;
    // Whoever let it in has left.
    let last = code(&dana, &key).await;
    assert_eq!(dana.post("/logout", &json!({})).await.status, 204);
    refused(redeem(&broker, &key, &last, VERIFIER).await).await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_signs_out_and_lets_nobody_in() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let key = DpopKey::default();
    let code = code(&dana, &key).await;
    let opened = redeem(&broker, &key, &code, VERIFIER).await.json();
    let token = opened["token"].as_str().unwrap();
    let answer = call(&broker, &key, token, "POST", "/v1/cli/codes").await;
    assert_ne!(answer.status, 201);
    assert_eq!(
        call(&broker, &key, token, "POST", "/v1/sessions/end")
            .await
            .status,
        204
    );
    assert_eq!(
        call(&broker, &key, token, "GET", "/v1/me").await.status,
        401
    );
    assert_eq!(dana.get("/v1/me").await.status, 200);
    for (what, odd) in [
        ("port", json!(80)),
        ("challenge", json!("short")),
        ("key", json!("short")),
        ("state", json!("x\ny")),
    ] {
        let mut body = json!({ "port": 40111, "challenge": challenge(), "key": key.thumbprint() });
        body[what] = odd;
        assert_eq!(
            dana.post("/v1/cli/codes", &body).await.status,
            400,
            "{what}"
        );
    }
    broker.finish().await;
}
