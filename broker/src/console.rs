//! The pages: server-rendered, readable without a script, under the strictest policy a browser knows (UX.md §8).

use crate::http::routes::Routes;

/// Every page, and the files they are made of.
pub(crate) fn pages() -> Routes {
    Routes::default()
}
