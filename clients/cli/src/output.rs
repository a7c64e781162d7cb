//! The one door for text. stdout is data; stderr is talk, each line of it a state word in column 1 and the rest in
//! column 11. No colour, no redraw, nothing that depends on a terminal.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;
use stint_client::Error;

use crate::args::Global;
use crate::exit::Exit;

/// What stderr gets to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volume {
    Errors,
    Normal,
    Details,
}

/// The door.
#[derive(Debug)]
pub(crate) struct Output {
    volume: Volume,
}

/// Why a verb failed, what to say about it, and with what to exit.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// State word and text; a text may have several lines.
    pub(crate) lines: Vec<(&'static str, String)>,
}

impl Failure {
    /// One `error` line.
    pub(crate) fn new(exit: Exit, text: impl Display) -> Self {
        Self {
            exit,
            lines: vec![("error", text.to_string())],
        }
    }

    /// Adds a line.
    pub(crate) fn and(mut self, word: &'static str, text: impl Display) -> Self {
        self.lines.push((word, text.to_string()));
        self
    }

    /// What to do now.
    pub(crate) fn next(self, text: impl Display) -> Self {
        self.and("next", text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        crate::words::failure(&error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Bug, error)
    }
}

impl Output {
    pub(crate) const fn new(global: &Global) -> Self {
        let volume = match (global.quiet, global.verbose) {
            (true, _) => Volume::Errors,
            (false, true) => Volume::Details,
            (false, false) => Volume::Normal,
        };
        Self { volume }
    }

    /// Data, byte for byte.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub(crate) fn data(&self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes.as_ref())?;
        Ok(out.flush()?)
    }

    /// One line of JSON, with the name of its schema.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub(crate) fn json(&self, schema: &str, value: &impl Serialize) -> Result<(), Failure> {
        let bug = |error| Failure::new(Exit::Bug, error);
        let mut json = serde_json::to_value(value).map_err(bug)?;
        if let Some(members) = json.as_object_mut() {
            members.insert("schema".into(), schema.into());
        }
        self.data(format!("{json}\n"))
    }

    /// An answer in words, as data: the lines of talk, on stdout.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub(crate) fn answer(&self, lines: &[(&'static str, String)]) -> Result<(), Failure> {
        self.data(
            lines
                .iter()
                .map(|(word, text)| line(word, text))
                .collect::<String>(),
        )
    }

    /// A line of talk.
    pub(crate) fn talk(&self, word: &str, text: impl Display) {
        if self.volume != Volume::Errors {
            say(&line(word, &text.to_string()));
        }
    }

    /// A line for `-v`.
    pub(crate) fn detail(&self, word: &str, text: impl Display) {
        if self.volume == Volume::Details {
            say(&line(word, &text.to_string()));
        }
    }

    /// A failure; always heard.
    pub(crate) fn failure(&self, failure: &Failure) {
        say(&failure
            .lines
            .iter()
            .map(|(word, text)| line(word, text))
            .collect::<String>());
    }
}

/// A line of talk: word, column 11, text; a text's further lines stand under its first.
pub(crate) fn line(word: &str, text: &str) -> String {
    let text: Vec<String> = text.lines().map(escape).collect();
    format!("{word:<9} {}\n", text.join("\n          "))
}

/// A line of a table, safe for a terminal.
pub(crate) fn plain(line: &str) -> String {
    format!("{}\n", escape(line.trim_end_matches('\n')))
}

/// Control characters from afar do not reach a terminal.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn say(text: &str) {
    // Talk that nobody can hear is no reason to fail.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_text_begins_in_column_11() {
        assert_eq!(line("denied", "no\nway"), "denied    no\n          way\n");
        assert_eq!(line("signature", "x"), "signature x\n");
    }

    #[test]
    fn an_escape_sequence_from_afar_is_defused() {
        assert_eq!(line("error", "a\x1b[2Jb"), "error     a\u{fffd}[2Jb\n");
    }
}
