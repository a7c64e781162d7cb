//! Names and paths: each listener answers under its own, and takes a path as it is written.

use stint_tests::TestBroker;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::wire::{Said, answer, ask, connect};

/// What a request with these lines between its first and its end is answered.
async fn said(broker: &TestBroker, path: &str, lines: &str) -> Said {
    let request = format!("GET {path} HTTP/1.1\r\n{lines}\r\n");
    ask(&mut connect(broker).await, request.as_bytes())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_api_answers_under_its_own_name_alone() {
    let broker = TestBroker::start().await;
    for lines in [
        "Host: localhost:8640\r\n",
        "Host: LOCALHOST:8640\r\n",
        "Host: 127.0.0.1:8640\r\n",
        "Host: localhost:8640\r\nX-Forwarded-Host: evil.dev\r\n",
    ] {
        assert_eq!(
            said(&broker, "/v1/policy", lines).await.status,
            200,
            "{lines}"
        );
    }
    for lines in [
        "",
        "Host:\r\n",
        "Host: evil.dev\r\n",
        "Host: evil.dev:8640\r\n",
        "Host: localhost.evil.dev\r\n",
        "Host: localhost:8640\r\nHost: localhost:8640\r\n",
        "Host: localhost:8640\r\nHost: evil.dev\r\n",
        "Host: 10.0.0.1\r\n",
        "X-Forwarded-Host: localhost:8640\r\nHost: evil.dev\r\n",
    ] {
        let said = said(&broker, "/v1/policy", lines).await;
        assert_eq!(
            (said.status, said.code().as_str()),
            (421, "wrong_host"),
            "{lines}"
        );
    }
    let ours = "Host: localhost:8640\r\n";
    assert_eq!(
        said(&broker, "http://localhost:8640/v1/policy", ours)
            .await
            .status,
        200
    );
    assert_eq!(
        said(&broker, "http://evil.dev/v1/policy", ours)
            .await
            .status,
        421
    );
    broker.finish().await;
}

#[tokio::test]
async fn operators_doors_answer_under_theirs() {
    let mut broker = TestBroker::with()
        .set("ops", "hosts = [\"stint-ops\"]")
        .real_time()
        .start()
        .await;
    broker.serve(None).await;
    let ops = broker.process().ops;
    let socket = broker.path("stintd.sock");
    for (host, status) in [
        ("localhost", 200),
        ("10.1.2.3:8641", 200),
        ("stint-ops:8641", 200),
        ("evil.dev", 421),
        ("localhost.evil.dev", 421),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut stream = TcpStream::connect(ops).await.unwrap();
        let said = ask(&mut stream, request.as_bytes()).await.unwrap();
        assert_eq!(said.status, status, "{host}");
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(
            answer(&mut stream).await.unwrap().status,
            status,
            "{host} on the socket"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_path_in_disguise_is_nowhere() {
    let broker = TestBroker::start().await;
    for path in [
        "/v1/%70olicy",
        "/v1%2fpolicy",
        "/v1%2Fpolicy",
        "/v1%5cpolicy",
        "/v1/x/%2e%2e/policy",
        "/v1/x/../policy",
        "/v1/./policy",
        "/v1//policy",
        "/v1/policy%00",
        "/v1/policy%252e",
        "/a/%2e%2e",
        "/a/..",
    ] {
        let said = said(&broker, path, "Host: localhost:8640\r\n").await;
        assert_eq!(
            (said.status, said.code().as_str()),
            (404, "not_found"),
            "{path}"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn no_header_makes_another_request_of_one() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let lines = format!("Host: localhost:8640\r\n{name}: POST\r\n");
        assert_eq!(
            said(&broker, "/v1/policy", &lines).await.status,
            200,
            "{name}"
        );
        assert_eq!(
            said(&broker, "/v1/decisions", &lines).await.status,
            404,
            "{name}"
        );
    }
    for name in ["X-Original-URL", "X-Rewrite-URL"] {
        let lines = format!("Host: localhost:8640\r\n{name}: /v1/policy\r\n");
        assert_eq!(
            said(&broker, "/nowhere", &lines).await.status,
            404,
            "{name}"
        );
    }
    assert_eq!(
        said(
            &broker,
            "/v1/decisions?_method=POST",
            "Host: localhost:8640\r\n"
        )
        .await
        .status,
        404
    );
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}
