//! A broker, the programs beside it, and what an auditor keeps of its ledger.

use std::path::PathBuf;
use std::process::Command;

use stint_audit::Checkpoint;
use stint_tests::TestBroker;
use stint_tests::process::{program, stint};

pub(crate) const STAGING: &str = "Environment::staging/web";

/// Behind `restore`: what is lost is lost, and these two say so.
pub(crate) const ACCEPT: &[&str] = &[
    "--accept-loss",
    "--operator",
    "olu",
    "--operator",
    "ann",
    "--reason",
    "the disk died",
];

/// A broker by the machine's own time, as the programs beside it see it.
pub(crate) async fn broker() -> TestBroker {
    TestBroker::with().real_time().start().await
}

/// The place of a new grant.
pub(crate) async fn grant(broker: &TestBroker) -> u64 {
    let asking = broker.ci("acme/web").ask("deploy", STAGING);
    asking.x509().await.granted().ledger.seq
}

/// What a program ended with, and all it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) said: String,
}

impl Ended {
    /// It did what was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.said);
        self.said
    }

    /// It refused, by exit code 2, and said why.
    #[track_caller]
    pub(crate) fn refused(self, why: &str) {
        assert_eq!(self.code, 2, "{}", self.said);
        assert!(
            self.said.contains(why),
            "`{}` does not say `{why}`",
            self.said
        );
    }
}

/// `stintd`, with the broker's config.
pub(crate) async fn stintd(broker: &TestBroker, args: &[&str]) -> Ended {
    let config = broker.write_config();
    let mut command = Command::new(program("stintd"));
    command.args(args).arg("-c").arg(config);
    ended(command).await
}

async fn ended(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stderr, output.stdout].map(|out| String::from_utf8_lossy(&out).into_owned());
    Ended {
        code: output.status.code().unwrap_or(-1),
        said: said.concat(),
    }
}

/// What an auditor took home one day: a bundle, the key to check it by, and the signed head.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bundle: PathBuf,
    pub(crate) note: PathBuf,
    pub(crate) vkey: String,
    pub(crate) checkpoint: Checkpoint,
}

/// Takes all of it home now.
pub(crate) async fn keep(broker: &TestBroker, name: &str) -> Kept {
    let bundle = broker.path(&format!("{name}.stint"));
    let answer = broker.operator("GET", "/v1/ledger/bundle").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    std::fs::write(&bundle, &answer.body).unwrap();
    let text = broker.get("/v1/ledger/checkpoint").await.text();
    let note = broker.path(&format!("{name}.checkpoint"));
    std::fs::write(&note, &text).unwrap();
    let (checkpoint, _) = Checkpoint::parse_note(&text).unwrap();
    let vkey = vkey(broker).await;
    Kept {
        bundle,
        note,
        vkey,
        checkpoint,
    }
}

/// The key by which the broker's log is checked now.
pub(crate) async fn vkey(broker: &TestBroker) -> String {
    let trust = broker.get("/v1/trust").await.json();
    trust["ledger"]["vkey"].as_str().unwrap().to_owned()
}

impl Kept {
    /// `stint ledger verify`, as the auditor runs it; `more` beside bundle and key.
    pub(crate) async fn verify(&self, more: &[&str]) -> Ended {
        self.verify_under(&self.vkey, more).await
    }

    /// The same under a key that was pinned another day.
    pub(crate) async fn verify_under(&self, vkey: &str, more: &[&str]) -> Ended {
        let mut command = stint();
        command.env("HOME", self.bundle.parent().unwrap());
        command.env_remove("XDG_CONFIG_HOME");
        command.args(["ledger", "verify"]).arg(&self.bundle);
        command.args(["--key", vkey]).args(more);
        ended(command).await
    }

    /// That it extends what was kept another day, under the key of that day.
    pub(crate) async fn extends(&self, old: &Kept) {
        let since = old.note.display().to_string();
        let said = self
            .verify_under(&old.vkey, &["--since", &since])
            .await
            .ok();
        assert!(said.contains("append"), "{said}");
    }
}

/// What operators may do over the socket.
pub(crate) async fn command(
    broker: &TestBroker,
    path: &str,
    body: serde_json::Value,
) -> (u16, serde_json::Value) {
    let answer = broker.command(path, &body).await;
    (answer.status.as_u16(), answer.json())
}
