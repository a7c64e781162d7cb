//! Azure: a managed identity's token for an application of ours, whose App ID URI is the broker's audience. Azure keeps
//! it for most of its day, so it comes again (IDENTITY.md §3.5).

use reqwest::Url;
use serde::Deserialize;
use stint_wire::Token;

use super::fetch::{self, UNREADABLE};
use super::platform::Env;
use super::{Kind, Source, SourceError, file};

const PLATFORM: &str = "Azure";
/// The instance metadata service of every Azure VM.
const VM: &str = "http://169.254.169.254";

/// An identity endpoint.
#[derive(Debug, Clone)]
pub(super) struct Azure {
    url: Url,
    version: &'static str,
    header: (&'static str, Token),
    /// Which of several identities, where there are several.
    client_id: Option<String>,
}

/// Whether this is a VM of Azure's cannot be told without asking the network: there it has to be named.
pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("IDENTITY_ENDPOINT") && env.has("IDENTITY_HEADER")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let service = env.get("IDENTITY_ENDPOINT").zip(env.get("IDENTITY_HEADER"));
    let (url, version, header) = match service {
        // App Service, Functions, Container Apps.
        Some((url, secret)) => {
            let secret = file::tidy(&secret, "IDENTITY_HEADER")?;
            (url, "2019-08-01", ("X-IDENTITY-HEADER", secret))
        }
        None => {
            let host = env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
            let host = host.as_deref().unwrap_or(VM).trim_end_matches('/');
            let url = format!("{host}/metadata/identity/oauth2/token");
            (
                url,
                "2018-02-01",
                ("Metadata", Token::new("true".to_owned())),
            )
        }
    };
    let url = Url::parse(&url).ok().filter(fetch::is_local);
    let url = url.ok_or_else(|| SourceError::NoAnswer {
        platform: PLATFORM,
        why: "its identity endpoint is neither https nor near this machine".to_owned(),
    })?;
    let client_id = env.get("AZURE_CLIENT_ID");
    Ok(Source(Kind::Azure(Azure {
        url,
        version,
        header,
        client_id,
    })))
}

#[derive(Deserialize)]
struct Answer {
    access_token: Token,
}

impl Azure {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("api-version", self.version)
            .append_pair("resource", audience)
            .extend_pairs(self.client_id.iter().map(|id| ("client_id", id)));
        let (name, value) = &self.header;
        let body = fetch::get(PLATFORM, url, |ask| ask.header(*name, value.expose())).await?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_json| SourceError::NoAnswer {
                platform: PLATFORM,
                why: UNREADABLE.to_owned(),
            })?;
        file::tidy(answer.access_token.expose(), "Azure's answer")
    }

    pub(super) fn describe(&self) -> String {
        let host = self.url.host_str().unwrap_or("its endpoint");
        format!("{PLATFORM}, the managed identity at {host}")
    }
}
