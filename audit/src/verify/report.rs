//! What an auditor reads: verdicts, a summary, an exit code. For programs by serde, for people by Display.

use std::fmt;

use serde::Serialize;

use super::Options;
use super::walk::Walked;
use crate::bundle::Manifest;

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// Cannot be told from what is here, and was asked.
    Incomplete,
    /// Nobody asked.
    NotAsked,
}

/// The questions, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// Headers and bodies have their form, bodies hash to headers.
    Bytes,
    /// Nothing is missing, moved or unlinked.
    Chain,
    /// The entries give the root.
    Root,
    /// A pinned key signed it.
    Signature,
    /// It extends what was seen before.
    Append,
    /// Enough witnesses cosigned.
    Witnesses,
    /// Promised bodies are here or erased.
    Complete,
    /// It is not old.
    Fresh,
    /// Votes are signed by passkeys.
    Passkeys,
    /// Policy gives the same outcomes again.
    Replay,
    /// The credential's grant is in the range.
    Credential,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The question.
    pub name: Name,
    /// The answer.
    pub state: State,
    /// Whether the bundle is not verified without it.
    pub required: bool,
    /// The answer in words.
    pub text: String,
    /// The first bad seq, where one can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// All answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The origin of the log; empty if the bundle could not be read.
    pub log: String,
    /// The first seq.
    pub from: u64,
    /// The seq after the last.
    pub to: u64,
    /// The size of the checkpoint.
    pub size: u64,
    /// The `ts` of the first entry, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ts: Option<u64>,
    /// The `ts` of the last entry, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ts: Option<u64>,
    /// One verdict for each question.
    pub verdicts: Vec<Verdict>,
    /// 0 verified, 8 a verdict failed, 9 a required one cannot be told.
    pub exit: u8,
    /// The last line for people.
    pub summary: String,
}

impl Report {
    pub(super) fn new(
        manifest: &Manifest,
        walked: &Walked<'_>,
        mut verdicts: Vec<Verdict>,
        options: &Options,
    ) -> Self {
        for verdict in &mut verdicts {
            verdict.required = options.all || verdict.name.is_required(verdict.state);
        }
        let (exit, summary) = conclude(&verdicts);
        Self {
            log: manifest.log.clone(),
            from: manifest.from,
            to: manifest.to,
            size: manifest.size,
            first_ts: walked.first_ts,
            last_ts: walked.last_ts,
            verdicts,
            exit,
            summary,
        }
    }

    /// What was handed over is no bundle, or not a whole one.
    #[must_use]
    pub fn unreadable(fault: &str) -> Self {
        let mut bytes = Check::default();
        bytes.fail(None, fault.to_owned());
        let mut verdict = bytes.verdict(Name::Bytes, String::new());
        verdict.required = true;
        let verdicts = vec![verdict];
        let (exit, summary) = conclude(&verdicts);
        Self {
            log: String::new(),
            from: 0,
            to: 0,
            size: 0,
            first_ts: None,
            last_ts: None,
            verdicts,
            exit,
            summary,
        }
    }
}

impl Verdict {
    /// The answer to a question that was not looked into.
    pub(super) fn open(name: Name, state: State, text: impl Into<String>) -> Self {
        Self {
            name,
            state,
            required: false,
            text: text.into(),
            seq: None,
        }
    }
}

/// Exit code and last line (LEDGER.md §11).
fn conclude(verdicts: &[Verdict]) -> (u8, String) {
    let mut open = verdicts
        .iter()
        .filter(|verdict| verdict.state == State::Incomplete);
    let failed = verdicts
        .iter()
        .find(|verdict| verdict.state == State::Failed);
    if let Some(failed) = failed {
        return (8, format!("failed    {}", failed.text));
    }
    if let Some(first) = open.clone().find(|verdict| verdict.required) {
        return (9, format!("undecided {}", first.text));
    }
    let summary = match (open.next(), open.count()) {
        (None, _) => "verified".to_owned(),
        (Some(_), 0) => "verified  1 item to look at".to_owned(),
        (Some(_), more) => format!("verified  {} items to look at", more + 1),
    };
    (0, summary)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.log.is_empty() {
            write!(f, "bundle    log {}, ", Plain(&self.log))?;
            match self.to.checked_sub(1).filter(|last| *last >= self.from) {
                Some(last) => {
                    let n = self.to - self.from;
                    write!(f, "entries {} to {last} ({n})", self.from)?;
                }
                None => f.write_str("no entries")?,
            }
            if let (Some(first), Some(last)) = (self.first_ts, self.last_ts) {
                write!(f, ", {} to {}", date(first), date(last))?;
            }
            writeln!(f)?;
        }
        for verdict in &self.verdicts {
            writeln!(f, "{verdict}")?;
        }
        writeln!(f, "{}", Plain(&self.summary))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Failed => "failed",
            State::Incomplete => "incomplete",
            State::NotAsked => "not asked",
        };
        write!(
            f,
            "{state:<9} {:<10} {}",
            self.name.as_str(),
            Plain(&self.text)
        )
    }
}

impl Name {
    /// Whether a bundle is not verified without it, where not all are asked for.
    const fn is_required(self, state: State) -> bool {
        match self {
            Self::Bytes | Self::Chain | Self::Root | Self::Signature | Self::Complete => true,
            Self::Append | Self::Witnesses | Self::Fresh | Self::Credential => {
                !matches!(state, State::NotAsked)
            }
            Self::Passkeys | Self::Replay => false,
        }
    }

    /// The word that names the verdict.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Chain => "chain",
            Self::Root => "root",
            Self::Signature => "signature",
            Self::Append => "append",
            Self::Witnesses => "witnesses",
            Self::Complete => "complete",
            Self::Fresh => "fresh",
            Self::Passkeys => "passkeys",
            Self::Replay => "replay",
            Self::Credential => "credential",
        }
    }
}

/// Text from a bundle, with its control characters escaped: a log must not steer a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// What is known about one verdict so far: the first fault, the first doubt.
#[derive(Debug, Clone, Default)]
pub(super) struct Check {
    failed: Option<Fault>,
    doubted: Option<Fault>,
}

#[derive(Debug, Clone)]
struct Fault {
    seq: Option<u64>,
    text: String,
}

impl Check {
    pub(super) fn fail(&mut self, seq: Option<u64>, text: String) {
        self.failed.get_or_insert(Fault { seq, text });
    }

    pub(super) fn doubt(&mut self, seq: Option<u64>, text: String) {
        self.doubted.get_or_insert(Fault { seq, text });
    }

    pub(super) const fn holds(&self) -> bool {
        self.failed.is_none()
    }

    /// The first bad seq, if a failure names one.
    pub(super) fn fault(&self) -> Option<u64> {
        self.failed.as_ref()?.seq
    }

    /// The verdict; `text` says what holds.
    pub(super) fn verdict(self, name: Name, text: String) -> Verdict {
        let (state, seq, text) = match (self.failed, self.doubted) {
            (Some(fault), _) => (State::Failed, fault.seq, fault.text),
            (None, Some(doubt)) => (State::Incomplete, doubt.seq, doubt.text),
            (None, None) => (State::Ok, None, text),
        };
        Verdict {
            name,
            state,
            required: false,
            text,
            seq,
        }
    }
}

/// `2026-07-01` of milliseconds since 1970 UTC.
fn date(ms: u64) -> String {
    let (year, month, day) = civil(ms / 86_400_000);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-07-01 14:36:10 UTC` of milliseconds since 1970 UTC.
pub(super) fn moment(ms: u64) -> String {
    let s = ms / 1_000 % 86_400;
    let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{} {h:02}:{m:02}:{s:02} UTC", date(ms))
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar. Counts years from 1
/// March, so that a leap day is the last of its year; 719,468 days lie between 0000-03-01 and 1970-01-01.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year + (month <= 2) as u64;
    (year, month, day - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{Check, Name, date, moment};

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (1_795_305_600_000, "2026-11-22"),
            (4_107_542_400_000, "2100-03-01"),
            (1_767_225_599_999, "2025-12-31"),
        ] {
            assert_eq!(date(ms), text);
        }
        assert_eq!(moment(1_767_225_599_999), "2025-12-31 23:59:59 UTC");
    }

    #[test]
    fn a_bundle_cannot_steer_the_terminal() {
        let verdict = Check::default().verdict(Name::Chain, "\u{1b}[2J\nok".to_owned());
        assert_eq!(verdict.to_string(), r"ok        chain      \u{1b}[2J\nok");
    }
}
