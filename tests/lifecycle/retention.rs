//! `[ledger] keep_bodies`: bodies that were kept long enough go by themselves, once a day, and entries say so.

use serde_json::json;
use stint_broker::store::Engine;
use stint_tests::after::Entry;
use stint_tests::clock::eventually;
use stint_tests::database::only_on;
use stint_tests::{TestBroker, together};
use stint_wire::Code;

use crate::scene::{command, grant, keep};

const DAY: i64 = 86_400;

async fn keeping(what: &str) -> TestBroker {
    let line = format!("keep_bodies = {{ {what} }}");
    let broker = TestBroker::with().real_time().set("ledger", &line);
    broker.start().await
}

async fn deny(broker: &TestBroker) {
    let asking = broker.ci("acme/web").on("refs/heads/fix-12");
    let asking = asking.ask("deploy", "Environment::prod/web");
    drop(asking.x509().await.refused(Code::Denied));
}

/// Time passes after all of it is in the index, by which bodies are found.
async fn pass(broker: &TestBroker, seconds: i64) {
    broker.derived().await;
    broker.clock.advance(seconds);
}

/// The entries that erased something, once there are so many.
async fn erased(broker: &TestBroker, count: usize) -> Vec<Entry> {
    eventually("bodies go", async || {
        broker.export().await.of("erased").len() >= count
    })
    .await;
    let erased = broker.export().await.of("erased");
    assert_eq!(erased.len(), count, "{erased:#?}");
    erased
}

/// Whether the body is there, by place.
async fn kept(broker: &TestBroker, seq: u64) -> bool {
    let entries = broker.export().await.entries();
    !entries[usize::try_from(seq).unwrap()].body.is_null()
}

#[tokio::test]
async fn each_kind_goes_when_its_time_is_over_and_never_twice_a_day() {
    let mut broker = keeping("granted = \"3d\", denied = \"1d\"").await;
    let granted = grant(&broker).await;
    deny(&broker).await;
    let before = keep(&broker, "before").await;
    pass(&broker, DAY + 3_600).await;
    let gone = erased(&broker, 1).await.remove(0);
    let what = &gone.header["what"];
    assert_eq!(
        (what["basis"].as_str(), what["n"].as_u64()),
        (Some("retention"), Some(1))
    );
    assert!(
        gone.header["by"].is_null(),
        "nobody's hand did it: {:#}",
        gone.header
    );
    assert_eq!(what["ranges"], json!([[granted + 1, granted + 2]]));
    assert!(kept(&broker, granted).await);

    // Within the same day nothing more goes, although something more is due.
    broker.restart().await.unwrap();
    broker.clock.advance(DAY - 7_200);
    deny(&broker).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    drop(erased(&broker, 1).await);
    pass(&broker, DAY + 3_600).await;
    drop(erased(&broker, 2).await);
    pass(&broker, DAY + 3_600).await;
    drop(erased(&broker, 3).await);
    assert!(!kept(&broker, granted).await);

    keep(&broker, "after").await.extends(&before).await;
    broker.restart().await.unwrap();
    broker.abandon().await;
}

#[tokio::test]
async fn what_still_binds_stays_until_it_does_not() {
    let broker = keeping("\"*\" = \"1d\"").await;
    let held = broker.ci("acme/web").on("refs/heads/main");
    drop(
        held.ask("deploy", "Environment::prod/web")
            .x509()
            .await
            .held(),
    );
    let freeze = json!({ "issuer": "gitlab", "reason": "leak" });
    let (_, frozen) = command(&broker, "/v1/freeze", freeze.clone()).await;
    let frozen = frozen["seq"].as_u64().unwrap();
    pass(&broker, DAY + 3_600).await;
    drop(erased(&broker, 1).await);
    let left: Vec<_> = broker.export().await.entries();
    let left = left.iter().filter(|it| !it.body.is_null());
    let mut left: Vec<_> = left
        .map(|it| it.header["kind"].as_str().unwrap().to_owned())
        .collect();
    left.dedup();
    let young = [
        "request_closed",
        "erased",
        "admin",
        "anchor",
        "config_loaded",
    ];
    left.retain(|kind| !young.contains(&kind.as_str()));
    assert_eq!(
        left,
        [
            "genesis",
            "key_added",
            "policy_loaded",
            "requested",
            "frozen"
        ]
    );

    let (status, _) = command(&broker, "/v1/unfreeze", freeze).await;
    assert_eq!(status, 200);
    assert!(kept(&broker, frozen).await);
    pass(&broker, DAY + 3_600).await;
    drop(erased(&broker, 2).await);
    assert!(!kept(&broker, frozen).await);
    broker.finish().await;
}

/// An entry names a hundred ranges at most; what goes between what stays takes several.
#[tokio::test]
async fn what_alternates_goes_in_several_entries() {
    let broker = keeping("denied = \"1d\"").await;
    for _ in 0..130 {
        deny(&broker).await;
        grant(&broker).await;
    }
    pass(&broker, DAY + 3_600).await;
    let gone = erased(&broker, 2).await;
    let counts: Vec<_> = gone
        .iter()
        .map(|it| it.header["what"]["n"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [100, 30]);
    keep(&broker, "after").await.verify(&[]).await.ok();
    broker.finish().await;
}

#[tokio::test]
async fn one_replica_does_it() {
    if !only_on(Engine::Postgres, "a file has one broker") {
        return;
    }
    let broker = keeping("denied = \"1d\"").await;
    let beside: Vec<_> = together(["b", "c"].map(|node| broker.replica(node)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    deny(&broker).await;
    pass(&broker, DAY + 3_600).await;
    drop(erased(&broker, 1).await);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    drop(erased(&broker, 1).await);
    for replica in beside {
        replica.abandon().await;
    }
    broker.finish().await;
}
