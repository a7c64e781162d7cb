//! Who is signed in: the extractors of pages and of the API that people use, and the doors of login and logout.

use super::routes::Routes;

/// Login, logout, sessions, passkeys.
pub(crate) fn routes() -> Routes {
    Routes::default()
}
