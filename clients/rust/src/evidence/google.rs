//! Google Cloud: the metadata server's identity token, with the instance in it (`format=full`). It may hand out the same
//! one again (IDENTITY.md §3.4).

use reqwest::Url;
use stint_wire::Token;

use super::fetch::{self, UNREADABLE};
use super::platform::Env;
use super::{Kind, Source, SourceError, file};

const PLATFORM: &str = "Google";
/// The metadata server, which every Google machine has at this link-local address.
const HOST: &str = "169.254.169.254";
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

/// The metadata server.
#[derive(Debug, Clone)]
pub(super) struct Google {
    url: Url,
}

/// Whether this is a VM of Google's cannot be told without asking the network: there it has to be named.
pub(super) fn is_here(env: &Env<'_>) -> bool {
    ["GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB"]
        .iter()
        .any(|name| env.has(name))
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    let host = env.get("GCE_METADATA_HOST");
    let host = host.as_deref().unwrap_or(HOST);
    let url = Url::parse(&format!("http://{host}{PATH}"));
    let named = |url: &Url| url.host_str() == Some("metadata.google.internal");
    match url {
        Ok(url) if fetch::is_local(&url) || named(&url) => Ok(Source(Kind::Google(Google { url }))),
        _ => Err(SourceError::NoAnswer {
            platform: PLATFORM,
            why: format!("GCE_METADATA_HOST is `{host}`, which is no metadata server"),
        }),
    }
}

impl Google {
    pub(super) async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("audience", audience)
            .append_pair("format", "full");
        let body = fetch::get(PLATFORM, url, |ask| ask.header("Metadata-Flavor", "Google")).await?;
        let text = String::from_utf8(body).map_err(|_bytes| SourceError::NoAnswer {
            platform: PLATFORM,
            why: UNREADABLE.to_owned(),
        })?;
        file::tidy(&text, "the metadata server's answer")
    }

    pub(super) fn describe(&self) -> String {
        let host = self.url.host_str().unwrap_or(HOST);
        format!("{PLATFORM}, the metadata server at {host}")
    }
}
