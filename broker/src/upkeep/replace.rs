//! Another CA and another key for tokens, at once: after a theft, or a loss whose credentials may not be waited out (what
//! LEDGER.md §12 calls `--rotate-ca`; a command of its own, since a theft needs no loss).
//!
//! There is no overlap, that is the point: whoever verifies takes the new root, and from then on nothing counts that the
//! old keys ever signed. It is on record before a file moves, and goes on where it was cut off.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use stint_audit::kind::{KeyAdded, KeyRetired, KeyUse};
use stint_audit::{Digest, What};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Config, SecretError};
use crate::keyring::{Folder, KeyringError, Signing};
use crate::ledger;
use crate::ledger::known::known_keys;
use crate::start;
use crate::store;
use crate::store::nodes::NodeRow;
use crate::upkeep::hand::{self, Hand, HandError};

/// What signs from the next start on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The entries that say so; none, if a run before this one had recorded it.
    pub entries: Vec<u64>,
    /// SHA-256 of the new root's DER, in lower-case hex; nothing, if a run before this one had put all in place.
    pub fingerprint: Option<String>,
    /// The names of all files that are no longer used.
    pub retired: Vec<String>,
}

/// Why nothing changed, or not all of it: the same command goes on.
#[derive(Debug, Error)]
pub enum ReplaceError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The keys cannot be read or made.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// It could not be recorded.
    #[error("it could not be recorded")]
    Record(#[from] ledger::Error),
    /// It would go on signing by the old keys.
    #[error("the broker `{0}` runs on this database: stop every replica first")]
    Runs(String),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes root, issuing CA and token key anew, records it, and puts the old files away. No broker runs.
///
/// # Errors
/// [`ReplaceError`].
pub async fn replace(
    config: &Config,
    clock: Arc<dyn Clock>,
    actor: &str,
    reason: &str,
) -> Result<Replaced, ReplaceError> {
    let passphrase = hand::passphrase(config)?;
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let hand = Hand::open(config, Arc::clone(&clock)).await?;
    if let Some(node) = running(&hand, &config.ledger.node).await? {
        hand.close().await;
        return Err(ReplaceError::Runs(node));
    }
    let Some(next) = folder.next(start::authority_of(config), clock.now())? else {
        hand.close().await;
        return Ok(Replaced {
            entries: Vec::new(),
            fingerprint: None,
            retired: folder.retired()?,
        });
    };
    let recorded = record(&hand, (&folder, &next), actor, reason).await;
    hand.close().await;
    let entries = recorded?;
    folder.take_next()?;
    Ok(Replaced {
        entries,
        fingerprint: Some(next.fingerprint),
        retired: folder.retired()?,
    })
}

/// Another replica that gives signs of life. One that was killed left its name there and gives none.
async fn running(hand: &Hand, own: &str) -> Result<Option<String>, store::Error> {
    let begun = |row: &NodeRow| row.node != own && !row.instance.is_empty();
    let first = hand.store.nodes().await?;
    if !first.iter().any(begun) {
        return Ok(None);
    }
    tokio::time::sleep(LISTEN).await;
    let second = hand.store.nodes().await?;
    let beats = |row: &&NodeRow| begun(row) && !first.contains(row);
    Ok(second.iter().find(beats).map(|row| row.node.clone()))
}

/// Every issuing CA that the log counts on is retired, with the token key of this folder; then the next ones are added. A key
/// that an operator brings (`[jwt] rs256`) stays.
async fn record(
    hand: &Hand,
    (folder, next): (&Folder<'_>, &Signing),
    actor: &str,
    reason: &str,
) -> Result<Vec<u64>, ReplaceError> {
    let mut seqs = Vec::new();
    let mut known = known_keys(&hand.store).await?;
    // They lie in their place until the next ones are on record.
    let ours = match known.contains_key(&(KeyUse::Ca, next.certificates)) {
        true => None,
        false => Some(folder.signing()?),
    };
    // A log that began since has no word of them, and what it never counted on cannot be taken back.
    for (usage, key) in ours.iter().flat_map(Signing::keys) {
        if !known.contains_key(&(usage, key)) {
            seqs.push(say(hand, added(usage, key), actor, reason).await?);
        }
    }
    if !seqs.is_empty() {
        known = known_keys(&hand.store).await?;
    }
    let said: HashSet<_> = known.keys().copied().collect();
    let goes = |(usage, key): &(KeyUse, Digest)| match usage {
        KeyUse::Ca => *key != next.certificates,
        KeyUse::Jwt => ours.as_ref().is_some_and(|ours| ours.tokens == *key),
        _ => false,
    };
    let mut old: Vec<_> = known
        .into_iter()
        .filter(|(key, _)| goes(key))
        .flat_map(|(key, it)| it.counting().into_iter().map(move |of| retired(key, of)))
        .collect();
    old.sort_unstable_by_key(|retired| retired.of);
    for retired in old {
        seqs.push(say(hand, retired, actor, reason).await?);
    }
    for (usage, key) in next.keys() {
        if !said.contains(&(usage, key)) {
            seqs.push(say(hand, added(usage, key), actor, reason).await?);
        }
    }
    Ok(seqs)
}

fn added(usage: KeyUse, key: Digest) -> KeyAdded {
    KeyAdded {
        key,
        not_after: None,
        usage,
        vkey: None,
    }
}

fn retired((usage, key): (KeyUse, Digest), of: u64) -> KeyRetired {
    KeyRetired {
        key,
        not_after: None,
        of,
        usage,
        vkey: None,
        why: "urgent".to_owned(),
    }
}

async fn say(
    hand: &Hand,
    what: impl Into<What>,
    actor: &str,
    reason: &str,
) -> Result<u64, ledger::Error> {
    let mut body = Map::new();
    body.insert("reason".to_owned(), json!(reason));
    let entry = hand::acted(&hand.ledger, what.into(), actor, body);
    Ok(hand.ledger.record(entry, None, Vec::new()).await?.seq())
}

/// Several times as long as a replica takes from one sign of life to the next.
const LISTEN: Duration = Duration::from_secs(5);
