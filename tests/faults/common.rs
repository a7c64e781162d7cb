//! What the tests of this binary share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::after::Export;
use stint_tests::broker::Setup;
use stint_tests::clock::eventually;
use stint_tests::log;
use stint_tests::postgres::{Cluster, Spot};

pub(crate) const STAGING: &str = "Environment::staging/web";

/// How many times as often as in a short run: `STINT_FAULT_ROUNDS`.
pub(crate) fn rounds() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the whole run is told, not how a broker is"
    )]
    let wanted = std::env::var("STINT_FAULT_ROUNDS");
    wanted.map_or(1, |text| text.parse().unwrap())
}

/// Says, where every run is read, what a run leaves out.
pub(crate) fn left_out(why: &str) {
    use std::io::Write as _;

    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    drop(writeln!(std::io::stderr(), "left out  {test}: {why}"));
}

/// A broker on a fresh database of the shared cluster, whatever engine the run is on.
pub(crate) async fn on_server() -> (TestBroker, Spot) {
    let spot = Cluster::shared().await.database().await;
    (setup(&spot, spot.port).start().await, spot)
}

pub(crate) fn setup(spot: &Spot, port: u16) -> Setup {
    TestBroker::with().real_time().on_server(spot, port)
}

pub(crate) async fn grant(broker: &TestBroker) -> u64 {
    let ask = broker.ci("acme/web").ask("deploy", STAGING);
    let answer = ask.x509().await;
    if answer.status != 201 {
        let said = log::since(0);
        let lines: Vec<_> = said.lines().rev().take(12).collect();
        panic!("{}\n{}", answer.text(), lines.join("\n"));
    }
    answer.granted().ledger.seq
}

/// The status of one ask; 0 where the connection broke.
pub(crate) async fn try_grant(broker: &TestBroker) -> u16 {
    let ask = broker.ci("acme/web").ask("deploy", STAGING);
    match ask.x509_or_nothing().await {
        Ok(answer) => answer.status.as_u16(),
        Err(_) => 0,
    }
}

/// Asks again and again until `step` breaks with the status it wants to end at, or the broker is gone. Nobody is told
/// anything but 201 and 503.
pub(crate) async fn load(broker: &TestBroker, mut step: impl FnMut(u16) -> ControlFlow<()>) {
    loop {
        let status = try_grant(broker).await;
        assert!(matches!(status, 0 | 201 | 503), "{status}");
        if step(status).is_break() || status == 0 {
            return;
        }
    }
}

/// The broker grants again, by itself.
pub(crate) async fn recovers(broker: &TestBroker) {
    for _ in 0..4 {
        if patient(async || try_grant(broker).await == 201).await {
            return;
        }
    }
    eventually("it grants again", async || try_grant(broker).await == 201).await;
}

/// Whether `holds` within ten seconds.
async fn patient(mut holds: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..100 {
        if holds().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

/// `/readyz` says `code`, soon.
pub(crate) async fn reads(broker: &TestBroker, code: &str) {
    let ready = async || {
        let answer = broker.operator("GET", "/readyz").await;
        answer.text().contains(code)
    };
    for _ in 0..2 {
        if patient(ready).await {
            return;
        }
    }
    let said = broker.operator("GET", "/readyz").await.text();
    panic!("no {code} in {said}");
}

/// `/readyz` is 200, soon.
pub(crate) async fn is_ready(broker: &TestBroker) {
    let ready = async || broker.operator("GET", "/readyz").await.status == 200;
    assert!(
        patient(ready).await,
        "{}",
        broker.operator("GET", "/readyz").await.text()
    );
}

/// Each grant is in somebody's hands or closed, none is closed twice; ids and the hashes of what was signed are unique.
pub(crate) async fn settled(broker: &TestBroker, released: &BTreeSet<String>) -> Export {
    let export = broker.export().await;
    let mut closed: BTreeMap<u64, usize> = BTreeMap::new();
    for entry in export.of("sign_failed") {
        *closed
            .entry(entry.header["what"]["of"].as_u64().unwrap())
            .or_default() += 1;
    }
    for (seq, times) in &closed {
        assert_eq!(*times, 1, "entry {seq} is closed {times} times");
    }
    let granted = export.of("granted");
    for entry in &granted {
        let seq = entry.header["seq"].as_u64().unwrap();
        let got = released.contains(entry.header["id"].as_str().unwrap());
        assert!(
            got || closed.contains_key(&seq),
            "nobody got grant {seq}, and nothing says so: {}",
            entry.header
        );
    }
    let unique = |of: &dyn Fn(&Value) -> String| -> BTreeSet<String> {
        granted.iter().map(|entry| of(&entry.header)).collect()
    };
    assert_eq!(
        unique(&|header| header["what"]["tbs"].to_string()).len(),
        granted.len()
    );
    let ids: BTreeSet<_> = export
        .entries()
        .iter()
        .map(|it| it.header["id"].to_string())
        .collect();
    assert_eq!(
        ids.len(),
        export.entries().len(),
        "an id stands there twice"
    );
    export
}

/// The foot of a machine that fails: `disk.c` as a library to preload.
pub(crate) fn failing_disk() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let library = MADE.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/disk.c");
        let folder = tempfile::Builder::new()
            .prefix("stint-disk-")
            .tempdir()
            .unwrap();
        let library = folder.keep().join("disk.so");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .status()
            .unwrap();
        assert!(made.success(), "cc disk.c");
        library
    });
    library.clone()
}
