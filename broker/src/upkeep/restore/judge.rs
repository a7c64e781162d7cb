//! What a backup or a database holds, and what pin and witnesses know beyond that.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use stint_audit::Checkpoint;

use super::RestoreError;
use crate::config::Config;
use crate::keyring::Folder;
use crate::ledger::epoch::{self, Begun, Current};
use crate::ledger::keys::{self, EpochKeys};
use crate::ledger::pin;
use crate::ledger::whole::{Whole, WholeError, whole};
use crate::ledger::witnesses::Watchers;
use crate::store::snapshot;
use crate::store::{Db, pages};
use crate::upkeep::backup::{self, Files, Manifest};

/// What is there, and what is known to have been.
pub(super) struct Judged {
    pub(super) current: Current,
    /// How the log in use began, and whether it has had no entry since: nobody has served it.
    pub(super) begun: Begun,
    pub(super) fresh: bool,
    pub(super) found: Whole,
    /// The largest signed head of any kind: the pin's, or that of what was found.
    pub(super) best: Checkpoint,
    /// Why it is not the end of the log, if it is not, or nobody knows.
    pub(super) loss: Option<Loss>,
    /// The note that came with the backup, with its size.
    pub(super) note: Option<(u64, String)>,
}

/// What began a log after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Loss,
    Order,
}

/// Why what is there is not known to be the end of the log.
#[derive(Debug, Clone)]
pub(super) enum Loss {
    /// More was signed.
    Known(String),
    /// Nobody can say.
    Unpinned,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(text) => text,
            Self::Unpinned => {
                "there is no pin, so nobody can say whether the log went on after this"
            }
        })
    }
}

impl Judged {
    /// Whether the log in use began so, nobody has served it, and nobody knows more of it: a run that was cut off after
    /// its COMMIT made it, and another would be one too many.
    pub(super) fn begins(&self, by: Origin) -> bool {
        let began = match (&self.begun.prior, self.begun.recovered) {
            (Some(_), Some(_)) => Some(Origin::Loss),
            (Some(_), None) => Some(Origin::Order),
            (None, _) => None,
        };
        self.fresh && began == Some(by) && !matches!(self.loss, Some(Loss::Known(_)))
    }

    /// How many entries are known to have been, and are gone.
    pub(super) fn lost(&self) -> u64 {
        self.best.size.saturating_sub(self.found.head.size())
    }
}

/// The backup itself: its claims, its bytes, its note.
pub(super) async fn judge_backup(
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

pub(super) fn read_note(files: &Files) -> Result<(u64, String), RestoreError> {
    let wrong = |reason: String| RestoreError::Backup {
        path: files.checkpoint.clone(),
        reason,
    };
    let note = fs::read_to_string(&files.checkpoint).map_err(|error| wrong(error.to_string()))?;
    let (noted, _) = Checkpoint::parse_note(&note).map_err(|error| wrong(error.to_string()))?;
    Ok((noted.size, note))
}

/// Every log in `db` is hashed again; what it ends with is held against the pin.
pub(super) async fn judge(
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
    let seen = begun.prior.as_ref().map(|prior| {
        let seen = begun.recovered.map_or(0, |(seen, _)| seen).max(prior.size);
        (prior.log.clone(), seen)
    });
    let by_pin = match &pinned {
        None => Some(Loss::Unpinned),
        Some(pin) => {
            loss(pin, &found, seen.as_ref()).map(|loss| Loss::Known(format!("{loss} (the pin)")))
        }
    };
    let by_witness = || {
        witnessed
            .iter()
            .find_map(|held| loss(held, &found, seen.as_ref()))
    };
    let by_witness = by_witness().map(|loss| Loss::Known(format!("{loss} (a witness)")));
    let loss = match by_pin {
        known @ Some(Loss::Known(_)) => known,
        other => by_witness.or(other),
    };
    let best = known().filter(|pin| pin.origin == head.origin && pin.size > head.size);
    let best = best.max_by_key(|pin| pin.size).cloned().unwrap_or(head);
    let note = pages::note(db, &current.log).await.map_err(failed)?;
    let note = note.and_then(|note| Some((Checkpoint::parse_note(&note).ok()?.0.size, note)));
    let first = pages::batches(db, &current.log, 0, 1)
        .await
        .map_err(failed)?;
    let first = first.iter().map(|it| it.hashes.len() / 32).sum();
    Ok(Judged {
        fresh: usize::try_from(found.head.size()) == Ok(first),
        begun,
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
