//! HCP Terraform and Terraform Enterprise: one token a phase, in the environment of the run.

use super::platform::Env;
use super::{Source, SourceError};

/// Ours, where the workspace asks for several tokens, and the one it has else.
const TOKENS: [&str; 2] = [
    "TFC_WORKLOAD_IDENTITY_TOKEN_STINT",
    "TFC_WORKLOAD_IDENTITY_TOKEN",
];

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("TFC_RUN_ID") || TOKENS.iter().any(|name| env.has(name))
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let tokens = TOKENS
        .iter()
        .filter_map(|name| Some((name, env.get(name)?)));
    match tokens.into_iter().next() {
        Some((name, token)) => Source::once(&token, &format!("Terraform Cloud, {name}")),
        None => Err(SourceError::HalfSetUp {
            platform: "Terraform Cloud",
            remedy: format!(
                "# an environment variable of the workspace\nTFC_WORKLOAD_IDENTITY_AUDIENCE={}",
                env.broker()
            ),
        }),
    }
}
