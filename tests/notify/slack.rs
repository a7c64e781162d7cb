//! What Slack is posted. Its own words for what a payload may be are checked by `interop` (`slack.schema.json`).

use serde_json::Value;

use crate::http::Receiver;
use crate::scene::{Secrets, ask, broker, settle, slack};

/// All texts of blocks.
fn texts(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
            if let (Some(kind), Some(text)) = (text("type"), text("text")) {
                found.push((kind, text));
            }
            members.values().for_each(|value| texts(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn a_channel_gets_blocks_of_plain_text_and_one_button() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&slack(&receiver, &secrets)).await;
    let request = ask(&broker, 600).await;
    settle(&broker);
    let post = receiver.stored(1).await;
    assert!(!post.headers.contains_key("webhook-signature"));
    let payload = post.json();
    let link = format!("http://localhost:8640/a/{request}");
    let blocks = payload["blocks"].as_array().unwrap();
    let button = &blocks.last().unwrap()["elements"];
    assert_eq!(button.as_array().unwrap().len(), 1);
    assert_eq!(
        (&button[0]["type"], &button[0]["url"]),
        (&"button".into(), &link.as_str().into())
    );
    assert_eq!(post.body.matches(&link).count(), 1);
    assert_eq!(payload["mrkdwn"], false);
    assert_eq!(payload["unfurl_links"], false);
    assert!(
        payload["text"]
            .as_str()
            .unwrap()
            .starts_with("Approval needed: "),
        "{payload}"
    );
    let mut found = Vec::new();
    texts(&payload["blocks"], &mut found);
    assert!(
        found.iter().all(|(kind, _)| kind == "plain_text"),
        "{found:?}"
    );
    let decide = "Who can decide\n2 of Group::\"sre\"";
    assert!(found.iter().any(|(_, text)| text == decide), "{found:?}");
    broker.finish().await;
}

#[tokio::test]
async fn a_burst_is_a_list_and_leads_to_the_inbox() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&slack(&receiver, &secrets)).await;
    for ttl in 600..612 {
        ask(&broker, ttl).await;
    }
    settle(&broker);
    let payload = receiver.stored(1).await.json();
    let blocks = payload["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 1 + 10 + 1 + 1, "{payload}");
    assert_eq!(blocks[11]["text"]["text"], "and 2 more");
    assert_eq!(
        blocks[12]["elements"][0]["url"],
        "http://localhost:8640/inbox"
    );
    broker.finish().await;
}
