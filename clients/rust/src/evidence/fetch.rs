//! One GET to a platform's own token service. Nothing it says is shown but its status: URLs and bodies hold secrets.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};

use super::SourceError;
use crate::Error;
use crate::client;

/// How long a platform may take (UX.md §3).
const TIMEOUT: Duration = Duration::from_secs(10);

/// The body of a 200.
pub(super) async fn get(
    platform: &'static str,
    url: Url,
    with: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> Result<Vec<u8>, SourceError> {
    let failed = |why: &str| SourceError::NoAnswer {
        platform,
        why: why.to_owned(),
    };
    let http = client::http(TIMEOUT, &url)
        .build()
        .map_err(|error| failed(what(&error)))?;
    let answer = with(http.get(url))
        .send()
        .await
        .map_err(|error| failed(what(&error)))?;
    if answer.status().as_u16() != 200 {
        return Err(failed(&format!("HTTP {}", answer.status().as_u16())));
    }
    client::body(answer).await.map_err(|error| match error {
        Error::Unreachable(error) => failed(what(&error)),
        _ => failed(UNREADABLE),
    })
}

/// What is said of a body that is not what it should be.
pub(super) const UNREADABLE: &str = "its answer cannot be read";

/// `reqwest` puts the URL, and with it the job's ids, into its text: what went wrong is enough.
fn what(error: &reqwest::Error) -> &'static str {
    match error {
        timeout if timeout.is_timeout() => "no answer within 10 s",
        unreachable if unreachable.is_connect() => "it cannot be reached",
        _ => UNREADABLE,
    }
}

/// A URL that the platform itself put into the environment: on this machine, or on the link or private network that
/// connects it to its host. A secret goes there in the clear.
pub(super) fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok();
    let near = match address {
        Some(IpAddr::V4(ip)) => ip.is_link_local() || ip.is_private(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.is_unique_local(),
        None => false,
    };
    client::is_secure(url) || url.scheme() == "http" && near
}
