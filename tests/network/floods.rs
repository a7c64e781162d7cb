//! Evidence that fails, in numbers: it is charged to whoever brings it, and to nobody else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_tests::issuer::{claims, header};
use stint_tests::{Like, TestBroker, together};
use tokio::net::TcpStream;

use crate::wire::{Said, ask, connect_from};

/// An ask for a dry run: what comes of it is no grant.
fn dry_run(token: &str) -> String {
    let body = json!({
        "action": "deploy",
        "resources": ["Environment::staging/web"],
        "credential": { "kind": "jwt", "audience": "https://a.test" },
    });
    post("/v1/decisions", token, &body)
}

fn post(path: &str, token: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Tokens that fail, each in another place.
fn bad(broker: &TestBroker, n: usize) -> String {
    let good = broker.caller(Like::GitHub, "acme/web").token();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let signed = |header: Value, claims| broker.issuers.sign(&header, &claims);
    match n % 5 {
        0 => format!("e{n}.e30.x"),
        1 => "x".repeat(n % 7_000),
        2 => {
            let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            bytes[n % 200] ^= 1;
            format!("{input}.{}", BASE64URL_NOPAD.encode(&bytes))
        }
        3 => {
            let mut header = header();
            header["kid"] = json!(format!("kid-{n}"));
            signed(header, claims(&good))
        }
        _ => {
            let mut claims = claims(&good);
            claims.insert("iss".to_owned(), json!(format!("https://evil{n}.test")));
            signed(header(), claims)
        }
    }
}

async fn asked(stream: &mut TcpStream, request: &str) -> Said {
    ask(stream, request.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn the_tenth_failure_is_a_connections_last() {
    let broker = TestBroker::start().await;
    for path in ["/v1/grants", "/v1/decisions", "/v1/whoami"] {
        let mut stream = connect_from(&broker, 2).await.unwrap();
        let body = match path {
            "/v1/whoami" => String::new(),
            _ => dry_run("x.x.x").rsplit_once("\r\n").unwrap().1.to_owned(),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer x.x.x\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for n in 1..=10 {
            let said = asked(&mut stream, &request).await;
            assert_eq!(
                (said.status, said.code().as_str()),
                (400, "evidence_rejected")
            );
            assert_eq!(said.closes(), n == 10, "{path}: failure {n}");
        }
        assert!(
            ask(&mut stream, request.as_bytes()).await.is_none(),
            "{path}"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn the_token_endpoint_counts_as_well() {
    let broker = TestBroker::start().await;
    let mut stream = connect_from(&broker, 2).await.unwrap();
    let form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
                &subject_token=x.x.x&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
                &scope=deploy&audience=https%3A%2F%2Fa.test&authorization_details=\
                %5B%7B%22type%22%3A%22stint_task%22%2C%22action%22%3A%22deploy%22%2C%22resources%22%3A\
                %5B%22Environment%3A%3Astaging%2Fweb%22%5D%7D%5D";
    let form = form.replace("&scope=deploy", "");
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: localhost:8640\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    for n in 1..=10 {
        let said = asked(&mut stream, &request).await;
        assert_eq!(said.status, 400, "{said:?}");
        assert!(said.body.contains("evidence_rejected"), "{said:?}");
        assert_eq!(said.closes(), n == 10, "failure {n}: {said:?}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn whoever_fails_too_often_waits_and_its_neighbours_do_not() {
    let broker = TestBroker::with()
        .set("limits", "failed_evidence_per_peer = \"1/h\"") // five at once, then none
        .start()
        .await;
    let good = || dry_run(&broker.caller(Like::GitLab, "acme/web").token());
    let mut proven = connect_from(&broker, 2).await.unwrap();
    let first = asked(&mut proven, &good()).await;
    assert_eq!(first.status, 200, "{first:?}");
    for _ in 0..5 {
        let mut stream = connect_from(&broker, 2).await.unwrap();
        assert_eq!(asked(&mut stream, &dry_run("x.x.x")).await.status, 400);
    }
    for request in [dry_run("x.x.x"), good()] {
        let mut stream = connect_from(&broker, 2).await.unwrap();
        let said = asked(&mut stream, &request).await;
        assert_eq!((said.status, said.code().as_str()), (429, "rate_limited"));
        let lower = said.head.to_ascii_lowercase();
        let wait = lower
            .split("retry-after: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next();
        assert!(wait.unwrap().parse::<u32>().unwrap() >= 1, "{said:?}");
        // What needs no evidence is served all the same.
        assert_eq!(asked(&mut stream, crate::wire::TRUST).await.status, 200);
    }
    // A connection that has brought good evidence does not pay for its neighbours; another peer neither.
    assert_eq!(asked(&mut proven, &good()).await.status, 200);
    let mut other = connect_from(&broker, 3).await.unwrap();
    assert_eq!(asked(&mut other, &good()).await.status, 200);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_evidence_takes_nothing_from_a_good_client() {
    let broker = TestBroker::with()
        .set("limits", "failed_evidence_per_peer = \"20/s\"")
        .start()
        .await;
    let before = broker.state().await.0;
    let (over, refused, limited) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let flood = |n: u8| {
        let (broker, over, refused, limited) = (&broker, &over, &refused, &limited);
        async move {
            let mut stream = None;
            for round in 0..usize::MAX {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let mut open = match stream.take() {
                    Some(open) => open,
                    None => connect_from(broker, 20 + n % 2).await.unwrap(),
                };
                let token = bad(broker, round * 16 + usize::from(n));
                let Some(said) = ask(&mut open, dry_run(&token).as_bytes()).await else {
                    continue;
                };
                match said.status {
                    400 => refused.fetch_add(1, Ordering::Relaxed),
                    429 => limited.fetch_add(1, Ordering::Relaxed),
                    status => panic!("{status}: {said:?}"),
                };
                stream = (!said.closes()).then_some(open);
            }
        }
    };
    let good = async {
        let enough = || limited.load(Ordering::Relaxed) > 50;
        let mut granted = 0;
        while granted < 40 || !enough() {
            let answer = broker
                .ci("acme/web")
                .ask("deploy", "Environment::staging/web")
                .x509()
                .await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            granted += 1;
        }
        over.store(true, Ordering::Relaxed);
        granted
    };
    let floods = together((0..12).map(flood));
    let (granted, _) = tokio::join!(good, floods);
    assert!(refused.into_inner() >= 100);
    assert_eq!(broker.state().await.0, before + granted);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_worked_on_is_told_to_come_again() {
    let broker = TestBroker::with().set("limits", "asks = 1").start().await;
    let asks = (0..60).map(|n| {
        let caller = broker.ci("acme/web").job(&n.to_string());
        caller.ask("deploy", "Environment::staging/web").x509()
    });
    let mut granted = 0;
    for answer in together(asks).await {
        match answer.status.as_u16() {
            201 => granted += 1,
            _ => {
                let problem = answer.refused(stint_wire::Code::Unavailable);
                assert!(problem.retry_after_s.unwrap() >= 1);
                assert!(!answer.header("retry-after").is_empty());
            }
        }
    }
    assert!(granted > 0);
    broker.finish().await;
}
