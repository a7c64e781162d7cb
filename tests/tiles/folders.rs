//! `stint ledger export --format tiles`: plain files that anybody's client reads.

use std::path::Path;

use stint_audit::tile::{self, Tile};
use stint_audit::tree::leaf_hash;
use stint_tests::TestBroker;
use stint_tests::process::stint;

use crate::common::{fill, grant, parsed, root};

/// Runs the export; its exit code and what it said.
fn export(broker: &TestBroker, folder: &Path) -> (i32, String) {
    let mut command = stint();
    command.args(["ledger", "export", "--format", "tiles"]);
    command.arg("--socket").arg(broker.path("stintd.sock"));
    command.arg("--output").arg(folder);
    let done = command.output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    (done.status.code().unwrap(), said)
}

/// The files are a whole log: every tile of the checkpoint's size, each entry of its leaf.
fn check(folder: &Path) -> u64 {
    let read =
        |path: &str| std::fs::read(folder.join(path)).unwrap_or_else(|_| panic!("no {path}"));
    let head = parsed(&String::from_utf8(read("checkpoint")).unwrap());
    let mut leaves = Vec::new();
    for tile in Tile::all(head.size) {
        let hashes = tile::hashes(&read(&tile.path())).unwrap();
        assert_eq!(hashes.len() as u64, tile.width);
        if tile.level == 0 {
            let bundle = read(&tile.entries_path());
            let entries = tile::entries(&bundle).unwrap();
            let hashed: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
            assert_eq!(hashed, hashes);
            leaves.extend(hashes);
        }
    }
    assert_eq!(root(&leaves), head.root);
    head.size
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_grows_with_the_log_and_is_whole_each_time() {
    let broker = TestBroker::start().await;
    let folder = broker.path("tiles");
    drop(grant(&broker).await);
    let (code, said) = export(&broker, &folder);
    assert_eq!(code, 0, "{said}");
    let first = check(&folder);
    fill(&broker, 270).await;
    let (code, said) = export(&broker, &folder);
    assert_eq!(code, 0, "{said}");
    assert!(check(&folder) > first);
    // Again, with nothing new: every file is compared, none is written.
    assert_eq!(export(&broker, &folder).0, 0);
    // Nothing is left of what was in the making.
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            assert!(
                !path.file_name().unwrap().to_string_lossy().starts_with('.'),
                "{path:?}"
            );
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_other_bytes_is_kept_and_said() {
    let broker = TestBroker::start().await;
    let folder = broker.path("tiles");
    assert_eq!(export(&broker, &folder).0, 0);
    let size = check(&folder);
    for path in [
        format!("tile/0/000.p/{size}"),
        format!("tile/entries/000.p/{size}"),
    ] {
        let path = folder.join(path);
        let before = std::fs::read(&path).unwrap();
        let mut other = before.clone();
        other[40] ^= 1;
        std::fs::write(&path, &other).unwrap();
        let (code, said) = export(&broker, &folder);
        assert_eq!(code, 8, "{said}");
        assert!(said.contains("other bytes"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), other);
        std::fs::write(&path, &before).unwrap();
    }
    assert_eq!(export(&broker, &folder).0, 0);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_ledger_is_refused() {
    let (broker, other) = (TestBroker::start().await, TestBroker::start().await);
    let folder = broker.path("tiles");
    assert_eq!(export(&broker, &folder).0, 0);
    let head = std::fs::read(folder.join("checkpoint")).unwrap();
    let (code, said) = export(&other, &folder);
    assert_eq!(code, 8, "{said}");
    assert_eq!(std::fs::read(folder.join("checkpoint")).unwrap(), head);
    broker.finish().await;
    other.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_tiles_is_of_the_whole_log_into_a_folder() {
    let broker = TestBroker::start().await;
    let socket = broker.path("stintd.sock");
    for more in [
        &["--from", "3"][..],
        &["--to", "4"],
        &["--kinds", "granted"],
        &["--since", "2"],
        &["-o", "-"],
        &[],
    ] {
        let mut command = stint();
        command.args(["ledger", "export", "--format", "tiles", "--socket"]);
        let done = command.arg(&socket).args(more).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{more:?}");
    }
    broker.finish().await;
}
