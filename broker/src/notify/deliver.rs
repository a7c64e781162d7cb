//! One delivery, by whichever way a target has. It is bounded as a whole, whatever the receiver does.

use std::time::Duration;

use stint_policy::Timestamp;
use tokio::task::spawn_blocking;

use super::card::Message;
use super::mail::{self, MailError, Post};
use super::{Step, Target, slack, webhook};
use crate::clock::Stopwatch;
use crate::config::{
    self, NotifyKind, Receiver, ReceiverError, Relay, Secret, SecretError, SecretRef,
};
use crate::post::{PostError, Poster, Roots, read_roots};

/// What goes to one reader.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    /// An address; empty where the target has one receiver only.
    pub(super) to: String,
    pub(super) message: Message,
}

/// A delivery that did not succeed as a whole.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// What kept it: no secret, one line.
    pub(super) error: String,
    /// Whom it did not reach, where there are several.
    pub(super) rest: Option<Vec<String>>,
    /// How long the receiver wants to be left alone.
    pub(super) wait: Option<Duration>,
    /// How far it came.
    pub(super) step: Step,
}

impl Undelivered {
    /// Before anything was sent.
    pub(super) fn because(error: impl ToString) -> Undelivered {
        Undelivered {
            error: error.to_string(),
            rest: None,
            wait: None,
            step: Step::Prepare,
        }
    }
}

/// What a delivery needs of the disk: read anew for each, so that a new secret counts at once and no old one stays.
struct Means {
    receiver: Receiver,
    secret: Option<Secret<Vec<u8>>>,
    roots: Option<Vec<u8>>,
}

impl Letter {
    /// The same message to each.
    pub(super) fn to_each(to: &[String], message: Message) -> Vec<Letter> {
        let letter = |to: &String| Letter {
            to: to.clone(),
            message: message.clone(),
        };
        match to {
            [] => vec![Letter {
                to: String::new(),
                message,
            }],
            to => to.iter().map(letter).collect(),
        }
    }
}

impl Target {
    /// Hands over all of `letters`, at least one.
    ///
    /// # Errors
    /// [`Undelivered`]; what did not arrive is to be delivered again, and it may have arrived all the same.
    pub(super) async fn deliver(
        &self,
        letters: Vec<Letter>,
        now: Timestamp,
        host: &str,
    ) -> Result<(), Undelivered> {
        let means = self.means().await?;
        let timeout = Duration::from_secs(self.config.timeout.as_u32().into());
        match &means.receiver {
            Receiver::Http(url) => {
                for letter in &letters {
                    self.post(&letter.message, (url, &means), (now, timeout))
                        .await?;
                }
                Ok(())
            }
            Receiver::Mail(relay) => self.mail(letters, (relay, &means), (host, timeout)).await,
        }
    }

    async fn means(&self) -> Result<Means, Undelivered> {
        let read = |secret: &Option<SecretRef>| -> Result<_, SecretError> {
            secret.as_ref().map(SecretRef::read).transpose()
        };
        let config = &self.config;
        let (url, secret, roots) = (
            config.url.clone(),
            config.secret.clone(),
            config.ca_file.clone(),
        );
        let (kind, has) = (config.kind, secret.is_some());
        let means = spawn_blocking(move || -> Result<Means, ReadError> {
            Ok(Means {
                receiver: config::Notify::receiver_of(&url, kind, has)?,
                secret: read(&secret)?,
                roots: roots.as_deref().map(read_roots).transpose()?,
            })
        });
        let means = means.await.map_err(Undelivered::because)?;
        means.map_err(Undelivered::because)
    }

    async fn post(
        &self,
        message: &Message,
        (url, means): (&reqwest::Url, &Means),
        (now, timeout): (Timestamp, Duration),
    ) -> Result<(), Undelivered> {
        let roots = match (url.scheme(), &means.roots) {
            ("http", _) => Roots::None,
            (_, Some(pem)) => Roots::Given(pem),
            (_, None) => Roots::System,
        };
        let poster = Poster::new(roots, timeout).map_err(Undelivered::because)?;
        let request = poster.client().post(url.clone());
        let request = request.header("content-type", "application/json");
        let request = match self.config.kind {
            NotifyKind::Slack => request.body(slack::payload(message).to_string()),
            NotifyKind::Smtp | NotifyKind::Webhook => {
                let key = means.secret.as_ref().and_then(webhook::Key::read);
                let key = key.ok_or_else(|| Undelivered::because("`secret` is no `whsec_…`"))?;
                let signed = key.sign(message, now);
                let headers = signed.headers.into_iter();
                headers
                    .fold(request, |request, (name, value)| {
                        request.header(name, value)
                    })
                    .body(signed.body)
            }
        };
        poster.send(request).await.map_err(|error| {
            let (said, wait, step) = match &error {
                PostError::Status { said, wait, .. } if !said.is_empty() => {
                    (format!(": {said}"), *wait, Step::Accept)
                }
                PostError::Status { wait, .. } => (String::new(), *wait, Step::Accept),
                PostError::Failed(_) | PostError::Slow(_) => (String::new(), None, Step::Reach),
            };
            Undelivered {
                wait,
                step,
                ..Undelivered::because(format!("{error}{said}"))
            }
        })
    }

    /// A reader whom the server does not take keeps the others from nothing, and is not tried again if it takes them.
    async fn mail(
        &self,
        letters: Vec<Letter>,
        (relay, means): (&Relay, &Means),
        (host, timeout): (&str, Duration),
    ) -> Result<(), Undelivered> {
        let Some(from) = &self.config.from else {
            return Err(Undelivered::because("`from` is missing"));
        };
        let keys = (means.secret.as_ref(), means.roots.as_deref());
        let post = Post::new(relay, keys, (host, timeout)).map_err(Undelivered::because)?;
        let watch = Stopwatch::start();
        let (mut rest, mut refused, mut why) = (Vec::new(), Vec::new(), None);
        let (mut down, all) = (false, letters.len());
        let mut step = Step::Reach;
        for letter in letters {
            if down || watch.elapsed() > BOUND {
                rest.push(letter.to);
                continue;
            }
            let mail = mail::letter(&letter.message, (&from.0, &letter.to), host);
            let sent = match mail {
                Ok(mail) => post.send(mail).await,
                Err(error) => Err(error),
            };
            let Err(error) = sent else { continue };
            why = Some(error.to_string());
            match error {
                MailError::Address(_) | MailError::Refused(_) => {
                    step = Step::Accept;
                    refused.push(letter.to);
                }
                MailError::Server(_) | MailError::Slow(_) => {
                    down = true;
                    rest.push(letter.to);
                }
            }
        }
        let takes_others = rest.len() + refused.len() < all;
        match (takes_others, &why) {
            (true, Some(why)) if !refused.is_empty() => {
                let (target, count) = (&self.name, refused.len());
                tracing::warn!(
                    target,
                    count,
                    why,
                    "the mail server does not take some of the readers"
                );
            }
            _ => rest.append(&mut refused),
        }
        if rest.is_empty() {
            return Ok(());
        }
        let error = why.unwrap_or_else(|| "there was no time for all readers yet".to_owned());
        Err(Undelivered {
            error,
            rest: Some(rest),
            wait: None,
            step: if down { Step::Reach } else { step },
        })
    }
}

/// Why a delivery could not even begin.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Receiver(#[from] ReceiverError),
    #[error(transparent)]
    Roots(#[from] crate::post::PosterError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// After it no more letters are begun. With one letter more it stays below the lease of a target's turn.
const BOUND: Duration = Duration::from_secs(30);
