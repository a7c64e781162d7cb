//! Issuers that are down, slow, and back again.

use serde_json::json;
use stint_tests::evil::{Evil, IdpKey, Lie, Stage};
use stint_tests::together;

use crate::common::{ask_as, broker, others_are_served, unavailable};

#[tokio::test]
async fn the_broker_starts_and_serves_beside_an_issuer_that_is_down_and_takes_it_back() {
    let key = IdpKey::new("k");
    let (down, up) = (
        Evil::with_key("idp-down", &key).await,
        Evil::with_key("idp-up", &key).await,
    );
    down.tell(Lie::Closes);
    let broker = broker(&[&down, &up]).await;
    unavailable(&ask_as(&broker, &down, &key).await);
    drop(ask_as(&broker, &up, &key).await.granted());
    others_are_served(&broker).await;

    let told = broker.operator("GET", "/readyz").await;
    assert_eq!(told.status, 200);
    let names = |told: &serde_json::Value| -> Vec<String> {
        let checks = told.as_array().unwrap().iter();
        checks
            .map(|check| check["check"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&told.json()),
        ["ledger", "policy", "frozen", "issuer idp-down"]
    );
    let all = broker.operator("GET", "/readyz?verbose").await.json();
    let issuers = ["idp-down", "idp-up", "github", "gitlab", "kubernetes"];
    assert!(
        issuers
            .iter()
            .all(|name| names(&all).contains(&format!("issuer {name}"))),
        "{all}"
    );
    let check = broker.check("issuer idp-down").await;
    for (member, value) in [
        ("fatal", json!(false)),
        ("ok", json!(false)),
        ("code", json!("issuer_unavailable")),
        ("state", json!("cold")),
        ("error", json!("unreachable")),
        ("since", json!("2027-03-01T10:00:00Z")),
        ("age_s", json!(null)),
    ] {
        assert_eq!(check[member], value, "{check}");
    }
    let well = broker.check("issuer idp-up").await;
    assert_eq!(
        (&well["state"], &well["keys"], &well["age_s"]),
        (&json!("ready"), &json!(1), &json!(0))
    );

    down.tell(Lie::None);
    // Failures back off for a minute at most.
    broker.clock.advance(61);
    drop(ask_as(&broker, &down, &key).await.granted());
    assert_eq!(broker.check("issuer idp-down").await["ok"], true);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_issuer_delays_no_other_and_is_asked_once() {
    let key = IdpKey::new("k");
    let (silent, up) = (
        Evil::with_key("idp-silent", &key).await,
        Evil::with_key("idp-up", &key).await,
    );
    silent.tell(Lie::Silent(Stage::Discovery));
    let broker = broker(&[&silent, &up]).await;
    let mut waiting = Box::pin(together((0..100).map(|_| ask_as(&broker, &silent, &key))));
    // The others are served while all of those wait.
    let served = async {
        for _ in 0..3 {
            drop(ask_as(&broker, &up, &key).await.granted());
            others_are_served(&broker).await;
        }
    };
    tokio::select! {
        biased;
        answers = &mut waiting => panic!("the silent issuer was given up first: {}", answers.len()),
        () = served => {}
    }
    for answer in waiting.await {
        unavailable(&answer);
    }
    assert_eq!(silent.discoveries(), 1, "one flight, however many wait");
    broker.finish().await;
}

#[tokio::test]
async fn the_age_that_an_issuer_states_counts_within_bounds() {
    let key = IdpKey::new("k");
    for (stated, fresh, due) in [(0, 59, 60), (120, 119, 120), (86_400, 599, 600)] {
        let idp = Evil::with_key("idp", &key).await;
        idp.max_age(stated);
        let broker = broker(&[&idp]).await;
        drop(ask_as(&broker, &idp, &key).await.granted());
        broker.clock.advance(fresh);
        drop(ask_as(&broker, &idp, &key).await.granted());
        assert_eq!(
            (idp.fetches(), &broker.check("issuer idp").await["state"]),
            (1, &json!("ready")),
            "{stated}"
        );
        broker.clock.advance(due - fresh);
        assert_eq!(broker.check("issuer idp").await["state"], "stale");
        drop(ask_as(&broker, &idp, &key).await.granted());
        stint_tests::clock::eventually("a refresh", async || idp.fetches() == 2).await;
        broker.finish().await;
    }
}
