//! What a grant's votes rest on, for whoever checks them; and who may have it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::people::Person;

use crate::page::{granted, page};

/// Says yes to `request` as `name`.
async fn approve<'b>(broker: &'b TestBroker, name: &str, held: &stint_wire::Held) -> Person<'b> {
    let person = broker.signed_in(name).await;
    let passkey = person.passkey().await;
    let path = format!("/v1/requests/{}", held.request);
    let choice = json!({ "vote": "yes", "match_code": held.match_code, "note": "fine" });
    let ballot = person.post(&format!("{path}/ballot"), &choice).await.json();
    let challenge = ballot["challenge"].as_str().unwrap();
    let challenge = BASE64URL_NOPAD.decode(challenge.as_bytes()).unwrap();
    let assertion = serde_json::to_value(passkey.sign(&challenge)).unwrap();
    let vote =
        json!({ "facts": ballot["facts"], "nonce": ballot["nonce"], "assertion": assertion });
    let cast = person.post(&format!("{path}/votes"), &vote).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
    person
}

#[tokio::test]
async fn the_entries_behind_votes_are_for_those_who_read_everything() {
    let broker = TestBroker::with().people().start().await;
    broker.idp().set("remy", "groups", json!(["release"]));
    let ask = || {
        broker
            .ci("acme/web")
            .job("71")
            .ask("deploy", "Environment::prod/web")
    };
    let held = ask().x509().await.held();
    let dana = approve(&broker, "dana", &held).await;
    let lee = approve(&broker, "lee", &held).await;
    let grant = ask().x509().await.granted().grant;
    let path = format!("/grants/{grant}/votes");
    let avery = broker.signed_in("avery").await;
    let before = broker.size().await;
    let told = avery.get(&path).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(told.header("cache-control"), "no-store");
    let told: Value = told.json();
    let entries = told["entries"].as_array().unwrap();
    // The request, two passkeys, two votes, the grant; and that each was read.
    assert_eq!(entries.len(), 6);
    assert_eq!(broker.size().await, before + 6);
    for entry in entries {
        assert!(
            entry["proof"]
                .as_str()
                .unwrap()
                .starts_with("c2sp.org/tlog-proof@v1\nextra ")
        );
        assert!(entry["body"].is_string());
    }
    let shown = page(&avery, &format!("/grants/{grant}")).await;
    assert!(
        shown.part("votes").contains("Dana Ortiz approved it"),
        "{}",
        shown.part("votes")
    );
    assert!(shown.html.contains(&format!("data-entries=\"{path}\"")));
    // The owner of the software sees who approved, and no bodies; a grant that nobody was asked about has none.
    let remy = broker.signed_in("remy").await;
    let owners = page(&remy, &format!("/grants/{grant}")).await;
    assert!(
        owners.part("votes").contains("An auditor checks"),
        "{}",
        owners.part("votes")
    );
    let free = granted(&broker).await;
    let size = broker.size().await;
    assert_eq!(remy.get(&path).await.status, 404);
    assert_eq!(dana.get(&path).await.status, 404);
    assert_eq!(
        avery
            .get(&format!("/grants/gr_{}/votes", "0".repeat(26)))
            .await
            .status,
        404
    );
    assert_eq!(broker.get(&path).await.status, 303);
    assert_eq!(broker.size().await, size, "who is refused reads nothing");
    assert_eq!(
        avery.get(&format!("/grants/{free}/votes")).await.status,
        404
    );
    drop((avery, dana, lee, remy));
    broker.finish().await;
}
