//! The entries that somebody else put behind a head: believed only as far as they hash (LEDGER.md §8).

use crate::Digest;
use crate::entry::{FormError, Header};
use crate::kind::What;
use crate::tree;

use super::Head;

/// Why entries do not extend a head.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log was closed.
    #[error("entry {0} comes after the log was closed")]
    Closed(u64),
    /// A header has not the form of its kind.
    #[error("entry {0}")]
    Form(u64, #[source] FormError),
    /// A header belongs elsewhere: another log, seq, link or an earlier time.
    #[error("entry {0} does not link to the one before")]
    Link(u64),
}

impl Head {
    /// The head after `headers`, the exact bytes that were stored behind this one, and what they say.
    ///
    /// # Errors
    /// [`FollowError`] names the first entry that does not follow.
    pub fn follow<'a>(
        &self,
        headers: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Head, Vec<Header>), FollowError> {
        let mut head = self.clone();
        let mut entries = Vec::new();
        for bytes in headers {
            let seq = head.size();
            if head.closed {
                return Err(FollowError::Closed(seq));
            }
            let header = Header::parse(bytes).map_err(|source| FollowError::Form(seq, source))?;
            head.take(&header, tree::leaf_hash(bytes))?;
            entries.push(header);
        }
        head.root = head.frontier.root();
        Ok((head, entries))
    }

    fn take(&mut self, header: &Header, leaf: Digest) -> Result<(), FollowError> {
        let links = header.seq == self.size()
            && header.log == self.log
            && header.prev == self.last_leaf
            && header.ts >= self.last_ts;
        if !links {
            return Err(FollowError::Link(self.size()));
        }
        self.frontier.push(leaf);
        self.last_leaf = leaf;
        self.last_ts = header.ts;
        self.closed = matches!(header.what, What::Epoch(_));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::FollowError;
    use crate::Head;
    use crate::chain::tests::{genesis, grant};

    #[test]
    fn a_batch_of_somebody_else_is_followed_to_the_same_head() {
        let before = Head::empty("stint.example/ledger", 0);
        let batch = before.extend("b", 7, vec![genesis(), grant(1), grant(2)]);
        let batch = batch.unwrap();
        let headers = batch.headers().iter().map(Vec::as_slice);
        let (after, entries) = before.follow(headers).unwrap();
        assert_eq!(&after, batch.head());
        assert_eq!(entries, batch.entries());
    }

    #[test]
    fn what_does_not_link_is_refused_by_its_seq() {
        let before = Head::empty("stint.example/ledger", 0);
        let batch = before.extend("b", 7, vec![genesis(), grant(1), grant(2)]);
        let headers: Vec<_> = batch.unwrap().headers().to_vec();
        let missing = [&*headers[0], &*headers[2]];
        assert!(matches!(before.follow(missing), Err(FollowError::Link(1))));
        let mut changed = headers.clone();
        changed[1] = String::from_utf8(headers[1].clone())
            .unwrap()
            .replace("\"node\":\"b\"", "\"node\":\"c\"")
            .into_bytes();
        let changed = changed.iter().map(Vec::as_slice);
        assert!(matches!(before.follow(changed), Err(FollowError::Link(2))));
    }
}
