//! Fetches an issuer's keys over the network (IDENTITY.md §2.5 *Discovery*, *Fetch*; SECURITY.md §4).
//!
//! Where to is config's word: the issuer's discovery document on the issuer's host, a `jwks_uri` on that host or on one
//! that was named. Redirects, compression, cookies, proxies and credentials do not exist here; an address is judged when
//! it is dialled. A fetch takes 3 seconds and 256 KiB at most, and holds no lock.

use reqwest::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue,
};
use reqwest::{Certificate, StatusCode, Url};
use serde_json::Value;

use crate::authenticate::address::Reach;
use crate::authenticate::keys::{KeySet, KeyUse};
use crate::authenticate::source::Stamp;
use crate::authenticate::wire::{WHOLE, Wire};
use crate::strict::{self, Limits};

mod error;

pub(crate) use error::FetchError;

/// Gets one issuer's keys, and nothing else from anywhere else.
#[derive(Debug)]
pub(super) struct Fetcher {
    wire: Wire,
    place: Place,
    wanted: KeyUse,
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
    /// The server's clock, as its `Date` says, in seconds since 1970; for `doctor`.
    pub(super) date: Option<i64>,
    /// What the key file looked like before it was read.
    pub(super) file: Option<Stamp>,
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
        Ok(Fetcher {
            wire: Wire::new(reach, roots)?,
            place,
            wanted: KeyUse::Signature,
        })
    }

    /// Takes the keys of this use, and not those for signatures of any kind.
    pub(super) fn for_use(self, wanted: KeyUse) -> Fetcher {
        Fetcher { wanted, ..self }
    }

    /// Both documents, or the one.
    ///
    /// # Errors
    /// Any [`FetchError`]; what was known before stays known.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let all = async {
            let url = self.keys_at().await?;
            self.keys(url).await
        };
        tokio::time::timeout(WHOLE, all)
            .await
            .unwrap_or(Err(FetchError::Slow))
    }

    /// Where the keys are: as config or the discovery document says.
    ///
    /// # Errors
    /// Any [`FetchError`] of the document.
    pub(super) async fn keys_at(&self) -> Result<Url, FetchError> {
        match &self.place {
            Place::Given(url) => Ok(url.clone()),
            Place::Discovered { issuer, hosts } => self.discover(issuer, hosts).await,
        }
    }

    /// The keys at `url`, which [`Self::keys_at`] gave.
    ///
    /// # Errors
    /// Any [`FetchError`] of the key set.
    pub(super) async fn keys(&self, url: Url) -> Result<Fetched, FetchError> {
        let (headers, body) = self.get(url).await?;
        let keys = KeySet::parse(&body, self.wanted).map_err(FetchError::Keys)?;
        Ok(Fetched {
            keys,
            max_age: max_age(&headers),
            date: date(&headers),
            file: None,
        })
    }

    /// Where this fetcher was sent by config, for the record of what it brought.
    pub(super) fn place(&self) -> String {
        match &self.place {
            Place::Given(url) => url.to_string(),
            Place::Discovered { issuer, .. } => issuer.clone(),
        }
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
            return Err(FetchError::ForeignIssuer(error::cut(says)));
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
            Err(FetchError::ForeignHost(error::cut(keys)))
        }
    }

    async fn get(&self, url: Url) -> Result<(HeaderMap, Vec<u8>), FetchError> {
        let answer = self.wire.get(url).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(answer.status.as_u16()));
        }
        check_form(&answer.headers)?;
        Ok((answer.headers, answer.body))
    }
}

/// JSON as it is, or nothing: `application/json` and `application/*+json`, not compressed.
fn check_form(headers: &HeaderMap) -> Result<(), FetchError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(FetchError::Encoded);
    }
    let stated = headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
    let stated = stated.and_then(Result::ok).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let json = essence
        .strip_prefix("application/")
        .is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    match json {
        true => Ok(()),
        false => Err(FetchError::ContentType(error::cut(&essence))),
    }
}

fn parse(url: &str) -> Result<Url, FetchError> {
    Url::parse(url)
        .ok()
        .ok_or_else(|| FetchError::Url(error::cut(url)))
}

fn max_age(headers: &HeaderMap) -> Option<u32> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    directives
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

/// `Date`, the one form that servers send (RFC 9110 §5.6.7).
fn date(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?.strip_suffix(" GMT")?;
    let form = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second]"
    );
    let moment = time::PrimitiveDateTime::parse(text, form).ok()?;
    Some(moment.assume_utc().unix_timestamp())
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// IDENTITY.md §2.5 *Recorded*: changes of a key set in an hour.
pub(super) const MAX_CHANGES: usize = 10;
