//! Where a database may lie: on a local disk, and under one broker.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};
use thiserror::Error;

/// That this process alone has the database open; for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Given back by name: a process that was forked meanwhile, and did not yet become another program, holds the file too.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::debug!(%error, "the lock goes with the file alone");
        }
    }
}

/// Why a place is no place for a ledger.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// Another broker has it.
    #[error("`{0}` is in use by another broker")]
    Busy(PathBuf),
    /// The folder cannot be used.
    #[error("`{path}` cannot be used")]
    Folder {
        /// The lock file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Commits would not be durable there.
    #[error("`{path}` lies on {kind}: the ledger needs a local disk")]
    Kind {
        /// The folder.
        path: PathBuf,
        /// What sort of file system.
        kind: &'static str,
    },
}

/// Makes the database file, empty, for its owner alone; SQLite gives its journals the same mode.
///
/// # Errors
/// [`PlaceError::Folder`].
pub fn make(database: &Path) -> Result<(), PlaceError> {
    let mut options = OpenOptions::new();
    let made = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(database);
    made.map(drop).map_err(|source| PlaceError::Folder {
        path: database.to_owned(),
        source,
    })
}

impl Lock {
    /// Takes the lock `DB.lock` beside the database.
    ///
    /// # Errors
    /// [`PlaceError::Busy`] if somebody has it, [`PlaceError::Folder`].
    pub fn take(database: &Path) -> Result<Self, PlaceError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(|source| PlaceError::Folder {
            path: path.clone(),
            source,
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PlaceError::Busy(database.to_owned())),
            Err(error) => Err(PlaceError::Folder {
                path,
                source: error.into(),
            }),
        }
    }
}

/// Refuses network and memory file systems; warns of an overlay, which goes with its container.
///
/// # Errors
/// [`PlaceError::Kind`], [`PlaceError::Folder`].
pub fn check(database: &Path) -> Result<(), PlaceError> {
    let path = database
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let found = statfs(path).map_err(|error| PlaceError::Folder {
        path: path.to_owned(),
        source: error.into(),
    })?;
    // Magic numbers of statfs(2), 32 bits of a wider word.
    match u64::try_from(found.f_type).unwrap_or_default() & 0xffff_ffff {
        NFS | SMB | CIFS | SMB2 | FUSE | NINE_P => Err(PlaceError::Kind {
            path: path.to_owned(),
            kind: "a network file system",
        }),
        TMPFS | RAMFS => Err(PlaceError::Kind {
            path: path.to_owned(),
            kind: "a memory file system",
        }),
        OVERLAY => {
            tracing::warn!(path = %path.display(), "the store lies on an overlay: it goes with the container");
            Ok(())
        }
        _ => Ok(()),
    }
}

const NFS: u64 = 0x6969;
const SMB: u64 = 0x517b;
const CIFS: u64 = 0xff53_4d42;
const SMB2: u64 = 0xfe53_4d42;
const FUSE: u64 = 0x6573_5546;
const NINE_P: u64 = 0x0102_1997;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const OVERLAY: u64 = 0x794c_7630;

#[cfg(test)]
mod tests {
    use super::{Lock, PlaceError};

    #[test]
    fn a_database_has_one_broker() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("stint.db");
        let first = Lock::take(&database).unwrap();
        assert!(matches!(Lock::take(&database), Err(PlaceError::Busy(_))));
        drop(first);
        assert!(Lock::take(&database).is_ok());
    }
}
