//! Nobody is shut out by a neighbour, and nothing grows without bound.

use stint_audit::note::LogKey;
use stint_audit::{Checkpoint, Digest};
use stint_broker::witness::Kind;

use crate::scene::{Log, Witness};

#[tokio::test]
async fn a_peer_that_floods_waits_and_its_neighbour_does_not() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::new(&[&log]).await;
    witness.reconfigure("#tls = \"\"", "tls = \"proxy\"");
    witness.reconfigure(
        "#trusted_proxies = []",
        "trusted_proxies = [\"127.0.0.0/8\"]",
    );
    witness.reconfigure("\"100000/s\"", "\"2/h\"");
    witness.open().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/healthz", witness.url());
    let ask = async |peer: &str| {
        let request = http.get(&url).header("x-forwarded-for", peer);
        request.send().await.unwrap()
    };
    for _ in 0..10 {
        assert_eq!(ask("192.0.2.1").await.status(), 200);
    }
    let refused = ask("192.0.2.1").await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=1_801).contains(&wait), "{wait}");
    assert_eq!(ask("192.0.2.2").await.status(), 200);
    witness.stop().await;
}

/// Of forks the first 64 are kept, of what is unproven the last 64.
#[tokio::test]
async fn evidence_is_bounded() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::new(&[&log]).await;
    witness.open().await;
    witness.cosigns(&log, 0, 5).await;
    let key = LogKey::from_seed(&[1; 32], &log.origin).unwrap();
    let note = |size: u64, n: u64| {
        let (origin, root) = (log.origin.clone(), Digest::of(&n.to_be_bytes()));
        key.sign(&Checkpoint { origin, size, root }.text())
    };
    for n in 0..80 {
        assert_eq!(
            witness
                .add(&format!("old 5\n\n{}", note(5, n)))
                .await
                .status,
            422
        );
        assert_eq!(
            witness
                .add(&format!("old 5\n\n{}", note(6, n)))
                .await
                .status,
            422
        );
    }
    let kept = witness.evidence().await;
    let of = |kind: Kind| -> Vec<&str> {
        let kept = kept.iter().filter(|one| one.kind == kind);
        kept.map(|one| &*one.note).collect()
    };
    let (forks, unproven) = (of(Kind::Fork), of(Kind::Unproven));
    assert_eq!((forks.len(), unproven.len()), (64, 64));
    assert_eq!(forks[0], note(5, 0));
    assert_eq!(unproven[63], note(6, 79));
    witness.stop().await;
}
