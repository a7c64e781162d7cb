//! A page of facts and lists: what most pages of the console are. A handler fills it with plain values; one template,
//! `sheet.html`, lays all of them out alike, so that tables, empty states, ids and times are the same everywhere.

use askama::Template;
use axum::response::Response;
use stint_policy::Timestamp;

use super::asked::Asked;
use super::layout::{self, Shell, Trouble};
use super::parts::Moment;
use super::votes::Ballots;

/// A page made of parts.
#[derive(Template)]
#[template(path = "sheet.html")]
pub(crate) struct Sheet {
    pub(crate) shell: Shell,
    /// Above the heading: what sort of thing it is.
    pub(crate) kicker: &'static str,
    /// The `<h1>`.
    pub(crate) heading: String,
    /// One sentence below it.
    pub(crate) lead: String,
    /// Filters; they live in the URL.
    pub(crate) filters: Vec<Filter>,
    /// Links beside the filters: CSV, all of it.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) parts: Vec<Part>,
    /// The next page, if there is one; then also the first.
    pub(crate) next: Option<String>,
    pub(crate) first: Option<String>,
    /// Scripts of this page alone, by the names of their assets.
    pub(crate) scripts: Vec<&'static str>,
}

/// A field of the filter form.
pub(crate) struct Filter {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) hint: &'static str,
    /// Words to choose from, `""` for any; none: a text field.
    pub(crate) choices: Vec<(&'static str, &'static str)>,
}

/// A part of a page, under its own heading.
pub(crate) struct Part {
    /// Names it in the URL, and for what refreshes it.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) note: String,
    /// What it shows, in the words of `/v1/events`; empty: it never changes by itself.
    pub(crate) live: &'static str,
    pub(crate) body: Body,
}

/// What a part is made of.
pub(crate) enum Body {
    Facts(Vec<(String, Vec<Cell>)>),
    List(List),
    /// Lines with their numbers; the first is the id's prefix.
    Source(String, Vec<String>),
    /// Text as it is, to be read.
    Raw(String),
    /// A file to be copied: what it is called, and what is in it.
    File(String, String),
    /// What happened, in order: kind of mark, words, when, more.
    Steps(Vec<Step>),
    /// Markup of a template of ours.
    Widget(Widget),
}

/// What only some pages have: each a file of its own in `templates/`.
pub(crate) enum Widget {
    /// Drop a bundle, and have it checked here.
    Bundle,
    /// Check this entry here.
    Entry(u64),
    /// Who approved, and their votes checked here.
    Votes(Ballots),
}

/// One step of a story.
pub(crate) struct Step {
    /// A symbol of `icons.svg`.
    pub(crate) icon: &'static str,
    pub(crate) says: Vec<Cell>,
    pub(crate) when: Option<Moment>,
}

/// A table whose rows are alike.
pub(crate) struct List {
    pub(crate) heads: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Vec<Cell>>>,
    pub(crate) empty: Empty,
}

/// What is said where there is nothing: and what to do next.
pub(crate) struct Empty {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    pub(crate) command: String,
}

/// A value as a page says it.
#[derive(Clone)]
pub(crate) enum Cell {
    Badge(&'static str, String),
    Code(String),
    /// In full, with copy.
    Id(String),
    Link(String, String),
    /// The main link of a row: an id.
    Main(String, String),
    Moment(Moment),
    /// A name that links lead to: its id in the page, and itself.
    Named(String, String),
    Soft(String),
    /// A button that sends a test to `[notify.NAME]`.
    Test(String),
    Text(String),
    /// A short word of code, never broken in two.
    Word(String),
}

impl Sheet {
    /// A place in a list at `path`: how to get on, if there is more, and back to its begin.
    pub(crate) fn turns(mut self, path: &str, asked: &Asked, next: Option<&str>) -> Sheet {
        self.first = asked.is_later().then(|| asked.first(path));
        self.next = next.map(|after| asked.next(path, after));
        self
    }

    pub(crate) fn new(shell: Shell, heading: impl Into<String>, lead: impl Into<String>) -> Sheet {
        Sheet {
            shell,
            kicker: "",
            heading: heading.into(),
            lead: lead.into(),
            filters: Vec::new(),
            links: Vec::new(),
            parts: Vec::new(),
            next: None,
            first: None,
            scripts: Vec::new(),
        }
    }

    /// Says what sort of thing it is.
    pub(crate) fn of(self, kicker: &'static str) -> Sheet {
        Sheet { kicker, ..self }
    }

    /// With one more part.
    pub(crate) fn part(mut self, part: Part) -> Sheet {
        self.parts.push(part);
        self
    }

    /// With one more part, if there is one.
    pub(crate) fn maybe(mut self, part: Option<Part>) -> Sheet {
        self.parts.extend(part);
        self
    }

    /// With a field of the filter form.
    pub(crate) fn filter(mut self, filter: Filter) -> Sheet {
        self.filters.push(filter);
        self
    }

    /// With a script.
    pub(crate) fn script(mut self, name: &'static str) -> Sheet {
        self.scripts.push(name);
        self
    }

    /// The page.
    ///
    /// # Errors
    /// [`Trouble`] if the template fails: a bug.
    pub(crate) fn show(mut self) -> Result<Response, Trouble> {
        if self.parts.iter().any(|part| !part.live.is_empty()) {
            self.scripts.push("live.js");
        }
        layout::page(&self)
    }
}

impl Part {
    pub(crate) fn new(id: impl Into<String>, title: impl Into<String>, body: Body) -> Part {
        Part {
            id: id.into(),
            title: title.into(),
            note: String::new(),
            live: "",
            body,
        }
    }

    /// With a sentence below the heading.
    pub(crate) fn note(self, note: impl Into<String>) -> Part {
        let note = note.into();
        Part { note, ..self }
    }

    /// Refreshed when one of these changes.
    pub(crate) fn live(self, live: &'static str) -> Part {
        Part { live, ..self }
    }
}

impl List {
    /// The heading of column `at`.
    pub(crate) fn head(&self, at: usize) -> &'static str {
        self.heads.get(at).copied().unwrap_or_default()
    }
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    pub(crate) fn soft(text: impl Into<String>) -> Cell {
        Cell::Soft(text.into())
    }

    pub(crate) fn code(text: impl Into<String>) -> Cell {
        Cell::Code(text.into())
    }

    pub(crate) fn id(text: impl Into<String>) -> Cell {
        Cell::Id(text.into())
    }

    pub(crate) fn link(href: impl Into<String>, text: impl Into<String>) -> Cell {
        Cell::Link(href.into(), text.into())
    }

    pub(crate) fn at(millis: i64, now: Timestamp) -> Cell {
        Cell::Moment(Moment::of(millis, now))
    }

    /// A time that may be unknown.
    pub(crate) fn maybe_at(millis: Option<i64>, now: Timestamp, unknown: &str) -> Cell {
        match millis {
            Some(millis) => Cell::at(millis, now),
            None => Cell::soft(unknown),
        }
    }
}

impl Filter {
    pub(crate) fn text(
        name: &'static str,
        label: &'static str,
        value: &str,
        hint: &'static str,
    ) -> Filter {
        Filter {
            name,
            label,
            value: value.to_owned(),
            hint,
            choices: Vec::new(),
        }
    }

    pub(crate) fn choice(
        name: &'static str,
        label: &'static str,
        value: &str,
        choices: &[(&'static str, &'static str)],
    ) -> Filter {
        Filter {
            choices: choices.to_vec(),
            ..Filter::text(name, label, value, "")
        }
    }
}

/// Facts, without those that are not known.
pub(crate) fn facts<const N: usize>(rows: [(&str, Vec<Cell>); N]) -> Vec<(String, Vec<Cell>)> {
    let known = rows.into_iter().filter(|(_, cells)| !cells.is_empty());
    known
        .map(|(label, cells)| (label.to_owned(), cells))
        .collect()
}
