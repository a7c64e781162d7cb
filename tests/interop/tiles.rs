//! Our tiles before PyPI `aics-tlog` and `tlog-scales`, two log clients of two other authors, and before the code that Go's
//! checksum database is read with; our bytes before `rfc8785`.

use std::path::{Path, PathBuf};
use std::process::Command;

use stint_audit::bundle::{BODIES, HEADERS};
use stint_tests::process::stint;
use stint_tests::{TestBroker, together};
use tempfile::TempDir;

use crate::foreign::{self, Said};
use crate::issued::write;

/// A folder of tiles, as `stint ledger export --format tiles` writes it, and what its auditor has besides.
struct Exported {
    folder: TempDir,
    /// A head that was kept before.
    kept: PathBuf,
    vkey: PathBuf,
    /// Exact bytes of some entries.
    leaves: Vec<(u64, PathBuf)>,
}

impl Exported {
    async fn of(broker: &TestBroker) -> Exported {
        let folder = tempfile::tempdir().unwrap();
        let note = broker.get("/v1/ledger/checkpoint").await.text();
        let kept = write(folder.path(), "kept", &note);
        while broker.size().await < 270 {
            let ask = || {
                broker
                    .ci("acme/web")
                    .ask("deploy", "Environment::staging/web")
            };
            drop(together((0..16).map(|_| ask().x509())).await);
        }
        let trust = broker.get("/v1/trust").await.json();
        let vkey = write(
            folder.path(),
            "vkey",
            trust["ledger"]["vkey"].as_str().unwrap(),
        );
        let mut command = stint();
        command.args(["ledger", "export", "--format", "tiles", "--output"]);
        command.arg(folder.path().join("log"));
        command.arg("--socket").arg(broker.path("stintd.sock"));
        assert!(command.status().unwrap().success());
        let lines = broker.operator("GET", "/v1/ledger/entries").await.text();
        let leaf = |seq: u64| {
            let line = lines.lines().nth(usize::try_from(seq).unwrap()).unwrap();
            (seq, write(folder.path(), &format!("leaf-{seq}"), line))
        };
        let leaves = [0, 3, 255, 256, 269].map(leaf).to_vec();
        write(folder.path(), "headers", &lines);
        Exported {
            folder,
            kept,
            vkey,
            leaves,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `aics-tlog VERB` on these tiles.
    fn aics(&self, verb: &str, more: &[(&str, &Path)]) -> Said {
        let mut command = program("aics-tlog");
        command.arg(verb).arg("--tiles").arg(self.at("log"));
        command.arg("--vkey-file").arg(&self.vkey);
        for (option, value) in more {
            command.arg(option).arg(value);
        }
        foreign::run(&mut command, "")
    }

    /// `golang.org/x/mod/sumdb` on these tiles and leaves.
    fn sumdb(&self) -> Said {
        let mut command = foreign::go("sumdb.go");
        command.arg(self.at("log")).arg(&self.vkey).arg(&self.kept);
        for (seq, leaf) in &self.leaves {
            command.arg(seq.to_string()).arg(leaf);
        }
        foreign::run(&mut command, "")
    }

    /// `tlog-tiles VERB` on these tiles.
    fn scales(&self, verb: &[&str], index: u64) -> Said {
        let mut command = program("tlog-tiles");
        command
            .args(verb)
            .arg(self.at("log"))
            .arg(index.to_string());
        foreign::run(&mut command, "")
    }
}

fn program(name: &str) -> Command {
    let mut command = foreign::python("check_log.py");
    let path = PathBuf::from(command.get_program()).with_file_name(name);
    command = Command::new(path);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn two_foreign_clients_read_our_tiles() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;
    let said = exported.aics("verify-checkpoint", &[]);
    assert!(
        said.ok && said.json()["origin"] == "it.stint/ledger",
        "{said:?}"
    );
    let said = exported.aics(
        "verify-consistency",
        &[("--old-checkpoint", &exported.kept)],
    );
    assert!(said.ok, "{said:?}");
    for (seq, leaf) in &exported.leaves {
        let index = PathBuf::from(seq.to_string());
        let said = exported.aics("verify-inclusion", &[("--index", &index), ("--leaf", leaf)]);
        assert!(said.ok, "{seq}: {said:?}");
        let said = exported.scales(&["get-leaf", "-c"], *seq);
        assert!(said.ok, "{seq}: {said:?}");
        assert_eq!(
            said.out.trim_end(),
            std::fs::read_to_string(leaf).unwrap(),
            "{seq}"
        );
        let said = exported.scales(&["gen-proof"], *seq);
        assert!(
            said.out.starts_with("c2sp.org/tlog-proof@v1\n"),
            "{seq}: {said:?}"
        );
    }
    broker.finish().await;
}

/// The reference of signed notes, checkpoints and tiles: signature, growth, inclusion; and not one bit less.
#[tokio::test(flavor = "multi_thread")]
async fn gos_checksum_database_reads_our_tiles() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;
    let said = exported.sumdb();
    assert!(
        said.ok && said.out.starts_with("it.stint/ledger "),
        "{said:?}"
    );
    let size = std::fs::read_to_string(exported.at("log/checkpoint")).unwrap();
    let size = size.lines().nth(1).unwrap().to_owned();
    assert!(said.out.trim_end().ends_with(&size), "{said:?}");

    let (_, leaf) = &exported.leaves[1];
    for path in [
        &exported.at("log/tile/0/000"),
        &exported.at("log/checkpoint"),
        &exported.kept,
        leaf,
    ] {
        let whole = std::fs::read(path).unwrap();
        let mut spoiled = whole.clone();
        spoiled[3 * 32] ^= 1;
        std::fs::write(path, &spoiled).unwrap();
        let said = exported.sumdb();
        assert!(!said.ok, "{}: {said:?}", path.display());
        std::fs::write(path, &whole).unwrap();
    }
    assert!(exported.sumdb().ok);
    broker.finish().await;
}

/// What somebody else makes of the same entries is, byte for byte, what we exported.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_builder_makes_the_same_tiles() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;
    let mut command = program("aics-tlog");
    command
        .arg("build-tiles")
        .arg("--leaves")
        .arg(exported.at("headers"));
    command.arg("--out").arg(exported.at("built"));
    let said = foreign::run(&mut command, "");
    assert!(said.ok, "{said:?}");
    let (mut folders, mut files) = (vec![exported.at("built/tile")], 0);
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(exported.at("built")).unwrap();
            let ours = std::fs::read(exported.at("log").join(name)).unwrap();
            assert!(ours == std::fs::read(&path).unwrap(), "{name:?}");
            files += 1;
        }
    }
    assert!(files >= 5, "{files}");
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_refuse_what_was_altered() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;
    let path = exported.at("log/tile/0/000");
    let whole = std::fs::read(&path).unwrap();
    let mut spoiled = whole.clone();
    spoiled[3 * 32] ^= 1;
    std::fs::write(&path, &spoiled).unwrap();
    let (_, leaf) = &exported.leaves[1];
    let index = Path::new("3");
    assert!(
        !exported
            .aics("verify-inclusion", &[("--index", index), ("--leaf", leaf)])
            .ok
    );
    // A path has the neighbour's hash, never the leaf's own.
    assert!(!exported.scales(&["get-leaf", "-c"], 2).ok);
    std::fs::write(&path, &whole).unwrap();
    assert!(exported.scales(&["get-leaf", "-c"], 2).ok);
    let (_, other) = &exported.leaves[0];
    assert!(
        !exported
            .aics("verify-inclusion", &[("--index", index), ("--leaf", other)])
            .ok
    );
    assert!(
        exported
            .aics("verify-inclusion", &[("--index", index), ("--leaf", leaf)])
            .ok
    );
    broker.finish().await;
}

/// RFC 8785 by another author: every header and body is what its serialiser writes.
#[tokio::test(flavor = "multi_thread")]
async fn every_header_and_body_is_canonical_json() {
    let broker = TestBroker::start().await;
    let reason = "Überweisung → prod \u{1F680} \"quoted\"";
    let ask = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    drop(ask.member("reason", reason.into()).x509().await.granted());
    drop(
        broker
            .ci("acme/other")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await,
    );
    let export = broker.export().await;
    let folder = tempfile::tempdir().unwrap();
    for name in [HEADERS, BODIES] {
        std::fs::write(folder.path().join(name), &export.files[name]).unwrap();
    }
    let mut command = foreign::python("check_canonical.py");
    command
        .arg(folder.path().join(HEADERS))
        .arg(folder.path().join(BODIES));
    let said = foreign::run(&mut command, "");
    assert!(said.ok, "{said:?}");
    let lines = export.entries().len();
    assert_eq!(
        (&said.json()["headers"], &said.json()["bodies"]),
        (&lines.into(), &lines.into())
    );
    broker.finish().await;
}
