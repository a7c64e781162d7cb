//! The pin: the newest signed head this process saw, in a file outside the database.
//!
//! A database that was rolled back, or taken away, does not extend it (LEDGER.md §8).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::Published;
use crate::durable;

/// Follows the published head, at most one write a second, and once more when the ledger closes.
#[derive(Debug)]
pub struct Pin {
    path: PathBuf,
    published: watch::Receiver<Published>,
}

impl Pin {
    /// A pin at `path` that follows `published`.
    pub(super) fn new(path: PathBuf, published: watch::Receiver<Published>) -> Self {
        Self { path, published }
    }

    /// Runs until the committer is gone. A pin that cannot be written is a warning: the ledger
    /// itself is whole, only a later rollback could hide behind an old pin.
    pub async fn run(mut self) {
        let mut open = true;
        while open {
            open = self.published.changed().await.is_ok();
            let note = self.published.borrow_and_update().checkpoint.clone();
            let path = self.path.clone();
            let written =
                tokio::task::spawn_blocking(move || durable::replace(&path, note.as_bytes())).await;
            match written.map_err(io::Error::other).and_then(|result| result) {
                Ok(()) => {}
                Err(source) => {
                    tracing::warn!(%source, path = %self.path.display(), "the pin was not written");
                }
            }
            if open {
                self.pause().await;
            }
        }
    }

    /// Lets a second pass, or less if the ledger closes: a stop does not wait for it.
    async fn pause(&mut self) {
        let mut news = false;
        let closed = async {
            while self.published.changed().await.is_ok() {
                news = true;
            }
        };
        // Running out of time is what a pause is for.
        drop(tokio::time::timeout(PAUSE, closed).await);
        if news {
            self.published.mark_changed();
        }
    }
}

/// The pinned note, or nothing if there never was one.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(note) => Ok(Some(note)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source),
    }
}

/// At most one pin a second (LEDGER.md §8).
const PAUSE: Duration = Duration::from_secs(1);
