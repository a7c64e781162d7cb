//! A clock that is set while the broker runs (LEDGER.md §8): by libfaketime, which the program cannot tell from the
//! system's.

use std::path::Path;

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;

use crate::common::{STAGING, grant, is_ready, left_out, reads, recovers, settled, try_grant};

const LIBRARY: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

async fn with_clock() -> Option<TestBroker> {
    let Some(library) = LIBRARY.iter().find(|path| Path::new(path).exists()) else {
        left_out("libfaketime is not there: install faketime");
        return None;
    };
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    let file = broker.path("faketime");
    set(&broker, "+0");
    let env = [
        ("LD_PRELOAD", *library),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    broker.serve_with(&env).await;
    grant(&broker).await;
    Some(broker)
}

fn set(broker: &TestBroker, offset: &str) {
    let new = broker.path("faketime.new");
    std::fs::write(&new, offset).unwrap();
    std::fs::rename(new, broker.path("faketime")).unwrap();
}

/// The clock is off by `offset` for a while. Gives the entries as they are afterwards.
async fn set_for_a_while(offset: &str) -> Option<Vec<Value>> {
    let mut broker = with_clock().await?;
    set(&broker, offset);
    // Not one grant, from the very moment on: the commit looks for itself.
    let answer = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .x509_or_nothing()
        .await;
    assert_ne!(answer.unwrap().status, 201);
    reads(&broker, "clock_skewed").await;
    // What is recorded meanwhile has a time that can be believed.
    drop(broker.export().await);
    assert_ne!(try_grant_any(&broker).await, 201);
    set(&broker, "+0");
    recovers(&broker).await;
    is_ready(&broker).await;
    eventually("it is on record", async || {
        let export = broker.export().await;
        export
            .of("admin")
            .iter()
            .any(|it| it.header["what"]["op"] == "clock")
    })
    .await;
    let export = settled(&broker, &broker.grants()).await;
    let entries: Vec<_> = export.entries().into_iter().map(|it| it.header).collect();
    broker.stop().await;
    broker.restart().await.unwrap();
    assert_eq!(try_grant(&broker).await, 201);
    broker.finish().await;
    Some(entries)
}

/// Whatever it says: under another clock, tokens are of another time.
async fn try_grant_any(broker: &TestBroker) -> u16 {
    let ask = broker.ci("acme/web").ask("deploy", STAGING);
    ask.x509_or_nothing()
        .await
        .map_or(0, |answer| answer.status.as_u16())
}

fn within_a_day(entries: &[Value]) {
    let times: Vec<_> = entries
        .iter()
        .map(|it| it["ts"].as_u64().unwrap())
        .collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last - first < 86_400_000, "{times:?}");
    assert!(times.is_sorted());
}

/// Ten years ahead, and an hour back: either halts, and neither pulls the ledger with it.
#[tokio::test]
async fn a_clock_that_is_set_halts_and_the_ledger_keeps_its_time() {
    let (ahead, back) = tokio::join!(set_for_a_while("+3650d"), set_for_a_while("-1h"));
    for entries in [ahead, back].into_iter().flatten() {
        within_a_day(&entries);
    }
}
