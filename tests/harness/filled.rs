//! A ledger that is long: filled by the committer's own code, while nobody serves it.

use std::sync::Arc;

use serde_json::{Map, json};
use stint_audit::kind::{Admin, AdminOp};
use stint_audit::{Body, Entry};
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::config::Config;
use stint_broker::upkeep::hand::Hand;

use crate::broker::TestBroker;
use crate::database::number;
use crate::together::together;

/// The first place where a ledger can be cut.
pub const UNIT: u64 = 65_536;
/// How many writers fill it: as many as a batch takes.
const WRITERS: u64 = 512;

impl TestBroker {
    /// Lengthens the ledger to a little behind the first place where it can be cut, and serves it again, until an anchor is
    /// behind that place.
    ///
    /// # Panics
    /// When the ledger does not open.
    pub async fn fill(&mut self) {
        self.stop().await;
        let config = Config::load(&self.write_config()).unwrap().config;
        let hand = Hand::open(&config, Arc::new(SystemClock)).await.unwrap();
        let ledger = &hand.ledger;
        let each = (UNIT + 1_500) / WRITERS;
        let writers = (0..WRITERS).map(|writer| async move {
            for number in 0..each {
                let entry = filler(writer * each + number);
                ledger.record(entry, None, Vec::new()).await.unwrap();
            }
        });
        drop(together(writers).await);
        hand.close().await;
        self.restart().await.unwrap();
        self.clock.catch_up(SystemClock.now());
        self.anchored_behind(UNIT).await;
    }

    /// Once everything up to `size` is in the index, and an anchor is behind it.
    async fn anchored_behind(&self, size: u64) {
        const NEWEST: &str = "SELECT coalesce(max(seq), 0) FROM ledger_index WHERE kind = 'anchor'";
        let database = self.database();
        for _ in 0..900 {
            self.clock.advance(1);
            if number(&database, NEWEST).await.unsigned_abs() >= size {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no anchor came");
    }
}

/// An act that is worth an entry and nothing else.
fn filler(number: u64) -> Entry {
    let mut body = Map::new();
    body.insert("target".to_owned(), json!(number.to_string()));
    let digit = |place: u32| {
        let place = usize::try_from(number >> (5 * place) & 31).unwrap();
        char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[place])
    };
    let id: String = (0..10).rev().map(digit).collect();
    Entry {
        id: format!("ent_0000000000000000{id}"),
        subj: None,
        by: None,
        behalf: None,
        pol: None,
        what: Admin {
            n: None,
            of: None,
            op: AdminOp::Exported,
        }
        .into(),
        body: Body {
            salt: number.to_be_bytes().repeat(2).try_into().unwrap(),
            what: body,
        },
    }
}
