//! `/me`: one's passkeys and sessions, and what the identity provider and the config make of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use stint_policy::Timestamp;

use super::layout::{self, Shell, Trouble};
use super::parts::Moment;
use crate::http::session::SignedIn;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::SessionRow;
use crate::store::passkeys::PasskeyRow;

#[derive(Template)]
#[template(path = "me.html")]
struct Page {
    shell: Shell,
    name: String,
    email: Option<String>,
    identity: String,
    roles: String,
    groups: Vec<String>,
    auth_at: Moment,
    passkeys: Vec<Key>,
    sessions: Vec<Session>,
    fresh: bool,
    first: bool,
    suggested: String,
    sign_in_again: String,
}

struct Key {
    credential: String,
    label: String,
    added: Moment,
    used: Option<Moment>,
    retired: Option<Moment>,
}

struct Session {
    id: String,
    what: String,
    opened: Moment,
    ends: Moment,
    is_this: bool,
}

/// `GET /me`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let person = visitor.id.as_str();
    let passkeys = app.broker.store.passkeys(person).await?;
    let sessions = app.broker.store.sessions(person, now.as_millis()).await?;
    let shell = Shell::new(&app, Some(&visitor), "You")
        .at("/me")
        .same_by_api("GET /v1/me");
    let first = !passkeys.iter().any(|key| key.retired.is_none());
    layout::page(&Page {
        name: visitor.name.clone(),
        email: visitor.email.clone(),
        identity: person.to_owned(),
        roles: roles(&visitor),
        groups: visitor.groups.iter().cloned().collect(),
        auth_at: Moment::new(visitor.auth_at, now),
        passkeys: passkeys.into_iter().map(|row| key(row, now)).collect(),
        sessions: sessions
            .into_iter()
            .map(|row| session(row, &visitor, now))
            .collect(),
        fresh: is_fresh(&app, &visitor, now),
        first,
        suggested: "This device".to_owned(),
        sign_in_again: "/login?fresh=1&return_to=/me".to_owned(),
        shell,
    })
}

/// Whether the login is fresh enough for a new passkey.
pub(super) fn is_fresh(app: &App, visitor: &Visitor, now: Timestamp) -> bool {
    let people = app.broker.people.as_ref();
    people.is_some_and(|people| visitor.is_fresh(people.step_up_age, now))
}

fn roles(visitor: &Visitor) -> String {
    match visitor.roles.words().as_slice() {
        [] => "none; you decide what policies ask your groups".to_owned(),
        words => words.join(", "),
    }
}

fn key(row: PasskeyRow, now: Timestamp) -> Key {
    Key {
        credential: row.credential,
        label: row.label,
        added: Moment::of(row.added, now),
        used: row.used.map(|used| Moment::of(used, now)),
        retired: row.retired.map(|retired| Moment::of(retired, now)),
    }
}

fn session(row: SessionRow, visitor: &Visitor, now: Timestamp) -> Session {
    let what = match row.via.as_str() {
        "cli" => "Terminal".to_owned(),
        _ => browser(&row.agent),
    };
    Session {
        what,
        opened: Moment::of(row.opened, now),
        ends: Moment::of(row.ends, now),
        is_this: row.hash == visitor.session,
        id: row.hash,
    }
}

/// A browser's name and system, as far as its own words say.
fn browser(agent: &str) -> String {
    let named = |words: &[(&str, &'static str)]| {
        let found = words.iter().find(|(word, _)| agent.contains(word));
        found.map(|(_, name)| *name)
    };
    let name = named(&[
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = named(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Windows", "Windows"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, _) => "A browser".to_owned(),
    }
}
