//! The ledger in an operator's hands: opened from the config for one act, while no broker of this database runs.
//!
//! All checks of a start are made, and every act is an entry: what is done with the broker stopped is as much on record as
//! what it does itself.

use std::sync::Arc;

use serde_json::json;
use stint_audit::{Checkpoint, Entry, What};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{self, Config, SecretError};
use crate::keyring::Folder;
use crate::ledger::epoch::{self, Begun, Current};
use crate::ledger::keys::{self, EpochKeys, LogKeysError};
use crate::ledger::{self, Ledger, OpenError, Site, pin};
use crate::store::{self, Db, Store};

/// Why the ledger cannot be taken in hand.
#[derive(Debug, Error)]
pub enum HandError {
    /// Its keys cannot be used.
    #[error(transparent)]
    Keys(#[from] LogKeysError),
    /// A check of a start failed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The pin cannot be read or written.
    #[error("the pin `{path}` cannot be read or written")]
    Pin {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The open ledger. [`Self::close`] ends it.
#[derive(Debug)]
pub struct Hand {
    /// The door.
    pub ledger: Ledger,
    /// Its rows.
    pub store: Store,
    /// How the log in use began.
    pub(crate) begun: Begun,
    writers: JoinSet<()>,
}

/// What is read of a store before its ledger is opened.
pub(crate) struct Found {
    pub(crate) store: Store,
    pub(crate) writer: Db,
    pub(crate) current: Current,
    pub(crate) begun: Begun,
}

impl Hand {
    /// Opens the ledger that `config` describes.
    ///
    /// # Errors
    /// [`HandError`]; [`store::Error`] says so while a broker has the file.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, HandError> {
        let passphrase = passphrase(config)?;
        let folder = Folder {
            dir: &config.keys.dir,
            passphrase: passphrase.as_ref(),
        };
        let found = find(config).await?;
        let keys = keys::open(&folder, &config.ledger.origin, found.current.epoch)?;
        settle_pin(config, &found)?;
        let site = site(config, keys);
        let opened = Ledger::open(found.store.clone(), found.writer, site, clock).await?;
        let mut writers = JoinSet::new();
        writers.spawn(opened.committer.run());
        if let Some(pin) = opened.pin {
            writers.spawn(pin.run());
        }
        Ok(Self {
            ledger: opened.ledger,
            store: found.store,
            begun: found.begun,
            writers,
        })
    }

    /// Ends it: all that was recorded is on disk, and the pin knows it.
    pub async fn close(self) {
        let Self {
            ledger,
            store,
            mut writers,
            ..
        } = self;
        drop(ledger); // the last holder of the door
        while writers.join_next().await.is_some() {}
        drop(store);
    }
}

/// Opens the store of `config` and finds the log that is in use.
pub(crate) async fn find(config: &Config) -> Result<Found, HandError> {
    let base = &config.ledger.origin;
    let (store, writer) = Store::open(&config.store.location()?, base).await?;
    Ok(found(store, writer, base).await?)
}

/// The log of `base` that is in use in an open store.
pub(crate) async fn found(store: Store, mut writer: Db, base: &str) -> Result<Found, store::Error> {
    let current = epoch::current(&mut writer, base).await;
    let current = current.map_err(|source| store.failed(source))?;
    let begun = epoch::begun(&mut writer, &current.log).await;
    let begun = begun.map_err(|source| store.failed(source))?;
    Ok(Found {
        store: store.of(&current.log),
        writer,
        current,
        begun,
    })
}

/// What opens the key files.
pub(crate) fn passphrase(config: &Config) -> Result<Option<config::Secret<Vec<u8>>>, SecretError> {
    config
        .keys
        .passphrase
        .as_ref()
        .map(config::SecretRef::read)
        .transpose()
}

/// What the ledger needs beside its store.
pub(crate) fn site(config: &Config, keys: EpochKeys) -> Site {
    Site {
        log_key: keys.log,
        mac: keys.mac,
        pseudonyms: keys.pseudonyms,
        node: config.ledger.node.clone(),
        signing: Vec::new(),
        pin: (!config.ledger.pin.as_os_str().is_empty()).then(|| config.ledger.pin.clone()),
        reserve: config.store.disk_reserve.bytes(),
        queue: usize::try_from(config.limits.queue).unwrap_or(usize::MAX),
        witnessed: Vec::new(),
        handovers: keys.handovers,
        metrics: Arc::default(),
    }
}

/// A crash right after a new epoch began leaves the pin at the log before. It is put aside if, and only if, the new log's
/// own first entries name that log, and nobody saw more of it than they say.
pub(crate) fn settle_pin(config: &Config, found: &Found) -> Result<(), HandError> {
    let path = &config.ledger.pin;
    let failed = |source| HandError::Pin {
        path: path.clone(),
        source,
    };
    let (Some(prior), false) = (&found.begun.prior, path.as_os_str().is_empty()) else {
        return Ok(());
    };
    let Some(note) = pin::read(path).map_err(failed)? else {
        return Ok(());
    };
    let Ok((pinned, _)) = Checkpoint::parse_note(&note) else {
        return Ok(()); // the opening refuses it
    };
    let seen = found
        .begun
        .recovered
        .map_or(prior.size, |(seen, _)| seen.max(prior.size));
    if pinned.origin != prior.log || pinned.size > seen {
        return Ok(());
    }
    std::fs::rename(path, path.with_extension("prior")).map_err(failed)
}

/// An entry about what an operator did; `actor` as bodies name them.
pub(crate) fn acted(
    ledger: &Ledger,
    what: What,
    actor: &str,
    mut body: serde_json::Map<String, serde_json::Value>,
) -> Entry {
    let who = ledger.subject(actor);
    body.insert(
        "actor".to_owned(),
        json!({ "id": actor, "open": who.open.to_string() }),
    );
    Entry {
        by: Some(who.pseudonym),
        ..ledger::note(what, None, body)
    }
}
