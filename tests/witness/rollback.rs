//! T4, T6, T7 of the tamper matrix, as witnesses see them: a log that goes back or signs a second history is found out,
//! at the next start and while it runs, and both sides are kept.

use std::path::PathBuf;

use stint_audit::{Checkpoint, Digest, LogKey};
use stint_broker::ledger::OpenError;
use stint_broker::start::StartError;
use stint_tests::clock::eventually;

use crate::watched::{Watched, stored};

/// What was kept beside the pin, by side.
fn kept(watched: &Watched, side: &str) -> Vec<(PathBuf, String)> {
    let folder = watched.broker.path("");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("ledger.pin.diverged-w0-") && name.ends_with(side)
    };
    let files = files.filter(wanted);
    files
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn diverged(error: StartError) -> String {
    match error {
        StartError::Ledger(OpenError::Diverged(why)) => why,
        other => panic!("{other}"),
    }
}

/// Yesterday's backup, put back with its pin: nothing here knows better, but the witness does.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_put_back_does_not_start() {
    let mut watched = Watched::start(1, "quorum w0\n", "").await;
    watched.grants().await;
    watched.is_cosigned().await;
    watched.broker.stop().await;
    watched.broker.database().save("before").await;
    let pin = watched.broker.path("ledger.pin");
    let before = std::fs::read(&pin).unwrap();

    watched.broker.restart().await.unwrap();
    watched.grants().await;
    watched.is_cosigned().await;
    let known = stored(&watched.broker).await;
    watched.broker.stop().await;
    watched.broker.database().save("after").await;
    let after = std::fs::read(&pin).unwrap();
    watched.broker.database().restore("before").await;
    std::fs::write(&pin, before).unwrap();

    let why = diverged(watched.broker.restart().await.unwrap_err());
    assert!(
        why.starts_with(&format!(
            "w0 holds {known} entries under our signature, the store "
        )),
        "{why}"
    );
    let (theirs, ours) = (kept(&watched, ".theirs"), kept(&watched, ".ours"));
    assert_eq!((theirs.len(), ours.len()), (1, 1));
    assert_eq!(Checkpoint::parse_note(&theirs[0].1).unwrap().0.size, known);
    assert!(Checkpoint::parse(&ours[0].1).unwrap().size < known);
    // Nothing was signed or written by the attempt.
    let again = diverged(watched.broker.restart().await.unwrap_err());
    assert_eq!(again, why);

    // A witness that is silent cannot say so: who starts then is on his own.
    watched.broker.database().restore("after").await;
    std::fs::write(&pin, after).unwrap();
    watched.broker.restart().await.unwrap();
    watched.grants().await;
    watched.finish().await;
}

/// The same, and a new key besides: what the witness holds is signed by the old one alone, and is ours all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_does_not_make_a_witness_forgotten() {
    let mut watched = Watched::start(1, "quorum w0\n", "").await;
    watched.grants().await;
    watched.is_cosigned().await;
    watched.broker.stop().await;
    watched.broker.database().save("before").await;
    let pin = watched.broker.path("ledger.pin");
    let before = std::fs::read(&pin).unwrap();
    watched.broker.restart().await.unwrap();
    watched.grants().await;
    watched.is_cosigned().await;
    let known = stored(&watched.broker).await;
    watched.broker.stop().await;
    watched.broker.database().restore("before").await;
    std::fs::write(&pin, before).unwrap();

    // The offline command asks no witness, so it does what it is told.
    let rotate = std::process::Command::new(stint_tests::process::program("stintd"))
        .args(["keys", "rotate", "ledger", "-c"])
        .arg(watched.broker.write_config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rotate.stderr).into_owned();
    assert!(rotate.status.success(), "{said}");
    let why = diverged(watched.broker.restart().await.unwrap_err());
    let known = format!("w0 holds {known} entries under our signature, the store ");
    assert!(why.starts_with(&known), "{why}");
    watched.broker.abandon().await;
}

/// The log's key, as a thief has it.
fn stolen(watched: &Watched) -> LogKey {
    let seed = std::fs::read(watched.broker.path("keys/ledger.key")).unwrap();
    let opened = stint_ca::keyfile::open(&seed, None).unwrap();
    let seed: [u8; 32] = opened.as_slice().try_into().unwrap();
    LogKey::from_seed(&seed, "it.stint/ledger").unwrap()
}

/// A second history under our own signature, first seen by the witness.
async fn forge(watched: &Watched, size: u64) {
    let root = Digest::of(b"another history");
    let text = Checkpoint {
        origin: "it.stint/ledger".to_owned(),
        size,
        root,
    };
    let note = stolen(watched).sign(&text.text());
    let first = &watched.witnesses[0];
    let answer = first.add(&format!("old 0\n\n{note}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// T4: the witness saw the thief's history first. Ours contradicts it, so one of us lies: nothing is granted any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_history_stops_the_broker_while_it_runs() {
    let mut watched = Watched::start(1, "quorum none\n", "").await;
    watched.witnesses[0].stop().await;
    for file in ["witness.db", "witness.db-wal", "witness.db-shm"] {
        drop(std::fs::remove_file(watched.witnesses[0].path(file)));
    }
    watched.witnesses[0].make_database().await;
    watched.witnesses[0].open().await;
    forge(&watched, 3).await;
    eventually("the log diverges", async || {
        watched.broker.check("ledger").await["code"] == "ledger_diverged"
    })
    .await;
    let asked = watched
        .broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    drop(asked.x509().await.refused(stint_wire::Code::Unavailable));
    let theirs = kept(&watched, ".theirs");
    assert!(
        theirs[0].1.starts_with("it.stint/ledger\n3\n"),
        "{theirs:?}"
    );
    assert_eq!(kept(&watched, ".ours").len(), 1);
    let why = diverged(watched.broker.restart().await.unwrap_err());
    assert_eq!(
        why,
        "w0 holds another root at 3 entries under our signature"
    );
    watched.broker.abandon().await;
}

/// T7: one size, two roots. Whoever comes second is refused, and both notes are kept by the witness.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_view_is_refused_and_kept_by_the_witness() {
    let watched = Watched::start(1, "quorum w0\n", "").await;
    watched.grants().await;
    watched.is_cosigned().await;
    let (shown, _) = watched.shown().await;
    let text = Checkpoint {
        root: Digest::of(b"for one eye"),
        ..shown.clone()
    };
    let note = stolen(&watched).sign(&text.text());
    let answer = watched.witnesses[0]
        .add(&format!("old {}\n\n{note}", shown.size))
        .await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let kept = watched.witnesses[0].evidence().await;
    assert_eq!((kept.len(), &*kept[0].note), (1, &*note));
    assert!(kept[0].held.starts_with(&shown.text()));
    watched.grants().await;
    watched.is_cosigned().await;
    watched.finish().await;
}
