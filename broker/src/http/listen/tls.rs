//! TLS of our own: rustls on ring, 1.3 and 1.2 with ECDHE and AEAD, nothing resumed, nothing early, nothing compressed
//! (SECURITY.md §3).
//!
//! Certificate and key are taken up whole or not at all: what is in force stays until what lies in the files is good.

mod client;
mod files;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use stint_policy::Timestamp;
use thiserror::Error;

use self::client::ProofOnly;
use self::files::{Glance, Loaded};
use crate::clock::Clock;
use crate::config::{SecretError, TlsFiles};

/// Whether the handshake asks clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCerts {
    /// Whoever has one may show it and prove its key; its chain is judged where evidence is.
    Asked,
    /// None is asked for.
    NotAsked,
}

/// Why certificate and key are not taken.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The certificate file.
    #[error("[server] tls: `{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No PEM of the wanted kind, or one that is broken.
    #[error("[server] tls: {what} is not PEM of {wanted}: {why}")]
    Form {
        /// The file, or what stands for it.
        what: String,
        /// What should be in it.
        wanted: &'static str,
        /// What the parser said.
        why: String,
    },
    /// The key file.
    #[error("[server] tls: the key: {0}")]
    Key(#[from] SecretError),
    /// The key is not the certificate's, or of a kind that is not served.
    #[error("[server] tls: certificate and key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// Its time is over, or has not come.
    #[error("[server] tls: the certificate in `{path}` is good from {from} until {until}, not now")]
    Time {
        /// The file.
        path: PathBuf,
        /// Its first second.
        from: String,
        /// Its last.
        until: String,
    },
}

/// The listener's certificate, as it is in force now.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    host: String,
    client_certs: ClientCerts,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Loads what `files` name; `host` is the one clients will ask for.
    ///
    /// # Errors
    /// [`TlsError`]: nothing is served with what is not whole.
    pub fn load(
        files: TlsFiles,
        host: &str,
        client_certs: ClientCerts,
        now: Timestamp,
    ) -> Result<Tls, TlsError> {
        let loaded = Loaded::read(&files, now)?;
        warn(&loaded, host, now);
        let current = RwLock::new(server_config(loaded, client_certs)?);
        Ok(Tls {
            files,
            host: host.to_owned(),
            client_certs,
            current,
        })
    }

    /// What is accepted and risky about `files`, for `stintd check`.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn check(files: &TlsFiles, host: &str, now: Timestamp) -> Result<Vec<String>, TlsError> {
        let loaded = Loaded::read(files, now)?;
        let warnings = loaded.warnings(host, now);
        server_config(loaded, ClientCerts::NotAsked)?;
        Ok(warnings)
    }

    /// What new connections are served with.
    #[must_use]
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what lies in the files now. Open connections go on with what they have.
    pub fn reload(&self, now: Timestamp) {
        let loaded = Loaded::read(&self.files, now);
        let config = loaded.and_then(|loaded| {
            warn(&loaded, &self.host, now);
            server_config(loaded, self.client_certs)
        });
        match config {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(cert = %self.files.cert.display(), "the certificate took force");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate was refused; the last good one serves");
            }
        }
    }

    /// Takes up files that changed, once they stand still: certificate and key are two files, and written one by one.
    pub async fn watch(self: Arc<Self>, clock: Arc<dyn Clock>) {
        let mut settled = Glance::at(&self.files);
        let mut before = settled.clone();
        loop {
            tokio::time::sleep(GLANCE).await;
            let now = Glance::at(&self.files);
            let stands_still = now == before;
            before = now.clone();
            if now != settled && stands_still {
                settled = now;
                self.reload(clock.now());
            }
        }
    }
}

fn warn(loaded: &Loaded, host: &str, now: Timestamp) {
    for warning in loaded.warnings(host, now) {
        tracing::warn!("{warning}");
    }
}

fn server_config(loaded: Loaded, client_certs: ClientCerts) -> Result<Arc<ServerConfig>, TlsError> {
    // Every suite of ring's is ECDHE with an AEAD.
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Pair)?;
    let builder = match client_certs {
        ClientCerts::Asked => {
            builder.with_client_cert_verifier(Arc::new(ProofOnly::new(&provider)))
        }
        ClientCerts::NotAsked => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(loaded.chain, loaded.key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // SECURITY.md §3: by default a server keeps 256 sessions and sends two tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
    Ok(Arc::new(config))
}

/// The name of HTTP/2 in a handshake (RFC 7301).
pub(super) const H2: &[u8] = b"h2";

/// Between two looks at the files.
const GLANCE: Duration = Duration::from_millis(500);
