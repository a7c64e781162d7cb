//! The keys of ours that the log in use names.

use std::collections::HashMap;

use stint_audit::kind::{KeyAdded, KeyRetired, KeyUse};
use stint_audit::{Digest, Header, What};

use crate::store::trail::{self, BatchRow};
use crate::store::{self, Store};

/// What the log says of one of them.
pub(crate) struct Known {
    /// The entry that added it.
    pub(super) seq: u64,
    /// Its time; that of the retirement, where the addition was pruned.
    pub(super) ts: u64,
    /// The entry that retired it.
    pub(crate) retired: Option<u64>,
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
                    let retired = None;
                    keys.insert((usage, key), Known { seq, ts, retired });
                }
                What::KeyRetired(KeyRetired { usage, key, of, .. }) => {
                    let retired = None;
                    let pruned = Known {
                        seq: of,
                        ts,
                        retired,
                    };
                    keys.entry((usage, key)).or_insert(pruned).retired = Some(seq);
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
