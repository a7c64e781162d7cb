//! Witnesses and logs of others: PyPI `aics-witness` cosigns our log, `aics-tlog` verifies what it cosigned, and a
//! foreign log is cosigned by our witness.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use stint_audit::Checkpoint;
use stint_audit::trust::Policy;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::process::program;
use tempfile::TempDir;

use crate::foreign;

/// A program that serves until the test ends.
struct Served(Child);

impl Served {
    async fn start(command: &mut Command, at: SocketAddr) -> Served {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut served = Served(quiet.spawn().unwrap());
        eventually("it listens", async || {
            assert!(served.0.try_wait().unwrap().is_none(), "it ended");
            tokio::net::TcpStream::connect(at).await.is_ok()
        })
        .await;
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// `aics-witness COMMAND --config witness.json …` in `folder`.
fn aics(folder: &Path, command: &str, args: &[&str]) -> Command {
    let mut run = foreign::module("aics_witness");
    run.arg(command)
        .arg("--config")
        .arg(folder.join("witness.json"))
        .args(args);
    run
}

/// A foreign witness of the log with this key: its verifier key, and itself.
async fn foreign_witness(folder: &Path, vkey: &str, at: SocketAddr) -> (String, Served) {
    let listen = at.to_string();
    let init = ["--name", "foreign.example/w1", "--listen", &listen];
    let made = foreign::run(&mut aics(folder, "init", &init), "");
    assert!(made.ok, "{made:?}");
    let add = ["--origin", "it.stint/ledger", "--vkey", vkey];
    let added = foreign::run(&mut aics(folder, "add-log", &add), "");
    assert!(added.ok, "{added:?}");
    let served = Served::start(&mut aics(folder, "serve", &["--listen", &listen]), at).await;
    (made.out.trim().to_owned(), served)
}

async fn vkey(broker: &TestBroker) -> String {
    let trust = broker.get("/v1/trust").await.json();
    trust["ledger"]["vkey"].as_str().unwrap().to_owned()
}

/// Waits until all that is recorded is shown with a quorum, and gives the note.
async fn cosigned(broker: &TestBroker, policy: &Policy) -> String {
    let mut shown = String::new();
    let asked = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web")
        .x509()
        .await;
    drop(asked.granted());
    let size = "SELECT size FROM ledger_head";
    let size = stint_tests::database::number(&broker.database(), size)
        .await
        .unsigned_abs();
    eventually("the foreign witness cosigns", async || {
        shown = broker.get("/v1/ledger/checkpoint").await.text();
        let (checkpoint, note) = Checkpoint::parse_note(&shown).unwrap();
        checkpoint.size >= size && policy.judge(&note).unwrap().newest.is_some()
    })
    .await;
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_witness_cosigns_our_log() {
    let mut broker = TestBroker::start().await;
    let (folder, at) = (TempDir::new().unwrap(), free());
    let own = vkey(&broker).await;
    let (theirs, served) = foreign_witness(folder.path(), &own, at).await;
    let text = format!("log {own}\nwitness foreign {theirs} http://{at}\nquorum foreign\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let file = broker.path("witnesses.policy");
    std::fs::write(&file, text).unwrap();
    broker.reconfigure(
        "[ledger]\n",
        &format!("[ledger]\nwitnesses = \"{}\"\n", file.display()),
    );
    broker.restart().await.unwrap();
    cosigned(&broker, &policy).await;
    // After a restart the size it holds is learned from its 409.
    broker.restart().await.unwrap();
    let note = cosigned(&broker, &policy).await;

    let verify = |note: &str, quorum: &str| {
        let mut command = foreign::module("aics_tlog");
        command.args([
            "verify-checkpoint",
            "--note",
            "-",
            "--origin",
            "it.stint/ledger",
        ]);
        command.args([
            "--log-key",
            &own,
            "--witness-key",
            &theirs,
            "--quorum",
            quorum,
        ]);
        foreign::run(&mut command, note)
    };
    let said = verify(&note, "1");
    assert!(said.ok, "{said:?}");
    let alone = Checkpoint::parse_note(&note).unwrap().1.signatures()[0].to_string();
    let (text, _) = note.split_once("\n\n").unwrap();
    assert!(
        !verify(&format!("{text}\n\n{alone}\n"), "1").ok,
        "without the cosignature"
    );
    let stored = foreign::run(&mut aics(folder.path(), "status", &[]), "");
    assert!(stored.out.contains("it.stint/ledger"), "{stored:?}");
    drop(served);
    std::fs::write(&file, "quorum none\n").unwrap();
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_log_is_cosigned_by_our_witness() {
    let (folder, at) = (TempDir::new().unwrap(), free());
    let dir = folder.path().join("w");
    let made = stint_broker::witness::init::init(&dir, "witness.example/w1", None)
        .await
        .unwrap();
    let script = || {
        let mut command = foreign::python("ask_witness.py");
        command.args(["--origin", "foreign.example/log"]);
        command
    };
    let key = foreign::run(script().arg("--vkey"), "");
    let text = std::fs::read_to_string(&made.config).unwrap();
    let log = format!("[log.foreign]\nvkeys = [\"{}\"]\n", key.out.trim());
    std::fs::write(&made.config, format!("listen = \"{at}\"\n{text}{log}")).unwrap();
    let mut command = Command::new(program("stintd"));
    command.args(["witness", "-c"]).arg(&made.config);
    let _served = Served::start(&mut command, at).await;
    let url = format!("http://{at}");
    let said = foreign::run(script().args(["--url", &url, "--witness", &made.vkey]), "");
    let expected = json!({
        "ok": true,
        "held": 21,
        "statuses": {
            "200": 200, "400 form": 400, "400 old": 400, "403": 403, "404": 404, "409": 409,
            "422 proof": 422, "422 fork": 422,
        },
    });
    assert_eq!(said.json(), expected, "{said:?}");
}
