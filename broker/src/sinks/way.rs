//! How events leave: into a file, by POST, by syslog. A way says of a whole delivery whether it arrived.
//!
//! The contract that keeps gaps out: [`Way::deliver`] returns `Ok` only when the receiver has **all** of it, as far as the
//! transport can tell: a file is on disk, a POST was answered with 2xx, a syslog receiver has closed its side after
//! ours, which it does when it has read everything. Whatever else happens is a [`Trouble`], and the same events are
//! delivered again. That is why there is no syslog over UDP: nobody says that a datagram arrived.

mod file;
mod http;
mod syslog;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use self::file::File;
use self::http::Http;
use self::syslog::Syslog;
use super::format::{Event, Format};
use crate::authenticate::crypto;
use crate::config::{self, SecretError, SinkKind, SinkTo};
use crate::ledger::{FolderError, Ledger};
use crate::post::{PostError, PosterError, read_roots};

/// A way out.
#[derive(Debug)]
pub(super) enum Way {
    File(File),
    Http(Box<Http>),
    Syslog(Box<Syslog>),
    Tiles(Box<Tiles>),
}

/// The log itself as files, not events of it.
#[derive(Debug)]
pub(super) struct Tiles {
    ledger: Ledger,
    folder: PathBuf,
}

impl Tiles {
    /// Brings the folder up to the newest checkpoint; gives its size.
    ///
    /// # Errors
    /// [`Trouble::Folder`].
    pub(super) async fn extend(&self, from: u64) -> Result<u64, Trouble> {
        Ok(self.ledger.write_folder(&self.folder, from).await?)
    }
}

/// Why a delivery did not arrive, for the operator.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// A file or a connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The folder of tiles cannot be brought up to date.
    #[error("{0}")]
    Folder(#[from] FolderError),
    /// The file is not one that entries go into.
    #[error("it is {0}")]
    NoFile(&'static str),
    /// A POST failed.
    #[error("{0}")]
    Post(#[from] PostError),
    /// No answer in time.
    #[error("it took longer than {0:?}")]
    Slow(Duration),
    /// What it is to know us by cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret is none that a header can carry.
    #[error("`secret` is not printable ASCII")]
    Header,
}

/// Why a sink cannot be set up: the operator's to mend.
#[derive(Debug, Error)]
pub(super) enum SetupError {
    /// The roots cannot be read, or there is no client.
    #[error(transparent)]
    Poster(#[from] PosterError),
    /// The roots are none.
    #[error("`ca_file` cannot be used: {0}")]
    Roots(String),
    /// The receiver's name is none.
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
}

impl Way {
    /// The way that `config` describes; reads its roots, touches nothing else.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(super) fn new(
        config: &config::Sink,
        format: Format,
        ledger: &Ledger,
    ) -> Result<Way, SetupError> {
        if let (SinkKind::Tiles, SinkTo::File(folder)) = (config.kind, &config.to) {
            let (ledger, folder) = (ledger.clone(), folder.clone());
            return Ok(Way::Tiles(Box::new(Tiles { ledger, folder })));
        }
        crypto::ensure_tls();
        let timeout = Duration::from_secs(config.timeout.as_u32().into());
        let roots = config.ca_file.as_deref().map(read_roots).transpose()?;
        Ok(match &config.to {
            SinkTo::File(path) => Way::File(File::new(path.clone())),
            SinkTo::Http(url) => {
                let secret = config.secret.clone();
                Way::Http(Box::new(Http::new(
                    (**url).clone(),
                    (secret, roots),
                    timeout,
                    format,
                )?))
            }
            SinkTo::Syslog { host, port, tls } => {
                let tls = tls.then(|| roots.unwrap_or_default());
                let syslog = Syslog::new((host, *port), tls.as_deref(), timeout)?;
                Way::Syslog(Box::new(syslog))
            }
        })
    }

    /// Hands over `events`, in order; at least one.
    ///
    /// # Errors
    /// [`Trouble`]; any part of it may have arrived, and all of it is to be delivered again.
    pub(super) async fn deliver(&mut self, events: Vec<Event>) -> Result<(), Trouble> {
        match self {
            Way::File(file) => file.append(events).await,
            Way::Http(http) => http.post(&events).await,
            Way::Syslog(syslog) => syslog.send(&events).await,
            // Its checkpoint is its heartbeat.
            Way::Tiles(_) => Ok(()),
        }
    }

    /// Begins anew: the next delivery opens the file again.
    pub(super) fn reopen(&mut self) {
        match self {
            Way::File(file) => file.reopen(),
            // Each delivery reads its secret and makes its connection anew.
            Way::Http(_) | Way::Syslog(_) | Way::Tiles(_) => {}
        }
    }
}
