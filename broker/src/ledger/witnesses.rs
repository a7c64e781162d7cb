//! The broker as a client of witnesses (LEDGER.md §10): one loop asks all of them to cosign the newest head, publishes
//! what they say, and stops grants where the operator wants none that nobody has seen.
//!
//! No grant waits for it. A head under our own signature that is not of this log is evidence, and nothing is granted any
//! more; a mere refusal is an alert, or any witness could stop us.

mod client;
mod evidence;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stint_audit::note::{Note, Signature, VerifierKey};
use stint_audit::trust::Policy;
use stint_audit::witness::AddCheckpoint;
use stint_audit::{Checkpoint, Digest, LogKey};
use stint_policy::Timestamp;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::cosigned::Shown;
use super::{Halt, Ledger, Published};
use crate::clock::{Clock, Stopwatch};
use crate::config::{self, Unwitnessed, asked_at};
use crate::store::cursors::{Cursor, Turn};
use crate::store::notes::{NoteRow, Notes};
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;

use client::{Said, Silent, WitnessClient};

pub use client::Held;
pub(super) use evidence::{first_that_differs, keep};

/// Whom to ask, before there is a ledger to ask about.
#[derive(Debug, Clone)]
pub struct Watchers {
    policy: Option<Policy>,
    clients: Vec<Arc<WitnessClient>>,
    unwitnessed: Unwitnessed,
    every: Duration,
    origin: String,
    keys: Arc<[VerifierKey]>,
    pin: Option<PathBuf>,
}

/// Why witnesses cannot be asked.
#[derive(Debug, Error)]
pub enum WatchersError {
    /// The system has no roots for TLS.
    #[error("[ledger] witnesses: `{name}` cannot be asked")]
    Client {
        /// What the policy calls it.
        name: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// The policy is about other logs.
    #[error("[ledger] witnesses: the policy lists logs, and none is `{0}`")]
    OtherLog(String),
}

impl Watchers {
    /// Those of `[ledger]`, for the log of this key.
    ///
    /// # Errors
    /// [`WatchersError`].
    pub fn new(ledger: &config::Ledger, key: &LogKey) -> Result<Self, WatchersError> {
        let policy = ledger.witnesses.as_ref().map(|file| file.policy().clone());
        let logs = policy.as_ref().map(Policy::logs).unwrap_or_default();
        // While one key takes over from another, a policy that lists either is about this log.
        let ours = key.all_public();
        if !logs.is_empty() && !logs.iter().any(|log| ours.contains(&log.key)) {
            return Err(WatchersError::OtherLog(key.vkey()));
        }
        let mut clients = Vec::new();
        for witness in policy.iter().flat_map(Policy::witnesses) {
            // A URL that is none was refused with the config.
            let Ok(Some(url)) = asked_at(witness) else {
                continue;
            };
            let client = WitnessClient::new(witness, &url, ledger.witness_ca_file.as_ref());
            let client = client.map_err(|source| WatchersError::Client {
                name: witness.name.clone(),
                source,
            })?;
            clients.push(Arc::new(client));
        }
        Ok(Self {
            policy,
            clients,
            unwitnessed: ledger.unwitnessed,
            every: Duration::from_secs(ledger.checkpoint_every.as_u32().into()),
            origin: key.public().name().to_owned(),
            keys: ours.into(),
            pin: Some(ledger.pin.clone()).filter(|pin| !pin.as_os_str().is_empty()),
        })
    }

    /// What each reachable witness holds of the log under our own signature: asked before the log is opened, which must
    /// extend all of it (LEDGER.md §8).
    pub async fn held(&self) -> Vec<Held> {
        let mut asking = JoinSet::new();
        for client in &self.clients {
            let (client, origin, keys) = (
                Arc::clone(client),
                self.origin.clone(),
                Arc::clone(&self.keys),
            );
            asking.spawn(async move {
                let held = client.held(&origin, &keys).await;
                held.unwrap_or_else(|error| {
                    tracing::warn!(witness = %client.name, %error, "a witness could not be asked what it holds");
                    None
                })
            });
        }
        asking.join_all().await.into_iter().flatten().collect()
    }

    /// The loop for an open log.
    #[must_use]
    pub fn watch(
        self,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        node: &str,
    ) -> Witnesses {
        let store = ledger.store.clone();
        let peers = self.clients.iter().map(|client| Peer {
            client: Arc::clone(client),
            known: None,
            trouble: Some("not asked yet".to_owned()),
            line: None,
        });
        let witnesses = Witnesses {
            peers: peers.collect(),
            since: clock.now(),
            last: Stopwatch::start(),
            asked: None,
            met: false,
            turn: Cursor::new(store.clone(), TURN.to_owned(), node.to_owned()),
            notes: Notes::new(store),
            watchers: self,
            ledger,
            clock,
            metrics,
        };
        // Whoever waits for them knows from here on that there are some.
        witnesses.publish(None);
        witnesses
    }
}

/// Asks the witnesses of an open log, until it is dropped.
#[derive(Debug)]
pub struct Witnesses {
    watchers: Watchers,
    peers: Vec<Peer>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    notes: Notes,
    turn: Cursor,
    /// When a quorum cosigned last; the start, if none ever did.
    since: Timestamp,
    /// Since the last round.
    last: Stopwatch,
    /// The size they were asked about last.
    asked: Option<u64>,
    /// Whether that met the quorum.
    met: bool,
}

/// A witness, and where we stand with it.
#[derive(Debug)]
struct Peer {
    client: Arc<WitnessClient>,
    /// The size it holds, as far as we know.
    known: Option<u64>,
    /// Its cosignature of the head that was asked about last.
    line: Option<(Signature, u64)>,
    trouble: Option<String>,
}

/// How many cosignatures a quorum has, and the newest of their times, in seconds since 1970.
type Quorum = (u64, Option<u64>);

/// How one witness came out of a round.
#[derive(Debug)]
struct Outcome {
    known: Option<u64>,
    said: Result<(Signature, u64), Trouble>,
    /// What it holds, where that is not of this log.
    evidence: Option<(Held, String)>,
}

/// Why there is no cosignature.
#[derive(Debug, Error)]
enum Trouble {
    #[error("it holds {0} entries, more than there are")]
    Ahead(u64),
    #[error("its cosignature is of the future")]
    Future,
    #[error("there is no proof for it: {0}")]
    Proof(String),
    #[error("it answered {0}")]
    Refused(u16),
    #[error("{0}")]
    Silent(#[from] Silent),
}

/// What all witnesses are asked about.
#[derive(Debug, Clone)]
struct Newest {
    size: u64,
    root: Digest,
    note: Arc<str>,
    keys: Arc<[VerifierKey]>,
    origin: Arc<str>,
    now: u64,
}

impl Witnesses {
    /// Runs until it is dropped.
    pub async fn run(mut self) {
        self.remember().await;
        let mut tick = tokio::time::interval(self.watchers.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = {
                let cosigned = &self.ledger.cosigned;
                tokio::select! {
                    _ = tick.tick() => false,
                    () = cosigned.wanted() => true,
                }
            };
            if !self.is_ours().await {
                self.remember().await;
            } else if wanted || self.is_due() {
                self.round().await;
            }
            self.judge();
        }
    }

    /// Of several replicas one asks. Who cannot find out asks too: that costs no more than a 409.
    async fn is_ours(&mut self) -> bool {
        let now = self.clock.now().as_millis();
        match self.turn.take(now, now + LEASE_MS).await {
            Ok(Turn::Ours(_)) => true,
            Ok(Turn::Theirs(_)) => false,
            Err(error) => {
                tracing::debug!(%error, "whose turn it is to ask witnesses is not known");
                true
            }
        }
    }

    fn is_due(&self) -> bool {
        let news = self.asked != Some(self.ledger.published().size);
        news || !self.met || self.last.elapsed() >= IDLE
    }

    /// Takes what was published before, by this life or by another replica.
    async fn remember(&mut self) {
        let rows = match self.ledger.store.notes(RECENT).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "published checkpoints cannot be read");
                return;
            }
        };
        for row in rows {
            let text = format!("{}{}", row.note, row.cosigs);
            let Ok((checkpoint, note)) = Checkpoint::parse_note(&text) else {
                continue;
            };
            let ours = note
                .verify(&self.watchers.keys)
                .is_ok_and(|keys| !keys.is_empty());
            if !ours || checkpoint.size > self.ledger.published().size {
                continue;
            }
            if let Some(newest) = self.quorum(&note) {
                let seconds = i64::try_from(newest.1.unwrap_or(0)).unwrap_or(0);
                self.since = Timestamp::from_millis(seconds.saturating_mul(1_000));
                let shown = Shown {
                    size: checkpoint.size,
                    checkpoint: text.into(),
                };
                self.publish(Some((shown, newest)));
                return;
            }
        }
    }

    /// How many cosignatures a note has and the newest time among them, if they meet a quorum that asks for any.
    fn quorum(&self, note: &Note) -> Option<Quorum> {
        let policy = self.watchers.policy.as_ref()?;
        let found = policy.judge(note).ok()?;
        let count = u64::try_from(found.by.len() + found.beside.len()).unwrap_or(u64::MAX);
        (found.met && count > 0).then_some((count, found.newest))
    }

    /// Asks all of them about the newest head, at once, and keeps what they say.
    async fn round(&mut self) {
        self.last = Stopwatch::start();
        let published = self.ledger.published();
        if self.asked != Some(published.size) {
            self.peers.iter_mut().for_each(|peer| peer.line = None);
            self.asked = Some(published.size);
        }
        let now = self.clock.now();
        let Ok((checkpoint, _)) = Checkpoint::parse_note(&published.checkpoint) else {
            return; // our own
        };
        let newest = Newest {
            size: published.size,
            root: checkpoint.root,
            note: Arc::clone(&published.checkpoint),
            keys: Arc::clone(&self.watchers.keys),
            origin: self.watchers.origin.as_str().into(),
            now: now.as_millis().max(0).unsigned_abs() / 1_000,
        };
        let mut asking = JoinSet::new();
        for (place, peer) in self.peers.iter().enumerate() {
            let (client, known) = (Arc::clone(&peer.client), peer.known);
            let (ledger, newest) = (self.ledger.clone(), newest.clone());
            asking.spawn(async move { (place, ask(&client, &ledger, known, &newest).await) });
        }
        for (place, outcome) in asking.join_all().await {
            self.heard(place, outcome);
        }
        self.keep(&published, now).await;
    }

    fn heard(&mut self, place: usize, outcome: Outcome) {
        if let Some((held, why)) = outcome.evidence {
            let ours = self.ledger.published().checkpoint;
            evidence::keep(self.watchers.pin.as_deref(), &held, &ours);
            tracing::error!(%why, "the log diverged");
            self.ledger.halt(Halt::Diverged, Some(why));
        }
        let Some(peer) = self.peers.get_mut(place) else {
            return;
        };
        let name = &peer.client.name;
        peer.known = outcome.known;
        let trouble = match outcome.said {
            Ok(line) => {
                peer.line = Some(line);
                None
            }
            Err(trouble) => Some(trouble.to_string()),
        };
        if trouble != peer.trouble {
            match &trouble {
                Some(why) => tracing::warn!(witness = %name, why, "a witness did not cosign"),
                None => tracing::info!(witness = %name, "a witness cosigns"),
            }
        }
        self.metrics.levels.witness(name, trouble.is_none().into());
        peer.trouble = trouble;
    }

    /// Stores the head with its cosignatures, and publishes it if they are enough.
    async fn keep(&mut self, published: &Published, now: Timestamp) {
        let lines = self.peers.iter().filter_map(|peer| peer.line.as_ref());
        let cosigs: String = lines.map(|(line, _)| format!("{line}\n")).collect();
        let text = format!("{}{cosigs}", published.checkpoint);
        let row = NoteRow {
            size: published.size,
            note: published.checkpoint.to_string(),
            cosigs,
        };
        if let Err(error) = self.notes.put(&row).await {
            tracing::warn!(%error, "a checkpoint was not stored; witnesses have it all the same");
        }
        let quorum = Note::parse(&text).ok().and_then(|note| self.quorum(&note));
        self.met = quorum.is_some() || self.peers.is_empty();
        if quorum.is_some() {
            self.since = now;
        }
        let shown = Shown {
            size: published.size,
            checkpoint: text.into(),
        };
        self.publish(quorum.map(|quorum| (shown, quorum)));
    }

    /// Tells everybody where we stand; without a new quorum, the last one stays.
    fn publish(&self, quorum: Option<(Shown, Quorum)>) {
        let mut seen = self.ledger.seen();
        if let Some((newest, quorum)) = quorum {
            seen.newest = Some(newest);
            seen.cosigs = quorum;
            seen.since = Some(self.since);
        }
        let state = |peer: &Peer| (Arc::clone(&peer.client.name), peer.trouble.clone());
        seen.witnesses = self.peers.iter().map(state).collect();
        self.ledger.cosigned.say(seen);
    }

    /// Stops grants that nobody has seen for too long, if the operator wants that, and lets them go on.
    fn judge(&self) {
        let Unwitnessed::StopAfter(limit) = self.watchers.unwitnessed else {
            return;
        };
        let age = self.clock.now().as_millis() - self.since.as_millis();
        let late = age >= i64::from(limit.as_u32()) * 1_000;
        let why = || format!("no quorum of witnesses since {}", self.since.rfc3339());
        self.ledger.halt(Halt::Unwitnessed, late.then(why));
    }
}

/// One witness, one round: twice at most, for it says itself which size it holds.
async fn ask(
    client: &WitnessClient,
    ledger: &Ledger,
    known: Option<u64>,
    newest: &Newest,
) -> Outcome {
    let mut old = known.unwrap_or(0);
    let mut said = Err(Trouble::Refused(409));
    for _ in 0..2 {
        let request = match request(ledger, old, newest).await {
            Ok(request) => request,
            Err(trouble) => {
                said = Err(trouble);
                break;
            }
        };
        match client.add(&request).await {
            Ok(Said::Cosigned(line, time)) => {
                let known = Some(newest.size);
                let future = time > newest.now + AHEAD;
                let said = if future {
                    Err(Trouble::Future)
                } else {
                    Ok((line, time))
                };
                let evidence = None;
                return Outcome {
                    known,
                    said,
                    evidence,
                };
            }
            Ok(Said::Size(size)) if size != old => {
                old = size;
                continue;
            }
            Ok(Said::Size(_)) => said = Err(Trouble::Refused(409)),
            Ok(Said::Refused(status)) => said = Err(Trouble::Refused(status)),
            Err(silent) => {
                let said = Err(silent.into());
                let evidence = None;
                return Outcome {
                    known,
                    said,
                    evidence,
                };
            }
        }
        break;
    }
    // A bare 409 or 422 is the witness's word. What it holds under our signature is not.
    Outcome {
        known: Some(old),
        said,
        evidence: contradiction(client, ledger, newest).await,
    }
}

async fn request(ledger: &Ledger, old: u64, newest: &Newest) -> Result<AddCheckpoint, Trouble> {
    if old > newest.size {
        return Err(Trouble::Ahead(old));
    }
    let proof = if old == 0 || old == newest.size {
        Vec::new()
    } else {
        let proof = ledger.tiles().consistency(old, newest.size).await;
        proof.map_err(|error| Trouble::Proof(error.to_string()))?
    };
    let request = AddCheckpoint::new(old, proof, &newest.note);
    request.map_err(|error| Trouble::Proof(error.to_string()))
}

/// What a witness holds under our own signature that the store does not extend. The head is read after the witness was
/// asked: another replica may have gone on, and then it was there first.
async fn contradiction(
    client: &WitnessClient,
    ledger: &Ledger,
    newest: &Newest,
) -> Option<(Held, String)> {
    let held = match client.held(&newest.origin, &newest.keys).await {
        Ok(held) => held?,
        Err(error) => {
            tracing::debug!(witness = %client.name, %error, "a witness does not show what it holds");
            return None;
        }
    };
    let size = held.checkpoint.size;
    let (head, held) = ((newest.size, newest.root), [held]);
    let found = if size > newest.size {
        // Another replica may have been there: then the store has it by now, and it is compared when this one has, too.
        match ledger.store.stored_size().await {
            Ok(stored) if size <= stored => return None,
            Ok(stored) => {
                first_that_differs(&ledger.store, ledger.tiles(), (stored, head.1), &held).await
            }
            Err(error) => Err(error),
        }
    } else {
        first_that_differs(&ledger.store, ledger.tiles(), head, &held).await
    };
    match found {
        Ok(found) => found.map(|(held, why)| (held.clone(), why)),
        Err(error) => {
            tracing::debug!(%error, "the log cannot be read to compare");
            None
        }
    }
}

/// The newest checkpoint that was published, if the log signed it. A row that it did not sign says nothing of the log.
pub(super) async fn published(
    store: &Store,
    keys: &[VerifierKey],
) -> Result<Option<Held>, store::Error> {
    let rows = store.notes(1).await?;
    Ok(rows.into_iter().find_map(|row| {
        let (checkpoint, note) = Checkpoint::parse_note(&row.note).ok()?;
        let signed = note.verify(keys).is_ok_and(|keys| !keys.is_empty());
        (signed && checkpoint.origin == store.log()).then(|| Held {
            witness: "the last published checkpoint".into(),
            checkpoint,
            note: row.note,
        })
    }))
}

/// The name of the turn among replicas.
const TURN: &str = "witnesses";
/// How long a turn is kept without a word: three rounds at the slowest.
const LEASE_MS: i64 = 30_000;
/// LEDGER.md §10: at most so long between two tries.
const IDLE: Duration = Duration::from_secs(10);
/// How far ahead of our clock a witness's may be, in seconds (LEDGER.md §11).
const AHEAD: u64 = 5 * 60;
/// Published checkpoints looked through for the last one with a quorum.
const RECENT: i64 = 64;
