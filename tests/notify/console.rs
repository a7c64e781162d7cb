//! The button of `/integrations`: an operator sends a test, and reads how far it came.

use serde_json::json;
use stint_tests::TestBroker;

use crate::http::{Mood, Receiver};
use crate::scene::{Secrets, webhook};

const TEST: &str = "/v1/notify/test";

#[tokio::test]
async fn an_operator_sends_a_test_and_reads_how_far_it_came() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let nobody = Receiver::start().await;
    let tables = webhook("sre", &receiver, &secrets, "") + &webhook("away", &nobody, &secrets, "");
    drop(nobody);
    let broker = TestBroker::with().people().tables(&tables).start().await;
    let olu = broker.signed_in("olu").await;
    let page = olu.get("/integrations").await.text();
    assert!(
        page.contains("data-test=\"sre\"") && page.contains("nothing sent yet"),
        "{page}"
    );
    let test = async |name: &str| olu.post(TEST, &json!({ "name": name })).await.json();
    assert_eq!(test("sre").await, json!({ "sent": true }));
    assert_eq!(receiver.stored(1).await.json()["type"], "test");

    receiver.mood(Mood::Says(404, "no_service"));
    let told = test("sre").await;
    assert_eq!(
        (&told["sent"], &told["step"]),
        (&json!(false), &json!("accept"))
    );
    assert_eq!(told["why"], "it answered 404: no_service");
    assert!(
        told["next"].as_str().unwrap().contains("no restart"),
        "{told}"
    );
    assert_eq!(test("away").await["step"], "reach");
    std::fs::remove_file(secrets.path().join("sre.secret")).unwrap();
    assert_eq!(test("sre").await["step"], "prepare");
    drop(olu);
    broker.finish().await;
}

#[tokio::test]
async fn nobody_else_sends_a_test() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let tables = webhook("sre", &receiver, &secrets, "");
    let broker = TestBroker::with().people().tables(&tables).start().await;
    let ask = json!({ "name": "sre" });
    let avery = broker.signed_in("avery").await;
    let refused = avery.post(TEST, &ask).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (403, &json!("role_required"))
    );
    assert!(
        !avery
            .get("/integrations")
            .await
            .text()
            .contains("data-test")
    );
    let kim = broker.signed_in("kim").await;
    assert_eq!(kim.post(TEST, &ask).await.status, 404);
    let body = ask.to_string();
    assert_eq!(broker.post(TEST, &[], body.as_bytes()).await.status, 401);
    let olu = broker.signed_in("olu").await;
    let unknown = olu.post(TEST, &json!({ "name": "nobody" })).await;
    assert_eq!(unknown.status, 404);
    // Another page's doing.
    let origin = [
        ("origin", "https://evil.example"),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        olu.post_with(TEST, &origin, body.as_bytes()).await.status,
        403
    );
    assert_eq!(receiver.came(), 0);
    drop((avery, kim, olu));
    broker.finish().await;
}
