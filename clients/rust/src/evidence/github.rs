//! GitHub Actions: the runner asks GitHub for a token with our audience, one for each call.

use reqwest::Url;
use serde::Deserialize;
use stint_wire::Token;

use super::fetch::{self, UNREADABLE};
use super::platform::Env;
use super::{Kind, Source, SourceError, file};
use crate::client::is_secure;

const PLATFORM: &str = "GitHub Actions";

/// Where the runner takes requests for tokens.
#[derive(Debug, Clone)]
pub(super) struct GitHub {
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    url: Url,
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    bearer: Token,
}

pub(super) fn is_here(env: &Env<'_>) -> bool {
    env.has("ACTIONS_ID_TOKEN_REQUEST_URL") || env.has("GITHUB_ACTIONS")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let lacks = || SourceError::HalfSetUp {
        platform: PLATFORM,
        remedy: "permissions:\n  id-token: write\n  contents: read".to_owned(),
    };
    let url = env.get("ACTIONS_ID_TOKEN_REQUEST_URL").ok_or_else(lacks)?;
    let bearer = env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let bearer = bearer.ok_or_else(lacks)?;
    let url = Url::parse(&url).ok().filter(is_secure);
    let url = url.ok_or_else(|| SourceError::NoAnswer {
        platform: PLATFORM,
        why: "its request URL is neither https nor on this machine".to_owned(),
    })?;
    Ok(Source(Kind::GitHub(GitHub {
        url,
        bearer: file::tidy(&bearer, "ACTIONS_ID_TOKEN_REQUEST_TOKEN")?,
    })))
}

#[derive(Deserialize)]
struct IdToken {
    value: Token,
}

impl GitHub {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("audience", audience);
        let body = fetch::get(PLATFORM, url, |ask| ask.bearer_auth(self.bearer.expose())).await?;
        let token: IdToken =
            serde_json::from_slice(&body).map_err(|_json| SourceError::NoAnswer {
                platform: PLATFORM,
                why: UNREADABLE.to_owned(),
            })?;
        file::tidy(token.value.expose(), "GitHub's answer")
    }

    pub(super) fn describe(&self) -> String {
        let host = self.url.host_str().unwrap_or("its issuer");
        format!("{PLATFORM}, asking {host}")
    }
}
