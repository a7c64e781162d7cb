//! Sends what is due to one target: takes its turn, asks the queue what is next, delivers, and says how it went.
//!
//! A notice goes when its message has arrived, so a crash between the two sends it again, under the same id. Two replicas
//! never send at once: the turn is one row, and a delivery is bounded well below its lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use stint_policy::{GroupName, SpiffeId, Timestamp};

use super::Target;
use super::card::{Decision, Item, MOST_ITEMS, Message};
use super::deliver::{Letter, Undelivered};
use super::queue::{self, Form, Parcel, Step};
use crate::config::NotifyKind;
use crate::issue::Broker;
use crate::random;
use crate::store::notices::{Change, Failed, NoticeRow, Reader, Sent, TargetTurn, Topic};
use crate::store::requests::State;
use crate::store::{self, RequestRow, Write};

/// Sends to one target.
#[derive(Debug)]
pub struct Sender {
    target: Arc<Target>,
    broker: Arc<Broker>,
    turn: TargetTurn,
    /// Deliveries in a row that failed.
    failures: u32,
    /// Nothing is tried before.
    quiet: i64,
}

/// What a row says, and of which request; of an alarm there is none.
struct About {
    request: Option<RequestRow>,
    item: Item,
}

impl Sender {
    pub(super) fn new(target: Arc<Target>, broker: Arc<Broker>) -> Sender {
        let (store, name) = (broker.store.clone(), target.name.clone());
        Sender {
            turn: TargetTurn::new(store, name, broker.notifier.node.to_string()),
            target,
            broker,
            failures: 0,
            quiet: 0,
        }
    }

    /// Sends for ever.
    pub async fn run(mut self) {
        loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(GLANCE).await,
                Err(error) => {
                    tracing::warn!(%error, target = self.target.name, "notices cannot be read");
                    tokio::time::sleep(TROUBLE).await;
                }
            }
        }
    }

    /// One message, if one is due; whether there was anything to do.
    async fn step(&mut self) -> Result<bool, store::Error> {
        let now = self.broker.clock.now().as_millis();
        if now < self.quiet || self.next(now).await?.is_none() {
            return Ok(false);
        }
        if !self.turn.take(now, now.saturating_add(LEASE)).await? {
            return Ok(false);
        }
        // Another replica may have sent it just before.
        match self.next(now).await? {
            None => Ok(false),
            Some(Step::Over(ids)) => {
                let (target, count) = (&self.target.name, ids.len());
                tracing::warn!(
                    target,
                    count,
                    "notices were not delivered within a day, and are dropped"
                );
                self.counted("dropped");
                Ok(self.settle(self.gone(ids)).await)
            }
            Some(Step::Send(parcel)) => self.send(parcel).await,
        }
    }

    async fn next(&self, now: i64) -> Result<Option<Step>, store::Error> {
        let (store, name) = (&self.broker.store, &self.target.name);
        let rows = store.notices(name).await?;
        if rows.iter().all(|row| row.due > now && row.until > now) {
            return Ok(None);
        }
        let past = store.notices_sent(name, now.saturating_sub(MEMORY)).await?;
        Ok(queue::next(&rows, &past, now, &self.broker.notifier.terms))
    }

    async fn send(&mut self, parcel: Parcel) -> Result<bool, store::Error> {
        let now = self.broker.clock.now();
        let about = self.about(&parcel, now).await?;
        if about.is_empty() {
            return Ok(self.settle(self.gone(parcel.ids())).await);
        }
        if !parcel.is_bound() {
            let bound = Change::Bind {
                target: self.target.name.clone(),
                ids: parcel.ids(),
                parcel: parcel.id.clone(),
            };
            // Durable before the first try, so that each further one is the same message.
            if !self.settle(bound).await {
                return Ok(false);
            }
        }
        let letters = self.letters(&parcel, &about, now).await?;
        let sent = match letters {
            None => return Ok(self.settle(self.gone(parcel.ids())).await),
            Some(letters) if letters.is_empty() => Err(Undelivered::because(NOBODY)),
            Some(letters) => {
                let host = self.broker.notifier.host();
                self.target.deliver(letters, now, &host).await
            }
        };
        match sent {
            Ok(()) => self.arrived(parcel).await,
            Err(undelivered) => self.failed(&parcel, undelivered).await,
        }
        Ok(true)
    }

    /// What there is still to be said: a request that was decided meanwhile waits for nobody.
    async fn about(&self, parcel: &Parcel, now: Timestamp) -> Result<Vec<About>, store::Error> {
        let mut all = Vec::new();
        for row in &parcel.rows {
            let request = match &row.request {
                Some(id) => self.broker.store.request(id).await?,
                None => None,
            };
            let item = match (row.topic, &request) {
                (Topic::Alarm, _) => Item::alarm(row),
                (Topic::Request, Some(request)) if waits(request, now) => Item::waiting(request),
                (Topic::Decided, Some(request)) => {
                    Item::decided(request, &self.decision(row, request).await?)
                }
                (Topic::Decided | Topic::Request, _) => continue,
            };
            all.push(About { request, item });
        }
        Ok(all)
    }

    /// Who decided: all whose yes made it, or whose no ended it.
    async fn decision(
        &self,
        row: &NoticeRow,
        request: &RequestRow,
    ) -> Result<Decision, store::Error> {
        #[derive(Default, Deserialize)]
        struct Body {
            came_to: String,
            by: Option<String>,
        }
        let body: Body = serde_json::from_str(&row.body).unwrap_or_default();
        let store = &self.broker.store;
        let mut by = Vec::new();
        for vote in store.votes(&request.id).await? {
            if vote.yes == (body.came_to == "approved") {
                by.extend(store.person(&vote.person).await?.map(|person| person.name));
            }
        }
        if by.is_empty() || !matches!(body.came_to.as_str(), "approved" | "denied") {
            by = body.by.into_iter().collect();
        }
        let came_to = body.came_to;
        Ok(Decision { came_to, by })
    }

    /// A letter for each reader; none at all if nobody is to be told.
    async fn letters(
        &self,
        parcel: &Parcel,
        about: &[About],
        now: Timestamp,
    ) -> Result<Option<Vec<Letter>>, store::Error> {
        let config = &self.target.config;
        let everything: Vec<&About> = about.iter().collect();
        if config.kind != NotifyKind::Smtp || !config.to.is_empty() {
            let to = config.to.iter().map(|it| it.0.email.to_string());
            let missed = |to: &String| parcel.rest().is_none_or(|rest| rest.contains(to));
            let to: Vec<String> = to.filter(missed).collect();
            let nobody = to.is_empty() && !config.to.is_empty();
            let message = self.message(parcel, &everything, now);
            return Ok((!nobody).then(|| Letter::to_each(&to, message)));
        }
        let mut letters = Vec::new();
        for reader in self.broker.store.readers_of_mail().await? {
            let had = parcel.rest();
            let had = had.is_some_and(|rest| !rest.contains(&reader.email));
            if had || self.broker.ledger.disables(&reader.id) {
                continue;
            }
            let theirs = about.iter().filter(|it| self.concerns(it, &reader));
            let theirs: Vec<&About> = theirs.collect();
            if !theirs.is_empty() && letters.len() < MOST_READERS {
                let message = self.message(parcel, &theirs, now);
                letters.push(Letter {
                    to: reader.email,
                    message,
                });
            }
        }
        // Of what waits somebody must hear; an outcome without readers is no news to anybody.
        let silent =
            letters.is_empty() && (parcel.topic != Topic::Request || parcel.rest().is_some());
        Ok((!silent).then_some(letters))
    }

    /// Whether somebody could decide it, by the groups of their last login; of an alarm: whether they are in a group that
    /// the target is for.
    fn concerns(&self, about: &About, reader: &Reader) -> bool {
        let Ok(id) = SpiffeId::parse(&reader.id) else {
            return false;
        };
        let policy = self.broker.policies.in_force();
        let login: BTreeSet<GroupName> = reader.groups.iter().map(GroupName::new).collect();
        let sits = |group: &str| policy.sits_for(&id, &login, &GroupName::new(group));
        let config = &self.target.config;
        match &about.request {
            None => config.named_groups().any(sits),
            Some(request) => {
                let needs = request.needs();
                let asked = needs.iter().map(|need| need.approvers.as_str());
                let mut served = asked.filter(|group| config.serves(group));
                !request.own.contains(&reader.id) && served.any(sits)
            }
        }
    }

    fn message(&self, parcel: &Parcel, about: &[&About], now: Timestamp) -> Message {
        let items = about.iter().map(|it| it.item.clone());
        let items = match parcel.form {
            Form::Digest => Vec::new(),
            Form::Named => items.take(MOST_ITEMS).collect(),
        };
        let (name, url) = ((parcel.id.clone(), now), &self.broker.notifier.url);
        match parcel.topic {
            Topic::Alarm => Message::alarm(items, about.len(), name, url),
            Topic::Decided => Message::decided(items, about.len(), name, url),
            Topic::Request => Message::waiting(items, about.len(), name, url),
        }
    }

    async fn arrived(&mut self, parcel: Parcel) {
        if self.failures > 0 {
            tracing::info!(target = self.target.name, "notices arrive again");
        }
        self.failures = 0;
        self.counted("sent");
        let at = self.broker.clock.now().as_millis();
        let sent = Change::Sent(Sent {
            target: self.target.name.clone(),
            parcel: parcel.id,
            topic: parcel.topic,
            who: parcel.who,
            at,
            forget: at.saturating_sub(MEMORY),
        });
        // What has arrived is not sent again by this replica, however long the ledger takes to hear it.
        while !self.settle(sent.clone()).await {
            tokio::time::sleep(TROUBLE).await;
        }
    }

    async fn failed(&mut self, parcel: &Parcel, undelivered: Undelivered) {
        let Undelivered {
            error, rest, wait, ..
        } = undelivered;
        if self.failures == 0 {
            tracing::warn!(target = self.target.name, %error, "a notice did not arrive; it is tried again");
        }
        self.failures = self.failures.saturating_add(1);
        self.counted("failed");
        let at = self.broker.clock.now().as_millis();
        let asked = wait.map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(LONGEST));
        let pause = |failures: i64| pause(failures).max(asked.min(LONGEST));
        self.quiet =
            at.saturating_add(pause(self.failures.into()).min(QUIET.max(asked.min(LONGEST))));
        let failed = Change::Failed(Failed {
            target: self.target.name.clone(),
            parcel: parcel.id.clone(),
            at,
            due: at.saturating_add(pause(parcel.tries().saturating_add(1))),
            rest,
            error,
        });
        self.settle(failed).await;
        if self.failures >= PATIENCE {
            // Where this replica cannot reach the receiver, another one may.
            drop(self.turn.leave().await);
        }
    }

    fn gone(&self, ids: Vec<String>) -> Change {
        Change::Gone {
            target: self.target.name.clone(),
            ids,
        }
    }

    /// Whether it is durable.
    async fn settle(&self, change: Change) -> bool {
        let settled = self.broker.ledger.settle(vec![Write::Notice(change)]).await;
        if let Err(error) = &settled {
            tracing::debug!(%error, target = self.target.name, "a notice's fate is not durable yet");
        }
        settled.is_ok()
    }

    fn counted(&self, outcome: &'static str) {
        let channel = self.target.config.kind.as_str();
        self.broker.metrics.counted_notice(channel, outcome);
    }
}

fn waits(request: &RequestRow, now: Timestamp) -> bool {
    request.standing.state == State::Pending && request.expires > now.as_millis()
}

/// Twice as long after each failure, up to a quarter of an hour; between half and all of it, so that targets and replicas
/// do not come together.
fn pause(failures: i64) -> i64 {
    let full = FIRST.saturating_mul(1 << failures.clamp(1, 20).saturating_sub(1));
    let full = full.min(LONGEST);
    let share = i64::from(u16::from_be_bytes(random::bytes()));
    full / 2 + full / 2 * share / i64::from(u16::MAX)
}

/// Between two looks at what waits.
const GLANCE: Duration = Duration::from_millis(500);
/// After the database or the ledger failed.
const TROUBLE: Duration = Duration::from_secs(2);
/// How long a turn lasts without a word, in milliseconds as below: longer than any delivery may take, which is a minute.
const LEASE: i64 = 90_000;
/// Failures in a row after which another replica may try.
const PATIENCE: u32 = 3;
/// Of waits after failures.
const FIRST: i64 = 2_000;
const LONGEST: i64 = 15 * 60_000;
/// The longest that one message's failures keep the others of its target waiting.
const QUIET: i64 = 60_000;
/// Messages that count for bursts and caps: `coalesce` and the cap's time are an hour at most.
const MEMORY: i64 = 3_600_000;
/// Letters of one message.
const MOST_READERS: usize = 200;
const NOBODY: &str = "nobody who may decide has a verified address: they have to sign in once";

#[cfg(test)]
mod tests {
    use super::super::LIFE;
    use super::*;

    #[test]
    fn waits_grow_to_a_quarter_of_an_hour_and_a_day_has_many_tries() {
        for (failures, least, most) in [
            (1, 1_000, 2_000),
            (4, 8_000, 16_000),
            (99, 450_000, 900_000),
        ] {
            for _ in 0..100 {
                let pause = pause(failures);
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
        let a_day: i64 = (1..=100).map(|_| LONGEST).sum();
        assert!(a_day > LIFE);
    }
}
