//! What is done between commits: old evidence is forgotten, the WAL moves into the database, and a log that could not be
//! written is tried again.

use std::path::Path;

use super::State;
use super::committer::{Committer, trouble};
use crate::store::trail::{self, Lock};
use crate::store::{Engine, deferrals, retries, spent};

impl Committer {
    pub(super) async fn chores(&mut self) {
        self.unmoved = 0;
        if self.db.is_none() {
            return; // `look_around` finds the way back
        }
        if let Some(state) = self.no_room() {
            return self.say(state);
        }
        match self.housekeep().await {
            Ok(true) if self.head.closed() => {}
            Ok(true) => self.say(State::Open),
            Ok(false) => self.say(State::Diverged(self.not_ours())),
            Err(source) => {
                self.roll_back().await;
                let state = trouble(&source);
                tracing::warn!(
                    ?state,
                    "housekeeping of the store failed; it is tried again"
                );
                self.say(state);
            }
        }
        if self.store.engine() == Engine::Postgres {
            self.tend_others().await;
        }
    }

    /// Whether less is free where the file lies than must be left: refused while there is room to refuse in
    /// (LEDGER.md §8). Read anew each time, so that it recovers alone.
    pub(super) fn no_room(&self) -> Option<State> {
        let folder = self.store.location().file()?.parent()?;
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        // What cannot be asked is not held against anybody: the write itself will tell.
        let seen = rustix::fs::statvfs(folder).ok()?;
        let free = seen.f_bavail.saturating_mul(seen.f_frsize);
        (free < self.reserve).then(|| {
            let (free, reserve) = (free >> 20, self.reserve >> 20);
            let folder = folder.display();
            State::Full(format!(
                "{free} MiB free in {folder}, the reserve is {reserve} MiB"
            ))
        })
    }

    /// Whether the stored head is ours, or a server's, which is followed elsewhere. The deletion is a write: it fails
    /// where a commit would.
    async fn housekeep(&mut self) -> Result<bool, sqlx::Error> {
        let now = self.clock.now().as_millis();
        let log = self.head.log().to_owned();
        let root = self.on_db(async |db| {
            db.begin().await?;
            let stored = trail::head(db, &log, Lock::None).await?;
            spent::forget(db, &log, now).await?;
            retries::forget(db, &log, now).await?;
            deferrals::forget(db, &log, now).await?;
            db.tell("COMMIT").await?;
            if db.engine() == Engine::Postgres {
                return Ok(None);
            }
            db.tell("PRAGMA wal_checkpoint(PASSIVE)").await?;
            Ok::<_, sqlx::Error>(stored.map(|stored| stored.root))
        });
        let root = root.await?;
        Ok(root.is_none_or(|root| root == self.head.root().as_bytes()))
    }
}
