//! Annotations: a closed vocabulary (POLICY.md §4), read once at load. Where several permits decide, the strictest wins.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::Detail;
use crate::query::{Binding, CredentialKind, Want};
use crate::time::{Seconds, Timestamp};

/// What the annotations of one policy say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub(crate) owner: Option<String>,
    pub(crate) contact: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) advice: Option<String>,
    pub(crate) max_ttl: Option<Seconds>,
    pub(crate) credential: Option<BTreeSet<CredentialKind>>,
    pub(crate) bind: Option<BTreeSet<Binding>>,
    pub(crate) expires: Option<Timestamp>,
    /// As written: a Group's name, or `resource.<attr>`.
    pub(crate) approvers: Option<String>,
    pub(crate) quorum: Option<u8>,
    pub(crate) approval_ttl: Option<Seconds>,
    pub(crate) request_ttl: Option<Seconds>,
    pub(crate) single_use: bool,
}

/// Where an annotation may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Forbid,
    Gate,
    Permit,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Forbid => "a forbid that is no gate",
            Kind::Gate => "a gate",
            Kind::Permit => "a permit",
        }
    }
}

impl Annotations {
    /// Reads all of them; what cannot be read is left out and said.
    pub(crate) fn read(raw: &BTreeMap<String, String>, kind: Kind) -> (Annotations, Vec<String>) {
        let mut read = Annotations::default();
        let faults = raw
            .iter()
            .filter_map(|(key, value)| read.set(key, value, kind).err());
        let faults = faults.collect();
        (read, faults)
    }

    fn set(&mut self, key: &str, value: &str, kind: Kind) -> Result<(), String> {
        let places = VOCABULARY
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, places)| *places);
        let Some(places) = places else {
            return Err(unknown(key));
        };
        if !places.contains(&kind) {
            return Err(format!("`@{key}` has no place on {}", kind.as_str()));
        }
        let bad = |wanted: &str| format!("`@{key}` takes {wanted}, not `{value}`");
        match key {
            "id" if is_id(value) => {}
            "id" => return Err(bad("1 to 63 of a-z, 0-9 and `-`, not first")),
            "owner" => {
                self.owner = Some(
                    group(value)
                        .ok_or_else(|| bad("a Group such as Group::\"sre\""))?
                        .to_owned(),
                )
            }
            "contact" => {
                self.contact =
                    Some(text(value, 100).ok_or_else(|| bad("a line of at most 100 characters"))?)
            }
            "reason" => {
                self.reason =
                    Some(text(value, 200).ok_or_else(|| bad("a line of at most 200 characters"))?)
            }
            "advice" => {
                self.advice =
                    Some(text(value, 200).ok_or_else(|| bad("a line of at most 200 characters"))?)
            }
            "max_ttl" => self.max_ttl = Some(between(value, 30).ok_or_else(|| bad("30s to 24h"))?),
            "credential" => {
                self.credential =
                    Some(subset(value, &KINDS).ok_or_else(|| bad("some of `x509,jwt`"))?)
            }
            "bind" => {
                self.bind =
                    Some(subset(value, &BINDINGS).ok_or_else(|| bad("some of `dpop,mtls`"))?)
            }
            "expires" => {
                self.expires =
                    Some(Timestamp::parse_rfc3339(value).map_err(|error| error.to_string())?)
            }
            "approvers" => self.approvers = Some(value.to_owned()),
            "quorum" => {
                self.quorum = Some(
                    value
                        .parse()
                        .ok()
                        .filter(|n| (1..=16).contains(n))
                        .ok_or_else(|| bad("1 to 16"))?,
                )
            }
            "approval_ttl" => {
                self.approval_ttl = Some(between(value, 60).ok_or_else(|| bad("1m to 24h"))?)
            }
            "request_ttl" => {
                self.request_ttl = Some(between(value, 60).ok_or_else(|| bad("1m to 24h"))?)
            }
            "single_use" if value.is_empty() => self.single_use = true,
            _ => return Err(bad("no value")),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> String {
    let known = VOCABULARY.iter().map(|(known, _)| *known);
    match nearest(key, known) {
        Some(near) => format!("there is no annotation `@{key}`; did you mean `@{near}`?"),
        None => format!("there is no annotation `@{key}`"),
    }
}

/// The name that differs least from `word`, if two edits or fewer lead there.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (distance(word, name), name))
        .filter(|(edits, _)| *edits <= 2)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's: how many letters to add, drop or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((b, above_left), above) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            let changed = above_left + usize::from(a != *b);
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn is_id(value: &str) -> bool {
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&value.len())
        && value.bytes().all(|b| byte(b) || b == b'-')
        && value.bytes().next().is_some_and(byte)
}

/// `sre` of `Group::"sre"` or `Stint::Group::"sre"`.
pub(crate) fn group(value: &str) -> Option<&str> {
    let bare = value.strip_prefix("Stint::").unwrap_or(value);
    let name = bare.strip_prefix("Group::\"")?.strip_suffix('"')?;
    (!name.is_empty() && !name.contains(['"', '\\'])).then_some(name)
}

fn text(value: &str, most: usize) -> Option<String> {
    let count = value.chars().count();
    ((1..=most).contains(&count) && !value.chars().any(is_invisible)).then(|| value.to_owned())
}

/// Control characters, and those that reorder or hide text.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

fn between(value: &str, least: u32) -> Option<Seconds> {
    let seconds = Seconds::parse(value).ok()?;
    (Seconds::new(least)..=LONGEST)
        .contains(&seconds)
        .then_some(seconds)
}

fn subset<T: Copy + Ord>(value: &str, words: &[(&str, T)]) -> Option<BTreeSet<T>> {
    let member = |word: &str| {
        words
            .iter()
            .find(|(known, _)| *known == word.trim())
            .map(|(_, member)| *member)
    };
    value.split(',').map(member).collect()
}

/// Limits of several permits together.
#[derive(Debug, Default)]
pub(crate) struct Strictest<'a> {
    /// Each `@max_ttl` with the id of its permit.
    pub(crate) max_ttl: Vec<(&'a str, Seconds)>,
    credential: Option<BTreeSet<CredentialKind>>,
    bind: Option<BTreeSet<Binding>>,
}

impl<'a> Strictest<'a> {
    pub(crate) fn add(&mut self, id: &'a str, permit: &Annotations) {
        self.max_ttl.extend(permit.max_ttl.map(|ttl| (id, ttl)));
        intersect(&mut self.credential, permit.credential.as_ref());
        intersect(&mut self.bind, permit.bind.as_ref());
    }

    /// Whether what is wanted is allowed: the kind among the kinds, a token's proof among the proofs. An answer without
    /// a credential is not limited; a certificate's request proves its key always.
    pub(crate) fn admit(&self, want: &Want) -> Result<(), Detail> {
        let kinds = self.credential.as_ref();
        let contradiction = kinds.is_some_and(BTreeSet::is_empty)
            || self.bind.as_ref().is_some_and(BTreeSet::is_empty);
        match want.kind {
            CredentialKind::None => Ok(()),
            _ if contradiction => Err(Detail::Kind),
            kind if kinds.is_some_and(|kinds| !kinds.contains(&kind)) => Err(Detail::Kind),
            CredentialKind::Jwt
                if self
                    .bind
                    .as_ref()
                    .is_some_and(|bind| !bind.contains(&want.bind)) =>
            {
                Err(Detail::ProofRequired)
            }
            CredentialKind::Jwt | CredentialKind::X509 => Ok(()),
        }
    }
}

fn intersect<T: Ord + Copy>(all: &mut Option<BTreeSet<T>>, more: Option<&BTreeSet<T>>) {
    if let Some(more) = more {
        *all = Some(match all.take() {
            Some(all) => all.intersection(more).copied().collect(),
            None => more.clone(),
        });
    }
}

const EVERYWHERE: &[Kind] = &[Kind::Forbid, Kind::Gate, Kind::Permit];
const PERMIT: &[Kind] = &[Kind::Permit];
const GATE: &[Kind] = &[Kind::Gate];

/// POLICY.md §4.
const VOCABULARY: [(&str, &[Kind]); 14] = [
    ("id", EVERYWHERE),
    ("owner", EVERYWHERE),
    ("contact", EVERYWHERE),
    ("reason", EVERYWHERE),
    ("advice", EVERYWHERE),
    ("max_ttl", PERMIT),
    ("credential", PERMIT),
    ("bind", PERMIT),
    ("expires", PERMIT),
    ("approvers", GATE),
    ("quorum", GATE),
    ("approval_ttl", GATE),
    ("request_ttl", GATE),
    ("single_use", GATE),
];

const KINDS: [(&str, CredentialKind); 2] =
    [("x509", CredentialKind::X509), ("jwt", CredentialKind::Jwt)];
const BINDINGS: [(&str, Binding); 2] = [("dpop", Binding::Dpop), ("mtls", Binding::Mtls)];

/// POLICY.md §4: no annotation asks for more than a day.
const LONGEST: Seconds = Seconds::new(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], kind: Kind) -> (Annotations, Vec<String>) {
        let raw = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Annotations::read(&raw, kind)
    }

    #[test]
    fn reads_the_vocabulary() {
        let (permit, faults) = read(
            &[
                ("id", "a-1"),
                ("owner", r#"Group::"sre""#),
                ("max_ttl", "15m"),
                ("credential", "x509, jwt"),
                ("bind", "dpop"),
                ("expires", "2027-01-01T00:00:00Z"),
            ],
            Kind::Permit,
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(permit.owner.as_deref(), Some("sre"));
        assert_eq!(permit.max_ttl, Some(Seconds::new(900)));
        let (gate, faults) = read(
            &[
                ("quorum", "2"),
                ("approvers", "resource.owner"),
                ("single_use", ""),
            ],
            Kind::Gate,
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((gate.quorum, gate.single_use), (Some(2), true));
    }

    #[test]
    fn refuses_strangers_misplaced_ones_and_bad_values() {
        for (key, value, kind, fault) in [
            (
                "max_tll",
                "15m",
                Kind::Permit,
                "there is no annotation `@max_tll`; did you mean `@max_ttl`?",
            ),
            (
                "colour",
                "red",
                Kind::Permit,
                "there is no annotation `@colour`",
            ),
            (
                "max_ttl",
                "15m",
                Kind::Forbid,
                "`@max_ttl` has no place on a forbid that is no gate",
            ),
            (
                "quorum",
                "2",
                Kind::Permit,
                "`@quorum` has no place on a permit",
            ),
            (
                "max_ttl",
                "10s",
                Kind::Permit,
                "`@max_ttl` takes 30s to 24h, not `10s`",
            ),
            (
                "max_ttl",
                "25h",
                Kind::Permit,
                "`@max_ttl` takes 30s to 24h, not `25h`",
            ),
            (
                "quorum",
                "17",
                Kind::Gate,
                "`@quorum` takes 1 to 16, not `17`",
            ),
            (
                "credential",
                "x509,x508",
                Kind::Permit,
                "`@credential` takes some of `x509,jwt`, not `x509,x508`",
            ),
            (
                "single_use",
                "yes",
                Kind::Gate,
                "`@single_use` takes no value, not `yes`",
            ),
            (
                "id",
                "-a",
                Kind::Permit,
                "`@id` takes 1 to 63 of a-z, 0-9 and `-`, not first, not `-a`",
            ),
            (
                "reason",
                "\u{202e}x",
                Kind::Forbid,
                "`@reason` takes a line of at most 200 characters, not `\u{202e}x`",
            ),
            (
                "owner",
                "sre",
                Kind::Forbid,
                "`@owner` takes a Group such as Group::\"sre\", not `sre`",
            ),
        ] {
            assert_eq!(read(&[(key, value)], kind).1, [fault]);
        }
    }

    #[test]
    fn the_strictest_of_several_permits_wins() {
        let want = |kind, bind| Want {
            kind,
            bind,
            profile: "default".into(),
            audience: None,
            ttl: Seconds::new(60),
        };
        let both = read(
            &[("credential", "x509,jwt"), ("bind", "dpop,mtls")],
            Kind::Permit,
        )
        .0;
        let jwt = read(&[("credential", "jwt"), ("bind", "dpop")], Kind::Permit).0;
        let x509 = read(&[("credential", "x509")], Kind::Permit).0;
        let check = |permits: &[&Annotations], kind, bind, expected| {
            let mut all = Strictest::default();
            permits.iter().for_each(|permit| all.add("p", permit));
            assert_eq!(all.admit(&want(kind, bind)), expected);
        };
        use {
            Binding::{Bearer, Dpop, Key, Mtls},
            CredentialKind::{Jwt, X509},
        };
        check(&[&both], Jwt, Dpop, Ok(()));
        check(&[&both, &jwt], Jwt, Mtls, Err(Detail::ProofRequired));
        check(&[&both], Jwt, Bearer, Err(Detail::ProofRequired));
        check(&[&both], X509, Key, Ok(()));
        check(&[&both, &jwt], X509, Key, Err(Detail::Kind));
        check(&[&jwt, &x509], Jwt, Dpop, Err(Detail::Kind));
        check(&[&jwt, &x509], CredentialKind::None, Bearer, Ok(()));
        check(&[], Jwt, Bearer, Ok(()));
    }
}
