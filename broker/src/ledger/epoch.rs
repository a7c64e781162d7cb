//! From one log to the next: an epoch that ends in order, and one that begins because a log was damaged or lost
//! (LEDGER.md §12).
//!
//! Both are one transaction on a store that nobody serves: the old head is closed for ever and the new log begins, with its
//! own name, keys and pseudonyms. A signed log is never rewound and never signed twice.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stint_audit::chain::HeadParts;
use stint_audit::kind::{
    self, Genesis, KeyAdded, KeyRetired, KeyUse, NextLog, PriorLog, Recovery, RequestEnd,
};
use stint_audit::{Checkpoint, Digest, Entry, Head, Header, LogKey, Pseudonyms, What};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::draft::note;
use super::keys::{EpochKeys, origin};
use super::standing::Target;
use super::whole::Whole;
use super::{Ledger, Published, cut};
use crate::random;
use crate::store::requests::{self, RequestRow};
use crate::store::trail;
use crate::store::{self, Db, pages};

/// The log of a store that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Current {
    /// Its origin, with `/n` for epoch n > 0.
    pub(crate) log: String,
    pub(crate) epoch: u64,
}

/// The newest epoch of `base` that has begun; the first, if none has.
pub(crate) async fn current(db: &mut Db, base: &str) -> Result<Current, sqlx::Error> {
    let logs = pages::logs(db).await?;
    let ours = logs
        .into_iter()
        .filter(|log| log.name == origin(base, log.epoch));
    let epoch = ours.map(|log| log.epoch).max().unwrap_or(0);
    let log = origin(base, epoch);
    Ok(Current { log, epoch })
}

/// How a log began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The log before it.
    pub(crate) prior: Option<PriorLog>,
    /// The largest size anybody saw of that, if it was damaged, and when this one began, in milliseconds.
    pub(crate) recovered: Option<(u64, u64)>,
}

/// Reads how `log` began, from its first entries.
pub(crate) async fn begun(db: &mut Db, log: &str) -> Result<Begun, sqlx::Error> {
    let batches = pages::batches(db, log, 0, 2).await?;
    let mut begun = Begun::default();
    for (_, bytes) in batches.iter().flat_map(trail::BatchRow::entries).take(2) {
        // What does not parse stops the start elsewhere: every header is hashed again there.
        let Ok(header) = Header::parse(bytes) else {
            continue;
        };
        match header.what {
            What::Genesis(genesis) => begun.prior = genesis.prior,
            What::Recovery(Recovery::Begin { seen, .. }) => {
                begun.recovered = Some((seen, header.ts))
            }
            _ => {}
        }
    }
    Ok(begun)
}

/// Why a log ends.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// An operator ends it in order; the store is whole.
    Order {
        /// Who, as the entries name them.
        actor: String,
        /// Why.
        reason: String,
    },
    /// It was damaged or lost. Two operators answer for what comes after.
    Loss {
        /// Who.
        actors: [String; 2],
        /// Why.
        reason: String,
        /// The best known checkpoint of it.
        best: Checkpoint,
    },
}

/// What turns one log into the next.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// The log's first name.
    pub(crate) base: &'a str,
    /// The old log, found whole.
    pub(crate) old: &'a Whole,
    /// Its keys.
    pub(crate) old_keys: &'a EpochKeys,
    /// A signed note of the old log, at most as large as what is left of it.
    pub(crate) old_note: Option<&'a (u64, String)>,
    /// The number of the new epoch.
    pub(crate) epoch: u64,
    /// Its keys.
    pub(crate) keys: &'a EpochKeys,
    /// This replica.
    pub(crate) node: &'a str,
    /// Milliseconds.
    pub(crate) now: u64,
    /// Why.
    pub(crate) cause: &'a Cause,
}

/// The log that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Its name.
    pub log: String,
    /// Its verifier key.
    pub vkey: String,
    /// Its first checkpoint, signed.
    pub checkpoint: String,
    /// What came of the old one; nothing, if it had ended in a run before this one, which was cut off.
    pub carried: Option<Carried>,
}

/// What came of a log that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Open requests that wait for nobody any more.
    pub void: u64,
    /// Freezes that go on.
    pub frozen: usize,
}

/// Why it did not begin. Unless COMMIT itself failed, nothing changed.
#[derive(Debug, Error)]
pub enum TurnError {
    /// The engine failed.
    #[error("the database failed")]
    Engine(#[from] sqlx::Error),
    /// An entry has no form: a reason or a name too long.
    #[error("the entries do not fit the ledger's form: {0}")]
    Form(String),
    /// Somebody else moved the head.
    #[error("the head moved meanwhile: is a broker running on this database?")]
    Moved,
}

impl Turn<'_> {
    /// Closes the old log and begins the new one.
    pub(crate) async fn take(&self, db: &mut Db) -> Result<Turned, TurnError> {
        db.begin().await?;
        let turned = Box::pin(self.write(db)).await;
        match turned {
            Ok(turned) => {
                db.tell("COMMIT").await?;
                Ok(turned)
            }
            Err(error) => {
                drop(db.tell("ROLLBACK").await);
                Err(error)
            }
        }
    }

    async fn write(&self, db: &mut Db) -> Result<Turned, TurnError> {
        let old = self.old.head.log();
        let (closed, by_entry) = match self.cause {
            Cause::Order { actor, reason } => self.close_in_order(db, actor, reason).await?,
            Cause::Loss { .. } => (self.close_as_it_is(db).await?, 0),
        };
        self.keep_note(db, &closed).await?;
        let void = pages::void_requests(db, old).await?;
        let log = origin(self.base, self.epoch);
        let (begun, frozen) = self.begin(db, &log, &closed).await?;
        pages::carry(db, old, &log).await?;
        Ok(Turned {
            vkey: self.keys.log.vkey(),
            checkpoint: self.keys.log.sign(&begun.checkpoint().text()),
            log,
            carried: Some(Carried {
                void: void + by_entry,
                frozen,
            }),
        })
    }

    /// A log that was damaged gets no further entry: only its head says that it grows no more.
    async fn close_as_it_is(&self, db: &mut Db) -> Result<Head, TurnError> {
        let closed = closed_head(&self.old.head)?;
        let mac = closed.mac(&self.keys.mac);
        let size = trail::signed(closed.size());
        match pages::close(db, closed.log(), size, mac.as_bytes()).await? {
            true => Ok(closed),
            false => Err(TurnError::Moved),
        }
    }

    /// Open requests are void, each by an entry; then `epoch`, the last there is.
    async fn close_in_order(
        &self,
        db: &mut Db,
        actor: &str,
        reason: &str,
    ) -> Result<(Head, u64), TurnError> {
        let log = self.old.head.log();
        let people = Pseudonyms::new(*self.old_keys.pseudonyms, log);
        let mut head = self.old.head.clone();
        let mut voided = 0;
        loop {
            let page = requests::pending(db, log, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let entries = page.iter().map(|row| void(row, &people)).collect();
            head = self.extend(db, &head, entries).await?;
            let ids: Vec<_> = page.iter().map(|row| row.id.as_str()).collect();
            voided += requests::void(db, log, &ids).await?;
        }
        let next = NextLog {
            log: origin(self.base, self.epoch),
            vkey: self.keys.log.vkey(),
        };
        let who = people.subject(actor);
        let mut body = Map::new();
        body.insert(
            "actor".to_owned(),
            json!({ "id": actor, "open": who.open.to_string() }),
        );
        body.insert("reason".to_owned(), json!(reason));
        let why = "planned".to_owned();
        let entry = Entry {
            by: Some(who.pseudonym),
            ..note(kind::Epoch { next, why }, None, body)
        };
        Ok((self.extend(db, &head, vec![entry]).await?, voided))
    }

    /// The newest note that the old log can still be shown under: signed now if it ended in order, else as it was kept.
    async fn keep_note(&self, db: &mut Db, closed: &Head) -> Result<(), TurnError> {
        let signed = |key: &LogKey| (closed.size(), key.sign(&closed.checkpoint().text()));
        let note = match self.cause {
            Cause::Order { .. } => Some(signed(&self.old_keys.log)),
            Cause::Loss { .. } => self.old_note.cloned(),
        };
        if let Some((size, note)) = note {
            pages::keep_note(db, closed.log(), trail::signed(size), &note).await?;
        }
        Ok(())
    }

    /// The first entries of the new log. What was frozen stays frozen, who was disabled stays so, and a key that was retired
    /// is told from one that was never heard of.
    async fn begin(
        &self,
        db: &mut Db,
        log: &str,
        closed: &Head,
    ) -> Result<(Head, usize), TurnError> {
        let people = Pseudonyms::new(*self.keys.pseudonyms, log);
        let prior = match self.cause {
            Cause::Order { .. } => prior(&closed.checkpoint()),
            Cause::Loss { best, .. } => prior(best),
        };
        let mut entries = vec![self.genesis(db, prior.clone())];
        if let Cause::Loss {
            actors,
            reason,
            best,
        } = self.cause
        {
            let found = closed.size();
            entries.push(recovery(
                (prior, best.size.max(found), found),
                actors,
                reason,
                &people,
            ));
        }
        let key = KeyAdded {
            key: Digest::of(self.keys.log.public().public_key()),
            not_after: None,
            usage: KeyUse::Log,
            vkey: Some(self.keys.log.vkey()),
        };
        entries.push(note(key, None, Map::new()));
        let before = entries.len();
        let actor = match self.cause {
            Cause::Order { actor, .. } => actor,
            Cause::Loss {
                actors: [actor, _], ..
            } => actor,
        };
        // One entry each; an operator's hand made them, so there are few.
        let hand = (actor.as_str(), closed.log(), &people);
        let frozen = self.old.frozen.targets.iter().take(PAGE);
        entries.extend(frozen.map(|(seq, target)| still_frozen((*seq, target), hand)));
        let disabled = self.old.frozen.disabled.iter().take(PAGE);
        entries.extend(disabled.map(|(seq, id)| still_disabled((*seq, id), hand)));
        let frozen = entries.len() - before;
        let mut head = self
            .extend(db, &Head::empty(log, self.epoch), entries)
            .await?;
        for page in self.old.retired.chunks(PAGE / 2) {
            let places = (head.size()..).step_by(2);
            let entries = page.iter().zip(places);
            let entries = entries.flat_map(|((seq, it), of)| still_retired((*seq, it), of, hand));
            head = self.extend(db, &head, entries.collect()).await?;
        }
        Ok((head, frozen))
    }

    fn genesis(&self, db: &Db, prior: PriorLog) -> Entry {
        let genesis = Genesis {
            epoch: self.epoch,
            hash: "rfc6962-sha256".to_owned(),
            nonce: Digest::from_bytes(random::bytes()),
            prior: Some(prior),
            vkey: self.keys.log.vkey(),
        };
        let mut body = Map::new();
        body.insert("software".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        body.insert(
            "storage".to_owned(),
            json!({ "engine": db.engine().word() }),
        );
        note(genesis, None, body)
    }

    async fn extend(
        &self,
        db: &mut Db,
        head: &Head,
        entries: Vec<Entry>,
    ) -> Result<Head, TurnError> {
        let batch = head.extend(self.node, self.now, entries);
        let batch = batch.map_err(|error| TurnError::Form(error.to_string()))?;
        let mac = batch.head().mac(&self.keys.mac);
        if !trail::extend(db, head, &batch, self.node, mac.as_bytes()).await? {
            return Err(TurnError::Moved);
        }
        Ok(batch.head().clone())
    }
}

/// The same head, ended.
fn closed_head(head: &Head) -> Result<Head, TurnError> {
    let parts = HeadParts {
        log: head.log().to_owned(),
        epoch: head.epoch(),
        size: head.size(),
        last_leaf: *head.last_leaf(),
        root: *head.root(),
        frontier: head.frontier().nodes().to_vec(),
        last_ts: head.last_ts(),
        closed: true,
    };
    Head::restore(parts).map_err(|error| TurnError::Form(error.to_string()))
}

fn prior(of: &Checkpoint) -> PriorLog {
    PriorLog {
        log: of.origin.clone(),
        root: of.root,
        size: of.size,
    }
}

/// `(prior, seen, found)`: the best checkpoint, the largest size anyone saw, and how many entries are left.
fn recovery(
    (prior, seen, found): (PriorLog, u64, u64),
    actors: &[String; 2],
    reason: &str,
    people: &Pseudonyms,
) -> Entry {
    let who = |id: &String| json!({ "id": id, "open": people.subject(id).open.to_string() });
    let mut body = Map::new();
    body.insert(
        "actors".to_owned(),
        Value::Array(actors.iter().map(who).collect()),
    );
    body.insert("found".to_owned(), json!(found));
    body.insert("reason".to_owned(), json!(reason));
    let begin = Recovery::Begin {
        prior,
        seen,
        why: "accepted_loss".to_owned(),
    };
    note(begin, None, body)
}

fn void(row: &RequestRow, people: &Pseudonyms) -> Entry {
    let closed = kind::RequestClosed {
        request: row.id.clone(),
        until: row.expires.unsigned_abs(),
        why: RequestEnd::Void,
    };
    let mut body = Map::new();
    body.insert("reason".to_owned(), json!("the log ends"));
    Entry {
        subj: Some(people.subject(&row.caller).pseudonym),
        ..note(closed, None, body)
    }
}

fn still_frozen((seq, target): (u64, &Target), hand: Hand<'_>) -> Entry {
    let frozen = kind::Frozen {
        revokes: 0,
        scope: target.scope(),
    };
    let mut entry = goes_on(frozen.into(), format!("frozen by entry {seq}"), hand);
    if let Target::Issuer(name) = target {
        entry.body.what.insert("target".to_owned(), json!(name));
    }
    entry
}

fn still_disabled((seq, id): (u64, &str), hand: Hand<'_>) -> Entry {
    let disabled = kind::CallerDisabled { revokes: 0 };
    let mut entry = goes_on(disabled.into(), format!("disabled by entry {seq}"), hand);
    let (_, _, people) = hand;
    let subject = people.subject(id);
    let caller = json!({ "id": id, "open": subject.open.to_string() });
    entry.body.what.insert("caller".to_owned(), caller);
    entry.subj = Some(subject.pseudonym);
    entry
}

/// A retirement takes an addition back, so there are both; `of` is the number of the first.
fn still_retired((seq, it): (u64, &KeyRetired), of: u64, hand: Hand<'_>) -> [Entry; 2] {
    let added = KeyAdded {
        key: it.key,
        not_after: it.not_after,
        usage: it.usage,
        vkey: None,
    };
    let retired = KeyRetired { of, ..it.clone() };
    let why = format!("retired by entry {seq}");
    [
        goes_on(added.into(), why.clone(), hand),
        goes_on(retired.into(), why, hand),
    ]
}

/// What an entry of the old log said, said again.
fn goes_on(what: What, why: String, (actor, old, people): Hand<'_>) -> Entry {
    let who = people.subject(actor);
    let actor = json!({ "id": actor, "open": who.open.to_string() });
    let reason = json!(format!("{why} of {old}"));
    let body = [("actor".to_owned(), actor), ("reason".to_owned(), reason)];
    Entry {
        by: Some(who.pseudonym),
        ..note(what, None, Map::from_iter(body))
    }
}

/// Who ends the log, which, and how the next one names people.
type Hand<'a> = (&'a str, &'a str, &'a Pseudonyms);

/// Entries of one batch, with room for those that stand beside them.
const PAGE: usize = 400;

impl Ledger {
    /// The door to one epoch of this log. An earlier one only reads: it is shown under the note that was kept when it
    /// ended. Nothing, if there is no such epoch or no note of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_epoch(&self, epoch: u64) -> Result<Option<Ledger>, store::Error> {
        let (base, own) = parts(self.origin());
        if epoch == own {
            return Ok(Some(self.clone()));
        }
        let log = origin(base, epoch);
        let Some((size, note)) = self.store.ended(&log).await? else {
            return Ok(None);
        };
        let store = self.store.of(&log);
        let first = store.batches(0, 1, 1).await?;
        let first = first.iter().flat_map(trail::BatchRow::entries).next();
        let genesis = first.and_then(|(_, header)| Header::parse(header).ok());
        let Some(What::Genesis(genesis)) = genesis.map(|header| header.what) else {
            return Ok(None);
        };
        let published = Published {
            size: size.unsigned_abs(),
            checkpoint: note.into(),
            last_ts: 0,
        };
        let cut = cut::find(store.readers().into(), &log, None).await;
        let cut = cut.map_err(|error| store.failed(error.into_engine()))?;
        let cuts = Arc::new(watch::Sender::new(cut.map(Arc::new)));
        Ok(Some(Ledger {
            queue: mpsc::channel(1).0, // nobody listens: it grows no more
            published: watch::channel(published).1,
            cosigned: super::cosigned::Cosigned::default(),
            tiles: super::Tiles::new(store.clone(), Arc::clone(&cuts)),
            cuts,
            handovers: Arc::from([]),
            vkeys: Arc::from([genesis.vkey.clone()]),
            vkey: genesis.vkey.into(),
            store,
            ..self.clone()
        }))
    }
}

/// The first name of a log, and the number of its epoch.
pub(crate) fn parts(log: &str) -> (&str, u64) {
    let numbered = log.rsplit_once('/').and_then(|(base, epoch)| {
        let number = epoch.parse::<u64>().ok().filter(|it| *it > 0)?;
        (number.to_string() == epoch).then_some((base, number))
    });
    numbered.unwrap_or((log, 0))
}
