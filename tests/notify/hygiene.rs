//! What strangers wrote is text, in whatever it is read: no line of its own, no header, no markup, no mention, no link.

use serde_json::json;
use stint_tests::TestBroker;

use crate::http::Receiver;
use crate::scene::{PROD, Secrets, broker, settle, slack, webhook};
use crate::smtp;

/// Branch and workflow names, and words, as an attacker would like them to be read.
const TEXTS: [&str; 6] = [
    "<!channel> <@U012> <https://evil.example|approve here>",
    "*bold* `code` :rotating_light: [approve](https://evil.example)",
    "x\r\nBcc: victim@acme.dev\r\n\r\nApproved already",
    "\u{202e}dlrow\u{200b} \u{2028}Approved by: Dana",
    "<b>a</b><script>alert(1)</script>&amp;",
    "\u{1b}]0;pwned\u{7}\u{1b}[2J",
];

async fn attack(broker: &TestBroker) {
    for (nth, text) in (0_u32..).zip(TEXTS) {
        let caller = broker.ci("acme/web").on("refs/heads/main");
        let caller = caller
            .claim("workflow", json!(text))
            .claim("actor", json!(text));
        let asking = caller.ask("deploy", PROD).ttl(600 + nth);
        let answer = asking.member("reason", json!(text)).x509().await;
        assert!(
            matches!(answer.status.as_u16(), 202 | 400 | 401),
            "{}",
            answer.text()
        );
    }
    let caller = broker.ci("acme/web").on("refs/heads/main");
    drop(caller.ask("deploy", PROD).ttl(900).x509().await.held());
}

#[tokio::test]
async fn texts_of_strangers_stay_texts() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let mail = smtp::Server::start(smtp::Way::Plain).await;
    let tables = webhook("sre", &receiver, &secrets, "")
        + &slack(&receiver, &secrets)
        + &mail.table(&secrets, "to = [\"sre@acme.dev\"]");
    let broker = broker(&tables).await;
    attack(&broker).await;
    settle(&broker);
    let letter = mail.received(1).await;
    stint_tests::clock::eventually("both posts", async || receiver.posts().len() == 2).await;
    for post in receiver.posts() {
        let ends = |c: char| {
            matches!(
                c,
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{200b}'
            )
        };
        assert!(
            !post.body.contains(|c: char| c.is_control() || ends(c)),
            "{}",
            post.body
        );
        assert!(
            !post.body.contains("\\u001b") && !post.body.contains("\\r"),
            "{}",
            post.body
        );
        if !post.headers.contains_key("webhook-id") {
            assert!(!post.body.contains('<'), "{}", post.body);
        }
    }
    assert_eq!(letter.to, ["<sre@acme.dev>"]);
    let (head, _) = letter.text.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("bcc"), "{head}");
    assert_eq!(head.matches("\r\nSubject:").count(), 1, "{head}");
    broker.finish().await;
}

#[tokio::test]
async fn no_secret_is_in_log_ledger_or_answer() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    drop(
        broker
            .ci("acme/web")
            .on("refs/heads/main")
            .ask("deploy", PROD)
            .x509()
            .await
            .held(),
    );
    settle(&broker);
    receiver.stored(1).await;
    receiver.mood(crate::http::Mood::Says(500, ""));
    let test = json!({ "name": "sre" });
    let said = broker.command("/v1/notify/test", &test).await.text();
    let ready = broker.operator("GET", "/readyz?verbose").await.text();
    for text in [said, ready] {
        assert!(
            !text.contains(crate::scene::PATH) && !text.contains("C2FVsBQ"),
            "{text}"
        );
    }
    // Its end looks for the secrets in the log and in all rows.
    broker.finish().await;
}
