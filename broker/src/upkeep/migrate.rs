//! `stintd migrate`: the schema of a database is brought up to date, and the ledger in it is proven untouched.
//!
//! Migrations go forward only, each in a transaction of its own, one migrator at a time; an older program does not serve
//! what a newer one migrated (SECURITY.md §4, Storage). Every header is hashed again before and after.

use ring::digest::{Context, SHA256};
use stint_audit::Digest;
use stint_audit::tree::{Frontier, leaf_hash};
use thiserror::Error;

use crate::store::place::Lock;
use crate::store::{self, Db, Location, pages};

/// What there is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where, for people.
    pub place: String,
    /// The newest migration that was applied, 0 without one.
    pub found: i64,
    /// The newest there is.
    pub wanted: i64,
    /// Number and name of each that is missing, in order.
    pub steps: Vec<(i64, String)>,
}

/// A log, as its own headers give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its origin.
    pub log: String,
    /// Its entries.
    pub size: u64,
    /// Its root: over all headers, or as the head has it where the oldest were pruned.
    pub root: Digest,
    /// SHA-256 over all hashes and headers that are stored.
    stored: [u8; 32],
}

/// Why a schema is not up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The ledger was not what it is before: nothing may serve it until somebody has looked.
    #[error("the ledger `{0}` is not what it was before the migration: restore the backup")]
    Changed(String),
    /// The ledger did not hold together before anything was done.
    #[error(
        "the headers of the ledger `{0}` do not give the root of its head: nothing was migrated"
    )]
    Diverged(String),
    /// The database failed, or refused.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What [`migrate`] would do at `location`; changes nothing.
///
/// # Errors
/// [`store::Error`], as the database is opened.
pub async fn plan(location: &Location) -> Result<Plan, store::Error> {
    let _lock = location.file().map(Lock::take).transpose()?;
    let mut db = store::connect(location).await?;
    let plan = store::plan(location, &mut db).await?;
    close(location, db).await?;
    Ok(plan)
}

/// Brings the schema up to date; gives what was done, and the logs whose headers were hashed before and after.
///
/// # Errors
/// [`MigrateError`]. After [`MigrateError::Changed`] the database must not be served.
pub async fn migrate(location: &Location) -> Result<(Plan, Vec<Proven>), MigrateError> {
    let _lock = location
        .file()
        .map(Lock::take)
        .transpose()
        .map_err(store::Error::from)?;
    let mut db = store::connect(location).await?;
    let plan = store::plan(location, &mut db).await?;
    let before = prove(location, &mut db, plan.found).await?;
    if plan.steps.is_empty() {
        close(location, db).await?;
        return Ok((plan, before));
    }
    store::upgrade(location, &mut db).await?;
    let after = prove(location, &mut db, plan.wanted).await?;
    // Others may serve an older schema meanwhile and lengthen a log: what was there must be there.
    let kept = |log: &Proven| {
        after
            .iter()
            .any(|it| it.log == log.log && (it == log || it.size > log.size))
    };
    if let Some(lost) = before.iter().find(|log| !kept(log)) {
        return Err(MigrateError::Changed(lost.log.clone()));
    }
    close(location, db).await?;
    Ok((plan, after))
}

async fn close(location: &Location, db: Db) -> Result<(), store::Error> {
    let closed = db.close().await;
    closed.map_err(|source| store::Error::database(location, source))
}

/// Every log of a database with schema `found`, hashed again.
async fn prove(location: &Location, db: &mut Db, found: i64) -> Result<Vec<Proven>, MigrateError> {
    if found == 0 {
        return Ok(Vec::new());
    }
    let failed = |source| MigrateError::Store(store::Error::database(location, source));
    let mut proven = Vec::new();
    for log in pages::logs(db).await.map_err(failed)? {
        let (tree, stored) = rehash(db, &log).await.map_err(failed)?;
        let head = <[u8; 32]>::try_from(log.root.as_slice()).map(Digest::from_bytes);
        let root = tree.map_or_else(
            || head.ok(),
            |tree| (tree.size() == log.size).then(|| tree.root()),
        );
        match root.filter(|root| root.as_bytes().as_slice() == log.root) {
            Some(root) => proven.push(Proven {
                log: log.name,
                size: log.size,
                root,
                stored,
            }),
            None => return Err(MigrateError::Diverged(log.name)),
        }
    }
    Ok(proven)
}

/// The tree over all headers up to the head, or none where the oldest are gone; and the hash of what is stored of them.
async fn rehash(
    db: &mut Db,
    log: &pages::Log,
) -> Result<(Option<Frontier>, [u8; 32]), sqlx::Error> {
    let (mut next, mut hash) = (0, Context::new(&SHA256));
    let mut tree = Some(Frontier::of(&[]));
    loop {
        let batches = pages::batches(db, &log.name, next, PAGE).await?;
        let Some(last) = batches.last() else {
            break;
        };
        next = last.first_seq.saturating_add(1);
        for batch in batches {
            // Whoever serves meanwhile may be further than the head that was read.
            if batch.first_seq.unsigned_abs() >= log.size {
                break;
            }
            hash.update(&batch.hashes);
            hash.update(&batch.headers);
            for (seq, header) in batch.entries() {
                tree = tree.filter(|tree| tree.size() == seq);
                if let Some(tree) = &mut tree {
                    tree.push(leaf_hash(header));
                }
            }
        }
    }
    let mut stored = [0; 32];
    stored.copy_from_slice(hash.finish().as_ref());
    Ok((tree, stored))
}

/// Batches read at once.
const PAGE: i64 = 256;
