//! Texts of strangers that want to be lines of their own, terminals' orders and secrets (T17).

use serde_json::{Value, json};
use stint_tests::TestBroker;

use crate::check::proves_all;
use crate::receiver::sink;
use crate::syslog;

/// What an attacker would like to see as a line of the log, or in an operator's terminal.
const FORGED: &str = "x\u{2028}{\"seq\":0,\"leaf\":\"forged\"} 42 <110>1 2027-03-01T10:00:00Z - stintd - granted - {}";

/// Asks with such texts in all that a caller can say, granted or not.
async fn attack(broker: &TestBroker) {
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    for text in [
        FORGED,
        "\r\n{\"seq\":0}\r\n",
        "\u{1b}]0;pwned\u{7}\u{1b}[2J",
        "a\u{85}b\u{0}c",
        "\u{9b}2J\u{202e}gpj",
    ] {
        let asking = caller().ask("deploy", "Environment::staging/web");
        drop(asking.member("reason", json!(text)).x509().await);
        let asking = caller()
            .claim("environment", json!(text))
            .claim("workflow", json!(text));
        drop(
            asking
                .ask("deploy", "Environment::staging/web")
                .x509()
                .await,
        );
        let resource = format!("Environment::\"{text}\"");
        drop(caller().ask("deploy", &resource).x509().await);
        let reason = json!({ "issuer": "github", "reason": text });
        drop(broker.command("/v1/freeze", &reason).await);
        drop(broker.command("/v1/unfreeze", &reason).await);
    }
}

#[tokio::test]
async fn no_text_breaks_a_line_or_reaches_a_terminal() {
    for kind in ["jsonl", "ocsf", "cloudevents"] {
        let receiver = syslog::Receiver::start(None).await;
        let to = format!("syslog+tcp://{}", receiver.address);
        let remote = sink(kind, &to, "bodies = [\"*\"]").replace("sink.out", "sink.far");
        let tables = sink(kind, "file:events", "bodies = [\"*\"]") + &remote;
        let broker = TestBroker::with().tables(&tables).start().await;
        attack(&broker).await;
        let path = broker.path("events");
        let text = proves_all(&broker, || {
            std::fs::read_to_string(&path).unwrap_or_default()
        })
        .await;
        let ends = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
        let there = |c: char| ends(c) || (c.is_control() && c != '\n');
        assert!(!text.contains(there), "{kind}");
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
        );
        assert!(text.contains("forged"), "the texts were recorded");
        let messages = proves_all(&broker, || receiver.text()).await;
        assert!(!messages.contains(there), "{kind}");
        let forged = messages.lines().filter(|line| line.starts_with("42 "));
        assert_eq!(forged.count(), 0);
        // The end looks for tokens and other planted secrets, in the file too.
        broker.finish().await;
    }
}
