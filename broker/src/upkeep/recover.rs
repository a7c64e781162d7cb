//! Entries that were lost with their log and were kept elsewhere come back on record (LEDGER.md §5 `recovery`, §12).
//!
//! Nothing is put back into the old log, which is closed. Each entry that is found, in a receipt, a bundle or what a sink
//! was sent, becomes one of the log in use, with its old header, exact bytes, and its body where that was kept. Only what
//! the old log's own signature covers is found. Whatever it said binds nobody any more: it is evidence.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use stint_audit::kind::{PriorLog, Recovery};
use stint_audit::{Entry, Head, Header, What};
use thiserror::Error;

use self::search::{Found, Search};
use crate::clock::Clock;
use crate::config::Config;
use crate::keyring::Folder;
use crate::ledger::keys::{self, LogKeysError};
use crate::ledger::{self, epoch};
use crate::store::trail::{self, BatchRow};
use crate::store::{self, Store};
use crate::upkeep::hand::{self, Hand, HandError};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The log that was lost.
    pub log: String,
    /// Entries that came back now.
    pub entries: u64,
    /// Of them, those whose bodies came too.
    pub bodies: u64,
    /// Entries that had come back before.
    pub before: u64,
    /// Entries that are known to have been and are still nowhere.
    pub missing: u64,
    /// How many there are of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Entries that a sink was sent and that no signed head covers.
    pub unproven: u64,
}

/// Why nothing came back.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// A file cannot be read, or proves nothing.
    #[error("`{path}` {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Two files prove different things.
    #[error(
        "entry {0} is proven twice, and differs: the log that was lost was signed twice. Keep all of these files"
    )]
    Fork(u64),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The old log's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] LogKeysError),
    /// Nothing is known to be lost.
    #[error(
        "the log `{0}` did not begin with a loss (`stintd restore --accept-loss`): there is nothing to bring back"
    )]
    NoLoss(String),
    /// What came back before may be in an archive.
    #[error(
        "the ledger was pruned since it began: what came back before is in an archive, and would come twice"
    )]
    Pruned,
    /// It could not be recorded.
    #[error("it could not be recorded")]
    Record(#[from] ledger::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Looks for lost entries in `files`, and records each that is proven and is not on record yet. The broker is stopped. Cut
/// off in the middle, it is run again.
///
/// # Errors
/// [`RecoverError`]. All files are read before anything is recorded.
pub async fn recover(
    config: &Config,
    clock: Arc<dyn Clock>,
    files: &[PathBuf],
) -> Result<Recovered, RecoverError> {
    let now = u64::try_from(clock.now().as_millis()).unwrap_or(0);
    let hand = Box::pin(Hand::open(config, clock)).await?;
    let done = Box::pin(bring_back(config, &hand, files, now)).await;
    hand.close().await;
    done
}

async fn bring_back(
    config: &Config,
    hand: &Hand,
    files: &[PathBuf],
    now: u64,
) -> Result<Recovered, RecoverError> {
    let (Some(prior), Some((seen, _))) = (&hand.begun.prior, hand.begun.recovered) else {
        return Err(RecoverError::NoLoss(hand.ledger.origin().to_owned()));
    };
    if hand.ledger.floor() > 0 {
        return Err(RecoverError::Pruned);
    }
    let mut search = search(config, hand, prior).await?;
    let left = search.left();
    for path in files {
        let wrong = |why: String| RecoverError::File {
            path: path.clone(),
            why,
        };
        match search.read(path, now) {
            Ok(None) => {}
            Ok(Some(seq)) => return Err(RecoverError::Fork(seq)),
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    let unproven = search.prove_events();
    let before = on_record(&hand.store).await?;
    let mut done = Recovered {
        log: prior.log.clone(),
        entries: 0,
        bodies: 0,
        before: u64::try_from(before.len()).unwrap_or(u64::MAX),
        missing: 0,
        kinds: BTreeMap::new(),
        unproven,
    };
    for (old, found) in search.proven {
        if before.contains(&old) {
            continue;
        }
        let kind = Header::parse(&found.header).map(|header| header.what.kind().to_owned());
        let (entry, with_body) = entry(old, &found);
        hand.ledger.record(entry, None, Vec::new()).await?;
        done.entries += 1;
        done.bodies += u64::from(with_body);
        // A later version's entry comes back all the same.
        *done
            .kinds
            .entry(kind.unwrap_or_else(|_later| "?".to_owned()))
            .or_default() += 1;
    }
    let known = seen.saturating_sub(left);
    done.missing = known.saturating_sub(done.before + done.entries);
    Ok(done)
}

/// A search for what is not left of the log before this one.
async fn search(config: &Config, hand: &Hand, prior: &PriorLog) -> Result<Search, RecoverError> {
    let passphrase = hand::passphrase(config).map_err(HandError::from)?;
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let (base, epoch) = epoch::parts(&prior.log);
    let keys = keys::open(&folder, base, epoch)?;
    let mut db = hand.store.writer().await?;
    let row = trail::head(&mut db, &prior.log, trail::Lock::None).await;
    drop(db.close().await);
    let row = row.map_err(|source| store::Error::database(hand.store.location(), source))?;
    let left = match row {
        Some(row) => ledger::restore_head(&prior.log, row)
            .map_err(|error| RecoverError::Hand(error.into()))?,
        None => Head::empty(&prior.log, epoch),
    };
    Ok(Search::new(left, prior, keys.log.all_public()))
}

/// The record of one entry, and whether its body is in it: one that has no room there is left out, its hash is not.
fn entry(old: u64, found: &Found) -> (Entry, bool) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut body = Map::new();
    body.insert("header".to_owned(), json!(text(&found.header)));
    body.insert("source".to_owned(), json!(found.source));
    let plain = |body| ledger::note(Recovery::Entry { old }, None, body);
    if let Some(old_body) = &found.body {
        let mut whole = body.clone();
        whole.insert("body".to_owned(), json!(text(old_body)));
        let entry = plain(whole);
        if entry.body.bytes().is_ok() {
            return (entry, true);
        }
    }
    (plain(body), false)
}

/// Which entries came back before.
async fn on_record(store: &Store) -> Result<BTreeSet<u64>, store::Error> {
    let mut found = BTreeSet::new();
    let mut next = 0;
    loop {
        let page = store.batches(trail::signed(next), i64::MAX, PAGE).await?;
        let began = next;
        for (seq, bytes) in page.iter().flat_map(BatchRow::entries) {
            if seq < began {
                continue;
            }
            next = seq + 1;
            // Canonical JSON has one spelling.
            if memchr::memmem::find(bytes, br#""kind":"recovery""#).is_none() {
                continue;
            }
            let what = Header::parse(bytes).map(|header| header.what);
            if let Ok(What::Recovery(Recovery::Entry { old })) = what {
                found.insert(old);
            }
        }
        if next == began {
            return Ok(found);
        }
    }
}

/// Batches read at once.
const PAGE: i64 = 64;
