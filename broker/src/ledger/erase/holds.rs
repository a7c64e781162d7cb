//! Which bodies may not go, and why: what their entries say still holds.

use std::collections::BTreeMap;

use stint_audit::kind::{AdminOp, KeyUse, Recovery};
use stint_audit::{Header, What};

use crate::store::requests::State;
use crate::store::{self, Store};

/// A fold of headers: entries that bind without an end, and how.
#[derive(Debug, Default)]
pub(super) struct Holds {
    standing: BTreeMap<u64, &'static str>,
    policy: Option<u64>,
}

impl Holds {
    /// Takes the next header, if it has any say; most have none and are not parsed.
    pub(super) fn follow_bytes(&mut self, bytes: &[u8]) {
        let has_say = |word: &&[u8]| memchr::memmem::find(bytes, word).is_some();
        if WORDS.iter().any(has_say)
            && let Ok(header) = Header::parse(bytes)
        {
            self.follow(&header);
        }
    }

    /// Takes the next header.
    pub(super) fn follow(&mut self, header: &Header) {
        let seq = header.seq;
        match &header.what {
            What::Genesis(_) | What::Recovery(Recovery::Begin { .. }) | What::Epoch(_) => {
                self.stands(seq, "says where the log begins or ends");
            }
            What::PolicyLoaded(loaded) if loaded.ok => {
                if let Some(was) = self.policy.replace(seq) {
                    self.undone(was);
                }
                self.stands(seq, "says which policy is in force");
            }
            What::KeyAdded(added) => {
                let why = match added.usage {
                    KeyUse::Issuer | KeyUse::Federation => "has a key set that may still serve",
                    _ => "has a key in use",
                };
                self.stands(seq, why);
            }
            What::KeyRetired(retired) => {
                self.undone(retired.of);
                // An old folder of keys may come back at any time, and a prune keeps what says so.
                if retired.usage.signs_credentials() {
                    self.stands(seq, "says that a key was retired");
                }
            }
            What::Frozen(_) => self.stands(seq, "is a freeze that was not lifted"),
            What::Unfrozen(unfrozen) => self.undone(unfrozen.of),
            What::CallerDisabled(_) => self.stands(seq, "disables a caller"),
            What::Admin(admin) if admin.op == AdminOp::CallerEnabled => {
                admin.of.iter().for_each(|of| self.undone(*of));
            }
            What::Admin(admin) if admin.op == AdminOp::Pruned => {
                self.stands(seq, "says where an archive of the ledger is");
            }
            _ => {}
        }
    }

    fn stands(&mut self, seq: u64, why: &'static str) {
        self.standing.insert(seq, why);
    }

    fn undone(&mut self, seq: u64) {
        self.standing.remove(&seq);
    }

    /// Why the body of this entry may not go at `now`, in milliseconds.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn binds(
        &self,
        store: &Store,
        header: &Header,
        now: u64,
    ) -> Result<Option<String>, store::Error> {
        if let Some(why) = self.standing.get(&header.seq) {
            return Ok(Some((*why).to_owned()));
        }
        let until = match &header.what {
            What::Granted(it) => Some(("is a grant that lives", it.exp)),
            What::Revoked(it) => Some(("withdraws a grant that would live", it.until)),
            What::Voted(it) => Some(("is a vote that counts", it.until)),
            What::TaskOpened(it) => Some(("opens a task that is open", it.deadline)),
            What::TaskClosed(it) => Some(("withdraws grants that would live", it.until)),
            What::RequestClosed(it) => Some(("ends a request that would wait", it.until)),
            What::Requested(_) => return of_request(store, &header.id, now).await,
            _ => None,
        };
        let until = until.filter(|(_, until)| *until > now);
        Ok(until.map(|(what, until)| format!("{what} until {until}")))
    }
}

/// A request waits, or the approval that it got can still be used.
async fn of_request(store: &Store, id: &str, now: u64) -> Result<Option<String>, store::Error> {
    let Some(row) = store.request(id).await? else {
        return Ok(None);
    };
    let until = row.standing.until.unwrap_or(0).unsigned_abs();
    Ok(match row.standing.state {
        State::Pending => Some("is a request that is open".to_owned()),
        State::Approved if until > now => Some(format!("is approved until {until}")),
        State::Approved | State::Cancelled | State::Denied | State::Expired => None,
    })
}

/// How canonical JSON spells the kinds that have a say.
const WORDS: [&[u8]; 10] = [
    br#""kind":"admin""#,
    br#""kind":"caller_disabled""#,
    br#""kind":"epoch""#,
    br#""kind":"frozen""#,
    br#""kind":"genesis""#,
    br#""kind":"key_added""#,
    br#""kind":"key_retired""#,
    br#""kind":"policy_loaded""#,
    br#""kind":"recovery""#,
    br#""kind":"unfrozen""#,
];
