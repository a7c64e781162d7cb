//! The receiver's check, `clients/siem/check.py`, run on what was received.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stint_tests::TestBroker;
use stint_tests::clock::eventually;

/// What the check came to.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) code: i32,
    pub(crate) said: String,
}

pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/siem/check.py")
}

/// Runs it on `text`, with `more` arguments.
pub(crate) fn check(key: &str, text: &str, more: &[&str]) -> Verdict {
    let mut child = Command::new("python3")
        .arg(script())
        .args(["--key", key])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let done = child.wait_with_output().unwrap();
    Verdict {
        code: done.status.code().unwrap(),
        said: String::from_utf8(done.stdout).unwrap(),
    }
}

/// The log's verifier key.
pub(crate) async fn key(broker: &TestBroker) -> String {
    let trust = broker.get("/v1/trust").await.json();
    trust["ledger"]["vkey"].as_str().unwrap().to_owned()
}

/// Waits until what `text` gives is proven to be all of the ledger as it stands now, in the eyes of the check.
pub(crate) async fn proves_all(broker: &TestBroker, text: impl Fn() -> String) -> String {
    let (key, size) = (key(broker).await, broker.size().await);
    let mut seen = String::new();
    eventually("all entries are received and proven", async || {
        seen = text();
        // Cheaper than the check: a heartbeat that is large enough.
        if beats(&seen).max() < Some(size) {
            return false;
        }
        let verdict = check(&key, &seen, &[]);
        assert_ne!(verdict.code, 8, "{}\n{seen}", verdict.said);
        let proven = verdict.said.strip_prefix("ok        entries 0 to ");
        let proven = proven.and_then(|said| said.split(' ').next()?.parse::<u64>().ok());
        proven >= Some(size - 1)
    })
    .await;
    seen
}

/// The sizes of the checkpoints in a stream of any format.
fn beats(text: &str) -> impl Iterator<Item = u64> {
    let sizes = text.split("it.stint/ledger\\n").skip(1);
    sizes.filter_map(|rest| rest.split('\\').next()?.parse().ok())
}
