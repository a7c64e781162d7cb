//! Others see what is theirs: what they may decide, what they started, what software of their groups did.

use serde_json::json;
use stint_tests::TestBroker;

use crate::page::{denied, granted, held, page, until};

#[tokio::test]
async fn an_owner_sees_what_its_software_does() {
    let broker = TestBroker::with().people().start().await;
    broker.idp().set("remy", "groups", json!(["release"]));
    let (grant, decision) = (granted(&broker).await, denied(&broker).await);
    let remy = broker.signed_in("remy").await;
    let kim = broker.signed_in("kim").await;
    let grants = until(&remy, "/grants", &grant).await;
    assert!(grants.links_to(&format!("/grants/{grant}")));
    assert!(
        page(&kim, "/grants")
            .await
            .html
            .contains("Nothing was granted yet")
    );
    let story = page(&remy, &format!("/grants/{grant}")).await;
    assert!(story.html.contains("repository_id"));
    // The owner of the policies that decided sees what they expect.
    let receipt = page(&remy, &format!("/decisions/{decision}")).await;
    assert!(receipt.html.contains("deploy-prod-from-main"));
    let callers = page(&remy, "/callers").await;
    assert_eq!(callers.links("/callers/acme.dev").len(), 1);
    assert!(page(&kim, "/callers").await.links("/callers/").is_empty() || !callers.html.is_empty());
    drop((remy, kim));
    broker.finish().await;
}

#[tokio::test]
async fn who_started_a_run_sees_its_task() {
    let broker = TestBroker::with().people().start().await;
    let caller = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .claim("actor_id", json!("28"));
    let run = caller
        .ask("deploy", "Environment::staging/web")
        .x509()
        .await
        .granted();
    let kim = broker.signed_in("kim").await;
    let lee = broker.signed_in("lee").await;
    let tasks = page(&kim, "/tasks").await;
    assert!(tasks.links_to(&format!("/tasks/{}", run.task)));
    let task = until(&kim, &format!("/tasks/{}", run.task), &run.grant).await;
    assert!(task.part("grants").contains(&run.grant));
    assert_eq!(kim.get(&format!("/grants/{}", run.grant)).await.status, 200);
    assert_eq!(lee.get(&format!("/tasks/{}", run.task)).await.status, 404);
    drop((kim, lee));
    broker.finish().await;
}

#[tokio::test]
async fn who_may_decide_sees_the_request_and_filters_find_it() {
    let broker = TestBroker::with().people().start().await;
    let request = held(&broker).await;
    let dana = broker.signed_in("dana").await;
    let kim = broker.signed_in("kim").await;
    let listed = page(&dana, "/requests").await;
    assert!(listed.links_to(&format!("/a/{request}")));
    // Whoever started it sees it too, though that is known by a later login.
    assert!(page(&kim, "/requests").await.html.contains(&request));
    for (filter, found) in [
        ("state=pending", true),
        ("state=approved", false),
        ("action=deploy", true),
        ("action=Action%3A%3A%22deploy%22", true),
        ("action=read", false),
        (
            "caller=spiffe%3A%2F%2Facme.dev%2Fgithub%2F123456%2F456789",
            true,
        ),
        ("caller=spiffe%3A%2F%2Facme.dev%2Fgithub%2F1%2F2", false),
        ("from=2027-03-01&to=2027-03-02", true),
        ("from=2027-03-02", false),
        ("to=2027-03-01", false),
    ] {
        let shown = page(&dana, &format!("/requests?{filter}")).await;
        assert_eq!(shown.html.contains(&request), found, "{filter}");
        if !found {
            assert!(shown.html.contains("No request fits"), "{filter}");
        }
    }
    drop((dana, kim));
    broker.finish().await;
}

#[tokio::test]
async fn a_long_list_goes_on_from_where_it_ended() {
    let broker = TestBroker::with().people().start().await;
    let mut all = Vec::new();
    for _ in 0..130 {
        all.push(granted(&broker).await);
    }
    let avery = broker.signed_in("avery").await;
    for (path, order) in [("/grants", "seq"), ("/grants?standing=live", "until")] {
        until(&avery, "/grants", all.last().unwrap()).await;
        let first = page(&avery, path).await;
        let first_rows = first.links("/grants/gr_");
        assert_eq!(first_rows.len(), 100, "{order}");
        let next = first
            .all("a")
            .find(|tag| tag.attributes.get("rel").is_some_and(|it| it == "next"));
        let next = next.unwrap().attributes["href"].clone();
        let rest = page(&avery, &next).await.links("/grants/gr_");
        assert_eq!(rest.len(), 30, "{order}");
        let mut seen: Vec<String> = first_rows.into_iter().chain(rest).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 130, "{order}");
    }
    let csv = avery.get("/grants.csv").await.text();
    assert_eq!(csv.lines().count(), 131, "the whole result and its head");
    drop(avery);
    broker.finish().await;
}

#[tokio::test]
async fn callers_without_an_owner_are_a_finding_and_unused_ones_are_found() {
    let broker = TestBroker::with().people().start().await;
    granted(&broker).await;
    let other = broker.ci("acme/api").on("refs/heads/main");
    let refused = other.ask("deploy", "Environment::staging/web").x509().await;
    assert_eq!(refused.status, 403);
    let avery = broker.signed_in("avery").await;
    let all = until(&avery, "/callers", "in use").await;
    assert_eq!(all.links("/callers/acme.dev").len(), 2);
    assert!(all.html.contains("no owner"));
    let orphans = page(&avery, "/callers?find=no-owner").await;
    assert_eq!(orphans.links("/callers/acme.dev").len(), 1);
    assert!(
        page(&avery, "/callers?find=unused-30")
            .await
            .links("/callers/acme.dev")
            .is_empty()
    );
    let one = page(&avery, "/callers/acme.dev/github/123456/456789").await;
    assert_eq!(one.heading(), "spiffe://acme.dev/github/123456/456789");
    assert!(one.part("standing").contains("may ask"));
    let shut = json!({ "id": one.heading(), "reason": "taken over" });
    assert_eq!(
        broker.command("/v1/callers/disable", &shut).await.status,
        200
    );
    let shut = page(&avery, "/callers/acme.dev/github/123456/456789").await;
    assert!(shut.part("standing").contains("disabled"));
    assert!(one.part("use").contains("deploy-staging"));
    assert!(
        one.part("use").contains("unused"),
        "what it may and never did"
    );
    broker.clock.advance(40 * 24 * 3_600);
    let avery = broker.signed_in("avery").await;
    let unused = page(&avery, "/callers?find=unused-30").await;
    assert_eq!(unused.links("/callers/acme.dev").len(), 2);
    assert!(
        page(&avery, "/callers?find=unused-90")
            .await
            .links("/callers/acme.dev")
            .is_empty()
    );
    drop(avery);
    broker.finish().await;
}
