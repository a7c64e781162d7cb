//! A script writes one JSON line for each thing it wants done, and reads one line back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stint_tests::TestBroker;
use tokio::sync::mpsc;

/// Runs `tests/browser/SCRIPT` against `broker`. What it finds wrong, it says and ends with a failure.
pub(crate) async fn run(broker: &TestBroker, script: &str, mut given: Value) {
    given["port"] = json!(broker.address().port());
    given["idp"] = json!(broker.idp().url);
    let mut child = Command::new(node())
        .arg(root().join("tests/browser").join(script))
        .arg(given.to_string())
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = child.stdin.take().unwrap();
    let (said, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    let (hand, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines() {
            hand.send(line.unwrap()).unwrap();
        }
    });
    while let Some(line) = lines.recv().await {
        let errand: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let answer = errand_of(broker, &errand).await;
        answers.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    drop(answers);
    // Its stdout is closed: it ends now.
    let done = child.wait().unwrap();
    assert!(done.success(), "{script}: {}", errors.join().unwrap());
}

async fn errand_of(broker: &TestBroker, errand: &Value) -> Value {
    let text = |name: &str| errand[name].as_str();
    match text("do").unwrap() {
        // A pipeline asks, or asks again: the same job has the same request.
        "ask" => {
            let resource = text("resource").unwrap_or("Environment::prod/web");
            let caller = broker.ci("acme/web").job(text("job").unwrap());
            let caller = match text("initiator") {
                Some(account) => caller.claim("actor_id", json!(account)),
                None => caller,
            };
            let caller = match text("ref") {
                Some(git_ref) => caller.on(git_ref),
                None => caller,
            };
            let mut asking = caller.ask("deploy", resource);
            for name in ["reason", "ttl_s"] {
                if !errand[name].is_null() {
                    asking = asking.member(name, errand[name].clone());
                }
            }
            let answer = asking.x509().await;
            json!({ "status": answer.status.as_u16(), "body": answer.json() })
        }
        // An operator takes a request back.
        "cancel" => {
            let olu = broker.signed_in("olu").await;
            let path = format!("/v1/requests/{}/cancel", text("request").unwrap());
            json!({ "status": olu.post(&path, &json!({})).await.status.as_u16() })
        }
        "later" => {
            broker.clock.advance(errand["seconds"].as_i64().unwrap());
            json!({})
        }
        "policy" => {
            let name = text("name").unwrap();
            let was = broker.read_policy(name);
            broker.write_policy(
                name,
                &was.replace(text("from").unwrap(), text("to").unwrap()),
            );
            json!({ "status": broker.reload().await.status.as_u16() })
        }
        other => panic!("no errand `{other}`"),
    }
}

/// Node.js, where `tests/run` puts it.
fn node() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("interop/bin/node");
    assert!(
        path.exists(),
        "{} is not there: run `tests/run browser` once",
        path.display()
    );
    path
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
