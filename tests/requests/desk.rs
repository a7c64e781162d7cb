//! What these tests share: an ask on hold, and those who come back for it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_tests::broker::Setup;
use stint_tests::caller::Caller;
use stint_tests::exchange::{Exchange, X509};
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, TestBroker};
use stint_wire::oauth::{JWT_BEARER, OAuthError, TokenRefused};
use stint_wire::{Held, RequestState, RequestView};

pub(crate) const PROD: &str = "Environment::prod/web";
/// The broker as its users know it: proofs are for this.
pub(crate) const URL: &str = stint_tests::broker::URL;
pub(crate) const DEFERRED: &str = "urn:ietf:params:oauth:grant-type:deferred";
pub(crate) const CODE: &str = "urn:ietf:params:oauth:token-type:deferral-code";

/// A job that may ask for production.
pub(crate) fn job<'b>(broker: &'b TestBroker, id: &str) -> Caller<'b> {
    broker.ci("acme/web").job(id).on("refs/heads/main")
}

/// An ask on hold, by `key`.
pub(crate) async fn held(broker: &TestBroker, id: &str, key: &DpopKey) -> Held {
    let ask = job(broker, id).ask("deploy", PROD).proved_by(key);
    ask.x509().await.held()
}

/// A proof of `key` for one call, with `token` beside it or alone.
pub(crate) fn proof(
    broker: &TestBroker,
    key: &DpopKey,
    (method, path): (&str, &str),
    token: Option<&str>,
) -> String {
    let mut claims = key.claims(&format!("{URL}{path}"), token.unwrap_or(""), broker.now());
    claims.insert("htm".to_owned(), method.into());
    if token.is_none() {
        claims.remove("ath");
    }
    key.sign(&key.header(), &claims)
}

/// Looks with a token.
pub(crate) async fn look(broker: &TestBroker, request: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let path = format!("/v1/requests/{request}");
    broker
        .request("GET", &path, &[("authorization", &bearer)], b"")
        .await
}

/// Looks with a key alone; `query` begins with `?` or is empty.
pub(crate) async fn look_by(
    broker: &TestBroker,
    request: &str,
    key: &DpopKey,
    query: &str,
) -> Answer {
    let path = format!("/v1/requests/{request}");
    let proof = proof(broker, key, ("GET", &path), None);
    let path = format!("{path}{query}");
    broker.request("GET", &path, &[("dpop", &proof)], b"").await
}

/// Takes it back with a key alone.
pub(crate) async fn cancel_by(broker: &TestBroker, request: &str, key: &DpopKey) -> Answer {
    let path = format!("/v1/requests/{request}/cancel");
    let proof = proof(broker, key, ("POST", &path), None);
    broker.post(&path, &[("dpop", &proof)], b"{}").await
}

/// A 200 in this state.
pub(crate) fn seen(answer: &Answer, state: RequestState) -> RequestView {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let view: RequestView = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(view.state, state, "{}", answer.text());
    view
}

/// A form for production that takes a deferred answer.
pub(crate) fn deferring<'b>(broker: &'b TestBroker, id: &str) -> Exchange<'b> {
    let form = job(broker, id).exchange("deploy", PROD);
    form.field("requested_token_type", X509)
        .field("csr", &keys::csr())
        .field("completion_mode", "deferred")
}

/// The handle on a deferred answer.
pub(crate) async fn deferred(
    broker: &TestBroker,
    id: &str,
    key: &DpopKey,
) -> (String, TokenRefused) {
    let answer = deferring(broker, id).proved_by(key).send().await;
    let refused = answer.no_token(OAuthError::AuthorizationPending);
    let code = refused.deferred.clone().unwrap().deferral_code;
    broker.canary(code.expose());
    (code.expose().to_owned(), refused)
}

/// A poll with nothing but the code.
pub(crate) fn poll<'b>(broker: &'b TestBroker, code: &str) -> Exchange<'b> {
    let form = broker.ci("acme/web").form();
    form.without("grant_type")
        .without("subject_token")
        .without("subject_token_type")
        .field("grant_type", DEFERRED)
        .field("deferral_code", code)
}

/// With evidence, as client authentication.
pub(crate) fn asserted<'b>(form: Exchange<'b>, caller: &Caller<'b>) -> Exchange<'b> {
    form.field("client_assertion_type", JWT_BEARER)
        .field("client_assertion", &caller.token())
}

/// Revokes a code with a key.
pub(crate) async fn revoke(broker: &TestBroker, code: &str, key: Option<&DpopKey>) -> Answer {
    let body = format!("token={code}&token_type_hint={}", CODE.replace(':', "%3A"));
    let proof = key.map(|key| proof(broker, key, ("POST", "/oauth2/revoke"), None));
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
    broker
        .post("/oauth2/revoke", &headers, body.as_bytes())
        .await
}

/// A broker where one SRE is enough.
pub(crate) fn one_approver() -> Setup {
    TestBroker::with()
        .people()
        .policy("tests/sample.toml", "")
        .replace("web.cedar", "@quorum(\"2\")", "@quorum(\"1\")")
        .replace("web.cedar", "votes: 2", "votes: 1")
}

/// Signs what `name` says to a request, with a new passkey.
pub(crate) async fn says(broker: &TestBroker, name: &str, request: &str, choice: Value) {
    let person = broker.signed_in(name).await;
    let passkey = person.passkey().await;
    let path = format!("/v1/requests/{request}");
    let ballot = person.post(&format!("{path}/ballot"), &choice).await;
    assert_eq!(ballot.status, 200, "{}", ballot.text());
    let ballot = ballot.json();
    let challenge = ballot["challenge"].as_str().unwrap();
    let challenge = BASE64URL_NOPAD.decode(challenge.as_bytes()).unwrap();
    let assertion = serde_json::to_value(passkey.sign(&challenge)).unwrap();
    let vote =
        json!({ "facts": ballot["facts"], "nonce": ballot["nonce"], "assertion": assertion });
    let cast = person.post(&format!("{path}/votes"), &vote).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
}

pub(crate) fn yes(code: &str) -> Value {
    json!({ "vote": "yes", "match_code": code })
}

pub(crate) fn no() -> Value {
    json!({ "vote": "no", "note": "not on a Friday" })
}
