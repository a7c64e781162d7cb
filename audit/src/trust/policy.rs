//! C2SP `tlog-policy`: known logs, known witnesses, and which of them must have cosigned (LEDGER.md §13).
//!
//! The file is read strictly. A witness can count towards the quorum in one way only, and nothing can refer to
//! what comes later, so evaluation is one pass in the order of the file and always ends.

use std::collections::{BTreeMap, BTreeSet};
use std::str;

use crate::cosign::{self, CosignerKey};
use crate::note::{KeyError, Note, NoteError, VerifierKey};

/// Largest policy file, bytes: 32 logs, witnesses and groups are asked for, and this is ten times that, even if
/// all keys were ML-DSA-44.
pub const MAX_BYTES: usize = 1 << 20;

/// A trust policy. Made by [`Self::parse`] alone, so its quorum can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// `log VKEY [URL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is, for whoever reads it.
    pub url: Option<String>,
}

/// `witness NAME VKEY [URL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// What the policy calls it; the key has a name of its own.
    pub name: String,
    /// Its key.
    pub key: CosignerKey,
    /// Its submission prefix (tlog-witness).
    pub url: Option<String>,
}

/// `group NAME all|any|K MEMBER…`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// Places in the lists above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// A line of a policy that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct PolicyError {
    /// The line, from 1; what is missing is missed at the last.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A key that is none, or of a type that such a line cannot have.
    #[error("`{word}` is no key: {source}")]
    Key {
        /// As written, cut to 64 characters.
        word: String,
        /// Why.
        source: KeyError,
    },
    /// The same public key as an earlier line's.
    #[error("the same public key as `{0}` has")]
    DuplicateKey(String),
    /// A name that an earlier line took.
    #[error("`{0}` is defined already")]
    DuplicateName(String),
    /// Neither `log`, `witness`, `group` nor `quorum`.
    #[error("a line begins with `log`, `witness`, `group`, `quorum` or `#`, not with `{0}`")]
    Keyword(String),
    /// A byte that no policy holds.
    #[error("byte {0:#04x} is not allowed")]
    Byte(u8),
    /// More than [`MAX_BYTES`].
    #[error("more than {MAX_BYTES} bytes")]
    Size,
    /// The words do not fit the form.
    #[error("the form is `{0}`")]
    Form(&'static str),
    /// A member that is in a group already, this one or another.
    #[error("`{0}` is a member of a group already")]
    Member(String),
    /// There is no quorum line.
    #[error("no `quorum` line")]
    NoQuorum,
    /// `none` where it means nothing.
    #[error("`none` can be a quorum, not a name or a member")]
    None,
    /// A second quorum line.
    #[error("a second `quorum` line")]
    SecondQuorum,
    /// Not 1 to the number of members.
    #[error("`{word}` of {members} members: say `all`, `any` or a number from 1 to {members}")]
    Threshold {
        /// As written.
        word: String,
        /// How many members follow.
        members: usize,
    },
    /// A name that no line before defines.
    #[error("`{0}` is not defined before this line")]
    Undefined(String),
    /// The last line has no line feed: the file may be cut off.
    #[error("the last line does not end in a line feed")]
    Unended,
    /// A word that is not UTF-8.
    #[error("a word that is not UTF-8")]
    Utf8,
}

/// How a checkpoint stands with a policy. Names are those of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation<'p> {
    /// Whether the quorum is met.
    pub met: bool,
    /// Witnesses that cosigned and can count towards the quorum.
    pub by: Vec<&'p Witness>,
    /// Witnesses that could count towards the quorum and did not cosign.
    pub missing: Vec<&'p Witness>,
    /// Witnesses that cosigned and are outside of the quorum.
    pub beside: Vec<&'p Witness>,
    /// The newest time of any of these cosignatures, seconds since 1970 UTC.
    pub newest: Option<u64>,
}

impl Policy {
    /// Reads a policy file. Names are compared byte for byte; words must be UTF-8, comments need not.
    ///
    /// # Errors
    /// The first line that is not as tlog-policy has it.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let mut draft = Draft::default();
        let mut last = 1;
        if file.len() > MAX_BYTES {
            return Err(Fault::Size.on(last));
        }
        for (line, text) in (1..).zip(file.split_inclusive(|byte| *byte == b'\n')) {
            last = line;
            draft.line(text).map_err(|fault| fault.on(line))?;
        }
        let quorum = draft.quorum.ok_or_else(|| Fault::NoQuorum.on(last))?;
        Ok(Self {
            logs: draft.logs,
            witnesses: draft.witnesses,
            groups: draft.groups,
            quorum,
        })
    }

    /// The logs, in the order of the file.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the order of the file, inside of the quorum and outside.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the quorum asks for any witness at all: `quorum none` does not.
    #[must_use]
    pub const fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Checks the cosignatures of `note` and evaluates the quorum. The log's own signature is not looked at.
    ///
    /// # Errors
    /// As [`cosign::verify`].
    pub fn judge(&self, note: &Note) -> Result<Evaluation<'_>, NoteError> {
        let keys: Vec<_> = self.witnesses.iter().map(|one| one.key.clone()).collect();
        let good = cosign::verify(note, &keys)?;
        let newest = good.iter().map(|one| one.time).max();
        let evaluation = self.evaluate(|key| good.iter().any(|one| one.by == key));
        Ok(Evaluation {
            newest,
            ..evaluation
        })
    }

    /// Evaluates the quorum for the witnesses of whom `cosigned` says that they cosigned.
    #[must_use]
    pub fn evaluate(&self, cosigned: impl Fn(&CosignerKey) -> bool) -> Evaluation<'_> {
        let did: Vec<bool> = self
            .witnesses
            .iter()
            .map(|one| cosigned(&one.key))
            .collect();
        let reach = self.reach();
        let mut evaluation = Evaluation {
            met: self.met(&did),
            by: Vec::new(),
            missing: Vec::new(),
            beside: Vec::new(),
            newest: None,
        };
        for ((index, witness), did) in (0..).zip(&self.witnesses).zip(did) {
            match (reach.contains(&Member::Witness(index)), did) {
                (true, true) => evaluation.by.push(witness),
                (true, false) => evaluation.missing.push(witness),
                (false, true) => evaluation.beside.push(witness),
                (false, false) => {}
            }
        }
        evaluation
    }

    /// Whether the quorum is met by the witnesses that `did`. A group refers to what is before it, so one pass
    /// in order has every answer when it is needed.
    fn met(&self, did: &[bool]) -> bool {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let holds = |groups: &[bool], member: &Member| match *member {
            Member::Witness(index) => did.get(index).copied().unwrap_or(false),
            Member::Group(index) => groups.get(index).copied().unwrap_or(false),
        };
        for group in &self.groups {
            let members = group.members.iter();
            let count = members.filter(|member| holds(&groups, member)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|quorum| holds(&groups, &quorum))
    }

    /// All that the quorum refers to, itself included.
    fn reach(&self) -> BTreeSet<Member> {
        let mut reach: BTreeSet<_> = self.quorum.into_iter().collect();
        for (index, group) in self.groups.iter().enumerate().rev() {
            if reach.contains(&Member::Group(index)) {
                reach.extend(&group.members);
            }
        }
        reach
    }
}

impl Fault {
    const fn on(self, line: usize) -> PolicyError {
        PolicyError { line, fault: self }
    }
}

/// A policy while it is read.
#[derive(Default)]
struct Draft {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: BTreeMap<String, Member>,
    /// Members of any group.
    used: BTreeSet<Member>,
    quorum: Option<Option<Member>>,
}

impl Draft {
    fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\n").ok_or(Fault::Unended)?;
        let control = |byte: &&u8| (**byte < 0x20 && **byte != b'\t') || **byte == 0x7f;
        if let Some(byte) = line.iter().find(control) {
            return Err(Fault::Byte(*byte));
        }
        // Space and tab alone separate words: Unicode's other spaces belong to them.
        let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        if words.first().is_none_or(|word| word.starts_with(b"#")) {
            return Ok(());
        }
        let words: Result<Vec<_>, _> = words.into_iter().map(str::from_utf8).collect();
        let Ok(words) = words else {
            return Err(Fault::Utf8);
        };
        match words.as_slice() {
            ["log", rest @ ..] => self.log(rest),
            ["witness", rest @ ..] => self.witness(rest),
            ["group", rest @ ..] => self.group(rest),
            ["quorum", rest @ ..] => self.quorum(rest),
            [word, ..] => Err(Fault::Keyword(cut(word))),
            [] => Ok(()),
        }
    }

    fn log(&mut self, words: &[&str]) -> Result<(), Fault> {
        let (vkey, url) = match words {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some((*url).to_owned())),
            _ => return Err(Fault::Form("log VKEY [URL]")),
        };
        let key: VerifierKey = vkey.parse().map_err(|source| no_key(vkey, source))?;
        let same = |log: &&Log| log.key.public_key() == key.public_key();
        if let Some(log) = self.logs.iter().find(same) {
            return Err(Fault::DuplicateKey(log.key.name().to_owned()));
        }
        self.logs.push(Log { key, url });
        Ok(())
    }

    fn witness(&mut self, words: &[&str]) -> Result<(), Fault> {
        let (name, vkey, url) = match words {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some((*url).to_owned())),
            _ => return Err(Fault::Form("witness NAME VKEY [URL]")),
        };
        let name = self.fresh(name)?;
        let key: CosignerKey = vkey.parse().map_err(|source| no_key(vkey, source))?;
        let same = |witness: &&Witness| witness.key.is_duplicate(&key);
        if let Some(witness) = self.witnesses.iter().find(same) {
            return Err(Fault::DuplicateKey(witness.name.clone()));
        }
        let place = Member::Witness(self.witnesses.len());
        self.names.insert(name.clone(), place);
        self.witnesses.push(Witness { name, key, url });
        Ok(())
    }

    fn group(&mut self, words: &[&str]) -> Result<(), Fault> {
        let [name, threshold, members @ ..] = words else {
            return Err(Fault::Form("group NAME all|any|K MEMBER…"));
        };
        let name = self.fresh(name)?;
        let threshold = threshold_of(threshold, members.len())?;
        let mut places = Vec::with_capacity(members.len());
        for member in members {
            let place = self.find(member)?;
            if !self.used.insert(place) {
                return Err(Fault::Member((*member).to_owned()));
            }
            places.push(place);
        }
        let place = Member::Group(self.groups.len());
        self.names.insert(name, place);
        self.groups.push(Group {
            threshold,
            members: places,
        });
        Ok(())
    }

    fn quorum(&mut self, words: &[&str]) -> Result<(), Fault> {
        let [name] = words else {
            return Err(Fault::Form("quorum NAME|none"));
        };
        let quorum = match *name {
            "none" => None,
            name => Some(self.find(name)?),
        };
        match self.quorum.replace(quorum) {
            Some(_) => Err(Fault::SecondQuorum),
            None => Ok(()),
        }
    }

    /// A name that nothing has yet.
    fn fresh(&self, name: &str) -> Result<String, Fault> {
        match self.find(name) {
            Ok(_) => Err(Fault::DuplicateName(name.to_owned())),
            Err(Fault::Undefined(_)) => Ok(name.to_owned()),
            Err(fault) => Err(fault),
        }
    }

    /// What is called `name`.
    fn find(&self, name: &str) -> Result<Member, Fault> {
        if name == "none" {
            return Err(Fault::None);
        }
        let place = self.names.get(name).copied();
        place.ok_or_else(|| Fault::Undefined(cut(name)))
    }
}

fn threshold_of(word: &str, members: usize) -> Result<usize, Fault> {
    let refused = || Fault::Threshold {
        word: cut(word),
        members,
    };
    let threshold = match word {
        "all" => Some(members),
        "any" => Some(1),
        word => decimal(word),
    };
    let threshold = threshold.ok_or_else(refused)?;
    if members == 0 {
        return Err(Fault::Form("group NAME all|any|K MEMBER…"));
    }
    if (1..=members).contains(&threshold) {
        Ok(threshold)
    } else {
        Err(refused())
    }
}

fn decimal(word: &str) -> Option<usize> {
    crate::checkpoint::decimal(word)?.try_into().ok()
}

fn no_key(word: &str, source: KeyError) -> Fault {
    let word = cut(word);
    Fault::Key { word, source }
}

/// As much of a word as belongs into a sentence.
fn cut(word: &str) -> String {
    word.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
