//! A message as a program reads it, signed as [Standard Webhooks](https://www.standardwebhooks.com) says: the receiver
//! knows from whom it is, when it was sent, and by its id whether it came before.

use data_encoding::BASE64;
use ring::hmac;
use serde_json::{Value, json};
use stint_policy::Timestamp;

use super::card::{Item, Message};
use crate::config::{Secret, signing_key};

/// What a message is signed with.
pub(super) struct Key(hmac::Key);

/// What is sent.
pub(super) struct Signed {
    pub(super) headers: [(&'static str, String); 3],
    pub(super) body: String,
}

impl Key {
    /// The key of a `whsec_…`; none if it is no such secret.
    pub(super) fn read(secret: &Secret<Vec<u8>>) -> Option<Key> {
        let key = signing_key(secret)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "messages are signed with it; ring keeps its own copy"
        )]
        let bytes = key.expose();
        Some(Key(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Signs a message that is sent at `now`.
    pub(super) fn sign(&self, message: &Message, now: Timestamp) -> Signed {
        let body = payload(message).to_string();
        let at = now.as_secs().to_string();
        let text = format!("{}.{at}.{body}", message.id);
        let tag = hmac::sign(&self.0, text.as_bytes());
        Signed {
            headers: [
                ("webhook-id", message.id.clone()),
                ("webhook-timestamp", at),
                (
                    "webhook-signature",
                    format!("v1,{}", BASE64.encode(tag.as_ref())),
                ),
            ],
            body,
        }
    }
}

fn payload(message: &Message) -> Value {
    json!({
        "type": message.kind.word(),
        "timestamp": message.at.rfc3339(),
        "data": {
            "title": message.title,
            "count": message.count,
            "items": message.items.iter().map(item).collect::<Vec<_>>(),
            "url": message.url,
        },
    })
}

fn item(item: &Item) -> Value {
    let lines = item.lines.iter();
    let lines = lines.map(|(label, text)| json!({ "label": label, "text": text }));
    json!({
        "request": item.request,
        "came_to": item.came_to,
        "sentence": item.sentence,
        "lines": lines.collect::<Vec<_>>(),
    })
}
