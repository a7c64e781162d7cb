//! An event is one line, whatever is in it.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes each event as one line: control, format and bidi characters inside of it become `\u{…}`, so that nothing a
/// stranger sent begins a line of its own, moves a terminal's cursor or reads backwards.
#[derive(Debug)]
pub(super) struct OneEach<W>(W);

impl<W> OneEach<W> {
    pub(super) fn new(inner: W) -> OneEach<W> {
        OneEach(inner)
    }
}

impl<W: Write> Write for OneEach<W> {
    /// One call is one event: that is how `tracing-subscriber` writes, and `tracing-appender` hands it on.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        match legible(line) {
            Cow::Borrowed(_) => self.0.write_all(event)?,
            Cow::Owned(clean) => writeln!(self.0, "{clean}")?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `text` as one line that moves no cursor: what must not be in it becomes `\u{…}`.
pub(crate) fn legible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_illegal) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        match is_illegal(character) {
            true => clean.extend(character.escape_unicode()),
            false => clean.push(character),
        }
    }
    Cow::Owned(clean)
}

/// ESC too: `tracing-subscriber` escapes it in messages but not in values, so there are no colours either.
pub(crate) fn is_illegal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    use super::OneEach;

    /// What a subscriber as `install` makes it writes for one event.
    fn written(format: &str, stranger: &str) -> String {
        let sink = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&sink);
        let writer = move || OneEach::new(Sink(Arc::clone(&taken)));
        let builder = tracing_subscriber::fmt().with_writer(writer);
        let log = || tracing::info!(%stranger, quoted = stranger, "{stranger}");
        if format == "json" {
            let subscriber = builder.json().flatten_event(true).finish();
            tracing::subscriber::with_default(subscriber, log);
        } else {
            let subscriber = builder.compact().with_ansi(false).finish();
            tracing::subscriber::with_default(subscriber, log);
        }
        String::from_utf8(sink.lock().unwrap().clone()).unwrap()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_a_stranger_says_makes_a_line_or_moves_a_cursor() {
        let stranger = "a\nERROR forged\r\u{1b}[2Jb\u{7}\u{85}\u{202e}c\u{2028}d\u{200b}";
        for format in ["json", "text"] {
            let text = written(format, stranger);
            assert!(text.ends_with('\n'), "{text:?}");
            assert_eq!(text.lines().count(), 1, "{text}");
            let line = text.trim_end_matches('\n');
            let bad = line.chars().find(|c| c.is_control() || !c.is_ascii());
            assert_eq!(bad, None, "{line:?}");
            assert!(line.contains("forged"), "{line}");
        }
    }

    #[test]
    fn an_honest_line_is_written_as_it_is() {
        let mut out = Vec::new();
        OneEach::new(&mut out)
            .write_all("grüße, 世界 \"x\"\n".as_bytes())
            .unwrap();
        assert_eq!(out, "grüße, 世界 \"x\"\n".as_bytes());
    }
}
