//! Who is signed in: the extractors of pages and of the API that people use, and the doors of login and logout.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::Failure;
use super::routes::Routes;
use crate::people::Visitor;
use crate::serve::App;

/// Login, logout, sessions, passkeys.
pub(crate) fn routes() -> Routes {
    Routes::default()
}

/// Somebody who is signed in and acts: nobody can, until people can log in.
pub(super) struct Acting(pub(super) Visitor);

impl FromRequestParts<Arc<App>> for Acting {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        Err(Failure::login("sign in first"))
    }
}
