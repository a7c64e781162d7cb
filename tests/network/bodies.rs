//! Bodies: how long they may take, how large they may be, and what they may be.

use std::time::Duration;

use stint_tests::TestBroker;
use stint_wire::Code;
use tokio::io::AsyncWriteExt as _;

use crate::wire::{answer, ask, closes, connect};

fn post(length: usize) -> String {
    format!(
        "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer x\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_that_dribbles_is_told_that_it_is_late() {
    let broker = TestBroker::with()
        .set("limits", "body_timeout = \"1s\"")
        .start()
        .await;
    let (mut reader, mut writer) = connect(&broker).await.into_split();
    writer.write_all(post(60_000).as_bytes()).await.unwrap();
    let dribbling = async {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let said = tokio::select! {
        said = answer(&mut reader) => said.unwrap(),
        () = dribbling => panic!("dribbled for ever"),
    };
    assert_eq!(
        (said.status, said.code().as_str()),
        (408, "request_timeout")
    );
    assert!(closes(&mut reader).await);
    broker.finish().await;
}

#[tokio::test]
async fn a_body_is_at_most_64_kib() {
    let broker = TestBroker::start().await;
    let bearer = [("authorization", "Bearer x")];
    for (path, bytes, expected) in [
        ("/v1/grants", 64 * 1024, Code::Malformed),
        ("/v1/grants", 64 * 1024 + 1, Code::TooLarge),
        ("/v1/decisions", 64 * 1024 + 1, Code::TooLarge),
        ("/v1/grants", 2 * 1024 * 1024, Code::TooLarge),
    ] {
        let answer = broker.post(path, &bearer, &vec![b' '; bytes]).await;
        drop(answer.refused(expected));
    }
    // A length is believed before any of it is read.
    let mut stream = connect(&broker).await;
    let said = ask(&mut stream, post(1 << 40).as_bytes()).await.unwrap();
    assert_eq!((said.status, said.code().as_str()), (413, "too_large"));
    broker.finish().await;
}

#[tokio::test]
async fn nothing_is_unpacked() {
    let broker = TestBroker::start().await;
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-type", "text/plain"),
    ] {
        for path in ["/v1/grants", "/v1/decisions"] {
            let headers = [("authorization", "Bearer x"), (name, value)];
            let answer = broker.post(path, &headers, b"{}").await;
            drop(answer.refused(Code::UnsupportedMediaType));
        }
    }
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
    ];
    let answer = broker.post("/oauth2/token", &headers, b"a=b").await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    broker.finish().await;
}

#[tokio::test]
async fn an_expectation_is_met() {
    let broker = TestBroker::start().await;
    let mut stream = connect(&broker).await;
    let expecting = post(2).replacen("Host", "Expect: 100-continue\r\nHost", 1);
    let said = ask(&mut stream, expecting.as_bytes()).await.unwrap();
    assert_eq!(said.status, 100);
    let said = ask(&mut stream, b"{}").await.unwrap();
    assert_eq!((said.status, said.code().as_str()), (400, "malformed"));
    broker.finish().await;
}
