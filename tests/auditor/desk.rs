//! An auditor's desk: a folder, a broker to ask, and `stint`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use stint_audit::bundle::Files;
use stint_tests::TestBroker;
use stint_tests::process::stint;

pub(crate) const STAGING: &str = "Environment::staging/web";
pub(crate) const PROD: &str = "Environment::prod/web";

/// A folder that is gone with its owner.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    vkey: String,
    socket: PathBuf,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) async fn of(broker: &TestBroker) -> Self {
        let trust = broker.get("/v1/trust").await.json();
        Self {
            folder: tempfile::tempdir().unwrap(),
            vkey: trust["ledger"]["vkey"].as_str().unwrap().to_owned(),
            socket: broker.path("stintd.sock"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `stint ledger`, knowing the log's key.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_by(&self.vkey, args)
    }

    /// The same with another key for the log's.
    pub(crate) fn command_by(&self, vkey: &str, args: &[&str]) -> Command {
        let mut command = stint();
        command
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .stdin(Stdio::null())
            .arg("ledger")
            .args(args);
        match args[0] {
            "export" | "prove" => command.arg("--socket").arg(&self.socket),
            "tail" => command
                .arg("--socket")
                .arg(&self.socket)
                .args(["--key", vkey]),
            _ => command.args(["--key", vkey]),
        };
        command
    }

    /// Runs it to its end; the broker goes on meanwhile.
    pub(crate) async fn ledger(&self, args: &[&str]) -> Said {
        said(self.command(args)).await
    }

    /// The verdicts on a bundle.
    pub(crate) async fn verdicts(&self, args: &[&str]) -> (i32, Value) {
        let said = self
            .ledger(&[&["verify", "-o", "json"], args].concat())
            .await;
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["exit"], said.exit);
        assert_eq!(report["schema"], "stint.verification/v1");
        (said.exit, report)
    }

    /// The files of a bundle.
    pub(crate) fn files(&self, name: &str) -> Files {
        let file = fs::File::open(self.path(name)).unwrap();
        let mut zip = zip::ZipArchive::new(file).unwrap();
        let mut files = Files::new();
        for place in 0..zip.len() {
            let mut file = zip.by_index(place).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
            files.insert(file.name().unwrap().into_owned(), bytes);
        }
        files
    }

    /// Lays a bundle out as a folder.
    pub(crate) fn lay_out(&self, name: &str, files: &Files) {
        for (file, bytes) in files {
            let path = self.path(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Runs a command on a thread of its own.
pub(crate) async fn said(mut command: Command) -> Said {
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ran = ran.await.unwrap();
    Said {
        exit: ran.status.code().unwrap(),
        out: String::from_utf8(ran.stdout).unwrap(),
        err: String::from_utf8(ran.stderr).unwrap(),
    }
}

/// One verdict of a report: state and seq.
pub(crate) fn verdict<'a>(report: &'a Value, name: &str) -> (&'a str, Option<u64>, &'a str) {
    let verdicts = report["verdicts"].as_array().unwrap();
    let found = verdicts.iter().find(|it| it["name"] == name).unwrap();
    let text = found["text"].as_str().unwrap();
    (
        found["state"].as_str().unwrap(),
        found["seq"].as_u64(),
        text,
    )
}

/// A grant, a refusal and a request: entries 6, 7 and 8 of a new broker.
pub(crate) async fn work(broker: &TestBroker) {
    let ci = || broker.ci("acme/web");
    let granted = ci().ask("deploy", STAGING).x509().await.granted();
    assert_eq!(granted.ledger.seq, 6);
    let refused = ci()
        .on("refs/heads/fix-12")
        .ask("deploy", PROD)
        .x509()
        .await;
    assert_eq!(refused.status, 403);
    let held = ci().ask("deploy", PROD).x509().await;
    assert_eq!(held.status, 202);
}
