//! Every route, asked by a stranger: nothing breaks, nothing changes, nothing is told.

use serde_json::{Value, json};
use stint_audit::Checkpoint;
use stint_audit::note::VerifierKey;
use stint_tests::{TestBroker, together};
use stint_wire::Code;

/// What strangers may read.
const OPEN: [&str; 7] = [
    "/v1/trust",
    "/v1/trust/bundle",
    "/v1/policy",
    "/v1/ledger/checkpoint",
    "/oauth2/jwks",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

/// What needs evidence.
const CLOSED: [&str; 3] = ["/v1/grants", "/v1/decisions", "/v1/whoami"];

/// What is not on this listener, or nowhere.
const ABSENT: [&str; 18] = [
    "/v1",
    "/v1/",
    "/v1/grants/",
    "/v1/grants/gr_00000000000000000000000000",
    "/v1/ledger/bundle",
    "/v1/ledger/bundle?from=0",
    "/v1/policy/reload",
    "/healthz",
    "/readyz",
    "/metrics",
    "/dev/github/token",
    "/dev/github/request-token",
    "/v2/grants",
    "/V1/GRANTS",
    "/v1//grants",
    "/v1%2Fgrants",
    "/.git/config",
    "/v1/grants;x=1",
];

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW",
];

#[tokio::test]
async fn a_stranger_changes_nothing_and_breaks_nothing() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let junk =
        json!({ "action": "deploy", "resources": ["Environment::staging/web"], "credential": {} });
    let bodies = [
        Vec::new(),
        junk.to_string().into_bytes(),
        b"\xff\xfe{".to_vec(),
    ];
    let headers: [&[(&str, &str)]; 4] = [
        &[],
        &[("authorization", "Bearer x"), ("dpop", "x")],
        &[
            ("x-http-method-override", "POST"),
            ("x-original-url", "/v1/policy/reload"),
        ],
        &[
            ("content-type", "multipart/form-data; boundary=x"),
            ("content-encoding", "br"),
        ],
    ];
    for path in OPEN.iter().chain(&CLOSED).chain(&ABSENT) {
        for method in METHODS {
            for body in &bodies {
                for headers in headers {
                    let answer = broker.request(method, path, headers, body).await;
                    let status = answer.status.as_u16();
                    assert!(status < 500, "{method} {path}: {}", answer.text());
                    let open = OPEN.contains(path) && matches!(method, "GET" | "HEAD");
                    assert_eq!(status == 200, open, "{method} {path}: {status}");
                    if ABSENT.contains(path) && method != "HEAD" {
                        drop(answer.refused(Code::NotFound));
                    }
                }
            }
        }
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn a_path_is_taken_as_it_is_written() {
    let broker = TestBroker::start().await;
    for path in [
        "//v1/trust",
        "/v1/./trust",
        "/v1/policy/../trust",
        "/v1/policy/%2e%2e/trust",
        "/v1/%74rust",
        "/v1\\trust",
        "/v1/trust%00",
        "/v1/trust/",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost:8640\r\nConnection: close\r\n\r\n");
        let answer = broker.raw(request.as_bytes()).await;
        let first = String::from_utf8_lossy(&answer)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(
            first.contains(" 404 ") || first.contains(" 400 "),
            "{path}: {first}"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_harm_nobody() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let long = [
        b"GET /".as_slice(),
        &vec![b'a'; 40_000],
        b" HTTP/1.1\r\nHost: localhost:8640\r\n\r\n",
    ]
    .concat();
    let many: Vec<u8> = (0..100)
        .flat_map(|n| format!("x-{n}: 1\r\n").into_bytes())
        .collect();
    let many = [
        b"GET /v1/trust HTTP/1.1\r\nHost: localhost:8640\r\n".as_slice(),
        &many,
        b"\r\n",
    ]
    .concat();
    let smuggled = b"POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nContent-Length: 5\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/trust HTTP/1.1\r\nHost: localhost:8640\r\n\r\n";
    let twice = b"POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    for (what, bytes) in [
        ("nothing", b"".as_slice()),
        ("a word", b"hello\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("a long path", &long),
        ("many headers", &many),
        ("two lengths", smuggled),
        ("the length twice", twice),
        (
            "a NUL in a header",
            b"GET /v1/trust HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        ),
    ] {
        let answer = broker.raw(bytes).await;
        let first = String::from_utf8_lossy(&answer)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(
            !first.contains(" 200") && !first.contains(" 5"),
            "{what}: {first}"
        );
        let answers = String::from_utf8_lossy(&answer)
            .matches("HTTP/1.1 ")
            .count();
        assert!(answers <= 1, "{what}: {answers} answers to one request");
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn what_is_open_says_what_to_pin_and_no_secret() {
    let broker = TestBroker::start().await;
    let trust = broker.get("/v1/trust").await.json();
    assert_eq!(trust["url"], "http://localhost:8640");
    assert_eq!(trust["audience"], "http://localhost:8640");
    assert_eq!(trust["trust_domain"], "acme.dev");
    let vkey: VerifierKey = trust["ledger"]["vkey"].as_str().unwrap().parse().unwrap();
    let text = broker.get("/v1/ledger/checkpoint").await.text();
    let (checkpoint, note) = Checkpoint::parse_note(&text).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&vkey)).unwrap().len(), 1);
    assert_eq!(
        (checkpoint.origin.as_str(), checkpoint.size),
        ("it.stint/ledger", 6)
    );
    let keys = broker.get("/oauth2/jwks").await.json();
    for key in keys["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(
                key.get(private).is_none(),
                "{private} of a key is published"
            );
        }
    }
    assert_eq!(
        broker.get("/v1/trust/bundle").await.text(),
        trust["root_pem"].as_str().unwrap()
    );
    let metadata = broker.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["issuer"], trust["url"]);
    assert_eq!(metadata["jwks_uri"], trust["jwks_uri"]);
    for path in OPEN {
        let text = broker.get(path).await.text();
        assert!(
            !text.contains("PRIVATE") && !text.contains("stint-it-"),
            "{path} tells a secret or a path"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn the_operators_socket_is_for_operators_words_alone() {
    let broker = TestBroker::start().await;
    assert_eq!(broker.operator("GET", "/healthz").await.status, 200);
    let ready: Value = broker.operator("GET", "/readyz").await.json();
    assert!(
        ready
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["ok"] == true),
        "{ready}"
    );
    for query in [
        "from=x",
        "from=-1",
        "from=5&to=5",
        "to=999",
        "from=9&to=1",
        "size=1",
    ] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/bundle?{query}"))
            .await;
        assert!(
            (400..500).contains(&answer.status.as_u16()),
            "{query}: {}",
            answer.text()
        );
    }
    let part = broker
        .operator("GET", "/v1/ledger/bundle?from=2&to=5")
        .await;
    assert_eq!(
        (part.status.as_u16(), part.header("content-type")),
        (200, "application/zip")
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_strangers_cost_no_entry() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let body = br#"{"action":"deploy","resources":["Environment::staging/web"],"credential":{"kind":"jwt"}}"#;
    let knock = |n: u32| {
        let broker = &broker;
        async move {
            for round in 0..50 {
                let bearer = format!("Bearer e{n}.e{round}.x");
                let status = broker
                    .post("/v1/grants", &[("authorization", &bearer)], body)
                    .await
                    .status
                    .as_u16();
                assert!(matches!(status, 400 | 429), "{status}");
            }
        }
    };
    together((0..20).map(knock)).await;
    assert_eq!(broker.state().await, before);
    assert_eq!(
        broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await
            .status,
        201
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_cuts_no_transaction() {
    let broker = TestBroker::start().await;
    for _ in 0..10 {
        let token = broker.ci("acme/web").token();
        let body = r#"{"action":"fly","resources":["Environment::staging/web"],"credential":{"kind":"jwt"}}"#;
        let request = format!(
            "POST /v1/grants HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        drop(broker.hang_up(request.as_bytes()).await);
    }
    // Whatever came of each, the ledger is whole: finish() asks.
    assert_eq!(
        broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await
            .status,
        201
    );
    broker.finish().await;
}
