//! Back from a backup, and on from a loss (LEDGER.md §12, recovery).
//!
//! A signed log is never rewound: a copy older than what the pin knows is not put in place, unless two operators accept
//! the loss. Then the old log is closed as it is, and a new one begins that says what is missing.

mod judge;
mod place;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::judge::{Judged, Loss, Origin, judge, judge_backup, read_note};
use self::place::{is_there, place};
use crate::config::Config;
use crate::durable;
use crate::keyring::Folder;
use crate::ledger::epoch::{Cause, Current, Turn, TurnError, Turned};
use crate::ledger::keys::{self, LogKeysError};
use crate::ledger::whole::{Whole, WholeError};
use crate::ledger::witnesses::WatchersError;
use crate::store::copy::{CopyError, Progress};
use crate::store::snapshot::SnapshotError;
use crate::store::{self, Db};
use crate::upkeep::backup::Files;
use crate::upkeep::hand::{self, HandError};

/// Who accepts that entries are lost, and why.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Two people.
    pub operators: [String; 2],
    /// What happened.
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Entries of the old log that are there.
    pub size: u64,
    /// The database.
    pub place: String,
    /// The log that began, if a loss was accepted.
    pub next: Option<Turned>,
    /// How many entries of the old log are known to have been, and are gone.
    pub lost: u64,
}

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The backup is not a whole one.
    #[error("`{path}` is no whole backup: {reason}")]
    Backup {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Rows did not go over.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A file could not be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Keys, store or pin.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// More was signed than is there.
    #[error(
        "{0}: nothing was changed; with `--accept-loss --operator A --operator B --reason T` a new epoch begins that records the gap"
    )]
    Loss(String),
    /// What is there is not whole.
    #[error("what is stored is not whole: {0}")]
    NotWhole(#[from] WholeError),
    /// There is something where the backup is to go.
    #[error("`{0}` is in the way: move it away, it is not overwritten")]
    Taken(String),
    /// The witnesses' file cannot be used.
    #[error(transparent)]
    Witnesses(Box<WatchersError>),
    /// The new log did not begin.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<store::Error> for RestoreError {
    fn from(error: store::Error) -> Self {
        Self::Hand(error.into())
    }
}

impl From<LogKeysError> for RestoreError {
    fn from(error: LogKeysError) -> Self {
        Self::Hand(error.into())
    }
}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Copy(error) => Self::Copy(error),
            SnapshotError::File { path, source } => Self::File { path, source },
            SnapshotError::Store(error) => error.into(),
        }
    }
}

/// Puts the backup in `dir` where `config` says the database is, or takes the database that is there (`None`).
/// With `accepted`, a new epoch begins.
///
/// # Errors
/// [`RestoreError`]. Nothing is in place unless it was found whole.
pub async fn restore(
    config: &Config,
    dir: Option<&Path>,
    accepted: Option<&Accepted>,
    now: u64,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    let passphrase = hand::passphrase(config).map_err(HandError::from)?;
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let location = config.store.location().map_err(HandError::from)?;
    if let Some(dir) = dir {
        let judged = Box::pin(judge_backup(config, &folder, dir)).await?;
        refuse_loss(&judged, accepted)?;
        match Box::pin(place(&location, &Files::of(dir).database, progress)).await {
            Err(RestoreError::Taken(place)) if !is_there(config, &location, &judged).await => {
                return Err(RestoreError::Taken(place));
            }
            // A run that was cut off put it there.
            Ok(()) | Err(RestoreError::Taken(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let (lock, mut db) = store::alone(&location).await?;
    let mut judged = Box::pin(judge(config, &folder, &mut db, &[])).await?;
    judged.note = dir
        .map(|dir| read_note(&Files::of(dir)))
        .transpose()?
        .or(judged.note);
    refuse_loss(&judged, accepted)?;
    let size = judged.found.head.size();
    let lost = judged.lost();
    let next = match accepted {
        Some(_) if judged.begins(Origin::Loss) => Some(again(config, &folder, &judged)?),
        Some(accepted) => {
            Some(Box::pin(turn(config, &folder, &judged, accepted, (&mut db, now))).await?)
        }
        None => None,
    };
    db.close()
        .await
        .map_err(|source| store::Error::database(&location, source))?;
    drop(lock);
    Ok(Restored {
        size,
        place: location.to_string(),
        next,
        lost,
    })
}

fn refuse_loss(judged: &Judged, accepted: Option<&Accepted>) -> Result<(), RestoreError> {
    match (&judged.loss, accepted) {
        (Some(loss), None) => Err(RestoreError::Loss(loss.to_string())),
        (Some(_) | None, _) => Ok(()),
    }
}

/// The new epoch, its keys first: a number that was ever used is not used again.
async fn turn(
    config: &Config,
    folder: &Folder<'_>,
    judged: &Judged,
    accepted: &Accepted,
    (db, now): (&mut Db, u64),
) -> Result<Turned, RestoreError> {
    let cause = Cause::Loss {
        actors: accepted
            .operators
            .clone()
            .map(|name| format!("operator:{name}")),
        reason: accepted.reason.clone(),
        best: judged.best.clone(),
    };
    next_epoch(
        config,
        folder,
        (&judged.current, &judged.found, judged.note.as_ref()),
        (&cause, db, now),
    )
    .await
}

/// Makes keys and begins the next epoch: what a loss and an orderly end have in common.
async fn next_epoch(
    config: &Config,
    folder: &Folder<'_>,
    (current, old, old_note): (&Current, &Whole, Option<&(u64, String)>),
    (cause, db, now): (&Cause, &mut Db, u64),
) -> Result<Turned, RestoreError> {
    let base = &config.ledger.origin;
    let epoch = keys::last_epoch(folder.dir)?.max(current.epoch) + 1;
    keys::create(folder, epoch)?;
    let (old_keys, keys) = (
        keys::open(folder, base, current.epoch)?,
        keys::open(folder, base, epoch)?,
    );
    let turn = Turn {
        base,
        old,
        old_keys: &old_keys,
        old_note,
        epoch,
        keys: &keys,
        node: &config.ledger.node,
        now,
        cause,
    };
    let turned = Box::pin(turn.take(db)).await?;
    pin_down(config, &turned)?;
    Ok(turned)
}

fn pin_down(config: &Config, turned: &Turned) -> Result<(), RestoreError> {
    let path = &config.ledger.pin;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    durable::replace(path, turned.checkpoint.as_bytes()).map_err(|source| RestoreError::File {
        path: path.clone(),
        source,
    })
}

/// The log that a run began which was cut off after its COMMIT; the pin follows now.
fn again(config: &Config, folder: &Folder<'_>, judged: &Judged) -> Result<Turned, RestoreError> {
    let keys = keys::open(folder, &config.ledger.origin, judged.current.epoch)?;
    let turned = Turned {
        vkey: keys.log.vkey(),
        checkpoint: keys.log.sign(&judged.found.head.checkpoint().text()),
        log: judged.current.log.clone(),
        carried: None,
    };
    pin_down(config, &turned)?;
    Ok(turned)
}

/// Ends the log of a stopped broker in order, and begins the next one.
///
/// # Errors
/// [`RestoreError`].
pub async fn end_epoch(
    config: &Config,
    actor: String,
    reason: String,
    now: u64,
) -> Result<Turned, RestoreError> {
    let passphrase = hand::passphrase(config).map_err(HandError::from)?;
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let location = config.store.location().map_err(HandError::from)?;
    let (_lock, mut db) = store::alone(&location).await?;
    let judged = Box::pin(judge(config, &folder, &mut db, &[])).await?;
    // A missing pin is no reason here: nothing is taken back.
    if let Some(loss @ Loss::Known(_)) = &judged.loss {
        return Err(RestoreError::Loss(loss.to_string()));
    }
    let turned = if judged.begins(Origin::Order) {
        again(config, &folder, &judged)?
    } else {
        let cause = Cause::Order { actor, reason };
        next_epoch(
            config,
            &folder,
            (&judged.current, &judged.found, None),
            (&cause, &mut db, now),
        )
        .await?
    };
    db.close()
        .await
        .map_err(|source| store::Error::database(&location, source))?;
    Ok(turned)
}
