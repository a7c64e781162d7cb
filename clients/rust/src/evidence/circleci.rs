//! CircleCI: its program prints a token with our audience. The one in the environment is for the organisation: no broker
//! takes it (IDENTITY.md §3.7), and it may open the organisation's clouds, so it is shown to none.

use serde_json::json;
use stint_wire::Token;

use super::platform::Env;
use super::program::Program;
use super::{Kind, Source, SourceError};

const PLATFORM: &str = "CircleCI";

/// The job's program.
#[derive(Debug, Clone)]
pub(super) struct CircleCi(Program);

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("CIRCLECI") || env.has("CIRCLE_OIDC_TOKEN_V2")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    match env.program("circleci") {
        Some(path) => Ok(Source(Kind::CircleCi(CircleCi(Program {
            platform: PLATFORM,
            path,
        })))),
        None => Err(SourceError::HalfSetUp {
            platform: PLATFORM,
            remedy: format!(
                "# in the job's steps, before stint\n- run: echo \"export STINT_ID_TOKEN=$(circleci run oidc get --claims '{{\"aud\":\"{}\"}}')\" >> \"$BASH_ENV\"\n# or have circleci on PATH where stint runs",
                env.broker()
            ),
        }),
    }
}

impl CircleCi {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let claims = json!({ "aud": audience }).to_string();
        let args = ["run", "oidc", "get", "--claims", &claims];
        self.0.token(args.map(str::to_owned).to_vec()).await
    }

    pub(super) fn describe(&self) -> String {
        format!("{PLATFORM}, {} run oidc get", self.0.path.display())
    }
}
