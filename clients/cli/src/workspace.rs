//! The files of a run: a private directory in memory, one consistent set behind one symlink, gone when the run is.
//!
//! ```text
//! BASE/                  0700, ours, on tmpfs where there is one
//! BASE/lock              held while directories come and go
//! BASE/run-PID-N/        0700, flocked for as long as its run lives
//! BASE/run-PID-N/1/      a set: cert.pem key.pem bundle.pem jwt expires_at, 0600 each
//! BASE/run-PID-N/current -> 1, swapped by one rename: a reader always sees a matching set
//! BASE/session-HASH.key  the session key for a token that a source gives only once
//! BASE/dev-kubernetes.token
//! ```
//!
//! A run that was killed leaves its directory behind without its lock, and the next run sweeps it, as well as it can: what
//! cannot be removed is nothing a run has to wait for. A lock dies with its
//! process whatever pid namespace that lived in, which a pid and a start time do not tell across containers.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, statfs};
use rustix::process::geteuid;

/// `f_type` of tmpfs and ramfs (statfs(2)).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// No token lives longer than its issuer's `max_token_life` may be set to (SECURITY.md §4).
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Where `stint dev-token --like kubernetes --env` puts its token.
pub(crate) const DEV_TOKEN: &str = "dev-kubernetes.token";

/// The directory under which this user's runs live.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    in_memory: bool,
}

impl Base {
    /// The first of `candidates` that lies in memory, else the first that can be had at all.
    ///
    /// # Errors
    /// The last candidate's failure, if none can be had: not ours, open to others, or not to be made.
    pub fn choose(candidates: &[PathBuf]) -> io::Result<Self> {
        let mut fallback = Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no directory for secrets",
        ));
        for path in candidates {
            match Self::open(path) {
                Ok(base) if base.in_memory => return Ok(base),
                Ok(base) if fallback.is_err() => fallback = Ok(base),
                Ok(_) => {}
                Err(error) => fallback = fallback.or(Err(error)),
            }
        }
        fallback
    }

    /// Makes `path` if need be, and makes sure that nobody else can look into it or swap it.
    fn open(path: &Path) -> io::Result<Self> {
        match private_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
            let why = format!(
                "{} is not a directory that only you can read",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let kind = u64::try_from(statfs(path)?.f_type).unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            in_memory: IN_MEMORY.contains(&kind),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is written here stays in memory.
    #[must_use]
    pub const fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// A fresh directory for one run, after sweeping what killed runs left.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn workspace(&self) -> io::Result<Workspace> {
        let _lock = self.lock()?;
        let leftovers = self.sweep()?;
        let mut n = 0_u32;
        let root = loop {
            let root = self.path.join(format!("run-{}-{n}", std::process::id()));
            match private_dir(&root) {
                Ok(()) => break root,
                // Ours in another container's pid namespace, and alive.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    n = n.saturating_add(1)
                }
                Err(error) => return Err(error),
            }
        };
        let held = File::open(&root)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Workspace {
            root,
            _held: held,
            sets: 0,
            leftovers,
        })
    }

    /// Held while names come and go under the base.
    fn lock(&self) -> io::Result<File> {
        let path = self.path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    /// Removes the directories nobody holds any more, session keys no token can need and tokens no issuer takes; tells
    /// what could not be removed. The base's lock is held.
    fn sweep(&self) -> io::Result<Vec<String>> {
        let mut leftovers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let swept = if name.starts_with("run-") && is_abandoned(&path) {
                fs::remove_dir_all(&path)
            } else if (name.starts_with("session-") || name == DEV_TOKEN)
                && is_older(&path, TOKEN_LIFE)
            {
                fs::remove_file(&path)
            } else {
                Ok(())
            };
            if let Err(error) = swept {
                leftovers.push(format!("{} cannot be removed: {error}", path.display()));
            }
        }
        Ok(leftovers)
    }

    /// The bytes of `name`, made by `make` on first use; every later caller gets the first one's.
    ///
    /// # Errors
    /// As `make`, or if the file cannot be had.
    pub fn keep<E: From<io::Error>>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let _lock = self.lock()?;
        let path = self.path.join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return Ok(found?),
        }
        let made = make()?;
        let draft = self.path.join("session-draft");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        write_private(&draft, &made)?;
        fs::rename(&draft, &path)?;
        Ok(made)
    }
}

/// One run's files; removed when dropped.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// The lock that tells a sweeper that we live.
    _held: File,
    sets: u32,
    leftovers: Vec<String>,
}

impl Workspace {
    /// Where the current set is: a path that stays while sets change.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.join("current")
    }

    /// What earlier runs left and could not be removed, in words.
    #[must_use]
    pub fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    /// Writes a set of files, `(name, content)`, and makes it the current one.
    ///
    /// # Errors
    /// If a file cannot be written; the old set is then still current.
    pub fn write(&mut self, files: &[(&str, &str)]) -> io::Result<()> {
        self.sets = self.sets.saturating_add(1);
        let set = self.sets.to_string();
        let dir = self.root.join(&set);
        private_dir(&dir)?;
        for (name, content) in files {
            write_private(&dir.join(name), content.as_bytes())?;
        }
        let next = self.root.join("next");
        symlink(&set, &next)?;
        fs::rename(&next, self.dir())?;
        match self.sets.checked_sub(1).filter(|old| *old > 0) {
            Some(old) => fs::remove_dir_all(self.root.join(old.to_string())),
            None => Ok(()),
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Nothing better can be done here: what stays is swept by the next run.
        drop(fs::remove_dir_all(&self.root));
    }
}

/// Writes a new file that only its owner can read; an existing one is a failure.
///
/// # Errors
/// If it is there already or cannot be written.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    new_private(path)?.write_all(content)
}

/// A new file that only its owner can read; no link is followed.
///
/// # Errors
/// If it is there already or cannot be made.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Whether no run holds this directory's lock any more.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > age))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::{Base, DEV_TOKEN};

    fn base(dir: &Path) -> Base {
        Base::choose(&[dir.join("stint")]).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_set_is_private_and_whole_and_goes_with_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        let mut workspace = base.workspace().unwrap();
        workspace
            .write(&[("key.pem", "one"), ("cert.pem", "one")])
            .unwrap();
        let current = workspace.dir();
        assert_eq!(mode(base.path()), 0o700);
        assert_eq!(mode(&current), 0o700);
        assert_eq!(mode(&current.join("key.pem")), 0o600);
        workspace
            .write(&[("key.pem", "two"), ("cert.pem", "two")])
            .unwrap();
        assert_eq!(fs::read_to_string(current.join("key.pem")).unwrap(), "two");
        drop(workspace);
        assert!(!current.exists());
        assert!(
            fs::read_dir(base.path())
                .unwrap()
                .all(|entry| entry.unwrap().file_name() == "lock")
        );
    }

    #[test]
    fn sweeps_the_dead_and_spares_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        let alive = base.workspace().unwrap();
        let dead = base.path().join("run-1-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("key.pem"), "left behind").unwrap();
        let another = base.workspace().unwrap();
        assert!(!dead.exists());
        assert!(alive.root.exists() && another.root.exists());
    }

    #[test]
    fn a_leftover_that_stays_is_told_and_stops_no_run() {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        // A file: not even root can remove it as a directory.
        fs::write(base.path().join("run-1-0"), "").unwrap();
        let workspace = base.workspace().unwrap();
        assert_eq!(workspace.leftovers().len(), 1);
        assert!(workspace.leftovers().concat().contains("run-1-0"));
    }

    #[test]
    fn sweeps_tokens_and_keys_a_day_after() {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        let names = ["session-a.key", DEV_TOKEN];
        let path = |name: &str| base.path().join(name);
        for name in names {
            fs::write(path(name), "").unwrap();
        }
        drop(base.workspace().unwrap());
        assert!(names.iter().all(|name| path(name).exists()));
        for name in names {
            let file = fs::File::options().write(true).open(path(name)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        drop(base.workspace().unwrap());
        assert!(!names.iter().any(|name| path(name).exists()));
    }

    #[test]
    fn takes_no_directory_that_others_could_read_or_swap() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("target")).unwrap();
        symlink(dir.path().join("target"), &link).unwrap();
        for path in [open, link] {
            assert_eq!(
                Base::choose(std::slice::from_ref(&path))
                    .unwrap_err()
                    .kind(),
                io::ErrorKind::PermissionDenied,
                "{path:?}"
            );
        }
        assert!(Base::choose(&[]).is_err());
    }

    #[test]
    fn keeps_what_the_first_one_made() {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        let keep = |bytes: &[u8]| {
            base.keep::<io::Error>("session-a.key", || Ok(bytes.to_vec()))
                .unwrap()
        };
        assert_eq!(keep(b"first"), b"first");
        assert_eq!(keep(b"second"), b"first");
        assert_eq!(mode(&base.path().join("session-a.key")), 0o600);
    }
}
