//! kill -9: what was answered is there afterwards, and the witness holds to it.

use stint_tests::together;

use crate::scene::{Log, Witness, seconds_now};

/// Between the answer and the next request.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::new(&[&log]).await;
    let mut known = 0;
    let before = seconds_now();
    for round in 1..=12 {
        witness.serve().await;
        if known > 0 {
            assert_eq!(witness.shows(&log).await, known);
            // A second history from there is refused as if nothing had happened.
            let fork = log.forked(known - 1);
            assert_eq!(
                witness.add(&fork.request(known, known + 1)).await.status,
                422
            );
            assert_eq!(witness.add(&fork.request(0, known)).await.size(), known);
        }
        let time = witness.cosigns(&log, known, known + round).await;
        assert!(time >= before);
        known += round;
        witness.kill();
    }
    witness.serve().await;
    assert_eq!(witness.shows(&log).await, known);
    assert!(
        !witness.evidence().await.is_empty(),
        "evidence survives too"
    );
    witness.stop().await;
}

/// In the midst of many: whatever was answered is there; more may be.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_in_the_midst_is_whole() {
    let logs: Vec<_> = (0..8)
        .map(|n| Log::new(&format!("log.example/{n}"), n))
        .collect();
    let mut witness = Witness::new(&logs.iter().collect::<Vec<_>>()).await;
    let mut known = vec![0; logs.len()];
    for round in 0..6_u64 {
        witness.serve().await;
        let answered = together(
            logs.iter()
                .zip(&known)
                .map(|(log, known)| grow(&witness, log, *known)),
        );
        let cut = tokio::time::sleep(std::time::Duration::from_millis(40 + 25 * round));
        let seen = tokio::select! {
            seen = answered => seen,
            () = cut => Vec::new(),
        };
        witness.kill();
        witness.serve().await;
        for (place, (log, seen)) in logs
            .iter()
            .zip(seen.iter().chain(std::iter::repeat(&0)))
            .enumerate()
        {
            let held = witness.held(log).await;
            let size = if held.status == 404 {
                0
            } else {
                witness.shows(log).await
            };
            assert!(size >= known[place].max(*seen), "{size} of {known:?}");
            known[place] = size;
        }
        witness.kill();
    }
    assert!(known.iter().all(|size| *size > 0), "{known:?}");
}

/// Ten steps; the last size that was answered.
async fn grow(witness: &Witness, log: &Log, mut known: u64) -> u64 {
    for _ in 0..10 {
        match witness
            .try_add(log.request(known, known + 1).as_bytes())
            .await
        {
            Ok(answer) if answer.status == 200 => known += 1,
            Ok(answer) => known = answer.size(),
            Err(_) => break,
        }
    }
    known
}
