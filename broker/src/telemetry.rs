//! What the process says about itself: events to stderr, as text on a terminal and as JSON elsewhere; [`metrics`] when
//! asked. The log never makes anybody wait, and what strangers send cannot forge a line of it (SECURITY.md §4).

pub(crate) mod lines;
pub mod metrics;
pub(crate) mod trace_context;
pub(crate) mod trail;

use std::io::{self, IsTerminal};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, Telemetry};

/// Sends the events of this process to stderr. Called once, by main.
///
/// # Errors
/// When `log` is no filter.
pub fn install(telemetry: &Telemetry) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&telemetry.log)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("stint-log")
        .finish(lines::OneEach::new(io::stderr()));
    drop(DROPPED.set(writer.error_counter()));
    *FLUSH.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    let json = match telemetry.log_format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    if json {
        let builder = builder.json().flatten_event(true).with_span_list(false);
        builder.init();
    } else {
        builder.compact().with_ansi(false).with_target(false).init();
    }
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Writes what is still on its way to stderr. The last thing a process does: later events are lost.
pub fn flush() {
    drop(FLUSH.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Lines that stderr did not take in time.
pub(crate) fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

/// A panic's own words may hold what a caller sent, or a secret: only its id and its place in our code are told
/// (SECURITY.md §4, secrets).
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(id = trail::id(), at, "a panic: a bug of ours");
}

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
static FLUSH: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Lines that may wait for stderr, some megabytes; what is beyond is dropped and counted.
const LINES: usize = 8_192;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_tells_its_id_and_place_and_not_its_words() {
        let sink = Sink::default();
        let taken = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || taken.clone())
            .json()
            .finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(super::panicked));
        let caught = tracing::subscriber::with_default(subscriber, || {
            std::panic::catch_unwind(|| panic!("the token was {}", "eyJhbGciOi"))
        });
        std::panic::set_hook(before);
        assert!(caught.is_err());
        let text = sink
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("err_") && text.contains("telemetry.rs:"),
            "{text}"
        );
        assert!(!text.contains("eyJ") && !text.contains("token"), "{text}");
    }
}
