//! `[notify.NAME]`: who is told that an ask waits, and what it came to (UX.md §5, §7).

use std::net::IpAddr;
use std::path::PathBuf;

use lettre::message::Mailbox;
use reqwest::Url;
use serde_json::{Value, json};
use stint_policy::Seconds;
use thiserror::Error;
use toml::de::DeValue;

use super::choices::{NotifyEvent, NotifyKind};
use super::declare::settings;
use super::reader::{Check, Reader, Table};
use super::secret::{Secret, SecretError, SecretRef};
use super::setting::{Place, Word, Wrong};
use super::words::text;

settings! {
    /// Who is told that an ask waits for people, and what it came to. Notices are for people: they carry no secret, no
    /// match code and one link, and whoever follows it has to sign in.
    pub struct Notify {
        required {
            /// What reads it: any program over HTTP (signed, Standard Webhooks), Slack, or people's mail.
            kind: NotifyKind,
            /// Where to: https://…, or for mail smtps://[USER@]HOST[:465] or smtp+starttls://[USER@]HOST[:587]. http://
            /// and smtp:// only to this machine. A secret: whoever knows a Slack webhook may write to its channel.
            url: SecretRef,
        }
        default {
            /// webhook: `whsec_` and a base64 key of 24 to 64 bytes, which signs each message. smtp: USER's password.
            secret: Option<SecretRef> = None;
            /// smtp: who writes. Recorded in the ledger.
            from: Option<Address> = None;
            /// smtp: who reads. Empty: everybody who may decide, at the verified address of their last login. Recorded
            /// in the ledger.
            to: Vec<Address> = Vec::new();
            /// Of which approvers, such as `Group::"sre"`; "*" is all.
            groups "for": Vec<Approvers> = vec![Approvers::All];
            /// Of what: asks that wait, what they came to, and what an operator should see at once.
            events: Vec<NotifyEvent> = vec![NotifyEvent::Request, NotifyEvent::Decided, NotifyEvent::Alarm];
            /// The roots that count for TLS, PEM, instead of the system's.
            ca_file: Option<PathBuf> = None;
            /// How long a receiver may take for one delivery.
            timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(30);
        }
    }
}

/// Why a target's `url` leads nowhere. It is not shown.
#[derive(Debug, Error)]
pub enum ReceiverError {
    /// It cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It says nothing that a message could go to.
    #[error("`url` {0}")]
    Url(String),
}

impl Notify {
    /// Where messages to a target of `kind` go, read now.
    ///
    /// # Errors
    /// [`ReceiverError`].
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "that there is a secret is all that is judged"
    )]
    pub(crate) fn receiver_of(
        url: &SecretRef,
        kind: NotifyKind,
        has_secret: bool,
    ) -> Result<Receiver, ReceiverError> {
        let read = Receiver::of(kind, &url.read()?, has_secret);
        read.map_err(|wrong| ReceiverError::Url(wrong.text))
    }

    /// The groups that it is for by name.
    pub(crate) fn named_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter_map(|it| match it {
            Approvers::All => None,
            Approvers::Group(name) => Some(name.as_str()),
        })
    }

    /// Whether it is told of such events.
    #[must_use]
    pub fn hears(&self, event: NotifyEvent) -> bool {
        self.events.contains(&event)
    }

    /// Whether it is told of requests that ask for this group, by its name.
    #[must_use]
    pub fn serves(&self, group: &str) -> bool {
        self.groups.iter().any(|it| match it {
            Approvers::All => true,
            Approvers::Group(name) => name == group,
        })
    }
}

impl Check for Notify {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let mut refuse = |key: &str, text: &str, label: &str| {
            table.refuse(key, Wrong::new(text, label), reader);
        };
        if self.groups.is_empty() {
            refuse(
                "for",
                "is empty: nobody would be told",
                "[\"*\"] is all approvers",
            );
        }
        if self.events.is_empty() {
            refuse(
                "events",
                "is empty: nothing would be told",
                "[\"request\", \"decided\", \"alarm\"]",
            );
        }
        let mail = self.kind == NotifyKind::Smtp;
        match (self.kind, &self.secret) {
            (NotifyKind::Webhook, None) => {
                refuse("secret", "is missing: messages are signed", WHSEC);
            }
            (NotifyKind::Slack, Some(_)) => {
                refuse(
                    "secret",
                    "has nobody who reads it",
                    "Slack's `url` is its own secret",
                );
            }
            (NotifyKind::Slack, None) | (NotifyKind::Smtp | NotifyKind::Webhook, _) => {}
        }
        match (mail, &self.from) {
            (true, None) => refuse("from", "is missing", Address::WANTS),
            (false, Some(_)) => refuse("from", "has no mail to stand on", "only with smtp"),
            (true, Some(_)) | (false, None) => {}
        }
        if !mail && !self.to.is_empty() {
            refuse("to", "has no mail to go to", "only with smtp");
        }
        // What cannot be read was reported already; a credential may not be here yet.
        if let Ok(url) = self.url.read()
            && let Err(wrong) = Receiver::of(self.kind, &url, self.secret.is_some())
        {
            table.refuse("url", wrong, reader);
        }
        if self.kind == NotifyKind::Webhook
            && let Some(Ok(secret)) = self.secret.as_ref().map(SecretRef::read)
            && signing_key(&secret).is_none()
        {
            table.refuse("secret", Wrong::new("cannot sign", WHSEC), reader);
        }
    }
}

/// What a target's `url` says, which is read anew for each delivery.
#[derive(Debug)]
pub enum Receiver {
    /// POSTs go there.
    Http(Url),
    /// Mail goes there.
    Mail(Relay),
}

/// A server that takes mail.
#[derive(Debug)]
pub struct Relay {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept from others.
    pub tls: RelayTls,
    /// Whom it knows us as.
    pub user: Option<String>,
}

/// TLS on the way to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayTls {
    /// From the first byte.
    Implicit,
    /// None: it is this machine.
    None,
    /// Begun by STARTTLS; without it nothing is sent.
    Starttls,
}

impl Receiver {
    /// Reads `url` as a target of `kind` does; what is wrong is told without a word of it: it is a secret.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "that there is a secret is all that is judged"
    )]
    fn of(kind: NotifyKind, url: &Secret<Vec<u8>>, has_secret: bool) -> Result<Receiver, Wrong> {
        #[expect(
            clippy::disallowed_methods,
            reason = "it is read for where to go, and shown to nobody"
        )]
        let text = std::str::from_utf8(url.expose()).unwrap_or_default();
        let forms = forms(kind);
        let url = Url::parse(text.trim()).map_err(|_source| Wrong::new("holds no URL", forms))?;
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.is_empty() || url.fragment().is_some() {
            return Err(Wrong::new("holds no URL of a receiver", forms));
        }
        if url.password().is_some() {
            return Err(Wrong::new("has a password in it", "it goes into `secret`"));
        }
        let clear = || match is_here(&host) {
            true => Ok(()),
            false => Err(Wrong::new(
                "goes over the network in the clear",
                "only to this machine; else https, smtps or smtp+starttls",
            )),
        };
        if kind != NotifyKind::Smtp {
            match url.scheme() {
                "https" => {}
                "http" => clear()?,
                _ => return Err(Wrong::new("is of no scheme that it can go by", forms)),
            }
            let named = url.username().is_empty();
            let refused = || Wrong::new("has a user in it", forms);
            return named.then_some(Receiver::Http(url)).ok_or_else(refused);
        }
        let (tls, port) = match url.scheme() {
            "smtps" => (RelayTls::Implicit, 465),
            "smtp+starttls" => (RelayTls::Starttls, 587),
            "smtp" => (RelayTls::None, 25),
            _ => return Err(Wrong::new("is of no scheme that mail goes by", forms)),
        };
        if tls == RelayTls::None {
            clear()?;
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(Wrong::new("has more than a host and a port", forms));
        }
        let user = percent_encoding::percent_decode_str(url.username()).decode_utf8();
        let user = user.map_err(|_source| Wrong::new("has a user that is no text", forms))?;
        let user = (!user.is_empty()).then(|| user.into_owned());
        match (&user, has_secret) {
            (Some(_), false) => Err(Wrong::new("has a user without a password", "set `secret`")),
            (None, true) => Err(Wrong::new("has no user for `secret`", "smtps://USER@HOST")),
            (Some(_), true) | (None, false) => Ok(Receiver::Mail(Relay {
                port: url.port().unwrap_or(port),
                host,
                tls,
                user,
            })),
        }
    }
}

/// The key in a Standard Webhooks secret; none if it is no such secret.
pub(crate) fn signing_key(secret: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the key that it holds is wrapped again"
    )]
    let text = std::str::from_utf8(secret.expose()).ok()?;
    let encoded = text.trim().strip_prefix("whsec_")?;
    let key = data_encoding::BASE64.decode(encoded.as_bytes()).ok()?;
    (24..=64).contains(&key.len()).then(|| Secret::new(key))
}

const fn forms(kind: NotifyKind) -> &'static str {
    match kind {
        NotifyKind::Slack => "https://hooks.slack.com/services/…",
        NotifyKind::Smtp => "smtps://[USER@]HOST, smtp+starttls://[USER@]HOST, smtp://127.0.0.1",
        NotifyKind::Webhook => "https://HOST/PATH",
    }
}

fn is_here(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// A mail address, with or without a name before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub(crate) Mailbox);

impl Word for Address {
    const WANTS: &'static str = "an address such as \"Stint <stint@acme.dev>\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Address, Wrong> {
        let text = text::<Address>(value)?;
        let read = text
            .parse()
            .ok()
            .filter(|_| !text.contains(char::is_control));
        let wrong = || Wrong::new(format!("is no mail address: `{text}`"), Self::WANTS);
        read.map(Address).ok_or_else(wrong)
    }

    fn json(&self) -> Value {
        json!(self.0.to_string())
    }
}

/// Whose requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approvers {
    /// Everybody's.
    All,
    /// Those that ask for this group, by its name.
    Group(String),
}

impl Word for Approvers {
    const WANTS: &'static str = "\"*\", or a group such as 'Group::\"sre\"'";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Approvers, Wrong> {
        let text = text::<Approvers>(value)?;
        if text == "*" {
            return Ok(Approvers::All);
        }
        let name = text
            .strip_prefix("Group::\"")
            .and_then(|it| it.strip_suffix('"'));
        let name = name.filter(|it| !it.is_empty() && !it.contains(['"', '\\']));
        let wrong = || Wrong::new(format!("is no group: `{text}`"), Self::WANTS);
        name.map(|name| Approvers::Group(name.to_owned()))
            .ok_or_else(wrong)
    }

    fn json(&self) -> Value {
        match self {
            Approvers::All => json!("*"),
            Approvers::Group(name) => json!(format!("Group::\"{name}\"")),
        }
    }
}

const WHSEC: &str = "`whsec_` and a base64 key of 24 to 64 bytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "as the function under test"
    )]
    fn read(kind: NotifyKind, url: &str, has_secret: bool) -> Result<Receiver, String> {
        let secret = Secret::new(url.as_bytes().to_vec());
        Receiver::of(kind, &secret, has_secret).map_err(|wrong| wrong.text)
    }

    #[test]
    fn mail_goes_by_tls_or_to_this_machine() {
        for (url, host, port, tls, user) in [
            (
                "smtps://mail.acme.dev",
                "mail.acme.dev",
                465,
                RelayTls::Implicit,
                None,
            ),
            (
                "smtp+starttls://mail.acme.dev:2587",
                "mail.acme.dev",
                2587,
                RelayTls::Starttls,
                None,
            ),
            ("smtp://127.0.0.1", "127.0.0.1", 25, RelayTls::None, None),
            ("smtp://[::1]:2525", "::1", 2525, RelayTls::None, None),
            (
                "smtps://stint%40acme.dev@m.example",
                "m.example",
                465,
                RelayTls::Implicit,
                Some("stint@acme.dev"),
            ),
        ] {
            let Ok(Receiver::Mail(relay)) = read(NotifyKind::Smtp, url, user.is_some()) else {
                panic!("{url}");
            };
            assert_eq!(
                (relay.host.as_str(), relay.port, relay.tls),
                (host, port, tls),
                "{url}"
            );
            assert_eq!(relay.user.as_deref(), user, "{url}");
        }
    }

    #[test]
    fn what_would_go_in_the_clear_or_nowhere_is_refused_without_being_shown() {
        use NotifyKind::{Slack, Smtp, Webhook};
        for (kind, url, has_secret, why) in [
            (
                Webhook,
                "http://hooks.acme.dev/hunter2",
                true,
                "in the clear",
            ),
            (Webhook, "hunter2", true, "no URL"),
            (Webhook, "smtps://acme.dev/hunter2", true, "no scheme"),
            (Webhook, "https://me@acme.dev/hunter2", true, "a user"),
            (Slack, "https://me:hunter2@acme.dev/", false, "a password"),
            (Slack, "https://acme.dev/#hunter2", false, "no URL"),
            (Smtp, "smtp://mail.acme.dev", false, "in the clear"),
            (Smtp, "https://hunter2.acme.dev", false, "no scheme"),
            (
                Smtp,
                "smtps://mail.acme.dev/hunter2",
                false,
                "more than a host",
            ),
            (
                Smtp,
                "smtps://hunter2@mail.acme.dev",
                false,
                "without a password",
            ),
            (Smtp, "smtps://mail.acme.dev", true, "no user"),
        ] {
            let refused = read(kind, url, has_secret).unwrap_err();
            assert!(refused.contains(why), "{url}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_signing_key_is_long_enough() {
        let key = |text: &str| signing_key(&Secret::new(text.as_bytes().to_vec())).is_some();
        assert!(key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
        assert!(key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n"));
        for wrong in [
            "",
            "whsec_",
            "whsec_AAAA",
            "whsec_%%%",
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        ] {
            assert!(!key(wrong), "{wrong}");
        }
    }
}
