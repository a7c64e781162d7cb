//! From `[store]` to where the database is, with the password it takes.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{SecretError, SecretRef, Store, StoreUrl};
use crate::store::{Location, Server};

/// Why a database that was named on the command line is none.
#[derive(Debug, Error)]
pub enum LocationError {
    /// Its password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is no URL of a store.
    #[error("--store {0}: {1}")]
    Url(String, String),
}

/// The database at `url`, with the password in the file at `password`.
///
/// # Errors
/// [`LocationError`].
pub fn location(url: &str, password: Option<&Path>) -> Result<Location, LocationError> {
    let here = PathBuf::new();
    let url = StoreUrl::read(url, &here);
    let store = Store {
        url: url.map_err(|wrong| LocationError::Url(wrong.text, wrong.label))?,
        password: password.map(|path| SecretRef::File(path.to_owned())),
        ..Store::default()
    };
    Ok(store.location()?)
}

impl Store {
    /// Where the database is; reads the password, if there is one.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn location(&self) -> Result<Location, SecretError> {
        let server = match &self.url {
            StoreUrl::Sqlite(path) => return Ok(Location::File(path.clone())),
            StoreUrl::Postgres(server, _) => (**server).clone().with_pool(self.pool),
        };
        let Some(password) = &self.password else {
            return Ok(Location::Server(server));
        };
        Ok(Location::Server(with_password(server, password)?))
    }
}

fn with_password(server: Server, password: &SecretRef) -> Result<Server, SecretError> {
    let password = password.read()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that needs it bare: the client's own options, which never show it"
    )]
    let password = String::from_utf8_lossy(password.expose()).into_owned();
    Ok(server.with_password(&password))
}
