//! `stintd witness`: a C2SP witness of transparency logs, ours and others (LEDGER.md §10, §13).
//!
//! It cosigns a checkpoint only if it extends the last one it cosigned of that log; what it answered it never forgets:
//! check and update are one transaction, durable before the reply. It shares nothing with a broker but code: own key,
//! own database, another host and another owner.

pub mod init;

mod http;
mod keeper;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stint_audit::cosign::WitnessKey;
use stint_audit::note::{KeyError, VerifierKey};
use stint_audit::witness::origin_hash;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authenticate::crypto::{self, CryptoError};
use crate::clock::Clock;
use crate::config::{self, SecretError, SecretRef, WitnessConfig};
use crate::http::guard::{Proxies, introduced};
use crate::http::listen::phase::Phase;
use crate::http::listen::tls::{ClientCerts, Tls, TlsError};
use crate::http::listen::{Bounds, Listener};
use crate::keyring::{Folder, KeyringError};
use crate::limits::peers::PeerRate;

use keeper::Keeper;
use store::Database;

pub use store::{Evidence, Kind};

/// A witness that is ready to serve.
#[derive(Debug)]
pub struct Service {
    listener: Listener,
    socket: TcpListener,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
}

/// Why a witness does not serve, or not any more.
#[derive(Debug, Error)]
pub enum WitnessError {
    /// There is no database. A witness that forgot would cosign a second history.
    #[error(
        "`{0}` is not there: `stintd witness init` makes it; a lost one is not begun anew under the same key"
    )]
    Absent(PathBuf),
    /// The crypto does not compute what it should.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The name cannot name a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A commit failed while it served: what the disk holds is for the next start to see.
    #[error("the database failed in a commit; nothing was answered that may not be there")]
    Lost,
    /// The listener's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The logs that are served, by the hash of their origin.
type Logs = BTreeMap<String, Log>;

/// A log that is served.
#[derive(Debug)]
struct Log {
    origin: String,
    keys: Vec<VerifierKey>,
}

impl Service {
    /// Opens key and database as `config` says. Nothing is answered before [`Self::run`].
    ///
    /// # Errors
    /// [`WitnessError`].
    pub async fn start(
        config: WitnessConfig,
        clock: Arc<dyn Clock>,
        socket: TcpListener,
    ) -> Result<Self, WitnessError> {
        crypto::install()?;
        let key = key(&config)?;
        let tls = tls(&config, clock.as_ref())?;
        let database = Database::open(&config.db).await?;
        let readers = database.readers().clone();
        let (keeper, door) = Keeper::new(database, key, Arc::clone(&clock));
        let served = http::Served {
            logs: logs(&config),
            door,
            readers,
        };
        let rate = Arc::new(PeerRate::new(config.limits.requests_per_peer));
        let trusted: Arc<[_]> = config.trusted_proxies.into();
        let proxies = Proxies::new(Arc::clone(&trusted), config::ProxyClientCert::Ignored);
        let router = http::router(Arc::new(served), rate);
        let listener = Listener {
            router: introduced(router, proxies),
            tls,
            trusted,
            bounds: bounds(&config.limits),
            phase: watch::channel(Phase::Serving).1,
        };
        Ok(Self {
            listener,
            socket,
            keeper,
            clock,
        })
    }

    /// Serves until `phase` says otherwise, then drains: what was begun is answered, the database is closed last.
    ///
    /// # Errors
    /// [`WitnessError::Lost`]: a commit failed.
    pub async fn run(self, phase: watch::Receiver<Phase>) -> Result<(), WitnessError> {
        let Self {
            mut listener,
            socket,
            keeper,
            clock,
        } = self;
        listener.phase = phase;
        let mut chores = JoinSet::new();
        if let Some(tls) = &listener.tls {
            chores.spawn(Arc::clone(tls).watch(clock));
        }
        let mut open = JoinSet::new();
        open.spawn(listener.tcp(socket));
        let kept = keeper.run();
        tokio::pin!(kept);
        let result = tokio::select! {
            // The keeper ends by itself when nobody can ask it any more; before that, it died.
            kept = &mut kept => {
                open.shutdown().await;
                kept
            }
            _ = open.join_next() => kept.await,
        };
        chores.shutdown().await;
        result.map_err(|()| WitnessError::Lost)
    }
}

/// What `stintd witness --check` looks at: everything but the network. Gives the witness's verifier key, and what is
/// accepted and risky.
///
/// # Errors
/// [`WitnessError`].
pub fn check(
    config: &WitnessConfig,
    clock: &dyn Clock,
) -> Result<(String, Vec<String>), WitnessError> {
    let key = key(config)?;
    let mut warnings = Vec::new();
    if let (Some(config::Tls::Own(files)), Some(url)) = (&config.tls, &config.url) {
        warnings = Tls::check(files, url.host(), clock.now())?;
    }
    if !config.db.exists() {
        return Err(WitnessError::Absent(config.db.clone()));
    }
    Ok((key.public().to_string(), warnings))
}

/// What was refused although its log signed it, oldest first.
///
/// # Errors
/// [`WitnessError`].
pub async fn evidence(config: &WitnessConfig) -> Result<Vec<Evidence>, WitnessError> {
    if !config.db.exists() {
        return Err(WitnessError::Absent(config.db.clone()));
    }
    Ok(store::evidence(&config.db).await?)
}

fn key(config: &WitnessConfig) -> Result<WitnessKey, WitnessError> {
    let passphrase = config
        .passphrase
        .as_ref()
        .map(SecretRef::read)
        .transpose()?;
    let name = config.key.file_name().unwrap_or_default();
    let folder = Folder {
        dir: config.key.parent().unwrap_or(Path::new("")),
        passphrase: passphrase.as_ref(),
    };
    let seed = folder.seed(&name.to_string_lossy())?;
    Ok(WitnessKey::from_seed(&seed, &config.name)?)
}

fn tls(config: &WitnessConfig, clock: &dyn Clock) -> Result<Option<Arc<Tls>>, WitnessError> {
    let (Some(config::Tls::Own(files)), Some(url)) = (&config.tls, &config.url) else {
        return Ok(None);
    };
    let tls = Tls::load(
        files.clone(),
        url.host(),
        ClientCerts::NotAsked,
        clock.now(),
    )?;
    Ok(Some(Arc::new(tls)))
}

fn logs(config: &WitnessConfig) -> Logs {
    let logs = config.logs.values().map(|log| {
        let served = Log {
            origin: log.origin.clone(),
            keys: log.vkeys.clone(),
        };
        (origin_hash(&log.origin), served)
    });
    logs.collect()
}

/// Of a broker's limits those that a witness has too, and the defaults of all others.
fn bounds(limits: &config::WitnessLimits) -> Bounds {
    let limits = config::Limits {
        connections: limits.connections,
        connections_per_peer: limits.connections_per_peer,
        // Logs ask every few seconds, on one connection (tlog-witness: keep-alive).
        idle_timeout: IDLE,
        ..config::Limits::default()
    };
    Bounds::of(&limits, ANSWER, GRACE)
}

const IDLE: stint_policy::Seconds = stint_policy::Seconds::new(120);
/// Clients wait for a second (LEDGER.md §10).
const ANSWER: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(10);
