//! `/login`: to the identity provider and back. Whatever goes wrong there is one page with one text (SECURITY.md §5).

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Url;

use super::peer::Peer;
use super::problem::Failure;
use super::routes::Routes;
use super::session::{Acting, cookie, login_at, see};
use crate::console::layout::{self, Shell};
use crate::people::{CALLBACK, Came, Freshness, LoginError, People, Visitor, Whence, session};
use crate::serve::App;
use crate::store::people::Change;
use crate::store::{Write, sessions};
use crate::telemetry::trail;

/// The pages of a login.
pub(crate) fn pages() -> Routes {
    Routes::default()
        .get("/login", page)
        .get("/login/start", start)
        .get(CALLBACK, callback)
        .post("/logout", logout)
}

/// `GET /login?return_to=PATH`: one link. It is a link, so that `form-action 'self'` holds over the redirect.
async fn page(State(app): State<Arc<App>>, request: Request) -> Response {
    let query = Query::of(&request);
    let Some(_) = &app.broker.people else {
        return nobody();
    };
    let return_to = query.one("return_to").unwrap_or_else(|| "/".to_owned());
    let start = login_at(&return_to, freshness(&query));
    let start = start.replacen("/login?", "/login/start?", 1);
    let say = match freshness(&query) {
        Freshness::Fresh => {
            "This needs a fresh login: your identity provider asks you again who you are."
        }
        Freshness::Any => {
            "You sign in at your organisation's identity provider, and come back here."
        }
    };
    shown(StatusCode::OK, "Sign in", say, Some((&start, "Sign in")))
}

/// Whether a login that is only minutes old is wanted.
fn freshness(query: &Query) -> Freshness {
    match query.one("fresh") {
        None => Freshness::Any,
        Some(_) => Freshness::Fresh,
    }
}

/// `GET /login/start?return_to=PATH`: off to the provider.
async fn start(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(people) = &app.broker.people else {
        return nobody();
    };
    let query = Query::of(&request);
    let return_to = query.one("return_to").unwrap_or_else(|| "/".to_owned());
    let fresh = freshness(&query);
    let begun = people
        .begin(&return_to, fresh, app.broker.clock.now())
        .await;
    match begun {
        Err(error) => refused(&error, "/"),
        Ok(sent) => {
            let mut response = see(&sent.url);
            let cookie = set(people, people.cookies.login, &sent.sealed, Some(SIGN_IN_S));
            response.headers_mut().append(SET_COOKIE, cookie);
            response
        }
    }
}

/// `GET /login/callback`: back from the provider.
async fn callback(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(people) = &app.broker.people else {
        return nobody();
    };
    let query = Query::of(&request);
    let headers = request.headers();
    let came = Came {
        sealed: cookie(headers, people.cookies.login).map(str::to_owned),
        code: query.one("code"),
        state: query.one("state"),
        iss: query.one("iss"),
        error: query.one("error"),
    };
    let whence = Whence {
        peer: request.extensions().get::<Peer>().map(|peer| peer.address),
        agent: agent(headers),
        had: cookie(headers, people.cookies.session).map(session::hash),
    };
    let broker = Arc::clone(&app.broker);
    // A browser that hangs up cuts nothing.
    let signed = app.detached(async move { broker.sign_in(came, whence).await });
    let mut response = match signed.await {
        Err(failure) => failure.into_response(),
        Ok(Err(error)) => refused(&error, "/"),
        Ok(Ok(welcome)) => {
            let mut response = see(&welcome.return_to);
            let cookie = set(people, people.cookies.session, &welcome.secret, None);
            response.headers_mut().append(SET_COOKIE, cookie);
            response
        }
    };
    // It counts once, whatever came of it.
    let gone = set(people, people.cookies.login, "", Some(0));
    response.headers_mut().append(SET_COOKIE, gone);
    response
}

/// `POST /logout`: this session is over.
async fn logout(State(app): State<Arc<App>>, Acting(visitor): Acting) -> Result<Response, Failure> {
    end(&app, &visitor, &visitor.session).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(people) = &app.broker.people {
        let gone = set(people, people.cookies.session, "", Some(0));
        response.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(response)
}

/// Ends a session of this person; one that is over already is as good.
pub(super) async fn end(app: &App, visitor: &Visitor, hash: &str) -> Result<bool, Failure> {
    let change = sessions::Change::End {
        person: visitor.id.to_string(),
        hash: hash.to_owned(),
    };
    let writes = vec![Write::People(Change::Session(change))];
    match app.broker.ledger.settle(writes).await {
        Ok(()) => Ok(true),
        Err(crate::ledger::Error::Lost(_)) => Ok(false),
        Err(error) => {
            tracing::warn!(%error, "a session could not be ended");
            Err(Failure::unavailable())
        }
    }
}

/// The parameters of a query, decoded once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(request: &Request) -> Query {
        let query = request.uri().query().unwrap_or_default();
        let url = Url::parse(&format!("http://localhost/?{query}")).ok();
        let pairs = url.iter().flat_map(|url| url.query_pairs());
        Query(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The value of a parameter that is there once; twins are as good as none.
    pub(super) fn one(&self, name: &str) -> Option<String> {
        let mut found = self.0.iter().filter(|(given, _)| given == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.clone()),
            _ => None,
        }
    }
}

/// One page for every way to fail. What it was is in the log.
fn refused(error: &LoginError, again: &str) -> Response {
    let again = login_at(again, Freshness::Any);
    match error {
        LoginError::Away(_) => {
            tracing::warn!(%error, id = trail::id(), "nobody can sign in");
            let say = "Your identity provider does not answer, so nobody can sign in just now. Whoever is signed in \
                       goes on working. Try again in a minute.";
            let mut page = shown(
                StatusCode::SERVICE_UNAVAILABLE,
                "Sign-in is not available",
                say,
                Some((&again, "Try again")),
            );
            page.headers_mut()
                .insert("retry-after", HeaderValue::from_static("30"));
            page
        }
        LoginError::Refused(_) => {
            tracing::info!(%error, id = trail::id(), "a login was refused");
            shown(
                StatusCode::FORBIDDEN,
                "Not signed in",
                NOT_SIGNED_IN,
                Some((&again, "Try again")),
            )
        }
        LoginError::Told(text) => {
            tracing::info!(%error, id = trail::id(), "a login was refused");
            let text = format!("Your identity provider knows you, but {text}.");
            shown(
                StatusCode::FORBIDDEN,
                "Not signed in",
                &text,
                Some((&again, "Try again")),
            )
        }
    }
}

fn nobody() -> Response {
    let say = "This broker has no identity provider, so nobody can sign in. Whoever runs it adds [people] to stint.toml.";
    shown(StatusCode::NOT_FOUND, "Nobody can sign in here", say, None)
}

/// `Set-Cookie` of a cookie of ours.
fn set(people: &People, name: &str, value: &str, seconds: Option<u32>) -> HeaderValue {
    let secure = if people.cookies.secure {
        "; Secure"
    } else {
        ""
    };
    let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// What the client says it is, as far as it can be shown.
pub(super) fn agent(headers: &HeaderMap) -> String {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    agent.unwrap_or_default().chars().take(200).collect()
}

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    shell: Shell,
    say: &'a str,
    link: Option<(&'a str, &'a str)>,
}

/// A page of one heading, one paragraph and at most one link: the same for everybody.
fn shown(status: StatusCode, title: &str, say: &str, link: Option<(&str, &str)>) -> Response {
    let shell = Shell::bare(None, title);
    match layout::page_as(status, &Page { shell, say, link }) {
        Ok(page) => page,
        Err(trouble) => trouble.into_response(),
    }
}

const NOT_SIGNED_IN: &str = "You were not signed in. Try again; if it happens twice, whoever runs Stint finds the reason in its log.";

/// As long as a sign-in may take.
const SIGN_IN_S: u32 = 600;
