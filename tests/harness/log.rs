//! Every event of this test process, kept so that secrets can be looked for in it.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;

static EVENTS: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static KEEP: Once = Once::new();

/// Keeps all events from now on, at a level no operator would run with.
pub fn keep() {
    KEEP.call_once(|| {
        let filter = EnvFilter::new("debug,stint_broker=trace");
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter(filter)
            .with_writer(|| Keeper)
            .init();
    });
}

/// How much there is.
#[must_use]
pub fn length() -> usize {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// What came after the first `from` bytes; of other tests too.
#[must_use]
pub fn since(from: usize) -> String {
    let events = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&events[from..]).into_owned()
}

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        EVENTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
