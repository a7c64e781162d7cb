//! Secrets: where they come from, and how they are held.
//!
//! A [`SecretRef`] in the config says where a secret lies and never holds it. The file behind it is opened without
//! following a link and judged by the open descriptor, so what was checked is what is read.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// A value that nobody may see by accident: no `Display`, no `Serialize`, no `Clone`, a `Debug` without content, and
/// wiped when it is dropped.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value on its arrival.
    #[must_use]
    pub fn new(value: T) -> Secret<T> {
        Secret(Zeroizing::new(value))
    }

    /// The bare value. Whoever calls this argues at the spot why it is needed.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret lies: SECRET in UX.md §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// A credential of the service manager: the file of this name in `$CREDENTIALS_DIRECTORY`. The directory is
    /// trusted as a whole: systemd guards it, a container platform may mount its secrets there.
    Credential(String),
    /// A file of our own or root's that nobody else can read; not a link.
    File(PathBuf),
    /// A variable of the environment, which children and crash reports see too.
    Env(String),
}

impl SecretRef {
    /// Reads the secret: 1 byte to 64 KiB, without one line break at its end.
    ///
    /// # Errors
    /// [`SecretError`], whose texts name the place and never the content.
    pub fn read(&self) -> Result<Secret<Vec<u8>>, SecretError> {
        self.read_in(from_environment)
    }

    /// The file it lies in, where it lies in one.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            SecretRef::Credential(name) => {
                from_environment(CREDENTIALS).map(|dir| Path::new(&dir).join(name))
            }
            SecretRef::File(path) => Some(path.clone()),
            SecretRef::Env(_) => None,
        }
    }

    /// Checks that the secret can be read now. A credential is not looked for outside a service: `stintd check` has to
    /// work at a desk.
    pub(super) fn probe(&self, env: Environment) -> Result<(), SecretError> {
        match self {
            SecretRef::Credential(_) if env(CREDENTIALS).is_none() => Ok(()),
            SecretRef::Credential(_) | SecretRef::File(_) | SecretRef::Env(_) => {
                self.read_in(env).map(drop)
            }
        }
    }

    fn read_in(&self, env: Environment) -> Result<Secret<Vec<u8>>, SecretError> {
        let bytes = match self {
            SecretRef::Credential(name) => {
                let dir = env(CREDENTIALS).ok_or_else(|| SecretError::NoService(name.clone()))?;
                let path = Path::new(&dir).join(name);
                let file = File::open(&path).map_err(|source| unreadable(&path, source))?;
                contents(file, &path)?
            }
            SecretRef::File(path) => contents(open_guarded(path)?, path)?,
            SecretRef::Env(name) => {
                let value = env(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
        };
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(Secret::new(line.to_vec()))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Credential(name) => write!(f, "credential `{name}`"),
            SecretRef::File(path) => write!(f, "`{}`", path.display()),
            SecretRef::Env(name) => write!(f, "${name}"),
        }
    }
}

/// A key file that the operator brings: KEY in UX.md §5. Guarded as a secret's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(pub(super) PathBuf);

impl KeyFile {
    /// The file at `path`, which is judged when it is read.
    #[must_use]
    pub fn new(path: PathBuf) -> KeyFile {
        KeyFile(path)
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the whole file, at most 64 KiB.
    ///
    /// # Errors
    /// [`SecretError`], whose texts name the place and never the content.
    pub fn read(&self) -> Result<Secret<Vec<u8>>, SecretError> {
        let bytes = contents(open_guarded(&self.0)?, &self.0)?;
        Ok(Secret(bytes))
    }
}

/// Why a secret is not used: the operator's to mend.
#[derive(Debug, Error)]
pub enum SecretError {
    /// A credential was asked for, and no service manager has handed any over.
    #[error("credential `{0}` is not there: no $CREDENTIALS_DIRECTORY in the environment")]
    NoService(String),
    /// The variable is not set.
    #[error("${0} is not set")]
    NoVariable(String),
    /// Opening or reading failed.
    #[error("`{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A link: what it points to can be changed behind our back.
    #[error("`{0}` is a symbolic link")]
    Link(String),
    /// A directory, device, pipe or socket.
    #[error("`{0}` is not a plain file")]
    NotPlain(String),
    /// The file belongs neither to us nor to root.
    #[error("`{path}` belongs to another user (uid {uid})")]
    Foreign {
        /// The file.
        path: String,
        /// Its owner.
        uid: u32,
    },
    /// Group or others have rights on the file.
    #[error("`{path}` is open to other users (mode {mode:04o})")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// Larger than any secret.
    #[error("`{0}` is larger than 64 KiB")]
    TooLarge(String),
}

impl SecretError {
    /// What to do about it, short enough to stand beside a caret.
    pub(super) fn advice(&self) -> String {
        match self {
            SecretError::Open { path, .. } => format!("chmod 600 {path}"),
            SecretError::Foreign { path, .. } => format!("chown it to the user of stintd: {path}"),
            SecretError::Link(_) => "name the file itself".to_owned(),
            SecretError::NoService(_)
            | SecretError::NoVariable(_)
            | SecretError::Unreadable { .. }
            | SecretError::NotPlain(_)
            | SecretError::Empty(_)
            | SecretError::TooLarge(_) => String::new(),
        }
    }
}

/// Looks up a variable of the environment.
pub(super) type Environment = fn(&str) -> Option<OsString>;

/// The process's own environment.
pub(super) fn from_environment(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "config reads the environment, for SECRET references alone"
    )]
    std::env::var_os(name)
}

/// Opens a plain file that is ours or root's and that nobody else has rights on.
pub(super) fn open_guarded(path: &Path) -> Result<File, SecretError> {
    let name = || path.display().to_string();
    // NONBLOCK: a pipe must not hold up the start before it is refused.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::LOOP) => return Err(SecretError::Link(name())),
        Err(errno) => return Err(unreadable(path, errno.into())),
    };
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if !metadata.is_file() {
        return Err(SecretError::NotPlain(name()));
    }
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(SecretError::Foreign { path: name(), uid });
    }
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: name(), mode });
    }
    Ok(file)
}

fn contents(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    // Reserved at once: growing would leave copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    let limit = u64::try_from(LARGEST + 1).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    if bytes.len() > LARGEST {
        return Err(SecretError::TooLarge(path.display().to_string()));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, source: io::Error) -> SecretError {
    SecretError::Unreadable {
        path: path.display().to_string(),
        source,
    }
}

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A generous bound: an RSA-4096 key in PEM has 3.3 kB.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "what a secret reads as is what is tested"
)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(dir: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(format!("secret-{mode:o}"));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn reads_a_file_that_only_its_owner_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretRef::File(file(dir.path(), b"hunter2\r\n", 0o600));
        assert_eq!(secret.read().unwrap().expose(), b"hunter2");
    }

    #[test]
    fn refuses_what_others_can_read_links_and_emptiness() {
        let dir = tempfile::tempdir().unwrap();
        let open = SecretRef::File(file(dir.path(), b"x", 0o640));
        assert!(matches!(
            open.read(),
            Err(SecretError::Open { mode: 0o640, .. })
        ));

        let target = file(dir.path(), b"x", 0o600);
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(matches!(
            SecretRef::File(link.clone()).read(),
            Err(SecretError::Link(_))
        ));
        assert!(matches!(
            KeyFile::new(link).read(),
            Err(SecretError::Link(_))
        ));

        let empty = SecretRef::File(file(dir.path(), b"\n", 0o400));
        assert!(matches!(empty.read(), Err(SecretError::Empty(_))));
        let large = KeyFile::new(file(dir.path(), &vec![b'x'; LARGEST + 1], 0o600));
        assert!(matches!(large.read(), Err(SecretError::TooLarge(_))));
        let dir = SecretRef::File(dir.path().to_owned());
        assert!(matches!(dir.read(), Err(SecretError::NotPlain(_))));
    }

    #[test]
    fn a_credential_is_looked_for_only_inside_a_service() {
        let secret = SecretRef::Credential("stint-keys".to_owned());
        assert!(secret.probe(|_| None).is_ok());
        assert!(matches!(
            secret.read_in(|_| None),
            Err(SecretError::NoService(_))
        ));
        let elsewhere: Environment = |_| Some("/nonexistent".into());
        assert!(matches!(
            secret.probe(elsewhere),
            Err(SecretError::Unreadable { .. })
        ));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(
            format!("{:?}", Secret::new("hunter2".to_owned())),
            "Secret(..)"
        );
    }
}
