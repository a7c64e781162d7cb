//! Back from a backup, and on from a loss (LEDGER.md §12, recovery).
//!
//! A signed log is never rewound: a copy older than what the pin knows is not put in place, unless two operators accept
//! the loss. Then the old log is closed as it is, and a new one begins that says what is missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stint_audit::Checkpoint;
use thiserror::Error;

use crate::backup::{self, Files, Manifest};
use crate::config::Config;
use crate::hand::{self, HandError};
use crate::keyring::Folder;
use crate::ledger::epoch::{self, Cause, Current, Turn, TurnError, Turned};
use crate::ledger::keys::{self, EpochKeys, LogKeysError};
use crate::ledger::pin;
use crate::ledger::whole::{Whole, WholeError, whole};
use crate::ledger::witnesses::{Watchers, WatchersError};
use crate::store::copy::{self, CopyError, Progress};
use crate::store::snapshot::{self, SnapshotError};
use crate::store::{self, Db, Location};

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

/// What is there, and what is known to have been.
struct Judged {
    current: Current,
    found: Whole,
    /// The largest signed head of any kind: the pin's, or that of what was found.
    best: Checkpoint,
    /// Why it is not the end of the log, if it is not, or nobody knows.
    loss: Option<String>,
    /// The note that came with the backup, with its size.
    note: Option<(u64, String)>,
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
        Box::pin(place(&location, &Files::of(dir).database, progress)).await?;
    }
    let (lock, mut db) = store::alone(&location).await?;
    let mut judged = Box::pin(judge(config, &folder, &mut db, &[])).await?;
    judged.note = dir
        .map(|dir| read_note(&Files::of(dir)))
        .transpose()?
        .or(judged.note);
    refuse_loss(&judged, accepted)?;
    let size = judged.found.head.size();
    let lost = judged.best.size.saturating_sub(size);
    let next = match accepted {
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
        (Some(loss), None) => Err(RestoreError::Loss(loss.clone())),
        (Some(_) | None, _) => Ok(()),
    }
}

/// The backup itself: its claims, its bytes, its note.
async fn judge_backup(
    config: &Config,
    folder: &Folder<'_>,
    dir: &Path,
) -> Result<Judged, RestoreError> {
    let files = Files::of(dir);
    let wrong = |path: &Path, reason: String| RestoreError::Backup {
        path: path.to_owned(),
        reason,
    };
    let json = fs::read(&files.manifest).map_err(|error| {
        wrong(
            dir,
            format!("`backup.json` cannot be read ({error}): was it cut off?"),
        )
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|error| wrong(&files.manifest, error.to_string()))?;
    let hash =
        backup::hash(&files.database).map_err(|error| wrong(&files.database, error.to_string()))?;
    if hash != manifest.database {
        return Err(wrong(
            &files.database,
            "its bytes are not those that were written".to_owned(),
        ));
    }
    let mut copy = snapshot::open(&files.database).await?;
    let (size, note) = read_note(&files)?;
    let judged = judge(config, folder, &mut copy, &[size]).await;
    drop(copy.close().await);
    let judged = judged?;
    let (noted, signed) = Checkpoint::parse_note(&note)
        .map_err(|error| wrong(&files.checkpoint, error.to_string()))?;
    let keys = keys::open(folder, &config.ledger.origin, judged.current.epoch)?;
    let signers = signed
        .verify(&keys.log.all_public())
        .map(|signers| signers.len());
    let held = judged.found.roots.get(&noted.size) == Some(&noted.root);
    if signers.unwrap_or(0) == 0 || noted.origin != judged.current.log || !held {
        return Err(wrong(
            &files.checkpoint,
            "it is not of the log in the copy, or not signed by its key".to_owned(),
        ));
    }
    Ok(judged)
}

fn read_note(files: &Files) -> Result<(u64, String), RestoreError> {
    let wrong = |reason: String| RestoreError::Backup {
        path: files.checkpoint.clone(),
        reason,
    };
    let note = fs::read_to_string(&files.checkpoint).map_err(|error| wrong(error.to_string()))?;
    let (noted, _) = Checkpoint::parse_note(&note).map_err(|error| wrong(error.to_string()))?;
    Ok((noted.size, note))
}

/// Every log in `db` is hashed again; what it ends with is held against the pin.
async fn judge(
    config: &Config,
    folder: &Folder<'_>,
    db: &mut Db,
    also: &[u64],
) -> Result<Judged, RestoreError> {
    let base = &config.ledger.origin;
    let failed = |source| RestoreError::NotWhole(WholeError::Engine(source));
    let current = epoch::current(db, base).await.map_err(failed)?;
    let begun = epoch::begun(db, &current.log).await.map_err(failed)?;
    let keys = keys::open(folder, base, current.epoch)?;
    let pinned = pinned(config, folder)?;
    let witnessed = witnessed(config, &keys).await?;
    let known = || pinned.iter().chain(&witnessed);
    let sizes: Vec<_> = known()
        .map(|pin| pin.size)
        .chain(also.iter().copied())
        .collect();
    let found = whole(db, &current.log, Some(&keys.mac), &sizes).await?;
    backup::check_others(db, &current.log, Some(&keys.mac)).await?;
    let head = found.head.checkpoint();
    let seen = begun.prior.map(|prior| {
        let seen = begun.recovered.map_or(0, |(seen, _)| seen).max(prior.size);
        (prior.log, seen)
    });
    let by_pin = match &pinned {
        None => {
            Some("there is no pin, so nobody can say whether the log went on after this".to_owned())
        }
        Some(pin) => loss(pin, &found, seen.as_ref()).map(|loss| format!("{loss} (the pin)")),
    };
    let by_witness = || {
        witnessed
            .iter()
            .find_map(|held| loss(held, &found, seen.as_ref()))
    };
    let loss = by_pin.or_else(|| by_witness().map(|loss| format!("{loss} (a witness)")));
    let best = known().filter(|pin| pin.origin == head.origin && pin.size > head.size);
    let best = best.max_by_key(|pin| pin.size).cloned().unwrap_or(head);
    let note = crate::store::pages::note(db, &current.log)
        .await
        .map_err(failed)?;
    let note = note.and_then(|note| Some((Checkpoint::parse_note(&note).ok()?.0.size, note)));
    Ok(Judged {
        current,
        found,
        best,
        loss,
        note,
    })
}

/// What witnesses hold of the log under our own signature; those that cannot be asked are no reason to wait.
async fn witnessed(config: &Config, keys: &EpochKeys) -> Result<Vec<Checkpoint>, RestoreError> {
    let watchers = Watchers::new(&config.ledger, &keys.log)
        .map_err(|error| RestoreError::Witnesses(Box::new(error)))?;
    Ok(watchers
        .held()
        .await
        .into_iter()
        .map(|held| held.checkpoint)
        .collect())
}

/// What somebody knows and the store does not hold.
fn loss(pin: &Checkpoint, found: &Whole, prior: Option<&(String, u64)>) -> Option<String> {
    let (log, size) = (found.head.log(), found.head.size());
    if pin.origin != log {
        let settled = prior.is_some_and(|(prior, seen)| *prior == pin.origin && pin.size <= *seen);
        return (!settled).then(|| format!("it ends in the log {log}, known is {}", pin.origin));
    }
    if pin.size > size {
        let lost = pin.size - size;
        let known = pin.size;
        return Some(format!(
            "it ends at {size} entries, known are {known}: {lost} would be lost"
        ));
    }
    let same = found.roots.get(&pin.size) == Some(&pin.root);
    (!same).then(|| {
        format!(
            "it does not hold the {} entries that are known: it is another history",
            pin.size
        )
    })
}

/// The pinned head, signed by a key of its epoch.
fn pinned(config: &Config, folder: &Folder<'_>) -> Result<Option<Checkpoint>, RestoreError> {
    let path = &config.ledger.pin;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |source| RestoreError::File {
        path: path.clone(),
        source,
    };
    let Some(note) = pin::read(path).map_err(failed)? else {
        return Ok(None);
    };
    let wrong = |why: &str| failed(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
    let (pin, note) = Checkpoint::parse_note(&note).map_err(|error| wrong(&error.to_string()))?;
    let base = &config.ledger.origin;
    let epoch = pin
        .origin
        .strip_prefix(base.as_str())
        .and_then(|rest| match rest {
            "" => Some(0),
            rest => rest.strip_prefix('/')?.parse().ok(),
        });
    let epoch = epoch.ok_or_else(|| wrong("it is of another log"))?;
    let keys = keys::open(folder, base, epoch)?;
    match note.verify(&keys.log.all_public()) {
        Ok(signers) if !signers.is_empty() => Ok(Some(pin)),
        Ok(_) => Err(wrong("no key of this log signed it")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Copies the file to where the database is to be, whole or not at all.
async fn place(
    location: &Location,
    from: &Path,
    progress: Progress<'_>,
) -> Result<(), RestoreError> {
    match location {
        Location::File(to) => place_file(to, from).await,
        Location::Server(_) => {
            let mut here = snapshot::open(from).await?;
            let (_, mut there) = store::alone(location).await?;
            let engine = |source| RestoreError::Copy(CopyError::Engine(source));
            snapshot::reserve(&mut there).await.map_err(engine)?;
            match copy::copy(&mut here, &mut there, progress).await {
                Ok(_) => there.tell("COMMIT").await.map_err(engine)?,
                Err(CopyError::Taken(_)) => return Err(RestoreError::Taken(location.to_string())),
                Err(error) => return Err(error.into()),
            }
            there.close().await.map_err(engine)
        }
    }
}

async fn place_file(to: &Path, from: &Path) -> Result<(), RestoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::File { path, source }
    };
    let _lock = store::place::Lock::take(to).map_err(store::Error::from)?;
    make_way(to).await?;
    let partial = to.with_extension("restoring");
    drop(fs::remove_file(&partial)); // of a restore that was cut off
    fs::copy(from, &partial).map_err(failed(&partial))?;
    let own = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&partial, own).map_err(failed(&partial))?;
    snapshot::sync(&partial).map_err(failed(&partial))?;
    fs::rename(&partial, to).map_err(failed(to))?;
    snapshot::sync(to).map_err(failed(to))
}

/// A file without a row goes: a start that found none made it. Whatever holds anything stays, and stops the restore.
async fn make_way(to: &Path) -> Result<(), RestoreError> {
    let beside = |suffix: &str| {
        let mut path = to.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    if to.exists() {
        let mut db = snapshot::open(to).await?;
        let taken = copy::taken(&mut db).await;
        drop(db.close().await);
        if !matches!(taken, Ok(None)) {
            return Err(RestoreError::Taken(to.display().to_string()));
        }
    } else if fs::metadata(beside("-wal")).is_ok_and(|log| log.len() > 0) {
        // Commits that lost their database: somebody may still want them.
        return Err(RestoreError::Taken(beside("-wal").display().to_string()));
    }
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let path = beside(suffix);
                return Err(RestoreError::File { path, source });
            }
        }
    }
    Ok(())
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
    let path = &config.ledger.pin;
    if !path.as_os_str().is_empty() {
        pin::write(path, &turned.checkpoint).map_err(|source| RestoreError::File {
            path: path.clone(),
            source,
        })?;
    }
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
    if let (Some(loss), true) = (&judged.loss, config.ledger.pin.exists()) {
        return Err(RestoreError::Loss(loss.clone()));
    }
    let cause = Cause::Order { actor, reason };
    let turned = next_epoch(
        config,
        &folder,
        (&judged.current, &judged.found, None),
        (&cause, &mut db, now),
    )
    .await?;
    db.close()
        .await
        .map_err(|source| store::Error::database(&location, source))?;
    Ok(turned)
}
