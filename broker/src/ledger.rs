//! The one commit: whoever wants something remembered hands it to the [`Ledger`] and waits.
//!
//! One committer per log takes whatever queued while the last commit was in flight, extends the
//! chain and applies the domain rows of those outcomes in the same transaction (LEDGER.md §7).
//! It runs detached from every client: who hangs up cannot cut a transaction. It has no timer.
//! A [`Receipt`] leaves here only for bytes that are on disk.

mod batching;
mod binding;
mod bundle;
mod chores;
mod committer;
mod cosigned;
pub(crate) mod cut;
mod derive;
mod doubt;
mod draft;
pub(crate) mod epoch;
pub mod erase;
mod folder;
mod follow;
mod index;
pub(crate) mod keys;
pub(crate) mod known;
mod opening;
pub(crate) mod pin;
mod proofs;
pub mod prune;
mod release;
mod resume;
mod rows;
mod scrub;
mod standing;
mod steady;
mod tiles;
mod transaction;
pub(crate) mod whole;
pub mod witnesses;

use std::sync::{Arc, OnceLock};

use stint_audit::subject::Subject;
use stint_audit::{Digest, Entry, LogKey, Pseudonyms, Receipt, Sealed, What};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::store::{Db, Error as StoreError, Store, Write};
use crate::telemetry::trail::{self, Step};
use release::Outstanding;

pub use bundle::{ExportError, Order};
pub use committer::Committer;
pub use cosigned::{Seen, Shown};
pub use cut::Cut;
pub use derive::Deriver;
pub(crate) use draft::{note, salted};
pub use epoch::Turned;
pub use folder::FolderError;
pub(crate) use opening::restore as restore_head;
pub use opening::{OpenError, Opened, Site};
pub use pin::Pin;
pub use proofs::{ProvenEntry, Whose};
pub use scrub::{Finding, Scrubbed, Scrubber};
pub use standing::{Frozen, SetEntry, Target};
pub use tiles::{TileError, Tiles};

/// What is recorded or not as a whole: an entry (none if only evidence is spent) and its rows.
#[derive(Debug)]
pub struct Unit {
    /// The entry to be.
    pub entry: Option<Sealed>,
    /// The policy set that must be in force at the entry's place, if a decision was made.
    pub pol: Option<Digest>,
    /// The rows that come with it.
    pub writes: Vec<Write>,
}

/// Which guard of a unit no longer held: somebody else was first. Nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Lost {
    /// The deferral code was used or taken back before.
    #[error("the deferral code was used or taken back before")]
    Deferred,
    /// An operator shut this identity out.
    #[error("this identity is disabled")]
    Disabled,
    /// A body that was to go is gone already.
    #[error("somebody else erased one of these bodies meanwhile")]
    Erased,
    /// It, or everything, is frozen.
    #[error("the issuer is frozen")]
    Frozen,
    /// The task had another outcome since its history was read.
    #[error("the task had another outcome meanwhile")]
    History,
    /// Another replica closes that node's grants.
    #[error("another replica closes that node's grants")]
    Node,
    /// Another open request for the same ask exists.
    #[error("the same ask is parked already")]
    Parked,
    /// The request was decided or ended already.
    #[error("the request is not pending any more")]
    Pending,
    /// A login, session or passkey is not what it was.
    #[error("the login, session or passkey was changed meanwhile")]
    Person,
    /// Another policy set took force.
    #[error("another policy set is in force")]
    Policy,
    /// The DPoP proof was used before.
    #[error("the DPoP proof was used before")]
    Proof,
    /// The idempotency key was used before.
    #[error("the idempotency key was used before")]
    Repeated,
    /// The evidence was used before.
    #[error("the evidence was used before")]
    Spent,
    /// The request had another vote meanwhile, or does not stand any more.
    #[error("the request had another vote meanwhile, or was decided")]
    Voted,
}

/// Why something could not be recorded. Nothing was, unless it is said otherwise.
#[derive(Debug, Error)]
pub enum Error {
    /// The entry broke its own form: a bug of ours, or input that should have been capped.
    #[error("the entry does not fit the ledger's form: {0}")]
    Form(String),
    /// A guard did not hold.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Another broker writes under the same name.
    #[error("another broker writes this ledger as node `{0}`: give each its own [ledger] node")]
    NameTaken(String),
    /// The queue is full.
    #[error("overloaded: {0} outcomes wait to be recorded")]
    Overloaded(usize),
    /// The ledger cannot be written; [`State`] says why.
    #[error("the ledger cannot be written")]
    Unwritable,
}

/// How the log stands (LEDGER.md §8). Only an open log grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The log has ended: the next epoch serves.
    Closed(String),
    /// The head in the store is not the one this process wrote last. An operator must act.
    Diverged(String),
    /// No space, or the engine refuses to write. Recovers by itself.
    Full(String),
    /// Something outside the store forbids to grant. Recovers by itself.
    Halted(Halt, String),
    /// All checks passed.
    Open,
    /// A COMMIT came back with an error. Resolves itself.
    Unknown(String),
}

impl State {
    /// The closed word of `/readyz`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed(_) => "ledger_closed",
            Self::Diverged(_) => "ledger_diverged",
            Self::Full(_) => "ledger_unwritable",
            Self::Halted(Halt::Diverged, _) => "ledger_diverged",
            Self::Halted(Halt::Clock, _) => "clock_skewed",
            Self::Halted(Halt::Unwitnessed, _) => "unwitnessed",
            Self::Open => "ok",
            Self::Unknown(_) => "store_unavailable",
        }
    }
}

/// What may forbid to grant although the store is well (LEDGER.md §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// Somebody holds a head under our own signature that is not of this log. It stays: an operator must act.
    Diverged,
    /// The clock stepped, differs from the database's, or is behind the last entry.
    Clock,
    /// No quorum of witnesses has seen the log for too long.
    Unwitnessed,
}

/// What forbids to grant now, and why.
pub(crate) type Halts = std::collections::BTreeMap<Halt, String>;

/// The door to the log.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
    queue: mpsc::Sender<Job>,
    capacity: usize,
    pseudonyms: Arc<Pseudonyms>,
    published: watch::Receiver<Published>,
    state: watch::Receiver<State>,
    frozen: watch::Receiver<Frozen>,
    policy: watch::Receiver<Option<Digest>>,
    halts: Arc<watch::Sender<Halts>>,
    outstanding: Arc<Outstanding>,
    cosigned: cosigned::Cosigned,
    vkey: Arc<str>,
    vkeys: Arc<[String]>,
    tiles: Tiles,
    cuts: cut::Cuts,
    accused: Arc<OnceLock<String>>,
    handovers: Arc<[(u64, String)]>,
}

/// What the last commit made true.
#[derive(Debug, Clone)]
pub struct Published {
    /// Entries.
    pub size: u64,
    /// The signed note over them.
    pub checkpoint: Arc<str>,
    /// The time of the last of them, in milliseconds.
    pub last_ts: u64,
}

/// A unit and who waits for it.
#[derive(Debug)]
struct Job {
    unit: Unit,
    answer: oneshot::Sender<Result<Option<Receipt>, Error>>,
}

impl Ledger {
    /// Opens the log in `store`: all checks of LEDGER.md §8 pass, or nothing is served. Gives the
    /// door, and the committer, which its owner runs.
    ///
    /// # Errors
    /// [`OpenError`] says which check failed, and what an operator can do.
    pub async fn open(
        store: Store,
        writer: Db,
        site: Site,
        clock: Arc<dyn Clock>,
    ) -> Result<Opened, OpenError> {
        opening::open(store, writer, site, clock, opening::IfAbsent::Refuse).await
    }

    /// As [`Self::open`], and begins the log with entry 0 if the store has none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or_begin(
        store: Store,
        writer: Db,
        site: Site,
        clock: Arc<dyn Clock>,
    ) -> Result<Opened, OpenError> {
        opening::open(store, writer, site, clock, opening::IfAbsent::Begin).await
    }

    /// Records one outcome. Returns when it is durable.
    ///
    /// # Errors
    /// [`Error::Lost`] if a guard of `writes` failed; then, as in every other error, nothing of
    /// it was written.
    pub async fn record(
        &self,
        entry: Entry,
        pol: Option<Digest>,
        writes: Vec<Write>,
    ) -> Result<Receipt, Error> {
        // Before it meets others: an entry that cannot be written must not cost them their batch. And here, where it is
        // the walk's own time: the committer's is everybody's.
        let sealed = entry.seal();
        let unit = Unit {
            entry: Some(sealed.map_err(|form| Error::Form(form.to_string()))?),
            pol,
            writes,
        };
        self.submit(unit).await?.ok_or(Error::Unwritable)
    }

    /// Applies rows that stand for no outcome of their own: the evidence of a repeated ask.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn settle(&self, writes: Vec<Write>) -> Result<(), Error> {
        self.submit(Unit {
            entry: None,
            pol: None,
            writes,
        })
        .await
        .map(drop)
    }

    /// Queues rows that nobody waits for. They are in the store once whatever is submitted after them is, and within
    /// seconds otherwise.
    pub fn enqueue(&self, writes: Vec<Write>) {
        let (answer, _nobody) = oneshot::channel();
        let unit = Unit {
            entry: None,
            pol: None,
            writes,
        };
        if let Err(error) = self.queue.try_send(Job { unit, answer }) {
            tracing::debug!(%error, "rows that nobody waits for were dropped");
        }
    }

    async fn submit(&self, unit: Unit) -> Result<Option<Receipt>, Error> {
        if self.forbids(&unit) {
            return Err(Error::Unwritable);
        }
        let (answer, waiting) = oneshot::channel();
        self.queue
            .try_send(Job { unit, answer })
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Closed(_) => Error::Unwritable,
                mpsc::error::TrySendError::Full(_) => Error::Overloaded(self.capacity),
            })?;
        // A dropped answer is a committer that is gone: nothing says whether it committed.
        let recorded = trail::timing(Step::Record, waiting).await;
        recorded.unwrap_or(Err(Error::Unwritable))
    }

    /// Whether the state of the log forbids this unit: a log that diverged or ended takes nothing, one that is halted
    /// no grant.
    fn forbids(&self, unit: &Unit) -> bool {
        match self.state() {
            State::Closed(_) | State::Diverged(_) => true,
            State::Halted(..) => {
                let what = unit.entry.as_ref().map(|sealed| &sealed.entry.what);
                matches!(what, Some(What::Granted(_)))
            }
            State::Full(_) | State::Open | State::Unknown(_) => false,
        }
    }

    /// Says that the credential of a grant was handed out, or that its failure is on record.
    pub fn released(&self, receipt: &Receipt) {
        self.outstanding.released(receipt.seq());
    }

    /// Forbids to grant while `why` is said, and allows it again with `None`.
    pub fn halt(&self, halt: Halt, why: Option<String>) {
        self.halts.send_if_modified(|halts| match why {
            Some(why) => halts.insert(halt, why.clone()).as_ref() != Some(&why),
            None => halts.remove(&halt).is_some(),
        });
    }

    /// Says what was found that contradicts what was signed. From now on this log is diverged: an operator must act, and
    /// the first finding stays as evidence.
    pub(crate) fn accuse(&self, why: String) {
        if self.accused.set(why.clone()).is_ok() {
            tracing::error!(code = "ledger_diverged", %why, "the store contradicts what was signed");
        }
    }

    /// The log as tiles.
    #[must_use]
    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// The policy set in force at the head, on whichever replica it took force.
    #[must_use]
    pub fn watch_policy(&self) -> watch::Receiver<Option<Digest>> {
        self.policy.clone()
    }

    /// The pseudonym of `id`, and what opens it (LEDGER.md §4).
    #[must_use]
    pub fn subject(&self, id: &str) -> Subject {
        self.pseudonyms.subject(id)
    }

    /// The newest signed head.
    #[must_use]
    pub fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// The same, for whoever follows.
    #[must_use]
    pub fn watch_published(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// Outcomes that wait for a commit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How the log stands.
    #[must_use]
    pub fn state(&self) -> State {
        if self.queue.is_closed() {
            return State::Unknown("the committer is gone".to_owned());
        }
        if let Some(why) = self.accused.get() {
            return State::Diverged(why.clone());
        }
        let state = self.state.borrow().clone();
        match (state, self.halts.borrow().first_key_value()) {
            (State::Open, Some((Halt::Diverged, why))) => State::Diverged(why.clone()),
            (State::Open, Some((halt, why))) => State::Halted(*halt, why.clone()),
            (state, _) => state,
        }
    }

    /// The state, for whoever keeps looking.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What is frozen, as the newest entry leaves it.
    #[must_use]
    pub fn frozen(&self) -> Frozen {
        self.frozen.borrow().clone()
    }

    /// Whether this identity, of a workload or a person, is shut out.
    #[must_use]
    pub fn disables(&self, id: &str) -> bool {
        self.frozen.borrow().disables(id)
    }

    /// What is frozen and who is disabled, for whoever keeps looking.
    #[must_use]
    pub fn watch_frozen(&self) -> watch::Receiver<Frozen> {
        self.frozen.clone()
    }

    /// The log's name, first line of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.store.log()
    }

    /// The public key that signs checkpoints, as a C2SP verifier key.
    #[must_use]
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// All that sign them: for a time after a rotation they are two.
    #[must_use]
    pub fn vkeys(&self) -> &[String] {
        &self.vkeys
    }
}

impl From<StoreError> for Error {
    fn from(_: StoreError) -> Self {
        Self::Unwritable
    }
}

/// Secrets of the log (DESIGN.md §12).
#[derive(Debug)]
struct Sealing {
    log_key: LogKey,
    mac: zeroize::Zeroizing<[u8; 32]>,
}
