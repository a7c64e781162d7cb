//! Retries across kill -9: whatever a crash left, no ask is granted twice.

use std::collections::BTreeMap;

use serde_json::json;
use stint_tests::{TestBroker, keys, together};
use stint_wire::Code;

use crate::STAGING;

/// An ask of its own job, under its own key.
async fn ask(
    broker: &TestBroker,
    number: usize,
    body: &str,
) -> Result<stint_tests::Answer, reqwest::Error> {
    let token = broker.ci("acme/web").job(&number.to_string()).token();
    let (bearer, key) = (format!("Bearer {token}"), format!("ask-{number}"));
    let headers = [("authorization", &*bearer), ("idempotency-key", &*key)];
    broker
        .try_request("POST", "/v1/grants", &headers, body.as_bytes())
        .await
}

fn body() -> String {
    let credential = json!({ "kind": "x509", "csr": keys::csr() });
    json!({ "action": "deploy", "resources": [STAGING], "credential": credential }).to_string()
}

#[tokio::test]
async fn a_retry_after_kill_nine_finds_what_was_recorded_or_asks_anew() {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.serve(None).await;
    let bodies: Vec<String> = (0..64).map(|_| body()).collect();
    let id = broker.process().id();
    let answered: Vec<_> = {
        let broker = &broker;
        let asks = bodies.iter().enumerate().map(|(number, body)| async move {
            let answer = ask(broker, number, body).await;
            if broker.released() >= 12 {
                drop(
                    std::process::Command::new("kill")
                        .args(["-9", &id.to_string()])
                        .status(),
                );
            }
            answer.ok()
        });
        together(asks).await
    };
    broker.kill();
    broker.restart().await.unwrap();
    let mut delivered = 0;
    for (number, (body, before)) in bodies.iter().zip(&answered).enumerate() {
        let again = ask(&broker, number, body).await.unwrap();
        match before {
            Some(first) => {
                assert_eq!(first.status, 201, "{}", first.text());
                assert_eq!(first.json(), again.json(), "who got it gets it again");
                delivered += 1;
            }
            None if again.status == 201 => {}
            None => drop(again.refused(Code::AlreadyDelivered)),
        }
    }
    assert!(delivered > 0, "nothing was delivered before the crash");
    let mut tasks: BTreeMap<String, usize> = BTreeMap::new();
    for entry in broker.export().await.of("granted") {
        let task = entry.header["what"]["task"].as_str().unwrap().to_owned();
        *tasks.entry(task).or_default() += 1;
    }
    assert_eq!(tasks.len(), bodies.len());
    assert!(tasks.values().all(|grants| *grants == 1), "{tasks:?}");
    broker.finish_after_crash().await;
}
