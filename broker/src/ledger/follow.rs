//! What other replicas wrote: followed to the very head that is extended, and believed only as far as it hashes.

use stint_audit::{Body, Digest, Header, What};
use subtle::ConstantTimeEq as _;

use super::Frozen;
use super::committer::Committer;
use super::opening::restore;
use super::transaction::Stands;
use crate::store::Db;
use crate::store::trail::{self, BatchRow, Lock};

/// Why the store's head cannot be followed.
pub(super) enum FollowFailure {
    /// It is not ours, and does not extend ours.
    Diverged(String),
    Engine(sqlx::Error),
}

impl From<sqlx::Error> for FollowFailure {
    fn from(source: sqlx::Error) -> Self {
        Self::Engine(source)
    }
}

impl Committer {
    /// Follows the store to its head. Afterwards it is the one this process saw last (inv. 10): nothing that is smaller,
    /// other, or not sealed by our key is followed.
    pub(super) async fn catch_up(&mut self, db: &mut Db, lock: Lock) -> Result<(), FollowFailure> {
        let ours = self.head.size();
        let Some(row) = trail::head(db, self.head.log(), lock).await? else {
            return match ours {
                0 => Ok(()),
                _ => Err(FollowFailure::Diverged(self.not_ours())),
            };
        };
        if row.size.unsigned_abs() == ours && row.root == self.head.root().as_bytes() {
            return Ok(());
        }
        let mac = row.mac.clone();
        let there = restore(self.head.log(), row)
            .map_err(|error| FollowFailure::Diverged(error.to_string()))?;
        let sealed = there.mac(&self.sealing.mac);
        if !bool::from(sealed.as_bytes().as_slice().ct_eq(&mac)) {
            let why = "the head's seal is not this log's".to_owned();
            return Err(FollowFailure::Diverged(why));
        }
        if there.size() <= ours {
            return Err(FollowFailure::Diverged(self.not_ours()));
        }
        while self.head.size() < there.size() {
            self.take_page(db, there.size()).await?;
        }
        if self.head != there {
            return Err(FollowFailure::Diverged(self.not_ours()));
        }
        let checkpoint = self.sealing.log_key.sign(&self.head.checkpoint().text());
        self.move_to(there, checkpoint);
        Ok(())
    }

    async fn take_page(&mut self, db: &mut Db, to: u64) -> Result<(), FollowFailure> {
        let (from, end) = (trail::signed(self.head.size()), trail::signed(to));
        let batches = trail::batches(&mut *db, self.head.log(), (from, end), PAGE).await?;
        if batches.is_empty() {
            let why = format!("entry {from} is missing");
            return Err(FollowFailure::Diverged(why));
        }
        for batch in batches {
            self.take(db, &batch).await?;
        }
        Ok(())
    }

    async fn take(&mut self, db: &mut Db, batch: &BatchRow) -> Result<(), FollowFailure> {
        let diverged = |why: String| FollowFailure::Diverged(why);
        let headers = batch.entries().map(|(_, header)| header);
        let (head, entries) = self
            .head
            .follow(headers)
            .map_err(|error| diverged(error.to_string()))?;
        let hashes = batch.hashes.chunks(32).last();
        if batch.root != head.root().as_bytes()
            || hashes != Some(head.last_leaf().as_bytes().as_slice())
            || !batch.is_even()
        {
            let first = self.head.size();
            return Err(diverged(format!(
                "the batch at entry {first} does not hash to its root"
            )));
        }
        self.fold(db, &entries).await?;
        self.head = head;
        Ok(())
    }

    /// What these entries say that binds from now on, here as on the replica that wrote them.
    async fn fold(&mut self, db: &mut Db, entries: &[Header]) -> Result<(), FollowFailure> {
        let mut pol = *self.says.policy.borrow();
        let mut frozen = self.says.frozen.borrow().clone();
        for header in entries {
            match &header.what {
                What::PolicyLoaded(loaded) if loaded.ok => pol = header.pol,
                what if Frozen::hears(what) => {
                    // None is erased while it binds, and all are short.
                    let body = body_of(db, header).await?;
                    frozen.follow(header.seq, what, || Some(body));
                }
                // A COMMIT of ours that was answered too late: nobody was told, so nothing was handed out.
                What::Granted(_) if *header.node == *self.node.name => {
                    self.node.unheard.insert(header.seq);
                    self.outstanding.unheard(header.seq);
                }
                // And the same of what closes such a one.
                What::SignFailed(failed) if self.node.unheard.remove(&failed.of) => {
                    self.outstanding.released(failed.of);
                }
                // It was to be stopped before its keys were replaced, and did not hear of it.
                What::KeyRetired(retired) if self.node.signs_with(retired) => {
                    return Err(FollowFailure::Diverged(format!(
                        "entry {} retired a key that this replica signs with: bring it the [keys] dir from where \
                         `stintd keys replace` ran, and start it again",
                        header.seq
                    )));
                }
                _ => {}
            }
        }
        let news = frozen != *self.says.frozen.borrow();
        self.stand(Stands {
            pol,
            frozen: news.then_some(frozen),
        });
        Ok(())
    }
}

/// The body a header commits to, which must be there while what it says binds.
pub(super) async fn body_of(db: &mut Db, header: &Header) -> Result<Body, FollowFailure> {
    let seq = trail::signed(header.seq);
    let found = trail::bodies(&mut *db, &header.log, (seq, seq + 1)).await?;
    let bytes = found.into_iter().next().map(|(_, bytes)| bytes);
    let body = bytes.filter(|bytes| Digest::of(bytes) == header.body);
    body.and_then(|bytes| Body::parse(&bytes).ok())
        .ok_or_else(|| {
            let why = format!(
                "entry {}: its body does not hash to what the header says",
                header.seq
            );
            FollowFailure::Diverged(why)
        })
}

/// Batches read at once.
const PAGE: i64 = 64;
