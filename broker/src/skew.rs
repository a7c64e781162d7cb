//! Whether the clock can be believed: against the monotonic one, the database's, and the ledger's last entry
//! (LEDGER.md §8). While it cannot, nothing is granted: times are what credentials are made of.

use std::time::Duration;

use serde_json::{Map, json};
use stint_audit::kind::{Admin, AdminOp};
use stint_policy::Timestamp;

use crate::clock::{Clock, Stopwatch};
use crate::issue::Broker;
use crate::ledger::{self, Halt};

/// Looks every second, and records when the clock can be believed again.
pub(crate) async fn watch(broker: &Broker) {
    if !broker.clock.may_be_set() {
        return;
    }
    let mut base = Base::of(&*broker.clock);
    let mut since: Option<(Timestamp, String)> = None;
    let mut calm = Stopwatch::start();
    loop {
        tokio::time::sleep(LOOK).await;
        let stepped = base.stepped(&*broker.clock);
        if stepped.is_some() {
            // From now on the new time is the one to keep, if it stands still for a while.
            base = Base::of(&*broker.clock);
            calm = Stopwatch::start();
        }
        let wrong = match stepped {
            Some(step) => Some(format!("the clock was set by {step} ms")),
            None => disagrees(broker).await,
        };
        match (wrong, &since) {
            (Some(why), None) => {
                tracing::error!(%why, "the clock cannot be believed: nothing is granted");
                broker.ledger.halt(Halt::Clock, Some(why.clone()));
                since = Some((broker.clock.now(), why));
            }
            (None, Some((from, why))) if calm.elapsed() >= CALM => {
                broker.ledger.halt(Halt::Clock, None);
                tracing::info!("the clock is believed again");
                record(broker, *from, why).await;
                since = None;
            }
            (Some(_), Some(_)) | (None, _) => {}
        }
    }
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    wall: Timestamp,
    monotonic: Stopwatch,
}

impl Base {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: Stopwatch::start(),
        }
    }

    /// By how many milliseconds the clock was set since, if it was.
    pub(crate) fn stepped(&self, clock: &dyn Clock) -> Option<i64> {
        let step = clock.now().as_millis().saturating_sub(self.expected());
        (step.abs() > SKEW_MS).then_some(step)
    }

    /// What the clock would show had nobody set it, in milliseconds.
    pub(crate) fn expected(&self) -> i64 {
        let passed = i64::try_from(self.monotonic.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.wall.as_millis().saturating_add(passed)
    }
}

/// What the clock contradicts, if anything.
async fn disagrees(broker: &Broker) -> Option<String> {
    let now = broker.clock.now().as_millis();
    let last = i64::try_from(broker.ledger.published().last_ts).unwrap_or(i64::MAX);
    if last.saturating_sub(now) > SKEW_MS {
        let behind = last.saturating_sub(now);
        return Some(format!(
            "the clock is {behind} ms behind the ledger's last entry"
        ));
    }
    // A database that cannot be asked is the committer's trouble, not the clock's.
    let theirs = broker.store.clock().await.ok().flatten()?;
    let apart = now.saturating_sub(theirs);
    (apart.abs() > SKEW_MS).then(|| format!("the clock is {apart} ms ahead of the database's"))
}

async fn record(broker: &Broker, from: Timestamp, why: &str) {
    let what = Admin {
        op: AdminOp::Clock,
        of: None,
        n: None,
    };
    let mut body = Map::new();
    body.insert("reason".to_owned(), json!(why));
    body.insert("was".to_owned(), json!(from.as_millis()));
    body.insert("now".to_owned(), json!(broker.clock.now().as_millis()));
    let entry = ledger::note(what, None, body);
    if let Err(error) = broker.ledger.record(entry, None, Vec::new()).await {
        tracing::warn!(%error, "that the clock was wrong is not on record");
    }
}

/// How far clocks may be apart.
const SKEW_MS: i64 = 5_000;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long a clock that was set must keep its new time.
const CALM: Duration = Duration::from_secs(10);
