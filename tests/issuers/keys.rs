//! Keys that change: on record before they count, there again after a restart, and held back when they change without end.

use serde_json::json;
use stint_tests::clock::eventually;
use stint_tests::database;
use stint_tests::evil::{Evil, IdpKey, Lie};
use stint_tests::{Answer, TestBroker};
use stint_wire::Code;

use crate::common::{POLICY, ask_as, broker, others_are_served, set_of, setup, unavailable};

/// The `key_added` entries of issuers, oldest first.
async fn sets(broker: &TestBroker) -> Vec<stint_tests::after::Entry> {
    let all = broker.export().await.of("key_added");
    let ours = |entry: &stint_tests::after::Entry| entry.header["what"]["use"] == "issuer";
    all.into_iter().filter(ours).collect()
}

#[tokio::test]
async fn a_set_is_on_record_before_the_first_outcome_it_vouches_for() {
    let (first, second) = (IdpKey::new("a"), IdpKey::new("b"));
    let idp = Evil::with_key("idp", &first).await;
    let broker = broker(&[&idp]).await;
    let granted = ask_as(&broker, &idp, &first).await.granted();
    idp.publish(&[first.jwk(), second.jwk()]);
    let later = ask_as(&broker, &idp, &second).await.granted();
    let sets = sets(&broker).await;
    assert_eq!(sets.len(), 2, "one entry a change, and none for what stays");
    let seq = |n: usize| sets[n].header["seq"].as_u64().unwrap();
    assert!(
        seq(0) < granted.ledger.seq && granted.ledger.seq < seq(1) && seq(1) < later.ledger.seq
    );
    assert_eq!(
        sets[0].header["what"],
        json!({ "key": set_of(&[&first]), "use": "issuer" })
    );
    assert_eq!(
        sets[1].header["what"]["key"],
        json!(set_of(&[&first, &second]))
    );
    let body = &sets[1].body["what"];
    assert_eq!(
        (
            &body["issuer"],
            &body["source"],
            &body["added"],
            &body["removed"]
        ),
        (
            &json!("idp"),
            &json!(idp.url),
            &json!([second.thumbprint()]),
            &json!([])
        )
    );
    broker.clock.advance(601);
    drop(ask_as(&broker, &idp, &first).await.granted());
    eventually("it was fetched again", async || idp.fetches() == 3).await;
    assert_eq!(
        self::sets(&broker).await.len(),
        2,
        "the same keys are no change"
    );
    broker.finish().await;
}

#[tokio::test]
async fn policy_can_distrust_a_young_key() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let text = POLICY.replace(
        "when {",
        "when { context has origin.key_age && context.origin.key_age >= 120 &&",
    );
    let mut broker = setup(&text, &idp.config()).start().await;
    drop(ask_as(&broker, &idp, &key).await.refused(Code::Denied));
    broker.clock.advance(119);
    drop(ask_as(&broker, &idp, &key).await.refused(Code::Denied));
    broker.clock.advance(1);
    drop(ask_as(&broker, &idp, &key).await.granted());
    broker.restart().await.unwrap();
    drop(ask_as(&broker, &idp, &key).await.granted());
    assert_eq!(sets(&broker).await.len(), 1, "a restart is no change");
    broker.finish().await;
}

/// A broker whose issuer was seen once and is gone now.
async fn after_an_outage(key: &IdpKey) -> (Evil, TestBroker) {
    let idp = Evil::with_key("idp", key).await;
    let mut broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, key).await.granted());
    idp.tell(Lie::Closes);
    broker.stop().await;
    (idp, broker)
}

async fn restarted(broker: &mut TestBroker, idp: &Evil, key: &IdpKey) -> Answer {
    // `restart` catches up with the machine's clock, which is behind the test's.
    broker.restart().await.unwrap();
    ask_as(broker, idp, key).await
}

#[tokio::test]
async fn a_recorded_set_serves_after_a_restart_until_it_is_too_old() {
    let key = IdpKey::new("k");
    let (idp, mut broker) = after_an_outage(&key).await;
    broker.clock.advance(1_800);
    drop(restarted(&mut broker, &idp, &key).await.granted());
    let check = broker.check("issuer idp").await;
    assert_eq!(
        (&check["state"], &check["keys"]),
        (&json!("stale"), &json!(1))
    );
    assert!(check["age_s"].as_i64().unwrap() >= 1_800);
    broker.clock.advance(1_801);
    unavailable(&ask_as(&broker, &idp, &key).await);
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_row_that_names_another_set_or_none_makes_no_keys() {
    let key = IdpKey::new("k");
    for sql in [
        "DELETE FROM issuer_keys",
        "UPDATE issuer_keys SET key = replace(key, substr(key, 1, 1), '_')",
        "UPDATE issuer_keys SET issuer = 'github'",
        "UPDATE issuer_keys SET fetched = 0",
    ] {
        let (idp, mut broker) = after_an_outage(&key).await;
        assert_eq!(database::tamper(&broker.database(), sql).await, 1, "{sql}");
        let answer = restarted(&mut broker, &idp, &key).await;
        assert_eq!(answer.status, 503, "{sql}");
        others_are_served(&broker).await;
        broker.finish().await;
    }
}

#[tokio::test]
async fn an_older_set_of_the_record_does_not_come_back() {
    let (old, new) = (IdpKey::new("old"), IdpKey::new("new"));
    let idp = Evil::with_key("idp", &old).await;
    let mut broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &old).await.granted());
    idp.publish(&[new.jwk()]);
    drop(ask_as(&broker, &idp, &new).await.granted());
    idp.tell(Lie::Closes);
    broker.stop().await;
    let sql = format!("UPDATE issuer_keys SET key = '{}'", set_of(&[&old]));
    assert_eq!(database::tamper(&broker.database(), &sql).await, 1);
    assert_eq!(
        restarted(&mut broker, &idp, &old).await.status,
        503,
        "the old key is dead"
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_set_from_elsewhere_does_not_serve_under_the_same_name() {
    let key = IdpKey::new("k");
    let (idp, mut broker) = after_an_outage(&key).await;
    let other = Evil::start("idp").await;
    other.tell(Lie::Closes);
    broker.reconfigure(&idp.url, &other.url);
    broker.restart().await.unwrap();
    assert_eq!(ask_as(&broker, &other, &key).await.status, 503);
    broker.finish().await;
}

#[tokio::test]
async fn keys_that_change_without_end_wait_for_an_operator() {
    let keys: Vec<_> = (0..13).map(|n| IdpKey::new(&format!("k{n}"))).collect();
    let idp = Evil::with_key("idp", &keys[0]).await;
    let broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &keys[0]).await.granted());
    for key in &keys[1..=10] {
        idp.publish(&[key.jwk()]);
        broker.clock.advance(61);
        drop(ask_as(&broker, &idp, key).await.granted());
    }
    idp.publish(&[keys[11].jwk()]);
    broker.clock.advance(61);
    drop(
        ask_as(&broker, &idp, &keys[11])
            .await
            .refused(Code::EvidenceRejected),
    );
    let check = broker.check("issuer idp").await;
    assert_eq!(
        (&check["ok"], &check["code"]),
        (&json!(false), &json!("issuer_changing"))
    );
    drop(ask_as(&broker, &idp, &keys[10]).await.granted());
    eventually("the alarm is on record", async || {
        let alarms = broker.export().await.of("admin");
        let degraded = alarms
            .iter()
            .filter(|entry| entry.header["what"]["op"] == "issuer_degraded");
        degraded.count() == 1
    })
    .await;
    // An hour alone heals nothing.
    broker.clock.advance(3_700);
    assert_eq!(ask_as(&broker, &idp, &keys[11]).await.status, 503);
    let told = json!({ "issuer": "idp", "reason": "they told us" });
    let done = broker.command("/v1/issuers/accept", &told).await;
    assert_eq!(
        (done.status.as_u16(), &done.json()["changed"]),
        (200, &json!(true)),
        "{}",
        done.text()
    );
    drop(ask_as(&broker, &idp, &keys[11]).await.granted());
    assert_eq!(broker.check("issuer idp").await["code"], "ok");
    let again = broker.command("/v1/issuers/accept", &told).await.json();
    assert_eq!(again, json!({ "changed": false, "seq": null }));
    let nobody = broker
        .command("/v1/issuers/accept", &json!({ "issuer": "nobody" }))
        .await;
    drop(nobody.refused(Code::NotFound));
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_key_file_that_changes_is_read_at_once() {
    let (old, new) = (IdpKey::new("k"), IdpKey::new("k"));
    let idp = Evil::start("idp").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |key: &IdpKey| {
        std::fs::write(file.path(), json!({ "keys": [key.jwk()] }).to_string()).unwrap()
    };
    write(&old);
    let table = idp.config_with(&format!("jwks_file = \"{}\"", file.path().display()));
    let broker = setup(POLICY, &table).start().await;
    drop(ask_as(&broker, &idp, &old).await.granted());
    write(&new);
    // Nobody asks for an unknown `kid`, and the clock stands still.
    eventually("the file was read", async || {
        ask_as(&broker, &idp, &new).await.status == 201
    })
    .await;
    drop(
        ask_as(&broker, &idp, &old)
            .await
            .refused(Code::EvidenceRejected),
    );
    assert_eq!(sets(&broker).await.len(), 2);
    assert_eq!(idp.connections(), 0, "nothing was fetched");
    broker.finish().await;
}
