//! What the URL of a page asks for: filters and the place in a list. Unknown words are left aside, for a link from
//! elsewhere may have some; what cannot be read is as if it were not there.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use stint_wire::{Code, Problem};

use crate::http::problem::Failure;
use crate::store::lists::After;
use crate::telemetry::lines::legible;

/// The parameters of a page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(BTreeMap<String, String>);

impl Asked {
    /// Reads a query; of a parameter that comes twice the last counts.
    pub(crate) fn read(query: Option<&str>) -> Asked {
        let pairs = query.unwrap_or_default().split('&').take(MOST);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().ok()?;
            let value = value.trim();
            let kept = !value.is_empty() && value.len() <= LONGEST;
            kept.then(|| (name.to_owned(), value.to_owned()))
        };
        Asked(pairs.filter_map(pair).collect())
    }

    /// The same for programs: what is not among `known`, or is empty or too long, is refused.
    ///
    /// # Errors
    /// `invalid_field`.
    pub(crate) fn strictly(query: Option<&str>, known: &[&str]) -> Result<Asked, Failure> {
        let wrong = |name: &str| {
            let known = known.join("`, `");
            let detail =
                format!("`{name}` is not asked here, or has no value; there are `{known}`");
            Failure::from(Problem::new(Code::InvalidField, detail))
        };
        let asked = Asked::read(query);
        for pair in query.unwrap_or_default().split('&') {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            let is_read = known.contains(&name) && asked.0.contains_key(name);
            if !pair.is_empty() && !is_read {
                return Err(wrong(&legible(name)));
            }
        }
        Ok(asked)
    }

    /// Refuses a word that is none of these.
    ///
    /// # Errors
    /// `invalid_field`.
    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Result<(), Failure> {
        if words.contains(&self.get(name)) {
            return Ok(());
        }
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !word.is_empty())
            .collect();
        let detail = format!("`{name}` is `{}`", words.join("`, `"));
        Err(Problem::new(Code::InvalidField, detail).into())
    }

    /// The command that prints the same list.
    pub(crate) fn command(&self, what: &str) -> String {
        let plain = |value: &str| {
            value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte))
        };
        let pairs = self.0.iter().filter(|(_, value)| plain(value));
        let pairs = pairs.map(|(name, value)| format!(" {name}={value}"));
        format!("stint ls {what}{}", pairs.collect::<String>())
    }

    /// A parameter; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A parameter that is there.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Whether this is not the first page.
    pub(crate) fn is_later(&self) -> bool {
        self.0.contains_key(AFTER)
    }

    /// The place in a list that is sorted by time, newest first.
    pub(crate) fn after(&self) -> After {
        self.place().unwrap_or_else(After::newest)
    }

    /// The same, if there is one that can be read.
    pub(crate) fn place(&self) -> Option<After> {
        let (at, id) = self.get(AFTER).split_once('.')?;
        Some(After {
            at: at.parse().ok()?,
            id: id.to_owned(),
        })
    }

    /// The number to go on from, in a list sorted by it.
    pub(crate) fn after_number(&self) -> Option<u64> {
        self.get(AFTER).parse().ok()
    }

    /// The text to go on from.
    pub(crate) fn after_text(&self) -> &str {
        self.get(AFTER)
    }

    /// The same page, from elsewhere on.
    pub(crate) fn next(&self, path: &str, after: &str) -> String {
        let mut words = self.0.clone();
        words.insert(AFTER.to_owned(), after.to_owned());
        Asked(words).url(path)
    }

    /// The same page, from its start.
    pub(crate) fn first(&self, path: &str) -> String {
        let mut words = self.0.clone();
        words.remove(AFTER);
        Asked(words).url(path)
    }

    /// A path with these parameters.
    pub(crate) fn url(&self, path: &str) -> String {
        let pairs = self.0.iter().map(|(name, value)| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            format!("{name}={value}")
        });
        let query: Vec<String> = pairs.collect();
        match query.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", query.join("&")),
        }
    }
}

/// Parameters of one page, and the length of one: what is more is no filter.
const MOST: usize = 32;
const LONGEST: usize = 1_024;
const AFTER: &str = "after";

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn filters_live_in_the_url() {
        let asked = Asked::read(Some(
            "state=pending&caller=spiffe%3A%2F%2Facme.dev%2Fa&x&after=17.req_1",
        ));
        assert_eq!(asked.get("state"), "pending");
        assert_eq!(asked.get("caller"), "spiffe://acme.dev/a");
        let after = asked.after();
        assert_eq!((after.at, &*after.id), (17, "req_1"));
        assert_eq!(
            asked.first("/requests"),
            "/requests?caller=spiffe%3A%2F%2Facme%2Edev%2Fa&state=pending"
        );
        assert!(Asked::read(asked.next("/requests", "9.b").strip_prefix("/requests?")).is_later());
    }
}
