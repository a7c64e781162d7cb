//! What these tests have in common.

use stint_audit::entry::Header;
use stint_audit::note::VerifierKey;
use stint_audit::receipt::{Proof, Proven};
use stint_audit::tile;
use stint_audit::{Checkpoint, Digest};
use stint_tests::clock::eventually;
use stint_tests::{TestBroker, together};
use stint_wire::Granted;

pub(crate) const STAGING: &str = "Environment::staging/web";

pub(crate) async fn grant(broker: &TestBroker) -> Granted {
    let asking = broker.ci("acme/web").ask("deploy", STAGING);
    asking.x509().await.granted()
}

/// Grants until there are at least `size` entries.
pub(crate) async fn fill(broker: &TestBroker, size: u64) {
    while broker.size().await < size {
        drop(together((0..16).map(|_| grant(broker))).await);
    }
}

/// The hashes of a tile that must be there.
pub(crate) async fn hashes(broker: &TestBroker, path: &str) -> Vec<Digest> {
    let answer = broker.get(&format!("/v1/ledger/{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    tile::hashes(&answer.body).unwrap()
}

/// The entries of `[from, to)`, by the operator's socket.
pub(crate) async fn headers(broker: &TestBroker, from: u64, to: u64) -> Vec<Header> {
    let path = format!("/v1/ledger/entries?from={from}&to={to}");
    let answer = broker.operator("GET", &path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lines = answer.text();
    lines
        .lines()
        .map(|line| Header::parse(line.as_bytes()).unwrap())
        .collect()
}

/// The newest entry of a kind.
pub(crate) async fn newest(broker: &TestBroker, kind: &str) -> Option<Header> {
    let size = broker.size().await;
    let mut headers = headers(broker, 0, size).await;
    headers.retain(|header| header.what.kind() == kind);
    headers.pop()
}

/// A minute passes, and the next anchor comes.
pub(crate) async fn anchored(broker: &TestBroker) -> Header {
    let before = newest(broker, "anchor").await.map(|header| header.seq);
    broker.clock.advance(61);
    eventually("there is an anchor", async || {
        newest(broker, "anchor").await.map(|header| header.seq) != before
    })
    .await;
    newest(broker, "anchor").await.unwrap()
}

/// What a receipt proves, under the broker's key.
pub(crate) async fn proven(broker: &TestBroker, text: &str) -> Proven {
    let trust = broker.get("/v1/trust").await.json();
    let vkey: VerifierKey = trust["ledger"]["vkey"].as_str().unwrap().parse().unwrap();
    let proof: Proof = text.parse().unwrap();
    proof.verify(&[vkey]).unwrap()
}

/// One pass of the scrubber; what it says.
pub(crate) async fn scrub(broker: &TestBroker) -> stint_tests::Answer {
    broker.operator("POST", "/v1/ledger/scrub").await
}

pub(crate) fn root(hashes: &[Digest]) -> Digest {
    stint_audit::tree::root(hashes)
}

pub(crate) fn parsed(note: &str) -> Checkpoint {
    Checkpoint::parse_note(note).unwrap().0
}
