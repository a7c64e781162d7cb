//! GitLab CI: the job declares a token, which lies in `STINT_ID_TOKEN` from its start. It has no second one.

use super::platform::Env;
use super::{Source, SourceError};

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("GITLAB_CI")
}

/// How a token in `STINT_ID_TOKEN` is called.
pub(super) fn named(env: &Env<'_>) -> &'static str {
    if is_here(env) {
        "GitLab CI, STINT_ID_TOKEN"
    } else {
        "STINT_ID_TOKEN"
    }
}

/// With a token the search would have ended before.
pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    Err(SourceError::HalfSetUp {
        platform: "GitLab CI",
        remedy: format!("id_tokens:\n  STINT_ID_TOKEN:\n    aud: {}", env.broker()),
    })
}
