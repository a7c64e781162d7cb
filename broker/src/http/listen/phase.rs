//! How a process ends: it serves, it drains, it is over.

use tokio::signal::unix::{SignalKind, signal};
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

/// For a process that has nothing to reload: drains at SIGTERM or SIGINT, ends at a second one. SIGHUP is nothing to it.
///
/// # Errors
/// The system's, if a handler cannot be set.
pub fn on_signals() -> std::io::Result<watch::Receiver<Phase>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    let (phase, reached) = watch::channel(Phase::Serving);
    #[expect(
        clippy::disallowed_methods,
        reason = "started by main, ends with the process"
    )]
    drop(tokio::spawn(async move {
        for next in [Phase::Draining, Phase::Ending] {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    _ = hup.recv() => {}
                }
            }
            phase.send_replace(next);
        }
    }));
    Ok(reached)
}

/// Waits until `phase` has come, or the process goes down without a word.
pub(super) async fn reached(watched: &mut watch::Receiver<Phase>, phase: Phase) {
    drop(watched.wait_for(|now| *now >= phase).await);
}
