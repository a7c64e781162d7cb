//! The keys of ours that the log in use names.

use std::collections::HashMap;

use stint_audit::kind::{KeyAdded, KeyRetired, KeyUse};
use stint_audit::{Digest, Header, What};

use crate::store::trail::{self, BatchRow};
use crate::store::{self, Store};

/// What the log says of one of them.
pub(crate) struct Known {
    /// The entry that added it.
    pub(crate) seq: u64,
    /// Entries before that did the same and count: two replicas that started at once.
    twins: Vec<u64>,
    /// Its time; that of the retirement, where the addition was pruned.
    pub(crate) ts: u64,
    /// The entry that retired it.
    pub(crate) retired: Option<u64>,
}

impl Known {
    fn new(seq: u64, ts: u64, twins: Vec<u64>) -> Self {
        Self {
            seq,
            twins,
            ts,
            retired: None,
        }
    }

    /// The entries that count on it.
    pub(crate) fn counting(self) -> Vec<u64> {
        let newest = self.retired.is_none().then_some(self.seq);
        self.twins.into_iter().chain(newest).collect()
    }

    fn taken_back(&mut self, of: u64, by: u64) {
        match of == self.seq {
            true => self.retired = Some(by),
            false => self.twins.retain(|twin| *twin != of),
        }
    }
}

/// The keys that the log names, by their use and the hash of the public key.
pub(crate) async fn known_keys(
    store: &Store,
) -> Result<HashMap<(KeyUse, Digest), Known>, store::Error> {
    let mut keys = HashMap::new();
    let mut next = 0;
    loop {
        let page = store.batches(trail::signed(next), i64::MAX, PAGE).await?;
        let began = next;
        for (seq, bytes) in page
            .iter()
            .flat_map(BatchRow::entries)
            .filter(|(seq, _)| *seq >= began)
        {
            next = seq + 1;
            if !is_about_a_key(bytes) {
                continue;
            }
            let Ok(Header { what, ts, .. }) = Header::parse(bytes) else {
                continue;
            };
            match what {
                What::KeyAdded(KeyAdded { usage, key, .. }) => {
                    let twins = keys
                        .remove(&(usage, key))
                        .map_or_else(Vec::new, Known::counting);
                    keys.insert((usage, key), Known::new(seq, ts, twins));
                }
                What::KeyRetired(KeyRetired { usage, key, of, .. }) => {
                    let pruned = || Known::new(of, ts, Vec::new());
                    keys.entry((usage, key))
                        .or_insert_with(pruned)
                        .taken_back(of, seq);
                }
                _ => {}
            }
        }
        if next == began {
            return Ok(keys);
        }
    }
}

/// Canonical JSON has one spelling.
fn is_about_a_key(header: &[u8]) -> bool {
    memchr::memmem::find(header, br#""kind":"key_"#).is_some()
}

/// Batches read at once.
const PAGE: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_retired_when_the_last_that_counts_on_it_is_taken_back() {
        let mut known = Known::new(9, 0, vec![5]);
        known.taken_back(5, 20);
        assert_eq!((known.retired, known.twins.len()), (None, 0));
        known.taken_back(9, 21);
        assert_eq!(known.retired, Some(21));
        assert!(known.counting().is_empty());
        assert_eq!(Known::new(9, 0, vec![5]).counting(), [5, 9]);
    }
}
