//! Syslog messages (RFC 5424) over TCP or TLS, their octets counted (RFC 6587 §3.4.1, RFC 5425 §4.3).
//!
//! Syslog has no receipt: what was written may lie in a buffer of a receiver that is just dying. TCP tells one thing, and
//! it is enough: a receiver that closes its side after we closed ours has read to the end. So a delivery is one connection:
//! write, close, wait for the other's end. A receiver that never closes is slow, and is tried again.
//!
//! The message is JSON in UTF-8 without a byte order mark (MSG-ANY): those who parse it want none.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{SetupError, Trouble};
use crate::sinks::format::{Event, Severity};

#[derive(Debug)]
pub(in crate::sinks) struct Syslog {
    host: String,
    port: u16,
    tls: Option<Tls>,
    timeout: Duration,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish()
    }
}

impl Syslog {
    pub(super) fn new(
        (host, port): (&str, u16),
        roots: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Syslog, SetupError> {
        Ok(Syslog {
            host: host.to_owned(),
            port,
            tls: roots.map(|roots| Tls::new(host, roots)).transpose()?,
            timeout,
        })
    }

    pub(super) async fn send(&self, events: &[Event]) -> Result<(), Trouble> {
        let mut frames = Vec::new();
        for event in events {
            let message = message(event);
            frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
            frames.extend_from_slice(&message);
        }
        let all = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            match &self.tls {
                None => hand_over(stream, &frames).await,
                Some(tls) => {
                    let stream = tls.connector.connect(tls.name.clone(), stream).await?;
                    hand_over(stream, &frames).await
                }
            }
        };
        match tokio::time::timeout(self.timeout, all).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Trouble::Slow(self.timeout)),
        }
    }
}

/// Writes, ends, and waits for the other's end. With TLS that is its `close_notify` (RFC 5425 §4.4): a connection that
/// is merely cut may have been cut by anybody, and is an error.
async fn hand_over<S>(mut stream: S, frames: &[u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(frames).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    let mut heard = [0; 1024];
    // Syslog receivers say nothing; who talks is read to the end, and bounded by the time.
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

impl Tls {
    fn new(host: &str, roots: &[u8]) -> Result<Tls, SetupError> {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots) {
            let root = root.map_err(|error| SetupError::Roots(error.to_string()))?;
            store
                .add(root)
                .map_err(|error| SetupError::Roots(error.to_string()))?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(store)
            .with_no_client_auth();
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|_invalid| SetupError::Name(host.to_owned()))?,
        };
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

/// `<PRI>1 TIME - stintd - KIND - {…}`. No host name: the log's own is in the message, and a relay adds the sender's.
fn message(event: &Event) -> Vec<u8> {
    let severity = match event.severity {
        Severity::Info => 6,
        Severity::Notice => 5,
        Severity::Warning => 4,
        Severity::Critical => 2,
    };
    let time = event.at.rfc3339();
    let id = msgid(&event.kind);
    let mut message = format!("<{}>1 {time} - stintd - {id} - ", FACILITY * 8 + severity);
    message.reserve(event.line.len());
    let mut message = message.into_bytes();
    message.extend_from_slice(&event.line);
    message
}

/// At most 32 printable ASCII characters; a kind of a later version might be none.
fn msgid(kind: &str) -> &str {
    let plain = !kind.is_empty() && kind.len() <= 32 && kind.bytes().all(|b| b.is_ascii_graphic());
    if plain { kind } else { "-" }
}

/// "Log audit" (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;

#[cfg(test)]
mod tests {
    use stint_policy::Timestamp;

    use super::*;

    #[test]
    fn a_message_has_the_form_of_rfc_5424() {
        let event = |kind: &str, severity| Event {
            line: b"{}".to_vec(),
            kind: kind.to_owned(),
            at: Timestamp::from_millis(1_795_305_600_123),
            severity,
        };
        let text = |event: &Event| String::from_utf8(message(event)).unwrap();
        assert_eq!(
            text(&event("denied", Severity::Notice)),
            "<109>1 2026-11-22T00:00:00.123Z - stintd - denied - {}"
        );
        assert_eq!(
            text(&event("two words", Severity::Critical)),
            "<106>1 2026-11-22T00:00:00.123Z - stintd - - - {}"
        );
    }
}
