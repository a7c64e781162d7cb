//! A stranger asks every route by every method, with everything a stranger has: only what PROTOCOLS.md §1 opens
//! answers, all else refuses alike, and nothing has changed afterwards.

use serde_json::json;
use stint_tests::issuer::{encode, header};
use stint_tests::{Answer, TestBroker};

use crate::openapi::committed;

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "GRANT",
];

/// What operators have on doors of their own, and what is not there at all.
const CLOSED: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/ledger/bundle",
    "/v1/policy/reload",
    "/v1/callers",
    "/oauth2/introspect",
    "/nothing",
];

/// Each route of the API, by method, and whether anybody may call it.
fn routes() -> Vec<(String, String, bool)> {
    let document = committed();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = method == "get"
                && operation["responses"].get("200").is_some()
                && operation.get("security").is_none();
            routes.push((
                method.to_uppercase(),
                path.replace("{request}", "req_1")
                    .replace("{epoch}", "0")
                    .replace("{id}", "gr_000000")
                    .replace("{level}/{place}", "0/000.p/1"),
                open,
            ));
        }
    }
    routes
}

/// What a stranger may bring: none of it is evidence.
fn junk(broker: &TestBroker) -> Vec<Option<String>> {
    let mut claims = broker.ci("acme/web").claims();
    claims.insert("iss".to_owned(), json!("https://evil.test"));
    let foreign = broker.issuers.sign(&header(), &claims);
    let none = format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(b"{}"));
    vec![
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer x".to_owned()),
        Some("Basic c3RpbnQ6c3RpbnQ=".to_owned()),
        Some(format!("Bearer {none}")),
        Some(format!("DPoP {foreign}")),
    ]
}

#[tokio::test]
async fn strangers_reach_what_is_open_and_nothing_else() {
    let broker = TestBroker::start().await;
    let routes = routes();
    let mut paths: Vec<_> = routes.iter().map(|(_, path, _)| path.as_str()).collect();
    paths.extend(CLOSED);
    paths.dedup();
    let before = broker.state().await;
    let mut opened = 0;
    for path in paths {
        for method in METHODS {
            let found = |(its, at, _): &&(String, String, bool)| {
                at == path && (its == method || (its == "GET" && method == "HEAD"))
            };
            let route = routes.iter().find(found);
            for junk in junk(&broker) {
                let mut headers =
                    Vec::from_iter(junk.as_deref().map(|junk| ("authorization", junk)));
                for media in ["application/json", "application/x-www-form-urlencoded"] {
                    headers.push(("content-type", media));
                    let answer = broker.request(method, path, &headers, b"").await;
                    headers.pop();
                    let at = format!("{method} {path} {junk:?} {media}: {answer:?}");
                    match route {
                        Some((_, _, true)) => {
                            assert_eq!(answer.status, 200, "{at}");
                            opened += 1;
                        }
                        Some((_, _, false)) => refused(&answer, &[400, 401, 415], &at),
                        None => refused(&answer, &[404], &at),
                    }
                }
            }
        }
    }
    assert!(opened > 100, "{opened}");
    assert_eq!(broker.state().await, before);
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

fn refused(answer: &Answer, statuses: &[u16], at: &str) {
    assert!(statuses.contains(&answer.status.as_u16()), "{at}");
    assert_eq!(answer.header("cache-control"), "no-store", "{at}");
    assert!(answer.header("x-request-id").starts_with("err_"), "{at}");
    assert_eq!(answer.header("set-cookie"), "", "{at}");
    let media = answer.header("content-type");
    assert!(
        matches!(media, "application/problem+json" | "application/json"),
        "{at}"
    );
}
