//! Files that are on disk, under their names, when a call returns; whole, or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A new file; one that is there is left as it is, and is an error.
pub(crate) fn create(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let aside = aside(path, mode, bytes)?;
    // A link, unlike a rename, replaces nothing. Not every file system has them.
    let named = match fs::hard_link(&aside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            return fs::rename(&aside, path).and_then(|()| sync_folder(path));
        }
        linked => linked,
    };
    fs::remove_file(&aside)?;
    named?;
    sync_folder(path)
}

/// A reader sees what was there before, or all of `bytes`.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::rename(aside(path, 0o644, bytes)?, path)?;
    sync_folder(path)
}

/// Another name in the same folder.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to)
}

/// A file and its name.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_folder(path)
}

/// The bytes on disk, under a name that nobody reads.
fn aside(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".new");
    let aside = path.with_file_name(name);
    match fs::remove_file(&aside) {
        // Of a run that was cut off: its mode may have been another one.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(aside)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
