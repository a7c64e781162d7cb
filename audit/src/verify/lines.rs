//! Lines of bounded length, in bounded memory, each ended by LF.

use std::io::{BufRead, Read};

/// The lines of one file.
pub(super) struct Lines<'a> {
    file: Box<dyn BufRead + 'a>,
    max: u64,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Lines of at most `max` bytes, LF not counted.
    pub(super) fn new(file: Box<dyn BufRead + 'a>, max: usize) -> Self {
        Self {
            file,
            max: u64::try_from(max).unwrap_or(u64::MAX - 1),
            line: Vec::with_capacity(1_024),
        }
    }

    /// The next line without its LF; `None` at the end.
    ///
    /// # Errors
    /// In words: the line is too long, has no LF, or the file cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, String> {
        self.line.clear();
        let mut part = self.file.by_ref().take(self.max + 1);
        let read = part.read_until(b'\n', &mut self.line);
        read.map_err(|error| format!("cannot be read on: {error}"))?;
        match self.line.split_last() {
            None => Ok(None),
            Some((b'\n', line)) => Ok(Some(line)),
            Some(_) if crate::tree::count(&self.line) > self.max => {
                Err(format!("has a line of more than {} bytes", self.max))
            }
            Some(_) => Err("is cut off within a line".to_owned()),
        }
    }
}
