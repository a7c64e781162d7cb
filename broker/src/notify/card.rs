//! What a notice says, in no format yet: the first lines of the card, and one link.
//!
//! Everything in here is one line of what can be seen: whatever a stranger could have written goes through `legible`, and
//! what is too long is left out whole, never cut, since half of an id is another id.

use serde::Deserialize;
use stint_policy::Timestamp;

use crate::approve::Card;
use crate::store::requests::State;
use crate::store::{NoticeRow, RequestRow};
use crate::telemetry::lines::legible;

/// A message to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Stays the same however often it is tried. Without a dot.
    pub(super) id: String,
    /// When it was made.
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    /// Its first line.
    pub(super) title: String,
    /// What it is about, a few of them.
    pub(super) items: Vec<Item>,
    /// How many it is about.
    pub(super) count: usize,
    /// The one link.
    pub(super) url: String,
    /// What the link is for.
    pub(super) call: &'static str,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Alarm,
    Decided,
    Test,
    Waiting,
}

impl Kind {
    /// As programs read it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Kind::Alarm => "alarm",
            Kind::Decided => "requests.decided",
            Kind::Test => "test",
            Kind::Waiting => "requests.waiting",
        }
    }
}

/// One request, or one alarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// `req_…`.
    pub(super) request: Option<String>,
    /// What it came to, if it did: a state's word.
    pub(super) came_to: Option<String>,
    /// What it lets happen.
    pub(super) sentence: String,
    /// A label, and what it says.
    pub(super) lines: Vec<(String, String)>,
}

/// Whoever decided, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    /// What it came to.
    pub(super) came_to: String,
    /// Their names.
    pub(super) by: Vec<String>,
}

impl Message {
    /// Of requests that wait: one in full, several in short, or none of them by name in a digest.
    pub(super) fn waiting(
        items: Vec<Item>,
        count: usize,
        (id, at): (String, Timestamp),
        url: &str,
    ) -> Message {
        let (title, url, call) = match (items.as_slice(), count) {
            (
                [
                    Item {
                        request: Some(request),
                        ..
                    },
                ],
                1,
            ) => (
                "Approval needed".to_owned(),
                format!("{url}/a/{request}"),
                "Look and decide",
            ),
            ([], count) => (
                format!("{count} more wait for approval"),
                format!("{url}/inbox"),
                "See them all",
            ),
            (_, count) => (
                format!("{count} requests wait for approval"),
                format!("{url}/inbox"),
                "See them all",
            ),
        };
        Message {
            id,
            at,
            kind: Kind::Waiting,
            title,
            items,
            count,
            url,
            call,
        }
    }

    /// Of what requests came to.
    pub(super) fn decided(
        items: Vec<Item>,
        count: usize,
        (id, at): (String, Timestamp),
        url: &str,
    ) -> Message {
        let (title, url) = match (items.as_slice(), count) {
            (
                [
                    Item {
                        request: Some(request),
                        came_to: Some(came_to),
                        ..
                    },
                ],
                1,
            ) => (outcome(came_to).to_owned(), format!("{url}/a/{request}")),
            (_, count) => (
                format!("{count} requests were decided or ended"),
                format!("{url}/requests"),
            ),
        };
        Message {
            id,
            at,
            kind: Kind::Decided,
            title,
            items,
            count,
            url,
            call: "Look",
        }
    }

    /// Of what an operator should see.
    pub(super) fn alarm(
        items: Vec<Item>,
        count: usize,
        (id, at): (String, Timestamp),
        url: &str,
    ) -> Message {
        let title = match items.as_slice() {
            [one] if count == 1 => one.sentence.clone(),
            _ => format!("{count} alarms"),
        };
        Message {
            id,
            at,
            kind: Kind::Alarm,
            title,
            items,
            count,
            url: format!("{url}/"),
            call: "Look",
        }
    }

    /// Of nothing.
    pub(super) fn test(name: &str, (id, at): (String, Timestamp), url: &str) -> Message {
        let sentence =
            format!("An operator tries [notify.{name}]: notices of this broker arrive here.");
        Message {
            id,
            at,
            kind: Kind::Test,
            title: "This is a test".to_owned(),
            items: vec![Item {
                sentence,
                ..Item::default()
            }],
            count: 1,
            url: format!("{url}/"),
            call: "Look",
        }
    }
}

impl Item {
    /// An ask that waits.
    pub(super) fn waiting(row: &RequestRow) -> Item {
        let card = Shown::of(row);
        let mut lines = card.lines;
        lines.extend(row.needs().iter().map(|need| {
            let text = format!("{} of Group::\"{}\"", need.quorum, need.approvers);
            line("Who can decide", &text)
        }));
        lines.push(line("Open until", &time(row.expires)));
        Item {
            request: Some(row.id.clone()),
            came_to: None,
            sentence: card.sentence,
            lines,
        }
    }

    /// What an ask came to: whose decision, how signed, when and for how long.
    pub(super) fn decided(row: &RequestRow, decision: &Decision) -> Item {
        let card = Shown::of(row);
        let by = decision.by.join(", ");
        let mut lines = vec![match decision.came_to.as_str() {
            word @ ("approved" | "denied") => {
                line(outcome(word), &format!("by {by}, signed with a passkey"))
            }
            "cancelled" if !by.is_empty() => line("Taken back", &format!("by {by}")),
            "cancelled" => line(
                "Taken back",
                "by whoever asked, or nobody can decide it any more",
            ),
            _ => line("Ended", "nobody decided in time"),
        }];
        lines.extend(row.standing.ended.map(|at| line("When", &time(at))));
        let approved = row.standing.state == State::Approved && decision.came_to == "approved";
        let until = row.standing.until.filter(|_| approved);
        lines.extend(until.map(|until| line("Lasts until", &time(until))));
        let who = card.lines.into_iter();
        lines.extend(who.filter(|(label, _)| label == "Resource" || label == "Who"));
        Item {
            request: Some(row.id.clone()),
            came_to: Some(decision.came_to.clone()),
            sentence: card.sentence,
            lines,
        }
    }

    /// An alarm, as its row says it.
    pub(super) fn alarm(row: &NoticeRow) -> Item {
        #[derive(Default, Deserialize)]
        struct Body {
            title: String,
            lines: Vec<(String, String)>,
        }
        let body: Body = serde_json::from_str(&row.body).unwrap_or_default();
        let lines = body.lines.iter().take(MOST_LINES);
        Item {
            sentence: whole(&body.title, LONGEST_SENTENCE),
            lines: lines.map(|(label, text)| line(label, text)).collect(),
            ..Item::default()
        }
    }
}

/// The first lines of a card.
struct Shown {
    sentence: String,
    lines: Vec<(String, String)>,
}

impl Shown {
    fn of(row: &RequestRow) -> Shown {
        let card: Card = serde_json::from_str(&row.card).unwrap_or_default();
        let sentence = match card.sentence.as_str() {
            "" => format!(
                "{} asks for something that only the page can show.",
                row.caller
            ),
            said if said.starts_with("Lets ") => said.to_owned(),
            said => format!("Lets {said}"),
        };
        let rows = card.rows.iter();
        let mut lines: Vec<_> = rows
            .filter(|(label, _)| LABELS.contains(&label.as_str()))
            .map(|(label, text)| line(label, text))
            .collect();
        if lines.len() > MOST_LINES {
            let more = lines.len() - MOST_LINES;
            lines.truncate(MOST_LINES);
            lines.push(line("And", &format!("{more} more lines, on the page")));
        }
        Shown {
            sentence: whole(&sentence, LONGEST_SENTENCE),
            lines,
        }
    }
}

/// The first line of an outcome.
fn outcome(came_to: &str) -> &'static str {
    match came_to {
        "approved" => "Approved",
        "cancelled" => "Taken back",
        "denied" => "Denied",
        _ => "Ended without a decision",
    }
}

fn line(label: &str, text: &str) -> (String, String) {
    (whole(label, LONGEST_LABEL), whole(text, LONGEST_LINE))
}

/// As one line that can be read, whole or not at all.
pub(super) fn whole(text: &str, most: usize) -> String {
    let text = legible(text);
    match text.chars().count() > most {
        true => TOO_LONG.to_owned(),
        false => text.into_owned(),
    }
}

/// `2027-03-01 10:15 UTC`.
fn time(millis: i64) -> String {
    let text = Timestamp::from_millis(millis).rfc3339();
    let minute = text.split_once('T').map(|(day, time)| {
        let time: String = time.chars().take(5).collect();
        format!("{day} {time} UTC")
    });
    minute.unwrap_or(text)
}

/// Of the card: resources, who asks, which run, how long. The rest is on the page.
const LABELS: [&str; 14] = [
    "Resource",
    "For",
    "Asked for",
    "Who",
    "Started by",
    "repository",
    "ref",
    "workflow",
    "run_id",
    "project_path",
    "pipeline_id",
    "job_id",
    "namespace",
    "serviceaccount",
];
/// Characters; what Slack takes in one text (3,000) less what escaping could add to it is the bound of all.
const LONGEST_SENTENCE: usize = 500;
const LONGEST_LINE: usize = 300;
const LONGEST_LABEL: usize = 60;
const MOST_LINES: usize = 16;
const TOO_LONG: &str = "(too long for a notice: read it on the page)";
/// Requests that one message shows.
pub(super) const MOST_ITEMS: usize = 10;
