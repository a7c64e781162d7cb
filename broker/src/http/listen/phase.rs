//! How a process ends: it serves, it drains, it is over.

use tokio::sync::watch;

/// What the process is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It takes nothing new, and ends what is open.
    Draining,
    /// What is still open is cut.
    Ending,
}

/// Waits until `phase` has come, or the process goes down without a word.
pub(super) async fn reached(watched: &mut watch::Receiver<Phase>, phase: Phase) {
    drop(watched.wait_for(|now| *now >= phase).await);
}
