//! Behind a proxy: its word on its clients counts where it was named, and nowhere else.

use stint_tests::TestBroker;

use crate::wire::{Said, ask, connect_from};

/// Bad evidence from 127.0.0.`last`, with these header lines.
async fn fails(broker: &TestBroker, last: u8, lines: &str) -> Said {
    let request = format!(
        "POST /v1/whoami HTTP/1.1\r\nHost: localhost:8640\r\nAuthorization: Bearer x.x.x\r\n{lines}\
         Content-Length: 0\r\n\r\n"
    );
    let mut stream = connect_from(broker, last).await.unwrap();
    ask(&mut stream, request.as_bytes()).await.unwrap()
}

async fn behind_proxies() -> TestBroker {
    TestBroker::with()
        .set("limits", "failed_evidence_per_peer = \"1/h\"") // five at once, then none
        .set("server", "tls = \"proxy\"")
        .set(
            "server",
            "trusted_proxies = [\"127.0.0.1/32\", \"127.0.0.7/32\"]",
        )
        .start()
        .await
}

#[tokio::test]
async fn each_client_of_a_trusted_proxy_pays_for_itself() {
    let broker = behind_proxies().await;
    let spent = [
        "X-Forwarded-For: 203.0.113.7\r\n",
        "X-Forwarded-For: 203.0.113.7:4711\r\n",
        "X-Forwarded-For: ::ffff:203.0.113.7\r\n",
        // What stands before the last hop that is nobody's of ours is that hop's word.
        "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n",
        "X-Forwarded-For: 198.51.100.2\r\nX-Forwarded-For: 203.0.113.7, 127.0.0.7\r\n",
    ];
    for lines in spent {
        assert_eq!(fails(&broker, 1, lines).await.status, 400, "{lines}");
    }
    for lines in spent {
        assert_eq!(fails(&broker, 1, lines).await.status, 429, "{lines}");
    }
    for lines in [
        "X-Forwarded-For: 203.0.113.8\r\n",
        "X-Forwarded-For: 203.0.113.7, 203.0.113.8\r\n",
        "X-Forwarded-For: [2001:db8::1]:443\r\n",
        "X-Forwarded-For: 2001:db8::1\r\n",
        "",
    ] {
        assert_eq!(fails(&broker, 1, lines).await.status, 400, "{lines}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn one_subscriber_has_64_bits_of_ipv6() {
    let broker = behind_proxies().await;
    for n in 0..5 {
        let lines = format!("X-Forwarded-For: 2001:db8:0:1::{n}\r\n");
        assert_eq!(fails(&broker, 1, &lines).await.status, 400);
    }
    let same = "X-Forwarded-For: 2001:db8:0:1:ffff::9\r\n";
    assert_eq!(fails(&broker, 1, same).await.status, 429);
    let other = "X-Forwarded-For: 2001:db8:0:2::1\r\n";
    assert_eq!(fails(&broker, 1, other).await.status, 400);
    broker.finish().await;
}

#[tokio::test]
async fn what_anybody_else_says_of_others_is_ignored() {
    let broker = behind_proxies().await;
    let line =
        |n: u8| format!("X-Forwarded-For: 203.0.113.{n}\r\nForwarded: for=203.0.113.{n}\r\n");
    for n in 0..5 {
        assert_eq!(fails(&broker, 9, &line(n)).await.status, 400);
    }
    assert_eq!(fails(&broker, 9, &line(100)).await.status, 429);
    // Nor was any of it charged to those it named.
    assert_eq!(fails(&broker, 1, &line(0)).await.status, 400);
    assert_eq!(
        fails(&broker, 9, "X-Forwarded-For: nonsense\r\n")
            .await
            .status,
        429
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_proxy_that_cannot_be_understood_is_not_guessed_at() {
    let broker = behind_proxies().await;
    for value in [
        "nonsense",
        "",
        "203.0.113.7,",
        "unknown",
        "_hidden",
        "203.0.113.256",
    ] {
        let said = fails(&broker, 1, &format!("X-Forwarded-For: {value}\r\n")).await;
        assert_eq!(
            (said.status, said.code().as_str()),
            (400, "malformed"),
            "{value:?}"
        );
    }
    broker.finish().await;
}
