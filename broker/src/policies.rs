//! The policy set in force, and how another one takes force: whole or not at all (POLICY.md §6).
//!
//! A set is built aside, recorded as `policy_loaded`, and only then swapped. A walk keeps the set
//! it began with; the ledger refuses a decision made under a set that is no longer in force. A set
//! that does not load leaves the last good one deciding.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use stint_audit::kind::PolicyLoaded;
use stint_audit::{Digest, Entry};
use stint_policy::{Files, LoadError, PolicySet};
use thiserror::Error;
use tokio::sync::{Mutex, watch};

use crate::ledger::{self, Ledger};
use crate::store::{self, PolicyRow, Store, Write};

/// Holds the set in force.
#[derive(Debug)]
pub struct Policies {
    current: watch::Sender<Arc<PolicySet>>,
    /// Held while one set gives way to another; also the last refusal, so that it is said once.
    changing: Mutex<Option<Digest>>,
    /// Why the newest files are not in force, for `/readyz`.
    refused: RwLock<Option<Arc<str>>>,
}

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The set was in force already.
    Same(Digest),
    /// This set decides from now on.
    Taken(Digest),
}

/// Why the set in force stayed.
#[derive(Debug, Error)]
pub enum Refused {
    /// The files are not a policy set.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The change could not be recorded.
    #[error("the policy set could not be recorded")]
    Record(#[from] ledger::Error),
    /// `serial` of `policy.toml` shrank, vanished or stood still (P19).
    #[error("P19 policy.toml: serial {now} does not follow {was}: it must grow with every change")]
    Serial {
        /// In force.
        was: u64,
        /// In the files.
        now: u64,
    },
    /// The loader's thread died.
    #[error("the policies could not be read")]
    Thread(#[from] tokio::task::JoinError),
}

/// Why another replica's set cannot decide here.
#[derive(Debug, Error)]
enum Followed {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the stored files are not those of the entry")]
    Other,
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the stored files cannot be read")]
    Text(#[from] serde_json::Error),
    #[error("the policies could not be read")]
    Thread(#[from] tokio::task::JoinError),
}

impl Policies {
    /// Begins with `set`, which [`Self::take`] recorded or the ledger already knows.
    #[must_use]
    pub fn new(set: PolicySet) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(set)),
            changing: Mutex::new(None),
            refused: RwLock::new(None),
        }
    }

    /// The set that decides now. Keep it for a whole walk.
    #[must_use]
    pub fn in_force(&self) -> Arc<PolicySet> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits until a change that is under way is over, here or on the way here from another replica.
    pub async fn settled(&self, ledger: &Ledger) {
        drop(self.changing.lock().await);
        let at_head = ledger.watch_policy();
        let mut current = self.current.subscribe();
        let same = current.wait_for(|set| at_head.borrow().is_none_or(|pol| pol == hash(set)));
        if tokio::time::timeout(SETTLE, same).await.is_err() {
            tracing::warn!("the policy set in force at the head is not here yet");
        }
    }

    /// Follows the set in force at the head, wherever it took force: the other replicas' files decide here too, as they
    /// are kept in the store, and only if they hash to what the entry says. Runs until the committer is gone.
    pub async fn follow(&self, store: &Store, ledger: &Ledger) {
        let mut at_head = ledger.watch_policy();
        while at_head.changed().await.is_ok() {
            let pol = *at_head.borrow_and_update();
            if let Some(pol) = pol
                && let Err(error) = self.follow_to(pol, store).await
            {
                tracing::error!(%error, %pol, "the policy set in force at the head cannot be loaded: nothing is granted");
            }
        }
    }

    async fn follow_to(&self, pol: Digest, store: &Store) -> Result<(), Followed> {
        let _changing = self.changing.lock().await;
        if hash(&self.in_force()) == pol {
            return Ok(());
        }
        let kept = store.kept_policy(&pol.to_string()).await?;
        let files: BTreeMap<String, String> = serde_json::from_str(&kept.ok_or(Followed::Other)?)?;
        let files = files.into_iter().collect();
        let set = tokio::task::spawn_blocking(move || PolicySet::from_files(files)).await??;
        if hash(&set) != pol {
            return Err(Followed::Other);
        }
        tracing::info!(%pol, "policies took force on another replica");
        self.current.send_replace(Arc::new(set));
        Ok(())
    }

    /// Why the newest files are not in force, if they are not.
    #[must_use]
    pub fn refused(&self) -> Option<Arc<str>> {
        self.refused
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Loads `dir` and lets it take force.
    ///
    /// # Errors
    /// [`Refused`]: the set before stays in force; the refusal is an entry, once per distinct text.
    pub async fn reload(&self, dir: &Path, ledger: &Ledger) -> Result<Reload, Refused> {
        let mut changing = self.changing.lock().await;
        let dir = dir.to_owned();
        let loaded = tokio::task::spawn_blocking(move || PolicySet::load(&dir)).await?;
        let was = self.in_force();
        let result = match loaded {
            Ok(set) => self.swap(&was, set, ledger).await,
            Err(error) => Err(Refused::Load(error)),
        };
        let text = result.as_ref().err().map(ToString::to_string);
        *self.refused.write().unwrap_or_else(PoisonError::into_inner) =
            text.as_deref().map(Into::into);
        let tried = text.as_ref().map(|text| Digest::of(text.as_bytes()));
        if let (Some(text), true) = (text, tried.is_some() && tried != *changing) {
            ledger
                .record(refused(&was, &text), None, Vec::new())
                .await?;
        }
        *changing = tried;
        result
    }

    async fn swap(
        &self,
        was: &PolicySet,
        set: PolicySet,
        ledger: &Ledger,
    ) -> Result<Reload, Refused> {
        let pol = hash(&set);
        if pol == hash(was) {
            return Ok(Reload::Same(pol));
        }
        follows(was.serial().unwrap_or(0), set.serial().unwrap_or(0))?;
        take(&set, Some(hash(was)), ledger).await?;
        self.current.send_replace(Arc::new(set));
        Ok(Reload::Taken(pol))
    }
}

/// Whether a set of serial `now` may follow one of serial `was`: any may where neither counts,
/// else it must grow (POLICY.md §6, anti-rollback).
///
/// # Errors
/// [`Refused::Serial`].
pub fn follows(was: u64, now: u64) -> Result<(), Refused> {
    if (was == 0 && now == 0) || now > was {
        Ok(())
    } else {
        Err(Refused::Serial { was, now })
    }
}

/// Records that `set` takes force.
///
/// # Errors
/// As the ledger's.
pub async fn take(
    set: &PolicySet,
    was: Option<Digest>,
    ledger: &Ledger,
) -> Result<(), ledger::Error> {
    let files = set.files();
    let mut body = Map::new();
    body.insert("files".to_owned(), json!(files.digests()));
    let what = PolicyLoaded {
        ok: true,
        tried: None,
        was,
    };
    let row = PolicyRow {
        pol: hash(set).to_string(),
        serial: set.serial().unwrap_or(0),
        files: texts(files).to_string(),
    };
    let entry = ledger::note(what, Some(hash(set)), body);
    ledger
        .record(entry, None, vec![Write::PolicySet(row)])
        .await
        .map(drop)
}

/// Policies are UTF-8: the loader refuses anything else.
fn texts(files: &Files) -> Value {
    let text = |(path, bytes): (&str, &[u8])| {
        (
            path.to_owned(),
            Value::String(String::from_utf8_lossy(bytes).into_owned()),
        )
    };
    Value::Object(files.iter().map(text).collect())
}

/// What the folder looks like from outside: a change of it is a reason to load it again.
#[must_use]
pub fn glance(dir: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut seen = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match file.metadata() {
                Ok(it) if it.is_dir() && folders.len() < MAX_FOLDERS => folders.push(file.path()),
                Ok(it) => seen.push((file.path(), it.len(), it.modified().ok())),
                Err(_) => seen.push((file.path(), 0, None)),
            }
        }
    }
    seen.sort();
    seen
}

fn refused(was: &PolicySet, text: &str) -> Entry {
    let mut body = Map::new();
    let errors: String = text.chars().take(8_000).collect();
    body.insert("errors".to_owned(), Value::String(errors));
    let what = PolicyLoaded {
        ok: false,
        tried: None,
        was: None,
    };
    ledger::note(what, Some(hash(was)), body)
}

fn hash(set: &PolicySet) -> Digest {
    Digest::from_bytes(*set.hash().as_bytes())
}

/// How long a walk waits for a set that took force elsewhere: some looks at the head.
const SETTLE: Duration = Duration::from_secs(2);

/// Folders that a glance goes into; a policy folder has one, `tests`.
const MAX_FOLDERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::follows;

    #[test]
    fn a_serial_only_grows() {
        for (was, now, may) in [
            (0, 0, true),
            (0, 1, true),
            (3, 4, true),
            (3, 3, false),
            (3, 2, false),
            (3, 0, false),
        ] {
            assert_eq!(follows(was, now).is_ok(), may, "{was} then {now}");
        }
    }
}
