//! How a sink does, for metrics and `/readyz`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is known of one sink.
#[derive(Debug)]
pub struct Health {
    name: String,
    next: AtomicU64,
    place: Mutex<Place>,
}

/// Who sends, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This replica does.
    Here,
    /// Another one has the turn.
    Elsewhere,
    /// This replica tries to, in vain: why.
    Stuck(String),
}

impl Health {
    pub(super) fn new(name: &str) -> Health {
        Health {
            name: name.to_owned(),
            next: AtomicU64::new(0),
            place: Mutex::new(Place::Elsewhere),
        }
    }

    /// NAME of `[sink.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seq of the entry to be sent next, as far as this replica knows.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Who sends, and how that goes.
    #[must_use]
    pub fn place(&self) -> Place {
        self.lock().clone()
    }

    /// The sender has come so far.
    pub(super) fn reached(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// Events arrive.
    pub(super) fn well(&self) {
        if let Place::Stuck(_) = std::mem::replace(&mut *self.lock(), Place::Here) {
            tracing::info!(
                sink = self.name,
                next = self.next(),
                "the sink takes events again"
            );
        }
    }

    /// Another replica sends.
    pub(super) fn elsewhere(&self) {
        *self.lock() = Place::Elsewhere;
    }

    /// They do not arrive; said aloud when it begins, and when the cause is another.
    pub(super) fn stuck(&self, why: String) {
        let was = std::mem::replace(&mut *self.lock(), Place::Stuck(why.clone()));
        if was != Place::Stuck(why.clone()) {
            let next = self.next();
            tracing::warn!(
                sink = self.name,
                next,
                why,
                "the sink does not take events; it falls behind"
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
