//! Requests: asks on hold, for those who asked and for those who decide.

use super::routes::Routes;

/// `/v1/requests…`
pub(crate) fn routes() -> Routes {
    Routes::default()
}
