//! A message as Slack's incoming webhooks take it: Block Kit, one button.
//!
//! All texts are `plain_text`, in which Slack reads no markup, and the three characters that could begin a link or a
//! mention are escaped besides (docs.slack.dev, "Formatting message text"). `text` is what a notification shows; there
//! markup is switched off.

use serde_json::{Value, json};

use super::card::{Item, Message};

/// The payload.
pub(super) fn payload(message: &Message) -> Value {
    let mut blocks = vec![json!({ "type": "header", "text": plain(&message.title, HEADER) })];
    match message.items.as_slice() {
        [one] if message.count == 1 => blocks.extend(in_full(one)),
        several => blocks.extend(several.iter().map(|item| section(&in_short(item)))),
    }
    let shown = message.items.len();
    if shown > 0 && message.count > shown {
        blocks.push(section(&format!("and {} more", message.count - shown)));
    }
    blocks.push(json!({
        "type": "actions",
        "elements": [{
            "type": "button",
            "action_id": "open",
            "text": plain(message.call, BUTTON),
            "url": message.url,
        }],
    }));
    let first = message.items.first().map_or("", |item| &item.sentence);
    json!({
        "text": escaped(format!("{}: {first}", message.title).trim_end_matches(": ")),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

fn in_full(item: &Item) -> Vec<Value> {
    let mut blocks = vec![section(&item.sentence)];
    for lines in item.lines.chunks(FIELDS) {
        let fields = lines
            .iter()
            .map(|(label, text)| plain(&format!("{label}\n{text}"), FIELD));
        blocks.push(json!({ "type": "section", "fields": fields.collect::<Vec<_>>() }));
    }
    blocks
}

/// A sentence, and what came of it.
fn in_short(item: &Item) -> String {
    match (&item.came_to, item.lines.first()) {
        (Some(_), Some((label, text))) => format!("{label} {text}: {}", item.sentence),
        (Some(_) | None, _) => item.sentence.clone(),
    }
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain(text, SECTION) })
}

/// Lengths count after escaping; what was made by `card` is far below them.
fn plain(text: &str, most: usize) -> Value {
    let escaped = escaped(text);
    let text = match escaped.chars().count() > most {
        true => "(too long for Slack: read it on the page)".to_owned(),
        false => escaped,
    };
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Characters of a header, a section, a field and a button; fields of a section (docs.slack.dev, Block Kit reference).
const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const BUTTON: usize = 75;
const FIELDS: usize = 10;
