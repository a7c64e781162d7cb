//! Notices: who is told that an ask waits, and what came of it (UX.md §7).
//!
//! What is to be said is a row that comes with its outcome, in the same transaction ([`Notifier::parked`],
//! [`Notifier::decided`]); sending it is the work of tasks beside ([`sender`]), so no receiver ever keeps anybody waiting.
//! A notice is for people: it has the first lines of the card and one link, which opens nothing without a session. It
//! never has the match code, a token or the requester's own words.
//!
//! It wakes nobody more than it must: the same ask is announced once, a burst of one caller is one message, and beyond
//! `notices_per_approver` a target gets digests ([`queue`]).

mod card;
mod deliver;
mod mail;
mod queue;
mod sender;
mod slack;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use thiserror::Error;

use self::card::Message;
use self::deliver::Letter;
pub use self::sender::Sender;
use crate::clock::Clock;
use crate::config::{self, NotifyEvent, Rate};
use crate::ids::EntryId;
use crate::issue::Broker;
use crate::post::{PosterError, read_roots};
use crate::random;
use crate::store::notices::{Change, NoticeRow, SoFar, TargetRow, Topic};
use crate::store::{self, RequestRow, Write};

/// Where notices go.
#[derive(Debug, Clone)]
pub struct Notifier {
    targets: Arc<[Arc<Target>]>,
    terms: Terms,
    /// The broker's URL, to which all links lead.
    url: Arc<str>,
    /// The replica's name.
    node: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// One receiver.
#[derive(Debug)]
struct Target {
    name: String,
    config: config::Notify,
}

/// How often somebody is told.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// Asks of one caller that come within this time are one message, in milliseconds.
    coalesce: i64,
    /// What is beyond comes as a digest.
    cap: Rate,
}

/// A target cannot be set up.
#[derive(Debug, Error)]
#[error("[notify.{name}] {source}")]
pub struct NotifyError {
    name: String,
    source: PosterError,
}

/// Why a test did not arrive.
#[derive(Debug, Error)]
pub enum TestError {
    /// There is no such target.
    #[error("there is no [notify.{0}]")]
    Unknown(String),
    /// It was tried.
    #[error("[notify.{name}] {why}")]
    Undelivered {
        /// NAME of the target.
        name: String,
        /// What kept it.
        why: String,
        /// What it did not get through.
        step: Step,
    },
}

/// The steps of one delivery, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Address, secret and CA are read and make sense.
    Prepare,
    /// The receiver is found, reached and answers.
    Reach,
    /// It takes the notice.
    Accept,
}

impl Step {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Prepare => "prepare",
            Step::Reach => "reach",
            Step::Accept => "accept",
        }
    }

    /// What to do where it fails.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Step::Prepare => {
                "Mend what it names, readable by the broker's user alone. It is read anew for each notice: no restart."
            }
            Step::Reach => {
                "From the broker's machine: does the name resolve, is the way open, is its certificate of a CA that \
                 `ca_file` or the system knows?"
            }
            Step::Accept => {
                "It answers, and does not take it: the URL, the secret or the addresses are not, or no more, the ones \
                 it knows. Put the new ones where the table points: no restart."
            }
        }
    }
}

/// A target, and how it does.
#[derive(Debug, Clone)]
pub struct Standing {
    /// NAME of `[notify.NAME]`.
    pub name: String,
    /// `webhook`, `slack` or `smtp`.
    pub kind: &'static str,
    /// Its deliveries.
    pub row: TargetRow,
}

impl Notifier {
    /// The targets of the config; touches no receiver.
    ///
    /// # Errors
    /// [`NotifyError`] names the table.
    pub fn new(
        targets: BTreeMap<String, config::Notify>,
        approval: &config::Approval,
        (url, node): (&str, &str),
        clock: Arc<dyn Clock>,
    ) -> Result<Notifier, NotifyError> {
        let target = |(name, config): (String, config::Notify)| match config
            .ca_file
            .as_deref()
            .map(read_roots)
            .transpose()
        {
            Ok(_) => Ok(Arc::new(Target { name, config })),
            Err(source) => Err(NotifyError { name, source }),
        };
        let targets: Vec<_> = targets.into_iter().map(target).collect::<Result<_, _>>()?;
        let coalesce = i64::from(approval.coalesce.as_u32()).saturating_mul(1_000);
        Ok(Notifier {
            targets: targets.into(),
            terms: Terms {
                coalesce,
                cap: approval.notices_per_approver,
            },
            url: url.trim_end_matches('/').into(),
            node: node.into(),
            clock,
        })
    }

    /// The rows that tell approvers of a request that was parked just now.
    #[must_use]
    pub fn parked(&self, request: &RequestRow) -> Vec<Write> {
        let rows = self.about(request, NotifyEvent::Request, (Topic::Request, "waiting"));
        said(Change::Say(rows))
    }

    /// The rows that tell everybody what it came to: a state's word. `by`: the name of whoever decided, if a person did.
    #[must_use]
    pub fn decided(&self, request: &RequestRow, came_to: &str, by: Option<&str>) -> Vec<Write> {
        if self.targets.is_empty() {
            return Vec::new();
        }
        let mut rows = self.about(request, NotifyEvent::Decided, (Topic::Decided, came_to));
        for row in &mut rows {
            row.body = json!({ "came_to": came_to, "by": by }).to_string();
        }
        said(Change::Decided {
            request: request.id.clone(),
            rows,
            quiet: matches!(came_to, "cancelled" | "expired"),
        })
    }

    /// The rows that tell operators what they should see at once. `what`: one closed word, by which a burst is known.
    #[must_use]
    pub fn alarm(&self, what: &str, title: &str, lines: &[(&str, &str)]) -> Vec<Write> {
        let id = EntryId::from_bytes(random::bytes()).to_string();
        let body = json!({ "title": title, "lines": lines }).to_string();
        let heard = self.targets.iter();
        let rows = heard.filter(|target| target.config.hears(NotifyEvent::Alarm));
        let row = |target: &Arc<Target>| {
            let mut row = self.row(target, (Topic::Alarm, what), id.clone());
            body.clone_into(&mut row.body);
            row
        };
        said(Change::Say(rows.map(row).collect()))
    }

    /// Sends a test to a target now, past the queue.
    ///
    /// # Errors
    /// [`TestError`].
    pub async fn test(&self, name: &str) -> Result<(), TestError> {
        let found = self.targets.iter().find(|target| target.name == name);
        let target = found.ok_or_else(|| TestError::Unknown(name.to_owned()))?;
        let id = EntryId::from_bytes(random::bytes()).to_string();
        let message = Message::test(name, (id, self.clock.now()), &self.url);
        let to = target.config.to.iter().map(|it| it.0.email.to_string());
        let mut to: Vec<String> = to.collect();
        if let (true, Some(from)) = (to.is_empty(), &target.config.from) {
            // Whoever may decide is not woken for a test.
            to.push(from.0.email.to_string());
        }
        let letters = Letter::to_each(&to, message);
        let host = self.host();
        let sent = target.deliver(letters, self.clock.now(), &host).await;
        sent.map_err(|failed| TestError::Undelivered {
            name: name.to_owned(),
            why: failed.error,
            step: failed.step,
        })
    }

    /// Each target and how it does, as `store` knows it.
    ///
    /// # Errors
    /// The database's.
    pub async fn standings(&self, store: &store::Store) -> Result<Vec<Standing>, store::Error> {
        let known = store.notice_targets().await?;
        let standing = |target: &Arc<Target>| Standing {
            name: target.name.clone(),
            kind: target.config.kind.as_str(),
            row: known
                .iter()
                .find(|row| row.target == target.name)
                .cloned()
                .unwrap_or_default(),
        };
        Ok(self.targets.iter().map(standing).collect())
    }

    /// Those who send, one for each target: each must run.
    #[must_use]
    pub fn senders(broker: &Arc<Broker>) -> Vec<Sender> {
        let targets = broker.notifier.targets.iter();
        targets
            .map(|target| Sender::new(Arc::clone(target), Arc::clone(broker)))
            .collect()
    }

    /// A row for each target that hears of this.
    fn about(
        &self,
        request: &RequestRow,
        event: NotifyEvent,
        (topic, what): (Topic, &str),
    ) -> Vec<NoticeRow> {
        let needs = request.needs();
        let told = |target: &&Arc<Target>| {
            let serves = |need: &store::requests::Need| target.config.serves(&need.approvers);
            target.config.hears(event) && needs.iter().any(serves)
        };
        let row = |target: &Arc<Target>| NoticeRow {
            request: Some(request.id.clone()),
            ..self.row(
                target,
                (topic, &request.caller),
                format!("{}-{what}", request.id),
            )
        };
        self.targets.iter().filter(told).map(row).collect()
    }

    fn row(&self, target: &Target, (topic, who): (Topic, &str), id: String) -> NoticeRow {
        let now = self.clock.now().as_millis();
        NoticeRow {
            target: target.name.clone(),
            id,
            topic,
            who: who.to_owned(),
            request: None,
            body: "{}".to_owned(),
            due: now.saturating_add(self.terms.coalesce.min(BREATH)),
            until: now.saturating_add(LIFE),
            so_far: SoFar::default(),
        }
    }

    /// The broker's host: mail is written in its name.
    fn host(&self) -> String {
        let url = reqwest::Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str);
        host.unwrap_or("localhost").to_owned()
    }
}

impl Broker {
    /// Sends a test notice to `[notify.NAME]`, and remembers how that went.
    ///
    /// # Errors
    /// [`TestError`].
    pub async fn test_notice(&self, name: &str) -> Result<(), TestError> {
        let sent = self.notifier.test(name).await;
        if let Err(TestError::Unknown(_)) = sent {
            return sent;
        }
        let error = sent.as_ref().err().map(ToString::to_string);
        self.ledger.enqueue(vec![Write::Notice(Change::Tried {
            target: name.to_owned(),
            at: self.clock.now().as_millis(),
            error,
        })]);
        sent
    }
}

/// No row without something to say.
fn said(change: Change) -> Vec<Write> {
    match &change {
        Change::Say(rows) if rows.is_empty() => Vec::new(),
        Change::Bind { .. }
        | Change::Decided { .. }
        | Change::Failed(_)
        | Change::Gone { .. }
        | Change::Say(_)
        | Change::Sent(_)
        | Change::Tried { .. } => vec![Write::Notice(change)],
    }
}

/// A burst begins within this time of its first ask: matrix jobs start together. In milliseconds, as below.
const BREATH: i64 = 2_000;
/// A notice that could not be delivered in a day is no news.
const LIFE: i64 = 24 * 3_600_000;
