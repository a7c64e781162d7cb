//! What happened to a request, in order; and what it came to.

use stint_policy::Timestamp;

use crate::console::parts::{Moment, length};
use crate::store::requests::State;
use crate::store::votes::Seen;
use crate::store::{RequestRow, VoteRow};

/// One thing that happened.
pub(super) struct Event {
    pub(super) kind: &'static str,
    pub(super) icon: &'static str,
    pub(super) text: String,
    pub(super) note: Option<String>,
    pub(super) at: Moment,
}

/// What it came to.
pub(super) struct Outcome {
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) at: Option<Moment>,
    pub(super) lines: Vec<String>,
}

/// People by their ids.
type Names = [(String, String)];

fn name<'a>(names: &'a Names, person: &'a str) -> &'a str {
    let found = names.iter().find(|(id, _)| id == person);
    found.map_or(person, |(_, name)| name)
}

/// What a request came to, if it does not wait any more.
pub(super) fn outcome(
    row: &RequestRow,
    (votes, names): (&[VoteRow], &Names),
    now: Timestamp,
) -> Option<Outcome> {
    let no = votes.iter().find(|vote| !vote.yes);
    let yes = votes.iter().rev().find(|vote| vote.yes);
    let by = |vote: Option<&VoteRow>| {
        vote.map_or_else(String::new, |vote| {
            format!(" by {}", name(names, &vote.person))
        })
    };
    let at = row.standing.ended.map(|ended| Moment::of(ended, now));
    let over = row.expires <= now.as_millis();
    Some(match row.standing.state {
        State::Pending if over => expired(Some(Moment::of(row.expires, now))),
        State::Pending => return None,
        State::Expired => expired(at),
        State::Cancelled => Outcome {
            kind: "off",
            title: "Cancelled".to_owned(),
            at,
            lines: vec![
                "Whoever asked took it back, or an operator did. It gives nothing.".to_owned(),
            ],
        },
        State::Denied => Outcome {
            kind: "bad",
            title: format!("Refused{}", by(no)),
            at,
            lines: no.and_then(|vote| vote.note.clone()).into_iter().collect(),
        },
        State::Approved => Outcome {
            kind: "good",
            title: format!("Approved{}", by(yes)),
            at,
            lines: vec![until(row, now)],
        },
    })
}

fn expired(at: Option<Moment>) -> Outcome {
    Outcome {
        kind: "off",
        title: "Nobody decided in time".to_owned(),
        at,
        lines: vec!["It gives nothing. Whoever asked can ask again.".to_owned()],
    }
}

fn until(row: &RequestRow, now: Timestamp) -> String {
    let end = row.standing.until.map(|until| Moment::of(until, now));
    match end {
        _ if row.standing.spent => "It was used, and gives nothing more.".to_owned(),
        Some(end) if row.stands(now.as_millis()) => format!(
            "The requester gets credentials until {}. A refusal still ends it.",
            end.absolute
        ),
        Some(end) => format!("It lasted until {}.", end.absolute),
        None => String::new(),
    }
}

/// What happened, the oldest first.
pub(super) fn timeline(
    row: &RequestRow,
    (votes, names, seen): (&[VoteRow], &Names, &[Seen]),
    now: Timestamp,
) -> Vec<Event> {
    let mut events = vec![(row.opened, ("", "request"), "Asked".to_owned(), None)];
    for look in seen {
        events.push((look.at, ("", "eye"), format!("Seen by {}", look.name), None));
    }
    for vote in votes {
        let who = name(names, &vote.person);
        let (looks, text) = match vote.yes {
            true => {
                let lasts = length(i64::from(vote.lasts));
                (("good", "good"), format!("{who} approved it, for {lasts}"))
            }
            false => (("bad", "bad"), format!("{who} refused it")),
        };
        events.push((vote.at, looks, text, vote.note.clone()));
    }
    let ended = row.standing.ended.unwrap_or(row.expires);
    match row.standing.state {
        State::Cancelled => events.push((ended, ("", "off"), "Cancelled".to_owned(), None)),
        State::Expired => events.push((ended, ("", "off"), "Expired".to_owned(), None)),
        State::Pending if ended <= now.as_millis() => {
            events.push((ended, ("", "off"), "Expired".to_owned(), None));
        }
        State::Approved | State::Denied | State::Pending => {}
    }
    // A look and the vote after it may share a millisecond: the order they were put in stays.
    events.sort_by_key(|(at, ..)| *at);
    let event = |(at, (kind, icon), text, note)| Event {
        kind,
        icon,
        text,
        note,
        at: Moment::of(at, now),
    };
    events.into_iter().map(event).collect()
}
