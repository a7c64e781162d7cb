//! Of the client as a whole, without a broker.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use stint_wire::Ask;

use super::session::is_at;
use super::transport::Answer;
use super::{Anchor, Client, Endpoint, Fingerprint, body, local};
use crate::{Error, Source};

fn refused(url: &str) -> bool {
    matches!(
        Client::new(Endpoint::new(url, Anchor::System)),
        Err(Error::Endpoint { .. })
    )
}

#[test]
fn speaks_plainly_to_this_machine_only() {
    for url in [
        "http://localhost:8640",
        "http://127.0.0.1:1",
        "http://[::1]:1/",
    ] {
        assert!(!refused(url), "{url}");
    }
    for url in [
        "http://stint.acme.dev",
        "http://localhost.evil.dev",
        "ftp://localhost",
        "stint.acme.dev",
        "",
    ] {
        assert!(refused(url), "{url}");
    }
    for url in [
        "http://u@localhost",
        "http://u:p@localhost",
        "http://localhost?q",
        "http://localhost#f",
    ] {
        assert!(refused(url), "{url}");
    }
}

#[test]
fn a_base_has_no_slash_at_its_end() {
    let client = Client::new(Endpoint::new("http://localhost:8640/", Anchor::System)).unwrap();
    assert_eq!(client.url(), "http://localhost:8640");
}

#[test]
fn an_audience_is_the_brokers_own_place() {
    for own in ["https://stint.acme.dev", "https://stint.acme.dev:443/"] {
        assert!(is_at(own, "https://stint.acme.dev"), "{own}");
    }
    for other in [
        "sts.amazonaws.com",
        "api://AzureADTokenExchange",
        "https://stint.acme.dev.evil.example",
        "https://stint.acme.dev:8443",
        "http://stint.acme.dev",
        "",
    ] {
        assert!(!is_at(other, "https://stint.acme.dev"), "{other}");
    }
    assert!(is_at("https://stint.acme.dev", "http://localhost:8640"));
}

/// Answers each connection with one of `answers`, or hangs up on an empty one; gives the heads it was sent.
fn desk(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<Vec<String>>>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let hear = |answer: String| {
            let (mut stream, _) = server.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<_> = lines
                .by_ref()
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_lowercase())
                .collect();
            stream.write_all(answer.as_bytes()).unwrap();
            // What was not read would have the answer thrown away.
            stream.shutdown(Shutdown::Write).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
            head
        };
        answers.into_iter().map(hear).collect()
    });
    (url, heard)
}

fn answered(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// What the broker says of two asks that are one is its own to test: here, that the client says they are.
#[test]
fn an_answer_that_was_lost_is_asked_for_once_more() {
    let trust = r#"{"url":"https://stint.acme.dev","trust_domain":"acme.dev","audience":"https://stint.acme.dev","root_fingerprint":"","root_pem":"","ledger":{"origin":"","vkey":""},"jwks_uri":"","lifetimes":{"default_ttl_s":1,"max_ttl_s":1,"jwt_max_ttl_s":1},"arc":"","version":""}"#;
    let gone = r#"{"type":"/problems/already_delivered","status":410,"code":"already_delivered","title":"t","detail":"d","retryable":false}"#;
    let frozen = r#"{"type":"/problems/frozen","status":403,"code":"frozen","title":"t","detail":"d","retryable":false}"#;
    let (url, heard) = desk(vec![
        answered("200 OK", trust),
        String::new(),
        answered("410 Gone", gone),
        answered("403 Forbidden", frozen),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = Client::new(Endpoint::new(url, Anchor::System)).unwrap();
    let session = client.session(Source::once("a.b.c", "a test").unwrap());
    let ask: Ask = serde_json::from_str(
        r#"{"action":"deploy","resources":["Environment::a"],"credential":{"kind":"jwt","audience":"https://a"}}"#,
    )
    .unwrap();
    let outcome = runtime.block_on(session.grant(&ask));
    assert!(matches!(outcome, Err(Error::Problem(problem)) if problem.code.as_str() == "frozen"));
    let heard = heard.join().unwrap();
    let keys: Vec<_> = heard
        .iter()
        .map(|head| {
            head.iter()
                .find(|line| line.starts_with("idempotency-key: "))
        })
        .collect();
    let [None, Some(first), Some(again), Some(anew)] = keys[..] else {
        panic!("{heard:?}");
    };
    assert!(first == again && again != anew, "{heard:?}");
}

#[test]
fn a_fingerprint_is_read_as_people_write_it() {
    let plain = "ab".repeat(32);
    let expected = format!("sha256:{plain}");
    for text in [
        plain.clone(),
        expected.clone(),
        plain.to_uppercase(),
        ["AB"; 32].join(":"),
    ] {
        assert_eq!(
            text.parse::<Fingerprint>().unwrap().to_string(),
            expected,
            "{text}"
        );
    }
    for bad in [
        "",
        "sha256:",
        "sha1:00",
        &"ab".repeat(31),
        &format!("{plain}00"),
        &plain.replace('a', "g"),
    ] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
}

#[test]
fn a_fingerprint_is_of_the_der() {
    let pem = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
    // SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Fingerprint::of_pem(pem).unwrap().to_string(), abc);
    assert!(Fingerprint::of_pem("no pem").is_none());
    assert!(Fingerprint::of_pem(&pem.repeat(2)).is_none());
}

#[test]
fn an_answer_without_end_is_cut_short() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let endless = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let _asked = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b' '; 64 * 1024]).is_ok() {}
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let read = runtime.block_on(async {
        let http = local(Duration::from_secs(30)).build().unwrap();
        body(http.get(url).send().await.unwrap()).await
    });
    assert!(matches!(read, Err(Error::Unexpected { status: 200 })));
    drop(runtime);
    endless.join().unwrap();
}

#[test]
fn an_answer_is_what_it_should_be_or_an_error() {
    let answer = |status, body: &str| Answer {
        status,
        id: None,
        body: body.into(),
    };
    let problem = r#"{"type":"/problems/frozen","status":403,"code":"frozen","title":"t","detail":"d","retryable":false}"#;
    assert_eq!(answer(200, "1").expect::<u8>(200).unwrap(), 1);
    assert!(matches!(
        answer(403, problem).expect::<u8>(200),
        Err(Error::Problem(_))
    ));
    assert!(matches!(
        answer(502, "<html>").expect::<u8>(200),
        Err(Error::Unexpected { status: 502 })
    ));
    assert!(matches!(
        answer(204, "").expect::<u8>(200),
        Err(Error::Unexpected { status: 204 })
    ));
}
