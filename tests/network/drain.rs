//! How it stops: nothing that was answered is lost, and nothing that was begun is left half done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stint_tests::clock::eventually;
use stint_tests::process::signal;
use stint_tests::{TestBroker, together};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::wire::{TRUST, answer, ask, connect};

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_answer_is_on_record_and_every_record_was_answered() {
    let mut broker = TestBroker::with().tls().real_time().start().await;
    broker.serve(None).await;
    let id = broker.process().id();
    let granted = AtomicUsize::new(0);
    let client = |n: usize| {
        let (broker, granted) = (&broker, &granted);
        async move {
            for round in 0.. {
                let caller = broker.ci("acme/web").job(&format!("{n}-{round}"));
                let asked = caller.ask("deploy", "Environment::staging/web");
                match asked.x509_or_nothing().await {
                    Ok(answer) => assert_eq!(answer.status, 201, "{}", answer.text()),
                    Err(_) => return, // nobody listens any more
                }
                granted.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let stop = async {
        let many = || granted.load(Ordering::Relaxed) >= 40;
        eventually("the load is on", async || many()).await;
        signal(id, "TERM");
    };
    tokio::join!(stop, together((0..8).map(client)));
    eventually("stintd ends", async || broker.process().ended().is_some()).await;
    assert!(broker.process().ended().unwrap().success());
    assert!(granted.into_inner() >= 40);
    broker.restart().await.unwrap();
    // Each 201 has its entry, and each granted entry its 201.
    broker.finish().await;
}

/// A request whose body does not come to its end.
async fn unfinished(broker: &TestBroker) -> TcpStream {
    let mut stream = connect(broker).await;
    // Served before: it is not one that nobody knows yet.
    assert_eq!(
        ask(&mut stream, TRUST.as_bytes()).await.unwrap().status,
        200
    );
    let head = "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer x.x.x\r\n\
                Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn patient() -> TestBroker {
    let mut broker = TestBroker::with()
        .set("server", "shutdown_grace = \"120s\"")
        .set("server", "request_timeout = \"120s\"")
        .set("limits", "body_timeout = \"120s\"")
        .real_time()
        .start()
        .await;
    broker.serve(None).await;
    broker
}

async fn listens(broker: &TestBroker) -> bool {
    TcpStream::connect(broker.address()).await.is_ok()
}

#[tokio::test]
async fn it_takes_nobody_new_and_waits_for_who_is_there() {
    let mut broker = patient().await;
    let mut open = unfinished(&broker).await;
    let mut idle = connect(&broker).await;
    assert_eq!(ask(&mut idle, TRUST.as_bytes()).await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    signal(broker.process().id(), "TERM");
    eventually("it listens no more", async || !listens(&broker).await).await;
    assert!(crate::wire::closes(&mut idle).await);
    assert!(broker.process().ended().is_none());
    open.write_all(b"}").await.unwrap();
    let said = answer(&mut open).await.unwrap();
    assert_eq!(said.status, 400, "{said:?}");
    assert!(said.closes(), "{said:?}");
    eventually("it ends", async || broker.process().ended().is_some()).await;
    assert!(broker.process().ended().unwrap().success());
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_short() {
    let mut broker = patient().await;
    let mut open = unfinished(&broker).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let id = broker.process().id();
    signal(id, "TERM");
    eventually("it listens no more", async || !listens(&broker).await).await;
    assert!(broker.process().ended().is_none());
    signal(id, "TERM");
    eventually("it ends", async || broker.process().ended().is_some()).await;
    assert!(broker.process().ended().unwrap().success());
    assert!(answer(&mut open).await.is_none());
    broker.restart().await.unwrap();
    broker.finish().await;
}
