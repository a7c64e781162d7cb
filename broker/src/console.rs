//! The pages: server-rendered, readable without a script, under the strictest policy a browser knows (UX.md §8).
//!
//! **How a page is made.** A handler gathers plain values, puts them into a struct that derives [`askama::Template`], and
//! hands it to [`layout::page`], which adds the headers. A page's struct has one field `shell: Shell`; its template
//! (`broker/templates/NAME.html`) begins with `{% extends "base.html" %}{% import "parts.html" as parts %}` and fills
//! `block content`, with one `<h1>`. What goes wrong is a [`layout::Trouble`]: `Result<Response, Trouble>` is what a
//! handler gives, and `?` works on store errors and on [`crate::http::problem::Failure`].
//!
//! ```text
//! #[derive(Template)]
//! #[template(path = "grants.html")]
//! struct Grants { shell: Shell, rows: Vec<Line> }
//!
//! async fn grants(State(app): State<Arc<App>>, SignedIn(visitor): SignedIn) -> Result<Response, Trouble> {
//!     let shell = Shell::new(&app, Some(&visitor), "Grants")
//!         .at("/grants")                                             // which entry of the menu is lit
//!         .same("stint grants", "GET /v1/grants");                   // the foot line; without it there is none
//!     layout::page(&Grants { shell, rows })
//! }
//! ```
//!
//! **The parts** (`templates/parts.html`): `parts::badge(kind, word)` (kinds: `good wait bad off warn note`; status is
//! always a word and a shape), `parts::moment(m)` for a [`parts::Moment`] (absolute and relative), `parts::id(text)` (in
//! full, with a copy button), `parts::command(text)`, `parts::icon(name)` (names: the `<symbol>`s of `assets/icons.svg`),
//! `parts::empty(title, text, command)` (an empty state that teaches: the command may be ""). Tables: `table.facts` has
//! `<th scope="row">` and `<td>` and stacks on a phone; `table.list` has a `<thead>`, and each `<td data-label="Column">`
//! stacks under its label. A list for `j` and `k` has `data-item` on each row's main link; the search field for `/` has
//! `data-search`. `.card` is a panel, `.grid` a row of them, `.quiet` less loud, `.row` things side by side.
//!
//! **Assets** are named in [`assets`] and reached by [`assets::url`]; a script imports another as `./NAME.js`, and is
//! listed after it. There is no inline script, style or handler anywhere, and no `innerHTML`: DOM is made of `<template>`
//! and `textContent`. Changes are JSON POSTs by `call()` of `assets/page.js`, which gives the answer or throws a problem.

pub(crate) mod asked;
pub(crate) mod assets;
mod body;
mod callers;
mod case;
pub(crate) mod catalogue;
mod decisions;
pub(crate) mod events;
mod grant;
mod grants;
mod home;
mod inbox;
mod integrations;
pub(crate) mod layout;
mod ledger;
pub(crate) mod lists;
mod me;
pub(crate) mod parts;
mod policy;
mod problems;
mod request;
pub(crate) mod requests;
mod said;
pub(crate) mod sheet;
pub(crate) mod sight;
mod tasks;
mod trust;
mod votes;

pub(crate) use self::problems::not_found;

use crate::http::routes::Routes;
use crate::http::{login, terminal};

/// What pages and people's own programs ask for besides.
pub(crate) fn api() -> Routes {
    Routes::default()
        .get("/v1/catalogue", catalogue::json)
        .get("/v1/callers", lists::callers)
        .get("/v1/events", events::follow)
        .get("/v1/tasks", lists::tasks)
        .post("/v1/notify/test", integrations::test)
        .post("/v1/policy/explain", policy::attempt)
}

/// Every page, and the files they are made of.
pub(crate) fn pages() -> Routes {
    Routes::default()
        .get("/a/{request}", request::show)
        .get("/assets/{name}", assets::serve)
        .get("/inbox", inbox::show)
        .get("/me", me::show)
        .get("/problems/{code}", problems::explain)
        .get("/", home::show)
        .get("/callers", callers::list)
        .get("/callers/{*id}", callers::show)
        .get("/catalogue", catalogue::show)
        .get("/decisions/{id}", decisions::show)
        .get("/grants", grants::list)
        .get("/grants.csv", grants::csv)
        .get("/grants/{id}", grant::show)
        .get("/grants/{id}/proof", grant::prove)
        .get("/grants/{id}/votes", votes::entries)
        .get("/integrations", integrations::show)
        .get("/ledger", ledger::list)
        .get("/ledger/{seq}", ledger::show)
        .get("/ledger/{seq}/body", ledger::open)
        .get("/ledger/{seq}/proof", ledger::prove)
        .get("/policy", policy::show)
        .get("/policy/try", policy::playground)
        .get("/requests", requests::list)
        .get("/tasks", tasks::list)
        .get("/tasks/{id}", tasks::show)
        .get("/trust", trust::show)
        .and(login::pages())
        .and(terminal::pages())
}
