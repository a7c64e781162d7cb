//! Our ledger before PyPI `aics-tlog`: the root of the headers, the signed checkpoint, the receipts of real grants.

use std::path::{Path, PathBuf};

use stint_audit::bundle::{CHECKPOINT, HEADERS, KEYS};
use stint_tests::TestBroker;
use stint_wire::Code;
use tempfile::TempDir;

use crate::foreign::{self, Said};
use crate::issued::write;

/// An export as files.
struct Exported {
    folder: TempDir,
    receipts: Vec<PathBuf>,
}

#[tokio::test]
async fn a_foreign_verifier_finds_the_checkpoint_and_every_receipt_in_the_headers() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;
    let said = exported.check();
    assert!(said.ok, "{said:?}");
    let lines = exported.read(HEADERS).lines().count();
    assert_eq!(said.json()["size"], lines);
    assert_eq!(said.json()["origin"], "it.stint/ledger");
    assert_eq!(said.json()["receipts"].as_array().unwrap().len(), GRANTS);
    broker.finish().await;
}

#[tokio::test]
async fn a_foreign_verifier_refuses_what_was_altered() {
    let broker = TestBroker::start().await;
    let exported = Exported::of(&broker).await;

    let headers = exported.read(HEADERS);
    let denied = headers.replacen("\"kind\":\"denied\"", "\"kind\":\"granted\"", 1);
    assert_ne!(denied, headers);
    exported.refuses(HEADERS, &denied, "root");
    let fewer: String = headers
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    exported.refuses(HEADERS, &fewer, "headers");
    let swapped: Vec<&str> = headers.lines().rev().collect();
    exported.refuses(HEADERS, &(swapped.join("\n") + "\n"), "root");

    let checkpoint = exported.read(CHECKPOINT);
    let mut lines: Vec<&str> = checkpoint.lines().collect();
    lines[1] = "1";
    exported.refuses(CHECKPOINT, &(lines.join("\n") + "\n"), "checkpoint");
    broker.finish().await;
}

#[tokio::test]
async fn a_foreign_verifier_refuses_the_receipt_of_another_ledger() {
    let (broker, other) = (TestBroker::start().await, TestBroker::start().await);
    let (exported, foreign) = (Exported::of(&broker).await, Exported::of(&other).await);
    let with = |receipts: &[PathBuf]| {
        let mut said = exported.command();
        for receipt in receipts {
            said.arg("--receipt").arg(receipt);
        }
        foreign::run(&mut said, "")
    };
    assert!(with(&exported.receipts).ok);
    assert!(!with(&foreign.receipts).ok);
    let receipt = std::fs::read_to_string(&exported.receipts[0]).unwrap();
    let index = receipt
        .lines()
        .find(|line| line.starts_with("index "))
        .unwrap();
    let moved = write(
        exported.folder.path(),
        "moved",
        &receipt.replace(index, "index 1"),
    );
    assert!(!with(&[moved]).ok);
    broker.finish().await;
    other.finish().await;
}

impl Exported {
    /// Some outcomes, and then the bundle.
    async fn of(broker: &TestBroker) -> Exported {
        let folder = tempfile::tempdir().unwrap();
        let mut receipts = Vec::new();
        for number in 0..GRANTS {
            let asking = broker
                .ci("acme/web")
                .ask("deploy", "Environment::staging/web");
            let granted = match number % 2 {
                0 => asking.x509().await.granted(),
                _ => asking.jwt("https://deploy.acme.dev").await.granted(),
            };
            receipts.push(write(
                folder.path(),
                &format!("receipt-{number}"),
                &granted.ledger.receipt,
            ));
        }
        let denied = broker
            .ci("acme/other")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await;
        assert_eq!(denied.refused(Code::Denied).status, 403);
        let export = broker.export().await;
        for (name, file) in [
            (HEADERS, HEADERS),
            (CHECKPOINT, CHECKPOINT),
            (KEYS, "vkeys"),
        ] {
            std::fs::write(folder.path().join(file), &export.files[name]).unwrap();
        }
        Exported { folder, receipts }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn command(&self) -> std::process::Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = foreign::python("check_log.py");
        command
            .arg("--headers")
            .arg(at(HEADERS))
            .arg("--checkpoint")
            .arg(at(CHECKPOINT));
        command
            .arg("--vkey-file")
            .arg(at("vkeys"))
            .args(["--origin", "it.stint/ledger"]);
        command
    }

    fn check(&self) -> Said {
        let mut command = self.command();
        for receipt in &self.receipts {
            command.arg("--receipt").arg(receipt);
        }
        foreign::run(&mut command, "")
    }

    /// With another text in `file`; the old one is put back.
    fn refuses(&self, file: &str, text: &str, word: &str) {
        let path: &Path = &self.folder.path().join(file);
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, text).unwrap();
        let said = self.check();
        std::fs::write(path, before).unwrap();
        assert!(
            !said.ok && said.json()["error"].as_str().unwrap().contains(word),
            "{file}: {said:?}"
        );
    }
}

const GRANTS: usize = 7;
