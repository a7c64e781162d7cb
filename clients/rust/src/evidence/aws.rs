//! AWS: outbound identity federation, by the account's own command line. Signing its requests ourselves would need every
//! way AWS has to find credentials.

use stint_wire::Token;

use super::platform::Env;
use super::program::Program;
use super::{Kind, Source, SourceError};

const PLATFORM: &str = "AWS";

/// `aws sts get-web-identity-token`.
#[derive(Debug, Clone)]
pub(super) struct Aws(Program);

/// Lambda and containers. Credentials on a desk are no sign that a job of AWS runs here: there it has to be named.
pub(super) fn is_here(env: &Env<'_>) -> bool {
    [
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .iter()
    .any(|name| env.has(name))
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let path = env.program("aws").ok_or_else(|| SourceError::HalfSetUp {
        platform: PLATFORM,
        remedy: format!(
            "# the command line of AWS on PATH where stint runs, or its token in a file:\naws sts get-web-identity-token --audience {} --signing-algorithm ES384 --query WebIdentityToken --output text >token\nexport STINT_ID_TOKEN_FILE=$PWD/token",
            env.broker()
        ),
    })?;
    Ok(Source(Kind::Aws(Aws(Program {
        platform: PLATFORM,
        path,
    }))))
}

impl Aws {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let args = [
            "sts",
            "get-web-identity-token",
            "--audience",
            audience,
            "--signing-algorithm",
            "ES384",
            "--duration-seconds",
            "300",
            "--query",
            "WebIdentityToken",
            "--output",
            "text",
        ];
        self.0.token(args.map(str::to_owned).to_vec()).await
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{PLATFORM}, {} sts get-web-identity-token",
            self.0.path.display()
        )
    }
}
