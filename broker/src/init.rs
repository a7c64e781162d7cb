//! `stintd init`: a folder that `stintd serve` runs from. It never overwrites.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, ConfigError, Folders, ServerUrl, TrustDomain};
use crate::keyring::{self, Folder, KeyringError};
use crate::start::{self, Absent, StartError};

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// `stint.toml`.
    pub config: PathBuf,
    /// SHA-256 of the root certificate, for clients to pin.
    pub fingerprint: String,
    /// The ledger's verifier key, for auditors to pin.
    pub vkey: String,
}

/// Why nothing, or not all, was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// The written config does not load: a bug.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something is in the way.
    #[error("`{0}` is there already: nothing was changed")]
    Exists(PathBuf),
    /// The keys could not be made.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The broker does not build from what was made.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// A file could not be written.
    #[error("`{path}` could not be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `dir`: keys, root and issuing CA, the sample policies, the ledger's genesis and a commented config.
///
/// # Errors
/// [`InitError`]; a folder that holds anything of this is left as it is.
pub async fn init(dir: &Path, url: &ServerUrl, domain: &TrustDomain) -> Result<Made, InitError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    let path = dir.join("stint.toml");
    if path.exists() {
        return Err(InitError::Exists(path));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(write(dir))?;
    let dir = dir.canonicalize().map_err(write(dir))?;
    let folder = |name: &str| {
        let path = dir.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(InitError::Exists(path))
            }
            Err(source) => Err(InitError::Write { path, source }),
        }
    };
    let state = folder("state")?;
    let policy = folder("policy")?;
    write_policies(&policy, &stint_policy::sample()).map_err(write(&policy))?;
    let folders = Folders {
        policy: &policy,
        state: &state,
    };
    let text = config::template(url, domain, folders);
    let parsed = Config::parse("stint.toml", &text, &dir)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keys = Folder {
        dir: &parsed.config.keys.dir,
        passphrase: None,
    };
    keys.create(start::authority_of(&parsed.config), clock.now())?;
    let built = start::build(parsed.config, clock, Absent::Begin)
        .await
        .map_err(Box::new)?;
    let made = Made {
        config: path.clone(),
        fingerprint: built.app.broker.ca.root_fingerprint(),
        vkey: built.app.broker.ledger.vkey().to_owned(),
    };
    // Last, so that a folder with a config is a whole one.
    keyring::create(&path, 0o640, text.as_bytes()).map_err(write(&path))?;
    Ok(made)
}

/// Writes a policy folder, file by file.
///
/// # Errors
/// The system's.
pub fn write_policies(dir: &Path, files: &stint_policy::Files) -> io::Result<()> {
    for (name, text) in files.iter() {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        keyring::create(&path, 0o644, text)?;
    }
    Ok(())
}
