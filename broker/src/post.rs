//! POSTs to a receiver that the operator named: sinks and notices leave by it.
//!
//! One address, as the config says it: no redirect is followed and no proxy of the environment is asked, so a token goes
//! nowhere else. Any 2xx is a receipt for the whole body; whatever else is none.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, RequestBuilder, Response, redirect};
use thiserror::Error;

use crate::telemetry::lines::legible;

/// Sends bodies.
#[derive(Debug, Clone)]
pub(crate) struct Poster {
    client: Client,
    timeout: Duration,
}

/// Why a body did not arrive.
#[derive(Debug, Error)]
pub(crate) enum PostError {
    /// The receiver cannot be reached, or hung up.
    #[error("{0}")]
    Failed(String),
    /// No answer in time.
    #[error("it took longer than {0:?}")]
    Slow(Duration),
    /// The receiver said no.
    #[error("it answered {status}")]
    Status {
        /// Of the answer.
        status: u16,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// The first words of its answer, as one line.
        said: String,
    },
}

/// Why there is no client.
#[derive(Debug, Error)]
pub(crate) enum PosterError {
    /// The HTTP client cannot be built.
    #[error("{0}")]
    Client(String),
    /// The roots cannot be read.
    #[error("`ca_file` `{path}` cannot be used: {why}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Which certificates count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Roots<'a> {
    /// None: TLS is not spoken.
    None,
    /// These, PEM.
    Given(&'a [u8]),
    /// Those of the machine.
    System,
}

impl Poster {
    /// One that lets each POST take `timeout`.
    ///
    /// # Errors
    /// [`PosterError::Client`].
    pub(crate) fn new(roots: Roots<'_>, timeout: Duration) -> Result<Poster, PosterError> {
        let wrong = |error: reqwest::Error| PosterError::Client(error.to_string());
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .https_only(!matches!(roots, Roots::None))
            .connect_timeout(CONNECT.min(timeout))
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("stintd/", env!("CARGO_PKG_VERSION")));
        // The system's roots are read only where TLS will need them.
        let client = match roots {
            Roots::Given(pem) => {
                client.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(wrong)?)
            }
            Roots::None => client.tls_certs_only([]),
            Roots::System => client,
        };
        let client = client.build().map_err(wrong)?;
        Ok(Poster { client, timeout })
    }

    /// What is to be sent, which [`Self::send`] takes.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`PostError`]; it may have arrived all the same.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<(), PostError> {
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(PostError::Status {
                status: answer.status().as_u16(),
                wait: wait(&answer),
                said: said(answer).await,
            }),
        }
    }

    /// The whole chain of causes, without the address: it may be a secret.
    fn failed(&self, error: reqwest::Error) -> PostError {
        if error.is_timeout() {
            return PostError::Slow(self.timeout);
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
        PostError::Failed(text)
    }
}

/// The PEM text of a file, at most 1 MiB.
///
/// # Errors
/// [`PosterError::Roots`].
pub(crate) fn read_roots(path: &Path) -> Result<Vec<u8>, PosterError> {
    let wrong = |why: String| PosterError::Roots {
        path: path.display().to_string(),
        why,
    };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut pem = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut pem)
        .map_err(|error| wrong(error.to_string()))?;
    // TLS clients take what is there: one file without a root would trust nobody, quietly.
    match pem.windows(MARK.len()).any(|at| at == MARK) {
        true => Ok(pem),
        false => Err(wrong("it has no PEM certificate".to_owned())),
    }
}

/// `Retry-After` in seconds; a date is as good as nothing.
fn wait(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

/// What came first of its body: receivers say there what they did not like.
async fn said(mut answer: Response) -> String {
    let first = answer.chunk().await.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&first);
    let first: String = text.trim().chars().take(SAID).collect();
    legible(&first).into_owned()
}

/// Of the time for the whole.
const CONNECT: Duration = Duration::from_secs(3);
const LARGEST: u64 = 1 << 20;
const MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Characters of an answer that an operator is shown.
const SAID: usize = 100;
