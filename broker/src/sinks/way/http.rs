//! POSTs of many events: lines (`application/x-ndjson`), or a batch of CloudEvents.
//!
//! One address, as the config says it: no redirect is followed and no proxy of the environment is asked, so the token goes
//! nowhere else. Any 2xx is a receipt for the whole body; whatever else is none.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, Url, redirect};

use super::{SetupError, Trouble};
use crate::config::SecretRef;
use crate::sinks::format::{Event, Format};

#[derive(Debug)]
pub(in crate::sinks) struct Http {
    client: Client,
    url: Url,
    secret: Option<SecretRef>,
    timeout: Duration,
    format: Format,
}

impl Http {
    pub(super) fn new(
        url: Url,
        (secret, roots): (Option<SecretRef>, Option<Vec<u8>>),
        timeout: Duration,
        format: Format,
    ) -> Result<Http, SetupError> {
        let roots = roots.as_deref().map(Certificate::from_pem_bundle);
        let wrong = |error: reqwest::Error| SetupError::Client(error.to_string());
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .https_only(url.scheme() == "https")
            .connect_timeout(CONNECT.min(timeout))
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("stintd/", env!("CARGO_PKG_VERSION")));
        // The system's roots are read only where TLS will need them.
        let client = match (roots.transpose().map_err(wrong)?, url.scheme()) {
            (Some(roots), _) => client.tls_certs_only(roots),
            (None, "https") => client,
            (None, _) => client.tls_certs_only([]),
        };
        Ok(Http {
            client: client.build().map_err(wrong)?,
            url,
            secret,
            timeout,
            format,
        })
    }

    pub(super) async fn post(&self, events: &[Event]) -> Result<(), Trouble> {
        let (kind, body) = body(self.format, events);
        let request = self.client.post(self.url.clone());
        let mut request = request.header(CONTENT_TYPE, kind).body(body);
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, bearer(secret.clone()).await?);
        }
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(Trouble::Status {
                status: answer.status().as_u16(),
                wait: wait(&answer),
            }),
        }
    }

    /// The whole chain of causes, without the address: that is in the config.
    fn failed(&self, error: reqwest::Error) -> Trouble {
        if error.is_timeout() {
            return Trouble::Slow(self.timeout);
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
        Trouble::Post(text)
    }
}

/// Read for each delivery: a new token counts at once, and no old one stays in memory.
async fn bearer(secret: SecretRef) -> Result<HeaderValue, Trouble> {
    let read = tokio::task::spawn_blocking(move || secret.read());
    let secret = read.await.map_err(std::io::Error::other)??;
    let mut text = zeroize::Zeroizing::new(b"Bearer ".to_vec());
    #[expect(
        clippy::disallowed_methods,
        reason = "the receiver is to read it; the header is marked as sensitive"
    )]
    text.extend_from_slice(secret.expose());
    let header = HeaderValue::from_bytes(&text);
    let mut header = header.map_err(|_not_a_header| Trouble::Header)?;
    header.set_sensitive(true);
    Ok(header)
}

fn body(format: Format, events: &[Event]) -> (&'static str, Vec<u8>) {
    let lines = events.iter().map(|event| event.line.as_slice());
    let lines: Vec<&[u8]> = lines.collect();
    match format {
        Format::CloudEvents => {
            let mut body = b"[".to_vec();
            body.extend_from_slice(&lines.join(&b","[..]));
            body.push(b']');
            ("application/cloudevents-batch+json", body)
        }
        Format::Csv | Format::Jsonl | Format::Ocsf => {
            let mut body = lines.join(&b"\n"[..]);
            body.push(b'\n');
            ("application/x-ndjson", body)
        }
    }
}

/// `Retry-After` in seconds; a date is as good as nothing.
fn wait(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

/// Of the time for the whole.
const CONNECT: Duration = Duration::from_secs(3);
