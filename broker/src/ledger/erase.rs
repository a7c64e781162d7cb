//! Bodies that go before their time: on request, by order, or because they were kept long enough (LEDGER.md §12).
//!
//! Headers, hashes and proofs stay. What still binds stays too, and is named: an erasure that is not whole does not happen.

mod holds;
mod retain;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};
use stint_audit::kind::{Basis, Erased};
use stint_audit::{Digest, Entry, Header, What};
use thiserror::Error;

use self::holds::Holds;
pub(crate) use self::retain::Keeper;
use super::Ledger;
use crate::store::erase::EraseRow;
use crate::store::trail::{self, BatchRow};
use crate::store::{self, Store, Write};
use crate::upkeep::hand;

/// Whose bodies, or which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Half-open ranges of seqs.
    pub seqs: Vec<[u64; 2]>,
    /// Grants, by id: the grant, and whatever became of it.
    pub grants: Vec<String>,
    /// Everybody who is named here, by SPIFFE ID: whatever is about them, by them, or was asked on their behalf.
    pub subjects: Vec<String>,
}

/// Who erases, and on what grounds.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// As bodies name them.
    pub actor: String,
    /// Request, retention or order.
    pub basis: Basis,
    /// The number under which somebody asked, if there is one. Not a name: it stays.
    pub ticket: Option<String>,
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The entry that says so.
    pub seq: u64,
    /// Bodies.
    pub n: u64,
    /// Half-open ranges.
    pub ranges: Vec<[u64; 2]>,
}

/// Why nothing was erased.
#[derive(Debug, Error)]
pub enum EraseError {
    /// Something of it still binds.
    #[error("nothing was erased: {}", told(.0))]
    Binds(Vec<(u64, String)>),
    /// No entry is meant, or each is erased already.
    #[error("nothing is left to erase: no entry that is meant has a body")]
    Nothing,
    /// More parts than an entry names.
    #[error(
        "these bodies lie in {0} ranges, an entry names {MAX_RANGES}: erase them in parts, by `--seq`"
    )]
    Parts(usize),
    /// It could not be recorded.
    #[error("it could not be recorded, and so nothing was erased")]
    Record(#[from] super::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no such entry or grant.
    #[error("there is no {0}")]
    Unknown(String),
}

fn told(binds: &[(u64, String)]) -> String {
    let shown = binds
        .iter()
        .take(SHOWN)
        .map(|(seq, why)| format!("entry {seq} {why}"));
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if let Some(more) = binds.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// Erases the bodies of what is `wanted`, in the transaction of the entry that says so; `now` in milliseconds.
///
/// # Errors
/// [`EraseError`]; then nothing was erased.
pub async fn erase(
    ledger: &Ledger,
    store: &Store,
    wanted: &Wanted,
    grounds: &Grounds,
    now: u64,
) -> Result<Gone, EraseError> {
    let plan = plan(ledger, store, wanted, now).await?;
    record(ledger, plan, grounds).await
}

/// Records what was planned, and with it does it.
async fn record(ledger: &Ledger, row: EraseRow, grounds: &Grounds) -> Result<Gone, EraseError> {
    let (n, ranges) = (row.n(), row.ranges.clone());
    let entry = entry(ledger, &row, grounds);
    let receipt = ledger
        .record(entry, None, vec![Write::Erase(Box::new(row))])
        .await?;
    let seq = receipt.seq();
    Ok(Gone { seq, n, ranges })
}

fn entry(ledger: &Ledger, row: &EraseRow, grounds: &Grounds) -> Entry {
    let erased = Erased {
        basis: grounds.basis,
        n: row.n(),
        ranges: row.ranges.clone(),
    };
    let mut body = Map::new();
    if let Some(ticket) = &grounds.ticket {
        body.insert("ticket".to_owned(), json!(ticket));
    }
    hand::acted(ledger, erased.into(), &grounds.actor, body)
}

/// Finds the bodies, and refuses if one of them may not go.
async fn plan(
    ledger: &Ledger,
    store: &Store,
    wanted: &Wanted,
    now: u64,
) -> Result<EraseRow, EraseError> {
    let size = ledger.published().size;
    if let Some([_, end]) = wanted
        .seqs
        .iter()
        .find(|[from, to]| from >= to || *to > size)
    {
        return Err(EraseError::Unknown(format!(
            "entry {}",
            end.saturating_sub(1)
        )));
    }
    let subjects: BTreeSet<Digest> = wanted
        .subjects
        .iter()
        .map(|id| ledger.subject(id).pseudonym)
        .collect();
    let mut search = Search::new(wanted, subjects);
    let mut next = 0;
    while next < size {
        let page = store
            .batches(trail::signed(next), trail::signed(size), PAGE)
            .await?;
        let began = next;
        for (seq, bytes) in page
            .iter()
            .flat_map(BatchRow::entries)
            .filter(|(seq, _)| *seq < size)
        {
            next = seq + 1;
            if let Ok(header) = Header::parse(bytes) {
                search.look(header);
            }
        }
        if next == began {
            break; // the store lost a batch: the committer says so
        }
    }
    search.end(store, wanted, now).await
}

/// A walk over all headers: what is meant, and what of the log still binds.
struct Search<'w> {
    wanted: &'w Wanted,
    grants: BTreeSet<&'w str>,
    subjects: BTreeSet<Digest>,
    found: BTreeMap<u64, Header>,
    found_grants: BTreeSet<String>,
    gone: Vec<[u64; 2]>,
    holds: Holds,
}

impl<'w> Search<'w> {
    fn new(wanted: &'w Wanted, subjects: BTreeSet<Digest>) -> Self {
        Self {
            wanted,
            grants: wanted.grants.iter().map(String::as_str).collect(),
            subjects,
            found: BTreeMap::new(),
            found_grants: BTreeSet::new(),
            gone: Vec::new(),
            holds: Holds::default(),
        }
    }

    fn look(&mut self, header: Header) {
        self.holds.follow(&header);
        if let What::Erased(erased) = &header.what {
            self.gone.extend(&erased.ranges);
        }
        let grant = match &header.what {
            What::Granted(_) => Some(&header.id),
            What::Revoked(it) => Some(&it.grant),
            What::SignFailed(it) => Some(&it.grant),
            _ => None,
        };
        let grant = grant.filter(|grant| self.grants.contains(grant.as_str()));
        self.found_grants.extend(grant.cloned());
        let people = [header.subj, header.by, header.behalf];
        let meant = grant.is_some()
            || people
                .iter()
                .flatten()
                .any(|who| self.subjects.contains(who))
            || self
                .wanted
                .seqs
                .iter()
                .any(|[from, to]| (*from..*to).contains(&header.seq));
        if meant {
            self.found.insert(header.seq, header);
        }
    }

    async fn end(
        mut self,
        store: &Store,
        wanted: &Wanted,
        now: u64,
    ) -> Result<EraseRow, EraseError> {
        let missing = wanted
            .grants
            .iter()
            .find(|id| !self.found_grants.contains(*id));
        if let Some(id) = missing {
            return Err(EraseError::Unknown(format!("grant `{id}` in this log")));
        }
        self.gone.sort_unstable();
        let gone = std::mem::take(&mut self.gone);
        self.found
            .retain(|seq, _| super::whole::unsaid([*seq, seq + 1], &gone).is_some());
        let mut binds = Vec::new();
        for (seq, header) in &self.found {
            if let Some(why) = self.holds.binds(store, header, now).await? {
                binds.push((*seq, why));
            }
        }
        if !binds.is_empty() {
            return Err(EraseError::Binds(binds));
        }
        let row = row(self.found.values(), &wanted.subjects);
        match row.ranges.len() {
            0 => Err(EraseError::Nothing),
            n if n > MAX_RANGES => Err(EraseError::Parts(n)),
            _ => Ok(row),
        }
    }
}

/// The bodies of `headers`, which ascend, and what rows know of the same.
fn row<'h>(headers: impl Iterator<Item = &'h Header>, callers: &[String]) -> EraseRow {
    let mut row = EraseRow {
        callers: callers.to_vec(),
        ..EraseRow::default()
    };
    let mut tasks = BTreeSet::new();
    for header in headers {
        match row.ranges.last_mut() {
            Some([_, end]) if *end == header.seq => *end += 1,
            _ => row.ranges.push([header.seq, header.seq + 1]),
        }
        let task = match &header.what {
            What::Granted(it) => Some(&it.task),
            What::Denied(it) => it.task.as_ref(),
            What::Requested(it) => Some(&it.task),
            What::TaskOpened(it) => Some(&it.task),
            What::TaskClosed(it) => Some(&it.task),
            _ => None,
        };
        tasks.extend(task.cloned());
        if matches!(
            header.what,
            What::Granted(_) | What::Denied(_) | What::Requested(_)
        ) {
            row.ids.push(header.id.clone());
        }
    }
    row.tasks = tasks.into_iter().collect();
    row
}

/// Parts that one entry names (LEDGER.md §5).
const MAX_RANGES: usize = 100;
/// Entries that a refusal names.
const SHOWN: usize = 5;
/// Batches read at once.
const PAGE: i64 = 64;

impl crate::issue::Broker {
    /// Erases on a running broker, and sees to it that the bytes go.
    ///
    /// # Errors
    /// [`EraseError`]; then nothing was erased.
    pub async fn erase(&self, wanted: &Wanted, grounds: &Grounds) -> Result<Gone, EraseError> {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let gone = erase(&self.ledger, &self.store, wanted, grounds, now).await?;
        tracing::warn!(seq = gone.seq, n = gone.n, "bodies were erased");
        scrub(&self.store).await;
        Ok(gone)
    }
}

/// Cuts the write-ahead log, which still has the pages as they were. What fails here is said: the bodies are gone from the
/// table, their old bytes may be left on the disk until the next checkpoint.
pub async fn scrub(store: &Store) {
    let scrubbed = async {
        let mut db = store.writer().await?;
        let done = crate::store::snapshot::scrub(&mut db).await;
        drop(db.close().await);
        done.map_err(|source| store.failed(source))
    };
    if let Err(error) = scrubbed.await {
        tracing::warn!(%error, "the bytes of erased bodies may still be in the write-ahead log");
    }
}
