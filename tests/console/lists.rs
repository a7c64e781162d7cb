//! The lists as JSON: what a page shows its reader, and nothing else.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::people::Person;

use crate::page::{granted, page};

const CALLER: &str = "spiffe://acme.dev/github/123456/456789";

async fn list(person: &Person<'_>, path: &str) -> Value {
    let answer = person.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

fn of<'v>(list: &'v Value, name: &str) -> &'v Vec<Value> {
    list[name].as_array().unwrap()
}

/// Until the index has it.
async fn there(person: &Person<'_>, grant: &str) {
    eventually("the grant is listed", async || {
        list(person, "/v1/grants").await.to_string().contains(grant)
    })
    .await;
}

#[tokio::test]
async fn readers_list_grants_tasks_and_callers() {
    let broker = TestBroker::with().people().start().await;
    let grant = granted(&broker).await;
    let avery = broker.signed_in("avery").await;
    there(&avery, &grant).await;
    let grants = list(&avery, "/v1/grants").await;
    let found = &of(&grants, "grants")[0];
    assert_eq!(found["grant"], json!(grant));
    assert_eq!(found["caller"], CALLER);
    assert_eq!(
        (&found["action"], &found["credential"]),
        (&json!("deploy"), &json!("x509"))
    );
    assert!(
        found["granted_at"].is_string() && found["ledger"]["seq"].is_u64(),
        "{found}"
    );
    assert_eq!(grants["next"], Value::Null);
    for (filters, count) in [
        ("standing=live", 1),
        (
            "caller=spiffe://acme.dev/github/123456/456789&action=deploy",
            1,
        ),
        ("caller=spiffe%3A%2F%2Facme.dev%2Fgithub%2F1%2F2", 0),
        ("action=read", 0),
        ("from=2027-03-01", 1),
        ("to=2027-02-01", 0),
    ] {
        let found = list(&avery, &format!("/v1/grants?{filters}")).await;
        assert_eq!(of(&found, "grants").len(), count, "{filters}");
    }
    let tasks = list(&avery, "/v1/tasks").await;
    let task = &of(&tasks, "tasks")[0];
    assert_eq!(
        (&task["grants"], &task["source"]),
        (&json!(1), &json!("evidence"))
    );
    let within = format!("/v1/grants?task={}", task["task"].as_str().unwrap());
    assert_eq!(of(&list(&avery, &within).await, "grants").len(), 1);
    let callers = list(&avery, "/v1/callers").await;
    let caller = &of(&callers, "callers")[0];
    assert_eq!(
        (&caller["caller"], &caller["owner"]),
        (&json!(CALLER), &json!("release"))
    );
    assert!(
        caller["granted_at"].is_string() && caller["denied_at"].is_null(),
        "{caller}"
    );
    for (filters, count) in [
        ("issuer=github", 1),
        ("issuer=gitlab", 0),
        ("find=no-owner", 0),
    ] {
        let found = list(&avery, &format!("/v1/callers?{filters}")).await;
        assert_eq!(of(&found, "callers").len(), count, "{filters}");
    }
    // The page says how to get the same.
    let shown = page(&avery, "/grants?action=deploy").await;
    assert!(shown.html.contains("GET /v1/grants?action=deploy"));
    assert!(shown.html.contains("stint ls grants action=deploy"));
    drop(avery);
    broker.finish().await;
}

#[tokio::test]
async fn others_list_what_is_theirs() {
    let broker = TestBroker::with().people().start().await;
    broker.idp().set("remy", "groups", json!(["release"]));
    broker.idp().set("sam", "groups", json!(["nobody"]));
    let grant = granted(&broker).await;
    let (remy, sam) = (
        broker.signed_in("remy").await,
        broker.signed_in("sam").await,
    );
    there(&remy, &grant).await;
    assert_eq!(of(&list(&remy, "/v1/callers").await, "callers").len(), 1);
    assert_eq!(
        of(&list(&remy, "/v1/callers?issuer=gitlab").await, "callers").len(),
        0
    );
    for (path, name) in [
        ("/v1/grants", "grants"),
        ("/v1/grants?standing=live", "grants"),
        (
            "/v1/grants?caller=spiffe://acme.dev/github/123456/456789",
            "grants",
        ),
        ("/v1/tasks", "tasks"),
        ("/v1/callers", "callers"),
    ] {
        assert_eq!(of(&list(&sam, path).await, name).len(), 0, "{path}");
        assert_eq!(broker.get(path).await.status, 401, "{path}");
    }
    drop((remy, sam));
    broker.finish().await;
}

#[tokio::test]
async fn a_list_refuses_what_it_does_not_know() {
    let broker = TestBroker::with().people().start().await;
    let avery = broker.signed_in("avery").await;
    for path in [
        "/v1/grants?stanidng=live",
        "/v1/grants?standing=dead",
        "/v1/grants?after=nowhere",
        "/v1/grants?standing=live&after=17",
        "/v1/grants?caller=",
        "/v1/grants?action",
        "/v1/tasks?caller=x",
        "/v1/tasks?after=17",
        "/v1/callers?find=lost",
    ] {
        let refused = avery.get(path).await;
        assert_eq!(refused.status, 400, "{path}");
        assert_eq!(refused.json()["code"], "invalid_field", "{path}");
    }
    drop(avery);
    broker.finish().await;
}
