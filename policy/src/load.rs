//! A directory, or its bytes, to a policy set: whole or not at all, with everything that is wrong said at once. The one
//! file here that opens files; it follows no links and reads nothing it does not know.

mod flat;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::de::IgnoredAny;
use thiserror::Error;
use unicode_normalization::is_nfc;

use crate::annotation::{Annotations, Kind, is_invisible};
use crate::engine::schema::Refused;
use crate::engine::{Ground, Parsed, Source, Store};
use crate::lint::{self, Finding};
use crate::rule::{Effect, Gate, Place, Rule};
use crate::set::{Files, PolicySet};
use flat::Language;

/// A set that cannot take force.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file or the directory cannot be read.
    #[error("cannot read `{}`", .path.escape_debug())]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The set is wrong; all findings, errors and warnings, by file and line.
    #[error("{}", Findings(.0))]
    Refused(Vec<Finding>),
}

impl LoadError {
    /// What is wrong with the set; empty if it could not be read at all.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            LoadError::Io { .. } => &[],
            LoadError::Refused(findings) => findings,
        }
    }
}

struct Findings<'a>(&'a [Finding]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.0.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{finding}")?;
        }
        Ok(())
    }
}

impl PolicySet {
    /// Reads a policy directory: `schema.cedarschema`, `*.cedar`, `entities.json`, `tests/*.toml`, `policy.toml`. Names
    /// that begin with a dot are left alone.
    ///
    /// # Errors
    /// [`LoadError::Io`] if something cannot be read, [`LoadError::Refused`] with all findings if the set is wrong.
    pub fn load(dir: &Path) -> Result<PolicySet, LoadError> {
        let mut reader = Reader {
            files: Files::new(),
            findings: Vec::new(),
            left: lint::MOST_BYTES,
        };
        reader.directory(dir, "")?;
        PolicySet::build(reader.files, reader.findings)
    }

    /// The same from bytes: replicas, replays, bundles.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with all findings.
    pub fn from_files(files: Files) -> Result<PolicySet, LoadError> {
        PolicySet::build(files, Vec::new())
    }

    /// With what was said of the files where they came from.
    fn build(files: Files, mut findings: Vec<Finding>) -> Result<PolicySet, LoadError> {
        let texts = texts(&files, &mut findings);
        let serial = serial(&texts, &mut findings);
        let compiled = compile(&texts, &mut findings);
        let errors = |findings: &[Finding]| findings.iter().any(Finding::is_error);
        let (Some(engine), false) = (compiled, errors(&findings)) else {
            findings.sort();
            return Err(LoadError::Refused(findings));
        };
        let set = PolicySet::new(files, serial, engine);
        let report = set.test();
        findings.extend(report.findings());
        findings.extend(lint::untested(set.engine(), &report));
        findings.sort();
        match errors(&findings) {
            true => Err(LoadError::Refused(findings)),
            false => Ok(set.with_warnings(findings)),
        }
    }

    /// The set without files: valid, and it denies all.
    ///
    /// # Errors
    /// [`LoadError::Refused`], if the schema that is compiled in were wrong.
    pub fn empty() -> Result<PolicySet, LoadError> {
        PolicySet::from_files(Files::new())
    }
}

/// Files on their way in.
#[derive(Debug)]
struct Reader {
    files: Files,
    findings: Vec<Finding>,
    /// Bytes the set may still have.
    left: u64,
}

impl Reader {
    fn directory(&mut self, dir: &Path, prefix: &str) -> Result<(), LoadError> {
        let entries = fs::read_dir(dir).map_err(unreadable(dir))?;
        for entry in entries {
            let path = entry.map_err(unreadable(dir))?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.starts_with('.') {
                continue;
            }
            let meta = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
            let place = format!("{prefix}{name}");
            if meta.is_dir() && prefix.is_empty() && name == "tests" {
                self.directory(&path, "tests/")?;
            } else if !meta.is_file() {
                self.say(&place, "P17", NOT_PLAIN);
            } else if !is_ours(&place) {
                self.say(&place, "P17", FOREIGN);
            } else {
                self.file(&path, place)?;
            }
        }
        Ok(())
    }

    /// Judges what it has open, whatever has the name by now.
    fn file(&mut self, path: &Path, place: String) -> Result<(), LoadError> {
        let file = open(path).map_err(unreadable(path))?;
        let meta = file.metadata().map_err(unreadable(path))?;
        if !meta.is_file() {
            self.say(&place, "P17", NOT_PLAIN);
            return Ok(());
        }
        match writers(&meta) {
            Writers::Everybody => self.say(&place, "P17", "everybody can write to it: chmod o-w"),
            Writers::Group => self.say(&place, "P58", "its group can write to it: chmod g-w"),
            Writers::Owner => {}
        }
        let mut bytes = Vec::new();
        file.take(self.left + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable(path))?;
        match self.left.checked_sub(bytes.len() as u64) {
            None => self.say(&place, "P16", "the set is over 4 MiB"),
            Some(left) => {
                self.left = left;
                self.files.insert(place, bytes);
            }
        }
        Ok(())
    }

    fn say(&mut self, path: &str, rule: &'static str, text: &str) {
        self.findings
            .push(Finding::error(rule, Place::start(path), text));
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// Opens no link, and waits for no pipe: it may have been a plain file a moment ago.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

/// Who can write to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writers {
    Everybody,
    Group,
    Owner,
}

#[cfg(unix)]
fn writers(meta: &fs::Metadata) -> Writers {
    use std::os::unix::fs::MetadataExt;
    match meta.mode() {
        mode if mode & 0o002 != 0 => Writers::Everybody,
        // A user's private group has the user's number and nobody else: a checkout under umask 002.
        mode if mode & 0o020 != 0 && meta.gid() != meta.uid() => Writers::Group,
        _ => Writers::Owner,
    }
}

#[cfg(not(unix))]
fn writers(_: &fs::Metadata) -> Writers {
    Writers::Owner
}

fn is_ours(path: &str) -> bool {
    let plain = |name: &str| {
        !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match path.split_once('/') {
        Some(("tests", name)) => plain(name) && name.ends_with(".toml"),
        Some(_) => false,
        None => matches!(path, SCHEMA | ENTITIES | SETTINGS) || (plain(path) && is_policy(path)),
    }
}

fn is_policy(path: &str) -> bool {
    path.ends_with(".cedar") && path != "prove.cedar"
}

/// One readable file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

fn texts<'a>(files: &'a Files, findings: &mut Vec<Finding>) -> Vec<Text<'a>> {
    let mut texts = Vec::new();
    let mut refuse = |rule, path: &str, text: &str| {
        findings.push(Finding::error(rule, Place::start(path), text))
    };
    if files
        .iter()
        .map(|(_, bytes)| bytes.len() as u64)
        .sum::<u64>()
        > lint::MOST_BYTES
    {
        refuse("P16", "", "the set is over 4 MiB");
        return texts;
    }
    for (path, bytes) in files.iter() {
        match std::str::from_utf8(bytes) {
            _ if !is_ours(path) => refuse("P17", path, FOREIGN),
            Err(_) => refuse("P17", path, "not UTF-8"),
            Ok(text) if !is_nfc(text) => refuse(
                "P17",
                path,
                "not in normal form C: equal letters must be equal bytes",
            ),
            Ok(text) => texts.push(Text { path, text }),
        }
    }
    for Text { path, text } in &texts {
        let hidden = |c: &char| is_invisible(*c) && !matches!(c, '\n' | '\r' | '\t');
        if let Some((offset, c)) = text.char_indices().find(|(_, c)| hidden(c)) {
            let said = format!(
                "{} is invisible or reorders what is read",
                c.escape_unicode()
            );
            findings.push(Finding::error("P17", Place::at(path, text, offset), said));
        }
    }
    texts
}

fn serial(texts: &[Text<'_>], findings: &mut Vec<Finding>) -> Option<u64> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        serial: u64,
    }
    let Text { path, text } = texts.iter().find(|text| text.path == SETTINGS)?;
    match toml::from_str::<Settings>(text) {
        Ok(Settings { serial }) if serial >= 1 => Some(serial),
        Ok(_) => {
            findings.push(Finding::error(
                "P19",
                Place::start(path),
                "a serial is at least 1",
            ));
            None
        }
        Err(error) => {
            let place = Place::at(path, text, error.span().map_or(0, |span| span.start));
            findings.push(Finding::error("P19", place, error.message()));
            None
        }
    }
}

fn compile(texts: &[Text<'_>], findings: &mut Vec<Finding>) -> Option<crate::engine::Engine> {
    let find = |path: &'static str, other| {
        texts
            .iter()
            .find(|text| text.path == path)
            .copied()
            .unwrap_or(Text { path, text: other })
    };
    let schema = find(SCHEMA, "");
    let deep: Vec<Finding> = texts.iter().filter_map(too_deep).collect();
    if !deep.is_empty() {
        findings.extend(deep);
        return None;
    }
    let ground = match Ground::read(schema.text) {
        Ok(ground) => ground,
        Err(refused) => {
            findings.push(refused_at(refused, schema));
            return None;
        }
    };
    lint::schema(&ground.declared, schema, findings);
    let store = entities(&ground, find(ENTITIES, "[]"), findings);
    let (mut sources, mut files) = (Vec::new(), Vec::new());
    for text in texts.iter().filter(|text| is_policy(text.path)) {
        match Source::read(text.text) {
            Err(refused) => findings.extend(
                refused
                    .into_iter()
                    .map(|refused| refused_at(refused, *text)),
            ),
            Ok(source) => {
                let rules = source
                    .parsed()
                    .map(|(parsed, offset)| rule(parsed, *text, offset, findings))
                    .collect();
                sources.push((source, rules));
                files.push(*text);
            }
        }
    }
    for (file, number, refused) in ground.validate(&sources) {
        let at = sources
            .get(file)
            .and_then(|(_, rules): &(_, Vec<Rule>)| rules.get(number))
            .map(|rule| rule.place.clone());
        let said = files.get(file).map(|text| refused_at(refused, *text));
        findings.extend(said.map(|said| {
            if said.place().line > 1 {
                said
            } else {
                said.moved(at)
            }
        }));
    }
    let rules: Vec<&Rule> = sources.iter().flat_map(|(_, rules)| rules).collect();
    let store = store?;
    lint::rules(&rules, &ground.declared, &store, findings);
    if findings.iter().any(Finding::is_error) {
        return None;
    }
    let engine = ground.compile(store, sources);
    lint::index(&engine, findings);
    Some(engine)
}

/// P16, of a file that Cedar must not be given.
fn too_deep(Text { path, text }: &Text<'_>) -> Option<Finding> {
    let language = match *path {
        SCHEMA => Language::Schema,
        path if is_policy(path) => Language::Policy,
        _ => return None,
    };
    let (offset, said) = flat::excess(text, language)?;
    Some(Finding::error("P16", Place::at(path, text, offset), said))
}

fn entities(
    ground: &Ground,
    Text { path, text }: Text<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Store> {
    // Read twice: for the place of what is no JSON, and by Cedar, which refuses a member that is written twice.
    let refused = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => match ground.entities(text) {
            Ok(store) => {
                lint::entities(&store, &ground.declared, path, findings);
                return Some(store);
            }
            Err(refused) => Finding::error(refused.rule, Place::start(path), refused.text),
        },
        Err(error) => {
            let place = Place {
                file: path.to_owned(),
                line: error.line(),
                column: error.column(),
            };
            Finding::error("P03", place, error.to_string())
        }
    };
    findings.push(refused);
    None
}

/// A policy as Stint reads it, with what its id and annotations lack.
pub(crate) fn rule(
    parsed: &Parsed,
    Text { path, text }: Text<'_>,
    offset: usize,
    findings: &mut Vec<Finding>,
) -> Rule {
    let place = Place::at(path, text, offset);
    let asks_for_votes = parsed
        .annotations
        .keys()
        .any(|key| key == "approvers" || key == "quorum");
    let gate = parsed
        .clauses
        .last()
        .and_then(Gate::read)
        .filter(|_| parsed.effect == Effect::Forbid);
    let kind = match parsed.effect {
        Effect::Permit => Kind::Permit,
        Effect::Forbid if gate.is_some() || asks_for_votes => Kind::Gate,
        Effect::Forbid => Kind::Forbid,
    };
    let (annotations, faults) = Annotations::read(&parsed.annotations, kind);
    for fault in faults {
        let rule = if fault.starts_with("`@expires` has no place") {
            "P13"
        } else {
            "P02"
        };
        findings.push(Finding::error(rule, place.clone(), fault));
    }
    if !parsed.annotations.contains_key("id") {
        findings.push(Finding::error(
            "P01",
            place.clone(),
            "a policy has an `@id`",
        ));
    }
    Rule {
        id: parsed.annotations.get("id").cloned().unwrap_or_default(),
        effect: parsed.effect,
        principal: parsed.principal.clone(),
        actions: parsed.actions.clone(),
        resource: parsed.resource.clone(),
        clauses: parsed.clauses.clone(),
        annotations,
        gate,
        place,
    }
}

fn refused_at(refused: Refused, Text { path, text }: Text<'_>) -> Finding {
    Finding::error(
        refused.rule,
        Place::at(path, text, refused.offset.unwrap_or_default()),
        refused.text,
    )
}

const SCHEMA: &str = "schema.cedarschema";
const ENTITIES: &str = "entities.json";
const SETTINGS: &str = "policy.toml";
const NOT_PLAIN: &str = "neither a regular file nor `tests/`; links are not followed";
const FOREIGN: &str = "not a file of a policy set: those are schema.cedarschema, *.cedar, entities.json, tests/*.toml and policy.toml";

#[cfg(test)]
mod tests;
