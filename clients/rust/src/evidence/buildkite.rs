//! Buildkite: the agent prints a token for the job, a new one for each call.

use stint_wire::Token;

use super::platform::Env;
use super::program::Program;
use super::{Kind, Source, SourceError};

const PLATFORM: &str = "Buildkite";

/// The agent's command.
#[derive(Debug, Clone)]
pub(super) struct Buildkite(Program);

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("BUILDKITE") || env.has("BUILDKITE_JOB_ID")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let path = env
        .program("buildkite-agent")
        .ok_or_else(|| SourceError::HalfSetUp {
            platform: PLATFORM,
            remedy: "plugins:\n- docker#v5.13.0:\n    mount-buildkite-agent: true\n# or have buildkite-agent on PATH where the command runs"
                .to_owned(),
        })?;
    Ok(Source(Kind::Buildkite(Buildkite(Program {
        platform: PLATFORM,
        path,
    }))))
}

impl Buildkite {
    /// The two immutable ids come only when they are asked for (IDENTITY.md §3.8).
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let args = ["oidc", "request-token", "--audience", audience];
        let claims = ["--claim", "organization_id", "--claim", "pipeline_id"];
        let args = args.into_iter().chain(claims).map(str::to_owned);
        self.0.token(args.collect()).await
    }

    pub(super) fn describe(&self) -> String {
        format!("{PLATFORM}, {} oidc request-token", self.0.path.display())
    }
}
