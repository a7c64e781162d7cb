//! A broker with one receiver, and asks that wait.

use std::path::Path;

use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::files::write_secret;
use tempfile::TempDir;

use crate::http::Receiver;

pub(crate) const PROD: &str = "Environment::prod/web";
pub(crate) const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Part of the address: whoever knows it may write there.
pub(crate) const PATH: &str = "T00000-hook-secret-of-the-channel";

/// Secrets beside the config, in a folder that replicas read too.
#[derive(Debug)]
pub(crate) struct Secrets(TempDir);

impl Secrets {
    pub(crate) fn new() -> Secrets {
        Secrets(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// `{ file = "…" }` of a new secret.
    pub(crate) fn keep(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        write_secret(&path, text.as_bytes());
        format!("{{ file = \"{}\" }}", path.display())
    }
}

/// `[notify.NAME]` of a webhook at `receiver`.
pub(crate) fn webhook(name: &str, receiver: &Receiver, secrets: &Secrets, more: &str) -> String {
    let url = format!("http://{}/hook/{PATH}", receiver.address);
    let url = secrets.keep(&format!("{name}.url"), &url);
    let secret = secrets.keep(&format!("{name}.secret"), KEY);
    format!("[notify.{name}]\nkind = \"webhook\"\nurl = {url}\nsecret = {secret}\n{more}\n")
}

/// `[notify.slack]` at `receiver`.
pub(crate) fn slack(receiver: &Receiver, secrets: &Secrets) -> String {
    let url = format!("http://{}/hook/{PATH}", receiver.address);
    let url = secrets.keep("slack.url", &url);
    format!("[notify.slack]\nkind = \"slack\"\nurl = {url}\n")
}

/// A broker with these tables, of which no log and no row may hold a secret.
pub(crate) async fn broker(tables: &str) -> TestBroker {
    let broker = TestBroker::with().tables(tables).start().await;
    broker.canary(PATH);
    broker.canary(KEY);
    broker.canary("C2FVsBQIhrscChlQIMV");
    broker
}

/// An ask of one job that waits: each `ttl` is another one.
pub(crate) async fn ask(broker: &TestBroker, ttl: u32) -> String {
    let caller = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .job("19475852113");
    let asked = caller.ask("deploy", PROD).ttl(ttl).x509().await;
    asked.held().request
}

/// The time in which a burst gathers is over.
pub(crate) fn settle(broker: &TestBroker) {
    broker.clock.advance(2);
}

/// Waits until nothing is to be sent any more.
pub(crate) async fn nothing_waits(broker: &TestBroker, name: &str) {
    eventually("nothing waits", async || {
        let detail = broker.check(&format!("notify {name}")).await["detail"].clone();
        detail.as_str().unwrap().contains(", 0 notices wait")
    })
    .await;
}
