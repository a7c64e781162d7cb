//! A COMMIT whose outcome nobody told us, and a connection that is gone (LEDGER.md §7).

use std::time::Duration;

use stint_audit::Batch;

use super::State;
use super::committer::{Committer, trouble};
use super::follow::FollowFailure;
use crate::clock::Stopwatch;
use crate::store::engine::patiently;
use crate::store::trail::{self, Lock};
use crate::store::{Db, Engine};

impl Committer {
    /// Whether this very batch is in the store: by first seq *and* root, never by size alone, for another replica may
    /// have gone on. Does not guess: a server is asked on a new connection, behind the head's lock, which waits for a
    /// backend that still runs. Unresolved after [`DOUBT`] counts as not there; if it comes to light later, those it
    /// was for were told that nothing was recorded, and its grants are closed as interrupted.
    pub(super) async fn is_there(&mut self, batch: Option<&Batch>) -> bool {
        let Some(batch) = batch else { return false };
        let watch = Stopwatch::start();
        loop {
            match self.look_for(batch).await {
                Ok(found) => return found,
                Err(source) if self.store.engine() == Engine::Sqlite || watch.elapsed() > DOUBT => {
                    tracing::error!(%source, "the outcome of a COMMIT is unknown");
                    return false;
                }
                Err(source) => tracing::warn!(%source, "the outcome of a COMMIT is unknown yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn look_for(&mut self, batch: &Batch) -> Result<bool, sqlx::Error> {
        if self.db.is_none() {
            let connected = self.store.writer().await;
            self.db = Some(connected.map_err(|error| sqlx::Error::Protocol(error.to_string()))?);
        }
        let mut db = self.db.take().ok_or(sqlx::Error::PoolClosed)?;
        let log = self.head.log().to_owned();
        let looked = patiently(locked_root(&mut db, &log, batch)).await;
        let root = looked.ok_or(sqlx::Error::PoolTimedOut)??;
        self.db = Some(db);
        self.roll_back().await;
        Ok(root.is_some_and(|root| root == batch.head().root().as_bytes()))
    }

    /// Makes the connection anew, and goes on only from a head that extends the last one seen. `false`: it stays lost;
    /// the state says why.
    pub(super) async fn reconnect(&mut self) -> bool {
        let mut db = match self.store.writer().await {
            Ok(db) => db,
            Err(error) => {
                self.say(State::Unknown(why(&error)));
                return false;
            }
        };
        match patiently(self.catch_up(&mut db, Lock::None)).await {
            Some(Ok(())) => {}
            Some(Err(FollowFailure::Diverged(why))) => {
                self.strayed(why);
                return false;
            }
            Some(Err(FollowFailure::Engine(source))) => {
                self.say(trouble(&source));
                return false;
            }
            None => {
                self.say(State::Unknown("the database does not answer".to_owned()));
                return false;
            }
        }
        self.db = Some(db);
        self.say(self.well());
        true
    }

    /// It is looked at again and again, and said once.
    fn strayed(&self, why: String) {
        if !matches!(*self.says.state.borrow(), State::Diverged(_)) {
            tracing::error!(%why, "the ledger cannot be followed any further");
        }
        self.say(State::Diverged(why));
    }

    /// Follows what other replicas wrote, and finds the way back to a store that was lost.
    pub(super) async fn look_around(&mut self) {
        self.steady.now(&*self.clock);
        self.beat().await;
        if self.store.engine() == Engine::Sqlite {
            return;
        }
        self.close_unheard().await;
        let Some(mut db) = self.db.take() else {
            self.reconnect().await;
            return;
        };
        match patiently(self.catch_up(&mut db, Lock::None)).await {
            Some(Ok(())) => self.db = Some(db),
            Some(Err(FollowFailure::Diverged(why))) => {
                self.db = Some(db);
                self.strayed(why);
            }
            Some(Err(FollowFailure::Engine(source))) => self.say(trouble(&source)),
            None => self.say(State::Unknown("the database does not answer".to_owned())),
        }
    }
}

async fn locked_root(
    db: &mut Db,
    log: &str,
    batch: &Batch,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    db.begin().await?;
    trail::head(db, log, Lock::Taken).await?;
    trail::root_of_batch(db, log, trail::signed(batch.first_seq())).await
}

/// An error with its causes, on one line.
fn why(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// How long those who wait are kept in doubt (LEDGER.md §7).
const DOUBT: Duration = Duration::from_secs(10);

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(200);
