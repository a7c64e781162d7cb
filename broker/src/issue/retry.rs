//! The same ask again: it gets the outcome of the first, and nothing is minted twice (IDENTITY.md §2.3, UX.md §4).
//!
//! Two things make an ask a retry: an `Idempotency-Key` that its caller sent for this task before, or evidence that was
//! spent on this very ask. Both rows are written in the first outcome's own transaction, under a unique key, so that of
//! two that race one mints and the other finds. A certificate is public and is kept, to be given again; a token is not,
//! and what was recorded and not delivered is never signed again (DESIGN.md §11).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stint_audit::{Digest, Receipt};
use stint_ca::Credential;
use stint_policy::{Seconds, Timestamp};
use tokio::sync::Notify;

use super::ask::Asked;
use super::entry::{self, Facts};
use super::stop::{Error, Stop, unreadable};
use super::{Again, Broker, Case, Denied, Fault, Held, Outcome, Refusal, rows};
use crate::store::{AnswerRow, Engine, RetryRow, Sort, Write};

/// The value of `Idempotency-Key`: 1 to 255 bytes of visible ASCII. It counts for one caller and one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads one; `None` if it has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        ((1..=LONGEST_KEY).contains(&text.len()) && visible).then(|| Self(text.to_owned()))
    }
}

/// What an outcome is to be remembered by: its id, and until when asking again makes sense.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) outcome: &'a str,
    pub(super) end: Timestamp,
}

/// What another ask must be to be the same one.
#[derive(Debug)]
pub(super) struct Same {
    /// The ask's digest and the key to be certified: what an idempotency key stands for.
    pub(super) ask: Digest,
    /// The same, and the key that was proved: what spent evidence stands for.
    pub(super) whole: Digest,
}

impl Same {
    /// `asked`: the ask, if it could be read; otherwise its words count.
    pub(super) fn of(case: &Case<'_>, asked: Option<&Asked>) -> Same {
        let (what, proof) = match asked {
            Some(asked) => {
                let key = asked.key.as_ref().map(|key| key.digest());
                let key = key.map_or([0; 32], |key| *key.as_bytes());
                let what = [&b"ask\n"[..], asked.digest.as_bytes(), &key].concat();
                (what, asked.proof)
            }
            None => {
                let words = format!("text\n{:?}", case.ask);
                (words.into_bytes(), case.proof())
            }
        };
        let proof = proof.unwrap_or_default();
        let whole = [&b"whole\n"[..], &what, &proof].concat();
        Same {
            ask: Digest::of(&what),
            whole: Digest::of(&whole),
        }
    }
}

impl Case<'_> {
    /// Until when an outcome that ends at `end` is remembered: as long as it or its evidence may come again.
    pub(super) fn remembered(&self, end: Timestamp) -> Timestamp {
        let evidence = self.caller.replay().map(|replay| replay.until);
        let least = self.now.plus(REMEMBERED);
        evidence.map_or(least, |until| until.max(least)).max(end)
    }

    /// The row of this ask's idempotency key, if it has one.
    pub(super) fn retry_row(&self, task: &str, same: &Same, mark: Mark<'_>) -> Option<RetryRow> {
        Some(RetryRow {
            key: self.retry_key(task)?,
            same: same.ask.to_string(),
            outcome: mark.outcome.to_owned(),
            until: self.remembered(mark.end).as_millis(),
        })
    }

    /// No part but the last can hold a line break, so no two callers, tasks and keys meet.
    fn retry_key(&self, task: &str) -> Option<String> {
        let IdempotencyKey(key) = self.once?;
        let caller = &self.caller.principal().id;
        let text = format!("stint/retry/v1\n{caller}\n{task}\n{key}");
        Some(Digest::of(text.as_bytes()).to_string())
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    Approval {
        asked: String,
        receipt: Value,
    },
    Certificate(Box<Again>),
    Human {
        asked: String,
        request: String,
        by: String,
        reason: String,
        receipt: Value,
    },
    Key(String),
    Policy {
        asked: String,
        receipt: Value,
        proof_required: bool,
    },
}

impl Facts<'_> {
    /// The refusal, so that whoever asks again reads the same one. What makes an ask unreadable needs no keeping: it
    /// is found again.
    pub(super) fn keep_refusal(&self, decision: &str, why: &Refusal) -> Option<Write> {
        let kept = match why {
            Refusal::Approval { asked, receipt } => Kept::Approval {
                asked: asked.clone(),
                receipt: receipt.clone(),
            },
            Refusal::Policy {
                asked,
                receipt,
                proof_required,
            } => Kept::Policy {
                asked: asked.clone(),
                receipt: receipt.clone(),
                proof_required: *proof_required,
            },
            Refusal::Form(Fault::Key(text)) => Kept::Key(text.clone()),
            Refusal::Form(_) => return None,
            Refusal::Human {
                asked,
                request,
                by,
                reason,
                receipt,
            } => Kept::Human {
                asked: asked.clone(),
                request: request.clone(),
                by: by.clone(),
                reason: reason.clone(),
                receipt: receipt.clone(),
            },
        };
        Some(self.keep(decision, &kept, self.case.now))
    }

    /// The certificate, with what its answer says besides; nothing for a token.
    fn keep_certificate(&self, credential: &Credential, receipt: &Receipt) -> Option<Write> {
        let again = Again::of(credential, receipt)?;
        let id = again.grant.clone();
        let kept = Kept::Certificate(Box::new(again));
        Some(self.keep(&id, &kept, credential.not_after()))
    }

    fn keep(&self, id: &str, kept: &Kept, end: Timestamp) -> Write {
        Write::Keep(AnswerRow {
            id: id.to_owned(),
            body: json!(kept).to_string(),
            until: self.case.remembered(end).as_millis(),
        })
    }
}

impl Broker {
    /// The outcome that this ask's idempotency key came to, if it came to one. What was held is asked anew: policy
    /// finds its request, or has the votes by now. Evidence that comes with a retry is used up like any other.
    pub(super) async fn repeated(
        &self,
        case: &Case<'_>,
        asked: Result<&Asked, &Fault>,
    ) -> Result<Option<Outcome>, Stop> {
        let task = entry::task_of(case, &self.tasks).unwrap_or_default();
        let Some(key) = case.retry_key(&task) else {
            return Ok(None);
        };
        let Some(row) = self.store.retry(&key).await.map_err(unreadable)? else {
            return Ok(None);
        };
        let same = Same::of(case, asked.ok());
        if row.same != same.ask.to_string() {
            return Err(Stop::Error(Error::Conflict));
        }
        if row.outcome.starts_with("req_") {
            return Ok(None);
        }
        let mark = Mark {
            outcome: &row.outcome,
            end: Timestamp::from_millis(row.until),
        };
        let spent = rows::spend(case, &task, asked.ok(), mark);
        self.ledger.settle(spent).await?;
        self.again(case, &row.outcome, asked.err()).await.map(Some)
    }

    /// What comes of evidence or a proof that was used before: its first outcome, if it came with the same ask, and a
    /// replay otherwise.
    pub(super) async fn used_before(&self, case: &Case<'_>, sort: Sort) -> Result<Outcome, Stop> {
        let read = self.understood(case, &self.policies.in_force()).await?;
        let same = Same::of(case, read.as_ref().ok().map(|(asked, _)| asked));
        let key = match sort {
            Sort::Proof => case
                .dpop
                .map(|dpop| Digest::from_bytes(dpop.key).to_string()),
            Sort::Token => rows::replay_key(case),
        };
        let first = match &key {
            Some(key) => self.store.first_use(key).await.map_err(unreadable)?,
            None => None,
        };
        let first = first.filter(|first| first.same.as_deref() == Some(&*same.whole.to_string()));
        match (first.and_then(|first| first.outcome), sort) {
            (Some(outcome), _) => self.again(case, &outcome, read.as_ref().err()).await,
            (None, Sort::Proof) => Err(Stop::Error(Error::ProofReplayed)),
            (None, Sort::Token) => {
                self.replayed(case).await?;
                Err(Stop::Error(Error::Replayed))
            }
        }
    }

    /// The outcome `id` once more. `fault`: what is wrong with the ask, if it cannot be read.
    async fn again(
        &self,
        case: &Case<'_>,
        id: &str,
        fault: Option<&Fault>,
    ) -> Result<Outcome, Stop> {
        if id.starts_with("req_") {
            let open = self.store.request(id).await.map_err(unreadable)?;
            let open = open.filter(|row| row.stands(case.now.as_millis()));
            let request = open.ok_or(Stop::Error(Error::RequestEnded))?;
            return Ok(Outcome::Held(Held {
                have: u8::try_from(request.standing.votes).unwrap_or(u8::MAX),
                request,
                created: false,
            }));
        }
        self.deliveries.ended(id).await;
        // What was queued for the store before this is in it afterwards; and whoever was frozen meanwhile is given
        // nothing again.
        self.ledger.settle(vec![rows::not_frozen(case)]).await?;
        let kept = self.kept(id).await?;
        let why = match (kept, fault) {
            (Some(Kept::Certificate(again)), _) if again.life().1 > case.now => {
                return Ok(Outcome::Again(again));
            }
            // It has ended: to give it again would be to give nothing that counts.
            (Some(Kept::Certificate(_)), _) => return Err(Stop::Error(Error::AlreadyDelivered)),
            (Some(Kept::Approval { asked, receipt }), _) => Refusal::Approval { asked, receipt },
            (Some(Kept::Key(text)), _) => Refusal::Form(Fault::Key(text)),
            (
                Some(Kept::Human {
                    asked,
                    request,
                    by,
                    reason,
                    receipt,
                }),
                _,
            ) => Refusal::Human {
                asked,
                request,
                by,
                reason,
                receipt,
            },
            (
                Some(Kept::Policy {
                    asked,
                    receipt,
                    proof_required,
                }),
                _,
            ) => Refusal::Policy {
                asked,
                receipt,
                proof_required,
            },
            (None, Some(fault)) if id.starts_with("dec_") => Refusal::Form(fault.clone()),
            (None, _) => return Err(Stop::Error(Error::AlreadyDelivered)),
        };
        Ok(Outcome::Denied(Denied {
            decision: id.to_owned(),
            why,
        }))
    }

    /// What is kept for `id`. Another replica may be handing a grant out this moment, as [`Deliveries`] knows of our own.
    async fn kept(&self, id: &str) -> Result<Option<Kept>, Stop> {
        let others = id.starts_with("gr_") && self.store.engine() == Engine::Postgres;
        let mut looks = if others { LOOKS } else { 1 };
        loop {
            let kept = self.store.answer(id).await.map_err(unreadable)?;
            let kept = kept.and_then(|body| serde_json::from_str(&body).ok());
            looks -= 1;
            if kept.is_some() || looks == 0 {
                return Ok(kept);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Keeps a certificate to be given again. Whoever sent an idempotency key counts on it, and waits until it is
    /// durable; for others it is on its way.
    pub(super) async fn keep(&self, facts: &Facts<'_>, credential: &Credential, receipt: &Receipt) {
        let Some(write) = facts.keep_certificate(credential, receipt) else {
            return;
        };
        if facts.case.once.is_none() {
            return self.ledger.enqueue(vec![write]);
        }
        if let Err(error) = self.ledger.settle(vec![write]).await {
            // The certificate is good, and its retry will hear that it was delivered.
            tracing::warn!(%error, "a certificate was not kept to be given again");
        }
    }
}

/// Grants that are being recorded, signed and kept: a retry that meets one waits for its end.
#[derive(Debug, Default)]
pub struct Deliveries {
    open: Mutex<HashSet<String>>,
    ended: Notify,
}

/// One of them; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    all: &'a Deliveries,
    grant: String,
}

impl Deliveries {
    /// Before the grant is recorded: whoever finds it in the store finds it here, or ended.
    pub(super) fn begin(&self, grant: String) -> Delivery<'_> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(grant.clone());
        Delivery { all: self, grant }
    }

    fn is_open(&self, grant: &str) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.contains(grant)
    }

    /// Returns when `grant` is not under way, which it is for milliseconds.
    async fn ended(&self, grant: &str) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if !self.is_open(grant) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.grant);
        drop(open);
        self.all.ended.notify_waiters();
    }
}

/// How often another replica's answer is looked for, and how long is waited in between: a delivery takes milliseconds.
const LOOKS: u32 = 8;
const BETWEEN: Duration = Duration::from_millis(100);

/// As long as the longest id evidence may carry (SECURITY.md §4).
const LONGEST_KEY: usize = 255;

/// An outcome is remembered for ten minutes at least: the longest life of a CI job's token (IDENTITY.md §3), and so
/// longer than any client goes on with one attempt.
const REMEMBERED: Seconds = Seconds::new(600);
