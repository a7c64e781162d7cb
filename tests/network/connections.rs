//! How many connections there may be, whose go first, and how long each may take for what it does.

use std::time::Duration;

use stint_tests::clock::eventually;
use stint_tests::process::said;
use stint_tests::{TestBroker, together};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::wire::{TRUST, ask, closes, connect_from, secured};

#[tokio::test]
async fn a_peer_at_its_cap_loses_what_it_does_not_use() {
    let broker = TestBroker::with()
        .set("limits", "connections_per_peer = 3")
        .start()
        .await;
    let mut used = connect_from(&broker, 2).await.unwrap();
    assert_eq!(ask(&mut used, TRUST.as_bytes()).await.unwrap().status, 200);
    let mut silent = connect_from(&broker, 2).await.unwrap();
    let mut silent_too = connect_from(&broker, 2).await.unwrap();
    // Used since the others came: it is the last to go.
    assert_eq!(ask(&mut used, TRUST.as_bytes()).await.unwrap().status, 200);
    let mut others = Vec::new();
    for idle in [&mut silent, &mut silent_too] {
        let mut next = connect_from(&broker, 2).await.unwrap();
        assert!(closes(idle).await);
        assert_eq!(ask(&mut next, TRUST.as_bytes()).await.unwrap().status, 200);
        assert_eq!(ask(&mut used, TRUST.as_bytes()).await.unwrap().status, 200);
        others.push(next);
    }
    let mut other = connect_from(&broker, 3).await.unwrap();
    assert_eq!(ask(&mut other, TRUST.as_bytes()).await.unwrap().status, 200);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_connections_keeps_nobody_out() {
    let broker = TestBroker::with()
        .set("limits", "connections = 16")
        .start()
        .await;
    let mut crowd = Vec::new();
    for n in 0..100 {
        crowd.push(connect_from(&broker, 10 + n % 5).await.unwrap());
        if n % 10 == 0 {
            let answer = broker
                .ci("acme/web")
                .ask("deploy", "Environment::staging/web")
                .x509()
                .await;
            assert_eq!(answer.status, 201);
        }
    }
    assert_eq!(broker.released(), 10);
    broker.finish().await;
}

#[tokio::test]
async fn a_handshake_has_its_time_and_a_flood_of_them_crowds_itself_out() {
    let broker = TestBroker::with()
        .tls()
        .set("limits", "handshake_timeout = \"2s\"")
        .set("limits", "handshakes = 4")
        .start()
        .await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(connect_from(&broker, 2).await.unwrap());
    }
    let mut stream = secured(&broker, &[]).await.unwrap();
    stream.write_all(TRUST.as_bytes()).await.unwrap();
    assert_eq!(crate::wire::answer(&mut stream).await.unwrap().status, 200);
    for stream in &mut flood {
        assert!(closes(stream).await);
    }
    broker.finish().await;
}

/// How many large answers come to a client that asks for [`ANSWERS`] of them at once and begins to read after `pause`.
async fn large_answers(broker: &TestBroker, pause: Duration) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket.connect(broker.address()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let large = TRUST.replace("/v1/policy", "/v1/openapi.json");
    let last = large.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let requests = large.repeat(ANSWERS - 1) + &last;
    let asking = async move {
        drop(writer.write_all(requests.as_bytes()).await);
        writer
    };
    let reading = async {
        tokio::time::sleep(pause).await;
        let mut bytes = Vec::new();
        // What was cut off ends in an error; what came before it counts.
        drop(reader.read_to_end(&mut bytes).await);
        String::from_utf8_lossy(&bytes)
            .matches("HTTP/1.1 200")
            .count()
    };
    let (_writer, count) = tokio::join!(asking, reading);
    count
}

/// More than all buffers between two sockets hold.
const ANSWERS: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_of_its_answers_is_left() {
    let broker = TestBroker::with()
        .set("limits", "write_timeout = \"1s\"")
        .start()
        .await;
    assert_eq!(large_answers(&broker, Duration::ZERO).await, ANSWERS);
    let few = large_answers(&broker, Duration::from_secs(4)).await;
    assert!(few < ANSWERS, "{few} of {ANSWERS} were written to nobody");
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_it_waits_and_goes_on() {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.serve(None).await;
    let id = broker.process().id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    // Room for what the check at the end reads with: a bundle, and connections to the database.
    let most = format!("--nofile={0}:{0}", open + 16);
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &id.to_string(), &most])
        .status()
        .unwrap();
    assert!(limited.success());
    let crowd = together((0..60).map(|n| connect_from(&broker, 2 + n % 5))).await;
    assert!(crowd.iter().all(Result::is_ok));
    let full = || {
        let log = said(&broker.path(""));
        log.matches("a connection could not be accepted").count()
    };
    eventually("it is out of descriptors", async || full() > 0).await;
    // Each connection that waits makes room for the next, one every 100 ms.
    let served = async || {
        let mut stream = connect_from(&broker, 9).await.unwrap();
        let asked = ask(&mut stream, TRUST.as_bytes());
        let said = tokio::time::timeout(Duration::from_secs(9), asked).await;
        matches!(said, Ok(Some(said)) if said.status == 200)
    };
    assert!(served().await);
    drop(crowd);
    let spins = full();
    assert!(spins < 500, "{spins} tries");
    assert!(served().await);
    broker.finish().await;
}
