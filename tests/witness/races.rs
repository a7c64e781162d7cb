//! Many at once: what tlog-witness warns of.

use stint_tests::together;

use crate::scene::{Log, Witness};

/// Of two histories that both extend what is held, one wins.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_updates_at_once_one_wins() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::start(&[&log]).await;
    let mut known = 0;
    for round in 0..40 {
        let (small, large) = (known + 1, known + 2 + round % 3);
        let (one, two) = (log.request(known, small), log.request(known, large));
        let (one, two) = tokio::join!(witness.add(&one), witness.add(&two));
        let sizes = [(one, small), (two, large)];
        let won: Vec<_> = sizes
            .iter()
            .filter(|(answer, _)| answer.status == 200)
            .collect();
        assert_eq!(won.len(), 1, "{sizes:?}");
        known = won[0].1;
        let lost = sizes
            .iter()
            .find(|(answer, _)| answer.status != 200)
            .unwrap();
        assert_eq!(lost.0.size(), known);
        assert_eq!(witness.shows(&log).await, known);
    }
    witness.stop().await;
}

/// The race of the spec's text: sizes answered never fall, whatever comes at once.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_never_fall() {
    let logs: Vec<_> = (0..4)
        .map(|n| Log::new(&format!("log.example/{n}"), n))
        .collect();
    let served: Vec<_> = logs.iter().collect();
    let mut witness = Witness::start(&served).await;
    let clients = logs.iter().cycle().zip(0..16);
    together(clients.map(|(log, client)| hammer(&witness, log, client))).await;
    for log in &logs {
        assert!(witness.shows(log).await >= 25);
    }
    assert_eq!(witness.evidence().await, []);
    witness.stop().await;
}

/// Asks for more and more, from the size it knows, which others move.
async fn hammer(witness: &Witness, log: &Log, client: u64) {
    let mut known = 0;
    for step in 0..25 {
        let size = known + 1 + (client + step) % 5;
        let answer = witness.add(&log.request(known, size)).await;
        let now = if answer.status == 200 {
            size
        } else {
            answer.size()
        };
        assert!(now >= known, "{known} then {now}");
        known = now;
    }
}
