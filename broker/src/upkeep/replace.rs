//! Another CA and another key for tokens, at once (LEDGER.md §12): after a theft, or a loss whose credentials may not be
//! waited out.
//!
//! There is no overlap, that is the point: whoever verifies takes the new root, and from then on nothing counts that the
//! old keys ever signed. It is on record before a file moves, and goes on where it was cut off.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use stint_audit::kind::{KeyAdded, KeyRetired, KeyUse};
use stint_audit::{Digest, What};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Config, SecretError};
use crate::keyring::{Folder, KeyringError, Signing};
use crate::ledger;
use crate::start;
use crate::store;
use crate::upkeep::hand::{self, Hand, HandError};
use crate::upkeep::rotate::on_record;

/// What signs from the next start on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The entries that say so; none, if a run before this one had recorded it.
    pub entries: Vec<u64>,
    /// SHA-256 of the new root's DER, in lower-case hex.
    pub fingerprint: String,
    /// The files that are no longer used.
    pub retired: Vec<PathBuf>,
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
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes root, issuing CA and token key anew, records it, and puts the old files away. The broker is stopped.
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
    let authority = start::authority_of(config);
    let hand = Hand::open(config, Arc::clone(&clock)).await?;
    // One that was made before and not put in place is the one that may be on record.
    let next = match folder.next(authority.jwt)? {
        Some(next) => next,
        None => folder.make_next(authority, clock.now())?,
    };
    let recorded = record(&hand, (folder.signing(authority.jwt), &next), actor, reason).await;
    hand.close().await;
    let entries = recorded?;
    Ok(Replaced {
        entries,
        retired: folder.take_next()?,
        fingerprint: next.fingerprint,
    })
}

async fn record(
    hand: &Hand,
    (old, next): (Result<Signing, KeyringError>, &Signing),
    actor: &str,
    reason: &str,
) -> Result<Vec<u64>, ReplaceError> {
    let known = on_record(&hand.store).await?;
    let all = [(KeyUse::Ca, next.certificates), (KeyUse::Jwt, next.tokens)];
    if all.iter().all(|key| known.contains_key(key)) {
        // A run before this one said so; the old files may be gone already.
        return Ok(Vec::new());
    }
    let old = old?;
    let pairs = [
        (KeyUse::Ca, old.certificates, next.certificates),
        (KeyUse::Jwt, old.tokens, next.tokens),
    ];
    let mut seqs = Vec::new();
    for (usage, old, next) in pairs {
        let was = known.get(&(usage, old));
        if was.is_none_or(|it| it.retired.is_none()) {
            let of = was.map_or(0, |it| it.seq);
            let retired = retired(usage, old, of);
            seqs.push(say(hand, retired, actor, reason).await?);
        }
        if !known.contains_key(&(usage, next)) {
            let added = KeyAdded {
                key: next,
                not_after: None,
                usage,
                vkey: None,
            };
            seqs.push(say(hand, added, actor, reason).await?);
        }
    }
    Ok(seqs)
}

fn retired(usage: KeyUse, key: Digest, of: u64) -> KeyRetired {
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
