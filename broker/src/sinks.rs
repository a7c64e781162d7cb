//! Who is sent the ledger as it grows: files, HTTP receivers, syslog (LEDGER.md §9).
//!
//! Each sink is a place in the log (`ledger_cursor`) and one sender, on whichever replica has its turn. It sends every
//! entry, in order, at least once: the place moves only when a delivery has arrived as a whole ([`way`]), so a crash, a
//! receiver that is down or two replicas with wrong clocks repeat entries and never skip one. Between entries it puts
//! heartbeats, the log's signed head, by which a receiver proves that it has them all.
//!
//! It never makes a grant wait: it is a task of its own that reads what is committed and holds one page of it. A sink
//! that fails falls behind, and says so: a warning, a line of `/readyz`, `stint_sink_lag_entries`.

pub mod feed;
pub mod format;
mod health;
mod sender;
mod tail;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;

use stint_policy::Seconds;
use thiserror::Error;
use tokio::sync::watch;

use self::feed::{Disclosed, Feed};
use self::format::Format;
pub use self::health::{Health, Place};
pub use self::sender::Sender;
pub(crate) use self::tail::Tail;
use self::way::{SetupError, Way};
use crate::clock::Clock;
use crate::config::{self, SinkKind};
use crate::ledger::Ledger;
use crate::store::Store;
use crate::store::cursors::Cursor;

/// A sink cannot be set up.
#[derive(Debug, Error)]
#[error("[sink.{name}] {source}")]
pub struct SinkError {
    name: String,
    source: SetupError,
}

/// What is known of the sinks while they run.
#[derive(Clone, Debug)]
pub struct Sinks {
    all: Arc<[Arc<Health>]>,
    again: watch::Sender<()>,
}

/// What a sender is built on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Where entries are read.
    pub store: &'a Store,
    /// Who tells of new ones.
    pub ledger: &'a Ledger,
    /// For leases and heartbeats.
    pub clock: &'a Arc<dyn Clock>,
    /// The replica's name.
    pub node: &'a str,
}

impl Sinks {
    /// The sinks of the config, and their senders, which somebody must run.
    ///
    /// # Errors
    /// [`SinkError`] names the table.
    pub fn build(
        sinks: &BTreeMap<String, config::Sink>,
        ground: &Ground<'_>,
    ) -> Result<(Sinks, Vec<Sender>), SinkError> {
        let (again, told) = watch::channel(());
        let built = sinks.iter().map(|(name, config)| {
            let wrong = |source| SinkError {
                name: name.clone(),
                source,
            };
            sender((name, config), ground, told.clone()).map_err(wrong)
        });
        let senders: Vec<Sender> = built.collect::<Result<_, _>>()?;
        let all = senders.iter().map(Sender::health).collect();
        Ok((Sinks { all, again }, senders))
    }

    /// Each sink, by name.
    pub fn each(&self) -> impl Iterator<Item = &Health> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// Files are opened anew before the next event: SIGHUP.
    pub fn reopen(&self) {
        self.again.send_replace(());
    }
}

fn sender(
    (name, config): (&str, &config::Sink),
    ground: &Ground<'_>,
    again: watch::Receiver<()>,
) -> Result<Sender, SetupError> {
    let format = match config.kind {
        SinkKind::CloudEvents => Format::CloudEvents,
        // Of tiles no event is made.
        SinkKind::Jsonl | SinkKind::Tiles => Format::Jsonl,
        SinkKind::Ocsf => Format::Ocsf,
    };
    let bodies = Disclosed::new(config.bodies.clone());
    Ok(Sender {
        feed: Feed::new(ground.store, ground.ledger, (format, bodies)),
        way: Way::new(config, format, ground.ledger)?,
        cursor: Cursor::new(
            ground.store.clone(),
            format!("sink/{name}"),
            ground.node.to_owned(),
        ),
        health: Arc::new(Health::new(name)),
        clock: Arc::clone(ground.clock),
        again,
        most: usize::try_from(config.batch).unwrap_or(usize::MAX),
        heartbeat: duration(config.heartbeat),
    })
}

fn duration(seconds: Seconds) -> std::time::Duration {
    std::time::Duration::from_secs(seconds.as_u32().into())
}
