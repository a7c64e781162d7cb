//! POSTs of many events: lines (`application/x-ndjson`), or a batch of CloudEvents.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use super::{SetupError, Trouble};
use crate::config::SecretRef;
use crate::post::{Poster, Roots};
use crate::sinks::format::{Event, Format};

#[derive(Debug)]
pub(in crate::sinks) struct Http {
    poster: Poster,
    url: Url,
    secret: Option<SecretRef>,
    format: Format,
}

impl Http {
    pub(super) fn new(
        url: Url,
        (secret, roots): (Option<SecretRef>, Option<Vec<u8>>),
        timeout: Duration,
        format: Format,
    ) -> Result<Http, SetupError> {
        let roots = match (&roots, url.scheme()) {
            (_, "http") => Roots::None,
            (Some(pem), _) => Roots::Given(pem),
            (None, _) => Roots::System,
        };
        Ok(Http {
            poster: Poster::new(roots, timeout)?,
            url,
            secret,
            format,
        })
    }

    pub(super) async fn post(&self, events: &[Event]) -> Result<(), Trouble> {
        let (kind, body) = body(self.format, events);
        let request = self.poster.client().post(self.url.clone());
        let mut request = request.header(CONTENT_TYPE, kind).body(body);
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, bearer(secret.clone()).await?);
        }
        Ok(self.poster.send(request).await?)
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
