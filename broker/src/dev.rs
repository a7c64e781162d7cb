//! `stintd dev`: the whole broker in one process on loopback, with fake issuers to try it with.
//! Nothing is kept but the policy folder.
//!
//! The issuers are real ones in every respect but their key, which stands in this repository:
//! their tokens go through the same checks as GitHub's, and `serve` refuses a config that trusts it.

mod issuer;
mod people;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stint_policy::Files;
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::durable;
use crate::http::listen::phase::Phase;
use crate::init::write_policies;
use crate::keyring::{Folder, KeyringError};
use crate::serve::{Doors, Service};
use crate::start::{self, Absent, StartError};

pub use issuer::{Issuer, Mint, is_dev_key};

/// What `dev` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port on loopback; 0 takes a free one.
    pub port: u16,
    /// The policy folder; made with the sample policies if it is not there.
    pub policy: PathBuf,
}

/// A broker to try things with.
#[derive(Debug)]
pub struct Dev {
    /// Ready to run.
    pub service: Service,
    /// Where it listens.
    pub url: String,
    /// Everything else it keeps: gone with this value.
    pub folder: TempDir,
}

/// Why `dev` does not start.
#[derive(Debug, Error)]
pub enum DevError {
    /// The port cannot be had.
    #[error("127.0.0.1:{port} cannot be listened on; another `stintd dev`? choose one with --port")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A folder or file cannot be written.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Our own config does not load: a bug.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys could not be made.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The broker does not start.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// The dev key cannot be used: a bug.
    #[error(transparent)]
    Issuer(#[from] issuer::IssuerError),
}

/// Builds it.
///
/// # Errors
/// [`DevError`].
pub async fn dev(options: &Options) -> Result<Dev, DevError> {
    let port = options.port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listening = TcpListener::bind(address).await;
    let api = listening.map_err(|source| DevError::Listen { port, source })?;
    let port = api.local_addr().map_or(port, |address| address.port());
    let url = format!("http://localhost:{port}");

    let made = tempfile::Builder::new().prefix("stint-dev-").tempdir();
    let folder = made.map_err(|source| DevError::Write {
        path: std::env::temp_dir(),
        source,
    })?;
    let policy = policy_folder(&options.policy)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuers = Issuer::all(&url)?;
    let people = people::Provider::new(&url, Arc::clone(&clock))?;
    let secret = folder.path().join("people.secret");
    write_secret(&secret, people.secret().as_bytes())?;
    let mut text = config(&url, folder.path(), &policy, &issuers);
    text.push_str(&people.config(&secret));
    let config = Config::parse("stintd dev", &text, folder.path())?.config;
    let keys = Folder {
        dir: &config.keys.dir,
        passphrase: None,
    };
    keys.create(start::authority_of(&config), clock.now())?;
    let socket = config.ops.socket.clone();
    let listening = UnixListener::bind(&socket);
    let socket = listening.map_err(|source| DevError::Write {
        path: socket,
        source,
    })?;
    let extra = issuer::routes(issuers, Arc::clone(&clock)).merge(people::routes(people));
    let doors = Doors {
        api,
        ops: None,
        socket,
        extra,
    };
    let service = Service::start(config, clock, Absent::Begin, doors)
        .await
        .map_err(Box::new)?;
    Ok(Dev {
        service,
        url,
        folder,
    })
}

impl Dev {
    /// Runs until `phase` ends it; then nothing is left.
    pub async fn run(self, phase: watch::Receiver<Phase>) {
        self.service.run(phase).await;
        drop(self.folder);
    }
}

/// The policy folder, filled with the sample set if it is new. One approver is enough here.
fn policy_folder(path: &Path) -> Result<PathBuf, DevError> {
    let failed = |source| DevError::Write {
        path: path.to_owned(),
        source,
    };
    if !path.exists() {
        std::fs::create_dir_all(path).map_err(failed)?;
        write_policies(path, &sample()).map_err(failed)?;
    }
    path.canonicalize().map_err(failed)
}

/// A file for this user alone.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), DevError> {
    durable::create(path, 0o600, bytes).map_err(|source| DevError::Write {
        path: path.to_owned(),
        source,
    })
}

/// POLICY.md §1.3, but one approver is enough: whoever tries it out is alone.
fn sample() -> Files {
    let mut files = stint_policy::sample();
    let web = files
        .get("web.cedar")
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let web = web
        .replace("@quorum(\"2\")", "@quorum(\"1\")")
        .replace("votes: 2", "votes: 1")
        .replace("Two SREs see", "An SRE sees");
    files.insert("web.cedar", web.into_bytes());
    files.insert(
        "tests/sample.toml",
        include_bytes!("dev/sample.toml").as_slice(),
    );
    files
}

/// `stint.toml` of this process: the same loader as everybody's.
fn config(url: &str, folder: &Path, policy: &Path, issuers: &[Issuer]) -> String {
    let folder = folder.display();
    let policy = policy.display();
    let mut text = format!(
        r#"version = 1
[server]
url = "{url}"
[ops]
socket = "{folder}/stintd.sock"
[store]
url = "sqlite:{folder}/stint.db"
[ledger]
origin = "dev.stint/ledger"
pin = "{folder}/ledger.pin"
[keys]
dir = "{folder}/keys"
[ca]
trust_domain = "acme.dev"
[policy]
dir = "{policy}"
"#
    );
    for issuer in issuers {
        text.push_str(&issuer.config());
    }
    text
}
