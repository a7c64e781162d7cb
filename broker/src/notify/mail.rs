//! A message as mail: plain text, one letter for each reader, so that none sees who else was written to.

use std::time::{Duration, SystemTime};

use lettre::address::AddressError;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use thiserror::Error;

use super::card::{Item, Message};
use crate::config::{Relay, RelayTls, Secret};
use crate::telemetry::lines::legible;

/// The way to a mail server.
pub(super) struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
}

/// Why a letter did not arrive.
#[derive(Debug, Error)]
pub(super) enum MailError {
    /// The address is none.
    #[error("`{0}` is no address")]
    Address(String),
    /// The server does not take this letter: another one it may.
    #[error("the server said no: {0}")]
    Refused(String),
    /// Nothing can be sent now.
    #[error("{0}")]
    Server(String),
    /// No answer in time.
    #[error("it took longer than {0:?}")]
    Slow(Duration),
}

impl Post {
    /// Over `relay`, which knows us by `password`; `roots` are PEM, or the machine's.
    ///
    /// # Errors
    /// [`MailError::Server`].
    pub(super) fn new(
        relay: &Relay,
        (password, roots): (Option<&Secret<Vec<u8>>>, Option<&[u8]>),
        (host, timeout): (&str, Duration),
    ) -> Result<Post, MailError> {
        let wrong = |error: lettre::transport::smtp::Error| MailError::Server(in_full(&error));
        let parameters = || -> Result<TlsParameters, MailError> {
            let mut tls = TlsParameters::builder(relay.host.clone());
            if let Some(pem) = roots {
                tls = tls.certificate_store(CertificateStore::None);
                tls = tls.add_root_certificate(Certificate::from_pem(pem).map_err(wrong)?);
            }
            tls.build_rustls().map_err(wrong)
        };
        let tls = match relay.tls {
            RelayTls::Implicit => Tls::Wrapper(parameters()?),
            RelayTls::None => Tls::None,
            RelayTls::Starttls => Tls::Required(parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&*relay.host)
            .port(relay.port)
            .timeout(Some(timeout))
            .hello_name(ClientId::Domain(host.to_owned()))
            .tls(tls);
        if let (Some(user), Some(password)) = (&relay.user, password) {
            #[expect(
                clippy::disallowed_methods,
                reason = "the server is to read it, over TLS"
            )]
            let password = std::str::from_utf8(password.expose()).unwrap_or_default();
            builder = builder.credentials(Credentials::new(user.clone(), password.to_owned()));
        }
        Ok(Post {
            transport: builder.build(),
            timeout,
        })
    }

    /// Sends one letter.
    ///
    /// # Errors
    /// [`MailError`]; it may have arrived all the same.
    pub(super) async fn send(&self, letter: Mail) -> Result<(), MailError> {
        let sent = tokio::time::timeout(self.timeout, self.transport.send(letter)).await;
        match sent.map_err(|_elapsed| MailError::Slow(self.timeout))? {
            Ok(_) => Ok(()),
            Err(error) if error.is_timeout() => Err(MailError::Slow(self.timeout)),
            Err(error) if error.is_permanent() => Err(MailError::Refused(in_full(&error))),
            Err(error) => Err(MailError::Server(in_full(&error))),
        }
    }
}

/// `message` as a letter.
///
/// # Errors
/// [`MailError::Address`].
pub(super) fn letter(
    message: &Message,
    (from, to): (&Mailbox, &str),
    host: &str,
) -> Result<Mail, MailError> {
    let address = to.parse();
    let address =
        address.map_err(|_error: AddressError| MailError::Address(legible(to).into_owned()))?;
    let at = u64::try_from(message.at.as_millis()).unwrap_or(0);
    let subject = match message.items.as_slice() {
        [one] if message.count == 1 && one.sentence != message.title => {
            format!("[stint] {}: {}", message.title, one.sentence)
        }
        _ => format!("[stint] {}", message.title),
    };
    let mut mail = Mail::builder()
        .from(from.clone())
        .to(Mailbox::new(None, address))
        .subject(legible(&subject).into_owned())
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(at))
        .message_id(Some(format!("<{}@{host}>", message.id)))
        .header(ContentType::TEXT_PLAIN)
        // Nobody's holiday answers this (RFC 3834).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    if let [
        Item {
            request: Some(request),
            came_to: Some(_),
            ..
        },
    ] = message.items.as_slice()
    {
        mail = mail.in_reply_to(format!("<{request}-waiting@{host}>"));
    }
    let body = mail.body(text(message));
    body.map_err(|error| MailError::Refused(error.to_string()))
}

fn text(message: &Message) -> String {
    let mut lines = vec![message.title.clone(), String::new()];
    match message.items.as_slice() {
        [one] if message.count == 1 => {
            lines.extend([one.sentence.clone(), String::new()]);
            let rows = one.lines.iter();
            lines.extend(rows.map(|(label, value)| format!("{label}: {value}")));
        }
        several => {
            for item in several {
                lines.push(format!("- {}", item.sentence));
                let outcome = item.lines.first().filter(|_| item.came_to.is_some());
                lines.extend(outcome.map(|(label, value)| format!("  {label} {value}")));
            }
            let shown = several.len();
            if shown > 0 && message.count > shown {
                lines.push(format!("- and {} more", message.count - shown));
            }
        }
    }
    lines.extend([
        String::new(),
        format!("{}:", message.call),
        message.url.clone(),
        String::new(),
    ]);
    lines.join("\n")
}

/// An error with its causes, as one line: servers write parts of it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        inner = source.source();
    }
    let text: String = text.chars().take(300).collect();
    legible(&text).into_owned()
}
