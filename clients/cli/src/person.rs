//! Who is signed in at this terminal: a session that its key alone can use, in a file that its owner alone can read.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stint_client::{Client, Person, PersonToken, SessionKey};

use crate::draft::Draft;
use crate::exit::Exit;
use crate::output::Failure;
use crate::settings;

/// A login, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The broker it is at.
    url: String,
    #[serde(flatten)]
    session: PersonToken,
    /// The session's key, PKCS#8 DER.
    key: Vec<u8>,
}

impl Login {
    pub(crate) fn new(client: &Client, session: PersonToken, key: &SessionKey) -> Self {
        Self {
            url: client.url().to_owned(),
            session,
            key: key.pkcs8().to_vec(),
        }
    }

    /// Keeps it for the next command, in place of any other.
    ///
    /// # Errors
    /// Exit 2 if there is no place for it.
    pub(crate) fn keep(&self) -> Result<PathBuf, Failure> {
        let path = settings::session_file()?;
        let failed = |error: io::Error| {
            Failure::new(
                Exit::Usage,
                format!("cannot write {}: {error}", path.display()),
            )
        };
        let json = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput);
        let folder = folder.map_err(|kind| failed(kind.into()))?;
        let mut make = DirBuilder::new();
        make.recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let mut draft = Draft::of(&path).map_err(failed)?;
        draft.file.write_all(&json).map_err(failed)?;
        draft.replace().map_err(failed)?;
        Ok(path)
    }

    /// The login at this broker, if there is one. A file that others can read is none.
    ///
    /// # Errors
    /// Exit 2 if the file is not ours.
    pub(crate) fn at(client: &Client) -> Result<Option<Self>, Failure> {
        let path = settings::session_file()?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(settings::unreadable(&path, &error)),
        };
        let mode = fs::metadata(&path).map(|found| found.permissions().mode());
        let bad = |why: &str| {
            Failure::new(Exit::Usage, format!("{}: {why}", path.display())).next("stint login")
        };
        if mode.map_err(|error| settings::unreadable(&path, &error))? & 0o077 != 0 {
            return Err(bad("others can read it"));
        }
        let login: Self =
            serde_json::from_slice(&text).map_err(|_json| bad("it is no session of stint"))?;
        Ok((login.url == client.url()).then_some(login))
    }

    /// Whoever it is.
    ///
    /// # Errors
    /// If the key is none.
    pub(crate) fn person<'c>(&self, client: &'c Client) -> Result<Person<'c>, Failure> {
        let key = SessionKey::from_pkcs8(&self.key)?;
        Ok(client.person(self.session.token.clone(), key))
    }
}

/// Whoever is signed in at this broker.
///
/// # Errors
/// Exit 4: nobody is.
pub(crate) fn signed_in(client: &Client) -> Result<Person<'_>, Failure> {
    let login = Login::at(client)?.ok_or_else(|| {
        let text = format!("nobody is signed in at {} here", client.url());
        Failure::new(Exit::Unauthenticated, text).next(format!("stint login {}", client.url()))
    })?;
    login.person(client)
}

/// Forgets whoever is signed in.
///
/// # Errors
/// Exit 2 if the file cannot be removed.
pub(crate) fn forget() -> Result<(), Failure> {
    let path = settings::session_file()?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let text = format!("cannot remove {}: {error}", path.display());
            Err(Failure::new(Exit::Usage, text))
        }
    }
}
