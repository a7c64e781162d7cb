//! A file in the making: private, beside the file it will be and under a name nobody can foresee, so that no link lies in
//! wait there. It is gone when dropped, whatever went wrong.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::workspace::new_private;

/// The draft of one file.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    target: PathBuf,
    /// Its content.
    pub(crate) file: File,
}

impl Draft {
    /// An empty draft of `target`, in the same directory.
    ///
    /// # Errors
    /// If `target` has no name or the draft cannot be made.
    pub(crate) fn of(target: &Path) -> io::Result<Self> {
        let mut suffix = [0; 8];
        SystemRandom::new()
            .fill(&mut suffix)
            .map_err(|_unspecified| io::Error::other("the OS gives no randomness"))?;
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(format!(".{:016x}", u64::from_ne_bytes(suffix)));
        let path = target.with_file_name(name);
        Ok(Self {
            file: new_private(&path)?,
            path,
            target: target.to_owned(),
        })
    }

    /// Gives it the name, over what has it now.
    ///
    /// # Errors
    /// If the name cannot be had.
    pub(crate) fn replace(self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)
    }

    /// Gives it the name once it is on the disk; a file that has the name already is a failure.
    ///
    /// # Errors
    /// If the name is taken or cannot be had.
    pub(crate) fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        // A link, unlike a rename, does not replace what is there.
        fs::hard_link(&self.path, &self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; else nothing better can be done here.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::Draft;

    #[test]
    fn leaves_the_file_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.stint");
        let draft = |content: &[u8]| {
            let mut draft = Draft::of(&target).unwrap();
            draft.file.write_all(content).unwrap();
            draft
        };
        let left = || fs::read_dir(dir.path()).unwrap().count();
        drop(draft(b"cut off"));
        assert_eq!(left(), 0);
        draft(b"one").publish().unwrap();
        assert!(draft(b"two").publish().is_err(), "replaced what was there");
        assert_eq!(fs::read(&target).unwrap(), b"one");
        draft(b"three").replace().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"three");
        assert_eq!(left(), 1);
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(draft(b"").path, draft(b"").path, "foreseeable");
    }
}
