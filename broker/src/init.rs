//! `stintd init`: a folder that `stintd serve` runs from. It never overwrites.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinSet;

use crate::clock::{Clock, SystemClock};
use crate::config::{
    self, Config, ConfigError, Folders, SecretError, SecretRef, ServerUrl, TrustDomain,
};
use crate::durable;
use crate::keyring::{Folder, KeyringError};
use crate::start::{self, Absent, Built, StartError};
use crate::store::place::{self, PlaceError};

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

/// What the operator brings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// A file whose first line seals the key files.
    pub passphrase: Option<&'a Path>,
    /// URL and password file of a server; else the database is a file in the folder.
    pub store: Option<(&'a str, Option<&'a Path>)>,
}

/// Why nothing, or not all, was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// The written config does not load: a bug.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something is in the way.
    #[error("`{0}` is not empty: nothing was changed; name a new folder")]
    Exists(PathBuf),
    /// The store may not lie there.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The passphrase cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
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

/// Makes `dir`: keys, root and issuing CA, the sample policies, the ledger's first entries and a commented config. A
/// server's schema is made too, where the role may.
///
/// # Errors
/// [`InitError`]; a folder that holds anything is left as it is.
pub async fn init(
    dir: &Path,
    url: &ServerUrl,
    domain: &TrustDomain,
    given: Given<'_>,
) -> Result<Made, InitError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    if std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(InitError::Exists(dir.to_owned()));
    }
    let folder = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    folder(dir).map_err(write(dir))?;
    let dir = dir.canonicalize().map_err(write(dir))?;
    let (policy, state) = (dir.join("policy"), dir.join("state"));
    folder(&policy).map_err(write(&policy))?;
    folder(&state).map_err(write(&state))?;
    write_policies(&policy, &stint_policy::sample()).map_err(write(&policy))?;
    let folders = Folders {
        policy: &policy,
        state: &state,
        passphrase: given.passphrase,
        store: given.store,
    };
    let text = config::template(url, domain, folders);
    let config = Config::parse("stint.toml", &text, &dir)?.config;
    config.store.url.path().map_or(Ok(()), place::check)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let seal = config
        .keys
        .passphrase
        .as_ref()
        .map(SecretRef::read)
        .transpose()?;
    let keys = Folder {
        dir: &config.keys.dir,
        passphrase: seal.as_ref(),
    };
    keys.create(start::authority_of(&config), clock.now())?;
    let begun = begin(config, clock).await.map_err(Box::new)?;
    // Last, so that a folder with a config is a whole one.
    let path = dir.join("stint.toml");
    durable::create(&path, 0o640, text.as_bytes()).map_err(write(&path))?;
    Ok(Made {
        config: path,
        ..begun
    })
}

/// Writes the ledger's first entries: genesis, keys, config, policies.
async fn begin(config: Config, clock: Arc<dyn Clock>) -> Result<Made, StartError> {
    // Whoever follows the ledger is let go at once: each holds its door open.
    let Built {
        app,
        committer,
        pin,
        announcement,
        ..
    } = Box::pin(start::build(config, clock, Absent::Begin)).await?;
    let mut writers = JoinSet::new();
    writers.spawn(committer.run());
    if let Some(pin) = pin {
        writers.spawn(pin.run());
    }
    announcement.record(&app).await?;
    let made = Made {
        config: PathBuf::new(),
        fingerprint: app.broker.ca.root_fingerprint(),
        vkey: app.broker.ledger.vkey().to_owned(),
    };
    drop(app); // the last holder of the ledger's door
    writers.join_all().await;
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
        durable::create(&path, 0o644, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::{Given, InitError, init};
    use crate::clock::SystemClock;
    use crate::config::{Config, ServerUrl, TrustDomain};
    use crate::start::{self, Absent};

    async fn made(dir: &Path, passphrase: Option<&Path>) -> Result<(), InitError> {
        let url = ServerUrl::parse("https://stint.acme.dev").unwrap();
        let domain = TrustDomain::parse("acme.dev").unwrap();
        let given = Given {
            passphrase,
            store: None,
        };
        init(dir, &url, &domain, given).await.map(drop)
    }

    async fn starts(dir: &Path) -> Result<(), String> {
        let config = Config::load(&dir.join("stint.toml")).unwrap().config;
        let clock = std::sync::Arc::new(SystemClock);
        let built = Box::pin(start::build(config, clock, Absent::Refuse)).await;
        built
            .map(drop)
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    fn secret(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[tokio::test]
    async fn keys_are_sealed_by_a_passphrase_and_open_with_no_other() {
        // Not below /tmp: it may be a memory file system, where a ledger may not lie.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (dir, passphrase) = (folder.path().join("site"), folder.path().join("passphrase"));
        secret(&passphrase, "correct horse\n");
        made(&dir, Some(&passphrase)).await.unwrap();
        let root = std::fs::read_to_string(dir.join("state/keys/root.key")).unwrap();
        assert!(
            root.starts_with("stint-key/v1 pbkdf2-hmac-sha256=600000 aes-256-gcm "),
            "{root}"
        );
        starts(&dir).await.unwrap();
        secret(&passphrase, "wrong");
        let refused = starts(&dir).await.unwrap_err();
        assert!(refused.contains("passphrase"), "{refused}");
    }

    #[tokio::test]
    async fn nothing_is_overwritten() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let dir = folder.path().join("site");
        made(&dir, None).await.unwrap();
        let before = std::fs::read(dir.join("stint.toml")).unwrap();
        assert!(matches!(made(&dir, None).await, Err(InitError::Exists(_))));
        assert_eq!(std::fs::read(dir.join("stint.toml")).unwrap(), before);
    }
}
