//! sslyze looks for everything it knows to be weak; what the listener offers is what is stored, suite by suite.

use serde_json::Value;
use stint_tests::TestBroker;

use crate::foreign::{here, python, run};

#[tokio::test(flavor = "multi_thread")]
async fn sslyze_finds_what_is_offered_and_nothing_weak() {
    // It opens hundreds of connections; those that wait make room for the next.
    let broker = TestBroker::with().tls().start().await;
    let port = broker.address().port().to_string();
    let scan = move || run(python("scan_tls.py").arg(port), "");
    let said = tokio::task::spawn_blocking(scan).await.unwrap();
    assert!(said.ok, "{said:?}");
    let stored = std::fs::read_to_string(here("tls-offer.json")).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(said.json(), stored, "{}", said.out);
    broker.finish().await;
}
