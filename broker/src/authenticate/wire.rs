//! One exchange with an issuer, under the limits of IDENTITY.md §2.5 *Fetch*: https, no redirects, no compression, no
//! cookies, no proxies; an address is judged when it is dialled; 3 seconds and 256 KiB at most.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Method, Request, StatusCode, Url, redirect};

use crate::authenticate::address::Reach;
use crate::authenticate::crypto;
use crate::authenticate::discovery::FetchError;

/// Reaches one issuer, and nothing that its entry does not permit.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Client,
    reach: Reach,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    /// `roots`: the certificate authorities to trust instead of the system's.
    ///
    /// # Errors
    /// If there is no root to trust.
    pub(crate) fn new(reach: Reach, roots: Vec<Certificate>) -> Result<Wire, reqwest::Error> {
        crypto::ensure_tls();
        let client = Client::builder()
            .dns_resolver(Judge(reach.clone()))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(reach != Reach::Loopback)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .pool_max_idle_per_host(0)
            .referer(false);
        // The system's roots are read only where TLS will need them.
        let client = match (&reach, roots.is_empty()) {
            (Reach::Public(_), true) => client,
            (Reach::Public(_), false) | (Reach::Loopback, _) => client.tls_certs_only(roots),
        };
        Ok(Wire {
            client: client.build()?,
            reach,
        })
    }

    /// What is at `url`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn get(&self, url: Url) -> Result<Answered, FetchError> {
        self.send(Request::new(Method::GET, url)).await
    }

    /// Whatever is answered, as it is; a status is no error here.
    ///
    /// # Errors
    /// [`FetchError`]: no whole answer, or one that is too large.
    pub(crate) async fn send(&self, mut request: Request) -> Result<Answered, FetchError> {
        let url = request.url().clone();
        self.judge_literal(&url)?;
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let sent = self.client.execute(request).await;
        let mut response = sent.map_err(|error| failure(error, &url))?;
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| failure(error, &url))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
        }
        Ok(Answered {
            status: response.status(),
            headers,
            body,
        })
    }

    /// A host that is an address is dialled without asking the resolver, so it is judged here.
    fn judge_literal(&self, url: &Url) -> Result<(), FetchError> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.reach.permits(address) => {
                Err(FetchError::Address(host.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Resolves names and keeps the addresses that may be dialled: hyper connects to no other.
struct Judge(Reach);

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut permitted = found
                .filter(|address| reach.permits(address.ip()))
                .peekable();
            if permitted.peek().is_none() {
                return Err(NoAddress.into());
            }
            let permitted: Vec<_> = permitted.collect();
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// A name with no address that may be dialled.
#[derive(Debug)]
struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address that may be dialled")
    }
}

impl std::error::Error for NoAddress {}

fn failure(error: reqwest::Error, url: &Url) -> FetchError {
    if error.is_timeout() {
        return FetchError::Slow;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.is::<NoAddress>() {
            return FetchError::Address(url.host_str().unwrap_or_default().to_owned());
        }
        if let Some(tls) = tls(inner) {
            return FetchError::Tls(tls.to_string());
        }
        cause = inner.source();
    }
    FetchError::Unreachable(error.without_url())
}

/// rustls comes wrapped in an IO error, which shows it as its inside and not as its source.
fn tls<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let direct = error.downcast_ref::<rustls::Error>();
    direct.or_else(|| tls(error.downcast_ref::<io::Error>()?.get_ref()?))
}

// IDENTITY.md §2.2.
const CONNECT: Duration = Duration::from_secs(1);
pub(super) const WHOLE: Duration = Duration::from_secs(3);
const MAX_BYTES: usize = 256 * 1024;
