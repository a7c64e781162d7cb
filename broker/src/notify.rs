//! Notices: who is told that an ask waits, and what came of it.

use crate::store::{RequestRow, Write};

/// Where notices go.
#[derive(Debug, Default)]
pub struct Notifier {}

impl Notifier {
    /// The rows that tell approvers of a request that was parked just now.
    #[must_use]
    pub fn parked(&self, _request: &RequestRow) -> Vec<Write> {
        Vec::new()
    }

    /// The rows that tell everybody what it came to. `by`: the name of whoever decided, if a person did.
    #[must_use]
    pub fn decided(&self, _request: &RequestRow, _came_to: &str, _by: Option<&str>) -> Vec<Write> {
        Vec::new()
    }
}
