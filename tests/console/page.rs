//! A page as a reader finds it: its tags and texts, well formed or refused.

use std::collections::{BTreeMap, BTreeSet};

use stint_tests::TestBroker;
use stint_tests::answer::Answer;
use stint_tests::people::Person;

/// One tag.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The text up to its end, tags left out.
    pub(crate) text: String,
}

/// A page, read.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) tags: Vec<Tag>,
    pub(crate) html: String,
}

const VOID: [&str; 8] = ["br", "hr", "img", "input", "link", "meta", "use", "path"];

impl Page {
    /// Reads a page that must be one: 200, our headers, one `h1`, tags that close, ids that are there once.
    pub(crate) fn of(answer: &Answer) -> Page {
        assert_eq!(answer.status, 200, "{}", answer.text());
        headers(answer);
        let page = Page::read(answer.text());
        assert_eq!(page.all("h1").count(), 1);
        assert_eq!(page.all("main").count(), 1);
        let mut ids = BTreeSet::new();
        for id in page.tags.iter().filter_map(|tag| tag.attributes.get("id")) {
            assert!(ids.insert(id.clone()), "id {id} stands there twice");
        }
        for tag in &page.tags {
            for (name, value) in &tag.attributes {
                assert!(
                    !name.starts_with("on") && name != "style",
                    "<{} {name}>",
                    tag.name
                );
                if name == "aria-labelledby" || name == "aria-describedby" || name == "for" {
                    for named in value.split_whitespace() {
                        assert!(
                            ids.contains(named),
                            "{name} names {named}, which is not there"
                        );
                    }
                }
            }
            let inline = tag.name == "script" && !tag.attributes.contains_key("src");
            assert!(!inline && tag.name != "style", "<{}> inline", tag.name);
        }
        page
    }

    fn read(html: String) -> Page {
        let mut tags: Vec<Tag> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut rest = html.as_str();
        while let Some((text, after)) = rest.split_once('<') {
            for at in &open {
                tags[*at].text.push_str(&unescaped(text));
            }
            let (tag, after) = after.split_once('>').unwrap();
            rest = after;
            if tag.starts_with('!') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                let at = open
                    .pop()
                    .unwrap_or_else(|| panic!("</{name}> closes nothing"));
                assert_eq!(tags[at].name, name, "closed by </{name}>");
                continue;
            }
            let (name, attributes) = parsed(tag);
            let is_void = VOID.contains(&name.as_str()) || tag.ends_with('/');
            tags.push(Tag {
                name,
                attributes,
                text: String::new(),
            });
            if !is_void {
                open.push(tags.len() - 1);
            }
        }
        assert!(
            open.is_empty(),
            "left open: {:?}",
            open.iter().map(|at| &tags[*at].name).collect::<Vec<_>>()
        );
        Page { tags, html }
    }

    /// All tags of this name.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(move |tag| tag.name == name)
    }

    /// The text of the page's heading.
    pub(crate) fn heading(&self) -> String {
        self.all("h1").next().unwrap().text.clone()
    }

    /// The text of the element with this id.
    pub(crate) fn part(&self, id: &str) -> String {
        let found = self
            .tags
            .iter()
            .find(|tag| tag.attributes.get("id").is_some_and(|it| it == id));
        found.unwrap_or_else(|| panic!("no #{id}")).text.clone()
    }

    /// Whether a link leads there.
    pub(crate) fn links_to(&self, href: &str) -> bool {
        self.all("a")
            .any(|tag| tag.attributes.get("href").is_some_and(|it| it == href))
    }

    /// Where links lead that begin so.
    pub(crate) fn links(&self, start: &str) -> Vec<String> {
        let hrefs = self.all("a").filter_map(|tag| tag.attributes.get("href"));
        hrefs
            .filter(|href| href.starts_with(start))
            .cloned()
            .collect()
    }
}

fn parsed(tag: &str) -> (String, BTreeMap<String, String>) {
    let tag = tag.trim_end_matches('/').trim();
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes = BTreeMap::new();
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (attribute, after) = rest.split_at(end);
        let value = match after.strip_prefix("=\"") {
            Some(value) => {
                let (value, after) = value.split_once('"').unwrap();
                rest = after;
                unescaped(value)
            }
            None => {
                rest = after;
                String::new()
            }
        };
        let twice = attributes.insert(attribute.to_owned(), value);
        assert!(twice.is_none(), "{attribute} twice in <{tag}>");
    }
    (name.to_owned(), attributes)
}

fn unescaped(text: &str) -> String {
    let text = text
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let text = text
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&quot;", "\"");
    text.replace("&#38;", "&").replace("&amp;", "&")
}

/// What every page leaves with, to the letter (UX.md §8).
fn headers(answer: &Answer) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                  require-trusted-types-for 'script'; trusted-types stint";
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

/// The page at `path`.
pub(crate) async fn page(person: &Person<'_>, path: &str) -> Page {
    Page::of(&person.get(path).await)
}

/// The page at `path`, once it says `text`: the index is a moment behind the commit.
pub(crate) async fn until(person: &Person<'_>, path: &str, text: &str) -> Page {
    for _ in 0..100 {
        let page = page(person, path).await;
        if page.html.contains(text) {
            return page;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{path} never says {text}");
}

/// A grant on staging.
pub(crate) async fn granted(broker: &TestBroker) -> String {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    caller
        .ask("deploy", "Environment::staging/web")
        .x509()
        .await
        .granted()
        .grant
}

/// An ask for production, on hold.
pub(crate) async fn held(broker: &TestBroker) -> String {
    let caller = broker.ci("acme/web").on("refs/heads/main");
    caller
        .ask("deploy", "Environment::prod/web")
        .x509()
        .await
        .held()
        .request
}

/// A branch that asks for production: its decision's id.
pub(crate) async fn denied(broker: &TestBroker) -> String {
    let caller = broker.ci("acme/web").on("refs/heads/fix-12");
    caller
        .ask("deploy", "Environment::prod/web")
        .x509()
        .await
        .refused(stint_wire::Code::Denied)
        .decision
        .unwrap()
}
