//! The log as plain files that any C2SP client reads: tiles and entry bundles first, `checkpoint` last (LEDGER.md §9).
//!
//! A file is written aside, is on disk, and gets its name then; so is the folder's entry for it. A name that is taken
//! keeps its bytes: if they are others, the folder is of another log, and nothing more is written to it. Only
//! `checkpoint` is replaced, and only by one that extends it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use stint_audit::Checkpoint;
use stint_audit::tile::{self, Tile, WIDTH};
use thiserror::Error;

use super::Ledger;
use super::tiles::TileError;

/// Why a folder was not brought up to date. What was written of it stays, and is right.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The log cannot be read.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The folder cannot be written.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there with other bytes.
    #[error("`{0}` is there with other bytes: the folder is of another ledger, or was altered")]
    Conflict(PathBuf),
    /// The folder has a checkpoint that this log does not extend.
    #[error("`{0}` is no checkpoint that this ledger extends")]
    Checkpoint(PathBuf),
}

impl Ledger {
    /// Brings the files in `folder` up to the newest checkpoint; those of entries before `from` are known to be there.
    /// Gives the size it has then. Partial tiles are written of that size alone.
    ///
    /// # Errors
    /// [`FolderError`].
    pub async fn write_folder(&self, folder: &Path, from: u64) -> Result<u64, FolderError> {
        let note = self.witnessed(from).await.checkpoint;
        let head = folder.join("checkpoint");
        let known = self.known(&head, &note).await?;
        let size = known.size;
        let floor = self.floor();
        // A folder that is new has no tiles of level 0 from before a cut.
        let is_left = |tile: &Tile| tile.level > 0 || tile.index * WIDTH >= floor;
        let tiles = Tile::all(size).filter(|tile| grew(tile, from) && is_left(tile));
        for tile in tiles {
            let gone = || TileError::Range(size);
            let hashes = self.tile(&tile).await?.ok_or_else(gone)?;
            keep(folder.join(tile.path()), tile::hash_bytes(&hashes)).await?;
            if tile.level == 0 {
                let headers = self.entries_of(&tile).await?.ok_or_else(gone)?;
                let bundle = tile::entry_bytes(&headers);
                let bundle = bundle.map_err(|_long| TileError::Conflict(tile.entries_path()))?;
                keep(folder.join(tile.entries_path()), bundle).await?;
            }
        }
        blocking(head, move |path| replace(path, note.as_bytes())).await?;
        Ok(size)
    }

    /// The checkpoint of `note`, which must extend the one at `head`, if there is one.
    async fn known(&self, head: &Path, note: &str) -> Result<Checkpoint, FolderError> {
        let other = || FolderError::Checkpoint(head.to_owned());
        let (checkpoint, _) = Checkpoint::parse_note(note).map_err(|_form| other())?;
        let old = blocking(head.to_owned(), |path| match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        });
        if let Some(old) = old.await? {
            let (old, _) = Checkpoint::parse_note(&old).map_err(|_form| other())?;
            if old.origin != checkpoint.origin || old.size > checkpoint.size {
                return Err(other());
            }
            if old.size > 0 {
                let proof = self.consistency_of(&old, &checkpoint).await;
                proof.map_err(|error| match error {
                    TileError::Conflict(_) => other(),
                    error => FolderError::Tile(error),
                })?;
            }
        }
        Ok(checkpoint)
    }
}

/// Whether a tile has hashes of entries from `from` on.
fn grew(tile: &Tile, from: u64) -> bool {
    let hashes = tile.index.saturating_mul(WIDTH).saturating_add(tile.width);
    let unit = 1_u64.checked_shl(8 * u32::from(tile.level));
    hashes.saturating_mul(unit.unwrap_or(u64::MAX)) > from || tile.width < WIDTH
}

async fn keep(path: PathBuf, bytes: Vec<u8>) -> Result<(), FolderError> {
    let taken = blocking(path.clone(), move |path| create(path, &bytes)).await?;
    match taken {
        true => Ok(()),
        false => Err(FolderError::Conflict(path)),
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, FolderError> {
    let shown = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    let done = done.map_err(io::Error::other).and_then(|done| done);
    done.map_err(|source| FolderError::Io {
        path: shown,
        source,
    })
}

/// A file that is there from now on; `false` if one with other bytes was.
fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let folder = parent(path)?;
    make(folder)?;
    match fs::read(path) {
        Ok(there) => return Ok(there == bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let aside = aside(path, bytes)?;
    // A link, unlike a rename, does not replace what is there.
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Ok(()) => File::open(folder)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(fs::read(path)? == bytes),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent(path)?;
    make(folder)?;
    fs::rename(aside(path, bytes)?, path)?;
    File::open(folder)?.sync_all()
}

/// The bytes on disk, under another name in the same folder.
fn aside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".new");
    let aside = path.with_file_name(name);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(aside)
}

/// Makes a folder and those above it, each on disk before the next.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = parent(folder)?;
    make(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(above)?.sync_all(),
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => Ok(folder),
        Some(_) => Ok(Path::new(".")),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use stint_audit::tile::Tile;

    use super::{create, grew, replace};

    #[test]
    fn a_name_that_is_taken_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tile/0/x001/000.p/3");
        assert!(create(&path, b"one").unwrap());
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        // Nothing is left aside, not even of a crash that was between two steps.
        std::fs::write(path.with_file_name(".3.new"), b"half").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(create(&path, b"one").unwrap());
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_checkpoint_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn only_tiles_that_grew_are_written_again() {
        let again: Vec<_> = Tile::all(70_000)
            .filter(|tile| grew(tile, 65_600))
            .collect();
        assert!(again.iter().all(|tile| tile.level > 0 || tile.index >= 256));
        assert_eq!(again.iter().filter(|tile| tile.level == 0).count(), 18);
        assert_eq!(Tile::all(70_000).filter(|tile| grew(tile, 0)).count(), 277);
    }
}
