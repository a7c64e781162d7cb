//! Heads: how long they may take, how long they may be, and that each has one meaning.

use stint_tests::{TestBroker, together};
use tokio::io::AsyncWriteExt as _;

use crate::wire::{self, TRUST, answer, ask, closes, connect};

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let broker = TestBroker::with()
        .set("limits", "head_timeout = \"1s\"")
        .start()
        .await;
    let mut stream = connect(&broker).await;
    assert!(closes(&mut stream).await);
    broker.finish().await;
}

#[tokio::test]
async fn a_head_that_dribbles_is_told_that_it_is_late() {
    let broker = TestBroker::with()
        .set("limits", "head_timeout = \"1s\"")
        .start()
        .await;
    let dribble = |bytes: &'static [u8]| {
        let broker = &broker;
        async move {
            let (mut reader, mut writer) = connect(broker).await.into_split();
            let dribbling = async {
                for byte in bytes.iter().cycle() {
                    if writer.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                said = answer(&mut reader) => said.unwrap(),
                () = dribbling => panic!("dribbled for ever"),
            }
        }
    };
    for said in together([dribble(b"GET / HTTP/1.1"), dribble(b"x")]).await {
        assert_eq!(
            (said.status, said.code().as_str()),
            (408, "request_timeout")
        );
        assert!(said.closes());
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_second_head_has_its_time_too() {
    let broker = TestBroker::with()
        .set("limits", "idle_timeout = \"1s\"")
        .set("limits", "head_timeout = \"1s\"")
        .start()
        .await;
    let mut idle = connect(&broker).await;
    assert_eq!(ask(&mut idle, TRUST.as_bytes()).await.unwrap().status, 200);
    assert!(closes(&mut idle).await);
    let mut slow = connect(&broker).await;
    assert_eq!(ask(&mut slow, TRUST.as_bytes()).await.unwrap().status, 200);
    let said = ask(&mut slow, b"GET / HT").await.unwrap();
    assert_eq!(
        (said.status, said.code().as_str()),
        (408, "request_timeout")
    );
    broker.finish().await;
}

#[tokio::test]
async fn many_requests_come_on_one_connection_even_side_by_side() {
    let broker = TestBroker::start().await;
    let mut stream = connect(&broker).await;
    for _ in 0..3 {
        assert_eq!(
            ask(&mut stream, TRUST.as_bytes()).await.unwrap().status,
            200
        );
    }
    // Pipelined, with a body between and empty lines before.
    let post =
        "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nContent-Length: 8\r\n\r\nGET / HT";
    let many = [TRUST, post, "\r\n\r\n", TRUST].concat();
    stream.write_all(many.as_bytes()).await.unwrap();
    for expected in [200, 401, 200] {
        assert_eq!(answer(&mut stream).await.unwrap().status, expected);
    }
    broker.finish().await;
}

#[tokio::test]
async fn whoever_stops_writing_is_still_answered() {
    let broker = TestBroker::start().await;
    let mut stream = connect(&broker).await;
    stream.write_all(TRUST.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().status, 200);
    assert!(closes(&mut stream).await);
    broker.finish().await;
}

fn with(fields: &str) -> Vec<u8> {
    format!("GET /v1/policy HTTP/1.1\r\nHost: localhost:8640\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn a_head_is_at_most_16_kib_and_64_fields() {
    let broker = TestBroker::start().await;
    let long = |bytes: usize| with(&format!("x: {}\r\n", "a".repeat(bytes)));
    let many = |count: usize| with(&"x: y\r\n".repeat(count - 1));
    let frame = long(0).len();
    for (what, head, expected) in [
        ("as long as may be", long(16 * 1024 - frame), 200),
        ("a byte longer", long(16 * 1024 - frame + 1), 431),
        ("far longer", long(200_000), 431),
        ("64 fields", many(64), 200),
        ("65 fields", many(65), 431),
        (
            "a long path",
            [b"GET /".as_slice(), &vec![b'a'; 40_000]].concat(),
            431,
        ),
    ] {
        let mut stream = connect(&broker).await;
        let said = ask(&mut stream, &head)
            .await
            .unwrap_or_else(|| panic!("{what}"));
        assert_eq!(said.status, expected, "{what}");
        if expected == 431 {
            assert_eq!(said.code(), "headers_too_large", "{what}");
            assert!(said.closes() && closes(&mut stream).await, "{what}");
        }
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_head_with_two_meanings_is_refused_and_ends_the_connection() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let inner = "GET /v1/policy HTTP/1.1\r\nHost: localhost:8640\r\n\r\n";
    let post = |fields: &str, body: &str| {
        format!("POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\n{fields}\r\n{body}{inner}")
    };
    let chunks = "0\r\n\r\n";
    for (what, bytes) in [
        (
            "CL.TE",
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                chunks,
            ),
        ),
        (
            "TE.CL",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                chunks,
            ),
        ),
        (
            "TE.TE",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
                chunks,
            ),
        ),
        (
            "a coding more",
            post("Transfer-Encoding: gzip, chunked\r\n", chunks),
        ),
        (
            "TE with a space",
            post("Transfer-Encoding : chunked\r\n", chunks),
        ),
        (
            "TE folded",
            post("Transfer-Encoding:\r\n chunked\r\n", chunks),
        ),
        (
            "two lengths",
            post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
        ),
        (
            "a length twice",
            post("Content-Length: 2\r\nContent-Length: 2\r\n", "ab"),
        ),
        ("a list of lengths", post("Content-Length: 2, 2\r\n", "ab")),
        ("a signed length", post("Content-Length: +2\r\n", "ab")),
        ("bare line feeds", inner.replace("\r\n", "\n")),
        (
            "a bare carriage return",
            inner.replace("\r\nHost", "\rX: y\r\nHost"),
        ),
        ("a NUL", inner.replace("Host", "A: b\0c\r\nHost")),
        (
            "a field without a name",
            inner.replace("Host", ": b\r\nHost"),
        ),
        (
            "a line that is no field",
            inner.replace("Host", "b\r\nHost"),
        ),
        ("no version", "GET /v1/policy\r\n\r\n".to_owned()),
        (
            "two versions",
            inner.replace(" HTTP/1.1", " HTTP/1.1 HTTP/1.1"),
        ),
        (
            "an HTTP of another time",
            inner.replace("HTTP/1.1", "HTTP/3.0"),
        ),
    ] {
        let mut stream = connect(&broker).await;
        let said = ask(&mut stream, bytes.as_bytes())
            .await
            .unwrap_or_else(|| panic!("{what}"));
        assert_eq!(said.status, 400, "{what}: {said:?}");
        assert!(closes(&mut stream).await, "{what}: a second answer");
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn chunks_are_taken_and_are_a_connections_last() {
    let broker = TestBroker::start().await;
    let mut stream = connect(&broker).await;
    let chunked = "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nTransfer-Encoding: chunked\r\n\
                   Authorization: Bearer x\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let both = [chunked, TRUST].concat();
    let said = ask(&mut stream, both.as_bytes()).await.unwrap();
    assert_eq!((said.status, said.code().as_str()), (400, "malformed"));
    assert!(said.closes() && closes(&mut stream).await);
    broker.finish().await;
}

#[tokio::test]
async fn the_same_holds_over_tls() {
    let broker = TestBroker::with()
        .tls()
        .set("limits", "head_timeout = \"1s\"")
        .start()
        .await;
    let mut stream = wire::secured(&broker, &[]).await.unwrap();
    stream.write_all(b"GET /").await.unwrap();
    let said = answer(&mut stream).await.unwrap();
    assert_eq!(
        (said.status, said.code().as_str()),
        (408, "request_timeout")
    );
    let mut silent = wire::secured(&broker, &[]).await.unwrap();
    assert!(closes(&mut silent).await);
    broker.finish().await;
}
