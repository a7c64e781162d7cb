//! Grants that were recorded and perhaps never handed out (LEDGER.md §6).
//!
//! Between the commit of a `granted` and its credential lies a signature. A process that dies there leaves an entry that
//! somebody must be able to read right: it gets a `sign_failed interrupted`, written by the next life of that node, or
//! by another replica when the node stays silent. The credential *may* have been released, so it is not revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use stint_audit::kind::{KeyRetired, KeyUse, SignFailed, SignFault};
use stint_audit::{Digest, Entry, Header, Receipt, What};

use super::committer::Committer;
use super::draft::{note, salted};
use super::follow::{FollowFailure, body_of};
use super::transaction::Failure;
use super::{Error, Lost};
use crate::clock::Stopwatch;
use crate::ids::EntryId;
use crate::random;
use crate::store::nodes::{self, CloseRow, NodeRow};
use crate::store::{Db, Engine, Write, trail};

/// This replica among those that write the log, and what it knows of the others.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    /// The keys that it signs credentials with.
    signing: Vec<(KeyUse, Digest)>,
    /// As its row stands, or will with the next commit.
    row: NodeRow,
    beaten: Stopwatch,
    /// Grants of ours that another connection committed after we gave it up: nobody was told.
    pub(super) unheard: BTreeSet<u64>,
    /// The others' last signs of life.
    others: BTreeMap<String, (NodeRow, Stopwatch)>,
}

impl Node {
    pub(super) fn new(name: &str, signing: Vec<(KeyUse, Digest)>) -> Self {
        let instance = EntryId::from_bytes(random::bytes()).to_string();
        Self {
            name: name.into(),
            signing,
            row: nodes::begun(name, &instance, 0, 0),
            beaten: Stopwatch::start(),
            unheard: BTreeSet::new(),
            others: BTreeMap::new(),
        }
    }

    /// Whether it signs with the key that is no longer to count.
    pub(super) fn signs_with(&self, retired: &KeyRetired) -> bool {
        self.signing.contains(&(retired.usage, retired.key))
    }
}

/// The seqs of grants between their commit and their release.
#[derive(Debug, Default)]
pub(super) struct Outstanding(Mutex<BTreeSet<u64>>);

impl Outstanding {
    pub(super) fn recorded(&self, receipts: &[Receipt]) {
        let grants = receipts.iter().filter(|it| it.granted().is_some());
        self.set().extend(grants.map(Receipt::seq));
    }

    pub(super) fn released(&self, seq: u64) {
        self.set().remove(&seq);
    }

    /// A grant that nobody was told of: until it is closed, the mark may not pass it.
    pub(super) fn unheard(&self, seq: u64) {
        self.set().insert(seq);
    }

    /// All grants of ours before it were handed out, or are closed.
    fn mark(&self, size: u64) -> u64 {
        self.set().first().copied().unwrap_or(size)
    }

    fn set(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Takes the node's name for this life, and closes what the last one left open. A name that is alive is refused: two
    /// lives of it would close each other's grants.
    ///
    /// # Errors
    /// [`Error::Unwritable`]; the log says why.
    pub(super) async fn arrive(&mut self) -> Result<(), Error> {
        let last = self.last_life().await?;
        self.node.row.released = last.as_ref().map_or(0, |last| last.released);
        self.node.row.seen = self.clock.now().as_millis();
        let log = self.head.log().to_owned();
        let row = self.node.row.clone();
        let claimed = self.on_db(async |db| nodes::claim(db, &log, last.as_ref(), &row).await);
        if !claimed
            .await
            .map_err(|source: sqlx::Error| unwritable(source.into()))?
        {
            return Err(self.name_is_taken());
        }
        if last.is_some_and(|last| !last.instance.is_empty()) {
            self.close_mine().await?;
        }
        self.node.row.released = trail::signed(self.head.size());
        Ok(())
    }

    /// The row of the last life of this node's name, once it is surely over.
    async fn last_life(&mut self) -> Result<Option<NodeRow>, Error> {
        let watch = Stopwatch::start();
        let mut first = None;
        loop {
            let found = self.nodes().await.map_err(unwritable)?;
            let found = found.into_iter().find(|row| row.node == *self.node.name);
            let over = match (&found, self.store.engine()) {
                (None, _) | (_, Engine::Sqlite) => true,
                (Some(row), Engine::Postgres) => row.instance.is_empty() || watch.elapsed() > LEASE,
            };
            if over {
                return Ok(found);
            }
            if first.is_some() && first != found {
                return Err(self.name_is_taken());
            }
            first = found;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn name_is_taken(&self) -> Error {
        Error::NameTaken(self.node.name.to_string())
    }

    async fn nodes(&mut self) -> Result<Vec<NodeRow>, FollowFailure> {
        let log = self.head.log().to_owned();
        Ok(self.on_db(async |db| nodes::all(db, &log).await).await?)
    }

    /// With each commit: this life goes on, and so far its grants were handed out.
    pub(super) async fn hold_node(&mut self, db: &mut Db) -> Result<(), Failure> {
        let row = self.marked();
        if nodes::beat(db, self.head.log(), &row).await? {
            self.node.beaten = Stopwatch::start();
            return Ok(());
        }
        Err(Failure::Diverged(self.name_is_taken().to_string()))
    }

    /// This life's row, as far as it has come.
    fn marked(&mut self) -> NodeRow {
        self.node.row.released = trail::signed(self.outstanding.mark(self.head.size()));
        // A sign of life differs from the one before, also where the clock stands still or was set back.
        let next = self.node.row.seen.saturating_add(1);
        self.node.row.seen = next.max(self.clock.now().as_millis());
        self.node.row.clone()
    }

    /// Between commits, at most once a second: says how far the handing out has come, and on a server that this replica
    /// lives.
    pub(super) async fn beat(&mut self) {
        let due = self.node.beaten.elapsed() >= BEAT;
        let moved =
            trail::signed(self.outstanding.mark(self.head.size())) != self.node.row.released;
        if !due || !(moved || self.store.engine() == Engine::Postgres) {
            return;
        }
        let row = self.marked();
        let log = self.head.log().to_owned();
        let beaten = self.on_db(async |db| nodes::beat(db, &log, &row).await);
        match beaten.await {
            Ok(true) => self.node.beaten = Stopwatch::start(),
            Ok(false) => self.say(super::State::Diverged(self.name_is_taken().to_string())),
            Err(source @ sqlx::Error::PoolClosed) => tracing::debug!(%source, "no sign of life"),
            Err(source) => tracing::warn!(%source, "the sign of life was not written"),
        }
    }

    /// This life ends in order: whoever comes next has nothing to close but what is still outstanding.
    pub(super) async fn leave(&mut self) {
        self.close_unheard().await;
        let log = self.head.log().to_owned();
        let last = self.marked();
        let settled = last.released == trail::signed(self.head.size());
        let left = self.on_db(async |db| match settled {
            true => nodes::end(db, &log, &last).await,
            false => nodes::beat(db, &log, &last).await,
        });
        if let Err(source) = left.await {
            tracing::warn!(%source, "the end of this life was not written");
        }
        if self.store.engine() == Engine::Sqlite {
            let moved = self.on_db(async |db| db.tell("PRAGMA wal_checkpoint(TRUNCATE)").await);
            if let Err(source) = moved.await {
                tracing::warn!(%source, "the write-ahead log was left for the next start");
            }
        }
    }

    /// Closes what our own lost connections committed after all.
    pub(super) async fn close_unheard(&mut self) {
        let unheard = std::mem::take(&mut self.node.unheard);
        for seq in unheard {
            let closed = self.close_one(seq, None).await;
            if let Err(error) = closed {
                tracing::warn!(%error, seq, "an interrupted grant is not closed yet");
                self.node.unheard.insert(seq);
            } else {
                self.outstanding.released(seq);
            }
        }
    }

    /// Closes what the last life of this name left open. The first of these commits moves our mark, so all of them hold
    /// it back: a start that is cut off here leaves the rest for the next one.
    async fn close_mine(&mut self) -> Result<(), Error> {
        let mine = self.node.row.clone();
        let open = self.unreleased(&mine).await.map_err(unwritable)?;
        open.iter().for_each(|seq| self.outstanding.unheard(*seq));
        for seq in open {
            self.close_one(seq, None).await?;
            self.outstanding.released(seq);
        }
        Ok(())
    }

    /// Looks after replicas that fell silent: what they may not have handed out is closed for them.
    pub(super) async fn tend_others(&mut self) {
        let Ok(rows) = self.nodes().await else { return };
        let name = Arc::clone(&self.node.name);
        let others = rows.into_iter().filter(|row| *row.node != *name);
        for row in others {
            let known = self.node.others.get(&row.node);
            let silent = known.filter(|(last, _)| *last == row);
            let silence = silent.map(|(_, since)| since.elapsed());
            if silence.is_none() {
                let sign = (row.clone(), Stopwatch::start());
                self.node.others.insert(row.node.clone(), sign);
            }
            if row.instance.is_empty() || silence.is_none_or(|silence| silence < SILENT) {
                continue;
            }
            tracing::warn!(
                node = row.node,
                "a replica is silent: its open grants are closed"
            );
            if let Err(error) = self.close_interrupted(&row).await {
                tracing::warn!(%error, node = row.node, "they are not closed yet");
                continue;
            }
            let log = self.head.log().to_owned();
            let ended = self.on_db(async |db| nodes::end_silent(db, &log, &row).await);
            if let Err(source) = ended.await {
                tracing::warn!(%source, "the end of a silent replica was not written");
            }
        }
    }

    /// One `sign_failed interrupted` for each grant of another's life that is over and was not seen handed out.
    async fn close_interrupted(&mut self, dead: &NodeRow) -> Result<(), Error> {
        let grants = self.unreleased(dead).await.map_err(unwritable)?;
        let mut was = dead.released;
        for seq in grants {
            let now = trail::signed(seq) + 1;
            let mark = CloseRow {
                node: dead.node.clone(),
                instance: dead.instance.clone(),
                was,
                now,
            };
            self.close_one(seq, Some(mark)).await?;
            was = now;
        }
        Ok(())
    }

    async fn close_one(&mut self, seq: u64, mark: Option<CloseRow>) -> Result<(), Error> {
        let entry = self.interrupted(seq).await.map_err(unwritable)?;
        let writes = mark.map(Write::Close).into_iter().collect();
        match self.commit_now(entry, writes).await {
            Ok(()) | Err(Error::Lost(Lost::Node)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Seqs of the grants of `dead` above its mark that no `sign_failed` closes.
    async fn unreleased(&mut self, dead: &NodeRow) -> Result<BTreeSet<u64>, FollowFailure> {
        let mut open = BTreeSet::new();
        let (mut next, end) = (dead.released, trail::signed(self.head.size()));
        let log = self.head.log().to_owned();
        while next < end {
            let page = self.on_db(async |db| trail::batches(db, &log, (next, end), PAGE).await);
            let batches = page.await?;
            for (seq, bytes) in batches.iter().flat_map(trail::BatchRow::entries) {
                next = next.max(trail::signed(seq) + 1);
                follow_grant(&mut open, (seq, bytes), dead);
            }
            if batches.is_empty() {
                let why = format!("entry {next} is missing");
                return Err(FollowFailure::Diverged(why));
            }
        }
        Ok(open)
    }

    async fn interrupted(&mut self, seq: u64) -> Result<Entry, FollowFailure> {
        let log = self.head.log().to_owned();
        let at = trail::signed(seq);
        let (header, body) = self
            .on_db(async |db| {
                let batches = trail::batches(&mut *db, &log, (at, at + 1), 1).await?;
                let mut found = batches.iter().flat_map(trail::BatchRow::entries);
                let header = found.find(|(of, _)| *of == seq);
                let header = header.and_then(|(_, bytes)| Header::parse(bytes).ok());
                let missing =
                    || FollowFailure::Diverged(format!("entry {seq} is not in the store"));
                let header = header.ok_or_else(missing)?;
                // The body may have been erased: then the grant is named by its id alone.
                let body = body_of(db, &header).await.ok();
                Ok::<_, FollowFailure>((header, body))
            })
            .await?;
        let mut what = Map::new();
        if let Some(body) = body {
            let kept = ["serial", "jti", "signer"];
            let kept = kept
                .into_iter()
                .filter_map(|name| Some((name, body.what.get(name)?)));
            what.extend(kept.map(|(name, value)| (name.to_owned(), value.clone())));
        }
        what.entry("signer")
            .or_insert_with(|| Value::from("unknown"));
        let failed = SignFailed {
            grant: header.id,
            of: seq,
            why: SignFault::Interrupted,
        };
        Ok(Entry {
            subj: header.subj,
            body: salted(what),
            ..note(failed, None, Map::new())
        })
    }
}

/// What one entry says of the open grants of `dead`.
fn follow_grant(open: &mut BTreeSet<u64>, (seq, bytes): (u64, &[u8]), dead: &NodeRow) {
    let says = |word: &[u8]| memchr::memmem::find(bytes, word).is_some();
    if !says(br#""kind":"granted""#) && !says(br#""kind":"sign_failed""#) {
        return;
    }
    let Ok(header) = Header::parse(bytes) else {
        return;
    };
    match header.what {
        What::Granted(_) if *header.node == *dead.node && trail::signed(seq) >= dead.released => {
            open.insert(seq);
        }
        What::SignFailed(failed) => drop(open.remove(&failed.of)),
        _ => {}
    }
}

fn unwritable(failure: FollowFailure) -> Error {
    match failure {
        FollowFailure::Diverged(why) => {
            tracing::error!(%why, "interrupted grants cannot be closed")
        }
        FollowFailure::Engine(source) => {
            tracing::error!(%source, "interrupted grants cannot be closed");
        }
    }
    Error::Unwritable
}

/// After how long without a sign of life a name may be taken again.
const LEASE: Duration = Duration::from_secs(5);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// How long a replica may be silent before others close its grants (LEDGER.md §6).
const SILENT: Duration = Duration::from_secs(60);
/// Batches read at once.
const PAGE: i64 = 64;
