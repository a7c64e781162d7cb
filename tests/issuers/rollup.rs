//! What strangers leave: a number a minute.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::after::Entry;
use stint_tests::clock::eventually;
use stint_tests::evil::{Evil, IdpKey, Lie};
use stint_wire::Code;

use crate::common::{ask, ask_as, broker};

async fn rollups(broker: &TestBroker) -> Vec<Entry> {
    broker.export().await.of("rollup")
}

/// The entry about this issuer among the newest `n`.
fn about<'e>(entries: &'e [Entry], issuer: &str) -> &'e Value {
    let found = entries
        .iter()
        .find(|entry| entry.body["what"]["issuer"] == issuer);
    &found.unwrap_or_else(|| panic!("none about {issuer}")).body["what"]
}

/// Lets the broker look: it would write what it has to write. On a busy machine it may not come to look, and the test
/// then proves less; it never fails for it.
async fn a_look() {
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
}

#[tokio::test]
async fn refusals_are_one_entry_a_minute_and_issuer() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &key).await.granted());
    let stranger = IdpKey::new("k");
    for _ in 0..5 {
        drop(
            ask_as(&broker, &idp, &stranger)
                .await
                .refused(Code::EvidenceRejected),
        );
    }
    let late = idp.token(&key, broker.now());
    for _ in 0..3 {
        drop(
            ask(&broker, "not a token")
                .await
                .refused(Code::EvidenceRejected),
        );
    }
    let before = broker.state().await;
    a_look().await;
    assert_eq!(
        broker.state().await,
        before,
        "nothing before the minute is over"
    );
    broker.clock.advance(600);
    drop(ask(&broker, &late).await.refused(Code::EvidenceRejected));
    eventually("the minute is on record", async || {
        rollups(&broker).await.len() == 2
    })
    .await;
    let entries = rollups(&broker).await;
    assert_eq!(entries.len(), 2);
    let ours = about(&entries, "idp");
    assert_eq!(ours["peers"], 1);
    assert_eq!(about(&entries, "other")["reasons"], json!({ "form": 3 }));
    let n: u64 = entries
        .iter()
        .map(|entry| entry.header["what"]["n"].as_u64().unwrap())
        .sum();
    let signature = ours["reasons"]["signature"].as_u64().unwrap();
    assert_eq!(signature, 5, "{ours}");
    assert!(n >= 8);
    let what = &entries[0].header["what"];
    assert!(what["since"].as_u64().unwrap() < what["until"].as_u64().unwrap());
    assert!(
        entries
            .iter()
            .all(|entry| entry.header.get("subj").is_none())
    );
    broker.finish().await;
}

#[tokio::test]
async fn nothing_refused_is_no_entry_and_a_stop_records_the_rest() {
    let mut broker = TestBroker::start().await;
    broker.clock.advance(120);
    a_look().await;
    assert_eq!(rollups(&broker).await.len(), 0);
    for _ in 0..4 {
        drop(ask(&broker, "x.y.z").await.refused(Code::EvidenceRejected));
    }
    broker.restart().await.unwrap();
    let entries = rollups(&broker).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].header["what"]["n"], 4);
    broker.restart().await.unwrap();
    assert_eq!(rollups(&broker).await.len(), 1);
    broker.finish().await;
}

#[tokio::test]
async fn the_first_replay_is_an_entry_and_the_later_ones_are_noise() {
    let mut broker = TestBroker::start().await;
    let ci = broker.ci("acme/web");
    let token = ci.token();
    for n in 0..5 {
        let ask = ci
            .clone()
            .ask("deploy", "Environment::staging/web")
            .token(&token);
        let answer = ask.x509().await;
        match n {
            0 => drop(answer.granted()),
            _ => drop(answer.refused(Code::EvidenceRejected)),
        }
    }
    broker.restart().await.unwrap();
    let denied = broker.export().await.of("denied");
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].header["what"]["why"], "replayed");
    let entries = rollups(&broker).await;
    assert_eq!(about(&entries, "github")["reasons"], json!({ "replay": 3 }));
    broker.finish().await;
}

#[tokio::test]
async fn rate_limits_and_outages_are_counted_too() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    idp.tell(Lie::Closes);
    let setup = TestBroker::with()
        .limited()
        .set("limits", "asks_per_caller = \"1/m\"");
    let mut broker = setup.tables(&idp.config()).start().await;
    for _ in 0..3 {
        let ask = broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web");
        let answer = ask.x509().await;
        if answer.status != 201 {
            drop(answer.refused(Code::RateLimited));
        }
        assert_eq!(ask_as(&broker, &idp, &key).await.status, 503);
    }
    broker.restart().await.unwrap();
    let entries = rollups(&broker).await;
    assert_eq!(
        about(&entries, "github")["reasons"],
        json!({ "rate_limited": 2 })
    );
    assert_eq!(
        about(&entries, "idp")["reasons"],
        json!({ "unavailable": 3 })
    );
    broker.finish().await;
}
