//! One grant, one decision, one entry: told whole, proven, and harmless whatever its requester wrote.

use serde_json::json;
use stint_tests::TestBroker;

use crate::page::{denied, granted, held, page, until};

#[tokio::test]
async fn a_grant_is_told_from_claims_to_end() {
    let broker = TestBroker::with().people().start().await;
    let grant = granted(&broker).await;
    let avery = broker.signed_in("avery").await;
    let before = broker.size().await;
    let story = page(&avery, &format!("/grants/{grant}")).await;
    assert_eq!(
        story.heading(),
        "Action::\"deploy\" Environment::\"staging/web\""
    );
    let claims = story.part("claims");
    for word in [
        "github.repository_id",
        "456789",
        "github.ref",
        "refs/heads/main",
        "release",
    ] {
        assert!(claims.contains(word), "{word}: {claims}");
    }
    assert!(story.part("policy").contains("deploy-staging"));
    assert!(story.part("credential").contains("x509"));
    assert!(story.part("story").contains("recorded, then signed"));
    // That the body was read is an entry itself.
    assert_eq!(broker.size().await, before + 1);
    let listed = until(&avery, "/ledger?kind=admin", "</svg>admin</span>").await;
    assert!(listed.part("list").contains("admin"));
    let proof = avery.get(&format!("/grants/{grant}/proof")).await;
    assert!(
        proof.text().starts_with("c2sp.org/tlog-proof@v1\n"),
        "{}",
        proof.text()
    );
    drop(avery);
    broker.finish().await;
}

#[tokio::test]
async fn a_requesters_markup_is_text() {
    let broker = TestBroker::with().people().start().await;
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onfocus=\"x";
    let caller = broker.ci("acme/web").on("refs/heads/main");
    let asked = caller
        .ask("deploy", "Environment::staging/web")
        .member("reason", json!(evil));
    let grant = asked.x509().await.granted().grant;
    let avery = broker.signed_in("avery").await;
    // The reader of pages refuses inline scripts and handlers: that it reads this one is the test.
    let story = page(&avery, &format!("/grants/{grant}")).await;
    assert!(
        story.part("standing").contains(evil),
        "{}",
        story.part("standing")
    );
    assert!(!story.html.contains("<script>") && !story.html.contains("<img src=x"));
    for path in [
        "/requests?caller=%3Cscript%3Ealert(1)%3C/script%3E",
        "/ledger?at=%22%3E%3Cscript%3E",
    ] {
        let echoed = page(&avery, path).await;
        assert!(!echoed.html.contains("<script>"), "{path}");
    }
    drop(avery);
    broker.finish().await;
}

#[tokio::test]
async fn the_table_for_spreadsheets_runs_nothing() {
    let broker = TestBroker::with().people().start().await;
    let grant = granted(&broker).await;
    let avery = broker.signed_in("avery").await;
    until(&avery, "/grants", &grant).await;
    let csv = avery.get("/grants.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.header("content-disposition"),
        "attachment; filename=\"grants.csv\""
    );
    assert_eq!(csv.header("x-content-type-options"), "nosniff");
    let text = csv.text();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("grant,granted,ends,action,caller,task,credential,serial_or_jti,entry")
    );
    let row: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!((row[0], row[3], row[6]), (grant.as_str(), "deploy", "x509"));
    assert_eq!(row[4], "spiffe://acme.dev/github/123456/456789");
    for cell in row {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    assert_eq!(
        avery
            .get("/grants.csv?action=read")
            .await
            .text()
            .lines()
            .count(),
        1
    );
    drop(avery);
    broker.finish().await;
}

#[tokio::test]
async fn a_decision_says_what_failed_with_the_callers_own_value() {
    let broker = TestBroker::with().people().start().await;
    let decision = denied(&broker).await;
    broker.idp().set("remy", "groups", json!(["release"]));
    broker.idp().set("sam", "groups", json!(["nobody"]));
    let avery = broker.signed_in("avery").await;
    let receipt = page(&avery, &format!("/decisions/{decision}")).await;
    let closest = receipt.part("closest");
    for word in ["deploy-prod-from-main", "ref", "fails", "refs/heads/fix-12"] {
        assert!(closest.contains(word), "{word}: {closest}");
    }
    assert!(receipt.part("outcome").contains("release"), "whom to ask");
    assert!(receipt.part("today").contains("deny"));
    assert!(receipt.part("input").contains("\"principal\""));
    let sam = broker.signed_in("sam").await;
    assert_eq!(sam.get(&format!("/decisions/{decision}")).await.status, 404);
    drop((avery, sam));
    broker.finish().await;
}

#[tokio::test]
async fn a_decision_is_copied_as_a_test_case_that_runs() {
    let broker = TestBroker::with().people().start().await;
    let (grant, decision) = (granted(&broker).await, denied(&broker).await);
    let held = held(&broker).await;
    let avery = broker.signed_in("avery").await;
    for (id, outcome) in [(&grant, "permit"), (&decision, "deny"), (&held, "hold")] {
        let path = format!("/decisions/{id}");
        let shown = page(&avery, &path).await;
        let part = shown.part("case");
        assert!(part.contains("Today it passes"), "{part}");
        assert!(part.contains(&format!("tests/{id}.toml")), "{part}");
        let copied = shown
            .all("button")
            .filter_map(|button| button.attributes.get("data-copy"))
            .find(|text| text.contains("[case."))
            .unwrap();
        let told = avery
            .post("/v1/policy/explain", &json!({ "text": copied }))
            .await
            .json();
        assert_eq!(told["findings"], json!([]), "{told}");
        assert_eq!(told["results"].as_array().unwrap().len(), 1);
        assert_eq!(told["results"][0]["as_expected"], true, "{told}");
        assert_eq!(told["results"][0]["receipt"]["outcome"], outcome);
    }
    // Who does not see what a policy expects sees no case either: there is its whole input.
    let kim = broker.signed_in("kim").await;
    let starters = page(&kim, &format!("/decisions/{grant}")).await;
    assert!(!starters.html.contains("As a test case"));
    // A set that says otherwise fails it, and the page says so.
    let web = broker.read_policy("web.cedar");
    broker.write_policy("tests/sample.toml", "");
    broker.write_policy("web.cedar", &web.replacen("\"456789\"", "\"456780\"", 1));
    assert_eq!(broker.reload().await.status, 200);
    let today = page(&avery, &format!("/decisions/{grant}")).await;
    assert!(
        today.part("case").contains("Today it fails: outcome"),
        "{}",
        today.part("case")
    );
    drop((avery, kim));
    broker.finish().await;
}

#[tokio::test]
async fn an_entry_has_its_bytes_its_path_and_its_body() {
    let broker = TestBroker::with().people().start().await;
    let grant = granted(&broker).await;
    let avery = broker.signed_in("avery").await;
    let found = avery.get(&format!("/ledger?at={grant}")).await;
    assert_eq!(found.status, 303);
    let path = found.header("location").to_owned();
    let entry = page(&avery, &path).await;
    let origin = broker.get("/v1/trust").await.json()["ledger"]["origin"].clone();
    assert!(entry.part("bytes").contains(&format!("\"id\":\"{grant}\"")));
    assert!(
        entry.part("checkpoint").contains(origin.as_str().unwrap()),
        "{}",
        entry.part("checkpoint")
    );
    assert!(entry.links_to(&format!("/grants/{grant}")));
    let proof = avery.get(&format!("{path}/proof")).await.text();
    assert!(proof.contains(&format!("index {}\n", path.trim_start_matches("/ledger/"))));
    let body = page(&avery, &format!("{path}/body")).await;
    assert!(body.part("laid-out").contains("\"caller\""));
    // By the time, and by the number.
    until(&avery, "/ledger", &grant).await;
    for (place, found) in [
        ("0", true),
        ("2027-03-02", true),
        ("2027-02-01", true),
        ("gr_00000000", false),
    ] {
        let shown = page(&avery, &format!("/ledger?at={place}")).await;
        assert_eq!(!shown.links("/ledger/").is_empty(), found, "{place}");
    }
    drop(avery);
    broker.finish().await;
}
