//! Why there are no new keys, and what an operator can do about it.

use std::io;

use super::MAX_CHANGES;
use crate::authenticate::keys::KeySetError;

/// Why there are no new keys; for logs, `/readyz` and `doctor`, never for callers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The host has only addresses that may not be dialled.
    #[error("`{0}` is no address that may be dialled; `allow_private` names exceptions")]
    Address(String),
    /// More changes of the key set in an hour than any issuer has a reason for.
    #[error(
        "the key set changed more than {MAX_CHANGES} times in an hour; no new key is taken until an operator accepts"
    )]
    Changing,
    /// Not JSON, says the server.
    #[error("content type `{0}`, and only JSON is read")]
    ContentType(String),
    /// Compressed, though nobody asked for it.
    #[error("a content encoding, and none was asked for")]
    Encoded,
    /// The key file cannot be read.
    #[error("the key file cannot be read")]
    File(#[source] io::Error),
    /// `jwks_uri` lies on a host nobody named, or is not https.
    #[error("the discovery document points to `{0}`; `jwks_hosts` names further hosts")]
    ForeignHost(String),
    /// The document speaks for another issuer.
    #[error("the discovery document is of issuer `{0}`")]
    ForeignIssuer(String),
    /// Not a usable key set.
    #[error("the key set cannot be used")]
    Keys(#[source] KeySetError),
    /// Not a discovery document.
    #[error("the discovery document cannot be read")]
    Metadata,
    /// More than 3 seconds.
    #[error("no answer within 3 s")]
    Slow,
    /// Another status than 200; a redirect is one of these.
    #[error("status {0}")]
    Status(u16),
    /// More than 256 KiB.
    #[error("an answer of more than 256 KiB")]
    TooLarge,
    /// No TLS that holds for the host.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// New keys that could not be recorded, and so are not trusted.
    #[error("the new keys could not be recorded in the ledger")]
    Unrecorded,
    /// No connection, or one that broke.
    #[error("not reachable")]
    Unreachable(#[source] reqwest::Error),
    /// Where the document points is no URL.
    #[error("`{0}` is no URL")]
    Url(String),
}

impl FetchError {
    /// The closed word for `/readyz` and metrics.
    pub(in crate::authenticate) fn class(&self) -> &'static str {
        match self {
            FetchError::Address(_) => "address",
            FetchError::Changing => "changing",
            FetchError::ContentType(_) => "content_type",
            FetchError::Encoded => "encoded",
            FetchError::File(_) => "file",
            FetchError::ForeignHost(_) => "foreign_host",
            FetchError::ForeignIssuer(_) => "foreign_issuer",
            FetchError::Keys(_) => "keys",
            FetchError::Metadata => "metadata",
            FetchError::Slow => "slow",
            FetchError::Status(_) => "status",
            FetchError::Tls(_) => "tls",
            FetchError::TooLarge => "too_large",
            FetchError::Unreachable(_) => "unreachable",
            FetchError::Unrecorded => "unrecorded",
            FetchError::Url(_) => "url",
        }
    }

    /// What an operator can do about it.
    pub(in crate::authenticate) fn help(&self) -> &'static str {
        match self {
            FetchError::Address(_) => {
                "if the issuer is meant to be there, name its network: allow_private = [\"10.1.0.0/16\"]"
            }
            FetchError::Changing => "look at the issuer, then: stintd issuer accept NAME",
            FetchError::ContentType(_) | FetchError::Encoded | FetchError::Metadata => {
                "is `url` the issuer itself, and not a login page or a proxy before it?"
            }
            FetchError::File(_) => "check jwks_file, and that the broker's user can read it",
            FetchError::ForeignHost(_) => {
                "if the issuer's keys are meant to be there, name the host in jwks_hosts"
            }
            FetchError::ForeignIssuer(_) => {
                "`url` must be the issuer byte for byte, final slash included"
            }
            FetchError::Keys(_) => {
                "look at the document; RS256, PS256, ES256, ES384 and EdDSA keys with a `kid` are read"
            }
            FetchError::Slow | FetchError::Unreachable(_) => {
                "check name, network and firewall from this machine"
            }
            FetchError::Status(_) => {
                "a redirect is not followed: `url` must be where the document is"
            }
            FetchError::Tls(_) => "if the issuer has a CA of its own, name its roots in ca_file",
            FetchError::TooLarge => "an issuer's documents are a few KiB: is this the right place?",
            FetchError::Unrecorded => "see the `ledger` check",
            FetchError::Url(_) => "write `url` and `jwks_uri` as https://HOST/PATH",
        }
    }
}

/// What a document says, as far as an operator needs it to recognize it: no issuer fills a log.
pub(super) fn cut(said: &str) -> String {
    match said.char_indices().nth(SHOWN) {
        None => said.to_owned(),
        Some((end, _)) => format!("{}…", said.get(..end).unwrap_or_default()),
    }
}

/// Characters of a document that are shown.
const SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn an_issuer_does_not_fill_a_log() {
        assert_eq!(cut("https://idp.example"), "https://idp.example");
        let shown = cut(&"ü".repeat(100_000));
        assert_eq!(shown, format!("{}…", "ü".repeat(200)));
    }
}
