//! HTTP as it is spoken here: who vouches for whom, and how much is read of an answer.

use std::time::Duration;

use reqwest::{Certificate, Response, Url};
use serde::de::DeserializeOwned;
use stint_wire::Problem;

use super::endpoint::Anchor;
use crate::Error;

/// The largest answer we read: a grant with 64 resources, its chain and its receipt stays far below.
const MAX_ANSWER: usize = 1024 * 1024;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// What to quote of an answer that has no id in its body.
    pub(super) id: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn problem(&self) -> Option<Box<Problem>> {
        if self.status < 400 {
            return None;
        }
        let mut problem: Box<Problem> = serde_json::from_slice(&self.body).ok()?;
        problem.decision = problem.decision.or_else(|| self.id.clone());
        Some(problem)
    }

    pub(super) fn expect<T: DeserializeOwned>(&self, status: u16) -> Result<T, Error> {
        let unexpected = Error::Unexpected {
            status: self.status,
        };
        match self.problem() {
            Some(problem) => Err(Error::Problem(problem)),
            None if self.status != status => Err(unexpected),
            None => serde_json::from_slice(&self.body).map_err(|_json| unexpected),
        }
    }
}

/// A builder for `url`. On loopback no TLS is spoken: loading the machine's roots would only cost its 10 ms.
pub(crate) fn http(timeout: Duration, url: &Url) -> reqwest::ClientBuilder {
    if url.scheme() == "http" {
        local(timeout)
    } else {
        on_ring(timeout)
    }
}

/// The one way an HTTP client is built here: ring under rustls, no redirects.
fn on_ring(timeout: Duration) -> reqwest::ClientBuilder {
    if let Err(_installed) = rustls::crypto::ring::default_provider().install_default() {
        // Somebody chose the process's provider before us: theirs stands.
    }
    reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("stint/", env!("CARGO_PKG_VERSION")))
}

/// A client for a file at `url`, however long it takes to come; `silence` is a fault. It may be at anybody's place, and
/// what comes is worth no more than what it proves itself.
///
/// # Errors
/// [`Error::Endpoint`] as [`Client::new`], but a query is allowed.
pub fn download(url: &str, anchor: &Anchor, silence: Duration) -> Result<reqwest::Client, Error> {
    let failed = |why| Error::Endpoint {
        url: url.to_owned(),
        why,
    };
    let parsed = Url::parse(url).map_err(|_parse| failed("it is no URL"))?;
    if !is_secure(&parsed) {
        return Err(failed("only https is spoken, or http to this machine"));
    }
    let mut builder = http(Duration::MAX, &parsed).read_timeout(silence);
    if let Anchor::Pem(pem) = anchor {
        let roots =
            Certificate::from_pem_bundle(pem).map_err(|_pem| failed("its CA file is no PEM"))?;
        builder = builder.tls_certs_only(roots);
    }
    let client = builder.connect_timeout(silence).build();
    client.map_err(|_tls| failed("no TLS roots can be loaded"))
}

/// A builder for HTTP that stays on this machine: plain loopback and Unix sockets, same crypto provider.
pub fn local(timeout: Duration) -> reqwest::ClientBuilder {
    on_ring(timeout).no_proxy().tls_certs_only([])
}

/// The body of an answer, at most [`MAX_ANSWER`] of it.
///
/// # Errors
/// [`Error::Unexpected`] for a longer one, [`Error::Unreachable`] if it breaks off.
pub async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::Unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::Unexpected { status });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// https, or http to this very machine.
pub(crate) fn is_secure(url: &Url) -> bool {
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || address
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        _ => false,
    }
}
