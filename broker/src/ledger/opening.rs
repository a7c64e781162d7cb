//! What must hold before the log is served: nothing at rest is trusted (LEDGER.md §8).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use stint_audit::chain::HeadParts;
use stint_audit::kind::{Genesis, KeyAdded, KeyUse};
use stint_audit::{Checkpoint, Digest, Entry, Head, LogKey, Pseudonyms};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::committer::Says;
use super::cut::{self, Cut, Cuts};
use super::draft::note;
use super::pin::{self, Pin};
use super::release::{Node, Outstanding};
use super::resume::resume;
use super::standing::{Frozen, SetEntry, Standing};
use super::steady::Steady;
use super::witnesses::{self, Held};
use super::{Committer, Deriver, Job, Ledger, Published, Scrubber, Sealing, State, Unit};
use crate::clock::Clock;
use crate::random;
use crate::store::trail::{self, HeadRow};
use crate::store::wake::Wake;
use crate::store::{self, Db, Store, Write, policies};
use crate::telemetry::metrics::Metrics;

/// What the log needs beside its store.
#[derive(Debug)]
pub struct Site {
    /// Signs checkpoints; its origin is the log's name.
    pub log_key: LogKey,
    /// Key of the head's mac.
    pub mac: Zeroizing<[u8; 32]>,
    /// Key of the pseudonyms.
    pub pseudonyms: Zeroizing<[u8; 32]>,
    /// This replica's name.
    pub node: String,
    /// The keys that it signs credentials with; none where nothing is granted.
    pub signing: Vec<(KeyUse, Digest)>,
    /// Where the newest head is remembered outside the store; `None` where nothing is kept.
    pub pin: Option<PathBuf>,
    /// How many outcomes may wait.
    pub queue: usize,
    /// Free bytes that must be left where a file lies.
    pub reserve: u64,
    /// What hands the keys of this log over: the seq of each `key_added`, and its proof.
    pub handovers: Vec<(u64, String)>,
    /// Where commits are counted.
    pub metrics: Arc<Metrics>,
    /// What witnesses hold of the log under its own signature.
    pub witnessed: Vec<Held>,
}

/// What to do with a store that holds no log.
#[derive(Debug, Clone, Copy)]
pub(super) enum IfAbsent {
    /// `stintd init`, `stintd dev`.
    Begin,
    /// `stintd serve`: a store that vanished is not begun anew.
    Refuse,
}

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// The door.
    pub ledger: Ledger,
    /// Writes; somebody must run it.
    pub committer: Committer,
    /// Remembers; somebody must run it, if there is one.
    pub pin: Option<Pin>,
    /// The policy set that was last in force: hash and serial.
    pub policy: Option<(Digest, u64)>,
    /// The newest key sets of issuers, newest first.
    pub sets: Vec<SetEntry>,
    /// The keys that sign credentials, as the log counts on them.
    pub signing: Vec<(KeyUse, Digest)>,
    /// Writes tiles, index and anchors; somebody must run it.
    pub deriver: Deriver,
    /// Reads everything again and again; somebody must run it.
    pub scrubber: Scrubber,
}

/// Why the log is not served.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log has not begun, and was not to.
    #[error(
        "the ledger `{0}` has not begun in this store: `stintd init` begins one, `stintd restore DIR` brings a backup back"
    )]
    Absent(String),
    /// This replica could not take its place among those that write the log.
    #[error("the ledger is not ready to be extended")]
    Arrive(#[source] super::Error),
    /// The first entries could not be written.
    #[error("the ledger could not begin")]
    Begin(#[source] super::Error),
    /// What is stored does not hold together.
    #[error("the ledger in the store is not the one this broker wrote: {0}")]
    Diverged(String),
    /// The pin cannot be read.
    #[error("the pin `{path}` cannot be read")]
    Pin {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Checks everything, then gives the log.
pub(super) async fn open(
    store: Store,
    mut db: Db,
    site: Site,
    clock: Arc<dyn Clock>,
    if_absent: IfAbsent,
) -> Result<Opened, OpenError> {
    let log = store.log().to_owned();
    // Before the head: another replica may publish more while we look, which is no evidence against anybody.
    let held = held(&store, &site).await?;
    let cuts = Arc::new(watch::Sender::new(
        cut_of(&store, None).await?.map(Arc::new),
    ));
    let row = trail::head(&mut db, &log, trail::Lock::None)
        .await
        .map_err(|source| store.failed(source))?;
    let pinned = pinned(&site)?;
    let (head, mut standing) = match row {
        Some(row) => {
            if let (Some(path), None) = (&site.pin, &pinned) {
                tracing::warn!(path = %path.display(), "there is no pin: a rolled back store would not show");
            }
            let existing = existing(&store, &site, row, pinned.as_ref(), &cuts).await?;
            witnessed(&store, &site, &existing.0, (&held, &cuts)).await?;
            existing
        }
        None => {
            let head = absent(&log, if_absent, pinned.as_ref())?;
            witnessed(&store, &site, &head, (&held, &cuts)).await?;
            (head, Standing::default())
        }
    };
    let frozen = standing.frozen(&store).await?;
    let sets = standing.sets(&store).await?;
    let signing = standing.signing();
    let is_new = head.size() == 0;
    standing.arrived(head.size(), head.last_ts());
    let metrics = Arc::clone(&site.metrics);
    let ticks = Arc::clone(&clock);
    let policy = in_force(&store, &mut db, &standing).await?;
    let stands = (head, policy, frozen);
    let (ledger, mut committer, pin) = assemble((store, db, cuts), stands, site, clock);
    committer.arrive().await.map_err(OpenError::Arrive)?;
    if is_new {
        committer.begin().await.map_err(OpenError::Begin)?;
    }
    Ok(Opened {
        committer,
        pin,
        policy,
        sets,
        signing,
        deriver: Deriver::new(ledger.clone(), Arc::clone(&ticks), standing.into_binding()),
        scrubber: Scrubber::new(ledger.clone(), ticks, metrics),
        ledger,
    })
}

fn absent(log: &str, if_absent: IfAbsent, pinned: Option<&Checkpoint>) -> Result<Head, OpenError> {
    if let Some(pinned) = pinned {
        let text = format!(
            "the pin knows {} entries, the store none: `stintd restore DIR` brings a backup back",
            pinned.size
        );
        return Err(OpenError::Diverged(text));
    }
    match if_absent {
        IfAbsent::Begin => Ok(Head::empty(log, 0)),
        IfAbsent::Refuse => Err(OpenError::Absent(log.to_owned())),
    }
}

/// What witnesses hold under our own signature, and the newest checkpoint that was published.
async fn held(store: &Store, site: &Site) -> Result<Vec<Held>, OpenError> {
    // During a handover what was signed before it is ours too.
    let keys = site.log_key.all_public();
    let published = witnesses::published(store, &keys).await?;
    Ok(site.witnessed.iter().cloned().chain(published).collect())
}

/// The head extends what witnesses hold under our own signature, and the newest checkpoint that was published. Both
/// sides are kept where it does not. Of ours the bare text: a head that does not extend another is never signed.
async fn witnessed(
    store: &Store,
    site: &Site,
    head: &Head,
    (held, cuts): (&[Held], &Cuts),
) -> Result<(), OpenError> {
    let tiles = super::Tiles::new(store.clone(), Arc::clone(cuts));
    let (size, root) = (head.size(), *head.root());
    match witnesses::first_that_differs(store, &tiles, (size, root), held).await? {
        None => Ok(()),
        Some((held, why)) => {
            witnesses::keep(site.pin.as_deref(), held, &head.checkpoint().text());
            Err(OpenError::Diverged(why))
        }
    }
}

/// Mac, frontier, pin, and what is stored ([`resume`]).
async fn existing(
    store: &Store,
    site: &Site,
    row: HeadRow,
    pinned: Option<&Checkpoint>,
    cuts: &Cuts,
) -> Result<(Head, Standing), OpenError> {
    let mac = row.mac.clone();
    let head = restore(store.log(), row)?;
    let ours = head.mac(&site.mac);
    if !bool::from(ours.as_bytes().as_slice().ct_eq(&mac)) {
        return Err(diverged("the head's seal is not this broker's"));
    }
    let pinned = pinned.map(|pin| (pin.size, pin.root));
    if pinned.is_some_and(|(size, _)| size > head.size()) {
        let text = format!(
            "the head is at {} entries, the pin knows more: `stintd restore` brings a copy back that has them, \
             or goes on without them (`--accept-loss`)",
            head.size()
        );
        return Err(OpenError::Diverged(text));
    }
    let standing = resume(store, &head, pinned, cuts).await?;
    settle_cut(store, &standing, cuts).await?;
    Ok((head, standing))
}

/// What the rows, or the entry `at`, say of where the log begins.
async fn cut_of(store: &Store, at: Option<u64>) -> Result<Option<Cut>, OpenError> {
    match cut::find(store.readers().into(), store.log(), at).await {
        Ok(cut) => Ok(cut),
        Err(error) => Err(OpenError::Diverged(error.of_store(store)?)),
    }
}

/// The log begins where its own newest entry about that says, and nowhere else.
async fn settle_cut(store: &Store, standing: &Standing, cuts: &Cuts) -> Result<(), OpenError> {
    let said = cuts.borrow().clone();
    let Some(header) = standing.pruned() else {
        return match said {
            None => Ok(()),
            Some(cut) => Err(OpenError::Diverged(format!(
                "entry {} is said to have cut the log, and is no such entry",
                cut.entry
            ))),
        };
    };
    if said.is_none_or(|cut| !cut.is_of(header)) {
        let cut = cut_of(store, Some(header.seq)).await?;
        let cut = cut.filter(|cut| cut.is_of(header));
        let cut =
            cut.ok_or_else(|| diverged("the entry that cut the log is not the one it was"))?;
        cuts.send_replace(Some(Arc::new(cut)));
    }
    Ok(())
}

pub(crate) fn restore(log: &str, row: HeadRow) -> Result<Head, OpenError> {
    let digest = |bytes: &[u8]| match bytes.try_into() {
        Ok(bytes) => Ok(Digest::from_bytes(bytes)),
        Err(_) => Err(diverged("a hash of the head is not 32 bytes")),
    };
    let frontier: Result<Vec<_>, _> = row.frontier.chunks(32).map(digest).collect();
    let parts = HeadParts {
        log: log.to_owned(),
        epoch: row.epoch.unsigned_abs(),
        size: row.size.unsigned_abs(),
        last_leaf: digest(&row.last_leaf)?,
        root: digest(&row.root)?,
        frontier: frontier?,
        last_ts: row.last_ts.unsigned_abs(),
        closed: row.closed,
    };
    Head::restore(parts).map_err(|error| OpenError::Diverged(error.to_string()))
}

/// The set that is in force, as its own entry says, and its serial. The row that has its files must be of that entry.
async fn in_force(
    store: &Store,
    db: &mut Db,
    standing: &Standing,
) -> Result<Option<(Digest, u64)>, OpenError> {
    let Some((seq, pol)) = standing.policy() else {
        return Ok(None);
    };
    let row = policies::of(db, store.log(), &pol.to_string())
        .await
        .map_err(|source| store.failed(source))?;
    match row {
        Some((serial, at)) if at.unsigned_abs() == seq => Ok(Some((pol, serial.unsigned_abs()))),
        _ => Err(OpenError::Diverged(format!(
            "entry {seq} put policy {pol} in force, and the store does not know it"
        ))),
    }
}

fn pinned(site: &Site) -> Result<Option<Checkpoint>, OpenError> {
    let Some(path) = &site.pin else {
        return Ok(None);
    };
    let note = pin::read(path).map_err(|source| OpenError::Pin {
        path: path.clone(),
        source,
    })?;
    let Some(note) = note else {
        return Ok(None);
    };
    let wrong = |why: String| OpenError::Diverged(format!("the pin `{}`: {why}", path.display()));
    let (checkpoint, note) =
        Checkpoint::parse_note(&note).map_err(|error| wrong(error.to_string()))?;
    let known = site.log_key.all_public();
    let signers = note
        .verify(&known)
        .map_err(|error| wrong(error.to_string()))?;
    if signers.is_empty() || checkpoint.origin != site.log_key.public().name() {
        return Err(wrong("it is not signed by this log's key".to_owned()));
    }
    Ok(Some(checkpoint))
}

fn assemble(
    (store, db, cuts): (Store, Db, Cuts),
    (head, policy, frozen): (Head, Option<(Digest, u64)>, Frozen),
    site: Site,
    clock: Arc<dyn Clock>,
) -> (Ledger, Committer, Option<Pin>) {
    let (send, queue) = mpsc::channel(site.queue);
    let checkpoint = site.log_key.sign(&head.checkpoint().text()).into();
    let (published, follow) = watch::channel(Published {
        size: head.size(),
        checkpoint,
        last_ts: head.last_ts(),
    });
    let (state, watching) = watch::channel(State::Open);
    let (freeze, frozen) = watch::channel(frozen);
    let (take, taken) = watch::channel(policy.map(|(pol, _)| pol));
    let halts = Arc::new(watch::Sender::default());
    let outstanding = Arc::<Outstanding>::default();
    let pin = site.pin.map(|path| Pin::new(path, follow.clone()));
    let ledger = Ledger {
        queue: send,
        capacity: site.queue,
        pseudonyms: Arc::new(Pseudonyms::new(*site.pseudonyms, store.log())),
        vkey: site.log_key.vkey().into(),
        vkeys: site
            .log_key
            .all_public()
            .iter()
            .map(ToString::to_string)
            .collect(),
        published: follow,
        state: watching,
        frozen,
        policy: taken,
        halts: Arc::clone(&halts),
        outstanding: Arc::clone(&outstanding),
        cosigned: super::cosigned::Cosigned::default(),
        tiles: super::Tiles::new(store.clone(), Arc::clone(&cuts)),
        cuts,
        accused: Arc::default(),
        handovers: site.handovers.into(),
        store: store.clone(),
    };
    let committer = Committer {
        wake: Wake::of(store.location(), &site.node),
        store,
        db: Some(db),
        head,
        node: Node::new(&site.node, site.signing),
        sealing: Sealing {
            log_key: site.log_key,
            mac: site.mac,
        },
        steady: Steady::new(&*clock, halts),
        clock,
        queue,
        says: Says {
            published,
            state,
            frozen: freeze,
            policy: take,
        },
        waiting: VecDeque::new(),
        unmoved: 0,
        cautious: 0,
        outstanding,
        reserve: site.reserve,
        metrics: site.metrics,
    };
    (ledger, committer, pin)
}

impl Committer {
    /// Writes entry 0, and that the log's key is in use.
    async fn begin(&mut self) -> Result<(), super::Error> {
        let vkey = self.sealing.log_key.vkey();
        let genesis = Genesis {
            epoch: self.head.epoch(),
            hash: "rfc6962-sha256".to_owned(),
            nonce: Digest::from_bytes(random::bytes()),
            prior: None,
            vkey: vkey.clone(),
        };
        let key = KeyAdded {
            key: Digest::of(self.sealing.log_key.public().public_key()),
            not_after: None,
            usage: KeyUse::Log,
            vkey: Some(vkey),
        };
        let software = serde_json::json!({
            "software": env!("CARGO_PKG_VERSION"),
            "storage": { "engine": self.store.engine().word() },
        });
        let described = software.as_object().cloned().unwrap_or_default();
        self.commit_now(note(genesis, None, described), Vec::new())
            .await?;
        self.commit_now(note(key, None, serde_json::Map::new()), Vec::new())
            .await
    }

    /// Records what the ledger itself has to say.
    pub(super) async fn commit_now(
        &mut self,
        entry: Entry,
        writes: Vec<Write>,
    ) -> Result<(), super::Error> {
        let (answer, mut waiting) = oneshot::channel();
        let sealed = entry.seal();
        let unit = Unit {
            entry: Some(sealed.map_err(|form| super::Error::Form(form.to_string()))?),
            pol: None,
            writes,
        };
        self.commit(vec![Job { unit, answer }]).await;
        waiting
            .try_recv()
            .unwrap_or(Err(super::Error::Unwritable))
            .map(drop)
    }
}

fn diverged(why: &str) -> OpenError {
    OpenError::Diverged(why.to_owned())
}
