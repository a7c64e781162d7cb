//! Files that are rotated, removed, locked or cut off.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use stint_tests::TestBroker;
use stint_tests::clock::eventually;

use crate::check::proves_all;
use crate::receiver::{seqs, sink};

const STAGING: &str = "Environment::staging/web";

async fn grant(broker: &TestBroker) {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", STAGING).x509().await.granted());
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_rotated_file_is_left_and_a_new_one_begun() {
    let broker = TestBroker::with()
        .tables(&sink("jsonl", "file:events", ""))
        .start()
        .await;
    let (path, old) = (broker.path("events"), broker.path("events.1"));
    proves_all(&broker, || read(&path)).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::rename(&path, &old).unwrap();
    grant(&broker).await;
    let text = proves_all(&broker, || read(&old) + &read(&path)).await;
    let count = u64::try_from(seqs(&text).len()).unwrap();
    assert_eq!(seqs(&text), (0..count).collect::<Vec<_>>());
    assert!(!seqs(&read(&path)).is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn a_hang_up_opens_the_file_anew() {
    let mut broker = TestBroker::with()
        .real_time()
        .tables(&sink("jsonl", "file:events", ""))
        .start()
        .await;
    broker.serve(None).await;
    let path = broker.path("events");
    proves_all(&broker, || read(&path)).await;
    let was = std::fs::metadata(&path).unwrap().ino();
    std::fs::rename(&path, broker.path("events.1")).unwrap();
    let id = broker.process().id();
    stint_tests::process::signal(id, "HUP");
    eventually("the file is there again", async || {
        std::fs::metadata(&path).is_ok_and(|now| now.ino() != was)
    })
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_waited_for() {
    let broker = TestBroker::with()
        .tables(&sink("jsonl", "file:logs/events", ""))
        .start()
        .await;
    grant(&broker).await;
    eventually("the sink is stuck", async || {
        broker.check("sink out").await["code"] == "sink_stuck"
    })
    .await;
    std::fs::create_dir(broker.path("logs")).unwrap();
    let path = broker.path("logs/events");
    proves_all(&broker, || read(&path)).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_link_in_the_place_of_the_file_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("events"), folder.path().join("target"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let to = format!("file:{}", link.display());
    let broker = TestBroker::with()
        .tables(&sink("jsonl", &to, ""))
        .start()
        .await;
    eventually("the sink is stuck", async || {
        let check = broker.check("sink out").await;
        check["detail"]
            .as_str()
            .unwrap()
            .contains("a symbolic link")
    })
    .await;
    assert!(!target.exists());
    broker.finish().await;
}
