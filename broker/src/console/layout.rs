//! What every page has around it: the menu, who is signed in, the banner, the foot line, and the headers it leaves with.

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use stint_wire::{Code, Problem};

use super::problems;
use crate::http::health;
use crate::http::problem::Failure;
use crate::people::Visitor;
use crate::serve::App;
use crate::store;
use crate::telemetry::trail;

/// What is around a page.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    /// Of the tab; the page's `<h1>` is its own.
    pub(crate) title: String,
    /// The menu, for this reader.
    pub(crate) menu: Vec<Group>,
    /// Which entry of the menu is lit.
    pub(crate) here: &'static str,
    /// Who is signed in.
    pub(crate) who: Option<Who>,
    /// What everybody must know now.
    pub(crate) banner: Option<Banner>,
    /// The time at the broker when it was made, RFC 3339; empty where nobody asked.
    pub(crate) served: String,
    /// **The same by CLI · by API**.
    pub(crate) same: Option<Same>,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// For display.
    pub(crate) name: String,
    /// `operator`, `auditor`, or what is left: `member`.
    pub(crate) roles: String,
}

/// Grants are frozen, or the broker cannot grant.
#[derive(Debug, Clone)]
pub(crate) struct Banner {
    /// The code, as `/readyz` says it.
    pub(crate) word: String,
    /// What it means.
    pub(crate) text: String,
}

/// How else the same is done.
#[derive(Debug, Clone)]
pub(crate) struct Same {
    /// The whole command; empty where there is none.
    pub(crate) cli: String,
    /// Method and path.
    pub(crate) api: String,
}

/// Entries of the menu that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// What they have in common.
    pub(crate) name: &'static str,
    /// The entries.
    pub(crate) entries: Vec<Entry>,
}

/// One entry of the menu.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Where it leads.
    pub(crate) path: &'static str,
    /// What it says.
    pub(crate) name: &'static str,
    /// A symbol of `icons.svg`.
    pub(crate) icon: &'static str,
    whom: Whom,
}

/// Who has an entry in the menu. What a page shows it decides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Anybody,
    SignedIn,
    Readers,
}

const fn entry(path: &'static str, name: &'static str, icon: &'static str, whom: Whom) -> Entry {
    Entry {
        path,
        name,
        icon,
        whom,
    }
}

/// The whole menu.
const MENU: [(&str, &[Entry]); 3] = [
    (
        "Work",
        &[
            entry("/", "Home", "home", Whom::SignedIn),
            entry("/inbox", "Inbox", "inbox", Whom::SignedIn),
            entry("/requests", "Requests", "request", Whom::SignedIn),
            entry("/grants", "Grants", "key", Whom::SignedIn),
            entry("/tasks", "Tasks", "play", Whom::SignedIn),
        ],
    ),
    (
        "Rules",
        &[
            entry("/catalogue", "Catalogue", "list", Whom::SignedIn),
            entry("/policy", "Policy", "policy", Whom::SignedIn),
            entry("/callers", "Callers", "people", Whom::Readers),
        ],
    ),
    (
        "Proof",
        &[
            entry("/ledger", "Ledger", "ledger", Whom::Readers),
            entry("/trust", "Trust", "shield", Whom::Anybody),
            entry("/integrations", "Integrations", "plug", Whom::Readers),
        ],
    ),
];

impl Shell {
    /// Around a page called `title`, for whoever looks at it.
    pub(crate) fn new(app: &App, visitor: Option<&Visitor>, title: &str) -> Shell {
        Shell {
            banner: Banner::of(app),
            served: app.broker.clock.now().rfc3339(),
            ..Shell::bare(visitor, title)
        }
    }

    /// The same where nobody asked how the broker is.
    pub(crate) fn bare(visitor: Option<&Visitor>, title: &str) -> Shell {
        let sees = |entry: &&Entry| match entry.whom {
            Whom::Anybody => true,
            Whom::SignedIn => visitor.is_some(),
            Whom::Readers => visitor.is_some_and(Visitor::reads_all),
        };
        let groups = MENU.into_iter().map(|(name, entries)| Group {
            name,
            entries: entries.iter().filter(sees).copied().collect(),
        });
        Shell {
            title: title.to_owned(),
            menu: groups.filter(|it| !it.entries.is_empty()).collect(),
            here: "",
            who: visitor.map(Who::of),
            banner: None,
            served: String::new(),
            same: None,
        }
    }

    /// Lights an entry of the menu.
    pub(crate) fn at(mut self, path: &'static str) -> Shell {
        self.here = path;
        self
    }

    /// How the same is done by API, where no command does it.
    pub(crate) fn same_by_api(self, api: impl Into<String>) -> Shell {
        self.same("", api)
    }

    /// How the same is done by CLI and API.
    pub(crate) fn same(mut self, cli: impl Into<String>, api: impl Into<String>) -> Shell {
        let (cli, api) = (cli.into(), api.into());
        self.same = Some(Same { cli, api });
        self
    }
}

impl Who {
    fn of(visitor: &Visitor) -> Who {
        let roles = match (visitor.roles.operator, visitor.roles.auditor) {
            (true, true) => "operator, auditor",
            (true, false) => "operator",
            (false, true) => "auditor",
            (false, false) => "member",
        };
        Who {
            name: visitor.name.clone(),
            roles: roles.to_owned(),
        }
    }
}

impl Banner {
    /// The first thing that keeps the broker from granting, or a freeze of a part.
    fn of(app: &App) -> Option<Banner> {
        let checks = health::checks(app);
        let failing = |check: &&serde_json::Value| {
            check["ok"] == serde_json::json!(false)
                && (check["fatal"] == serde_json::json!(true) || check["check"] == "frozen")
        };
        let found = checks.iter().find(failing)?;
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Some(Banner {
            word: text("code"),
            text: text("detail"),
        })
    }
}

/// A page on its way out.
///
/// # Errors
/// [`Trouble`] if the template fails: a bug.
pub(crate) fn page(template: &impl Template) -> Result<Response, Trouble> {
    page_as(StatusCode::OK, template)
}

/// The same with another status.
///
/// # Errors
/// [`Trouble`] if the template fails: a bug.
pub(crate) fn page_as(status: StatusCode, template: &impl Template) -> Result<Response, Trouble> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, id = trail::id(), "a page could not be rendered");
        Trouble(Box::new(Problem::new(
            Code::Internal,
            "the page could not be made",
        )))
    })?;
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Why there is no page: told in a page.
#[derive(Debug)]
pub(crate) struct Trouble(pub(super) Box<Problem>);

impl Trouble {
    /// Not there, and not yours: the same words for both.
    pub(crate) fn not_found() -> Trouble {
        Trouble(Box::new(Problem::new(
            Code::NotFound,
            "There is nothing here under this name, or it is not yours to see.",
        )))
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble(Box::new(failure.into_problem()))
    }
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Trouble {
        let id = trail::id();
        tracing::error!(%error, id, "a page could not be read from the store");
        let detail = format!("The broker cannot read this now; not your doing ({id}).");
        Trouble(Box::new(Problem::new(Code::Unavailable, detail)))
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        trail::code(self.0.code.as_str());
        problems::show(*self.0)
    }
}

/// What every page leaves with (UX.md §8): it runs its own scripts alone, is framed by nobody, kept by nobody, and tells
/// nobody where a reader came from.
const HEADERS: [(HeaderName, &str); 9] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        HeaderName::from_static("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; \
         trusted-types stint",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), publickey-credentials-create=(self), publickey-credentials-get=(self)",
    ),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
];
