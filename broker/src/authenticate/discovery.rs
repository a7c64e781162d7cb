//! Fetches an issuer's keys over the network (IDENTITY.md §2.5 *Discovery*, *Fetch*; SECURITY.md §4).
//!
//! Where to is config's word: the issuer's discovery document on the issuer's host, a `jwks_uri` on that host or on one
//! that was named. Redirects, compression, cookies, proxies and credentials do not exist here; an address is judged when
//! it is dialled. A fetch takes 3 seconds and 256 KiB at most, and holds no lock.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use serde_json::Value;

use crate::authenticate::address::Reach;
use crate::authenticate::crypto;
use crate::authenticate::keys::{KeySet, KeySetError};
use crate::strict::{self, Limits};

/// Gets one issuer's keys, and nothing else from anywhere else.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    reach: Reach,
    place: Place,
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where the discovery document of `issuer` says, on the issuer's host or one of `hosts`.
    Discovered { issuer: String, hosts: Vec<String> },
    /// Here.
    Given(Url),
}

/// What a fetch brought.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// Seconds, from `Cache-Control` of the key set.
    pub(super) max_age: Option<u32>,
}

/// Why there are no new keys; for logs and `/readyz`, never for callers.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The host has only addresses that may not be dialled.
    #[error("`{0}` is no address that may be dialled; `allow_private` names exceptions")]
    Address(String),
    /// The key file cannot be read.
    #[error("the key file cannot be read")]
    File(#[source] io::Error),
    /// `jwks_uri` lies on a host nobody named, or is not https.
    #[error("the discovery document points to `{0}`; `jwks_hosts` names further hosts")]
    ForeignHost(String),
    /// The document speaks for another issuer.
    #[error("the discovery document is of issuer `{0}`")]
    ForeignIssuer(String),
    /// Not a usable key set.
    #[error("the key set cannot be used")]
    Keys(#[source] KeySetError),
    /// Not a discovery document.
    #[error("the discovery document cannot be read")]
    Metadata,
    /// More than 3 seconds.
    #[error("no answer within 3 s")]
    Slow,
    /// Another status than 200; a redirect is one of these.
    #[error("status {0}")]
    Status(u16),
    /// More than 256 KiB.
    #[error("an answer of more than 256 KiB")]
    TooLarge,
    /// No connection, no TLS, or a connection that broke.
    #[error("not reachable")]
    Unreachable(#[source] reqwest::Error),
    /// Where the document points is no URL.
    #[error("`{0}` is no URL")]
    Url(String),
}

impl Fetcher {
    /// `roots`: the certificate authorities to trust instead of the system's.
    ///
    /// # Errors
    /// If there is no root to trust.
    pub(super) fn new(
        reach: Reach,
        place: Place,
        roots: Vec<Certificate>,
    ) -> Result<Fetcher, reqwest::Error> {
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
        Ok(Fetcher {
            client: client.build()?,
            reach,
            place,
        })
    }

    /// Both documents, or the one.
    ///
    /// # Errors
    /// Any [`FetchError`]; what was known before stays known.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let all = async {
            let url = match &self.place {
                Place::Given(url) => url.clone(),
                Place::Discovered { issuer, hosts } => self.discover(issuer, hosts).await?,
            };
            let (headers, body) = self.get(url).await?;
            let keys = KeySet::parse(&body).map_err(FetchError::Keys)?;
            Ok(Fetched {
                keys,
                max_age: max_age(&headers),
            })
        };
        tokio::time::timeout(WHOLE, all)
            .await
            .unwrap_or(Err(FetchError::Slow))
    }

    async fn discover(&self, issuer: &str, hosts: &[String]) -> Result<Url, FetchError> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let document = parse(&format!("{base}{WELL_KNOWN}"))?;
        let (_, body) = self.get(document.clone()).await?;
        let metadata = strict::object(&body, Limits::METADATA).or(Err(FetchError::Metadata))?;
        let member = |name| {
            metadata
                .get(name)
                .and_then(Value::as_str)
                .ok_or(FetchError::Metadata)
        };
        let says = member("issuer")?;
        if says != issuer {
            return Err(FetchError::ForeignIssuer(says.to_owned()));
        }
        let keys = member("jwks_uri")?;
        let url = parse(keys)?;
        // INVARIANT: an issuer's document never chooses a host that config did not.
        let same_place = |url: &Url| {
            (
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            )
        };
        let named = url
            .host_str()
            .is_some_and(|host| hosts.iter().any(|named| named == host));
        let known = same_place(&url) == same_place(&document) || (named && url.port().is_none());
        let plain = url.username().is_empty() && url.password().is_none();
        if known && plain && url.scheme() == document.scheme() {
            Ok(url)
        } else {
            Err(FetchError::ForeignHost(keys.to_owned()))
        }
    }

    async fn get(&self, url: Url) -> Result<(HeaderMap, Vec<u8>), FetchError> {
        self.judge_literal(&url)?;
        let request = self
            .client
            .get(url.clone())
            .header(ACCEPT_ENCODING, "identity");
        let mut response = request.send().await.map_err(|error| failure(error, &url))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
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
        Ok((headers, body))
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
        cause = inner.source();
    }
    FetchError::Unreachable(error.without_url())
}

fn parse(url: &str) -> Result<Url, FetchError> {
    Url::parse(url)
        .ok()
        .ok_or_else(|| FetchError::Url(url.to_owned()))
}

fn max_age(headers: &HeaderMap) -> Option<u32> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    directives
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

// IDENTITY.md §2.2.
const CONNECT: Duration = Duration::from_secs(1);
const WHOLE: Duration = Duration::from_secs(3);
const MAX_BYTES: usize = 256 * 1024;
