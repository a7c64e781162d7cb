//! A backup goes to where the database is to be, whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RestoreError;
use super::judge::{Judged, Origin, judge};
use crate::config::Config;
use crate::durable;
use crate::keyring::Folder;
use crate::store::copy::{self, CopyError, Progress};
use crate::store::snapshot;
use crate::store::{self, Db, Location};
use crate::upkeep::hand;

/// Copies the file to where the database is to be, whole or not at all.
pub(super) async fn place(
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

/// Whether the place holds just this backup, or the log that began after it and that nobody has served: as far as entries
/// say. It is only looked at.
pub(super) async fn is_there(config: &Config, location: &Location, backup: &Judged) -> bool {
    let Ok(passphrase) = hand::passphrase(config) else {
        return false;
    };
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let db = match location {
        Location::File(path) => snapshot::open(path).await.ok(),
        Location::Server(server) => {
            let db = server.connect().await.ok();
            db.map(|db| Db::Postgres(Box::new(db)))
        }
    };
    let Some(mut db) = db else { return false };
    let there = Box::pin(judge(config, &folder, &mut db, &[])).await;
    drop(db.close().await);
    there.is_ok_and(|there| {
        let same = there.current == backup.current && there.found.head == backup.found.head;
        let prior = there.begun.prior.as_ref();
        let after = prior.is_some_and(|prior| prior.log == backup.current.log);
        same || after && there.begins(Origin::Loss)
    })
}

async fn place_file(to: &Path, from: &Path) -> Result<(), RestoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::File { path, source }
    };
    let _lock = store::place::Lock::take(to).map_err(store::Error::from)?;
    make_way(to).await?;
    let partial = to.with_extension("restoring");
    for suffix in ["", "-journal", "-wal", "-shm"] {
        drop(fs::remove_file(beside(&partial, suffix))); // of a restore that was cut off
    }
    fs::copy(from, &partial).map_err(failed(&partial))?;
    let own = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&partial, own).map_err(failed(&partial))?;
    // What it becomes when it is first opened it becomes here: under its name it is never half-way to that.
    let location = Location::File(partial.clone());
    let mut db = store::connect(&location).await?;
    store::upgrade(&location, &mut db).await?;
    let closed = db.close().await;
    closed.map_err(|source| store::Error::database(&location, source))?;
    durable::sync(&partial).map_err(failed(&partial))?;
    fs::rename(&partial, to).map_err(failed(to))?;
    durable::sync(to).map_err(failed(to))
}

/// A journal of a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// A file without a row goes: a start that found none made it. Whatever holds anything stays, and stops the restore.
async fn make_way(to: &Path) -> Result<(), RestoreError> {
    if to.exists() {
        let mut db = snapshot::open(to).await?;
        let taken = copy::taken(&mut db).await;
        drop(db.close().await);
        if !matches!(taken, Ok(None)) {
            return Err(RestoreError::Taken(to.display().to_string()));
        }
    } else if fs::metadata(beside(to, "-wal")).is_ok_and(|log| log.len() > 0) {
        // Commits that lost their database: somebody may still want them.
        return Err(RestoreError::Taken(
            beside(to, "-wal").display().to_string(),
        ));
    }
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(to, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let path = beside(to, suffix);
                return Err(RestoreError::File { path, source });
            }
        }
    }
    Ok(())
}
