//! What a server tells its clients: another broker moved the head.
//!
//! It only makes following faster (LEDGER.md §6: NOTIFY wakes, a poll guarantees). Where nobody can listen, as behind a
//! pooler in transaction mode, and whenever the listening connection is lost, the poll is what is left.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::{Location, Server};

/// Resolves when another broker wrote. It listens for as long as it lives.
#[derive(Debug)]
pub(crate) struct Wake {
    told: Arc<Notify>,
    pace: Interval,
    _listening: JoinSet<()>,
}

impl Wake {
    /// Listens for every broker of the database but `node`.
    pub(crate) fn of(location: &Location, node: &str) -> Self {
        let told = Arc::new(Notify::new());
        let mut listening = JoinSet::new();
        if let Location::Server(server) = location {
            listening.spawn(listen(server.clone(), node.to_owned(), Arc::clone(&told)));
        }
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            told,
            pace,
            _listening: listening,
        }
    }

    /// Another broker has written since this last came back; never, of a file. Given up half-way, it forgets nothing.
    pub(crate) async fn woken(&mut self) {
        self.pace.tick().await;
        self.told.notified().await;
    }
}

/// Listens, and does so anew after whatever goes wrong, later each time, and when it was quiet for so long that the
/// connection may be dead.
async fn listen(server: Server, node: String, told: Arc<Notify>) {
    let mut pause = AGAIN;
    loop {
        match hear(&server, &node, &told).await {
            Ok(()) => pause = AGAIN,
            Err(source) => {
                let poll = "not listening to the other brokers; what they write is polled for";
                match pause {
                    AGAIN => tracing::warn!(%source, "{poll}"),
                    _ => tracing::debug!(%source, "{poll}"),
                }
                pause = (2 * pause).min(QUIET);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Until the connection is lost, or has said nothing for long.
async fn hear(server: &Server, node: &str, told: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&server.listeners()).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    while let Ok(heard) = tokio::time::timeout(QUIET, listener.try_recv()).await {
        match heard? {
            Some(heard) if heard.payload() == node => {}
            Some(_) => told.notify_one(),
            None => break,
        }
    }
    Ok(())
}

/// Where each batch says who wrote it: [`super::trail::extend`].
const CHANNEL: &str = "stint_head";

/// Between two wakings: those who write all the time are followed in larger steps.
const PACE: Duration = Duration::from_millis(10);

/// Before it listens again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a connection is trusted that says nothing.
const QUIET: Duration = Duration::from_secs(60);
