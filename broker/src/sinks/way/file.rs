//! One event a line, at the end of a file of ours that may be rotated away at any time.
//!
//! A delivery is on disk when it is done: written, then fsync. The file is opened again when its name leads to another
//! one or to none (logrotate, with or without `copytruncate`; SIGHUP is not needed and does no harm). A line that a crash
//! cut off was never confirmed: it is taken away before the same entries are written again, so that each line is whole.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Trouble;
use crate::sinks::format::Event;

#[derive(Debug)]
pub(in crate::sinks) struct File {
    path: PathBuf,
    open: Option<Open>,
}

/// A descriptor, and what it led to.
#[derive(Debug)]
struct Open {
    file: fs::File,
    is: (u64, u64),
}

impl File {
    pub(super) fn new(path: PathBuf) -> File {
        File { path, open: None }
    }

    pub(super) fn reopen(&mut self) {
        self.open = None;
    }

    pub(super) async fn append(&mut self, events: Vec<Event>) -> Result<(), Trouble> {
        let (path, open) = (self.path.clone(), self.open.take());
        // Not given back on an error: the next delivery opens, and so mends, the file.
        let written = tokio::task::spawn_blocking(move || append(&path, open, &events));
        self.open = Some(written.await.map_err(io::Error::other)??);
        Ok(())
    }
}

fn append(path: &Path, open: Option<Open>, events: &[Event]) -> Result<Open, Trouble> {
    let mut lines = Vec::new();
    for event in events {
        lines.extend_from_slice(&event.line);
        lines.push(b'\n');
    }
    let mut open = match open {
        Some(open) if open.is_at(path) => open,
        Some(_) | None => Open::at(path)?,
    };
    open.file.write_all(&lines)?;
    open.file.sync_data()?;
    Ok(open)
}

impl Open {
    /// Opens the file or makes it, for its owner alone, and takes away a line without an end.
    fn at(path: &Path) -> Result<Open, Trouble> {
        let is_new = !path.exists();
        // NONBLOCK: a pipe must not hold us up before it is refused.
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                    Trouble::NoFile("a symbolic link")
                }
                Some(_) | None => error.into(),
            })?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Trouble::NoFile("no plain file"));
        }
        mend(&mut file, metadata.len())?;
        if is_new && let Some(folder) = path.parent() {
            // The name is as durable as what is written under it.
            fs::File::open(folder)?.sync_all()?;
        }
        let is = (metadata.dev(), metadata.ino());
        Ok(Open { file, is })
    }

    /// Whether the name still leads here.
    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == self.is)
    }
}

/// Cuts the file after its last line end.
fn mend(file: &mut fs::File, length: u64) -> io::Result<()> {
    let (mut end, mut block) = (length, vec![0; BLOCK]);
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = usize::try_from(end - start).unwrap_or(BLOCK);
        let Some(part) = block.get_mut(..size) else {
            break;
        };
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    match end < length {
        true => file.set_len(end),
        false => Ok(()),
    }
}

/// Longer than any line without a body.
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use stint_policy::Timestamp;

    use super::*;
    use crate::sinks::format::Severity;

    fn event(line: &str) -> Event {
        Event {
            line: line.as_bytes().to_vec(),
            kind: "granted".to_owned(),
            at: Timestamp::from_millis(0),
            severity: Severity::Info,
        }
    }

    fn write(path: &Path, open: Option<Open>, line: &str) -> Open {
        append(path, open, &[event(line)]).unwrap()
    }

    #[test]
    fn appends_lines_to_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let open = write(&path, None, "{1}");
        write(&path, Some(open), "{2}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{1}\n{2}\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_rotated_or_removed_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let open = write(&path, None, "{1}");
        fs::rename(&path, dir.path().join("events.1")).unwrap();
        let open = write(&path, Some(open), "{2}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{2}\n");
        fs::remove_file(&path).unwrap();
        let open = write(&path, Some(open), "{3}");
        // copytruncate
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        write(&path, Some(open), "{4}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{4}\n");
    }

    #[test]
    fn a_line_that_was_cut_off_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 * BLOCK);
        for (was, is) in [
            ("{1}\n{2", "{1}\n{9}\n".to_owned()),
            ("{2", "{9}\n".to_owned()),
            ("{1}\n", "{1}\n{9}\n".to_owned()),
            (&format!("{{1}}\n{long}"), "{1}\n{9}\n".to_owned()),
            (&long, "{9}\n".to_owned()),
            (&format!("{long}\n"), format!("{long}\n{{9}}\n")),
        ] {
            let path = dir.path().join("events");
            fs::write(&path, was).unwrap();
            write(&path, None, "{9}");
            assert!(fs::read_to_string(&path).unwrap() == is);
        }
    }

    #[test]
    fn links_and_pipes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("events"), &link).unwrap();
        let refused = append(&link, None, &[event("{1}")]);
        assert!(matches!(refused, Err(Trouble::NoFile("a symbolic link"))));
        assert!(!dir.path().join("events").exists());
        let refused = append(Path::new("/dev/null"), None, &[event("{1}")]);
        assert!(matches!(refused, Err(Trouble::NoFile("no plain file"))));
        let refused = append(&dir.path().join("no/where"), None, &[event("{1}")]);
        assert!(matches!(refused, Err(Trouble::Io(_))));
    }
}
