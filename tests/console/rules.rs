//! The policies to be read, and an ask to be tried.

use serde_json::json;
use stint_tests::TestBroker;

use crate::page::{denied, page};

#[tokio::test]
async fn sources_are_for_readers_with_their_lines() {
    let broker = TestBroker::with().people().start().await;
    let olu = broker.signed_in("olu").await;
    let policy = page(&olu, "/policy").await;
    let source = policy.part("file-web-cedar");
    assert!(
        source.contains("@id(\"deploy-prod-from-main\")"),
        "{source}"
    );
    assert!(policy.part("web-cedar-1").contains("deploy-staging"));
    assert!(policy.links_to("#web-cedar-5"));
    assert!(
        policy
            .part("policy-prod-needs-sre")
            .contains("prod-needs-sre")
    );
    assert!(policy.part("versions").contains("entry"));
    let kim = broker.signed_in("kim").await;
    let names = page(&kim, "/policy").await;
    assert!(names.html.contains("deploy-prod-from-main"));
    assert!(
        !names.html.contains("456789"),
        "what a policy expects is its owner's to say"
    );
    drop((olu, kim));
    broker.finish().await;
}

#[tokio::test]
async fn an_ask_is_tried_on_the_engine_that_decides() {
    let broker = TestBroker::with().people().start().await;
    let olu = broker.signed_in("olu").await;
    let form = page(&olu, "/policy/try").await;
    let text = form.part("text");
    assert!(
        text.contains("[caller."),
        "a case of the tests is filled in: {text}"
    );
    let size = broker.size().await;
    let told = olu
        .post("/v1/policy/explain", &json!({ "text": text }))
        .await;
    assert_eq!(told.status, 200, "{}", told.text());
    let result = &told.json()["results"][0];
    assert_eq!(result["as_expected"], true, "{result}");
    let case = "now = 2027-03-01T10:00:00Z\n[caller.main]\nid = \"spiffe://acme.dev/github/123456/456789\"\n\
                issuer = \"github\"\npreset = \"github-actions\"\n\
                github = { repository_id = \"456789\", repository_owner_id = \"123456\", run_id = \"1\", ref = \"refs/heads/x\" }\n\
                [case.mine]\ncaller = \"main\"\n\
                ask = { action = \"deploy\", resources = [\"Environment::prod/web\"], credential = \"x509\", ttl = \"10m\" }\n\
                expect = {}\n";
    let told = olu
        .post("/v1/policy/explain", &json!({ "text": case }))
        .await
        .json();
    let receipt = &told["results"][0]["receipt"];
    assert_eq!(receipt["outcome"], "deny");
    assert_eq!(receipt["closest"]["fails"][0]["yours"], "refs/heads/x");
    let told = olu
        .post("/v1/policy/explain", &json!({ "text": "[caller" }))
        .await
        .json();
    assert_eq!(told["findings"][0]["line"], 1);
    assert_eq!(broker.size().await, size, "nothing was recorded");
    let decision = denied(&broker).await;
    let told = olu
        .post("/v1/policy/explain", &json!({ "decision": decision }))
        .await
        .json();
    assert_eq!(told["results"][0]["receipt"]["outcome"], "deny");
    drop(olu);
    broker.finish().await;
}

#[tokio::test]
async fn others_try_nothing_and_no_foreign_page_does() {
    let broker = TestBroker::with().people().start().await;
    let kim = broker.signed_in("kim").await;
    assert_eq!(
        kim.post("/v1/policy/explain", &json!({ "text": "" }))
            .await
            .status,
        404
    );
    let olu = broker.signed_in("olu").await;
    for bad in [
        json!({}),
        json!({ "text": "", "decision": "dec_x" }),
        json!({ "file": "/etc/passwd" }),
    ] {
        assert_eq!(
            olu.post("/v1/policy/explain", &bad).await.status,
            400,
            "{bad}"
        );
    }
    assert_eq!(
        olu.post("/v1/policy/explain", &json!({ "decision": "dec_000000" }))
            .await
            .status,
        404
    );
    let headers = [
        ("content-type", "application/json"),
        ("origin", "https://evil.example"),
    ];
    let foreign = olu
        .post_with("/v1/policy/explain", &headers, b"{\"text\":\"\"}")
        .await;
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    assert_ne!(
        broker
            .post("/v1/policy/explain", &headers, b"{}")
            .await
            .status,
        200
    );
    drop((kim, olu));
    broker.finish().await;
}
