//! The keys of the ledger: which sign, one more that signs beside them, and an old one that signs no more (LEDGER.md §12).
//!
//! For a time both keys sign every checkpoint. Whoever pinned the old one is handed over to the new one by a proof that
//! both signed: the entry that adds it, under a checkpoint with both signatures.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use stint_audit::Digest;
use stint_audit::kind::{KeyAdded, KeyRetired, KeyUse};
use stint_audit::note::VerifierKey;
use stint_policy::Timestamp;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Config, SecretError};
use crate::durable;
use crate::keyring::{Folder, KeyringError};
use crate::ledger::keys::{self, LogKeysError, SigningFile};
use crate::ledger::known::known_keys;
use crate::ledger::{self, TileError, epoch};
use crate::store;
use crate::upkeep::hand::{self, Hand, HandError};

/// A key of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerKey {
    /// Its file in the key folder.
    pub file: String,
    /// As verifiers pin it.
    pub vkey: String,
    /// The entry that added it, and when, in milliseconds; nothing, if none did yet.
    pub added: Option<(u64, u64)>,
    /// Whether it is the newest.
    pub newest: bool,
}

/// A key that began to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The entry that adds it.
    pub seq: u64,
    /// Its file.
    pub file: String,
    /// As verifiers pin it.
    pub vkey: String,
    /// What whoever pinned the old key needs.
    pub handover: PathBuf,
}

/// A key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The entry that says so.
    pub seq: u64,
    /// What became of its file.
    pub file: PathBuf,
    /// As verifiers pinned it.
    pub vkey: String,
}

/// Why nothing changed.
#[derive(Debug, Error)]
pub enum RotateError {
    /// Two keys sign already.
    #[error("two keys sign already: the old one leaves first (`stintd keys retire ledger`)")]
    Both,
    /// The overlap is not over.
    #[error("verifiers have until {0} to take the new key over: wait, or say `--now` and why")]
    Early(Timestamp),
    /// A file could not be written.
    #[error("`{path}` cannot be written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ledger cannot be opened.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// A key file cannot be put away.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] LogKeysError),
    /// Whoever pinned the old key would be left behind.
    #[error(
        "the handover to the new key is missing: `stintd keys rotate ledger` writes it; or say `--now` and why"
    )]
    NotHandedOver,
    /// One key alone signs.
    #[error("one key signs, and none is beside it: there is nothing to retire")]
    One,
    /// It could not be recorded.
    #[error("it could not be recorded")]
    Record(#[from] ledger::Error),
    /// What is on record cannot be proven.
    #[error(transparent)]
    Prove(#[from] TileError),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The keys that sign the log in use, oldest first, as `config` describes it. The broker is stopped.
///
/// # Errors
/// [`RotateError`].
pub async fn list(config: &Config) -> Result<Vec<LedgerKey>, RotateError> {
    let passphrase = hand::passphrase(config)?;
    let folder = folder(config, passphrase.as_ref());
    let found = hand::find(config).await?;
    let files = keys::files(&folder, &config.ledger.origin, found.current.epoch)?;
    let known = known_keys(&found.store).await?;
    let newest = files.len().saturating_sub(1);
    let line = |(at, file): (usize, SigningFile)| LedgerKey {
        added: known
            .get(&(KeyUse::Log, Digest::of(file.public.public_key())))
            .map(|it| (it.seq, it.ts)),
        vkey: file.public.to_string(),
        file: file.name,
        newest: at == newest,
    };
    Ok(files.into_iter().enumerate().map(line).collect())
}

/// Makes one more key and records it: from the next start on both sign. Cut off in the middle, it is run again, and goes on
/// with the key that was made, or recorded and not handed over.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(
    config: &Config,
    clock: Arc<dyn Clock>,
    actor: &str,
) -> Result<Rotated, RotateError> {
    let known = list(config).await?;
    let passphrase = hand::passphrase(config)?;
    let folder = folder(config, passphrase.as_ref());
    let (file, recorded) = match known.as_slice() {
        [.., key] if key.added.is_none() => (key.file.clone(), None),
        [_, key] => match key.added {
            Some((seq, _)) if !handover(config, &verifier(&key.vkey), seq).exists() => {
                (key.file.clone(), Some(seq))
            }
            _ => return Err(RotateError::Both),
        },
        _ => (keys::add(&folder, epoch_of(config).await?)?, None),
    };
    let hand = Hand::open(config, clock).await?;
    let key = verifier(hand.ledger.vkey());
    let proven = match recorded {
        Some(seq) => prove(&hand, seq).await,
        None => record_added(&hand, &key, actor).await,
    };
    hand.close().await;
    let (seq, proof) = proven?;
    let handover = handover(config, &key, seq);
    let written = durable::replace(&handover, proof.as_bytes());
    written.map_err(|source| RotateError::File {
        path: handover.clone(),
        source,
    })?;
    Ok(Rotated {
        seq,
        file,
        vkey: key.to_string(),
        handover,
    })
}

/// Records that the key signs; its entry, and what proves that under both keys.
async fn record_added(
    hand: &Hand,
    key: &VerifierKey,
    actor: &str,
) -> Result<(u64, String), RotateError> {
    let added = KeyAdded {
        key: Digest::of(key.public_key()),
        not_after: None,
        usage: KeyUse::Log,
        vkey: Some(key.to_string()),
    };
    let entry = hand::acted(&hand.ledger, added.into(), actor, Map::new());
    let receipt = hand.ledger.record(entry, None, Vec::new()).await?;
    Ok((receipt.seq(), receipt.proof_text()))
}

async fn prove(hand: &Hand, seq: u64) -> Result<(u64, String), RotateError> {
    let proven = hand.ledger.prove(seq).await?;
    Ok((seq, proven.proof.to_string()))
}

/// Records that the oldest key signs no more, and puts its file away; `urgent`: why it cannot wait for the overlap to end.
///
/// # Errors
/// [`RotateError`].
pub async fn retire(
    config: &Config,
    clock: Arc<dyn Clock>,
    actor: &str,
    urgent: Option<&str>,
) -> Result<Retired, RotateError> {
    let known = list(config).await?;
    let (Some(old), Some(new)) = (known.first(), known.get(1)) else {
        return Err(RotateError::One);
    };
    let (seq, since) = new.added.ok_or(RotateError::One)?;
    if urgent.is_none() && !handover(config, &verifier(&new.vkey), seq).exists() {
        return Err(RotateError::NotHandedOver);
    }
    let end = i64::try_from(since)
        .unwrap_or(i64::MAX)
        .saturating_add(OVERLAP_MS);
    if urgent.is_none() && clock.now().as_millis() < end {
        return Err(RotateError::Early(Timestamp::from_millis(end)));
    }
    let passphrase = hand::passphrase(config)?;
    let folder = folder(config, passphrase.as_ref());
    let hand = Hand::open(config, clock).await?;
    let key = Digest::of(verifier(&old.vkey).public_key());
    let said = known_keys(&hand.store).await?;
    let said = said.get(&(KeyUse::Log, key)).and_then(|it| it.retired);
    let recorded = match said {
        // Recorded before, and cut off before the file went.
        Some(seq) => Ok(seq),
        None => record_retired(&hand, old, urgent, actor).await,
    };
    hand.close().await;
    let seq = recorded?;
    let file = folder.retire(&old.file, &old.file)?;
    let vkey = old.vkey.clone();
    Ok(Retired { seq, file, vkey })
}

async fn record_retired(
    hand: &Hand,
    old: &LedgerKey,
    urgent: Option<&str>,
    actor: &str,
) -> Result<u64, ledger::Error> {
    let retired = KeyRetired {
        key: Digest::of(verifier(&old.vkey).public_key()),
        not_after: None,
        of: old.added.map_or(0, |(seq, _)| seq),
        usage: KeyUse::Log,
        vkey: Some(old.vkey.clone()),
        why: if urgent.is_some() {
            "urgent"
        } else {
            "rotated"
        }
        .to_owned(),
    };
    let mut body = Map::new();
    if let Some(reason) = urgent {
        body.insert("reason".to_owned(), json!(reason));
    }
    let entry = hand::acted(&hand.ledger, retired.into(), actor, body);
    Ok(hand.ledger.record(entry, None, Vec::new()).await?.seq())
}

/// Where the handover to a key is that entry `seq` adds.
fn handover(config: &Config, key: &VerifierKey, seq: u64) -> PathBuf {
    config.keys.dir.join(keys::handover_name(key.name(), seq))
}

/// A key of ours, read back.
fn verifier(vkey: &str) -> VerifierKey {
    match vkey.parse() {
        Ok(key) => key,
        // INVARIANT: the ledger's own verifier key was written by the same type.
        Err(_) => std::process::abort(),
    }
}

async fn epoch_of(config: &Config) -> Result<u64, RotateError> {
    let (_lock, mut db) = store::alone(&config.store.location()?).await?;
    let failed = |source| store::Error::database(&config.ledger.origin, source);
    let current = epoch::current(&mut db, &config.ledger.origin)
        .await
        .map_err(failed)?;
    db.close().await.map_err(failed)?;
    Ok(current.epoch)
}

fn folder<'c>(
    config: &'c Config,
    passphrase: Option<&'c crate::config::Secret<Vec<u8>>>,
) -> Folder<'c> {
    Folder {
        dir: &config.keys.dir,
        passphrase,
    }
}

/// How long both keys sign: 30 days (LEDGER.md §12).
const OVERLAP_MS: i64 = 30 * 86_400_000;
