//! `stintd witness init`: a folder that `stintd witness` runs from. It never overwrites.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use stint_audit::cosign::WitnessKey;
use stint_audit::note::KeyError;
use stint_ca::signer::software::{self, KeyRejected};
use thiserror::Error;

use super::store;
use crate::config::{self, ConfigError, SecretError, SecretRef, WitnessConfig};
use crate::durable;
use crate::keyring::{Folder, KeyringError};

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// `witness.toml`.
    pub config: PathBuf,
    /// The witness's verifier key, for trust policies.
    pub vkey: String,
}

/// Why nothing, or not all, was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// The written config does not load: the name is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something is in the way.
    #[error("`{0}` is not empty: nothing was changed; name a new folder")]
    Exists(PathBuf),
    /// No key could be made.
    #[error(transparent)]
    Generate(#[from] KeyRejected),
    /// The name cannot name a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key file could not be made.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The passphrase cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database could not be made.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A file could not be written.
    #[error("`{path}` could not be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `dir`: a key (sealed by the first line of `passphrase`, if there is one), an empty database and a commented
/// config for the witness `name`.
///
/// # Errors
/// [`InitError`]; a folder that holds anything is left as it is.
pub async fn init(dir: &Path, name: &str, passphrase: Option<&Path>) -> Result<Made, InitError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    if std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(InitError::Exists(dir.to_owned()));
    }
    let text = config::template_witness(name, passphrase);
    let (config, _) = WitnessConfig::parse("witness.toml", &text, dir)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(write(dir))?;
    let seal = config.passphrase.as_ref().map(SecretRef::read);
    let seal = seal.transpose()?;
    let folder = Folder {
        dir,
        passphrase: seal.as_ref(),
    };
    let seed = software::generate_seed()?;
    let key = WitnessKey::from_seed(&seed, &config.name)?;
    folder.write(KEY, &*seed)?;
    store::create(&config.db).await?;
    // Last, so that a folder with a config is a whole one.
    let path = dir.join("witness.toml");
    durable::create(&path, 0o640, text.as_bytes()).map_err(write(&path))?;
    Ok(Made {
        config: path,
        vkey: key.public().to_string(),
    })
}

/// As the template names it.
const KEY: &str = "witness.key";
