//! The client: one broker, its facts, and sessions that ask it for things.
//!
//! Read [`Session`] first, then [`Pending`]: what an ask becomes when people are asked.

mod endpoint;
mod pending;
mod person;
mod session;
mod transport;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Response, Url};
use stint_wire::{Granted, Token, Trust};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::OnceCell;

use crate::{Error, Finding, Judgement, Source, clock, judge};

pub use endpoint::{Anchor, Endpoint, Fingerprint};
pub use pending::Pending;
pub use person::{Person, PersonToken, Pkce};
pub use session::Session;
pub use transport::{body, download, local};
pub(crate) use transport::{http, is_secure};

use session::Proves;
use transport::Answer;

/// A clock that is off by more than this makes proofs fail (SECURITY.md §4: `iat` ± 30 s), seconds.
const CLOCK_TOLERANCE_S: i64 = 30;

/// What an ask became. A denial is an [`Error::Denied`].
#[derive(Debug)]
pub enum Outcome {
    /// A credential.
    Granted(Box<Granted>),
    /// A request that waits for people.
    Held(Box<Pending>),
}

/// One broker.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    timeout: Duration,
    pinned: Option<Fingerprint>,
    trust: OnceCell<Trust>,
    /// The broker's clock less ours, seconds, by its last `Date`.
    skew: AtomicI64,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the URL is not https (or http to this machine), or the anchor cannot be read.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let failed = |why| Error::Endpoint {
            url: endpoint.url.clone(),
            why,
        };
        let url = Url::parse(&endpoint.url).map_err(|_parse| failed("it is no URL"))?;
        if !is_secure(&url) {
            return Err(failed("only https is spoken, or http to this machine"));
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(failed("it has a user, a query or a fragment"));
        }
        let mut builder = http(endpoint.timeout, &url);
        if let Anchor::Pem(pem) = &endpoint.anchor {
            let roots = Certificate::from_pem_bundle(pem)
                .map_err(|_pem| failed("its CA file is no PEM"))?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder
            .build()
            .map_err(|_tls| failed("no TLS roots can be loaded"))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            timeout: endpoint.timeout,
            pinned: endpoint.fingerprint,
            trust: OnceCell::new(),
            skew: AtomicI64::new(0),
        })
    }

    /// The broker's URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The broker's facts, fetched once; its root is compared with the pin.
    ///
    /// # Errors
    /// [`Error::Fingerprint`], or why no facts came.
    pub async fn trust(&self) -> Result<&Trust, Error> {
        self.trust.get_or_try_init(|| self.fetch_trust()).await
    }

    async fn fetch_trust(&self) -> Result<Trust, Error> {
        let request = self.http.get(format!("{}/v1/trust", self.base));
        let answer = self
            .read(request.send().await.map_err(Error::Unreachable)?)
            .await?;
        let trust: Trust = answer.expect(200)?;
        if let Some(pinned) = self.pinned {
            pinned.check(&trust.root_pem)?;
        }
        Ok(trust)
    }

    /// A session on this broker with evidence from `source`.
    #[must_use]
    pub const fn session(&self, source: Source) -> Session<'_> {
        Session {
            client: self,
            source,
            proves: Proves::Nothing,
        }
    }

    /// How many seconds this machine's clock is ahead of the broker's, by the last answer.
    #[must_use]
    pub fn clock_ahead_s(&self) -> i64 {
        self.skew.load(Ordering::Relaxed).saturating_neg()
    }

    /// The broker's time, seconds since 1970, by our clock and its last `Date`.
    #[must_use]
    pub fn broker_now(&self) -> i64 {
        clock::now().saturating_add(self.skew.load(Ordering::Relaxed))
    }

    /// Judges a token as the broker's facts allow: audience and time, and this machine's clock.
    ///
    /// # Errors
    /// Why the broker's facts could not be had.
    pub async fn judge(&self, token: &Token) -> Result<Judgement, Error> {
        let mut judgement = judge(token, &self.trust().await?.audience, self.broker_now());
        let ahead = self.clock_ahead_s();
        if ahead.abs() > CLOCK_TOLERANCE_S {
            judgement.findings.push(Finding::Clock(ahead));
        }
        Ok(judgement)
    }

    /// Status and body of an answer; its `Date` sets our view of the broker's clock.
    async fn read(&self, response: Response) -> Result<Answer, Error> {
        let status = response.status().as_u16();
        let date = response
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) {
            self.skew.store(
                date.unix_timestamp().saturating_sub(clock::now()),
                Ordering::Relaxed,
            );
        }
        let id = response.headers().get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = body(response).await?;
        Ok(Answer { status, id, body })
    }
}

#[cfg(test)]
mod tests;
