//! `/a/{request}`: what an approver is shown, and the form by which a passkey says yes or no (UX.md §7). Looking changes
//! nothing, but that who may decide is noted as having seen it.

mod story;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use self::story::{Event, Outcome};
use super::layout::{self, Shell, Trouble};
use super::me::is_fresh;
use super::parts::{Badge, Moment, length, standing};
use crate::approve::{Eligible, WhyNot};
use crate::http::session::SignedIn;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::requests::State as Came;
use crate::store::votes::Seen;
use crate::store::{RequestRow, VoteRow};

#[derive(Template)]
#[template(path = "request.html")]
struct Page {
    shell: Shell,
    id: String,
    heading: &'static str,
    standing: Badge,
    left: Option<Moment>,
    /// When time changes it next, RFC 3339; empty once nothing does.
    ends: String,
    outcome: Option<Outcome>,
    drifted: bool,
    asked_under: String,
    in_force: String,
    rows: Vec<Row>,
    words: Option<String>,
    run: Option<String>,
    needs: Vec<Need>,
    booth: Booth,
    timeline: Vec<Event>,
    fresh: bool,
    first: bool,
    suggested: String,
    sign_in_again: String,
}

/// A row of the table that is signed.
struct Row {
    kind: &'static str,
    label: String,
    text: String,
}

/// How many of a group have said yes.
struct Need {
    policy: String,
    approvers: String,
    quorum: u32,
    have: usize,
}

/// What this reader can do.
enum Booth {
    /// Nothing is left to decide.
    Over,
    /// They cannot, and why not.
    Off(String),
    /// They can.
    Open(Open),
}

struct Open {
    has_passkey: bool,
    /// Whether the match code has to be typed.
    code: bool,
    lasts: Vec<Lasts>,
    /// Why there is no yes, or nothing.
    yes_off: String,
}

/// A choice of how long.
struct Lasts {
    seconds: u32,
    words: String,
}

impl Booth {
    fn is_open(&self) -> bool {
        matches!(self, Booth::Open(_))
    }

    fn wants_passkey(&self) -> bool {
        matches!(self, Booth::Open(open) if !open.has_passkey)
    }
}

/// What is read of a request before it is shown.
struct Read {
    row: RequestRow,
    votes: Vec<VoteRow>,
    names: Vec<(String, String)>,
    seen: Vec<Seen>,
    booth: Booth,
    first: bool,
}

/// `GET /a/{request}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let row = app.broker.store.request(&id).await?;
    let row = row.ok_or_else(Trouble::not_found)?;
    if !app.broker.concerns(&row, &visitor) {
        return Err(Trouble::not_found());
    }
    let may = app.broker.eligible(&row, &visitor);
    let decides = matches!(may, Eligible::Yes(_));
    if decides && row.stands(app.broker.clock.now().as_millis()) {
        app.broker.looked(&row, &visitor);
    }
    let read = read(&app, &visitor, row, may).await?;
    layout::page(&page(&app, &visitor, read))
}

async fn read(
    app: &App,
    visitor: &Visitor,
    row: RequestRow,
    may: Eligible,
) -> Result<Read, Trouble> {
    let store = &app.broker.store;
    let votes = store.votes(&row.id).await?;
    let mut names = Vec::new();
    for vote in &votes {
        let person = store.person(&vote.person).await?;
        let name = person.map_or_else(|| vote.person.clone(), |person| person.name);
        names.push((vote.person.clone(), name));
    }
    let seen = store.seen_by(&row.id).await?;
    let passkeys = store.passkeys(visitor.id.as_str()).await?;
    let has_passkey = passkeys.iter().any(|key| key.retired.is_none());
    let wrong = store.wrong_codes(&row.id, visitor.id.as_str()).await?;
    let now = app.broker.clock.now();
    let booth = match may {
        _ if !row.stands(now.as_millis()) => Booth::Over,
        Eligible::No(why) => Booth::Off(why.to_string()),
        Eligible::Yes(_) => Booth::Open(Open {
            has_passkey,
            code: app.broker.terms.match_code,
            lasts: choices(row.asked_ttl().as_u32()),
            yes_off: yes_off(visitor, &votes, wrong),
        }),
    };
    Ok(Read {
        row,
        votes,
        names,
        seen,
        booth,
        first: passkeys.is_empty(),
    })
}

fn page(app: &App, visitor: &Visitor, mut read: Read) -> Page {
    let booth = std::mem::replace(&mut read.booth, Booth::Over);
    let broker = &app.broker;
    let now = broker.clock.now();
    let in_force = broker.policies.in_force().hash().to_string();
    let Read { row, votes, .. } = &read;
    let stands = row.stands(now.as_millis());
    let waits = stands && row.standing.state == Came::Pending;
    let path = format!("/a/{}", row.id);
    let shell = Shell::new(app, Some(visitor), "A request")
        .at("/inbox")
        .same(
            match booth.is_open() {
                true => format!("stint approve {}", row.id),
                false => format!("stint show {}", row.id),
            },
            format!("GET /v1/requests/{}", row.id),
        );
    let card = row.card();
    Page {
        shell,
        heading: match waits {
            true => "Somebody asks for access",
            false => "Access was asked for",
        },
        standing: standing(row, now),
        left: waits.then(|| Moment::of(row.expires, now)),
        ends: match (stands, row.standing.until) {
            (true, until) => Moment::of(until.unwrap_or(row.expires), now).rfc,
            (false, _) => String::new(),
        },
        outcome: story::outcome(row, (votes, &read.names), now),
        drifted: stands && row.pol != in_force,
        asked_under: row.pol.clone(),
        in_force,
        rows: rows(card.shown()),
        words: card.words.as_deref().map(words::plain),
        run: card.run,
        needs: needs(row, votes),
        timeline: story::timeline(row, (votes, &read.names, &read.seen), now),
        fresh: is_fresh(app, visitor, now),
        first: read.first,
        suggested: "This device".to_owned(),
        sign_in_again: format!("/login?fresh=1&return_to={path}"),
        booth,
        id: row.id.clone(),
    }
}

/// The table as it is signed. What stands in it is [`crate::approve::Card::shown`] to the letter; here it only gets its
/// looks.
fn rows(shown: Vec<(String, String)>) -> Vec<Row> {
    let row = |(at, (label, text)): (usize, (String, String))| Row {
        kind: match (at, label.as_str()) {
            (0, _) => "lead",
            (_, "Who" | "Task" | "Policy") => "begins",
            (_, "Unusual") => "unusual",
            _ => "",
        },
        label,
        text,
    };
    shown.into_iter().enumerate().map(row).collect()
}

fn needs(row: &RequestRow, votes: &[VoteRow]) -> Vec<Need> {
    let have = |group: &String| {
        let said = |vote: &&VoteRow| vote.yes && vote.groups.contains(group);
        votes.iter().filter(said).count()
    };
    let needs = row.needs().into_iter();
    let need = needs.map(|need| Need {
        have: have(&need.approvers),
        policy: need.policy,
        quorum: need.quorum,
        approvers: need.approvers,
    });
    need.collect()
}

/// Why this person, who may decide, cannot say yes.
fn yes_off(visitor: &Visitor, votes: &[VoteRow], wrong: i64) -> String {
    let mine = |vote: &&VoteRow| vote.person == visitor.id.as_str() && vote.yes;
    match votes.iter().any(|vote| mine(&vote)) {
        true => WhyNot::Voted.to_string(),
        false if wrong >= crate::approve::TRIES => WhyNot::Mistyped.to_string(),
        false => String::new(),
    }
}

/// As long as was asked for, or one of the usual lengths below it.
fn choices(longest: u32) -> Vec<Lasts> {
    let asked = Lasts {
        seconds: longest,
        words: format!("{}, as asked", length(i64::from(longest))),
    };
    let shorter = USUAL.into_iter().filter(|seconds| *seconds < longest);
    let shorter = shorter.map(|seconds| Lasts {
        seconds,
        words: length(i64::from(seconds)),
    });
    std::iter::once(asked).chain(shorter).collect()
}

const USUAL: [u32; 8] = [14_400, 7200, 3600, 1800, 900, 600, 300, 60];
