//! C2SP tlog-witness, status by status.

use stint_audit::note::LogKey;
use stint_audit::witness::{AddCheckpoint, origin_hash};
use stint_audit::{Checkpoint, Digest};
use stint_broker::witness::Kind;

use crate::scene::{Log, NAME, Witness, with_line};

fn log() -> Log {
    Log::new("log.example/a", 1)
}

#[tokio::test]
async fn cosigns_what_extends_what_it_cosigned() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    assert_eq!(witness.held(&log).await.status, 404);
    for (old, size) in [(0, 3), (3, 3), (3, 8), (8, 9), (9, 1_000)] {
        let time = witness.cosigns(&log, old, size).await;
        assert_eq!(time, 1_803_895_200, "2027-03-01T10:00:00Z");
        assert_eq!(witness.shows(&log).await, size);
    }
    assert_eq!(witness.evidence().await, []);
    witness.stop().await;
}

#[tokio::test]
async fn an_empty_log_is_cosigned_and_grows() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    witness.cosigns(&log, 0, 0).await;
    witness.cosigns(&log, 0, 0).await;
    assert_eq!(witness.shows(&log).await, 0);
    witness.cosigns(&log, 0, 5).await;
    assert_eq!(witness.shows(&log).await, 5);
    witness.stop().await;
}

/// Other logs have extension lines, and a name that is not their key's.
#[tokio::test]
async fn serves_logs_of_others() {
    let log = Log::new("a log with spaces", 1);
    let mut witness = Witness::new(&[]).await;
    let key = LogKey::from_seed(&[1; 32], "key.example").unwrap();
    let vkey = key.vkey();
    witness.configure(&format!(
        "[log.foreign]\nvkeys = [\"{vkey}\"]\norigin = \"{}\"\n",
        log.origin
    ));
    witness.open().await;
    let text = format!("{}extension\nanother\n", log.text(5));
    let request = AddCheckpoint::new(0, Vec::new(), &key.sign(&text)).unwrap();
    let answer = witness.add(&request.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let known = [witness.key.clone()];
    let lines = stint_audit::witness::parse_cosignatures(&answer.body).unwrap();
    let good = stint_audit::cosign::verify_lines(&text, &lines, &known).unwrap();
    assert_eq!(good.len(), 1, "the extension lines are signed as they are");
    let held = witness.held(&log).await;
    assert!(held.body.starts_with(&text), "{held:?}");
    witness.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_400() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    let good = log.request(0, 5);
    let line = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    for bad in [
        String::new(),
        "old 0\n\n".to_owned(),
        good.replacen("old 0", "old 00", 1),
        good.replacen("old 0", "old -1", 1),
        good.replacen("old 0", "Old 0", 1),
        good.replacen("old 0\n", "old 0\nx\n", 1),
        good.replacen("old 0\n", &format!("old 0\n{}", line.repeat(64)), 1),
        good.replacen("\n5\n", "\n05\n", 1),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        format!("{good}x"),
        // Above the checkpoint's.
        log.request(0, 5).replacen("old 0", "old 6", 1),
    ] {
        let answer = witness.add(&bad).await;
        assert_eq!(answer.status, 400, "{bad:?} {answer:?}");
    }
    assert_eq!(witness.try_add(b"old 0\n\n\xff").await.unwrap().status, 400);
    let long = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(witness.try_add(&long).await.unwrap().status, 400);
    let text = log.text(5).replacen("\n5\n", "\n9223372036854775808\n", 1);
    let huge = format!("old 0\n\n{}", log.key().sign(&text));
    assert_eq!(witness.add(&huge).await.status, 400);
    assert_eq!(witness.held(&log).await.status, 404, "nothing was cosigned");
    witness.stop().await;
}

#[tokio::test]
async fn who_is_not_known_is_403_or_404() {
    let (log, other) = (log(), Log::new("log.example/b", 2));
    let mut witness = Witness::start(&[&log]).await;
    assert_eq!(witness.add(&other.request(0, 5)).await.status, 404);
    assert_eq!(witness.held(&other).await.status, 404);
    assert_eq!(witness.get("/x/checkpoint").await.status, 404);
    assert_eq!(witness.get("/").await.status, 404);
    assert_eq!(witness.get("/add-checkpoint").await.status, 405);

    let stranger = Log::new("log.example/a", 9);
    assert_eq!(witness.add(&stranger.request(0, 5)).await.status, 403);
    // A false line of the known key, beside a true one of it.
    let false_line = log.key().sign("another text\n");
    let spoiled = with_line(&log.note(5), &false_line);
    assert_eq!(
        witness.add(&format!("old 0\n\n{spoiled}")).await.status,
        403
    );
    let mut bytes = log.request(0, 5).into_bytes();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(witness.try_add(&bytes).await.unwrap().status, 403);
    assert_eq!(witness.held(&log).await.status, 404);
    assert_eq!(witness.evidence().await, []);

    // Lines of unknown keys are ignored, and not kept.
    let more = with_line(&log.note(5), &stranger.note(5));
    assert_eq!(witness.add(&format!("old 0\n\n{more}")).await.status, 200);
    assert_eq!(witness.shows(&log).await, 5);
    witness.stop().await;
}

#[tokio::test]
async fn another_old_size_is_409_with_the_size() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    assert_eq!(witness.add(&log.request(3, 5)).await.size(), 0);
    witness.cosigns(&log, 0, 5).await;
    assert_eq!(witness.add(&log.request(0, 8)).await.size(), 5);
    assert_eq!(witness.add(&log.request(4, 8)).await.size(), 5);
    // Back to what was: the witness is ahead.
    assert_eq!(witness.add(&log.request(3, 4)).await.size(), 5);
    assert_eq!(witness.add(&log.request(7, 8)).await.size(), 5);
    assert_eq!(witness.shows(&log).await, 5);
    assert_eq!(witness.evidence().await, []);
    witness.stop().await;
}

#[tokio::test]
async fn a_false_proof_is_422_and_kept() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    let early = AddCheckpoint::new(0, log.proof(3, 5), &log.note(5)).unwrap();
    assert_eq!(witness.add(&early.to_string()).await.status, 422);
    witness.cosigns(&log, 0, 5).await;
    let none = AddCheckpoint::new(5, Vec::new(), &log.note(8)).unwrap();
    assert_eq!(witness.add(&none.to_string()).await.status, 422);
    // Another history, honestly proven within itself.
    let fork = log.forked(4);
    assert_eq!(witness.add(&fork.request(5, 9)).await.status, 422);
    assert_eq!(witness.shows(&log).await, 5);

    let kept = witness.evidence().await;
    let told: Vec<_> = kept
        .iter()
        .map(|one| (one.kind, one.refused.size))
        .collect();
    assert_eq!(told, [5, 8, 9].map(|size| (Kind::Unproven, size)));
    assert_eq!(kept[0].held, "");
    assert_eq!(
        (&*kept[2].note, &*kept[2].held),
        (&*fork.note(9), &*log.note(5))
    );
    witness.cosigns(&log, 5, 8).await;
    witness.stop().await;
}

#[tokio::test]
async fn a_split_view_is_422_and_both_notes_convict_the_log() {
    let log = log();
    let fork = log.forked(2);
    let mut witness = Witness::start(&[&log]).await;
    witness.cosigns(&log, 0, 5).await;
    assert_eq!(witness.add(&fork.request(5, 5)).await.status, 422);
    // With another `old` it is a 409, and as telling.
    let other = log.forked(1);
    assert_eq!(witness.add(&other.request(0, 5)).await.size(), 5);
    // Once is enough.
    assert_eq!(witness.add(&fork.request(5, 5)).await.status, 422);

    let kept = witness.evidence().await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (one, note) in kept.iter().zip([fork.note(5), other.note(5)]) {
        assert_eq!(one.kind, Kind::Fork);
        assert_eq!((&*one.note, &*one.held), (&*note, &*log.note(5)));
        let keys = [log.key().public().clone()];
        for note in [&one.note, &one.held] {
            let (checkpoint, note) = Checkpoint::parse_note(note).unwrap();
            assert_eq!((checkpoint.size, note.verify(&keys).unwrap().len()), (5, 1));
        }
    }
    assert_eq!(witness.shows(&log).await, 5);
    witness.stop().await;
}

#[tokio::test]
async fn size_0_has_one_root() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    let (origin, root) = (log.origin.clone(), Digest::of(b"x"));
    let text = Checkpoint {
        origin,
        size: 0,
        root,
    }
    .text();
    let request = format!("old 0\n\n{}", log.key().sign(&text));
    assert_eq!(witness.add(&request).await.status, 422);
    assert_eq!(witness.evidence().await[0].kind, Kind::Fork);
    witness.stop().await;
}

/// LEDGER.md §10: time never goes back.
#[tokio::test]
async fn time_never_goes_back() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    let first = witness.cosigns(&log, 0, 5).await;
    witness.clock.advance(-3_600);
    assert_eq!(witness.cosigns(&log, 5, 6).await, first);
    witness.stop().await;
    witness.open().await;
    assert_eq!(witness.cosigns(&log, 6, 7).await, first);
    witness.clock.advance(3_601);
    assert_eq!(witness.cosigns(&log, 7, 7).await, first + 1);
    witness.stop().await;
}

#[tokio::test]
async fn either_key_of_a_log_may_sign_and_both_are_kept() {
    let (log, next) = (log(), Log::new("log.example/a", 2));
    let mut witness = Witness::new(&[&log]).await;
    let keys = |keys: &[&Log]| {
        let keys = keys.iter().map(|log| format!("\"{}\"", log.key().vkey()));
        format!("vkeys = [{}]", keys.collect::<Vec<_>>().join(", "))
    };
    witness.reconfigure(&keys(&[&log]), &keys(&[&log, &next]));
    witness.open().await;
    assert_eq!(witness.add(&log.request(0, 3)).await.status, 200);
    assert_eq!(witness.add(&next.request(3, 5)).await.status, 200);
    let both = with_line(&log.note(5), &next.note(5));
    let request = AddCheckpoint::new(5, Vec::new(), &both).unwrap();
    assert_eq!(witness.add(&request.to_string()).await.status, 200);
    let held = witness.held(&log).await.body;
    assert_eq!(held.matches("\u{2014} log.example/a ").count(), 2, "{held}");
    assert_eq!(
        held.matches(&format!("\u{2014} {NAME} ")).count(),
        1,
        "{held}"
    );
    witness.stop().await;
}

#[tokio::test]
async fn answers_are_plain_text_that_nobody_caches() {
    let log = log();
    let mut witness = Witness::start(&[&log]).await;
    witness.cosigns(&log, 0, 5).await;
    let path = format!("{}/{}/checkpoint", witness.url(), origin_hash(&log.origin));
    let answer = reqwest::get(path).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(witness.get("/healthz").await.status, 200);
    witness.stop().await;
}
